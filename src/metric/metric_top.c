/* Counts of classification. */
#include <math.h>
#include "metric_top.h"

struct vlm_top {
    int64_t n_classes, n, right, right5;
    int64_t *labels;    /* [n_classes] */
    int64_t *confusion; /* [n_classes, n_classes] label, predicted; or NULL */
};

int64_t vlm_top_best(const float *score, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(score[i])) return -1;
        if (score[i] > score[best]) best = i;
    }
    return best;
}

int64_t vlm_top_rank(const float *score, int64_t n, int64_t label)
{
    int64_t rank = 1;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(score[i])) return 0;
        rank += score[i] > score[label] || (score[i] == score[label] && i < label);
    }
    return rank;
}

vlmoe_status vlm_top_create(int64_t n_classes, bool with_confusion, vlm_top **out,
                            vlmoe_error *error)
{
    int64_t n_pairs = 0;
    if (n_classes < 1 || !vlm_mul_i64(n_classes, n_classes, &n_pairs))
        return vlm_fail(error, VLMOE_E_ARG, "%lld is no number of classes", (long long)n_classes);
    vlm_top *top = vlm_alloc(sizeof *top);
    if (top) {
        top->n_classes = n_classes;
        top->labels = vlm_alloc_array((size_t)n_classes, sizeof *top->labels);
        if (with_confusion)
            top->confusion = vlm_alloc_array((size_t)n_pairs, sizeof *top->confusion);
    }
    if (!top || !top->labels || (with_confusion && !top->confusion)) {
        vlm_top_destroy(top);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to count %lld classes",
                        (long long)n_classes);
    }
    *out = top;
    return VLMOE_OK;
}

void vlm_top_destroy(vlm_top *top)
{
    if (!top) return;
    vlm_free(top->labels);
    vlm_free(top->confusion);
    vlm_free(top);
}

static vlmoe_status check_label(const vlm_top *top, int64_t label, vlmoe_error *error)
{
    if (label >= 0 && label < top->n_classes) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG, "class %lld is not one of %lld", (long long)label,
                    (long long)top->n_classes);
}

static void count(vlm_top *top, int64_t predicted, int64_t rank, int64_t label)
{
    top->n++;
    top->labels[label]++;
    top->right += rank == 1;
    top->right5 += rank >= 1 && rank <= 5;
    if (top->confusion && predicted >= 0) top->confusion[label * top->n_classes + predicted]++;
}

vlmoe_status vlm_top_add(vlm_top *top, const float *score, int64_t label, vlmoe_error *error)
{
    VLM_TRY(check_label(top, label, error));
    int64_t rank = vlm_top_rank(score, top->n_classes, label);
    if (!rank)
        return vlm_fail(error, VLMOE_E_NUMERIC, "a score of an example of class %lld is NaN",
                        (long long)label);
    count(top, vlm_top_best(score, top->n_classes), rank, label);
    return VLMOE_OK;
}

vlmoe_status vlm_top_add_best(vlm_top *top, const int64_t *best, int64_t n_best, int64_t label,
                              vlmoe_error *error)
{
    int64_t rank = 0;
    VLM_TRY(check_label(top, label, error));
    if (n_best < 1) return vlm_fail(error, VLMOE_E_ARG, "an example without an answer");
    for (int64_t i = n_best; i-- > 0;) {
        if (best[i] != -1) VLM_TRY(check_label(top, best[i], error));
        if (best[i] == label) rank = i + 1;
    }
    count(top, best[0], rank, label);
    return VLMOE_OK;
}

vlm_top_result vlm_top_count(const vlm_top *top)
{
    vlm_top_result result = {.n = top->n, .right = top->right, .right5 = top->right5};
    int64_t most = 0;
    for (int64_t c = 1; c < top->n_classes; c++)
        if (top->labels[c] > top->labels[most]) most = c;
    result.chance = 1.0 / (double)top->n_classes;
    result.majority_class = top->n ? most : -1;
    result.majority = top->n ? (double)top->labels[most] / (double)top->n : NAN;
    return result;
}

int64_t vlm_top_labels(const vlm_top *top, int64_t label)
{
    return top->labels[label];
}

int64_t vlm_top_confusion(const vlm_top *top, int64_t label, int64_t predicted)
{
    return top->confusion ? top->confusion[label * top->n_classes + predicted] : 0;
}
