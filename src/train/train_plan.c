/* A config's sizes, by recording its largest group on the meta device. */
#include <string.h>
#include "autograd_defer.h"
#include "train_plan.h"

static bool is_pretrain(const vlmoe_config *c)
{
    return !strcmp(c->run.task, "pretrain");
}

bool vlm_uses_images(const vlmoe_config *c)
{
    return c->data.images_per_group > 0 && (!is_pretrain(c) || c->objective.image_weight > 0);
}

bool vlm_uses_texts(const vlmoe_config *c)
{
    return is_pretrain(c) && c->data.texts_per_group > 0 && c->objective.text_weight > 0;
}

bool vlm_uses_pairs(const vlmoe_config *c)
{
    return is_pretrain(c) && c->data.pairs_per_group > 0 &&
           (c->objective.pair_text_weight > 0 || c->objective.pair_image_weight > 0);
}

bool vlm_needs_words(const vlmoe_config *c)
{
    return vlm_uses_texts(c) || vlm_uses_pairs(c);
}

bool vlm_needs_codes(const vlmoe_config *c)
{
    return is_pretrain(c) &&
           (vlm_uses_images(c) || (vlm_uses_pairs(c) && c->objective.pair_image_weight > 0));
}

/* The largest group that a config can produce: every text at its longest, masks at their highest share. */
static vlmoe_status largest_group(const vlmoe_config *c, vlm_group *group, vlmoe_error *error)
{
    int64_t side = c->model.image_size, grid = side / c->model.patch;
    *group = (vlm_group){.image_size = side, .n_patches = grid * grid};
    group->n_images = vlm_uses_images(c) ? c->data.images_per_group : 0;
    group->n_texts = vlm_uses_texts(c) ? c->data.texts_per_group : 0;
    group->n_pairs = vlm_uses_pairs(c) ? c->data.pairs_per_group : 0;
    int64_t pictures = group->n_images + group->n_pairs, texts = group->n_pairs + group->n_texts;
    group->n_tokens = texts * c->model.text_len;
    group->pixels = vlm_alloc_array((size_t)pictures, (size_t)(side * side * 3));
    group->patch_mask = vlm_alloc_array((size_t)pictures, (size_t)group->n_patches);
    group->token = vlm_alloc_array((size_t)group->n_tokens, sizeof *group->token);
    group->token_target = vlm_alloc_array((size_t)group->n_tokens, sizeof *group->token_target);
    group->text_offset = vlm_alloc_array((size_t)texts + 1, sizeof *group->text_offset);
    if (!group->pixels || !group->patch_mask || !group->token || !group->token_target ||
        !group->text_offset)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the largest group of this config");
    for (int64_t i = 0; i <= texts; i++) group->text_offset[i] = (int32_t)(i * c->model.text_len);
    const vlm_cfg_objective *o = &c->objective;
    double pair_rate = VLM_MAX(o->pair_text_mask, o->pair_text_mask_max);
    for (int64_t i = 0; i < group->n_tokens; i++) {
        double rate = i < group->n_pairs * c->model.text_len ? pair_rate : o->text_mask;
        int64_t place = i % c->model.text_len;
        bool is_masked = place > 0 &&
                         (double)(place - 1) < rate * (double)(c->model.text_len - 2) + 1.0 &&
                         place < c->model.text_len - 1;
        group->token_target[i] = is_masked ? 0 : -1;
    }
    for (int64_t i = 0; i < pictures * group->n_patches; i++) {
        double rate = i < group->n_images * group->n_patches ? o->image_mask : o->pair_image_mask;
        group->patch_mask[i] =
            (double)(i % group->n_patches) < rate * (double)group->n_patches + 1.0;
    }
    return VLMOE_OK;
}

static void free_group(vlm_group *group)
{
    vlm_free(group->pixels);
    vlm_free(group->patch_mask);
    vlm_free(group->token);
    vlm_free(group->token_target);
    vlm_free(group->text_offset);
}

static vlmoe_status record_pretrain(vlmoe_context *ctx, const vlmoe_config *c,
                                    const vlm_mome *model, const vlm_group *group, vlm_plan *plan)
{
    vlmoe_tape *tape = NULL;
    vlm_masked masked = {0};
    int64_t n = (group->n_images + group->n_pairs) * group->n_patches;
    int32_t *codes = vlm_alloc_array((size_t)n, sizeof *codes);
    if (!codes) return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "out of memory for codes");
    size_t most = c->run.groups > 1 ? (size_t)c->run.defer_mib << 20 : 0;
    vlmoe_status st = vlm_defer_open(ctx, most ? SIZE_MAX / 2 : 0);
    if (!st) st = vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape);
    if (!st) vlm_masked_record(tape, model, c, group, codes, &masked);
    if (!st) vlm_masked_release(tape, &masked);
    if (!st) st = vlmoe_tape_backward(tape, 1.0);
    plan->tokens = masked.model.rows.n_rows * c->run.groups;
    vlmoe_tape_end(tape);
    plan->defer_bytes = VLM_MIN(most, vlm_defer_waiting(ctx) * (size_t)c->run.groups);
    if (!st) st = vlm_defer_flush(ctx);
    vlm_free(codes);
    return st;
}

static vlmoe_status record_tokeniser(vlmoe_context *ctx, vlm_tokeniser *tokeniser,
                                     const vlm_group *group)
{
    vlmoe_tape *tape = NULL;
    vlm_tokeniser_losses losses = {0};
    vlmoe_status st = vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape);
    if (!st) vlm_tokeniser_loss(tape, tokeniser, group->n_images, group->pixels, &losses);
    if (!st) st = vlmoe_tape_backward(tape, 1.0);
    vlmoe_tape_end(tape);
    return st;
}

static vlmoe_status record(vlmoe_context *ctx, const vlmoe_config *c, int64_t n_words,
                           const vlm_group *group, vlm_plan *plan)
{
    vlm_mome *model = NULL;
    vlm_tokeniser *tokeniser = NULL;
    vlmoe_status st = VLMOE_OK;
    if (!is_pretrain(c)) {
        st = vlm_tokeniser_create(ctx, c, true, &tokeniser);
        if (!st) st = record_tokeniser(ctx, tokeniser, group);
    } else {
        st = vlm_mome_create(ctx, c, n_words, vlm_needs_codes(c) ? c->tokeniser.codes : 0, &model);
        if (!st && vlm_needs_codes(c)) st = vlm_tokeniser_create(ctx, c, false, &tokeniser);
        if (!st) st = record_pretrain(ctx, c, model, group, plan);
        if (!st) plan->per_token = vlm_mome_count(model).per_token;
        int64_t pictures = group->n_images + group->n_pairs;
        int32_t *codes = vlm_alloc_array((size_t)(pictures * group->n_patches), sizeof *codes);
        if (!st && tokeniser && codes)
            st = vlm_tokeniser_codes(tokeniser, pictures, group->pixels, codes);
        if (st == VLMOE_E_UNSUPPORTED)
            st = VLMOE_OK; /* meta has no codes to give back, but has seen the sizes */
        vlm_free(codes);
    }
    vlm_mome_destroy(model);
    vlm_tokeniser_destroy(tokeniser);
    return st;
}

static void read_sizes(const vlmoe_context *ctx, const vlmoe_config *c, vlm_plan *plan)
{
    size_t wide = vlm_dtype_bytes(ctx->wide);
    for (int64_t i = 0; i < ctx->n_params; i++) {
        int64_t n = vlm_param_elements(ctx->params[i]);
        plan->parameters += n;
        if (ctx->params[i]->trained) plan->trained += n;
    }
    plan->master_bytes = (size_t)ctx->n_elements * wide;
    plan->grad_bytes = plan->master_bytes;
    plan->moment_bytes = 2 * plan->master_bytes;
    plan->copy_bytes =
        ctx->compute == ctx->wide ? 0 : (size_t)ctx->n_elements * vlm_dtype_bytes(ctx->compute);
    plan->step_bytes = ctx->arena.peak;
    plan->flops = ctx->backend->flops(ctx->device) * (double)c->run.groups;
    plan->scratch_bytes = ctx->backend->scratch_peak(ctx->device);
    if (!plan->per_token) plan->per_token = plan->parameters;
}

vlmoe_status vlm_plan_make(const vlmoe_config *config, int64_t n_words, vlm_plan *out,
                           vlmoe_error *error)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlm_group group = {0};
    vlm_plan plan = {0};
    params.device = "meta";
    params.compute = strcmp(config->run.dtype, "bf16") ? VLMOE_F32 : VLMOE_BF16;
    params.step_bytes = (size_t)1 << 60; /* addresses only */
    VLM_TRY(vlmoe_context_create(&params, &ctx, error));
    vlmoe_status st = largest_group(config, &group, error);
    if (!st) {
        st = record(ctx, config, n_words, &group, &plan);
        if (st) vlm_fail(error, st, "dry run: %s", vlmoe_context_error(ctx));
    }
    if (!st) read_sizes(ctx, config, &plan);
    free_group(&group);
    vlmoe_context_destroy(ctx);
    if (!st) *out = plan;
    return st;
}
