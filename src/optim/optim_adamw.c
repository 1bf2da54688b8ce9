/* AdamW (Loshchilov and Hutter 2019) and the gradient norm it clips by. Schedules stand elsewhere. */
#include <math.h>
#include <string.h>
#include "base_rng.h"
#include "optim_adamw.h"
#include "optim_reduce.h"
#include "vlmoe/ops.h"

static bool is_stepped(const vlmoe_context *ctx, const vlm_piece *piece)
{
    return piece->param->trained && vlm_piece_is_mine(piece, vlm_ctx_rank(ctx));
}

/* Does b begin where a ends, in every memory that a step meets? Experts of one parameter do on one rank. */
static bool goes_on(const vlmoe_context *ctx, const vlm_piece *a, const vlm_piece *b)
{
    size_t wide = vlm_dtype_bytes(ctx->wide), copy = vlm_dtype_bytes(ctx->compute);
    bool copy_goes_on =
        !a->copy || (const char *)b->copy == (const char *)a->copy + (size_t)a->n * copy;
    return a->param == b->param && is_stepped(ctx, b) && copy_goes_on &&
           b->moment == a->moment + a->n &&
           (const char *)b->value == (const char *)a->value + (size_t)a->n * wide &&
           (const char *)b->grad == (const char *)a->grad + (size_t)a->n * wide;
}

/* How many pieces from pieces[i] on one call may take for one; kernel calls cost, and experts are many. in_blocks: blocks of the run
 * must be those of its pieces. */
static int64_t run_from(const vlmoe_context *ctx, int64_t i, bool in_blocks)
{
    int64_t end = i + 1;
    for (; end < ctx->n_pieces; end++) {
        const vlm_piece *last = &ctx->pieces[end - 1];
        if (in_blocks && last->n % VLMK_NORM_BLOCK) break;
        if (!goes_on(ctx, last, last + 1)) break;
    }
    return end - i;
}

static int64_t run_elements(const vlm_piece *piece, int64_t run)
{
    int64_t n = 0;
    for (int64_t i = 0; i < run; i++) n += piece[i].n;
    return n;
}

/* Sums of squares of the gradients that this rank owns, block by block of each file tensor; partial and host [n]. */
static vlmoe_status take_partials(vlmoe_context *ctx, int64_t n, double *partial, double *host)
{
    int64_t at = 0;
    for (int64_t i = 0, run; i < ctx->n_pieces; i += run) {
        const vlm_piece *piece = &ctx->pieces[i];
        run = 1;
        if (!is_stepped(ctx, piece)) continue;
        run = run_from(ctx, i, true);
        const vlmk_square_sum_args args = {
            .n = run_elements(piece, run), .x = piece->grad, .partial = partial + at};
        VLM_TRY(VLM_KERNEL(ctx, square_sum, &args));
        for (int64_t k = 0; k < run; k++) at += vlm_piece_blocks(&piece[k]);
    }
    if (!ctx->backend->has_data) return VLMOE_OK;
    VLM_TRY(ctx->backend->sync(ctx->device, &ctx->error));
    vlmoe_status status =
        ctx->backend->download(ctx->device, host, partial, (size_t)n * sizeof *host);
    return status ? vlm_fail(&ctx->error, status, "reading the gradient norm failed on device %s",
                             ctx->backend->name)
                  : VLMOE_OK;
}

/* Added in one order, whatever computed them. NUMERIC names the first parameter that is not finite. */
static vlmoe_status add_partials(vlmoe_context *ctx, const double *partial, double *out)
{
    double sum = 0.0;
    for (int64_t i = 0; i < ctx->n_pieces; i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        if (!piece->param->trained) continue;
        for (int64_t b = 0; b < vlm_piece_blocks(piece); b++) sum += *partial++;
        if (!isfinite(sum))
            return vlm_fail(&ctx->error, VLMOE_E_NUMERIC, "the gradient of %s is not finite",
                            piece->param->name);
    }
    *out = sqrt(sum);
    return VLMOE_OK;
}

static vlmoe_status gradient_norm(vlmoe_context *ctx, double *out)
{
    int64_t total = 0, n = 0; /* of all ranks, of this one */
    *out = 0.0;
    for (int64_t i = 0; i < ctx->n_pieces; i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        if (piece->param->trained) total += vlm_piece_blocks(piece);
        if (is_stepped(ctx, piece)) n += vlm_piece_blocks(piece);
    }
    double *partial = vlm_heap_take(&ctx->arena, (size_t)VLM_MAX(n, 1) * sizeof *partial);
    const vlm_stack_mark mark = vlm_stack_here(&ctx->host);
    const size_t bytes = (size_t)total * sizeof(double);
    double *host = vlm_stack_take(&ctx->host, bytes);
    double *all = ctx->ranks ? vlm_stack_take(&ctx->host, bytes) : host;
    if (host) memset(host, 0, bytes); /* what a device without data leaves */
    vlmoe_status status = VLMOE_OK;
    if (!partial || !host || !all)
        status =
            vlm_fail(&ctx->error, VLMOE_E_NOMEM,
                     "no memory for the %lld partial sums of the gradient norm", (long long)total);
    if (!status) status = take_partials(ctx, n, partial, host);
    if (!status && ctx->ranks) status = vlm_reduce_share_blocks(ctx, host, n, all);
    if (!status) status = add_partials(ctx, all, out); /* without data: zeros */
    vlm_stack_rewind(&ctx->host, mark);
    vlm_heap_give(&ctx->arena, partial);
    return status;
}

/* n elements from piece on: itself, or with those that go on where it ends. */
static vlmoe_status step_piece(vlmoe_context *ctx, const vlm_piece *piece, int64_t n,
                               const vlm_adamw_opts *opts, int64_t step, double grad_scale)
{
    const vlm_param *param = piece->param;
    uint64_t expert = (uint64_t)VLM_MAX(piece->expert, 0);
    const vlmk_adamw_args args = {.n = n,
                                  .first = piece->first,
                                  .param = piece->value,
                                  .grad = piece->grad,
                                  .m = vlm_piece_moment(ctx, piece, 0),
                                  .v = vlm_piece_moment(ctx, piece, 1),
                                  .copy = piece->copy,
                                  .copy_dtype = ctx->compute,
                                  .moment_dtype = ctx->moment_dtype,
                                  .key = vlm_rng_key(ctx->seed, VLM_STREAM_MOMENTS, (uint64_t)step,
                                                     (uint64_t)param->index, expert),
                                  .lr = opts->lr * param->lr_scale,
                                  .beta1 = opts->beta1,
                                  .beta2 = opts->beta2,
                                  .eps = opts->eps,
                                  .decay = param->decays ? opts->weight_decay : 0.0,
                                  .correction1 = 1.0 - pow(opts->beta1, (double)step),
                                  .correction2 = 1.0 - pow(opts->beta2, (double)step),
                                  .grad_scale = grad_scale};
    return VLM_KERNEL(ctx, adamw, &args);
}

/* Draws of bf16 moments are each piece's own. */
static vlmoe_status step_pieces(vlmoe_context *ctx, const vlm_adamw_opts *opts, int64_t step,
                                double grad_scale)
{
    for (int64_t i = 0, run; i < ctx->n_pieces; i += run) {
        const vlm_piece *piece = &ctx->pieces[i];
        run = 1;
        if (!is_stepped(ctx, piece)) continue;
        if (ctx->moment_dtype == ctx->wide) run = run_from(ctx, i, false);
        VLM_TRY(step_piece(ctx, piece, run_elements(piece, run), opts, step, grad_scale));
    }
    return VLMOE_OK;
}

static vlmoe_status check_opts(vlmoe_context *ctx, const vlm_adamw_opts *o, int64_t step)
{
    bool betas_fit = o->beta1 >= 0.0 && o->beta1 < 1.0 && o->beta2 >= 0.0 && o->beta2 < 1.0;
    bool rest_fits = isfinite(o->lr) && o->eps >= 0.0 && o->weight_decay >= 0.0 && o->clip >= 0.0 &&
                     isfinite(o->grad_scale);
    if (step >= 1 && betas_fit && rest_fits) return VLMOE_OK;
    return vlm_fail(
        &ctx->error, VLMOE_E_ARG,
        "AdamW step %lld with lr %g, betas %g and %g, eps %g, decay %g, clip %g, gradient scale %g",
        (long long)step, o->lr, o->beta1, o->beta2, o->eps, o->weight_decay, o->clip,
        o->grad_scale);
}

vlmoe_status vlm_adamw_apply(vlmoe_context *ctx, const vlm_adamw_opts *opts, int64_t step,
                             double *grad_norm)
{
    double norm;
    vlm_ctx_error(ctx);
    VLM_TRY(check_opts(ctx, opts, step));
    VLM_TRY(vlm_ctx_moments(ctx));
    VLM_TRY(gradient_norm(ctx, &norm));
    norm *= fabs(opts->grad_scale);
    double scale = opts->grad_scale;
    if (opts->clip > 0.0) scale *= fmin(1.0, opts->clip / (norm + 1e-6));
    VLM_TRY(step_pieces(ctx, opts, step, scale));
    VLM_TRY(vlm_reduce_share_values(ctx));
    VLM_TRY(ctx->backend->sync(ctx->device, &ctx->error));
    if (grad_norm) *grad_norm = norm;
    return VLMOE_OK;
}

vlmoe_status vlmoe_adamw_step(vlmoe_context *ctx, const vlmoe_adamw_params *params, int64_t step,
                              double *grad_norm)
{
    if (params->struct_size != sizeof *params)
        return vlm_fail(
            vlm_ctx_error(ctx), VLMOE_E_ARG,
            "struct_size of vlmoe_adamw_params is %zu, expected %zu: start from VLMOE_ADAMW_PARAMS",
            params->struct_size, sizeof *params);
    const vlm_adamw_opts opts = {.lr = params->lr,
                                 .beta1 = params->beta1,
                                 .beta2 = params->beta2,
                                 .eps = params->eps,
                                 .weight_decay = params->weight_decay,
                                 .clip = params->clip,
                                 .grad_scale = params->grad_scale};
    return vlm_adamw_apply(ctx, &opts, step, grad_norm);
}
