/* Memory by arena on the screen: as a dry run plans it, as a run has held it. */
#define _GNU_SOURCE
#include "cli_memory.h"
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "cli_common.h"

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

vlmoe_status vlm_cli_words_of(const vlmoe_config *config, int64_t *out, vlmoe_error *error)
{
    vlm_spm *spm = NULL;
    *out = config->model.words;
    if (*out || !vlm_needs_words(config)) return VLMOE_OK;
    if (!config->data.text_model[0])
        return vlm_fail(error, VLMOE_E_ARG, "a dry run needs data.text_model or model.words");
    VLM_TRY(vlm_spm_open(config->data.text_model, &spm, error));
    *out = vlm_spm_special(spm).n;
    vlm_spm_close(spm);
    return VLMOE_OK;
}

void vlm_cli_show_peak(void)
{
    struct rusage used = {0};
    getrusage(RUSAGE_SELF, &used);
    printf("  peak of the process %32.1f MiB\n", (double)used.ru_maxrss / 1024.0);
}

int vlm_cli_dry_run(const char *tool, const vlmoe_config *config)
{
    vlm_plan plan = {0};
    vlmoe_error error = {VLMOE_OK, ""};
    int64_t n_words = 0;
    vlmoe_status st = vlm_cli_words_of(config, &n_words, &error);
    if (!st) st = vlm_plan_make(config, n_words, &plan, &error);
    if (st) return vlm_cli_report(tool, &error);
    printf("parameters %lld, trained %lld, applied per token %lld\n", (long long)plan.parameters,
           (long long)plan.trained, (long long)plan.per_token);
    vlm_cli_show_memory("memory", &plan, config);
    printf("work of one step: %.3f TFLOP over at most %lld rows in %lld groups\n",
           plan.flops * 1e-12, (long long)plan.tokens, (long long)config->run.groups);
    return vlm_cli_finish(tool, CLI_OK);
}
