/* Losses over rows: cross entropy and mean squared error. Row values in parallel, then their
 * weighted sum in order of rows. */
#include "cpu_kernels.h"

/* Sum over rows, ascending, of weight * value; in double, rounded once. */
static float weighted_sum(const float *weight, const float *value, int64_t n)
{
    double sum = 0.0;
    for (int64_t r = 0; r < n; r++) sum += (double)weight[r] * (double)value[r];
    return (float)sum;
}

static float row_top(const float *x, int64_t n)
{
    vf best = vf_set(-INFINITY);
    int64_t c = 0;
    for (; c + VL <= n; c += VL) best = vf_max(best, load_f32(x + c));
    float top = vf_top(best);
    for (; c < n; c++)
        if (x[c] > top) top = x[c];
    return top;
}

static void cross_entropy_row(const vlmk_cross_entropy_fwd_args *a, int64_t r)
{
    const float *logits = (const float *)a->logits + r * a->V;
    int32_t target = a->target[r];
    float *nll = (float *)a->nll + r, *lse = (float *)a->lse + r;
    *nll = *lse = 0.0f;
    a->correct[r] = 0;
    if (a->V == 0) return;
    float top = row_top(logits, a->V);
    double log_sum = (double)top + (top == -INFINITY ? 0.0 : log(vf_exp_sum(logits, a->V, top)));
    *lse = (float)log_sum;
    if (target < 0) return;
    *nll = (float)(log_sum - (double)logits[target]);
    if (logits[target] != top) return; /* nearly all rows at first: no search then */
    int64_t best = 0;
    while (logits[best] != top) best++;
    a->correct[r] = best == target;
}

static void cross_entropy_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_cross_entropy_fwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->V), a->M);
    for (int64_t r = rows.first; r < rows.end; r++) cross_entropy_row(a, r);
}

int VLMK_CPU(cross_entropy_fwd)(vlmk_env *env, const vlmk_cross_entropy_fwd_args *args)
{
    vlmk_cross_entropy_fwd_args a = *args;
    parallel_spans(env, cross_entropy_fwd_tile, &a, a.M, rows_per_tile(a.V));
    *(float *)a.loss = weighted_sum(a.row_weight, a.nll, a.M);
    return VLMOE_OK;
}

VLMK_INLINE void cross_entropy_row_bwd(const vlmk_cross_entropy_bwd_args *a, const int dtype,
                                       int64_t r)
{
    const float *logits = (const float *)a->logits + r * a->V;
    int32_t target = a->target[r];
    float factor = *(const float *)a->dloss * ((const float *)a->row_weight)[r],
          lse = ((const float *)a->lse)[r];
    if (target < 0) {
        memset(at_mut(a->dlogits, dtype, r * a->V), 0, (size_t)a->V * dtype_bytes(dtype));
        return;
    }
    vf of_target = factor * (vf_exp(vf_set(logits[target] - lse)) -
                             1.0f); /* before logits may be overwritten */
#define BODY                                                                                       \
    store_at(a->dlogits, dtype, r * a->V + c, n,                                                   \
             factor * vf_exp(vf_load(logits + c, VLMOE_F32, n) - lse))
    VLMK_FOR_LANES(c, n, a->V, BODY);
#undef BODY
    store_at(a->dlogits, dtype, r * a->V + target, 1, of_target);
}

static void cross_entropy_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_cross_entropy_bwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->V), a->M);
    VLMK_BY_DTYPE(a->out_dtype,
                  for (int64_t r = rows.first; r < rows.end; r++) cross_entropy_row_bwd(a, D, r));
}

int VLMK_CPU(cross_entropy_bwd)(vlmk_env *env, const vlmk_cross_entropy_bwd_args *args)
{
    vlmk_cross_entropy_bwd_args a = *args;
    if (a.V > 0) parallel_spans(env, cross_entropy_bwd_tile, &a, a.M, rows_per_tile(a.V));
    return VLMOE_OK;
}

static void mse_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_mse_fwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->C), a->M);
    for (int64_t r = rows.first; r < rows.end; r++) {
        const float *x = (const float *)a->x + r * a->C,
                    *target = (const float *)a->target + r * a->C;
        vf sum = {0};
#define BODY                                                                                       \
    {                                                                                              \
        vf miss = vf_load(x + c, VLMOE_F32, n) - vf_load(target + c, VLMOE_F32, n);                \
        sum += miss * miss;                                                                        \
    }
        VLMK_FOR_LANES(c, n, a->C, BODY);
#undef BODY
        ((float *)a->row_loss)[r] = a->C ? vf_sum(sum) / (float)a->C : 0.0f;
    }
}

int VLMK_CPU(mse_fwd)(vlmk_env *env, const vlmk_mse_fwd_args *args)
{
    vlmk_mse_fwd_args a = *args;
    parallel_spans(env, mse_fwd_tile, &a, a.M, rows_per_tile(a.C));
    *(float *)a.loss = weighted_sum(a.row_weight, a.row_loss, a.M);
    return VLMOE_OK;
}

static void mse_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_mse_bwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->C), a->M);
    for (int64_t r = rows.first; r < rows.end; r++) {
        const float *x = (const float *)a->x + r * a->C,
                    *target = (const float *)a->target + r * a->C;
        float *dx = (float *)a->dx + r * a->C;
        float factor = (float)((double)*(const float *)a->dloss *
                               (double)((const float *)a->row_weight)[r] * 2.0 / (double)a->C);
#define BODY                                                                                       \
    vf_store(dx + c, VLMOE_F32, n,                                                                 \
             factor * (vf_load(x + c, VLMOE_F32, n) - vf_load(target + c, VLMOE_F32, n)))
        VLMK_FOR_LANES(c, n, a->C, BODY);
#undef BODY
    }
}

int VLMK_CPU(mse_bwd)(vlmk_env *env, const vlmk_mse_bwd_args *args)
{
    vlmk_mse_bwd_args a = *args;
    if (a.C > 0) parallel_spans(env, mse_bwd_tile, &a, a.M, rows_per_tile(a.C));
    return VLMOE_OK;
}
