/* Packing of product operands, by transposing squares of VL x VL words in registers. A word is
 * an f32, or two bf16 that are neighbours along k. */
#include "cpu_pack.h"

/* Elements i .. i+VL-1 of a row of n f32 or bf16 as f32 words; zeros past the end. */
VLMK_INLINE vu words_f32(const void *row, int dtype, int64_t i, int64_t n)
{
    if (i >= n) return (vu){0};
    return (vu)load_at(row, dtype, i, n - i < VL ? n - i : VL);
}

/* Elements i .. i+2VL-1 of a row of n bf16 as VL words of two neighbours. */
VLMK_INLINE vu words_bf16(const void *row, int64_t i, int64_t n)
{
    vu word = {0};
    if (i >= n) return word;
    const uint16_t *from = (const uint16_t *)row + i;
    if (n - i >= 2 * VL) memcpy(&word, from, sizeof word);
    else memcpy(&word, from, (size_t)(n - i) * 2);
    return word;
}

/* Elements i .. i+VL-1 of two rows of n bf16, interleaved; the second row may be NULL (zeros). */
VLMK_INLINE vu words_paired(const void *even, const void *odd, int64_t i, int64_t n)
{
    if (i >= n) return (vu){0};
    int64_t count = n - i < VL ? n - i : VL;
    vu low = (vu)load_at(even, VLMOE_BF16, i, count) >> 16;
    vu high = odd ? (vu)load_at(odd, VLMOE_BF16, i, count) : (vu){0};
    return low | high;
}

/* Words per k step and word rows of the packed operand: f32 [k], bf16 [k/2]. */
VLMK_INLINE int64_t words_of(int dtype, int64_t k)
{
    return dtype == VLMOE_BF16 ? k / 2 : k;
}

/* Weights of an expert come from memory, where hardware prefetching does little for many short
 * streams. The address may lie past the end: a prefetch never faults. */
enum { ROWS_AHEAD = 16, LINE = 64, BYTES_AHEAD = 512, STRIP_AHEAD = 64 << 10 };
VLMK_INLINE void fetch(const void *base, int64_t bytes)
{
    __builtin_prefetch((const void *)((uintptr_t)base + (uintptr_t)bytes), 0, 2);
}

/* Where word row w, column j of packed b stands. */
VLMK_INLINE uint32_t *packed_word(const vlmk_cpu_pack *p, int64_t w, int64_t j)
{
    int64_t rows = words_of(p->dst_dtype, p->k_pad);
    return (uint32_t *)p->dst + (j / p->block) * p->block * rows + w * p->block + j % p->block;
}

/* VL columns of b (rows of src) from j, all k. What comes next is fetched meanwhile, as many lines a
 * turn as rows: of short rows the next VL, which are one run of memory; else each row's own. */
VLMK_INLINE void rows_strip(const vlmk_cpu_pack *p, const int src_dtype, const int dst_dtype,
                            int64_t j)
{
    int64_t rows = words_of(dst_dtype, p->k_pad);
    const void *strip = at(p->src, src_dtype, j * p->ld);
    int64_t row_bytes = p->ld * (int64_t)dtype_bytes(src_dtype), next = VL * row_bytes;
    int is_short = next <= STRIP_AHEAD;
    int64_t full = j + VL <= p->n ? p->k / (dst_dtype == VLMOE_BF16 ? 2 * VL : VL) * VL : 0;
    for (int64_t w = 0; w < rows; w += VL) {
        vu square[VL];
#pragma GCC unroll 16
        for (int r = 0; r < VL; r++) {
            const void *row = at(strip, src_dtype, r * p->ld);
            fetch(strip, is_short ? next + (w + r) * VL * 4 : r * row_bytes + w * 4 + BYTES_AHEAD);
            if (w < full && dst_dtype == src_dtype)
                square[r] = (vu)load_f32((const float *)row + w); /* words, of either type */
            else if (j + r >= p->n) square[r] = (vu){0};
            else if (dst_dtype == VLMOE_BF16) square[r] = words_bf16(row, 2 * w, p->k);
            else square[r] = words_f32(row, src_dtype, w, p->k);
        }
        vu_transpose(square);
        uint32_t *dst = packed_word(p, w, j);
#pragma GCC unroll 16
        for (int r = 0; r < VL; r++)
            store_f32((float *)(void *)(dst + r * p->block), (vf)square[r]);
    }
}

void vlmk_cpu_pack_from_rows(const vlmk_cpu_pack *p)
{
    for (int64_t j = 0; j < p->n_pad; j += VL) {
        if (p->dst_dtype == VLMOE_BF16) rows_strip(p, VLMOE_BF16, VLMOE_BF16, j);
        else if (p->src_dtype == VLMOE_BF16) rows_strip(p, VLMOE_BF16, VLMOE_F32, j);
        else rows_strip(p, VLMOE_F32, VLMOE_F32, j);
    }
}

/* Row r of src, NULL past the end. */
VLMK_INLINE const void *row_or_null(const vlmk_cpu_pack *p, int64_t r, int64_t n_rows)
{
    return r < n_rows ? at(p->src, p->src_dtype, r * p->ld) : NULL;
}

VLMK_INLINE vu column_words(const vlmk_cpu_pack *p, int64_t w, int64_t j)
{
    int is_bf16 = p->dst_dtype == VLMOE_BF16;
    const void *row = row_or_null(p, is_bf16 ? 2 * w : w, p->k);
    if (!row) return (vu){0};
    if (is_bf16) return words_paired(row, row_or_null(p, 2 * w + 1, p->k), j, p->n);
    return words_f32(row, p->src_dtype, j, p->n);
}

/* Word row w of a block of columns from b. Whole vectors are loaded with no test. */
VLMK_INLINE void columns_row(const vlmk_cpu_pack *p, const int src_dtype, const int dst_dtype,
                             int64_t w, int64_t b)
{
    int64_t first = dst_dtype == VLMOE_BF16 ? 2 * w : w;
    const void *even = row_or_null(p, first, p->k),
               *odd = dst_dtype == VLMOE_BF16 ? row_or_null(p, first + 1, p->k) : even;
    uint32_t *dst = packed_word(p, w, b);
    for (int64_t j = b; j < b + p->block; j += VL, dst += VL) {
        vu word;
        if (!even || !odd || j + VL > p->n) word = column_words(p, w, j);
        else if (dst_dtype == VLMOE_BF16) word = words_paired(even, odd, j, j + VL);
        else word = words_f32(even, src_dtype, j, j + VL);
        memcpy(dst, &word, sizeof word);
    }
}

VLMK_INLINE void from_columns(const vlmk_cpu_pack *p, const int src_dtype, const int dst_dtype)
{
    int64_t per_word = dst_dtype == VLMOE_BF16 ? 2 : 1, rows = words_of(dst_dtype, p->k_pad);
    int64_t run = p->n * (int64_t)dtype_bytes(src_dtype);
    for (int64_t w = 0; w < rows; w++) {
        for (int64_t r = 0; r < per_word; r++) {
            const void *ahead = at(p->src, src_dtype, (per_word * w + r + ROWS_AHEAD) * p->ld);
            for (int64_t i = 0; i < run; i += LINE) fetch(ahead, i);
        }
        for (int64_t b = 0; b < p->n_pad; b += p->block) columns_row(p, src_dtype, dst_dtype, w, b);
    }
}

void vlmk_cpu_pack_from_columns(const vlmk_cpu_pack *p)
{
    if (p->dst_dtype == VLMOE_BF16) from_columns(p, VLMOE_BF16, VLMOE_BF16);
    else if (p->src_dtype == VLMOE_BF16) from_columns(p, VLMOE_BF16, VLMOE_F32);
    else from_columns(p, VLMOE_F32, VLMOE_F32);
}

/* A square of src, word rows from w, columns from j, with nothing missing; the square below it is fetched meanwhile. */
VLMK_INLINE void load_square(const vlmk_cpu_pack *p, const int src_dtype, const int dst_dtype,
                             int64_t w, int64_t j, vu square[VL])
{
    int64_t per_word = dst_dtype == VLMOE_BF16 ? 2 : 1;
#pragma GCC unroll 16
    for (int64_t r = 0; r < VL; r++) {
        const void *row = at(p->src, src_dtype, per_word * (w + r) * p->ld + j);
        const void *next = at(row, src_dtype, p->ld);
        int64_t below = per_word * VL * p->ld * (int64_t)dtype_bytes(src_dtype);
        fetch(row, below);
        if (dst_dtype == VLMOE_BF16) fetch(next, below);
        square[r] = dst_dtype == VLMOE_BF16 ? words_paired(row, next, 0, VL)
                                            : words_f32(row, src_dtype, 0, VL);
    }
}

/* Squares of a few word rows before the next: src is read in runs, and each line of dst is written whole. */
VLMK_INLINE void transpose(const vlmk_cpu_pack *p, const int src_dtype, const int dst_dtype)
{
    int64_t rows = words_of(dst_dtype, p->k_pad), full = words_of(dst_dtype, p->k);
    for (int64_t w = 0; w < rows; w += VL) {
        for (int64_t j = 0; j < p->n; j += VL) {
            vu square[VL];
            int64_t columns = p->n - j < VL ? p->n - j : VL, words = rows - w < VL ? rows - w : VL;
            uint32_t *dst = (uint32_t *)p->dst + j * rows + w;
            if (columns == VL && w + VL <= full) load_square(p, src_dtype, dst_dtype, w, j, square);
            else
                for (int r = 0; r < VL; r++) square[r] = column_words(p, w + r, j);
            vu_transpose(square);
            if (words == VL && columns == VL) /* of known size: else copied word by word */
#pragma GCC unroll 16
                for (int r = 0; r < VL; r++)
                    store_f32((float *)(void *)(dst + r * rows), (vf)square[r]);
            else
                for (int64_t r = 0; r < columns; r++)
                    memcpy(dst + r * rows, &square[r], (size_t)words * 4);
        }
    }
}

void vlmk_cpu_pack_transpose(const vlmk_cpu_pack *p)
{
    if (p->dst_dtype == VLMOE_BF16) transpose(p, VLMOE_BF16, VLMOE_BF16);
    else if (p->src_dtype == VLMOE_BF16) transpose(p, VLMOE_BF16, VLMOE_F32);
    else transpose(p, VLMOE_F32, VLMOE_F32);
}

void vlmk_cpu_pack_copy(const vlmk_cpu_pack *p)
{
    for (int64_t r = 0; r < p->n; r++) {
        const void *row = at(p->src, p->src_dtype, r * p->ld);
        void *out = at_mut(p->dst, p->dst_dtype, r * p->k_pad);
        for (int64_t i = 0; i < p->k_pad; i += VL) {
            vu word = words_f32(row, p->src_dtype, i, p->k);
            vf_store(at_mut(out, p->dst_dtype, i), p->dst_dtype, VL, (vf)word);
        }
    }
}
