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

static void put_bytes(const char *name, size_t bytes)
{
    printf("  %-34s %12.1f MiB\n", name, (double)bytes / 1048576.0);
}

void vlm_cli_show_memory(const char *title, const vlm_plan *plan, const vlmoe_config *config)
{
    const char *moments =
        strcmp(config->optim.moments, "bf16") ? "moments (f32)" : "moments (bf16)";
    printf("%s\n", title);
    put_bytes("parameters (f32)", plan->master_bytes);
    put_bytes("gradients (f32)", plan->grad_bytes);
    put_bytes(moments, plan->moment_bytes);
    put_bytes("compute copies", plan->copy_bytes);
    if (plan->bucket_bytes) put_bytes("gradients of other ranks", plan->bucket_bytes);
    put_bytes("activations of one group", plan->step_bytes);
    put_bytes("rows of experts that wait", plan->defer_bytes);
    put_bytes("scratch of products", plan->scratch_bytes);
    put_bytes("prepared products", plan->products_bytes);
    put_bytes("groups prepared ahead", plan->ring_bytes);
    put_bytes("nodes of one recording", plan->host_bytes);
    put_bytes("together", plan->total_bytes);
    if (plan->recompute_blocks)
        printf("  blocks that are run again in backward: the first %lld of %lld\n",
               (long long)plan->recompute_blocks, (long long)config->model.layers);
}

void vlm_cli_show_traffic(const vlmoe_trainer *trainer, const vlm_plan *plan, int64_t steps)
{
    static const char *const names[VLM_COMM_N_PURPOSES] = {"other", "rows", "gradients", "values"};
    if (!trainer->seat) return;
    const vlm_comm_counts counts = vlm_ranks_counted(&trainer->ranks);
    int64_t turns = steps * trainer->config->run.groups / trainer->ranks.size;
    printf("traffic of rank 0 in %lld steps: %lld calls, waited for other ranks %.3f s\n",
           (long long)steps, (long long)counts.calls, counts.wait_seconds);
    for (int i = 0; i < VLM_COMM_N_PURPOSES; i++)
        printf("  sent: %-10s %18llu bytes\n", names[i], (unsigned long long)counts.sent_for[i]);
    printf("  planned: %-10s %15lld bytes\n", "gradients",
           (long long)turns * (long long)plan->gradients_sent);
    printf("  planned: %-10s %15lld bytes\n", "values",
           (long long)steps * (long long)plan->values_sent);
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

void vlm_cli_show_peak(void)
{
    struct rusage used = {0};
    getrusage(RUSAGE_SELF, &used);
    printf("  peak of the process %32.1f MiB\n", (double)used.ru_maxrss / 1024.0);
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
