/* A config's sizes, by recording its largest group on the meta device. */
#include <string.h>
#include "autograd_defer.h"
#include "optim_reduce.h"
#include "train_plan.h"
#include "train_contrast.h"
#include "train_plan_parts.h"

bool vlm_needs_words(const vlmoe_config *c)
{
    const vlm_group_counts group = vlm_config_group(c);
    return vlm_config_has_encoder(c) && (group.texts > 0 || group.pairs > 0);
}

bool vlm_needs_codes(const vlmoe_config *c)
{
    const vlm_group_counts group = vlm_config_group(c);
    return vlm_config_has_encoder(c) && !vlm_config_is_tuned(c) &&
           (group.images > 0 || (group.pairs > 0 && c->objective.pair_image_weight > 0));
}

enum { MOST_RECORDED = 16 }; /* groups */

static vlmoe_status record_encoder(vlmoe_context *ctx, const vlmoe_config *c,
                                   const vlm_plan_parts *parts, vlm_plan *plan)
{
    vlmoe_tape *tape = NULL;
    vlm_recording recording = {0};
    size_t most = c->run.groups > vlm_ctx_size(ctx) ? (size_t)c->run.defer_mib << 20 : 0;
    int64_t n_groups = 1;
    vlmoe_status st = vlm_defer_open(ctx, most ? SIZE_MAX / 2 : 0);
    for (int64_t p = 0; p < n_groups && !st; p++) {
        st = vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape);
        if (st) break;
        vlm_recording_make(tape, &parts->models, c, &parts->group, NULL, &recording);
        vlm_recording_release(tape, &recording);
        st = vlmoe_tape_backward(tape, 1.0);
        plan->tokens = recording.model->rows.n_rows * c->run.groups;
        vlmoe_tape_end(tape);
        size_t waiting = vlm_defer_waiting(ctx);
        if (p || !waiting) continue;
        /* What waits is summed by one call over groups: as many are recorded, for that call's scratch. */
        int64_t together = vlm_grad_chain_steps(ctx);
        plan->defer_bytes = VLM_MIN(most, waiting * (size_t)together);
        n_groups = VLM_MIN(together, VLM_MIN(MOST_RECORDED, (int64_t)(most / waiting)));
    }
    if (!st) st = vlm_defer_flush(ctx);
    plan->recorded = VLM_MAX(n_groups, 1);
    return st;
}

static vlmoe_status record_tokeniser(vlmoe_context *ctx, const vlm_plan_parts *parts)
{
    vlmoe_tape *tape = NULL;
    vlm_tokeniser_losses losses = {0};
    vlmoe_status st = vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape);
    if (!st)
        vlm_tokeniser_loss(tape, parts->models.tokeniser, parts->group.n_images,
                           parts->group.pixels, &losses);
    if (!st) st = vlmoe_tape_backward(tape, 1.0);
    vlmoe_tape_end(tape);
    return st;
}

static vlmoe_status record(vlmoe_context *ctx, const vlmoe_config *c, const vlm_plan_parts *parts,
                           vlm_plan *plan)
{
    const vlm_models *m = &parts->models;
    if (!m->model) return record_tokeniser(ctx, parts);
    VLM_TRY(record_encoder(ctx, c, parts, plan));
    plan->per_token = vlm_mome_count(m->model).per_token;
    const vlm_group *group = &parts->group;
    vlmoe_error ignored = {VLMOE_OK, ""};
    VLM_TRY(vlm_contrast_plan(ctx, m, c, group, &ignored));
    if (!m->tokeniser) return VLMOE_OK;
    vlmoe_status st = vlm_tokeniser_codes(m->tokeniser, group->n_images + group->n_pairs,
                                          group->pixels, m->codes);
    /* meta has no codes to give back, but has seen the sizes */
    return st == VLMOE_E_UNSUPPORTED ? VLMOE_OK : st;
}

static void read_sizes(const vlmoe_context *ctx, const vlmoe_config *c, vlm_plan *plan)
{
    for (int64_t i = 0; i < ctx->n_params; i++) {
        int64_t n = vlm_param_file_elements(ctx->params[i]) * vlm_param_files(ctx->params[i]);
        plan->parameters += n;
        if (ctx->params[i]->trained) plan->trained += n;
    }
    const vlm_state_bytes state = vlm_ctx_state_bytes(ctx);
    plan->master_bytes = state.values;
    plan->grad_bytes = state.gradients;
    plan->moment_bytes = state.moments;
    plan->copy_bytes = state.copies;
    plan->bucket_bytes = state.buckets;
    plan->step_bytes = ctx->arena.peak;
    plan->flops = ctx->backend->flops(ctx->device) * (double)c->run.groups /
                  (double)VLM_MAX(plan->recorded, 1);
    plan->scratch_bytes = ctx->backend->scratch_peak(ctx->device);
    plan->products_bytes = ctx->backend->products_bytes(ctx->device);
    plan->host_bytes = ctx->host.peak;
    if (!plan->per_token) plan->per_token = plan->parameters;
    const vlm_reduce_bytes sent = vlm_reduce_sent(ctx);
    plan->ranks = vlm_ctx_size(ctx);
    plan->gradients_sent = sent.gradients;
    plan->values_sent = sent.values;
}

static size_t ring_bytes(const vlmoe_config *c)
{
    const vlm_group_shape shape = vlm_group_shape_of(c);
    return (size_t)(c->data.prefetch + 1) * vlm_group_bytes(&shape, NULL);
}

static void add_up(vlm_plan *p)
{
    p->total_bytes = p->master_bytes + p->grad_bytes + p->moment_bytes + p->copy_bytes +
                     p->bucket_bytes + p->step_bytes + p->defer_bytes + p->scratch_bytes +
                     p->products_bytes + p->ring_bytes + p->host_bytes;
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

/* Ranks by numbers alone: nobody is there to call. */
static vlmoe_status ranks_on_paper(const vlmoe_config *c, int n_ranks, vlm_ranks *out,
                                   vlmoe_error *error)
{
    const int64_t counts[] = {vlm_config_has_encoder(c) && c->moe.v_layers.n ? c->moe.v_experts : 0,
                              vlm_config_has_encoder(c) && c->moe.t_layers.n ? c->moe.t_experts
                                                                             : 0};
    *out = (vlm_ranks){.size = n_ranks, .groups = c->run.groups};
    VLM_TRY(vlm_ranks_check(out->groups, n_ranks, error));
    for (int i = 0; i < VLM_COUNT(counts); i++) {
        if (!counts[i] || vlm_ranks_of(out, counts[i])) continue;
        VLM_TRY(vlm_expert_layout_make(counts[i], out->groups, n_ranks,
                                       &out->experts[out->n_counts++].layout, error));
    }
    return VLMOE_OK;
}

/* Prediction keeps nothing for backward, and yet may need more than training where ranks have no limit on the rows they are sent. */
static vlmoe_status record_prediction(vlmoe_context *ctx, const vlmoe_config *c,
                                      const vlm_plan_parts *parts, vlm_plan *plan)
{
    vlmoe_tape *tape = NULL;
    vlm_recording recording = {0};
    vlmoe_status st = vlmoe_tape_begin(ctx, VLMOE_PREDICT, &tape);
    if (st) return st;
    vlm_recording_make(tape, &parts->models, c, &parts->group, NULL, &recording);
    st = vlmoe_tape_status(tape);
    vlmoe_tape_end(tape);
    plan->step_bytes = ctx->arena.peak;
    plan->scratch_bytes = ctx->backend->scratch_peak(ctx->device);
    plan->products_bytes = ctx->backend->products_bytes(ctx->device);
    plan->host_bytes = ctx->host.peak;
    return st;
}

/* Everything that is recorded, and the sizes it leaves. */
static vlmoe_status record_sizes(vlmoe_context *ctx, const vlmoe_config *config,
                                 const vlm_plan_parts *parts, vlm_plan *plan)
{
    VLM_TRY(record(ctx, config, parts, plan));
    read_sizes(ctx, config, plan);
    if (!ctx->ranks || !parts->models.model) return VLMOE_OK;
    return record_prediction(ctx, config, parts, plan);
}

/* Whose plan: a config's, as one of n_ranks. */
typedef struct plan_subject {
    const vlmoe_config *config;
    int64_t n_words;
    int n_ranks;
} plan_subject;

static vlmoe_status plan_once(const plan_subject *subject, vlm_plan *out, vlmoe_error *error)
{
    const vlmoe_config *config = subject->config;
    vlm_ranks ranks;
    VLM_TRY(ranks_on_paper(config, subject->n_ranks, &ranks, error));
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlm_plan_parts parts = {0};
    vlm_plan plan = {.ring_bytes = ring_bytes(config)};
    params.device = "meta";
    params.n_threads = (int)config->run.threads;
    params.compute = strcmp(config->run.dtype, "bf16") ? VLMOE_F32 : VLMOE_BF16;
    params.step_bytes = (size_t)1 << 60; /* addresses only */
    VLM_TRY(vlmoe_context_create(&params, &ctx, error));
    if (!strcmp(config->optim.moments, "bf16")) ctx->moment_dtype = VLMOE_BF16;
    vlmoe_status st = vlm_ctx_groups(ctx, config->run.groups);
    if (!st) st = vlm_ctx_join(ctx, &ranks);
    if (!st) st = vlm_plan_parts_make(ctx, config, subject->n_words, &parts, error);
    if (!st) {
        st = record_sizes(ctx, config, &parts, &plan);
        if (st) vlm_fail(error, st, "dry run: %s", vlmoe_context_error(ctx));
    }
    vlm_plan_parts_free(&parts);
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
        vlm_config_has_encoder(c) ? " with every block run again" : "", mib(least->master_bytes),
        mib(least->grad_bytes), mib(least->moment_bytes), mib(least->copy_bytes),
        mib(least->step_bytes), mib(least->scratch_bytes + least->products_bytes),
        mib(least->ring_bytes));
}

/* Each block that is run again leaves less to hold, but for the one block that any of them needs whole; so the first number from 0 that
 * fits is the smallest, and all of them is the least. Rows of experts stop waiting for the step's end before anything is run again. */
vlmoe_status vlm_plan_of_rank(const vlmoe_config *config, int64_t n_words, int n_ranks,
                              vlm_plan *out, vlmoe_error *error)
{
    const size_t target = (size_t)config->run.memory_mib << 20;
    const int64_t most = vlm_config_has_encoder(config) ? config->model.layers : 0;
    vlmoe_config c = *config; /* lists and texts stay the caller's */
    vlm_plan plan = {0};
    const plan_subject subject = {.config = &c, .n_words = n_words, .n_ranks = n_ranks};
    if (!target) return plan_once(&subject, out, error);
    c.run.recompute = false;
    for (int is_at_once = 0; is_at_once < 2; is_at_once++) {
        if (is_at_once) c.run.defer_mib = 0;
        for (c.run.recompute_blocks = 0; c.run.recompute_blocks <= (is_at_once ? most : 0);
             c.run.recompute_blocks++) {
            VLM_TRY(plan_once(&subject, &plan, error));
            if (plan.total_bytes > target) continue;
            *out = plan;
            return VLMOE_OK;
        }
    }
    return too_small(config, &plan, error);
}

vlmoe_status vlm_plan_make(const vlmoe_config *config, int64_t n_words, vlm_plan *out,
                           vlmoe_error *error)
{
    return vlm_plan_of_rank(config, n_words, 1, out, error);
}
