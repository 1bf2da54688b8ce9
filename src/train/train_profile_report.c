/* A profile's tables and trace. A span's own time is its duration without its children's, so that every table adds up: phases to the
 * whole time, operations and kernels to that of the steps, without checkpoints and evaluations in between. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "train_profile_report.h"

/* ---- rows ---- */

enum { NAME_BYTES = 96, FIRST_ROWS = 64 };

typedef struct row {
    char name[NAME_BYTES];
    int64_t calls;
    double seconds, outside; /* outside: not in kernels */
    double flops, bytes, busy;
} row;

typedef struct row_table {
    row *at;
    int n, capacity;
    bool failed;
} row_table;

static row *row_of(row_table *rows, const char *name)
{
    for (int i = 0; i < rows->n; i++)
        if (!strcmp(rows->at[i].name, name)) return &rows->at[i];
    if (rows->n == rows->capacity) {
        int capacity = rows->capacity ? 2 * rows->capacity : FIRST_ROWS;
        row *at = realloc(rows->at, (size_t)capacity * sizeof *at);
        rows->failed |= !at;
        if (!at) return NULL;
        rows->at = at;
        rows->capacity = capacity;
    }
    row *r = &rows->at[rows->n++];
    *r = (row){.calls = 0};
    snprintf(r->name, sizeof r->name, "%s", name);
    return r;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const row *)a)->seconds, y = ((const row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void sort_rows(row_table *rows)
{
    if (rows->n) qsort(rows->at, (size_t)rows->n, sizeof *rows->at, by_time);
}

static double duration(const vlm_span *span)
{
    return span->end - span->begin;
}

static bool is_operation(const vlm_span *span)
{
    return span->kind == VLM_SPAN_FORWARD || span->kind == VLM_SPAN_BACKWARD;
}

/* "blocks.3.ffn_v.fc1.weight" counts with its like of the other blocks: each number becomes a star. */
static void operation_name(const vlm_span *span, char out[NAME_BYTES])
{
    if (!is_operation(span)) {
        snprintf(out, NAME_BYTES, "(%s)", span->name);
        return;
    }
    const char *direction = span->kind == VLM_SPAN_FORWARD ? "fwd" : "bwd";
    size_t n = (size_t)snprintf(out, NAME_BYTES, "%s %s ", direction, span->name);
    for (const char *c = span->place ? span->place : ""; *c && n + 1 < NAME_BYTES; c++) {
        bool is_digit = isdigit((unsigned char)*c), is_number = is_digit && out[n - 1] == '.';
        if (is_digit && out[n - 1] == '*') continue;
        out[n++] = is_number ? '*' : *c;
    }
    out[n] = '\0';
}

typedef struct rows_of_run {
    row_table phases, operations, kernels;
    double total, in_steps, in_kernels; /* seconds; in_kernels is of the steps */
} rows_of_run;

/* Add a kernel to its own row and to the operation, or phase, that called it. */
static void add_kernel(rows_of_run *all, const vlm_span *span, const vlm_span *parent)
{
    char name[NAME_BYTES];
    operation_name(parent, name);
    row *target[2] = {row_of(&all->kernels, span->name), row_of(&all->operations, name)};
    for (int i = 0; i < 2; i++) {
        if (!target[i]) return;
        target[i]->seconds += duration(span);
        target[i]->flops += span->flops;
        target[i]->bytes += span->bytes;
        target[i]->busy += span->busy_seconds;
    }
    target[0]->calls++;
    all->in_kernels += duration(span);
}

static void add_own(rows_of_run *all, const vlm_span *span, double own)
{
    char name[NAME_BYTES];
    operation_name(span, name);
    row *r = row_of(&all->operations, name);
    if (!r) return;
    r->calls++;
    r->seconds += own;
    r->outside += own;
}

typedef struct span_time {
    double own, phase; /* without children; without phases inside */
    bool is_in_step;
} span_time;

static void take_times(const vlm_spans *spans, span_time *time)
{
    for (int64_t i = 0; i < spans->n; i++) {
        const vlm_span *span = &spans->at[i];
        bool is_step = span->kind == VLM_SPAN_PHASE && !strcmp(span->name, "step");
        time[i] =
            (span_time){.own = duration(span), .phase = duration(span), .is_in_step = is_step};
        if (span->parent < 0) continue;
        span_time *parent = &time[span->parent]; /* which stands before its children */
        time[i].is_in_step |= parent->is_in_step;
        parent->own -= duration(span);
        if (span->kind == VLM_SPAN_PHASE) parent->phase -= duration(span);
    }
}

static void add_phase(rows_of_run *all, const vlm_span *span, double seconds)
{
    row *r = row_of(&all->phases, span->name);
    if (!r) return;
    r->calls++;
    r->seconds += seconds;
}

static bool collect_rows(const vlm_profile_run *run, rows_of_run *all)
{
    const vlm_spans *spans = run->spans;
    span_time *time = vlm_alloc_array((size_t)spans->n, sizeof *time);
    if (!time) return false;
    take_times(spans, time);
    for (int64_t i = 0; i < spans->n; i++) {
        const vlm_span *span = &spans->at[i];
        if (span->parent < 0) all->total += duration(span);
        if (span->kind == VLM_SPAN_PHASE) add_phase(all, span, time[i].phase);
        if (!time[i].is_in_step) continue;
        if (span->kind == VLM_SPAN_KERNEL) add_kernel(all, span, &spans->at[span->parent]);
        else add_own(all, span, time[i].own);
        if (span->kind == VLM_SPAN_PHASE && !strcmp(span->name, "step"))
            all->in_steps += duration(span);
    }
    vlm_free(time);
    sort_rows(&all->phases);
    sort_rows(&all->operations);
    sort_rows(&all->kernels);
    return !all->phases.failed && !all->operations.failed && !all->kernels.failed;
}

/* ---- tables ---- */

static double percent(double part, double whole)
{
    return whole > 0.0 ? 100.0 * part / whole : 0.0;
}

static void put_rate(vlm_text *out, double work, double seconds, double peak)
{
    if (work <= 0.0 || seconds <= 0.0) vlm_text_put(out, " %9s %5s", "", "");
    else vlm_text_put(out, " %9.1f %4.0f%%", work / seconds * 1e-9, percent(work / seconds, peak));
}

static void put_phases(const vlm_profile_run *run, const rows_of_run *all, vlm_text *out)
{
    double steps = (double)(run->last - run->first + 1), sum = 0.0;
    vlm_text_put(out, "\n%-44s %7s %10s %6s\n", "phase", "calls", "ms a step", "share");
    for (int i = 0; i < all->phases.n; i++) {
        const row *r = &all->phases.at[i];
        const char *name = !strcmp(r->name, "step")  ? "rest of the step"
                           : !strcmp(r->name, "run") ? "between steps"
                                                     : r->name;
        vlm_text_put(out, "%-44s %7lld %10.2f %5.1f%%\n", name, (long long)r->calls,
                     1e3 * r->seconds / steps, percent(r->seconds, all->total));
        sum += r->seconds;
    }
    vlm_text_put(out, "%-44s %7s %10.2f %5.1f%%\n", "total", "", 1e3 * sum / steps,
                 percent(sum, all->total));
}

static void put_operations(const vlm_profile_run *run, const rows_of_run *all, vlm_text *out)
{
    double steps = (double)(run->last - run->first + 1), sum = 0.0, outside = 0.0;
    vlm_text_put(out, "\n%-64s %6s %10s %6s %9s %5s %7s\n",
                 "operation and its first parameter, or (phase)", "calls", "ms a step", "share",
                 "GFLOP/s", "peak", "outside");
    for (int i = 0; i < all->operations.n; i++) {
        const row *r = &all->operations.at[i];
        vlm_text_put(out, "%-64s %6lld %10.2f %5.1f%%", r->name, (long long)r->calls,
                     1e3 * r->seconds / steps, percent(r->seconds, all->in_steps));
        put_rate(out, r->flops, r->seconds, run->peaks.flops_per_second);
        vlm_text_put(out, " %6.1f%%\n", percent(r->outside, r->seconds));
        sum += r->seconds;
        outside += r->outside;
    }
    vlm_text_put(out, "%-64s %6s %10.2f %5.1f%% %9s %5s %6.1f%%\n", "total", "", 1e3 * sum / steps,
                 percent(sum, all->in_steps), "", "", percent(outside, sum));
}

static void put_kernels(const vlm_profile_run *run, const rows_of_run *all, vlm_text *out)
{
    double steps = (double)(run->last - run->first + 1), flops = 0.0;
    vlm_text_put(out, "\n%-24s %7s %10s %6s %9s %9s %5s %9s %9s %5s %7s\n", "kernel", "calls",
                 "ms a step", "share", "GFLOP", "GFLOP/s", "peak", "GB", "GB/s", "peak", "workers");
    for (int i = 0; i < all->kernels.n; i++) {
        const row *r = &all->kernels.at[i];
        vlm_text_put(out, "%-24s %7lld %10.2f %5.1f%% %9.2f", r->name, (long long)r->calls,
                     1e3 * r->seconds / steps, percent(r->seconds, all->in_steps),
                     r->flops / steps * 1e-9);
        put_rate(out, r->flops, r->seconds, run->peaks.flops_per_second);
        vlm_text_put(out, " %9.3f", r->bytes / steps * 1e-9);
        put_rate(out, r->bytes, r->seconds, run->peaks.bytes_per_second);
        vlm_text_put(out, " %6.1f%%\n", percent(r->busy, r->seconds * run->n_workers));
        flops += r->flops;
    }
    double between = all->in_steps - all->in_kernels;
    vlm_text_put(out, "%-24s %7s %10.2f %5.1f%%\n", "between kernels", "", 1e3 * between / steps,
                 percent(between, all->in_steps));
    vlm_text_put(out, "%-24s %7s %10.2f %5.1f%% %9.2f", "total", "", 1e3 * all->in_steps / steps,
                 percent(all->in_kernels + between, all->in_steps), flops / steps * 1e-9);
    put_rate(out, flops, all->in_steps, run->peaks.flops_per_second);
    vlm_text_put(out, "\n");
}

vlmoe_status vlm_profile_write_tables(const vlm_profile_run *run, vlm_text *out, vlmoe_error *error)
{
    rows_of_run all = {.total = 0.0};
    bool has_rows = !run->spans->is_full && collect_rows(run, &all);
    if (has_rows) {
        vlm_text_put(
            out, "profile of steps %lld to %lld: %.3f s, %.3f s in steps; %s on %d threads of %s\n",
            (long long)run->first, (long long)run->last, all.total, all.in_steps, run->dtype,
            run->n_workers, run->device);
        vlm_text_put(out,
                     "peaks, probed before it: %.1f GFLOP/s (product 2048 x 3072 x 768, %s), %.1f "
                     "GB/s (reading memory)\n",
                     run->peaks.flops_per_second * 1e-9, run->dtype,
                     run->peaks.bytes_per_second * 1e-9);
        put_phases(run, &all, out);
        put_operations(run, &all, out);
        put_kernels(run, &all, out);
    }
    free(all.phases.at);
    free(all.operations.at);
    free(all.kernels.at);
    return has_rows && !out->failed
               ? VLMOE_OK
               : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a profile of %lld spans",
                          (long long)run->spans->n);
}

/* ---- trace ---- */

static void put_string(vlm_text *out, const char *text)
{
    vlm_text_json_string(out, text, strlen(text));
}

static void put_event(const vlm_span *span, double zero, int n_workers, vlm_text *out)
{
    static const char *const kinds[] = {"phase", "forward", "backward", "kernel"};
    vlm_text_put(out, ",\n{\"name\": ");
    put_string(out, span->name);
    vlm_text_put(out, ", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, ",
                 kinds[span->kind]);
    vlm_text_put(out, "\"ts\": %.3f, \"dur\": %.3f", 1e6 * (span->begin - zero),
                 1e6 * duration(span));
    if (span->number >= 0)
        vlm_text_put(out, ", \"args\": {\"number\": %lld}", (long long)span->number);
    if (span->place) {
        vlm_text_put(out, ", \"args\": {\"place\": ");
        put_string(out, span->place);
        vlm_text_put(out, "}");
    }
    if (span->kind == VLM_SPAN_KERNEL)
        vlm_text_put(out, ", \"args\": {\"GFLOP\": %.6f, \"MB\": %.6f, \"workers_busy\": %.3f}",
                     span->flops * 1e-9, span->bytes * 1e-6,
                     duration(span) > 0 ? span->busy_seconds / (duration(span) * n_workers) : 0.0);
    vlm_text_put(out, "}");
}

void vlm_profile_write_trace(const vlm_profile_run *run, vlm_text *out)
{
    const vlm_spans *spans = run->spans;
    vlm_text_put(out, "{\"displayTimeUnit\": \"ms\", \"otherData\": {\"device\": ");
    put_string(out, run->device);
    vlm_text_put(out, ", \"dtype\": \"%s\", \"threads\": %d, ", run->dtype, run->n_workers);
    vlm_text_put(out, "\"peak_gflops\": %.3f, \"peak_gbytes\": %.3f},\n\"traceEvents\": [\n",
                 run->peaks.flops_per_second * 1e-9, run->peaks.bytes_per_second * 1e-9);
    vlm_text_put(out,
                 "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, \"args\": {\"name\": "
                 "\"vlmoe-train\"}}");
    for (int64_t i = 0; i < spans->n; i++)
        put_event(&spans->at[i], spans->at[0].begin, run->n_workers, out);
    vlm_text_put(out, "\n]}\n");
}
