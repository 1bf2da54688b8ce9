/* Attention, backward. A tile is one sequence and key head, so one worker sums dk and dv over
 * blocks of queries, and over the query heads that share the key head, in order. Probabilities
 * are computed again from lse, for QUERY_BLOCK queries and KEY_BLOCK keys at a time, keys as rows:
 * what belongs to a query then lies along vectors, and p and ds are operands as they stand. */
#include "cpu_attention.h"

enum { KEY_BLOCK = 64 };

typedef struct bwd_job {
    const vlmk_attention_args *a;
    attention_sizes size;
    float factor; /* scale in powers of two: exp(scale s) = 2^(factor s) */
    char *worker_base;
    size_t worker_stride;
} bwd_job;

/* A worker's blocks. */
typedef struct bwd_blocks {
    void *keys, *values;          /* rows [kv_pad, d_pad] */
    void *keys_t;                 /* rows [d_pad, kv_pad] */
    void *dk, *dv;                /* [kv_pad, d_pad] f32 */
    void *rows;                   /* [QUERY_BLOCK, d_pad] */
    void *q_across, *dout_across; /* panels of [d_pad, QUERY_BLOCK] */
    void *q_down, *dout_down;     /* panels of [QUERY_BLOCK, d_pad] */
    void *p, *ds;                 /* [KEY_BLOCK, QUERY_BLOCK] f32, then operand rows */
    void *ds_down;                /* panels of [KEY_BLOCK, QUERY_BLOCK] */
    void *dq_t, *dq;              /* [d_pad, QUERY_BLOCK] and its transpose, f32 */
    float lse[QUERY_BLOCK];       /* in powers of two */
    float along[QUERY_BLOCK];     /* dout . out */
} bwd_blocks;

static size_t lay_out(attention_sizes size, char *base, bwd_blocks *b)
{
    int64_t keys = size.d_pad * size.kv_pad, queries = QUERY_BLOCK * size.d_pad,
            scores = KEY_BLOCK * QUERY_BLOCK;
    const scratch_piece piece[] = {
        {&b->keys, keys, size.bytes},
        {&b->values, keys, size.bytes},
        {&b->keys_t, keys, size.bytes},
        {&b->dk, keys, 4},
        {&b->dv, keys, 4},
        {&b->rows, queries, size.bytes},
        {&b->q_across, queries, size.bytes},
        {&b->dout_across, queries, size.bytes},
        {&b->q_down, queries, size.bytes},
        {&b->dout_down, queries, size.bytes},
        {&b->p, scores, 4},
        {&b->ds, scores, 4},
        {&b->ds_down, scores, size.bytes},
        {&b->dq_t, queries, 4},
        {&b->dq, queries, 4},
    };
    return place_pieces(piece, (int)(sizeof piece / sizeof *piece), base);
}

/* A block of keys against a block of queries. */
typedef struct slope_block {
    float *p, *ds;     /* scores and dp before, p and ds after */
    uint32_t *ds_down; /* ds once more, as panels */
    const float *lse, *along;
    float factor;
    tile_span keys; /* of the sequence */
    int64_t rows;   /* keys in whole units, so past keys.end */
    int64_t n;      /* queries in whole units */
    int64_t first_query;
    const attention_view *v;
} slope_block;

/* The first query that sees key j; none sees padding. */
static int32_t first_seeing(const slope_block *b, int64_t j)
{
    if (j >= b->keys.end) return INT32_MAX;
    int64_t query = b->v->a->causal ? j - b->v->a->causal_offset : 0;
    return query < 0 ? 0 : query < INT32_MAX ? (int32_t)query : INT32_MAX;
}

/* p = 2^(factor score - lse) and ds = p (dp - dout . out), still to be scaled, of row r from
 * query i of the block. */
VLMK_INLINE void slope_vector(const slope_block *b, int64_t r, int64_t i, const int is_whole, vf *p,
                              vf *ds)
{
    int64_t place = r * QUERY_BLOCK + i;
    /* p is at most 1; where scores are huge, the rounding of lse must not say otherwise */
    vf e = vf_exp2(vf_min(vf_set(0.0f), load_f32(b->p + place) * b->factor - load_f32(b->lse + i)));
    if (!is_whole) {
        vi query;
        for (int l = 0; l < VL; l++) query[l] = l;
        query += (int32_t)(b->first_query + i);
        e = (vf)((vi)e & (query >= first_seeing(b, b->keys.first + r)));
    }
    *p = e;
    *ds = e * (load_f32(b->ds + place) - load_f32(b->along + i));
}

VLMK_INLINE void slopes_f32(const slope_block *b, const int is_whole)
{
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t i = 0; i < b->n; i += VL) {
            vf p, ds;
            slope_vector(b, r, i, is_whole, &p, &ds);
            store_f32(b->p + r * QUERY_BLOCK + i, p);
            store_f32(b->ds + r * QUERY_BLOCK + i, ds);
            put_words(b->ds_down + i * KEY_BLOCK + r * VL, (vu)ds);
        }
}

#if defined(__AVX512BF16__)
/* Two vectors, a's elements at row + i and b's QUERY_BLOCK floats further. */
VLMK_INLINE __m512i store_two(float *row, int64_t i, vf a, vf b)
{
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
    _mm256_storeu_si256((void *)((uint16_t *)(void *)row + i), _mm512_castsi512_si256(both));
    _mm256_storeu_si256((void *)((uint16_t *)(void *)(row + QUERY_BLOCK) + i),
                        _mm512_extracti64x4_epi64(both, 1));
    return both;
}

/* Two rows at a time: they share the words of ds_down. */
VLMK_INLINE void slopes_bf16(const slope_block *b, const int is_whole)
{
    uint16_t order[2 * VL];
    for (int l = 0; l < VL; l++) {
        order[2 * l] = (uint16_t)l;
        order[2 * l + 1] = (uint16_t)(VL + l);
    }
    const __m512i zip = _mm512_loadu_si512(order);
    for (int64_t r = 0; r < b->rows; r += 2)
        for (int64_t i = 0; i < b->n; i += VL) {
            vf p[2], ds[2];
            slope_vector(b, r, i, is_whole, &p[0], &ds[0]);
            slope_vector(b, r + 1, i, is_whole, &p[1], &ds[1]);
            store_two(b->p + r * QUERY_BLOCK, i, p[0], p[1]);
            __m512i both = store_two(b->ds + r * QUERY_BLOCK, i, ds[0], ds[1]);
            vu words = (vu)_mm512_permutexvar_epi16(zip, both);
            put_words(b->ds_down + i * (KEY_BLOCK / 2) + r / 2 * VL, words);
        }
}
#endif

static void slopes(const slope_block *b, int dtype)
{
    int is_whole = !b->v->a->causal && b->keys.end - b->keys.first == b->rows;
#if defined(__AVX512BF16__)
    if (dtype == VLMOE_BF16) {
        if (is_whole) slopes_bf16(b, 1);
        else slopes_bf16(b, 0);
        return;
    }
#else
    (void)dtype;
#endif
    if (is_whole) slopes_f32(b, 1);
    else slopes_f32(b, 0);
}

/* Rows of d_pad floats, times factor, to a head's rows of a tensor. */
static void store_rows(const bwd_job *job, const float *in, head_span span, float factor, void *out)
{
    const vlmk_attention_args *a = job->a;
    for (int64_t i = 0; i < span.n; i++) {
        fetch_row(a, out, span, i, 1);
        const float *row = in + i * job->size.d_pad;
        int64_t place = span.row[i] * span.stride + span.h * a->head_dim;
        VLMK_BY_DTYPE(a->dtype,
                      VLMK_FOR_LANES(c, m, a->head_dim,
                                     store_at(out, D, place + c, m, load_f32(row + c) * factor)));
    }
}

/* lse and dout . out of a block's queries; numbers past them that make p zero. */
static void query_numbers(const attention_view *v, tile_span queries, int64_t h, bwd_blocks *b)
{
    const vlmk_attention_args *a = v->a;
    for (int64_t i = 0; i < QUERY_BLOCK; i++) {
        b->lse[i] = 1e30f;
        b->along[i] = 0.0f;
        if (queries.first + i >= queries.end) continue;
        int64_t row = v->q_row[queries.first + i], first = row * a->out_stride + h * a->head_dim;
        vf sum = {0};
#define BODY sum += load_at(a->dout, D, first + c, m) * load_at(a->out, D, first + c, m)
        VLMK_BY_DTYPE(a->dtype, VLMK_FOR_LANES(c, m, a->head_dim, BODY));
#undef BODY
        b->along[i] = vf_sum(sum);
        b->lse[i] = (float)((double)((const float *)a->lse)[row * a->H + h] * M_LOG2E);
    }
}

/* Keys first .. end-1 of the sequence against the n queries at hand. */
static void key_block(const bwd_job *job, const bwd_blocks *b, slope_block *slope)
{
    attention_sizes size = job->size;
    int64_t first = slope->keys.first * size.d_pad, rows = slope->rows, n = slope->n,
            row_of_scores = QUERY_BLOCK * 4 / size.bytes;
    panel_operands o = {.a = at(b->keys, size.dtype, first),
                        .lda = size.d_pad,
                        .b = b->q_across,
                        .panel = size.d_pad * VL,
                        .c = b->p,
                        .ldc = QUERY_BLOCK};
    panel_product(size.kind, &o, rows, n, size.d_pad);
    o.a = at(b->values, size.dtype, first);
    o.b = b->dout_across;
    o.c = b->ds;
    panel_product(size.kind, &o, rows, n, size.d_pad);
    slopes(slope, size.dtype);
    o = (panel_operands){.a = b->p,
                         .lda = row_of_scores,
                         .b = b->dout_down,
                         .panel = n * VL,
                         .c = (float *)b->dv + first,
                         .ldc = size.d_pad,
                         .add = 1};
    panel_product(size.kind, &o, rows, size.d_pad, n);
    o.a = b->ds;
    o.b = b->q_down;
    o.c = (float *)b->dk + first;
    panel_product(size.kind, &o, rows, size.d_pad, n);
    o = (panel_operands){.a = at(b->keys_t, size.dtype, slope->keys.first),
                         .lda = size.kv_pad,
                         .b = b->ds_down,
                         .panel = KEY_BLOCK * VL,
                         .c = b->dq_t,
                         .ldc = n,
                         .add = slope->keys.first > 0};
    panel_product(size.kind, &o, size.d_pad, n, rows);
}

/* Queries first .. end-1 of query head h: their dq, and their share of dk and dv. */
static void query_block(const bwd_job *job, const attention_view *v, bwd_blocks *b,
                        tile_span queries, int64_t h)
{
    const vlmk_attention_args *a = v->a;
    attention_sizes size = job->size;
    head_span in_q = {v->q_row + queries.first, queries.end - queries.first, a->q_stride, h},
              in_out = {in_q.row, in_q.n, a->out_stride, h};
    int64_t n = vlmk_cpu_round_up(in_q.n, size.unit), keys = n_seen(v, queries.end - 1);
    head_rows(a, size, a->q, in_q, b->rows);
    panels_across(size.dtype, b->rows, n, size.d_pad, b->q_across);
    panels_down(size.dtype, b->rows, n, size.d_pad, b->q_down);
    head_rows(a, size, a->dout, in_out, b->rows);
    panels_across(size.dtype, b->rows, n, size.d_pad, b->dout_across);
    panels_down(size.dtype, b->rows, n, size.d_pad, b->dout_down);
    query_numbers(v, queries, h, b);
    slope_block slope = {.p = b->p,
                         .ds = b->ds,
                         .ds_down = b->ds_down,
                         .lse = b->lse,
                         .along = b->along,
                         .factor = job->factor,
                         .n = n,
                         .first_query = queries.first,
                         .v = v};
    if (keys == 0) memset(b->dq_t, 0, (size_t)(size.d_pad * n) * sizeof(float));
    for (int64_t j = 0; j < keys; j += KEY_BLOCK) {
        slope.keys = (tile_span){j, j + KEY_BLOCK < v->n_kv ? j + KEY_BLOCK : v->n_kv};
        slope.rows = vlmk_cpu_round_up(slope.keys.end - j, size.unit);
        key_block(job, b, &slope);
    }
    rows_transposed(VLMOE_F32, b->dq_t, size.d_pad, n, size.d_pad, b->dq);
    store_rows(job, b->dq, in_q, (float)a->scale, a->dq);
}

static void bwd_tile(void *arg, int64_t tile, int worker)
{
    const bwd_job *job = arg;
    const vlmk_attention_args *a = job->a;
    attention_sizes size = job->size;
    attention_view v = view_of(a, tile / a->H_kv);
    int64_t h_kv = tile % a->H_kv, group = a->H / a->H_kv,
            keys = vlmk_cpu_round_up(v.n_kv, size.unit);
    bwd_blocks b;
    lay_out(size, job->worker_base + (size_t)worker * job->worker_stride, &b);
    head_span span = {v.kv_row, v.n_kv, a->kv_stride, h_kv};
    head_rows(a, size, a->v, span, b.values);
    head_rows(a, size, a->k, span, b.keys);
    rows_transposed(size.dtype, b.keys, keys, size.d_pad, size.kv_pad, b.keys_t);
    memset(b.dk, 0, (size_t)(keys * size.d_pad) * sizeof(float));
    memset(b.dv, 0, (size_t)(keys * size.d_pad) * sizeof(float));
    panel_begin(size.kind);
    for (int64_t h = h_kv * group; h < (h_kv + 1) * group; h++)
        for (int64_t i = 0; i < v.n_q; i += QUERY_BLOCK) {
            tile_span queries = {i, i + QUERY_BLOCK < v.n_q ? i + QUERY_BLOCK : v.n_q};
            query_block(job, &v, &b, queries, h);
        }
    panel_end(size.kind);
    store_rows(job, b.dk, span, (float)a->scale, a->dk);
    store_rows(job, b.dv, span, 1.0f, a->dv);
}

int VLMK_CPU(attention_bwd)(vlmk_env *env, const vlmk_attention_bwd_args *args)
{
    bwd_job job = {
        .a = args, .size = sizes_of(env, args), .factor = (float)(args->scale * M_LOG2E)};
    bwd_blocks none;
    job.worker_base =
        vlmk_cpu_worker_scratch(env, lay_out(job.size, NULL, &none), &job.worker_stride);
    if (!job.worker_base) return VLMOE_E_NOMEM;
    vlmk_cpu_parallel(env, bwd_tile, &job, args->n_seq * args->H_kv);
    if (env->flops) count_flops(env, 5.0 * seen_pairs(args) * (double)args->head_dim);
    return VLMOE_OK;
}
