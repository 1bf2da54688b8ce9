/* Attention, backward. A tile is one sequence and key head, so one worker sums dk and dv over
 * blocks of queries, and over the query heads that share the key head, in order. Probabilities
 * are computed again from lse, a block of queries at a time. */
#include "cpu_attention.h"

enum { N_BLOCKS = 11 };

typedef struct bwd_job {
    const vlmk_attention_args *a;
    attention_sizes size;
    char *worker_base;
    size_t worker_stride;
} bwd_job;

/* A worker's blocks. */
typedef struct bwd_blocks {
    float *keys, *keys_t, *values_t; /* [kv_pad, d_pad], then two of [d_pad, kv_pad] */
    float *dk, *dv;                  /* [kv_pad, d_pad] */
    float *q, *dout, *out, *dq;      /* [QUERY_BLOCK, d_pad] */
    float *p, *ds;                   /* [QUERY_BLOCK, kv_pad] */
} bwd_blocks;

static size_t lay_out(attention_sizes size, char *base, bwd_blocks *b)
{
    int64_t of_keys = size.d_pad * size.kv_pad, of_queries = QUERY_BLOCK * size.d_pad,
            of_scores = QUERY_BLOCK * size.kv_pad;
    float **block[N_BLOCKS] = {&b->keys, &b->keys_t, &b->values_t, &b->dk, &b->dv, &b->q,
                               &b->dout, &b->out,    &b->dq,       &b->p,  &b->ds};
    size_t bytes = 0;
    for (int i = 0; i < N_BLOCKS; i++) {
        int64_t floats = i < 5 ? of_keys : i < 9 ? of_queries : of_scores;
        if (base) *block[i] = (float *)(void *)(base + bytes);
        bytes += (size_t)vlmk_cpu_round_up(floats * 4, VLMK_CPU_LINE);
    }
    return bytes;
}

/* What one query brings. */
typedef struct query_row {
    int64_t seen; /* keys */
    float lse;
    float along; /* dout . out */
    float scale;
} query_row;

/* Row of p and ds: p = exp(scale score - lse), ds = p (dp - dout . out) scale; ds holds dp
 * before. Zero past `seen` up to width. */
static void slope_row(float *p, float *ds, int64_t width, query_row q)
{
    vi lane;
    for (int l = 0; l < VL; l++) lane[l] = l;
    int64_t j = 0;
    for (; j < q.seen; j += VL) {
        /* p is at most 1; where scores are huge, the rounding of lse must not say otherwise */
        vf e = vf_exp(vf_min(vf_set(0.0f), load_f32(p + j) * q.scale - q.lse));
        vf slope = e * (load_f32(ds + j) - q.along) * q.scale;
        if (q.seen - j < VL) {
            vi is_seen = lane < (int32_t)(q.seen - j);
            e = (vf)((vi)e & is_seen);
            slope = (vf)((vi)slope & is_seen);
        }
        store_f32(p + j, e);
        store_f32(ds + j, slope);
    }
    for (; j < width; j += VL) {
        store_f32(p + j, vf_set(0.0f));
        store_f32(ds + j, vf_set(0.0f));
    }
}

static float row_dot(const float *x, const float *y, int64_t n)
{
    vf sum = {0};
    for (int64_t i = 0; i < n; i += VL) sum += load_f32(x + i) * load_f32(y + i);
    return vf_sum(sum);
}

/* p and ds of a block of queries. */
static void score_slopes(const attention_view *v, attention_sizes size, const bwd_blocks *b,
                         tile_span queries, int64_t h)
{
    const vlmk_attention_args *a = v->a;
    int64_t n = queries.end - queries.first, keys = n_seen(v, queries.end - 1);
    int64_t width = vlmk_cpu_round_up(vlmk_cpu_round_up(keys, MICRO_ROWS), VL);
    micro_operands scores = {.a = b->q,
                             .a_row = size.d_pad,
                             .a_column = 1,
                             .b = b->keys_t,
                             .ldb = size.kv_pad,
                             .c = b->p,
                             .ldc = size.kv_pad};
    micro_product(&scores, n, keys, a->head_dim);
    micro_operands slopes = {.a = b->dout,
                             .a_row = size.d_pad,
                             .a_column = 1,
                             .b = b->values_t,
                             .ldb = size.kv_pad,
                             .c = b->ds,
                             .ldc = size.kv_pad};
    micro_product(&slopes, n, keys, a->head_dim);
    for (int64_t i = 0; i < n; i++) {
        query_row q = {.seen = n_seen(v, queries.first + i), .scale = (float)a->scale};
        q.lse = ((const float *)a->lse)[v->q_row[queries.first + i] * a->H + h];
        q.along = row_dot(b->dout + i * size.d_pad, b->out + i * size.d_pad, size.d_pad);
        slope_row(b->p + i * size.kv_pad, b->ds + i * size.kv_pad, width, q);
    }
}

static void store_rows(const vlmk_attention_args *a, const float *in, head_span span, void *out)
{
    int64_t d_pad = vlmk_cpu_round_up(a->head_dim, VL);
    for (int64_t i = 0; i < span.n; i++) {
        int64_t place = span.row[i] * span.stride + span.h * a->head_dim;
        VLMK_BY_DTYPE(a->dtype,
                      VLMK_FOR_LANES(c, m, a->head_dim,
                                     store_at(out, D, place + c, m, load_f32(in + i * d_pad + c))));
    }
}

/* Queries first .. end-1 of query head h: their dq, and their share of dk and dv. */
static void query_block(const attention_view *v, attention_sizes size, const bwd_blocks *b,
                        tile_span queries, int64_t h)
{
    const vlmk_attention_args *a = v->a;
    int64_t n = queries.end - queries.first, keys = n_seen(v, queries.end - 1);
    head_span in_q = {v->q_row + queries.first, n, a->q_stride, h},
              in_out = {in_q.row, n, a->out_stride, h};
    head_rows(a, a->q, in_q, b->q);
    head_rows(a, a->dout, in_out, b->dout);
    head_rows(a, a->out, in_out, b->out);
    score_slopes(v, size, b, queries, h);
    micro_operands dq = {.a = b->ds,
                         .a_row = size.kv_pad,
                         .a_column = 1,
                         .b = b->keys,
                         .ldb = size.d_pad,
                         .c = b->dq,
                         .ldc = size.d_pad};
    micro_product(&dq, n, size.d_pad, keys);
    store_rows(a, b->dq, in_q, a->dq);
    micro_operands dk = {.a = b->ds,
                         .a_row = 1,
                         .a_column = size.kv_pad,
                         .b = b->q,
                         .ldb = size.d_pad,
                         .c = b->dk,
                         .ldc = size.d_pad,
                         .add = 1};
    micro_product(&dk, keys, size.d_pad, n);
    micro_operands dv = {.a = b->p,
                         .a_row = 1,
                         .a_column = size.kv_pad,
                         .b = b->dout,
                         .ldb = size.d_pad,
                         .c = b->dv,
                         .ldc = size.d_pad,
                         .add = 1};
    micro_product(&dv, keys, size.d_pad, n);
}

static void bwd_tile(void *arg, int64_t tile, int worker)
{
    const bwd_job *job = arg;
    const vlmk_attention_args *a = job->a;
    attention_view v = view_of(a, tile / a->H_kv);
    int64_t h_kv = tile % a->H_kv, group = a->H / a->H_kv, d_pad = job->size.d_pad,
            kv_pad = job->size.kv_pad;
    bwd_blocks b = {0};
    lay_out(job->size, job->worker_base + (size_t)worker * job->worker_stride, &b);
    head_span keys = {v.kv_row, v.n_kv, a->kv_stride, h_kv};
    head_rows(a, a->v, keys, b.keys);
    head_transpose(b.keys, v.n_kv, d_pad, kv_pad, b.values_t);
    head_rows(a, a->k, keys, b.keys);
    head_transpose(b.keys, v.n_kv, d_pad, kv_pad, b.keys_t);
    size_t sums_bytes = (size_t)(vlmk_cpu_round_up(v.n_kv, MICRO_ROWS) * d_pad) * sizeof(float);
    memset(b.dk, 0, sums_bytes);
    memset(b.dv, 0, sums_bytes);
    for (int64_t h = h_kv * group; h < (h_kv + 1) * group; h++)
        for (int64_t i = 0; i < v.n_q; i += QUERY_BLOCK) {
            tile_span queries = {i, i + QUERY_BLOCK < v.n_q ? i + QUERY_BLOCK : v.n_q};
            query_block(&v, job->size, &b, queries, h);
        }
    store_rows(a, b.dk, keys, a->dk);
    store_rows(a, b.dv, keys, a->dv);
}

int VLMK_CPU(attention_bwd)(vlmk_env *env, const vlmk_attention_bwd_args *args)
{
    bwd_job job = {.a = args, .size = sizes_of(args)};
    bwd_blocks none;
    job.worker_base =
        vlmk_cpu_worker_scratch(env, lay_out(job.size, NULL, &none), &job.worker_stride);
    if (!job.worker_base) return VLMOE_E_NOMEM;
    vlmk_cpu_parallel(env, bwd_tile, &job, args->n_seq * args->H_kv);
    if (env->flops) count_flops(env, 5.0 * seen_pairs(args) * (double)args->head_dim);
    return VLMOE_OK;
}
