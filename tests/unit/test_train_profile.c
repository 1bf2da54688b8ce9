/* What a profile says of spans whose times are known: every table adds up, and the trace is JSON of the same nesting. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"
#include "train_profile_report.h"

/* A span of given times inside the one at index parent. */
static void add(vlm_spans *s, int64_t parent, vlm_span_kind kind, const char *name, double begin,
                double end)
{
    s->open = parent;
    vlm_span_begin(s, kind, name, kind == VLM_SPAN_FORWARD ? "blocks.12.ffn.w1" : NULL, -1);
    vlm_span *span = vlm_span_innermost(s);
    CHECK(span != NULL);
    span->begin = begin;
    span->end = end;
    if (kind == VLM_SPAN_KERNEL) {
        span->flops = 5e9;
        span->bytes = 1e9;
        span->busy_seconds = end - begin;
    }
    s->open = -1;
}

/* One step of 10 s from 100 on: forward 4 s with an operation of 3 s and 2 s of it a kernel, an optimiser of 5 s with a kernel of 4 s,
 * 1 s of nothing; then a checkpoint of 2 s with a kernel of 1 s. */
static vlm_profile_run known_run(vlm_spans *s)
{
    vlm_spans_init(s);
    add(s, -1, VLM_SPAN_PHASE, "run", 100, 112.5);
    add(s, 0, VLM_SPAN_PHASE, "step", 100, 110);
    add(s, 1, VLM_SPAN_PHASE, "forward", 100, 104);
    add(s, 2, VLM_SPAN_FORWARD, "linear", 100.5, 103.5);
    add(s, 3, VLM_SPAN_KERNEL, "linear_fwd", 101, 103);
    add(s, 1, VLM_SPAN_PHASE, "optimiser", 105, 110);
    add(s, 5, VLM_SPAN_KERNEL, "adamw", 106, 110);
    add(s, 0, VLM_SPAN_PHASE, "checkpoint", 110, 112);
    add(s, 7, VLM_SPAN_KERNEL, "download", 110.5, 111.5);
    return (vlm_profile_run){.spans = s,
                             .peaks = {5e9, 1e9},
                             .first = 1,
                             .last = 1,
                             .n_workers = 2,
                             .dtype = "f32",
                             .device = "a \"device\""};
}

/* Milliseconds a step in the row of this name of the table with this heading; every row up to "total" is added to *sum. */
static double row_ms(const char *tables, const char *heading, const char *name, double *sum)
{
    double found = NAN;
    *sum = 0.0;
    const char *line = strstr(tables, heading);
    CHECK(line != NULL);
    for (line = strchr(line, '\n') + 1; *line && *line != '\n'; line = strchr(line, '\n') + 1) {
        char row[64] = "";
        const char *figures = strstr(line, "   ");
        CHECK(figures != NULL);
        snprintf(row, sizeof row, "%.*s", (int)(figures - line), line);
        char *rest = NULL;
        double first = strtod(figures, &rest), value = strtod(rest, &rest);
        if (*rest == '%') value = first; /* no calls in this row */
        if (!strcmp(row, name)) found = value;
        if (strcmp(row, "total")) *sum += value;
    }
    return found;
}

TEST(every_table_adds_up_to_its_whole)
{
    vlm_spans s;
    vlm_text tables = {0};
    double sum;
    const vlm_profile_run run = known_run(&s);
    CHECK_STATUS(vlm_profile_write_tables(&run, &tables, NULL), VLMOE_OK);
    const char *t = tables.data;
    CHECK_CLOSE(row_ms(t, "phase  ", "total", &sum), 12500, 0.01);
    CHECK_CLOSE(sum, 12500, 0.05);
    CHECK_CLOSE(row_ms(t, "phase  ", "optimiser", &sum), 5000, 0.01);
    CHECK_CLOSE(row_ms(t, "phase  ", "rest of the step", &sum), 1000, 0.01);
    CHECK_CLOSE(row_ms(t, "phase  ", "between steps", &sum), 500, 0.01);
    CHECK_CLOSE(row_ms(t, "operation and", "total", &sum), 10000, 0.01);
    CHECK_CLOSE(sum, 10000, 0.05);
    CHECK_CLOSE(row_ms(t, "operation and", "fwd linear blocks.*.ffn.w1", &sum), 3000, 0.01);
    CHECK_CLOSE(row_ms(t, "operation and", "(optimiser)", &sum), 5000, 0.01);
    CHECK_CLOSE(row_ms(t, "kernel  ", "total", &sum), 10000, 0.01);
    CHECK_CLOSE(sum, 10000, 0.05);
    CHECK_CLOSE(row_ms(t, "kernel  ", "adamw", &sum), 4000, 0.01);
    CHECK_CLOSE(row_ms(t, "kernel  ", "between kernels", &sum), 4000, 0.01);
    CHECK(!strstr(t, "download")); /* it is no part of a step */
    vlm_text_free(&tables);
    vlm_spans_free(&s);
}

TEST(rates_are_work_by_time_and_shares_of_the_peaks)
{
    vlm_spans s;
    vlm_text tables = {0};
    const vlm_profile_run run = known_run(&s);
    CHECK_STATUS(vlm_profile_write_tables(&run, &tables, NULL), VLMOE_OK);
    /* 5 GFLOP in 2 s of a peak of 5 GFLOP/s; 1 GB; one of two workers */
    CHECK_HAS(tables.data, "linear_fwd                     1    2000.00  20.0%      5.00       2.5 "
                           "  50%     1.000       0.5   50%   50.0%");
    vlm_text_free(&tables);
    vlm_spans_free(&s);
}

TEST(the_trace_is_json_with_a_span_an_event)
{
    vlm_spans s;
    vlm_text trace = {0};
    vlm_json *doc = NULL;
    vlmoe_error error = {0};
    const vlm_profile_run run = known_run(&s);
    vlm_profile_write_trace(&run, &trace);
    CHECK_STATUS_E(vlm_json_parse(trace.data, trace.bytes, "trace", false, &doc, &error), VLMOE_OK,
                   &error); /* refuses repeated keys too */
    const vlm_value *events = vlm_json_get(vlm_json_root(doc), "traceEvents");
    CHECK_INT(vlm_json_size(events), s.n + 1);
    const vlm_value *event = vlm_json_next(vlm_json_first(events));
    for (int64_t i = 0; i < s.n; i++, event = vlm_json_next(event)) {
        CHECK_TEXT(vlm_json_text(vlm_json_get(event, "name")), s.at[i].name);
        CHECK_CLOSE(vlm_json_number(vlm_json_get(event, "ts")), 1e6 * (s.at[i].begin - 100), 1e-3);
        CHECK_CLOSE(vlm_json_number(vlm_json_get(event, "dur")),
                    1e6 * (s.at[i].end - s.at[i].begin), 1e-3);
    }
    vlm_json_free(doc);
    vlm_text_free(&trace);
    vlm_spans_free(&s);
}
