/* Losses against classes with scores, and cosines over a learned temperature. */
#include "ref.h"

static double sum_of_scores(const double *score, const int32_t *offset, int64_t r)
{
    double sum = 0.0;
    for (int64_t j = offset[r]; j < offset[r + 1]; j++) sum += score[j];
    return sum;
}

/* t'[c] of a row, smoothed; entries: label and score, begin .. end-1. */
static double target_of(const int32_t *label, const double *score, int64_t begin, int64_t end,
                        int64_t c)
{
    double sum = 0.0;
    for (int64_t j = begin; j < end; j++) sum += label[j] == c ? score[j] : 0.0;
    return sum;
}

/* log(1 + exp(x)) */
static double softplus(double x)
{
    return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

static double class_row_loss(const vlmk_class_loss_fwd_args *a, int64_t r, double lse)
{
    const double *x = (const double *)a->x + r * a->V, *score = a->score;
    int64_t begin = a->offset[r], end = a->offset[r + 1];
    double spread = a->smoothing * sum_of_scores(score, a->offset, r) / (double)a->V, sum = 0.0;
    for (int64_t c = 0; c < a->V; c++) {
        double t = target_of(a->label, score, begin, end, c);
        if (a->kind == VLMK_CLASS_SIGMOID) sum += softplus(x[c]) - t * x[c];
        else sum += ((1.0 - a->smoothing) * t + spread) * (lse - x[c]);
    }
    return sum;
}

int vlmk_ref_class_loss_fwd(vlmk_env *env, const vlmk_class_loss_fwd_args *a)
{
    (void)env;
    const double *row_weight = a->row_weight;
    double *row_loss = a->row_loss, *lse = a->lse, loss = 0.0;
    for (int64_t r = 0; r < a->M; r++) {
        const double *x = (const double *)a->x + r * a->V;
        int64_t best = 0;
        for (int64_t c = 1; c < a->V; c++)
            if (x[c] > x[best]) best = c;
        a->best[r] = (int32_t)best;
        lse[r] = a->kind == VLMK_CLASS_SOFTMAX && a->V ? ref_log_sum_exp(x, a->V) : 0.0;
        row_loss[r] = class_row_loss(a, r, lse[r]);
        loss += row_weight[r] * row_loss[r];
    }
    *(double *)a->loss = loss;
    return VLMOE_OK;
}

int vlmk_ref_class_loss_bwd(vlmk_env *env, const vlmk_class_loss_bwd_args *a)
{
    (void)env;
    const double *x = a->x, *score = a->score, *row_weight = a->row_weight, *lse = a->lse;
    double *dx = a->dx, dloss = *(const double *)a->dloss;
    for (int64_t r = 0; r < a->M; r++) {
        double total = sum_of_scores(score, a->offset, r);
        for (int64_t c = 0; c < a->V; c++) {
            int64_t i = r * a->V + c;
            double t = target_of(a->label, score, a->offset[r], a->offset[r + 1], c), slope;
            if (a->kind == VLMK_CLASS_SIGMOID) slope = 1.0 / (1.0 + exp(-x[i])) - t;
            else
                slope = total * exp(x[i] - lse[r]) - (1.0 - a->smoothing) * t -
                        a->smoothing * total / (double)a->V;
            dx[i] = dloss * row_weight[r] * slope;
        }
    }
    return VLMOE_OK;
}

int vlmk_ref_temper_fwd(vlmk_env *env, const vlmk_temper_fwd_args *a)
{
    (void)env;
    const double *x = a->x, scale = exp(*(const double *)a->s);
    double *y = a->y;
    for (int64_t i = 0; i < a->n; i++) y[i] = scale * x[i];
    return VLMOE_OK;
}

int vlmk_ref_temper_bwd(vlmk_env *env, const vlmk_temper_bwd_args *a)
{
    (void)env;
    const double *x = a->x, *dy = a->dy, scale = exp(*(const double *)a->s);
    double *dx = a->dx, sum = 0.0;
    for (int64_t i = 0; i < a->n; i++) {
        if (a->ds) sum += dy[i] * x[i] * scale;
        if (dx) dx[i] = scale * dy[i];
    }
    if (a->ds) ref_update(a->ds, VLMOE_F64, 0, sum, a->accumulate_ds);
    return VLMOE_OK;
}
