/* Memory by arena on the screen: as a dry run plans it, as a run has held it. */
#define _GNU_SOURCE
#include "cli_memory.h"
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_model.h"
#include "train_task.h"

/* An arena: what the screen calls it, and a file. */
typedef struct memory_row {
    const char *name, *key;
    size_t bytes;
    bool is_rare; /* not shown where there is none */
} memory_row;
enum { N_ROWS = 12 };

static void rows_of(const vlm_plan *plan, const vlmoe_config *config, memory_row out[N_ROWS])
{
    const bool is_half = !strcmp(config->optim.moments, "bf16");
    const memory_row rows[N_ROWS] = {
        {"parameters (f32)", "parameters", plan->master_bytes},
        {"gradients (f32)", "gradients", plan->grad_bytes},
        {is_half ? "moments (bf16)" : "moments (f32)", "moments", plan->moment_bytes},
        {"compute copies", "copies", plan->copy_bytes},
        {"gradients of other ranks", "arriving", plan->bucket_bytes, true},
        {"activations of one group", "activations", plan->step_bytes},
        {"rows of experts that wait", "waiting_rows", plan->defer_bytes},
        {"scratch of products", "scratch", plan->scratch_bytes},
        {"prepared products", "products", plan->products_bytes},
        {"groups prepared ahead", "groups_ahead", plan->ring_bytes},
        {"nodes of one recording", "nodes", plan->host_bytes},
        {"together", "together", plan->total_bytes}};
    memcpy(out, rows, sizeof rows);
}

void vlm_cli_show_memory(const char *title, const vlm_plan *plan, const vlmoe_config *config)
{
    memory_row rows[N_ROWS];
    rows_of(plan, config, rows);
    printf("%s\n", title);
    for (int i = 0; i < N_ROWS; i++)
        if (rows[i].bytes || !rows[i].is_rare)
            printf("  %-34s %12.1f MiB\n", rows[i].name, (double)rows[i].bytes / 1048576.0);
    if (plan->recompute_blocks)
        printf("  blocks that are run again in backward: the first %lld of %lld\n",
               (long long)plan->recompute_blocks, (long long)config->model.layers);
}

static int64_t peak_bytes(void)
{
    struct rusage used = {0};
    getrusage(RUSAGE_SELF, &used);
    return (int64_t)used.ru_maxrss * 1024;
}

void vlm_cli_show_peak(void)
{
    printf("  peak of the process %32.1f MiB\n", (double)peak_bytes() / 1048576.0);
}

/* What of a run's state travels in so many steps, by formula. */
typedef struct planned_bytes {
    int64_t gradients, values;
} planned_bytes;

static planned_bytes planned_of(const vlmoe_trainer *trainer, const vlm_plan *plan, int64_t steps)
{
    const int64_t turns = steps * trainer->config->run.groups / trainer->ranks.size;
    return (planned_bytes){.gradients = turns * (int64_t)plan->gradients_sent,
                           .values = steps * (int64_t)plan->values_sent};
}

static const char *const purposes[VLM_COMM_N_PURPOSES] = {"other", "rows", "gradients", "values"};

void vlm_cli_show_traffic(const vlmoe_trainer *trainer, const vlm_plan *plan, int64_t steps)
{
    if (!trainer->seat) return;
    const vlm_comm_counts counts = vlm_ranks_counted(&trainer->ranks);
    const planned_bytes planned = planned_of(trainer, plan, steps);
    printf("traffic of rank 0 in %lld steps: %lld calls, waited for other ranks %.3f s\n",
           (long long)steps, (long long)counts.calls, counts.wait_seconds);
    for (int i = 0; i < VLM_COMM_N_PURPOSES; i++)
        printf("  sent: %-10s %18llu bytes\n", purposes[i], (unsigned long long)counts.sent_for[i]);
    printf("  planned: %-10s %15lld bytes\n", "gradients", (long long)planned.gradients);
    printf("  planned: %-10s %15lld bytes\n", "values", (long long)planned.values);
}

static void put_traffic(vlm_text *json, const vlmoe_trainer *trainer, const vlm_plan *plan,
                        int64_t steps)
{
    const vlm_comm_counts counts = vlm_ranks_counted(&trainer->ranks);
    const planned_bytes planned = planned_of(trainer, plan, steps);
    vlm_text_put(json,
                 ",\n  \"traffic\": {\"calls\": %lld, \"wait_seconds\": ", (long long)counts.calls);
    vlm_text_json_number(json, counts.wait_seconds);
    vlm_text_put(json, ",\n    \"sent_bytes\": {");
    for (int i = 0; i < VLM_COMM_N_PURPOSES; i++)
        vlm_text_put(json, "%s\"%s\": %llu", i ? ", " : "", purposes[i],
                     (unsigned long long)counts.sent_for[i]);
    vlm_text_put(json, "},\n    \"planned_bytes\": {\"gradients\": %lld, \"values\": %lld}}",
                 (long long)planned.gradients, (long long)planned.values);
}

vlmoe_status vlm_cli_write_held(const char *path, const vlmoe_trainer *trainer,
                                const vlm_plan *held, int64_t steps, vlmoe_error *error)
{
    memory_row rows[N_ROWS];
    vlm_text json = {0};
    rows_of(held, trainer->config, rows);
    vlm_text_put(&json, "{\n  \"steps\": %lld,\n  \"held_bytes\": {", (long long)steps);
    for (int i = 0; i < N_ROWS; i++)
        vlm_text_put(&json, "%s\"%s\": %zu", i ? ", " : "", rows[i].key, rows[i].bytes);
    vlm_text_put(&json, "},\n  \"peak_bytes\": %lld", (long long)peak_bytes());
    if (trainer->seat) put_traffic(&json, trainer, held, steps);
    vlm_text_put(&json, "\n}\n");
    vlmoe_status st = vlm_cli_write_json(path, &json, error);
    vlm_text_free(&json);
    return st;
}

/* The text model of a task is that of its origin. */
static vlmoe_status find_text_model(const vlmoe_config *config, char **out, vlmoe_error *error)
{
    char *checkpoint = NULL;
    VLM_TRY(vlm_cli_checkpoint_find(config->task.init, false, &checkpoint, error));
    *out = vlm_path_join(checkpoint, "text.model");
    vlm_free(checkpoint);
    return VLMOE_OK;
}

vlmoe_status vlm_cli_words_of(const vlmoe_config *config, int64_t *out, vlmoe_error *error)
{
    vlm_spm *spm = NULL;
    *out = vlm_words_without_model(config);
    if (*out || !vlm_needs_words(config)) return VLMOE_OK;
    char *path = NULL;
    if (config->data.text_model[0]) path = vlm_strdup(config->data.text_model);
    else if (config->task.init[0]) VLM_TRY(find_text_model(config, &path, error));
    else return vlm_fail(error, VLMOE_E_ARG, "a dry run needs data.text_model or model.words");
    vlmoe_status st = path ? vlm_spm_open(path, &spm, error)
                           : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a path");
    if (!st) *out = vlm_spm_special(spm).n;
    vlm_spm_close(spm);
    vlm_free(path);
    return st;
}

/* Counts and work are the model's, memory is that of the rank with most threads. */
static vlmoe_status plan_both(const vlmoe_config *config, const vlm_launch *launch, vlm_plan *model,
                              vlm_plan *rank, vlmoe_error *error)
{
    int64_t n_words = 0;
    VLM_TRY(vlm_cli_words_of(config, &n_words, error));
    const vlm_seat seat = vlm_launch_seat(launch, config, 0);
    const vlmoe_config share = vlm_seat_config(&seat, config);
    VLM_TRY(vlm_launch_check(config, launch->size, error));
    VLM_TRY(vlm_plan_of_rank(&share, n_words, launch->size, rank, error));
    *model = *rank;
    if (launch->size == 1) return VLMOE_OK;
    vlmoe_config whole = *config; /* lists and texts stay the caller's */
    whole.run.memory_mib = 0;
    return vlm_plan_make(&whole, n_words, model, error);
}

int vlm_cli_dry_run(const char *tool, const vlmoe_config *config, const vlm_launch *launch)
{
    vlm_plan model = {0}, rank = {0};
    vlmoe_error error = {VLMOE_OK, ""};
    char title[48] = "memory";
    if (plan_both(config, launch, &model, &rank, &error)) return vlm_cli_report(tool, &error);
    if (launch->size > 1) snprintf(title, sizeof title, "memory of each of %d ranks", launch->size);
    printf("parameters %lld, trained %lld, applied per token %lld\n", (long long)model.parameters,
           (long long)model.trained, (long long)model.per_token);
    vlm_cli_show_memory(title, &rank, config);
    printf("work of one step: %.4g TFLOP over at most %lld rows in %lld groups\n",
           model.flops * 1e-12, (long long)model.tokens, (long long)config->run.groups);
    return vlm_cli_finish(tool, CLI_OK);
}
