/* Whole training steps of a config on command, so that a driver can take turns between this and another implementation.
 * usage: bench_step --config FILE [section.key=value ...] [--routing own|balanced|zipf|FILE]
 * Answers "step" with one line: seconds of the step and, of them, of the optimiser, of targets and of waiting for data; GFLOP of products and
 * attention; share of dropped choices. "tables" prints a profile of the next two steps. Ends with its input or "quit". */
#include <stdio.h>
#include <string.h>
#include "shared_bench.h"
#include "train_group.h"
#include "train_profile.h"
#include "vlmoe/train.h"

static const char NAME[] = "bench_step";
enum { MAX_SETTINGS = 64 };

static double seconds_of(const vlm_spans *spans, const char *phase)
{
    double sum = 0.0;
    for (int64_t i = 0; i < spans->n; i++)
        if (spans->at[i].kind == VLM_SPAN_PHASE && !strcmp(spans->at[i].name, phase))
            sum += spans->at[i].end - spans->at[i].begin;
    return sum;
}

/* Phases and operations are recorded, kernels are not: about a thousand clock readings a step. */
static vlmoe_status step(vlmoe_trainer *t)
{
    vlm_spans spans;
    vlmoe_step_report report = {.struct_size = sizeof report};
    vlm_spans_init(&spans);
    double flops = t->ctx->backend->flops(t->ctx->device), begin = vlm_now();
    t->ctx->spans = &spans;
    vlmoe_status st = vlmoe_trainer_step(t, &report);
    t->ctx->spans = NULL;
    double seconds = vlm_now() - begin;
    flops = t->ctx->backend->flops(t->ctx->device) - flops;
    if (!st)
        printf("{\"seconds\": %.6f, \"optimiser\": %.6f, \"targets\": %.6f, \"wait\": %.6f, "
               "\"gflop\": %.3f, \"dropped\": %.4f, \"loss\": %.4f}\n",
               seconds, seconds_of(&spans, "optimiser"), seconds_of(&spans, "targets"),
               seconds_of(&spans, "data wait"), flops * 1e-9, report.dropped, report.loss);
    vlm_spans_free(&spans);
    return st;
}

static vlmoe_status tables(vlmoe_trainer *t, vlmoe_error *error)
{
    vlm_profile *profile = NULL;
    vlmoe_step_report report = {.struct_size = sizeof report};
    int64_t first = t->step + 1;
    VLM_TRY(vlm_profile_create(first, first + 1, "/dev/null", &profile, error));
    vlmoe_status st = VLMOE_OK;
    for (int i = 0; !st && i < 2; i++) {
        st = vlm_profile_before_step(profile, t, error);
        vlm_span_begin(t->ctx->spans, VLM_SPAN_PHASE, "step", NULL, t->step + 1);
        if (!st) st = vlmoe_trainer_step(t, &report);
        vlm_span_end(t->ctx->spans);
    }
    /* The trace is not wanted and /dev/null is no file to be replaced; the tables are made before it. */
    (void)vlm_profile_finish(profile, t, NULL);
    if (!st && vlm_profile_tables(profile)) printf("%s\nend\n", vlm_profile_tables(profile));
    vlm_profile_destroy(profile);
    return st;
}

static vlmoe_status obey(vlmoe_trainer *t, vlmoe_error *error)
{
    char text[BENCH_LINE], device[128];
    t->ctx->backend->describe(t->ctx->device, device, sizeof device);
    printf("{\"ready\": \"libvlmoe %d.%d.%d\", \"device\": \"%s\", \"threads\": %d}\n",
           VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR, VLMOE_VERSION_PATCH, device,
           t->ctx->backend->env(t->ctx->device)->n_workers);
    for (const char *command; (command = bench_command(text)) && strcmp(command, "quit") != 0;) {
        vlmoe_status st = VLMOE_OK;
        if (!strcmp(command, "step")) st = step(t);
        else if (!strcmp(command, "tables")) st = tables(t, error);
        else return vlm_fail(error, VLMOE_E_ARG, "unknown command '%s'", command);
        if (st) return vlm_fail(error, st, "%s", vlmoe_trainer_error(t));
    }
    return VLMOE_OK;
}

int main(int argc, char **argv)
{
    const char *file = NULL, *routing = "own", *settings[MAX_SETTINGS + 1];
    int n = 0;
    vlmoe_config *config = NULL;
    vlmoe_trainer *trainer = NULL;
    vlmoe_error error = {VLMOE_OK, ""};
    settings[n++] = "run.steps=1000000000";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--config") && i + 1 < argc) file = argv[++i];
        else if (!strcmp(argv[i], "--routing") && i + 1 < argc) routing = argv[++i];
        else if (n <= MAX_SETTINGS) settings[n++] = argv[i];
    }
    vlmoe_status st = file ? vlmoe_config_load(file, n, settings, &config, &error)
                           : vlm_fail(&error, VLMOE_E_ARG, "--config FILE is missing");
    if (!st) st = vlmoe_trainer_create(config, NULL, &trainer, &error);
    if (!st) st = bench_force_routing(trainer->ctx, routing, &error);
    if (!st) st = obey(trainer, &error);
    vlmoe_trainer_destroy(trainer);
    vlmoe_config_destroy(config);
    if (st) bench_die(NAME, &error);
    return 0;
}
