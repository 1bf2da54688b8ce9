/* What attention's forward and backward share: one sequence's key head as f32 blocks in a
 * worker's scratch. */
#ifndef VLMK_CPU_ATTENTION_H
#define VLMK_CPU_ATTENTION_H

#include "cpu_kernels.h"
#include "cpu_micro.h"

enum { QUERY_BLOCK = 8 * MICRO_ROWS };

/* Sizes of blocks, all rows readable to whole vectors and whole register tiles. */
typedef struct attention_sizes {
    int64_t d_pad; /* head_dim in whole vectors: row length of [.., d] blocks */
    /* max_kv in whole vectors and in whole MICRO_ROWS: row length of [.., keys] blocks */
    int64_t kv_pad;
} attention_sizes;

static inline attention_sizes sizes_of(const vlmk_attention_args *a)
{
    return (attention_sizes){.d_pad = vlmk_cpu_round_up(a->head_dim, VL),
                             .kv_pad =
                                 vlmk_cpu_round_up(vlmk_cpu_round_up(a->max_kv, MICRO_ROWS), VL)};
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

/* A head's rows as f32 [n, d_pad], columns past head_dim zero. Rows up to a whole register tile
 * are cleared. */
static inline void head_rows(const vlmk_attention_args *a, const void *x, head_span span,
                             float *out)
{
    int64_t d_pad = vlmk_cpu_round_up(a->head_dim, VL);
    for (int64_t i = 0; i < span.n; i++) {
        int64_t from = span.row[i] * span.stride + span.h * a->head_dim;
        VLMK_BY_DTYPE(a->dtype,
                      VLMK_FOR_LANES(c, m, a->head_dim,
                                     store_f32(out + i * d_pad + c, load_at(x, D, from + c, m))));
    }
    int64_t whole = vlmk_cpu_round_up(span.n, MICRO_ROWS);
    memset(out + span.n * d_pad, 0, (size_t)((whole - span.n) * d_pad) * sizeof *out);
}

/* in [n, d_pad] to out [d_pad, ld]; columns n up to a whole vector are zero. */
static inline void head_transpose(const float *in, int64_t n, int64_t d_pad, int64_t ld, float *out)
{
    for (int64_t i = 0; i < n; i += VL)
        for (int64_t d = 0; d < d_pad; d += VL) {
            vu square[VL];
            for (int r = 0; r < VL; r++)
                square[r] = i + r < n ? (vu)load_f32(in + (i + r) * d_pad + d) : (vu){0};
            vu_transpose(square);
            for (int r = 0; r < VL; r++) store_f32(out + (d + r) * ld + i, (vf)square[r]);
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
