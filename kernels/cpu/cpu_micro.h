/* A small f32 product for nearest codes: c[m, n] = or += a b on packed blocks in
 * cache, registers held across k. a is read element by element with any two strides (so a
 * transpose costs nothing), b and c by vectors. */
#ifndef VLMK_CPU_MICRO_H
#define VLMK_CPU_MICRO_H

#include "cpu_vec.h"

/* 6 x 4 sums of 32 registers with AVX-512, 6 x 2 of 16 elsewhere. */
enum { MICRO_ROWS = 6, MICRO_VECTORS = VLMK_VECTOR_BYTES == 64 ? 4 : 2 };

typedef struct micro_operands {
    const float *a;
    int64_t a_row, a_column; /* elements between rows of a, and between elements of a row */
    const float *b;
    int64_t ldb; /* elements between rows of b */
    float *c;
    int64_t ldc;
    int add; /* 1: add to c */
} micro_operands;

VLMK_INLINE void micro_block(const micro_operands *o, int64_t i, int64_t j, int64_t k,
                             const int vectors)
{
    vf sum[MICRO_ROWS][MICRO_VECTORS];
    const float *a = o->a + i * o->a_row, *b = o->b + j;
    float *c = o->c + i * o->ldc + j;
    for (int r = 0; r < MICRO_ROWS; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = o->add ? load_f32(c + r * o->ldc + v * VL) : (vf){0};
    for (int64_t p = 0; p < k; p++) {
        vf row[MICRO_VECTORS];
        for (int v = 0; v < vectors; v++) row[v] = load_f32(b + p * o->ldb + v * VL);
        for (int r = 0; r < MICRO_ROWS; r++) {
            float x = a[r * o->a_row + p * o->a_column];
            for (int v = 0; v < vectors; v++) sum[r][v] += x * row[v];
        }
    }
    for (int r = 0; r < MICRO_ROWS; r++)
        for (int v = 0; v < vectors; v++) store_f32(c + r * o->ldc + v * VL, sum[r][v]);
}

/* m is rounded up to MICRO_ROWS and n to VL: a must be readable, and c writable, that far. Sums
 * run over p ascending. */
static inline void micro_product(const micro_operands *o, int64_t m, int64_t n, int64_t k)
{
    for (int64_t j = 0; j < n; j += MICRO_VECTORS * VL) {
        int64_t vectors = (n - j + VL - 1) / VL;
        for (int64_t i = 0; i < m; i += MICRO_ROWS) {
            if (vectors >= MICRO_VECTORS) micro_block(o, i, j, k, MICRO_VECTORS);
#if VLMK_VECTOR_BYTES == 64
            else if (vectors == 3) micro_block(o, i, j, k, 3);
            else if (vectors == 2) micro_block(o, i, j, k, 2);
#endif
            else micro_block(o, i, j, k, 1);
        }
    }
}

#endif
