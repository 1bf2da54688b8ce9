/* Words predicted with the right picture, another one and none: figures, table, JSON and examples. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "cli_eval.h"

static const char *const measure_names[VLM_CLI_MEASURES] = {"pieces", "words", "first"};
static const char *const measure_titles[VLM_CLI_MEASURES] = {"all pieces", "whole words",
                                                             "first word"};

static void count(vlm_cli_words *w)
{
    double nll[VLM_N_PICTURES] = {0};
    for (int64_t i = 0; i < w->result.n; i++) {
        const vlm_words_example *e = &w->result.examples[i];
        w->counted[VLM_WORDS_PIECES] += e->pieces;
        w->counted[VLM_WORDS_WHOLE] += e->words;
        w->counted[VLM_WORDS_FIRST] += e->first_pieces > 0;
        for (int p = 0; p < VLM_N_PICTURES; p++) nll[p] += e->nll[p];
    }
    double pieces = (double)w->counted[VLM_WORDS_PIECES];
    for (int p = 0; p < VLM_N_PICTURES; p++) w->nll[p] = pieces > 0 ? nll[p] / pieces : NAN;
}

vlmoe_status vlm_cli_words_run(vlm_cli_evaluation *evaluation, double rate, bool keep_tokens)
{
    vlmoe_trainer *trainer = evaluation->model.trainer;
    uint64_t seed = (uint64_t)trainer->config->run.seed;
    const vlm_words_params params = {
        .rate = rate, .limit = evaluation->limit, .seed = seed, .keep_tokens = keep_tokens};
    vlm_cli_words w = {.rate = rate};
    VLM_TRY(vlm_words_evaluate(trainer, &params, &w.result));
    count(&w);
    for (int m = 0; m < VLM_CLI_MEASURES; m++)
        for (int p = 0; p < VLM_N_PICTURES; p++) {
            w.share[m][p] = vlm_words_share(&w.result, (vlm_words_measure)m, p);
            if (p == VLM_PICTURE_RIGHT) continue;
            w.over[m][p] = vlm_words_difference(&w.result, (vlm_words_measure)m, VLM_PICTURE_RIGHT,
                                                p, VLM_CLI_RESAMPLES, seed);
        }
    evaluation->words[evaluation->n_words++] = w;
    return VLMOE_OK;
}

/* ---- table ---- */

static void print_interval(const vlm_interval *i)
{
    printf("  %+6.1f [%+6.1f, %+6.1f]", 100.0 * i->difference, 100.0 * i->low, 100.0 * i->high);
}

void vlm_cli_words_print(const vlm_cli_words *w)
{
    printf("\nwords of %lld held-out pairs, %.0f %% of the pieces hidden; right in %%\n",
           (long long)w->result.n, 100.0 * w->rate);
    printf("  %-12s %7s  %6s %8s %6s  %-24s  %s\n", "", "counted", "right", "shuffled", "none",
           "right - shuffled [95 %]", "right - none [95 %]");
    for (int m = 0; m < VLM_CLI_MEASURES; m++) {
        printf("  %-12s %7lld  %6.1f %8.1f %6.1f", measure_titles[m], (long long)w->counted[m],
               100.0 * w->share[m][VLM_PICTURE_RIGHT], 100.0 * w->share[m][VLM_PICTURE_SHUFFLED],
               100.0 * w->share[m][VLM_PICTURE_NONE]);
        print_interval(&w->over[m][VLM_PICTURE_SHUFFLED]);
        print_interval(&w->over[m][VLM_PICTURE_NONE]);
        printf("\n");
    }
    printf("  %-12s %7s  %6.3f %8.3f %6.3f\n", "loss", "", w->nll[VLM_PICTURE_RIGHT],
           w->nll[VLM_PICTURE_SHUFFLED], w->nll[VLM_PICTURE_NONE]);
}

/* ---- JSON ---- */

static void put_measure(const vlm_cli_words *w, int m, vlm_text *out)
{
    vlm_text_put(out, ", \"%s\": {\"counted\": %lld", measure_names[m], (long long)w->counted[m]);
    for (int p = 0; p < VLM_N_PICTURES; p++)
        vlm_cli_json_number(out, vlm_picture_names[p], w->share[m][p]);
    for (int p = VLM_PICTURE_RIGHT + 1; p < VLM_N_PICTURES; p++) {
        vlm_text_put(out, ", \"right_minus_%s\": {\"difference\": ", vlm_picture_names[p]);
        vlm_text_json_number(out, w->over[m][p].difference);
        vlm_cli_json_number(out, "low", w->over[m][p].low);
        vlm_cli_json_number(out, "high", w->over[m][p].high);
        vlm_text_put(out, "}");
    }
    vlm_text_put(out, "}");
}

void vlm_cli_words_json(const vlm_cli_words *w, vlm_text *out)
{
    vlm_text_put(out, "{\"pairs\": %lld", (long long)w->result.n);
    vlm_cli_json_number(out, "rate", w->rate);
    for (int m = 0; m < VLM_CLI_MEASURES; m++) put_measure(w, m, out);
    vlm_text_put(out, ", \"loss\": {\"counted\": %lld", (long long)w->counted[VLM_WORDS_PIECES]);
    for (int p = 0; p < VLM_N_PICTURES; p++)
        vlm_cli_json_number(out, vlm_picture_names[p], w->nll[p]);
    vlm_text_put(out, "}}");
}

/* ---- examples ---- */

static void put_pieces(const vlm_spm *spm, const int32_t *id, const uint8_t *hidden, int64_t n,
                       vlm_text *out)
{
    const char *comma = "";
    vlm_text_put(out, "[");
    for (int64_t k = 0; k < n; k++) {
        if (!hidden[k]) continue;
        const char *piece = vlm_spm_piece(spm, id[k]);
        vlm_text_put(out, "%s", comma);
        vlm_text_json_string(out, piece, strlen(piece));
        comma = ", ";
    }
    vlm_text_put(out, "]");
}

static void put_prediction(const vlm_spm *spm, const vlm_cli_words *w, int64_t i, int picture,
                           vlm_text *out)
{
    const vlm_words_tokens *t = &w->result.tokens;
    const vlm_words_example *e = &w->result.examples[i];
    int64_t begin = t->begin[i], n = t->begin[i + 1] - begin;
    const int32_t *id = t->predicted[picture] + begin;
    char *text = vlm_spm_decode(spm, id, n);
    if (!text) out->failed = true;
    vlm_text_put(out, ", \"%s\": {\"text\": ", vlm_picture_names[picture]);
    vlm_text_json_string(out, text ? text : "", text ? strlen(text) : 0);
    vlm_text_put(out, ", \"pieces\": ");
    put_pieces(spm, id, t->hidden + begin, n, out);
    vlm_text_put(out, ", \"pieces_right\": %d, \"words_right\": %d, \"first_right\": %s, \"nll\": ",
                 e->right[picture], e->words_right[picture],
                 e->first_pieces && e->first_right[picture] ? "true" : "false");
    vlm_text_json_number(out, e->nll[picture]);
    vlm_text_put(out, "}");
    vlm_free(text);
}

static void put_example(const vlm_spm *spm, const vlm_cli_words *w, int64_t i,
                        const vlm_sample_view *view, vlm_text *out)
{
    const vlm_words_tokens *t = &w->result.tokens;
    const vlm_words_example *e = &w->result.examples[i];
    int64_t begin = t->begin[i], n = t->begin[i + 1] - begin;
    vlm_text_put(out, "{\"pair\": %lld, \"key\": ", (long long)i);
    vlm_text_json_string(out, view->key, strlen(view->key));
    vlm_text_put(out, ", \"text\": ");
    vlm_text_json_string(out, view->text, view->text_bytes);
    vlm_cli_json_number(out, "rate", w->rate);
    vlm_text_put(out, ", \"shuffled_pair\": %lld, \"words\": %d, \"hidden\": ", (long long)e->other,
                 e->words);
    put_pieces(spm, t->token + begin, t->hidden + begin, n, out);
    for (int p = 0; p < VLM_N_PICTURES; p++) put_prediction(spm, w, i, p, out);
    vlm_text_put(out, "}\n");
}

vlmoe_status vlm_cli_words_examples(vlm_cli_evaluation *evaluation, const vlm_cli_words *w,
                                    vlm_text *out)
{
    enum { PAIRS = 2 };
    vlmoe_trainer *trainer = evaluation->model.trainer;
    for (int64_t i = 0; i < w->result.n; i++) {
        vlm_sample_view view = {0};
        VLM_TRY(vlm_source_sample(trainer->val, PAIRS, i, NULL, &view, &trainer->error));
        put_example(trainer->spm, w, i, &view, out);
    }
    return out->failed ? vlm_fail(&trainer->error, VLMOE_E_NOMEM, "out of memory for examples")
                       : VLMOE_OK;
}
