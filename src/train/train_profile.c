/* A profile's course: when it begins and ends, and what the machine can do. Tables and trace are made in train_profile_report.c. */
#include <math.h>
#include <string.h>
#include "base_file.h"
#include "train_profile_report.h"

struct vlm_profile {
    int64_t first, last; /* 0 = not settled yet */
    char *path;
    vlm_spans spans;
    vlm_peaks peaks;
    bool is_running, is_done;
    vlm_text tables;
};

vlmoe_status vlm_profile_create(int64_t first, int64_t last, const char *path, vlm_profile **out,
                                vlmoe_error *error)
{
    if (first < 0 || (first > 0 && last < first))
        return vlm_fail(error, VLMOE_E_ARG, "a profile of steps %lld to %lld", (long long)first,
                        (long long)last);
    vlm_profile *profile = vlm_alloc(sizeof *profile);
    char *copy = vlm_strdup(path);
    if (!profile || !copy) {
        vlm_free(profile);
        vlm_free(copy);
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a profile");
    }
    *profile = (vlm_profile){.first = first, .last = last, .path = copy};
    vlm_spans_init(&profile->spans);
    *out = profile;
    return VLMOE_OK;
}

void vlm_profile_destroy(vlm_profile *profile)
{
    if (!profile) return;
    vlm_spans_free(&profile->spans);
    vlm_text_free(&profile->tables);
    vlm_free(profile->path);
    vlm_free(profile);
}

const char *vlm_profile_tables(const vlm_profile *profile)
{
    return profile->tables.data;
}

/* ---- what the machine can do ---- */

enum { PROBE_ROUNDS = 4, READ_BYTES = 1 << 28 };

static vlmoe_status probe_product(vlmoe_context *ctx, char *memory, double *best,
                                  vlmoe_error *error)
{
    enum { M = 2048, N = 3072, K = 768 };
    size_t bytes = vlm_dtype_bytes(ctx->compute);
    const vlmk_linear_fwd_args args = {.dtype = ctx->compute,
                                       .y_dtype = ctx->compute,
                                       .M = M,
                                       .N = N,
                                       .K = K,
                                       .G = 1,
                                       .x = memory,
                                       .w = memory + (size_t)M * K * bytes,
                                       .y = memory + (size_t)(M + N) * K * bytes};
    for (int i = 0; i < PROBE_ROUNDS; i++) {
        double begin = vlm_now();
        vlmoe_status st = VLM_KERNEL(ctx, linear_fwd, &args);
        if (!st) st = ctx->backend->sync(ctx->device, &ctx->error);
        if (st) return vlm_fail(error, st, "product probe: %s", vlmoe_context_error(ctx));
        *best = fmax(*best, 2.0 * M * N * K / (vlm_now() - begin));
    }
    return VLMOE_OK;
}

static vlmoe_status probe_read(vlmoe_context *ctx, char *memory, double *best, vlmoe_error *error)
{
    size_t wide = vlm_dtype_bytes(ctx->wide);
    int64_t n = (int64_t)((READ_BYTES / 2) / wide);
    const vlmk_square_sum_args args = {
        .n = n, .x = memory, .partial = (double *)(void *)(memory + READ_BYTES / 2)};
    for (int i = 0; i < PROBE_ROUNDS; i++) {
        double begin = vlm_now();
        vlmoe_status st = VLM_KERNEL(ctx, square_sum, &args);
        if (!st) st = ctx->backend->sync(ctx->device, &ctx->error);
        if (st) return vlm_fail(error, st, "memory probe: %s", vlmoe_context_error(ctx));
        *best = fmax(*best, (double)n * (double)wide / (vlm_now() - begin));
    }
    return VLMOE_OK;
}

vlmoe_status vlm_peaks_measure(vlmoe_context *ctx, vlm_peaks *out, vlmoe_error *error)
{
    void *memory = NULL;
    vlm_peaks peaks = {0, 0};
    VLM_TRY(ctx->backend->alloc(ctx->device, VLM_MEMORY_DEVICE, READ_BYTES, &memory, error));
    /* Memory that nobody has written is one page of zeros to many systems. */
    vlmoe_status st = ctx->backend->zero(ctx->device, memory, READ_BYTES);
    if (!st) st = probe_product(ctx, memory, &peaks.flops_per_second, error);
    if (!st) st = probe_read(ctx, memory, &peaks.bytes_per_second, error);
    ctx->backend->release(ctx->device, memory);
    if (!st) *out = peaks;
    return st;
}

/* ---- the course ---- */

static void settle_steps(vlm_profile *p, const vlmoe_trainer *t)
{
    if (p->first) return;
    int64_t end = t->config->run.steps;
    p->first = VLM_MIN(t->step + 2, end); /* the first step makes primitives and touches memory */
    p->last = VLM_MIN(t->step + 4, end);
}

vlmoe_status vlm_profile_before_step(vlm_profile *p, vlmoe_trainer *t, vlmoe_error *error)
{
    settle_steps(p, t);
    int64_t next = t->step + 1;
    if (p->is_running || p->is_done || next < p->first || next > p->last) return VLMOE_OK;
    VLM_TRY(vlm_peaks_measure(t->ctx, &p->peaks, error));
    vlmoe_status st = vlm_ctx_watch(t->ctx, &p->spans);
    if (st) return vlm_fail(error, st, "profile: %s", vlmoe_context_error(t->ctx));
    p->is_running = true;
    p->first = next;
    vlm_span_begin(&p->spans, VLM_SPAN_PHASE, "run", NULL, -1);
    return VLMOE_OK;
}

vlmoe_status vlm_profile_after_step(vlm_profile *p, vlmoe_trainer *t, vlmoe_error *error)
{
    return p->is_running && t->step >= p->last ? vlm_profile_finish(p, t, error) : VLMOE_OK;
}

vlmoe_status vlm_profile_finish(vlm_profile *p, vlmoe_trainer *t, vlmoe_error *error)
{
    vlm_text trace = {0};
    if (!p->is_running) return VLMOE_OK;
    p->is_running = false;
    p->is_done = true;
    vlm_ctx_unwatch(t->ctx);
    vlm_spans_end_to(&p->spans, (vlm_spans_mark){-1, 0});

    vlm_profile_run run = {.spans = &p->spans,
                           .peaks = p->peaks,
                           .first = p->first,
                           .last = VLM_MIN(t->step, p->last),
                           .n_workers = t->ctx->backend->env(t->ctx->device)->n_workers,
                           .dtype = vlm_dtype_name(t->ctx->compute)};
    t->ctx->backend->describe(t->ctx->device, run.device, sizeof run.device);
    vlmoe_status st = vlm_profile_write_tables(&run, &p->tables, error);
    vlm_profile_write_trace(&run, &trace);
    if (!st && trace.failed)
        st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the trace %s", p->path);
    if (!st) st = vlm_file_replace(p->path, trace.data, trace.bytes, error);
    vlm_text_free(&trace);
    return st;
}
