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

enum { MOST_RECORDED = 16 }; /* groups */

static vlmoe_status record_pretrain(vlmoe_context *ctx, const vlmoe_config *c,
                                    const vlm_mome *model, const vlm_group *group, vlm_plan *plan)
{
    vlmoe_tape *tape = NULL;
    vlm_masked masked = {0};
    int64_t n = (group->n_images + group->n_pairs) * group->n_patches;
    int32_t *codes = vlm_alloc_array((size_t)n, sizeof *codes);
    if (!codes) return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "out of memory for codes");
    size_t most = c->run.groups > 1 ? (size_t)c->run.defer_mib << 20 : 0;
    int64_t n_groups = 1;
    vlmoe_status st = vlm_defer_open(ctx, most ? SIZE_MAX / 2 : 0);
    for (int64_t p = 0; p < n_groups && !st; p++) {
        st = vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape);
        if (st) break;
        vlm_masked_record(tape, model, c, group, codes, &masked);
        vlm_masked_release(tape, &masked);
        st = vlmoe_tape_backward(tape, 1.0);
        plan->tokens = masked.model.rows.n_rows * c->run.groups;
        vlmoe_tape_end(tape);
        size_t waiting = vlm_defer_waiting(ctx);
        if (p || !waiting) continue;
        /* What waits is summed by one call over groups: as many are recorded, for that call's scratch. */
        plan->defer_bytes = VLM_MIN(most, waiting * (size_t)c->run.groups);
        n_groups = VLM_MIN(c->run.groups, VLM_MIN(MOST_RECORDED, (int64_t)(most / waiting)));
    }
    if (!st) st = vlm_defer_flush(ctx);
    plan->recorded = VLM_MAX(n_groups, 1);
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
    plan->moment_bytes =
        2 * (size_t)ctx->n_elements * (strcmp(c->optim.moments, "bf16") ? wide : 2);
    plan->copy_bytes =
        ctx->compute == ctx->wide ? 0 : (size_t)ctx->n_elements * vlm_dtype_bytes(ctx->compute);
    plan->step_bytes = ctx->arena.peak;
    plan->flops = ctx->backend->flops(ctx->device) * (double)c->run.groups /
                  (double)VLM_MAX(plan->recorded, 1);
    plan->scratch_bytes = ctx->backend->scratch_peak(ctx->device);
    plan->products_bytes = ctx->backend->products_bytes(ctx->device);
    plan->host_bytes = ctx->host_arena.peak;
    if (!plan->per_token) plan->per_token = plan->parameters;
}

static size_t ring_bytes(const vlmoe_config *c)
{
    const int64_t grid = c->model.image_size / c->model.patch;
    const int64_t images = vlm_uses_images(c) ? c->data.images_per_group : 0,
                  texts = vlm_uses_texts(c) ? c->data.texts_per_group : 0,
                  pairs = vlm_uses_pairs(c) ? c->data.pairs_per_group : 0;
    const vlm_group_shape shape = {.n_pictures = images + pairs,
                                   .n_texts = texts + pairs,
                                   .n_samples = images + texts + pairs,
                                   .image_size = c->model.image_size,
                                   .n_patches = grid * grid,
                                   .text_len = c->model.text_len};
    return (size_t)(c->data.prefetch + 1) * vlm_group_bytes(&shape, NULL);
}

static void add_up(vlm_plan *p)
{
    p->total_bytes = p->master_bytes + p->grad_bytes + p->moment_bytes + p->copy_bytes +
                     p->step_bytes + p->defer_bytes + p->scratch_bytes + p->products_bytes +
                     p->ring_bytes + p->host_bytes;
}

void vlm_plan_held(const vlmoe_trainer *t, vlm_plan *out)
{
    vlm_plan held = {.ring_bytes = ring_bytes(t->config), .defer_bytes = vlm_defer_peak(t->ctx)};
    read_sizes(t->ctx, t->config, &held);
    if (!t->ctx->moments) held.moment_bytes = 0;
    held.recompute_blocks = t->config->run.recompute && t->model ? t->config->model.layers
                                                                 : t->config->run.recompute_blocks;
    held.flops = 0.0;
    add_up(&held);
    *out = held;
}

static vlmoe_status plan_once(const vlmoe_config *config, int64_t n_words, vlm_plan *out,
                              vlmoe_error *error)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlm_group group = {0};
    vlm_plan plan = {.ring_bytes = ring_bytes(config)};
    params.device = "meta";
    params.n_threads = (int)config->run.threads;
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
    if (st) return st;
    add_up(&plan);
    plan.recompute_blocks =
        config->run.recompute ? config->model.layers : config->run.recompute_blocks;
    *out = plan;
    return VLMOE_OK;
}

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

static vlmoe_status too_small(const vlmoe_config *c, const vlm_plan *least, vlmoe_error *error)
{
    return vlm_fail(
        error, VLMOE_E_ARG,
        "run.memory_mib = %lld: this config needs at least %.0f MiB%s: parameters %.0f, "
        "gradients %.0f, moments %.0f, compute copies %.0f, activations of one group "
        "%.0f, scratch and products %.0f, groups prepared ahead %.0f",
        (long long)c->run.memory_mib, mib(least->total_bytes) + 1.0,
        is_pretrain(c) ? " with every block run again" : "", mib(least->master_bytes),
        mib(least->grad_bytes), mib(least->moment_bytes), mib(least->copy_bytes),
        mib(least->step_bytes), mib(least->scratch_bytes + least->products_bytes),
        mib(least->ring_bytes));
}

/* Each block that is run again leaves less to hold, but for the one block that any of them needs whole; so the first number from 0 that
 * fits is the smallest, and all of them is the least. Rows of experts stop waiting for the step's end before anything is run again. */
vlmoe_status vlm_plan_make(const vlmoe_config *config, int64_t n_words, vlm_plan *out,
                           vlmoe_error *error)
{
    const size_t target = (size_t)config->run.memory_mib << 20;
    const int64_t most = is_pretrain(config) ? config->model.layers : 0;
    vlmoe_config c = *config; /* lists and texts stay the caller's */
    vlm_plan plan = {0};
    if (!target) return plan_once(config, n_words, out, error);
    c.run.recompute = false;
    for (int is_at_once = 0; is_at_once < 2; is_at_once++) {
        if (is_at_once) c.run.defer_mib = 0;
        for (c.run.recompute_blocks = 0; c.run.recompute_blocks <= (is_at_once ? most : 0);
             c.run.recompute_blocks++) {
            VLM_TRY(plan_once(&c, n_words, &plan, error));
            if (plan.total_bytes > target) continue;
            *out = plan;
            return VLMOE_OK;
        }
    }
    return too_small(config, &plan, error);
}
