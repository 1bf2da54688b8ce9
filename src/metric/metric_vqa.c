/* Scores of answers and the official table of VQA v2. How texts are normalised is metric_vqa_text.c's. */
#include <string.h>
#include "metric_vqa.h"

static bool are_equal(char *const *text, int64_t n)
{
    for (int64_t i = 1; i < n; i++)
        if (strcmp(text[0], text[i])) return false;
    return true;
}

/* Texts in place through one of the two steps; false = no memory. */
static bool each(char **text, int64_t n, char *(*step)(const char *))
{
    for (int64_t i = 0; i < n; i++) {
        char *next = step(text[i]);
        if (!next) return false;
        vlm_free(text[i]);
        text[i] = next;
    }
    return true;
}

/* text [n + 1]: the answers, then the prediction. */
static double score_texts(char *const *text, int64_t n)
{
    int64_t n_equal = 0;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) n_equal += !strcmp(text[i], text[n]);
    for (int64_t i = 0; i < n; i++) {
        int64_t others = n_equal - !strcmp(text[i], text[n]);
        sum += others >= 3 ? 1.0 : (double)others / 3.0;
    }
    return sum / (double)n;
}

vlmoe_status vlm_vqa_score(const char *answer, const char *const *truth, int64_t n, double *out,
                           vlmoe_error *error)
{
    if (n < 1) return vlm_fail(error, VLMOE_E_ARG, "a question without annotators has no score");
    char **text = vlm_alloc_array((size_t)n + 1, sizeof *text);
    bool is_good = text != NULL;
    for (int64_t i = 0; is_good && i <= n; i++) {
        text[i] = vlm_vqa_trim(i < n ? truth[i] : answer);
        is_good = text[i] != NULL;
    }
    if (is_good && !are_equal(text, n)) is_good = each(text, n + 1, vlm_vqa_normalise);
    if (is_good) *out = score_texts(text, n);
    for (int64_t i = 0; text && i <= n; i++) vlm_free(text[i]);
    vlm_free(text);
    return is_good ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "no memory to score an answer");
}

vlmoe_status vlm_vqa_truth(const vlm_value *answers, const char ***out, int64_t *n,
                           vlmoe_error *error)
{
    const char **list = NULL;
    int64_t found = 0;
    *out = NULL;
    *n = 0;
    if (!answers) return VLMOE_OK;
    if (vlm_json_kind_of(answers) != VLM_JSON_ARRAY)
        return vlm_fail(error, VLMOE_E_FORMAT, "\"answers\" is no list");
    list = vlm_alloc_array((size_t)VLM_MAX(vlm_json_size(answers), 1), sizeof *list);
    if (!list) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for answers");
    for (const vlm_value *a = vlm_json_first(answers); a; a = vlm_json_next(a)) {
        const char *text = vlm_json_text(a);
        if (!text) text = vlm_json_text(vlm_json_get(a, "answer"));
        list[found++] = text;
        if (text) continue;
        vlm_free(list);
        return vlm_fail(error, VLMOE_E_FORMAT, "answer %lld is no text", (long long)found);
    }
    *out = list;
    *n = found;
    return VLMOE_OK;
}

double vlm_vqa_target(int64_t count)
{
    static const double target[] = {0.0, 0.3, 0.6, 0.9};
    return count < 0 ? 0.0 : count < VLM_COUNT(target) ? target[count] : 1.0;
}

vlmoe_status vlm_vqa_tally_init(vlm_vqa_tally *tally, vlmoe_error *error)
{
    *tally =
        (vlm_vqa_tally){.answer_types = vlm_named_create(), .question_types = vlm_named_create()};
    if (tally->answer_types && tally->question_types) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the tables of VQA scores");
}

void vlm_vqa_tally_free(vlm_vqa_tally *tally)
{
    vlm_named_destroy(tally->answer_types);
    vlm_named_destroy(tally->question_types);
    *tally = (vlm_vqa_tally){0};
}

vlmoe_status vlm_vqa_tally_add(vlm_vqa_tally *tally, double score, const char *answer_type,
                               const char *question_type, vlmoe_error *error)
{
    if (answer_type) VLM_TRY(vlm_named_add(tally->answer_types, answer_type, score, error));
    if (question_type) VLM_TRY(vlm_named_add(tally->question_types, question_type, score, error));
    tally->n++;
    tally->sum += score;
    return VLMOE_OK;
}
