/* What attention's forward and backward share: one sequence's head as blocks in a worker's
 * scratch, laid out for the products of cpu_panel.h. */
#ifndef VLMK_CPU_ATTENTION_H
#define VLMK_CPU_ATTENTION_H

#include "cpu_panel.h"

/* Most queries at hand at a time. */
enum { QUERY_BLOCK = 64 };

/* What the products run on, and sizes in whole units of it. */
typedef struct attention_sizes {
    panel_kind kind;
    int dtype;     /* of operands: a's, or F32 where there is no bf16 product */
    int64_t bytes; /* of an operand's element */
    int64_t unit;
    int64_t d_pad;  /* head_dim */
    int64_t kv_pad; /* max_kv */
} attention_sizes;

static inline attention_sizes sizes_of(vlmk_env *env, const vlmk_attention_args *a)
{
    attention_sizes s = {.kind = panel_kind_for(env, a->dtype)};
    s.dtype = panel_dtype(s.kind);
    s.bytes = (int64_t)dtype_bytes(s.dtype);
    s.unit = panel_unit(s.kind);
    s.d_pad = vlmk_cpu_round_up(a->head_dim, s.unit);
    s.kv_pad = vlmk_cpu_round_up(a->max_kv, s.unit);
    return s;
}

/* A block of a worker's scratch: where it is kept, and its elements' number and bytes. */
typedef struct scratch_piece {
    void **at;
    int64_t n, bytes;
} scratch_piece;

/* Place pieces one after the other from base, which may be NULL: bytes in all. */
static inline size_t place_pieces(const scratch_piece *piece, int n_pieces, char *base)
{
    size_t bytes = 0;
    for (int i = 0; i < n_pieces; i++) {
        if (base) *piece[i].at = base + bytes;
        bytes += (size_t)vlmk_cpu_round_up(piece[i].n * piece[i].bytes, VLMK_CPU_LINE);
    }
    return bytes;
}

/* One sequence. */
typedef struct attention_view {
    const vlmk_attention_args *a;
    const int32_t *q_row, *kv_row;
    int64_t n_q, n_kv;
} attention_view;

static inline attention_view view_of(const vlmk_attention_args *a, int64_t s)
{
    return (attention_view){.a = a,
                            .q_row = a->q_row + a->q_offset[s],
                            .kv_row = a->kv_row + a->kv_offset[s],
                            .n_q = a->q_offset[s + 1] - a->q_offset[s],
                            .n_kv = a->kv_offset[s + 1] - a->kv_offset[s]};
}

/* Keys 0 .. n-1 are seen by query i. */
static inline int64_t n_seen(const attention_view *v, int64_t i)
{
    if (!v->a->causal) return v->n_kv;
    int64_t n = i + v->a->causal_offset + 1;
    return n < 0 ? 0 : n > v->n_kv ? v->n_kv : n;
}

/* Rows row[0 .. n-1] of a tensor whose rows stand `stride` apart, columns of head h. */
typedef struct head_span {
    const int32_t *row;
    int64_t n, stride, h;
} head_span;

/* Ask for a span's row some rows after i: rows lie about a page apart, where hardware does not look
 * ahead. */
VLMK_INLINE void fetch_row(const vlmk_attention_args *a, const void *x, head_span span, int64_t i,
                           const int is_written)
{
    enum { ROWS_AHEAD = 12 };
    if (i + ROWS_AHEAD >= span.n) return;
    const char *row =
        at(x, a->dtype, span.row[i + ROWS_AHEAD] * span.stride + span.h * a->head_dim);
    for (int64_t b = 0; b < a->head_dim * (int64_t)dtype_bytes(a->dtype); b += VLMK_CPU_LINE) {
        if (is_written) __builtin_prefetch(row + b, 1);
        else __builtin_prefetch(row + b, 0);
    }
}

/* A head's rows as operand rows [n in whole units, d_pad], zeros past the end of both. */
static inline void head_rows(const vlmk_attention_args *a, attention_sizes size, const void *x,
                             head_span span, void *out)
{
    int64_t whole = vlmk_cpu_round_up(span.n, size.unit);
    size_t row_bytes = (size_t)(a->head_dim * size.bytes),
           rest_bytes = (size_t)((size.d_pad - a->head_dim) * size.bytes);
    for (int64_t i = 0; i < span.n; i++) {
        fetch_row(a, x, span, i, 0);
        const void *from = at(x, a->dtype, span.row[i] * span.stride + span.h * a->head_dim);
        char *to = (char *)out + i * size.d_pad * size.bytes;
        if (a->dtype == size.dtype) memcpy(to, from, row_bytes);
        else
            VLMK_FOR_LANES(c, m, a->head_dim,
                           store_at(to, VLMOE_F32, c, m, load_at(from, VLMOE_BF16, c, m)));
        memset(to + row_bytes, 0, rest_bytes);
    }
    memset((char *)out + span.n * size.d_pad * size.bytes, 0,
           (size_t)((whole - span.n) * size.d_pad * size.bytes));
}

VLMK_INLINE vu words_at(const uint32_t *p)
{
    return (vu)load_f32((const float *)(const void *)p);
}
VLMK_INLINE void put_words(uint32_t *p, vu words)
{
    store_f32((float *)(void *)p, (vf)words);
}

/* Elements i .. i+VL-1 of a row of operands that begins at `row`. Subnormals may become zero. */
VLMK_INLINE void store_operand(float *row, const int dtype, int64_t i, vf x)
{
#if defined(__AVX512BF16__)
    if (dtype == VLMOE_BF16) {
        __m256bh half = _mm512_cvtneps_pbh((__m512)x);
        memcpy((uint16_t *)(void *)row + i, &half, sizeof half);
        return;
    }
#else
    (void)dtype;
#endif
    store_f32(row + i, x);
}

/* Elements 0 .. VL-1 of row `word` of f32, or of the two rows of bf16 that make its words. */
VLMK_INLINE vu words_down(const void *x, int dtype, int64_t ld, int64_t word)
{
    if (dtype == VLMOE_F32) return words_at((const uint32_t *)x + word * ld);
    const uint16_t *even = (const uint16_t *)x + 2 * word * ld;
    return ((vu)load_at(even, VLMOE_BF16, 0, VL) >> 16) | (vu)load_at(even + ld, VLMOE_BF16, 0, VL);
}

/* x [n, k] to panels of its transpose, [k, n]: each row of x is a column of b. */
static inline void panels_across(int dtype, const void *x, int64_t n, int64_t k, void *out)
{
    int64_t words = dtype == VLMOE_BF16 ? k / 2 : k;
    for (int64_t i = 0; i < n; i += VL)
        for (int64_t w = 0; w < words; w += VL) {
            vu square[VL];
            const uint32_t *from = (const uint32_t *)x + i * words + w;
            for (int r = 0; r < VL; r++) square[r] = words_at(from + r * words);
            vu_transpose(square);
            uint32_t *to = (uint32_t *)out + i * words + w * VL;
            for (int r = 0; r < VL; r++) put_words(to + r * VL, square[r]);
        }
}

/* x [k, n] to panels of itself. */
static inline void panels_down(int dtype, const void *x, int64_t k, int64_t n, void *out)
{
    int64_t words = dtype == VLMOE_BF16 ? k / 2 : k;
    for (int64_t j = 0; j < n; j += VL) {
        uint32_t *to = (uint32_t *)out + j * words;
        for (int64_t w = 0; w < words; w++)
            put_words(to + w * VL, words_down(at(x, dtype, j), dtype, n, w));
    }
}

/* x [n, k] transposed, as rows [k, ld] whose first n elements are written. */
static inline void rows_transposed(int dtype, const void *x, int64_t n, int64_t k, int64_t ld,
                                   void *out)
{
    int64_t per_word = dtype == VLMOE_BF16 ? 2 : 1, words = n / per_word, to_words = ld / per_word;
    for (int64_t w = 0; w < words; w += VL)
        for (int64_t d = 0; d < k; d += VL) {
            vu square[VL];
            for (int r = 0; r < VL; r++) square[r] = words_down(at(x, dtype, d), dtype, k, w + r);
            vu_transpose(square);
            for (int r = 0; r < VL; r++)
                put_words((uint32_t *)out + (d + r) * to_words + w, square[r]);
        }
}

/* Query-key pairs of all sequences and heads, for counting. */
static inline double seen_pairs(const vlmk_attention_args *a)
{
    double pairs = 0.0;
    for (int64_t s = 0; s < a->n_seq; s++) {
        attention_view v = view_of(a, s);
        if (!a->causal) pairs += (double)v.n_q * (double)v.n_kv;
        else
            for (int64_t i = 0; i < v.n_q; i++) pairs += (double)n_seen(&v, i);
    }
    return pairs * (double)a->H;
}

#endif
