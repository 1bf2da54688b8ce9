/* The judge: every kernel as plain loops in double. "wide" is always f64 here; a compute type may
 * be F64, F32 or BF16, read and written through ref_get and ref_put. Linked into tests only. Not
 * here: speed, threads. */
#ifndef VLMK_REF_H
#define VLMK_REF_H

#include <math.h>
#include "math_bf16.h"
#include "vlmk.h"

#define VLMK_KERNEL(name) int vlmk_ref_##name(vlmk_env *env, const vlmk_##name##_args *args);
#include "kernels.def"
#undef VLMK_KERNEL

extern const vlmk_table vlmk_ref_table;

static inline double ref_get(const void *data, int dtype, int64_t i)
{
    switch (dtype) {
    case VLMOE_F64:
        return ((const double *)data)[i];
    case VLMOE_F32:
        return (double)((const float *)data)[i];
    case VLMOE_BF16:
        return (double)math_bf16_to_f32(((const uint16_t *)data)[i]);
    default:
        return NAN;
    }
}

static inline void ref_put(void *data, int dtype, int64_t i, double value)
{
    switch (dtype) {
    case VLMOE_F64:
        ((double *)data)[i] = value;
        break;
    case VLMOE_F32:
        ((float *)data)[i] = (float)value;
        break;
    case VLMOE_BF16:
        ((uint16_t *)data)[i] = math_bf16_from_f64(value);
        break;
    default:
        break;
    }
}

/* Store, or add to what is there. */
static inline void ref_update(void *data, int dtype, int64_t i, double value, int accumulate)
{
    ref_put(data, dtype, i, accumulate ? ref_get(data, dtype, i) + value : value);
}

/* Element i of an optional wide vector: NULL stands for all `missing`. */
static inline double ref_or(const void *data, int64_t i, double missing)
{
    return data ? ((const double *)data)[i] : missing;
}

static inline void ref_count_flops(vlmk_env *env, double multiply_adds)
{
    if (env->flops) *env->flops += 2.0 * multiply_adds;
}

/* log sum exp of n doubles, relative to the largest so that exp cannot overflow; -inf when n = 0.
 */
static inline double ref_log_sum_exp(const double *x, int64_t n)
{
    double top = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        if (x[i] > top) top = x[i];
    if (top == -INFINITY) return top;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - top);
    return top + log(sum);
}

#endif
