/* An evaluation as tables and as one JSON object. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "cli_eval.h"

void vlm_cli_json_number(vlm_text *out, const char *key, double value)
{
    vlm_text_put(out, ", \"%s\": ", key);
    vlm_text_json_number(out, value);
}

/* ---- tables ---- */

static const char *const part_titles[VLM_N_PARTS] = {"words of texts", "patches of images",
                                                     "words of pairs", "patches of pairs"};

static void print_parts(const vlm_cli_evaluation *e)
{
    printf("\n%-20s %10s  %7s %9s  %8s %9s\n", "held out", "positions", "loss", "constant", "right",
           "constant");
    for (int i = 0; i < VLM_N_PARTS; i++) {
        const vlm_constant *c = &e->baseline.part[i];
        if (isnan(e->report.part_loss[i])) continue;
        printf("  %-18s %10lld  %7.3f %9.3f  %6.1f %% %7.1f %%\n", part_titles[i],
               (long long)e->tally.part_positions[i], e->report.part_loss[i], c->loss,
               100.0 * e->report.part_right[i], 100.0 * c->right);
    }
    printf("  loss with the parts' weights: %.4f\n"
           "  constant: the best answer that never changes, knowing how often each hidden target "
           "occurs here\n",
           e->report.loss);
}

static void print_tokeniser(const vlm_cli_evaluation *e)
{
    const vlm_baseline *b = &e->baseline;
    printf("\nheld out\n");
    printf("  reconstruction     %9.4f   predicting each patch's mean: %.4f\n",
           e->report.reconstruction, b->reconstruction);
    printf("  commitment         %9.4f\n", e->report.commitment);
    printf("  codes used         %9lld   of %lld, by held-out patches; entropy %.3f nats of %.3f\n",
           (long long)b->codes_used, (long long)b->codes, b->code_entropy, log((double)b->codes));
    printf("  codes alive        %8.1f %%  by moving counts of training\n",
           100.0 * e->report.code_usage);
}

static void print_task(const vlm_cli_evaluation *e)
{
    const vlm_scores *scores = &e->tally.scores;
    const char *name;
    printf("\n%s\n", scores->n ? "scores" : "no held-out sample has a label: no scores");
    for (int i = 0; i < scores->n; i++) {
        const vlm_score *s = &scores->at[i];
        printf("  %-24s %8.2f%s\n", s->name, s->value * (s->is_share ? 100.0 : 1.0),
               s->is_share ? " %" : "");
    }
    for (int i = 0; i < VLM_N_MEASURES && (name = vlm_measure_name(e->model.trainer->task, i)); i++)
        if (!isnan(vlm_measure_mean(&e->tally.measures, i)))
            printf("  %-24s %9.3f\n", name, vlm_measure_mean(&e->tally.measures, i));
}

void vlm_cli_routing_print(const vlm_tally *tally)
{
    if (!tally->n_layers) return;
    printf("\n%-20s %10s  %8s  %7s %16s  %s\n", "routing", "tokens", "dropped", "load CV",
           "entropy (of)", "without tokens");
    for (int i = 0; i < tally->n_layers; i++) {
        const vlm_layer_sum *s = &tally->layers[i];
        double n = s->n ? (double)s->n : 1.0, tokens = s->tokens ? (double)s->tokens : 1.0;
        int64_t empty = 0;
        char name[64];
        for (int64_t x = 0; x < s->E; x++) empty += s->load[x] == 0;
        snprintf(name, sizeof name, "block %lld %s", (long long)s->block,
                 s->modality == 'v' ? "vision" : "text");
        printf("  %-18s %10lld  %6.1f %%  %7.2f %7.3f (%6.3f)  %lld of %lld experts\n", name,
               (long long)s->tokens, 100.0 * s->dropped / tokens, s->load_cv / n, s->entropy / n,
               log((double)s->E), (long long)empty, (long long)s->E);
    }
}

void vlm_cli_eval_print(const vlm_cli_evaluation *e)
{
    const vlmoe_trainer *t = e->model.trainer;
    const int64_t *n = e->baseline.samples;
    printf("%s: task %s, step %lld of %lld, seed %lld, %s\n", e->model.path, t->config->run.task,
           (long long)t->step, (long long)t->config->run.steps, (long long)t->config->run.seed,
           t->config->run.dtype);
    printf("held out: %lld images, %lld texts, %lld pairs%s\n", (long long)n[0], (long long)n[1],
           (long long)n[2], e->limit ? " (limited)" : "");
    if (e->tally.cut)
        printf("texts cut to model.text_len = %lld tokens: %lld\n",
               (long long)t->config->model.text_len, (long long)e->tally.cut);
    if (t->head) print_task(e);
    else if (t->model) print_parts(e);
    else print_tokeniser(e);
    vlm_cli_routing_print(&e->tally);
    for (int i = 0; i < e->n_words; i++) vlm_cli_words_print(&e->words[i]);
    if (e->n_words)
        printf("  intervals: 95 %%, pairs resampled %d times, in points; shuffled: the picture of "
               "another concept;\n  none: every patch hidden\n",
               VLM_CLI_RESAMPLES);
}

/* ---- JSON ---- */

static void put_text(vlm_text *out, const char *key, const char *value)
{
    vlm_text_put(out, "\"%s\": ", key);
    vlm_text_json_string(out, value, strlen(value));
}

static void put_constant(const vlm_constant *c, const vlm_spm *spm, bool is_word, vlm_text *out)
{
    vlm_text_put(out, "{\"positions\": %lld, \"target\": %d", (long long)c->n, c->target);
    if (is_word) {
        vlm_text_put(out, ", ");
        put_text(out, "piece", vlm_spm_piece(spm, c->target));
    }
    vlm_cli_json_number(out, "loss", c->loss);
    vlm_cli_json_number(out, "right", c->right);
    vlm_text_put(out, "}");
}

static void put_baseline(const vlm_cli_evaluation *e, vlm_text *out)
{
    const vlm_baseline *b = &e->baseline;
    const vlm_spm *spm = e->model.trainer->spm;
    vlm_text_put(out, "{\"images\": %lld, \"texts\": %lld, \"pairs\": %lld",
                 (long long)b->samples[0], (long long)b->samples[1], (long long)b->samples[2]);
    for (int i = 0; i < VLM_N_PARTS; i++) {
        if (!b->part[i].n || isnan(e->report.part_loss[i])) continue;
        vlm_text_put(out, ", \"%s\": ", vlm_part_names[i]);
        bool is_word = i == VLM_PART_TEXT || i == VLM_PART_PAIR_TEXT;
        put_constant(&b->part[i], spm, is_word, out);
    }
    if (!e->model.trainer->model) {
        vlm_cli_json_number(out, "reconstruction", b->reconstruction);
        vlm_text_put(out, ", \"codes_used\": %lld, \"codes\": %lld", (long long)b->codes_used,
                     (long long)b->codes);
        vlm_cli_json_number(out, "code_entropy", b->code_entropy);
    }
    vlm_text_put(out, "}");
}

/* The record of the held-out data, as metrics.jsonl has it, without the end of its line. */
static void put_record(const vlm_cli_evaluation *e, vlm_text *out)
{
    vlm_text line = {0};
    vlm_metrics_line(e->model.trainer->task, "eval", &e->report, &e->tally, &line);
    if (line.failed) out->failed = true;
    else vlm_text_append(out, line.data, line.bytes - 1);
    vlm_text_free(&line);
}

void vlm_cli_eval_json(const vlm_cli_evaluation *e, vlm_text *out)
{
    const vlmoe_trainer *t = e->model.trainer;
    char device[128] = "";
    t->ctx->backend->describe(t->ctx->device, device, sizeof device);
    vlm_text_put(out, "{\n\"library\": \"%d.%d.%d\", ", VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR,
                 VLMOE_VERSION_PATCH);
    put_text(out, "device", device);
    vlm_text_put(out, ",\n");
    put_text(out, "checkpoint", e->model.path);
    vlm_text_put(out, ", \"task\": \"%s\", \"step\": %lld, \"limit\": %lld, \"resamples\": %d,\n",
                 t->config->run.task, (long long)t->step, (long long)e->limit, VLM_CLI_RESAMPLES);
    vlm_text_put(out, "\"held_out\": ");
    put_record(e, out);
    vlm_text_put(out, ",\n\"constant\": ");
    put_baseline(e, out);
    vlm_text_put(out, ",\n\"words\": [");
    for (int i = 0; i < e->n_words; i++) {
        vlm_text_put(out, i ? ",\n  " : "\n  ");
        vlm_cli_words_json(&e->words[i], out);
    }
    vlm_text_put(out, "],\n\"config\": ");
    vlm_config_write(t->config, false, out);
    vlm_text_put(out, "}\n");
}
