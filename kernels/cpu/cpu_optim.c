/* The optimiser in one pass over memory, and the partial sums of a gradient norm. */
#include "cpu_kernels.h"

typedef struct adamw_job {
    const vlmk_adamw_args *a;
    float keep, beta1, rest1, beta2, rest2, eps, step, inverse_root2, grad_scale;
} adamw_job;

/* Elements i .. i+n-1. The compute copy is written from the value just stored. */
VLMK_INLINE void adamw_lanes(const adamw_job *job, const int copy_dtype, int64_t i, int64_t count)
{
    const vlmk_adamw_args *a = job->a;
    float *param = (float *)a->param + i, *m_at = (float *)a->m + i, *v_at = (float *)a->v + i;
    vf g = job->grad_scale * vf_load((const float *)a->grad + i, VLMOE_F32, count);
    vf m = job->beta1 * vf_load(m_at, VLMOE_F32, count) + job->rest1 * g;
    vf v = job->beta2 * vf_load(v_at, VLMOE_F32, count) + job->rest2 * g * g;
    vf p = vf_load(param, VLMOE_F32, count) * job->keep;
    p -= job->step * m / (vf_sqrt(v) * job->inverse_root2 + job->eps);
    vf_store(m_at, VLMOE_F32, count, m);
    vf_store(v_at, VLMOE_F32, count, v);
    vf_store(param, VLMOE_F32, count, p);
    if (a->copy) store_at(a->copy, copy_dtype, i, count, p);
}

static void adamw_tile(void *arg, int64_t tile, int worker)
{
    const adamw_job *job = arg;
    (void)worker;
    tile_span span = span_of(tile, TILE_ELEMENTS, job->a->n);
    VLMK_BY_DTYPE(job->a->copy_dtype, VLMK_FOR_LANES(i, n, span.end - span.first,
                                                     adamw_lanes(job, D, span.first + i, n)));
}

int VLMK_CPU(adamw)(vlmk_env *env, const vlmk_adamw_args *args)
{
    adamw_job job = {.a = args,
                     .keep = (float)(1.0 - args->lr * args->decay),
                     .beta1 = (float)args->beta1,
                     .rest1 = (float)(1.0 - args->beta1),
                     .beta2 = (float)args->beta2,
                     .rest2 = (float)(1.0 - args->beta2),
                     .eps = (float)args->eps,
                     .step = (float)(args->lr / args->correction1),
                     .inverse_root2 = (float)(1.0 / sqrt(args->correction2)),
                     .grad_scale = (float)args->grad_scale};
    parallel_spans(env, adamw_tile, &job, args->n, TILE_ELEMENTS);
    return VLMOE_OK;
}

enum { BLOCKS_PER_TILE = 4, LANES = 8 };

static double block_square_sum(const float *x, int64_t n)
{
    double lane[LANES] = {0}, sum = 0.0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i < n; i++, l++) lane[l] += (double)x[i] * (double)x[i];
    for (int l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

static void square_sum_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_square_sum_args *a = arg;
    (void)worker;
    tile_span blocks = span_of(tile, BLOCKS_PER_TILE, vlmk_cpu_ceil_div(a->n, VLMK_NORM_BLOCK));
    for (int64_t b = blocks.first; b < blocks.end; b++) {
        tile_span span = span_of(b, VLMK_NORM_BLOCK, a->n);
        a->partial[b] = block_square_sum((const float *)a->x + span.first, span.end - span.first);
    }
}

int VLMK_CPU(square_sum)(vlmk_env *env, const vlmk_square_sum_args *args)
{
    vlmk_square_sum_args a = *args;
    parallel_spans(env, square_sum_tile, &a, vlmk_cpu_ceil_div(a.n, VLMK_NORM_BLOCK),
                   BLOCKS_PER_TILE);
    return VLMOE_OK;
}
