/* The optimiser in one pass over memory, and the partial sums of a gradient norm. */
#include "cpu_kernels.h"

typedef struct adamw_job {
    const vlmk_adamw_args *a;
    float keep, beta1, rest1, beta2, rest2, eps, step, inverse_root2, grad_scale;
} adamw_job;

/* Eight Philox calls at once: lanes of 64 bits that hold 32, as products need 64. */
typedef uint64_t lanes __attribute__((vector_size(64)));
enum {
    CALLS = 8,
    RUN = 4 * CALLS
}; /* elements that one run of calls serves, as math_philox_word says */

#define LOW_HALF 0xffffffffu

/* The words of elements first .. first + 31; first is a multiple of 32. */
VLMK_INLINE void random_words(uint64_t key, int64_t first, uint32_t word[RUN])
{
    lanes index = (lanes){0, 1, 2, 3, 4, 5, 6, 7} + (uint64_t)(first / RUN * CALLS);
    lanes c0 = index & LOW_HALF, c1 = index >> 32, c2 = {0}, c3 = {0};
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        lanes a = c0 * 0xD2511F53u, b = c2 * 0xCD9E8D57u;
        c0 = (b >> 32) ^ c1 ^ (uint64_t)k0;
        c1 = b & LOW_HALF;
        c2 = (a >> 32) ^ c3 ^ (uint64_t)k1;
        c3 = a & LOW_HALF;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int l = 0; l < CALLS; l++) {
        word[l] = (uint32_t)c0[l];
        word[CALLS + l] = (uint32_t)c1[l];
        word[2 * CALLS + l] = (uint32_t)c2[l];
        word[3 * CALLS + l] = (uint32_t)c3[l];
    }
}

/* A bf16 as f32 whose low half is zero, so that the store rounds nothing. */
VLMK_INLINE vf round_by(vf x, vu random)
{
    vu rounded = ((vu)x + random) & 0xffff0000u;
    vi is_finite = (vi)(vf_abs(x) <= 3.40282347e38f);
    return vf_select(is_finite, (vf)rounded, x);
}

/* Elements i .. i+count-1. The compute copy is written from the value just stored. words: of BF16 moments. */
VLMK_INLINE void adamw_lanes(const adamw_job *job, const int copy_dtype, const int moment_dtype,
                             const uint32_t *words, int64_t i, int64_t count)
{
    const vlmk_adamw_args *a = job->a;
    float *param = (float *)a->param + i;
    vf g = job->grad_scale * vf_load((const float *)a->grad + i, VLMOE_F32, count);
    vf m = job->beta1 * load_at(a->m, moment_dtype, i, count) + job->rest1 * g;
    vf v = job->beta2 * load_at(a->v, moment_dtype, i, count) + job->rest2 * g * g;
    vf p = vf_load(param, VLMOE_F32, count) * job->keep;
    p -= job->step * m / (vf_sqrt(v) * job->inverse_root2 + job->eps);
    if (moment_dtype == VLMOE_BF16) {
        vu random;
        memcpy(&random, words, sizeof random);
        m = round_by(m, random & 0xffffu);
        v = round_by(v, random >> 16);
    }
    store_at(a->m, moment_dtype, i, count, m);
    store_at(a->v, moment_dtype, i, count, v);
    vf_store(param, VLMOE_F32, count, p);
    if (a->copy) store_at(a->copy, copy_dtype, i, count, p);
}

VLMK_INLINE void adamw_runs(const adamw_job *job, const int copy_dtype, tile_span span)
{
    uint32_t words[RUN];
    for (int64_t i = span.first; i < span.end; i += RUN) {
        random_words(job->a->key, job->a->first + i, words);
        int64_t n = span.end - i < RUN ? span.end - i : RUN;
        for (int64_t l = 0; l < n; l += VL)
            adamw_lanes(job, copy_dtype, VLMOE_BF16, words + l, i + l, n - l < VL ? n - l : VL);
    }
}

static void adamw_tile(void *arg, int64_t tile, int worker)
{
    const adamw_job *job = arg;
    (void)worker;
    tile_span span = span_of(tile, TILE_ELEMENTS, job->a->n);
    if (job->a->moment_dtype == VLMOE_BF16) {
        VLMK_BY_DTYPE(job->a->copy_dtype, adamw_runs(job, D, span));
        return;
    }
    VLMK_BY_DTYPE(job->a->copy_dtype,
                  VLMK_FOR_LANES(i, n, span.end - span.first,
                                 adamw_lanes(job, D, VLMOE_F32, NULL, span.first + i, n)));
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
