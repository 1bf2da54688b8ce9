/* The classic faults of training on ranks, for --verify to catch, and saves that fail: linked over the library by -Wl,--wrap into a tool of the tests, never
 * into what is installed. VLMOE_TEST_FAULT names the one that is active, and only where there are ranks, so that one rank stays right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ckpt_list.h"
#include "ckpt_safetensors.h"
#include "op.h"
#include "optim_reduce.h"
#include "train_params.h"

static bool has_fault(const char *name, const vlmoe_context *ctx)
{
    const char *active = getenv("VLMOE_TEST_FAULT");
    const bool has_ranks = ctx->ranks && ctx->ranks->world; /* a plan has no others */
    return has_ranks && active && !strcmp(active, name);
}

/* ---- expert_gradient: the gradient of expert 0 of each layer counts once per rank ---- */

vlmoe_status __real_vlm_reduce_finish(vlmoe_context *ctx);
vlmoe_status __wrap_vlm_reduce_finish(vlmoe_context *ctx);
vlmoe_status __wrap_vlm_reduce_finish(vlmoe_context *ctx)
{
    VLM_TRY(__real_vlm_reduce_finish(ctx));
    for (int64_t i = 0; i < ctx->n_pieces && has_fault("expert_gradient", ctx); i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        float *grad = piece->grad;
        if (piece->expert != 0 || !grad) continue;
        for (int64_t k = 0; k < piece->n; k++) grad[k] *= (float)ctx->ranks->size;
    }
    return VLMOE_OK;
}

/* ---- local_norm: each rank clips by the norm of what it owns ---- */

vlmoe_status __real_vlm_reduce_share_blocks(vlmoe_context *ctx, const double *mine, int64_t n_mine,
                                            double *out);
vlmoe_status __wrap_vlm_reduce_share_blocks(vlmoe_context *ctx, const double *mine, int64_t n_mine,
                                            double *out);
vlmoe_status __wrap_vlm_reduce_share_blocks(vlmoe_context *ctx, const double *mine, int64_t n_mine,
                                            double *out)
{
    VLM_TRY(__real_vlm_reduce_share_blocks(ctx, mine, n_mine, out));
    for (int64_t i = 0; i < ctx->n_pieces && has_fault("local_norm", ctx); i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        if (!piece->param->trained) continue;
        for (int64_t b = 0; b < vlm_piece_blocks(piece); b++, out++)
            if (!vlm_piece_is_mine(piece, vlm_ctx_rank(ctx))) *out = 0.0;
    }
    return VLMOE_OK;
}

/* ---- balance_count: balance losses divided by the tokens of all ranks, not of the group ---- */

vlmoe_tensor *__real_vlm_router_losses(vlmoe_tape *tape, vlmoe_tensor *logits,
                                       const vlm_route_policy *policy, vlm_routing *routing);
vlmoe_tensor *__wrap_vlm_router_losses(vlmoe_tape *tape, vlmoe_tensor *logits,
                                       const vlm_route_policy *policy, vlm_routing *routing);
vlmoe_tensor *__wrap_vlm_router_losses(vlmoe_tape *tape, vlmoe_tensor *logits,
                                       const vlm_route_policy *policy, vlm_routing *routing)
{
    vlm_route_policy wrong = *policy;
    if (has_fault("balance_count", tape->ctx))
        for (int l = 0; l < VLMK_N_LOSSES; l++) wrong.weight[l] /= (double)tape->ctx->ranks->size;
    return __real_vlm_router_losses(tape, logits, &wrong, routing);
}

/* ---- swapped_experts: experts 0 and 1 of each layer take each other's place when a checkpoint is read ---- */

static _Thread_local bool swaps;

vlmoe_status __real_vlm_state_read(vlmoe_context *ctx, vlm_state_kind kind, const char *prefix,
                                   const char *path, vlmoe_error *error);
vlmoe_status __wrap_vlm_state_read(vlmoe_context *ctx, vlm_state_kind kind, const char *prefix,
                                   const char *path, vlmoe_error *error);
vlmoe_status __wrap_vlm_state_read(vlmoe_context *ctx, vlm_state_kind kind, const char *prefix,
                                   const char *path, vlmoe_error *error)
{
    swaps = has_fault("swapped_experts", ctx);
    vlmoe_status st = __real_vlm_state_read(ctx, kind, prefix, path, error);
    swaps = false;
    return st;
}

const vlm_st_tensor *__real_vlm_st_find(const vlm_st *st, const char *name);
const vlm_st_tensor *__wrap_vlm_st_find(const vlm_st *st, const char *name);
const vlm_st_tensor *__wrap_vlm_st_find(const vlm_st *st, const char *name)
{
    static const char mark[] = ".experts.";
    const char *found = swaps ? strstr(name, mark) : NULL;
    const char *id = found ? found + sizeof mark - 1 : NULL;
    char other[256];
    if (!id || (*id != '0' && *id != '1') || id[1] != '.') return __real_vlm_st_find(st, name);
    snprintf(other, sizeof other, "%s", name);
    other[id - name] = *id == '0' ? '1' : '0';
    return __real_vlm_st_find(st, other);
}

/* ---- neighbours_capacity: a group's experts take as many tokens as the next rank's group allows ---- */

static vlm_route_policy neighbours(vlmoe_tape *tape, const vlm_route_policy *own)
{
    const vlm_ranks *ranks = tape->ctx->ranks;
    const int64_t tokens = own->set_offset[own->n_sets];
    int64_t *all = vlm_alloc_array((size_t)ranks->size, sizeof *all);
    vlm_route_policy wrong = *own;
    if (all &&
        !vlm_comm_share(ranks->world, "fault: tokens of groups", &tokens, sizeof tokens, all,
                        &tape->ctx->error) &&
        tokens)
        wrong.capacity_factor *= (double)all[(ranks->rank + 1) % ranks->size] / (double)tokens;
    vlm_free(all);
    return wrong;
}

vlmoe_tensor *__real_vlm_route(vlmoe_tape *tape, vlmoe_tensor *logits,
                               const vlm_route_policy *policy, vlm_routing **routing);
vlmoe_tensor *__wrap_vlm_route(vlmoe_tape *tape, vlmoe_tensor *logits,
                               const vlm_route_policy *policy, vlm_routing **routing);
vlmoe_tensor *__wrap_vlm_route(vlmoe_tape *tape, vlmoe_tensor *logits,
                               const vlm_route_policy *policy, vlm_routing **routing)
{
    if (!tape || tape->status || !has_fault("neighbours_capacity", tape->ctx))
        return __real_vlm_route(tape, logits, policy, routing);
    const vlm_route_policy wrong = neighbours(tape, policy);
    return __real_vlm_route(tape, logits, &wrong, routing);
}

/* ---- unread_moments: the rank that measures the file of moments cannot read it; unwritten_list: rank 0 cannot write the list of files ---- */

static bool has_fault_of_files(const char *name)
{
    const char *active = getenv("VLMOE_TEST_FAULT");
    return active && !strcmp(active, name);
}

vlmoe_status __real_vlm_ckpt_measure(const char *path, uint64_t *bytes, uint64_t *hash,
                                     vlmoe_error *error);
vlmoe_status __wrap_vlm_ckpt_measure(const char *path, uint64_t *bytes, uint64_t *hash,
                                     vlmoe_error *error);
vlmoe_status __wrap_vlm_ckpt_measure(const char *path, uint64_t *bytes, uint64_t *hash,
                                     vlmoe_error *error)
{
    if (has_fault_of_files("unread_moments") && strstr(path, "optimiser.safetensors"))
        return vlm_fail(error, VLMOE_E_IO, "cannot read %s: made up", path);
    return __real_vlm_ckpt_measure(path, bytes, hash, error);
}

vlmoe_status __real_vlm_ckpt_list_write(const char *dir, const vlm_ckpt_list *list,
                                        vlmoe_error *error);
vlmoe_status __wrap_vlm_ckpt_list_write(const char *dir, const vlm_ckpt_list *list,
                                        vlmoe_error *error);
vlmoe_status __wrap_vlm_ckpt_list_write(const char *dir, const vlm_ckpt_list *list,
                                        vlmoe_error *error)
{
    if (has_fault_of_files("unwritten_list"))
        return vlm_fail(error, VLMOE_E_IO, "cannot write the list of files: made up");
    return __real_vlm_ckpt_list_write(dir, list, error);
}
