/* Vectors of f32 for the CPU kernels, in GCC's vector extensions: one source for every
 * instruction set, VLMK_VECTOR_BYTES wide. Loads and stores convert bf16 on the way. A tail is a
 * masked copy of the body: the same functions on a vector padded with zeros, so an element's
 * value never depends on where its row ends. */
#ifndef VLMK_CPU_VEC_H
#define VLMK_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#include "vlmoe/tensor.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* VLMK_CPU(x) is vlmk_cpu_<isa>_x: the build compiles each file once per instruction set. */
#define VLMK_CPU_JOIN(isa, name) vlmk_cpu_##isa##_##name
#define VLMK_CPU_NAME(isa, name) VLMK_CPU_JOIN(isa, name)
#define VLMK_CPU(name)           VLMK_CPU_NAME(VLMK_ISA, name)
#define VLMK_INLINE              static inline __attribute__((always_inline))

enum { VL = VLMK_VECTOR_BYTES / 4 }; /* lanes of f32 */
typedef float vf __attribute__((vector_size(VLMK_VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VLMK_VECTOR_BYTES)));
typedef uint32_t vu __attribute__((vector_size(VLMK_VECTOR_BYTES)));
typedef float vf_any __attribute__((vector_size(VLMK_VECTOR_BYTES), aligned(4), may_alias));
typedef uint16_t vh __attribute__((vector_size(VLMK_VECTOR_BYTES / 2)));
typedef uint16_t vh_any __attribute__((vector_size(VLMK_VECTOR_BYTES / 2), aligned(2), may_alias));

VLMK_INLINE size_t dtype_bytes(int dtype)
{
    return dtype == VLMOE_BF16 ? 2 : dtype == VLMOE_F64 ? 8 : 4;
}

/* Element i of a tensor of dtype, as an address. */
VLMK_INLINE const void *at(const void *base, int dtype, int64_t i)
{
    return (const char *)base + i * (int64_t)dtype_bytes(dtype);
}
VLMK_INLINE void *at_mut(void *base, int dtype, int64_t i)
{
    return (char *)base + i * (int64_t)dtype_bytes(dtype);
}

VLMK_INLINE vf vf_set(float x)
{
    return x - (vf){0.0f};
}
VLMK_INLINE vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}
VLMK_INLINE vf vf_abs(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}

VLMK_INLINE vf vf_max(vf a, vf b)
{
#if VLMK_VECTOR_BYTES == 64
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VLMK_VECTOR_BYTES == 32
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vf_select((vi)(a > b), a, b);
#endif
}

/* NaN if b is. */
VLMK_INLINE vf vf_min(vf a, vf b)
{
#if VLMK_VECTOR_BYTES == 64
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif VLMK_VECTOR_BYTES == 32
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vf_select((vi)(a < b), a, b);
#endif
}

VLMK_INLINE vf vf_sqrt(vf x)
{
#if VLMK_VECTOR_BYTES == 64
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif VLMK_VECTOR_BYTES == 32
    return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
    return (vf)_mm_sqrt_ps((__m128)x);
#else
    for (int l = 0; l < VL; l++) x[l] = sqrtf(x[l]);
    return x;
#endif
}

/* f32 bits to bf16, nearest even; a NaN stays a quiet NaN (as math_bf16.h). Integer work, so
 * that subnormals survive; the instruction turns those into zeros, else its bits are the same. */
VLMK_INLINE vh vh_round(vf x)
{
#if defined(__AVX512BF16__)
    enum { SUBNORMAL = 0x20 };
    if (__builtin_expect(_mm512_fpclass_ps_mask((__m512)x, SUBNORMAL) == 0, 1))
        return (vh)_mm512_cvtneps_pbh((__m512)x);
#endif
    vu bits = (vu)x;
    vu rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    vu quiet = (bits >> 16) | 0x0040u;
    vu is_nan = (vu)((bits & 0x7fffffffu) > 0x7f800000u);
    vu half = (rounded & ~is_nan) | (quiet & is_nan);
#if VLMK_VECTOR_BYTES == 64
    return (vh)_mm512_cvtepi32_epi16((__m512i)half); /* gcc converts by halves */
#else
    return __builtin_convertvector(half, vh);
#endif
}
VLMK_INLINE vf vh_widen(vh x)
{
#if VLMK_VECTOR_BYTES == 64
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)x), 16);
#elif VLMK_VECTOR_BYTES == 32
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)x), 16);
#else
    return (vf)(__builtin_convertvector(x, vu) << 16);
#endif
}

/* n in 1 .. VL elements at p; the lanes past n are zero. */
VLMK_INLINE vf vf_load(const void *p, int dtype, int64_t n)
{
    if (dtype == VLMOE_BF16) {
        vh half = {0};
        if (n == VL) half = *(const vh_any *)p;
        else memcpy(&half, p, (size_t)n * 2);
        return vh_widen(half);
    }
    vf full = {0};
    if (n == VL) full = *(const vf_any *)p;
    else memcpy(&full, p, (size_t)n * 4);
    return full;
}
VLMK_INLINE void vf_store(void *p, int dtype, int64_t n, vf x)
{
    if (dtype == VLMOE_BF16) {
        vh half = vh_round(x);
        if (n == VL) *(vh_any *)p = half;
        else memcpy(p, &half, (size_t)n * 2);
        return;
    }
    if (n == VL) *(vf_any *)p = x;
    else memcpy(p, &x, (size_t)n * 4);
}
/* Element i of a tensor. */
VLMK_INLINE vf load_at(const void *base, int dtype, int64_t i, int64_t n)
{
    return vf_load(at(base, dtype, i), dtype, n);
}
VLMK_INLINE void store_at(void *base, int dtype, int64_t i, int64_t n, vf x)
{
    vf_store(at_mut(base, dtype, i), dtype, n, x);
}
VLMK_INLINE vf load_f32(const float *p)
{
    return *(const vf_any *)p;
}
VLMK_INLINE void store_f32(float *p, vf x)
{
    *(vf_any *)p = x;
}
/* Lanes past n become zero. */
VLMK_INLINE vf vf_keep(vf x, int64_t n)
{
    if (n == VL) return x;
    vf kept = {0};
    memcpy(&kept, &x, (size_t)n * 4);
    return kept;
}

/* The upper half of the first 2 `half` lanes moved to the lower. */
#if VLMK_VECTOR_BYTES == 64
#define VLMK_UPPER_8(x)                                                                            \
    __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15)
#define VLMK_UPPER_4(x)                                                                            \
    __builtin_shufflevector(x, x, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7)
#define VLMK_UPPER_2(x)                                                                            \
    __builtin_shufflevector(x, x, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3)
#define VLMK_UPPER_1(x)                                                                            \
    __builtin_shufflevector(x, x, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
#elif VLMK_VECTOR_BYTES == 32
#define VLMK_UPPER_4(x) __builtin_shufflevector(x, x, 4, 5, 6, 7, 4, 5, 6, 7)
#define VLMK_UPPER_2(x) __builtin_shufflevector(x, x, 2, 3, 2, 3, 2, 3, 2, 3)
#define VLMK_UPPER_1(x) __builtin_shufflevector(x, x, 1, 1, 1, 1, 1, 1, 1, 1)
#else
#define VLMK_UPPER_2(x) __builtin_shufflevector(x, x, 2, 3, 2, 3)
#define VLMK_UPPER_1(x) __builtin_shufflevector(x, x, 1, 1, 1, 1)
#endif

/* Lanes in a fixed tree. */
VLMK_INLINE float vf_sum(vf x)
{
#if VLMK_VECTOR_BYTES == 64
    x += VLMK_UPPER_8(x);
#endif
#if VLMK_VECTOR_BYTES >= 32
    x += VLMK_UPPER_4(x);
#endif
    x += VLMK_UPPER_2(x);
    x += VLMK_UPPER_1(x);
    return x[0];
}
VLMK_INLINE float vf_top(vf x)
{
#if VLMK_VECTOR_BYTES == 64
    x = vf_max(VLMK_UPPER_8(x), x);
#endif
#if VLMK_VECTOR_BYTES >= 32
    x = vf_max(VLMK_UPPER_4(x), x);
#endif
    x = vf_max(VLMK_UPPER_2(x), x);
    x = vf_max(VLMK_UPPER_1(x), x);
    return x[0];
}

/* Call body(i, n) for i = 0, VL, 2 VL ... below `count`, n = lanes in use; body is an expression
 * over i and n. */
#define VLMK_FOR_LANES(i, n, count, body)                                                          \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + VL <= (count); i += VL) {                                                       \
            enum { n = VL };                                                                       \
            body;                                                                                  \
        }                                                                                          \
        if (i < (count)) {                                                                         \
            const int64_t n = (count)-i;                                                           \
            body;                                                                                  \
        }                                                                                          \
    } while (0)

/* x to the nearest whole number, |x| < 2^22. */
VLMK_INLINE vf vf_round(vf x)
{
#if VLMK_VECTOR_BYTES == 64
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    return (x + magic) - magic;
#endif
}

/* x 2^n for whole n in -254 .. 254, results below the normal f32 rounded like any other. */
VLMK_INLINE vf vf_scale(vf x, vf n)
{
#if VLMK_VECTOR_BYTES == 64
    return (vf)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
    vi power = __builtin_convertvector(n, vi), first = power >> 1, second = power - first;
    return x * (vf)((first + 127) << 23) * (vf)((second + 127) << 23);
#endif
}

/* e^(hi + lo), hi in -104 .. 90, |lo| small beside hi: range reduction by ln 2 in two parts, degree
 * 6 on the rest, error below 2 ulp. */
VLMK_INLINE vf vf_exp_within(vf hi, vf lo)
{
    vf n = vf_round(hi * 1.44269504f);
    vf r = hi - n * 0.693145752f; /* 15 bits of ln 2: the product is exact */
    r = r - n * 1.42860677e-6f + lo;
    vf p = r * 0.00139012829f + 0.00836314492f;
    p = p * r + 0.0416668535f;
    p = p * r + 0.166665773f;
    p = p * r + 0.499999996f;
    p = p * (r * r) + r + 1.0f;
    return vf_scale(p, n);
}
/* Subnormal results and infinities come out right. */
VLMK_INLINE vf vf_exp(vf x)
{
    /* Below half the smallest subnormal; computing that would cost a trap to microcode. */
    vi is_zero = (vi)(x < -104.0f);
    x = vf_min(vf_set(90.0f), (vf)((vi)x & ~is_zero));
    return (vf)((vi)vf_exp_within(x, vf_set(0.0f)) & ~is_zero);
}

/* Sum of exp(x - top) over a row (n); lanes are emptied into a double every 64 vectors, so long
 * rows lose nothing. */
VLMK_INLINE double vf_exp_sum(const float *x, int64_t n, float top)
{
    double sum = 0.0;
    for (int64_t first = 0; first < n; first += 64 * VL) {
        int64_t count = n - first < 64 * VL ? n - first : 64 * VL;
        vf lanes = {0};
        VLMK_FOR_LANES(c, m, count,
                       lanes += vf_keep(vf_exp(vf_load(x + first + c, VLMOE_F32, m) - top), m));
        sum += (double)vf_sum(lanes);
    }
    return sum;
}

/* 2^x, below 2 ulp: minimax polynomial of degree 6 on [-1/2, 1/2], 1.9e-9 relative. x is at most
 * 127; results below 2^-126 may be off, below 2^-160 they are zero. */
VLMK_INLINE vf vf_exp2(vf x)
{
    x = vf_max(vf_set(-160.0f), x); /* minus infinity would be less itself; a NaN stays */
    vf n = vf_round(x), r = x - n;
    vf p = r * 0.0001534581241f + 0.001339993127f;
    p = p * r + 0.009618488956f;
    p = p * r + 0.05550328777f;
    p = p * r + 0.2402264689f;
    p = p * r + 0.6931472057f;
    p = p * r + 1.0f;
    return vf_scale(p, n);
}

/* Normal distribution function and density at x. Phi(-a) = exp(-a^2/2) Q(a), a = |x|: Q is
 * smooth and is a polynomial of degree 9 in (a-3)/(a+3) (minimax over [0, 14.5], 1e-8 relative),
 * so the left tail keeps its relative accuracy. a^2 is split in an exact part and a rest, else
 * its rounding would be magnified by the exponential. */
VLMK_INLINE void vf_normal(vf x, vf *cdf, vf *density)
{
    vf a = vf_abs(x);
    vi is_far = (vi)(a > 13.4f); /* both are below the normal f32 there, times x too: zero */
    a = (vf)((vi)a & ~is_far);
    vf coarse = (vf)((vi)a & ~0xfff); /* 12 bits: its square is exact */
    vf e = vf_exp_within(coarse * coarse * -0.5f, (a - coarse) * (a + coarse) * -0.5f);
    vf t = (a - 3.0f) / (a + 3.0f);
    vf q = t * 5.31614874e-05f + 0.00011501385f;
    q = q * t + -0.00033901236f;
    q = q * t + -0.000983288456f;
    q = q * t + 0.00290438723f;
    q = q * t + 0.00613194237f;
    q = q * t + -0.0462132636f;
    q = q * t + 0.123225041f;
    q = q * t + -0.20640262f;
    q = q * t + 0.121513948f;
    e = (vf)((vi)e & ~is_far);
    vf left = e * q;
    *cdf = vf_select((vi)(x > 0.0f), 1.0f - left, left);
    *density = e * 0.398942280f;
}

/* 1 / x, |error| < 2^-14 of it. */
VLMK_INLINE vf vf_reciprocal_coarse(vf x)
{
#if VLMK_VECTOR_BYTES == 64
    return (vf)_mm512_rcp14_ps((__m512)x);
#else
    return 1.0f / x;
#endif
}

/* The same for a result that becomes bf16: both within 2^-11.5 of themselves. Errors add: the
 * exponential's polynomial 2^-13.7 (minimax on [-1/2, 1/2]), a^2/2 as one f32 at most 2^-16.5, Q as
 * a polynomial of degree 4 in 3.5 / (a + 3.5) 2^-13.2 (minimax over [0, 13.3]), and the reciprocal,
 * of which Q is nearly a multiple, 2^-14. */
VLMK_INLINE void vf_normal_coarse(vf x, vf *cdf, vf *density)
{
    vf a = vf_abs(x);
    vi is_far = (vi)(a > 13.4f);
    a = (vf)((vi)a & ~is_far);
    vf y = a * a * -0.721347520f; /* -a^2/2 in powers of two */
    vf n = vf_round(y), r = y - n;
    vf p = r * 0.0551717241f + 0.242611124f;
    p = p * r + 0.693260973f;
    p = p * r + 0.999928074f;
    vf e = (vf)((vi)vf_scale(p, n) & ~is_far);
    vf s = vf_reciprocal_coarse(a * 0.285714286f + 1.0f);
    vf q = s * 0.290203833f + -0.0816584051f;
    q = q * s + 0.191509637f;
    q = q * s + 0.0987987374f;
    q = q * s + 0.00112846335f;
    vf left = e * q;
    *cdf = vf_select((vi)(x > 0.0f), 1.0f - left, left);
    *density = e * 0.398942280f;
}

/* For a result of `dtype`. */
VLMK_INLINE vf vf_gelu_as(vf x, const int dtype)
{
    vf cdf, density;
    if (dtype == VLMOE_BF16) vf_normal_coarse(x, &cdf, &density);
    else vf_normal(x, &cdf, &density);
    return x * cdf;
}
VLMK_INLINE vf vf_gelu(vf x)
{
    return vf_gelu_as(x, VLMOE_F32);
}
VLMK_INLINE vf vf_gelu_slope_as(vf x, const int dtype)
{
    vf cdf, density;
    if (dtype == VLMOE_BF16) vf_normal_coarse(x, &cdf, &density);
    else vf_normal(x, &cdf, &density);
    /* there density is zero, and infinity times zero must be too */
    vi is_far = (vi)(vf_abs(x) > 13.4f);
    return cdf + (vf)((vi)(x * density) & ~is_far);
}

/* Odd polynomial below 0.625, else 1 - 2 / (e^2x + 1). */
VLMK_INLINE vf vf_tanh(vf x)
{
    vf a = vf_abs(x);
    vf z = x * x;
    vf p = z * -0.00609693706f + 0.020997354f;
    p = p * z + -0.0538509526f;
    p = p * z + 0.133327701f;
    p = p * z + -0.333333289f;
    vf small = x + x * (z * p);
    vf large = 1.0f - 2.0f / (vf_exp(a + a) + 1.0f);
    large = (vf)((vi)large | ((vi)x & (int32_t)0x80000000));
    return vf_select((vi)(a < 0.625f), small, large);
}

/* 0 a0 b0 a1 b1 ..: the lower (upper) halves of two vectors, lane by lane. */
#if VLMK_VECTOR_BYTES == 64
#define VLMK_ZIP_LOW  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define VLMK_ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VLMK_VECTOR_BYTES == 32
#define VLMK_ZIP_LOW  0, 8, 1, 9, 2, 10, 3, 11
#define VLMK_ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define VLMK_ZIP_LOW  0, 4, 1, 5
#define VLMK_ZIP_HIGH 2, 6, 3, 7
#endif

/* Transpose VL x VL words in place: after log2(VL) rounds of zipping row r with row r + VL/2,
 * word (i, j) stands at (j, i). */
VLMK_INLINE void vu_transpose(vu row[VL])
{
    for (int round = 1; round < VL; round *= 2) {
        vu zipped[VL];
        for (int r = 0; r < VL / 2; r++) {
            zipped[2 * r] = __builtin_shufflevector(row[r], row[r + VL / 2], VLMK_ZIP_LOW);
            zipped[2 * r + 1] = __builtin_shufflevector(row[r], row[r + VL / 2], VLMK_ZIP_HIGH);
        }
        for (int r = 0; r < VL; r++) row[r] = zipped[r];
    }
}

#endif
