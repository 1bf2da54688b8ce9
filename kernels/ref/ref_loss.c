/* Losses over rows: cross entropy and mean squared error; and the nearest code of a vector. */
#include "ref.h"

int vlmk_ref_cross_entropy_fwd(vlmk_env *env, const vlmk_cross_entropy_fwd_args *a)
{
    (void)env;
    const double *row_weight = a->row_weight;
    double *nll = a->nll, *lse = a->lse, loss = 0.0;
    for (int64_t r = 0; r < a->M; r++) {
        const double *logits = (const double *)a->logits + r * a->V;
        int32_t target = a->target[r];
        int64_t best = 0;
        for (int64_t c = 1; c < a->V; c++)
            if (logits[c] > logits[best]) best = c;
        lse[r] = a->V ? ref_log_sum_exp(logits, a->V) : 0.0;
        nll[r] = target < 0 ? 0.0 : lse[r] - logits[target];
        a->correct[r] = target >= 0 && best == target;
        loss += row_weight[r] * nll[r];
    }
    *(double *)a->loss = loss;
    return VLMOE_OK;
}

int vlmk_ref_cross_entropy_bwd(vlmk_env *env, const vlmk_cross_entropy_bwd_args *a)
{
    (void)env;
    const double *row_weight = a->row_weight, *lse = a->lse, *logits = a->logits;
    double dloss = *(const double *)a->dloss;
    for (int64_t r = 0; r < a->M; r++)
        for (int64_t c = 0; c < a->V; c++) {
            int64_t i = r * a->V + c;
            double slope = exp(logits[i] - lse[r]) - (c == a->target[r] ? 1.0 : 0.0);
            ref_put(a->dlogits, a->out_dtype, i,
                    a->target[r] < 0 ? 0.0 : dloss * row_weight[r] * slope);
        }
    return VLMOE_OK;
}

int vlmk_ref_mse_fwd(vlmk_env *env, const vlmk_mse_fwd_args *a)
{
    (void)env;
    const double *x = a->x, *target = a->target, *row_weight = a->row_weight;
    double *row_loss = a->row_loss, loss = 0.0;
    for (int64_t r = 0; r < a->M; r++) {
        double sum = 0.0;
        for (int64_t i = r * a->C; i < (r + 1) * a->C; i++)
            sum += (x[i] - target[i]) * (x[i] - target[i]);
        row_loss[r] = a->C ? sum / (double)a->C : 0.0;
        loss += row_weight[r] * row_loss[r];
    }
    *(double *)a->loss = loss;
    return VLMOE_OK;
}

int vlmk_ref_mse_bwd(vlmk_env *env, const vlmk_mse_bwd_args *a)
{
    (void)env;
    const double *x = a->x, *target = a->target, *row_weight = a->row_weight;
    double *dx = a->dx, dloss = *(const double *)a->dloss;
    for (int64_t r = 0; r < a->M; r++)
        for (int64_t i = r * a->C; i < (r + 1) * a->C; i++)
            dx[i] = dloss * row_weight[r] * 2.0 * (x[i] - target[i]) / (double)a->C;
    return VLMOE_OK;
}

int vlmk_ref_vq_assign(vlmk_env *env, const vlmk_vq_assign_args *a)
{
    const double *z = a->z, *code = a->code;
    for (int64_t m = 0; m < a->M; m++) {
        double best = -INFINITY;
        a->index[m] = 0;
        for (int64_t n = 0; n < a->n_codes; n++) {
            double sum = 0.0;
            for (int64_t c = 0; c < a->C; c++) sum += z[m * a->C + c] * code[n * a->C + c];
            if (sum > best) {
                best = sum;
                a->index[m] = (int32_t)n;
            }
        }
    }
    ref_count_flops(env, (double)a->M * (double)a->n_codes * (double)a->C);
    return VLMOE_OK;
}
