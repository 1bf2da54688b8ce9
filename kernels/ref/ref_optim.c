/* The optimiser: AdamW (Loshchilov and Hutter 2019) as PyTorch computes it, and the partial sums of
 * a gradient norm. */
#include "math_bf16.h"
#include "math_philox.h"
#include "ref.h"

int vlmk_ref_adamw(vlmk_env *env, const vlmk_adamw_args *a)
{
    (void)env;
    double *param = a->param;
    const double *grad = a->grad;
    for (int64_t i = 0; i < a->n; i++) {
        double g = a->grad_scale * grad[i];
        double m = a->beta1 * ref_get(a->m, a->moment_dtype, i) + (1.0 - a->beta1) * g;
        double v = a->beta2 * ref_get(a->v, a->moment_dtype, i) + (1.0 - a->beta2) * g * g;
        if (a->moment_dtype == VLMOE_BF16) {
            uint32_t word = math_philox_word(a->key, (uint64_t)(a->first + i));
            ((uint16_t *)a->m)[i] = math_bf16_stochastic((float)m, (uint16_t)word);
            ((uint16_t *)a->v)[i] = math_bf16_stochastic((float)v, (uint16_t)(word >> 16));
        } else {
            ref_put(a->m, a->moment_dtype, i, m);
            ref_put(a->v, a->moment_dtype, i, v);
        }
        param[i] *= 1.0 - a->lr * a->decay;
        param[i] -= a->lr / a->correction1 * m / (sqrt(v) / sqrt(a->correction2) + a->eps);
        if (a->copy) ref_put(a->copy, a->copy_dtype, i, param[i]);
    }
    return VLMOE_OK;
}

int vlmk_ref_square_sum(vlmk_env *env, const vlmk_square_sum_args *a)
{
    (void)env;
    const double *x = a->x;
    for (int64_t first = 0; first < a->n; first += VLMK_NORM_BLOCK) {
        int64_t end = first + VLMK_NORM_BLOCK < a->n ? first + VLMK_NORM_BLOCK : a->n;
        double sum = 0.0;
        for (int64_t i = first; i < end; i++) sum += x[i] * x[i];
        a->partial[first / VLMK_NORM_BLOCK] = sum;
    }
    return VLMOE_OK;
}
