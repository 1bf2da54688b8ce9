/* The largest group under a profile: kernels' work by class. */
#include <string.h>
#include "autograd_defer.h"
#include "base_rng.h"
#include "optim_adamw.h"
#include "train_plan_parts.h"
#include "train_work.h"

/* ---- sorting ---- */

static int class_of(const char *kernel)
{
    if (!strncmp(kernel, "linear_", 7)) return VLM_WORK_PRODUCTS;
    if (!strncmp(kernel, "attention_", 10)) return VLM_WORK_ATTENTION;
    return VLM_WORK_MEMORY;
}

/* Adds what was recorded since the last call, and forgets it. */
static void collect(vlm_spans *spans, double share, vlm_work *out)
{
    for (int64_t i = 0; i < spans->n; i++) {
        const vlm_span *span = &spans->at[i];
        if (span->kind != VLM_SPAN_KERNEL) continue;
        int kind = class_of(span->name);
        out->amount[kind] += share * (kind == VLM_WORK_MEMORY ? span->bytes : span->flops);
        out->seconds[kind] += share * (span->end - span->begin);
    }
    spans->n = 0;
    spans->open = -1;
}

/* ---- recording ---- */

typedef struct recorder {
    vlmoe_context *ctx;
    const vlmoe_config *config;
    vlm_plan_parts parts;
    vlm_spans spans;
    vlm_group_work *out;
} recorder;

static vlmoe_status keep_layers(recorder *r, const vlm_mome_output *model)
{
    if (!model) return VLMOE_OK;
    vlm_group_work *out = r->out;
    if (out->layer || !model->n_routings) return VLMOE_OK;
    out->layer = vlm_alloc_array((size_t)model->n_routings, sizeof *out->layer);
    if (!out->layer)
        return vlm_fail(&r->ctx->error, VLMOE_E_NOMEM, "no memory for the sparse layers' work");
    out->n_layers = model->n_routings;
    for (int i = 0; i < out->n_layers; i++) {
        const vlm_mome_routing *from = &model->routings[i];
        const vlm_routing *routing = from->routing;
        double rows = (double)(routing->T * routing->K), served = 0.0;
        for (int64_t s = 0; s < routing->n_sets; s++)
            served +=
                routing->capacity[s] < 0 ? rows : (double)routing->capacity[s] * (double)routing->E;
        out->layer[i] =
            (vlm_sparse_work){.experts = routing->E,
                              .hidden = from->layer->fc1.weight->dim[1],
                              .rows = VLM_MIN(rows, served),
                              .is_rerun = r->config->run.recompute ||
                                          from->layer->block < r->config->run.recompute_blocks};
    }
    return VLMOE_OK;
}

static vlmoe_status record_group(recorder *r, bool counts)
{
    vlmoe_tape *tape = NULL;
    vlm_recording recording = {0};
    const vlm_group *group = &r->parts.group;
    const vlm_models *models = &r->parts.models;
    if (models->model && models->tokeniser) {
        vlmoe_status st = vlm_tokeniser_codes(models->tokeniser, group->n_images + group->n_pairs,
                                              group->pixels, models->codes);
        if (st && st != VLMOE_E_UNSUPPORTED) return st; /* meta has no codes to give back */
    }
    VLM_TRY(vlmoe_tape_begin(r->ctx, VLMOE_TRAIN, &tape));
    vlm_recording_make(tape, models, r->config, group, NULL, &recording);
    vlm_recording_release(tape, &recording);
    vlmoe_status st = tape->status;
    if (!st) st = keep_layers(r, recording.model);
    if (!st) st = vlmoe_tape_backward(tape, 1.0);
    vlmoe_tape_end(tape);
    if (counts) collect(&r->spans, 1.0, &r->out->group);
    return st;
}

static vlmoe_status optimise(recorder *r, int64_t step, bool counts)
{
    const vlm_adamw_opts opts = {
        .lr = 1e-6, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1.0, .grad_scale = 1.0};
    double norm;
    VLM_TRY(vlm_adamw_apply(r->ctx, &opts, step, &norm));
    if (counts) collect(&r->spans, 1.0, &r->out->optimiser);
    return VLMOE_OK;
}

static vlmoe_status record_rounds(recorder *r, int rounds)
{
    int first = r->ctx->backend->has_data ? 0 : 1; /* round 0 makes products and touches memory */
    for (int round = first; round <= rounds; round++) {
        if (round == 1) VLM_TRY(vlm_ctx_watch(r->ctx, &r->spans));
        VLM_TRY(vlmoe_grad_zero(r->ctx));
        VLM_TRY(record_group(r, round > 0));
        VLM_TRY(optimise(r, round + 1, round > 0));
    }
    vlm_ctx_unwatch(r->ctx);
    return VLMOE_OK;
}

static void average(vlm_work *work, int rounds)
{
    for (int i = 0; i < VLM_N_WORK; i++) {
        work->amount[i] /= rounds;
        work->seconds[i] /= rounds;
    }
}

static vlmoe_status open_context(const char *device, const vlmoe_config *config,
                                 vlmoe_context **out, vlmoe_error *error)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    params.device = device;
    params.n_threads = (int)config->run.threads;
    params.compute = strcmp(config->run.dtype, "bf16") ? VLMOE_F32 : VLMOE_BF16;
    VLM_TRY(vlmoe_context_create(&params, out, error));
    if (!strcmp(config->optim.moments, "bf16")) (*out)->moment_dtype = VLMOE_BF16;
    return VLMOE_OK;
}

/* Values, since routers must differ from expert to expert, or all rows meet one; pictures of noise, and a code book made of them. */
static vlmoe_status fill(recorder *r)
{
    vlm_group *group = &r->parts.group;
    int64_t pictures = group->n_images + group->n_pairs,
            n = pictures * group->image_size * group->image_size * 3;
    VLM_TRY(vlm_ctx_build(r->ctx));
    VLM_TRY(vlm_defer_open(r->ctx, 0));
    if (!r->ctx->backend->has_data) return VLMOE_OK;
    vlm_rng rng = vlm_rng_at(0, VLM_STREAM_INIT, 0, 0, 0);
    for (int64_t i = 0; i < n; i++) group->pixels[i] = (uint8_t)vlm_rng_below(&rng, 256);
    VLM_TRY(vlm_ctx_init_params(r->ctx));
    return r->parts.models.tokeniser
               ? vlm_tokeniser_start(r->parts.models.tokeniser, pictures, group->pixels)
               : VLMOE_OK;
}

vlmoe_status vlm_group_work_record(const char *device, const vlmoe_config *config, int64_t n_words,
                                   int rounds, vlm_group_work *out, vlmoe_error *error)
{
    vlm_group_work work = {0};
    recorder r = {.config = config, .out = &work};
    vlm_spans_init(&r.spans);
    vlmoe_status st = open_context(device, config, &r.ctx, error);
    if (!st) st = vlm_plan_parts_make(r.ctx, config, n_words, &r.parts, error);
    if (!st) {
        st = fill(&r);
        if (!st) st = record_rounds(&r, rounds);
        if (st) vlm_fail(error, st, "work of a group: %s", vlmoe_context_error(r.ctx));
        work.trained_moment_bytes = vlm_ctx_state_bytes(r.ctx).moments;
    }
    average(&work.group, rounds);
    average(&work.optimiser, rounds);
    vlm_plan_parts_free(&r.parts);
    vlmoe_context_destroy(r.ctx);
    vlm_spans_free(&r.spans);
    if (st) vlm_group_work_free(&work);
    else *out = work;
    return st;
}

void vlm_group_work_free(vlm_group_work *work)
{
    vlm_free(work->layer);
    *work = (vlm_group_work){0};
}
