/* A table with a row for each number of ranks. */
#define _GNU_SOURCE
#include "cli_planner.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_memory.h"
#include "train_planner.h"

enum { MOST_RANKS = 1 << 20, MOST_ROWS = 64 };

typedef struct plan_rows {
    int64_t at[MOST_ROWS];
    int n;
} plan_rows;

static vlmoe_status read_ranks(const char *text, plan_rows *out, vlmoe_error *error)
{
    char *end = NULL;
    for (const char *c = text; !end || *end; c = end + 1) {
        long long number = strtoll(c, &end, 10);
        if (end == c || (*end && *end != ',') || number < 1 || number > MOST_RANKS ||
            out->n == MOST_ROWS)
            return vlm_fail(error, VLMOE_E_ARG,
                            "--ranks %s: expected at most %d whole numbers from 1 to %d with "
                            "commas between",
                            text, MOST_ROWS, MOST_RANKS);
        out->at[out->n++] = number;
    }
    return VLMOE_OK;
}

static void show_head(const vlmoe_config *config, const vlm_machine *machine, double skew)
{
    printf("a step of %lld groups on %s; busiest rank has %.2f times the mean rows\n",
           (long long)config->run.groups, machine->name, skew);
    printf("%5s %11s %9s %8s %6s", "ranks", "MiB a rank", "s a step", "speed-up", "share");
    for (int i = 0; i < VLM_N_TERMS; i++) printf(" %10s", vlm_term_names[i]);
    printf("  %10s %9s %8s\n", "binds", "GB sent", "off node");
}

/* MiB that a rank may have. */
static double room_of(const vlm_forecast *f, const vlm_machine *machine)
{
    return machine->memory_mib /
           (machine->shares_node ? (double)VLM_MIN(machine->ranks_per_node, f->ranks) : 1.0);
}

/* speed-up over the first row's rate per rank; share: of the machine's memory. */
static void show_row(const vlm_forecast *f, const vlm_forecast *first, const vlm_machine *machine)
{
    double memory = (double)f->memory_bytes / 1048576.0, room = room_of(f, machine), sent = 0.0;
    for (int i = 0; i < VLM_N_TERMS; i++) sent += f->bytes[i];
    printf("%5d %11.0f %9.3f %8.2f %5.0f%%", f->ranks, memory, f->total_seconds,
           first->total_seconds / f->total_seconds, 100.0 * memory / room);
    for (int i = 0; i < VLM_N_TERMS; i++)
        printf(" %9.1f%%", 100.0 * f->seconds[i] / f->total_seconds);
    printf("  %10s %9.3f %7.0f%%%s\n", vlm_term_names[f->binds], sent * 1e-9,
           100.0 * f->network_share, memory > room ? "  does not fit" : "");
}

/* ---- as JSON: seconds, bytes and parts of 1, not rounded ---- */

static void put_number(vlm_text *json, const char *before, double value)
{
    vlm_text_put(json, "%s", before);
    vlm_text_json_number(json, value);
}

static void put_terms(vlm_text *json, const char *name, const double term[VLM_N_TERMS])
{
    vlm_text_put(json, ",\n    \"%s\": {", name);
    for (int i = 0; i < VLM_N_TERMS; i++) {
        vlm_text_put(json, "%s\"%s\": ", i ? ", " : "", vlm_term_names[i]);
        vlm_text_json_number(json, term[i]);
    }
    vlm_text_put(json, "}");
}

static void put_row(vlm_text *json, const vlm_forecast *f, const vlm_machine *machine)
{
    vlm_text_put(json, "\n    {\"ranks\": %d", f->ranks);
    put_number(json, ", \"memory_bytes\": ", (double)f->memory_bytes);
    put_number(json, ", \"room_bytes\": ", room_of(f, machine) * 1048576.0);
    put_number(json, ", \"step_seconds\": ", f->total_seconds);
    put_number(json, ", \"off_node\": ", f->network_share);
    vlm_text_put(json, ", \"binds\": \"%s\"", vlm_term_names[f->binds]);
    put_terms(json, "seconds", f->seconds);
    put_terms(json, "sent_bytes", f->bytes);
    vlm_text_put(json, "}");
}

static void put_head(vlm_text *json, const vlmoe_config *config, const vlm_machine *machine,
                     double skew)
{
    vlm_text_put(json, "{\n  \"machine\": ");
    vlm_text_json_string(json, machine->name, strlen(machine->name));
    vlm_text_put(json, ",\n  \"groups\": %lld", (long long)config->run.groups);
    put_number(json, ",\n  \"skew\": ", skew);
    vlm_text_put(json, ",\n  \"rows\": [");
}

static vlmoe_status forecast(const vlmoe_config *config, int64_t n_words,
                             const vlm_group_work *work, const vlm_machine *machine, int ranks,
                             double skew, vlm_forecast *out, vlmoe_error *error)
{
    vlm_plan plan = {0};
    VLM_TRY(vlm_plan_of_rank(config, n_words, ranks, &plan, error));
    return vlm_forecast_make(config, work, &plan, machine, skew, out, error);
}

static vlmoe_status show(const vlmoe_config *config, const plan_rows *rows,
                         const vlm_machine *machine, double skew, vlm_text *json,
                         vlmoe_error *error)
{
    vlm_group_work work = {0};
    vlm_forecast first = {0}, f;
    int64_t n_words = 0;
    VLM_TRY(vlm_cli_words_of(config, &n_words, error));
    VLM_TRY(vlm_group_work_record("meta", config, n_words, 1, &work, error));
    vlmoe_status st = VLMOE_OK;
    for (int i = 0; i < rows->n && !st; i++)
        st = vlm_ranks_check(config->run.groups, (int)rows->at[i], error);
    if (!st) show_head(config, machine, skew);
    put_head(json, config, machine, skew);
    for (int i = 0; i < rows->n && !st; i++) {
        st = forecast(config, n_words, &work, machine, (int)rows->at[i], skew, &f, error);
        if (!i) first = f;
        if (st) break;
        show_row(&f, &first, machine);
        vlm_text_put(json, "%s", i ? "," : "");
        put_row(json, &f, machine);
    }
    vlm_text_put(json, "\n  ]\n}\n");
    vlm_group_work_free(&work);
    return st;
}

int vlm_cli_plan_show(const char *tool, const vlmoe_config *config, const vlm_cli_plan *plan)
{
    vlmoe_error error = {VLMOE_OK, ""};
    vlm_machine machine = {.ranks_per_node = 0};
    plan_rows rows = {.n = 0};
    double skew = 1.0;
    int64_t n_words = 0;
    vlm_text json = {0};
    if (plan->skew && !vlm_cli_double(tool, "--skew", plan->skew, 1.0, 1e6, &skew))
        return CLI_USAGE;
    vlmoe_status st = read_ranks(plan->ranks ? plan->ranks : "1", &rows, &error);
    if (!st && plan->machine) st = vlm_machine_read(plan->machine, &machine, &error);
    if (!st && !plan->machine) {
        st = vlm_cli_words_of(config, &n_words, &error);
        if (!st) st = vlm_machine_measure(config, n_words, NULL, &machine, &error);
    }
    if (!st) st = show(config, &rows, &machine, skew, &json, &error);
    if (!st && plan->json) st = vlm_cli_write_json(plan->json, &json, &error);
    vlm_text_free(&json);
    return st ? vlm_cli_report(tool, &error) : vlm_cli_finish(tool, CLI_OK);
}

int vlm_cli_calibrate(const char *tool, const vlmoe_config *config, const char *path)
{
    vlmoe_error error = {VLMOE_OK, ""};
    vlm_machine machine;
    vlm_text text = {0};
    int64_t n_words = 0;
    vlmoe_status st = vlm_cli_words_of(config, &n_words, &error);
    if (!st) st = vlm_machine_measure(config, n_words, NULL, &machine, &error);
    if (!st) vlm_machine_write(&machine, &text);
    if (!st && text.failed) st = vlm_fail(&error, VLMOE_E_NOMEM, "out of memory for %s", path);
    if (!st) st = vlm_file_replace(path, text.data, text.bytes, &error);
    if (!st) printf("%s%s\n", text.data, path);
    vlm_text_free(&text);
    return st ? vlm_cli_report(tool, &error) : vlm_cli_finish(tool, CLI_OK);
}
