/* One number in, one number out: conversion, axpy, slopes of activations, dropout, pixels to
 * patches. */
#include "cpu_kernels.h"
#include "math_bf16.h"
#include "math_philox.h"

static double wide_get(const void *data, int dtype, int64_t i)
{
    if (dtype == VLMOE_F64) return ((const double *)data)[i];
    if (dtype == VLMOE_F32) return (double)((const float *)data)[i];
    return (double)math_bf16_to_f32(((const uint16_t *)data)[i]);
}

/* F64 is no hot path: tests and files only. */
static void convert_wide(const vlmk_convert_args *a, tile_span span)
{
    for (int64_t i = span.first; i < span.end; i++) {
        double value = wide_get(a->src, a->src_dtype, i);
        if (a->dst_dtype == VLMOE_F64) ((double *)a->dst)[i] = value;
        else if (a->dst_dtype == VLMOE_F32) ((float *)a->dst)[i] = (float)value;
        else ((uint16_t *)a->dst)[i] = math_bf16_from_f64(value);
    }
}

static void convert_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_convert_args *a = arg;
    (void)worker;
    tile_span span = span_of(tile, TILE_ELEMENTS, a->n);
    if (a->src_dtype == VLMOE_F64 || a->dst_dtype == VLMOE_F64) {
        convert_wide(a, span);
        return;
    }
    if (a->src_dtype == a->dst_dtype) {
        memcpy(at_mut(a->dst, a->dst_dtype, span.first), at(a->src, a->src_dtype, span.first),
               (size_t)(span.end - span.first) * dtype_bytes(a->dst_dtype));
        return;
    }
#define BODY store_at(a->dst, Y, span.first + i, n, load_at(a->src, X, span.first + i, n))
    VLMK_BY_DTYPES(a->src_dtype, a->dst_dtype, VLMK_FOR_LANES(i, n, span.end - span.first, BODY));
#undef BODY
}

int VLMK_CPU(convert)(vlmk_env *env, const vlmk_convert_args *args)
{
    vlmk_convert_args a = *args;
    parallel_spans(env, convert_tile, &a, a.n, TILE_ELEMENTS);
    return VLMOE_OK;
}

static void axpy_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_axpy_args *a = arg;
    (void)worker;
    tile_span span = span_of(tile, TILE_ELEMENTS, a->n);
    const float *src = (const float *)a->src + span.first;
    float *dst = (float *)a->dst + span.first, factor = (float)a->factor;
    if (a->accumulate) {
#define BODY                                                                                       \
    vf_store(dst + i, VLMOE_F32, n,                                                                \
             vf_load(dst + i, VLMOE_F32, n) + factor * vf_load(src + i, VLMOE_F32, n))
        VLMK_FOR_LANES(i, n, span.end - span.first, BODY);
#undef BODY
        return;
    }
#define BODY vf_store(dst + i, VLMOE_F32, n, factor * vf_load(src + i, VLMOE_F32, n))
    VLMK_FOR_LANES(i, n, span.end - span.first, BODY);
#undef BODY
}

int VLMK_CPU(axpy)(vlmk_env *env, const vlmk_axpy_args *args)
{
    vlmk_axpy_args a = *args;
    parallel_spans(env, axpy_tile, &a, a.n, TILE_ELEMENTS);
    return VLMOE_OK;
}

VLMK_INLINE vf slope_of(const int act, const int dtype, vf x)
{
    if (act == VLMK_ACT_GELU) return vf_gelu_slope_as(x, dtype);
    if (act == VLMK_ACT_NONE) return vf_set(1.0f);
    vf y = vf_tanh(x);
    return 1.0f - y * y;
}

VLMK_INLINE void act_bwd_span(const vlmk_act_bwd_args *a, tile_span span, const int act)
{
#define BODY                                                                                       \
    store_at(a->dpre, D, span.first + i, n,                                                        \
             load_at(a->dy, D, span.first + i, n) *                                                \
                 slope_of(act, D, load_at(a->pre, D, span.first + i, n)))
    VLMK_BY_DTYPE(a->dtype, VLMK_FOR_LANES(i, n, span.end - span.first, BODY));
#undef BODY
}

static void act_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_act_bwd_args *a = arg;
    (void)worker;
    tile_span span = span_of(tile, TILE_ELEMENTS, a->n);
    switch (a->act) {
    case VLMK_ACT_GELU:
        act_bwd_span(a, span, VLMK_ACT_GELU);
        break;
    case VLMK_ACT_TANH:
        act_bwd_span(a, span, VLMK_ACT_TANH);
        break;
    default:
        act_bwd_span(a, span, VLMK_ACT_NONE);
        break;
    }
}

int VLMK_CPU(act_bwd)(vlmk_env *env, const vlmk_act_bwd_args *args)
{
    vlmk_act_bwd_args a = *args;
    parallel_spans(env, act_bwd_tile, &a, a.n, TILE_ELEMENTS);
    return VLMOE_OK;
}

typedef struct dropout_job {
    const vlmk_dropout_args *a;
    uint64_t least; /* u >= p exactly when its 53 bits are >= this */
    float factor;
} dropout_job;

typedef uint64_t vq __attribute__((vector_size(VLMK_VECTOR_BYTES)));
typedef int64_t vqi __attribute__((vector_size(VLMK_VECTOR_BYTES)));
typedef float vf_half __attribute__((vector_size(VLMK_VECTOR_BYTES / 2)));
typedef int32_t vi_half __attribute__((vector_size(VLMK_VECTOR_BYTES / 2)));

/* Product of the lower words of each lane. */
VLMK_INLINE vq multiply_words(vq a, vq b)
{
#if VLMK_VECTOR_BYTES == 64
    return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif VLMK_VECTOR_BYTES == 32
    return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return (vq)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/* VL/2 factors, 0 or 1/(1-p), from element i on: math_philox_at in lanes of 64 bits that hold
 * one word each. */
VLMK_INLINE vf_half dropout_factors(const dropout_job *job, uint64_t i)
{
    uint32_t k0 = (uint32_t)job->a->key, k1 = (uint32_t)(job->a->key >> 32);
    const vq m0 = (vq){0} + 0xD2511F53u, m1 = (vq){0} + 0xCD9E8D57u;
    vq index;
    for (int l = 0; l < VL / 2; l++) index[l] = i + (uint64_t)l;
    vq c0 = index & 0xffffffffu, c1 = index >> 32, c2 = {0}, c3 = {0};
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        vq a = multiply_words(m0, c0), b = multiply_words(m1, c2);
        c0 = (b >> 32) ^ c1 ^ k0;
        c1 = b & 0xffffffffu;
        c2 = (a >> 32) ^ c3 ^ k1;
        c3 = a & 0xffffffffu;
    }
    vqi unit = (vqi)((c1 << 32 | c0) >> 11);
    vi_half is_kept = __builtin_convertvector(unit >= (int64_t)job->least, vi_half);
    return (vf_half)((vi_half)((vf_half){0} + job->factor) & is_kept);
}

static void dropout_tile(void *arg, int64_t tile, int worker)
{
    const dropout_job *job = arg;
    const vlmk_dropout_args *a = job->a;
    (void)worker;
    tile_span span = span_of(tile, TILE_ELEMENTS, a->n);
#define BODY                                                                                       \
    {                                                                                              \
        vf_half factors[2] = {dropout_factors(job, (uint64_t)(span.first + i)),                    \
                              dropout_factors(job, (uint64_t)(span.first + i) + VL / 2)};          \
        vf factor;                                                                                 \
        memcpy(&factor, factors, sizeof factor);                                                   \
        vf x = load_at(a->x, D, span.first + i, n);                                                \
        store_at(a->y, D, span.first + i, n,                                                       \
                 vf_select((vi)(factor > 0.0f), x * factor, vf_set(0.0f)));                        \
    }
    VLMK_BY_DTYPE(a->dtype, VLMK_FOR_LANES(i, n, span.end - span.first, BODY));
#undef BODY
}

int VLMK_CPU(dropout)(vlmk_env *env, const vlmk_dropout_args *args)
{
    dropout_job job = {.a = args,
                       .least = (uint64_t)ceil(ldexp(args->p, 53)),
                       .factor = (float)(1.0 / (1.0 - args->p))};
    parallel_spans(env, dropout_tile, &job, args->n, TILE_ELEMENTS);
    return VLMOE_OK;
}

typedef struct patchify_job {
    const vlmk_patchify_args *a;
    float value[3][256];   /* of every byte, by channel: rounded once from double */
    uint16_t bf16[3][256]; /* the same in bf16 */
} patchify_job;

/* n pixels of one channel, 3 bytes apart. */
static void look_up_f32(const float *value, const uint8_t *from, int64_t n, float *out)
{
#pragma GCC unroll 8
    for (int64_t x = 0; x < n; x++) out[x] = value[from[x * 3]];
}

static void look_up_bf16(const uint16_t *value, const uint8_t *from, int64_t n, uint16_t *out)
{
#pragma GCC unroll 8
    for (int64_t x = 0; x < n; x++) out[x] = value[from[x * 3]];
}

/* A tile is one row of patches of one image. */
static void patchify_tile(void *arg, int64_t tile, int worker)
{
    const patchify_job *job = arg;
    const vlmk_patchify_args *a = job->a;
    (void)worker;
    int64_t P = a->patch, across = a->width / P, length = 3 * P * P;
    const uint8_t *rows =
        a->pixels +
        tile * P * a->width * 3; /* rows of patches follow each other through all images */
    for (int64_t px = 0; px < across; px++)
        for (int64_t c = 0; c < 3; c++)
            for (int64_t y = 0; y < P; y++) {
                const uint8_t *from = rows + (y * a->width + px * P) * 3 + c;
                int64_t place = (tile * across + px) * length + (c * P + y) * P;
                if (a->out_dtype == VLMOE_BF16)
                    look_up_bf16(job->bf16[c], from, P, (uint16_t *)a->out + place);
                else look_up_f32(job->value[c], from, P, (float *)a->out + place);
            }
}

int VLMK_CPU(patchify)(vlmk_env *env, const vlmk_patchify_args *args)
{
    if (args->patch < 1) return VLMOE_OK;
    patchify_job job = {.a = args};
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < 256; p++) {
            job.value[c][p] = (float)((p / 255.0 - args->mean[c]) / args->deviation[c]);
            job.bf16[c][p] = math_bf16_from_f32(job.value[c][p]);
        }
    vlmk_cpu_parallel(env, patchify_tile, &job, args->B * (args->height / args->patch));
    return VLMOE_OK;
}
