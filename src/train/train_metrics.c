/* Records of a run: one JSON line per step or evaluation. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "train_report.h"

static void put_number(vlm_text *out, const char *key, double value)
{
    if (!isfinite(value)) return; /* an objective that is off leaves no key */
    vlm_text_put(out, ", ");
    vlm_text_json_string(out, key, strlen(key)); /* a score's has words of the data */
    vlm_text_put(out, ": ");
    vlm_text_json_number(out, value);
}

static void put_layer(vlm_text *out, const vlm_layer_sum *sum)
{
    static const char *const loss_names[VLMK_N_LOSSES] = {
        "importance", "load_loss", "switch", "z", "local_entropy", "global_entropy"};
    double n = sum->n ? (double)sum->n : 1.0, tokens = sum->tokens ? (double)sum->tokens : 1.0;
    int64_t empty = 0;
    for (int64_t e = 0; e < sum->E; e++) empty += sum->load[e] == 0;
    vlm_text_put(out, "{\"block\": %lld, \"modality\": \"%c\", \"tokens\": %lld, \"empty\": %lld",
                 (long long)sum->block, sum->modality, (long long)sum->tokens, (long long)empty);
    put_number(out, "dropped", sum->dropped / tokens);
    put_number(out, "load_cv", sum->load_cv / n);
    put_number(out, "entropy", sum->entropy / n);
    for (int l = 0; l < VLMK_N_LOSSES; l++) put_number(out, loss_names[l], sum->losses[l] / n);
    vlm_text_put(out, ", \"load\": [");
    for (int64_t e = 0; e < sum->E; e++)
        vlm_text_put(out, "%s%lld", e ? ", " : "", (long long)sum->load[e]);
    vlm_text_put(out, "]}");
}

static void put_task(const vlm_task_info *task, const vlm_tally *tally, vlm_text *out)
{
    const char *name;
    for (int i = 0; i < VLM_N_MEASURES && (name = vlm_measure_name(task, i)); i++)
        put_number(out, name, vlm_measure_mean(&tally->measures, i));
    for (int i = 0; i < tally->scores.n; i++)
        put_number(out, tally->scores.at[i].name, tally->scores.at[i].value);
}

void vlm_metrics_line(const vlm_task_info *task, const char *kind, const vlmoe_step_report *report,
                      const vlm_tally *tally, vlm_text *out)
{
    vlm_text_put(out, "{\"kind\": \"%s\", \"step\": %lld", kind, (long long)report->step);
    put_number(out, "loss", report->loss);
    for (int i = 0; i < VLM_N_PARTS; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s_loss", vlm_part_names[i]);
        put_number(out, key, report->part_loss[i]);
        snprintf(key, sizeof key, "%s_right", vlm_part_names[i]);
        put_number(out, key, report->part_right[i]);
    }
    put_task(task, tally, out);
    put_number(out, "reconstruction", report->reconstruction);
    put_number(out, "commitment", report->commitment);
    put_number(out, "code_usage", report->code_usage);
    put_number(out, "grad_norm", report->grad_norm);
    put_number(out, "lr", report->lr);
    put_number(out, "seconds", report->seconds);
    put_number(out, "wait_seconds", report->wait_seconds);
    vlm_text_put(out, ", \"samples\": %lld, \"cut_texts\": %lld", (long long)report->samples,
                 (long long)tally->cut);
    put_number(out, "dropped", report->dropped);
    if (tally->n_layers) {
        vlm_text_put(out, ", \"routing\": [");
        for (int i = 0; i < tally->n_layers; i++) {
            if (i) vlm_text_put(out, ", ");
            put_layer(out, &tally->layers[i]);
        }
        vlm_text_put(out, "]");
    }
    vlm_text_put(out, "}\n");
}
