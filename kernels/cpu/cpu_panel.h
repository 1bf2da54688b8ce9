/* Products of attention, on blocks in cache: c[m, n] = or += a b with f32 sums. Operands are f32
 * or bf16 and laid out so that one source serves fused multiply-adds, bf16 dot products and AMX
 * tiles.
 *
 * A word is an f32, or two bf16 that are neighbours along k. a is rows of words, row after row.
 * b stands in panels of VL columns, [words, VL] each: what AMX calls a tile is 16 words of one.
 * m, n and k are whole panel_unit()s, padding holds zeros. An element of c is a sum over k whose
 * order no other size, and no place in c, has a part in. */
#ifndef VLMK_CPU_PANEL_H
#define VLMK_CPU_PANEL_H

#include "cpu_kernels.h"

enum { PANEL_ROWS = 4, PANEL_VECTORS = VLMK_VECTOR_BYTES == 64 ? 4 : 3 };

typedef enum panel_kind { PANEL_F32, PANEL_BF16, PANEL_AMX } panel_kind;

typedef struct panel_operands {
    const void *a;
    int64_t lda; /* elements between rows */
    const void *b;
    int64_t panel; /* elements between panels of b */
    float *c;
    int64_t ldc;
    int add; /* 1: add to c */
} panel_operands;

/* What products of tensors of `dtype` run on. Main thread only. */
static inline panel_kind panel_kind_for(vlmk_env *env, int dtype)
{
#if defined(__AVX512BF16__)
    if (dtype != VLMOE_BF16) return PANEL_F32;
    if (!VLMK_CPU(has_bf16_products)(env)) return PANEL_F32;
    /* oneDNN has asked the system for AMX's registers if it uses them. */
    vlmk_cpu_mm_shape shape = {.m = 64, .n = 64, .k = 32, .dtype = VLMOE_BF16};
    vlmk_cpu_mm *mm = vlmk_cpu_mm_get(env, shape);
    return mm && strstr(vlmk_cpu_mm_impl(mm), "amx") ? PANEL_AMX : PANEL_BF16;
#else
    (void)env, (void)dtype;
    return PANEL_F32;
#endif
}

/* Two AMX tiles of 16 rows, or one 32 deep; whole vectors. */
static inline int64_t panel_unit(panel_kind kind)
{
    return kind == PANEL_F32 ? 16 : 32;
}

static inline int panel_dtype(panel_kind kind)
{
    return kind == PANEL_F32 ? VLMOE_F32 : VLMOE_BF16;
}

/* A word of a times words of b. */
VLMK_INLINE vf panel_madd(vf sum, const float *a, vf b, const int is_bf16)
{
#if defined(__AVX512BF16__)
    if (is_bf16)
        return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(*a), (__m512bh)b);
#else
    (void)is_bf16;
#endif
    return sum + *a * b;
}

/* PANEL_ROWS rows of c by `vectors` panels; words of k. */
VLMK_INLINE void panel_block(const panel_operands *o, int64_t words, const int vectors,
                             const int is_bf16)
{
    vf sum[PANEL_ROWS][PANEL_VECTORS];
    const int per_word = is_bf16 ? 2 : 1;
    const float *a = o->a, *b = o->b; /* words, whatever they hold */
    const int64_t lda = o->lda / per_word, panel = o->panel / per_word;
    for (int r = 0; r < PANEL_ROWS; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = o->add ? load_f32(o->c + r * o->ldc + v * VL) : (vf){0};
    for (int64_t w = 0; w < words; w++) {
        vf row[PANEL_VECTORS];
        for (int v = 0; v < vectors; v++) row[v] = load_f32(b + v * panel + w * VL);
        for (int r = 0; r < PANEL_ROWS; r++)
            for (int v = 0; v < vectors; v++)
                sum[r][v] = panel_madd(sum[r][v], a + r * lda + w, row[v], is_bf16);
    }
    for (int r = 0; r < PANEL_ROWS; r++)
        for (int v = 0; v < vectors; v++) store_f32(o->c + r * o->ldc + v * VL, sum[r][v]);
}

/* k in pieces, so that a piece of the panels at hand stays in the first cache. */
VLMK_INLINE void panel_vectors(const panel_operands *o, int64_t m, int64_t n, int64_t k,
                               const int is_bf16)
{
    enum { WORDS_AT_ONCE = 128 };
    const int64_t per_word = is_bf16 ? 2 : 1, words = k / per_word;
    for (int64_t j = 0; j < n; j += PANEL_VECTORS * VL) {
        int64_t vectors = (n - j) / VL;
        for (int64_t w = 0; w == 0 || w < words; w += WORDS_AT_ONCE) {
            int64_t count = words - w < WORDS_AT_ONCE ? words - w : WORDS_AT_ONCE;
            for (int64_t i = 0; i < m; i += PANEL_ROWS) {
                panel_operands part = *o;
                part.a = (const uint32_t *)o->a + i * o->lda / per_word + w;
                part.b = (const uint32_t *)o->b + j / VL * o->panel / per_word + w * VL;
                part.c = o->c + i * o->ldc + j;
                part.add = o->add || w > 0;
                if (vectors >= PANEL_VECTORS) panel_block(&part, count, PANEL_VECTORS, is_bf16);
                else if (vectors == 3) panel_block(&part, count, 3, is_bf16);
                else if (vectors == 2) panel_block(&part, count, 2, is_bf16);
                else panel_block(&part, count, 1, is_bf16);
            }
        }
    }
}

#if defined(__AVX512BF16__)
#define VLMK_AMX __attribute__((target("amx-tile,amx-bf16")))

/* Palette 1: eight registers of 16 rows of 64 bytes. */
VLMK_AMX static inline void panel_begin(panel_kind kind)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } tiles __attribute__((aligned(64))) = {.palette = 1};
    if (kind != PANEL_AMX) return;
    for (int t = 0; t < 8; t++) {
        tiles.column_bytes[t] = 64;
        tiles.rows[t] = 16;
    }
    __asm__ volatile("" ::: "memory");
    _tile_loadconfig(&tiles);
}
/* Hand the registers back: oneDNN sets its own, and an idle thread then has less to save. */
VLMK_AMX static inline void panel_end(panel_kind kind)
{
    if (kind == PANEL_AMX) _tile_release();
}

/* Registers 0-3 hold 32 x 32 of c, 4 and 5 rows of a, 6 and 7 panels of b. */
VLMK_AMX static inline void panel_tiles(const panel_operands *o, int64_t k)
{
    const uint16_t *a = o->a, *b = o->b;
    float *c = o->c, *c_low = c + 16 * o->ldc;
    const int64_t a_bytes = o->lda * 2, c_bytes = o->ldc * 4;
    if (o->add) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(1, c + 16, c_bytes);
        _tile_loadd(2, c_low, c_bytes);
        _tile_loadd(3, c_low + 16, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t p = 0; p < k; p += 32) {
        _tile_loadd(4, a + p, a_bytes);
        _tile_loadd(6, b + p * 16, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + o->panel + p * 16, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + 16 * o->lda + p, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + 16, c_bytes);
    _tile_stored(2, c_low, c_bytes);
    _tile_stored(3, c_low + 16, c_bytes);
}

VLMK_AMX static inline void panel_amx(const panel_operands *o, int64_t m, int64_t n, int64_t k)
{
    __asm__ volatile("" ::: "memory"); /* tile loads do not tell the compiler what they read */
    for (int64_t j = 0; j < n; j += 32)
        for (int64_t i = 0; i < m; i += 32) {
            panel_operands part = *o;
            part.a = (const uint16_t *)o->a + i * o->lda;
            part.b = (const uint16_t *)o->b + j / VL * o->panel;
            part.c = o->c + i * o->ldc + j;
            panel_tiles(&part, k);
        }
}
#else
static inline void panel_begin(panel_kind kind)
{
    (void)kind;
}
static inline void panel_end(panel_kind kind)
{
    (void)kind;
}
#endif

/* Between panel_begin and panel_end of the same worker. */
static inline void panel_product(panel_kind kind, const panel_operands *o, int64_t m, int64_t n,
                                 int64_t k)
{
#if defined(__AVX512BF16__)
    if (kind == PANEL_AMX) panel_amx(o, m, n, k);
    else if (kind == PANEL_BF16) panel_vectors(o, m, n, k, 1);
    else panel_vectors(o, m, n, k, 0);
#else
    (void)kind;
    panel_vectors(o, m, n, k, 0);
#endif
}

#endif
