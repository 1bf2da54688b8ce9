/* Attention, forward. A tile is a chunk of queries of one sequence for one key head: keys are
 * gathered once as f32, transposed, and shared by the query heads of that key head. Scores live
 * for one block of queries against all keys of the sequence, so the softmax needs no running
 * correction: memory is QUERY_BLOCK rows per worker, never [Lq, Lk]. */
#include "cpu_attention.h"

enum { QUERY_CHUNK = 8 * QUERY_BLOCK };

typedef struct fwd_job {
    const vlmk_attention_args *a;
    attention_sizes size;
    int64_t n_chunks; /* of the longest sequence */
    char *worker_base;
    size_t worker_stride;
} fwd_job;

/* A worker's blocks. */
typedef struct fwd_blocks {
    float *keys_t; /* [d_pad, kv_pad] */
    float *values; /* [kv_pad, d_pad] */
    float *q;      /* [QUERY_BLOCK, d_pad] */
    float *p;      /* [QUERY_BLOCK, kv_pad] */
    float *out;    /* [QUERY_BLOCK, d_pad] */
} fwd_blocks;

static size_t lay_out(attention_sizes size, char *base, fwd_blocks *b)
{
    int64_t floats[5] = {size.d_pad * size.kv_pad, size.kv_pad * size.d_pad,
                         QUERY_BLOCK * size.d_pad, QUERY_BLOCK * size.kv_pad,
                         QUERY_BLOCK * size.d_pad};
    float **block[5] = {&b->keys_t, &b->values, &b->q, &b->p, &b->out};
    size_t bytes = 0;
    for (int i = 0; i < 5; i++) {
        if (base) *block[i] = (float *)(void *)(base + bytes);
        bytes += (size_t)vlmk_cpu_round_up(floats[i] * 4, VLMK_CPU_LINE);
    }
    return bytes;
}

/* p of one query in place: exp(scale * score - top), zero past n up to `width`; returns the sum,
 * top in *top. */
static float softmax_row(float *score, int64_t n, int64_t width, float scale, float *top)
{
    vf best = vf_set(-INFINITY);
    const vf none = vf_set(-INFINITY);
    vi lane;
    for (int l = 0; l < VL; l++) lane[l] = l;
    for (int64_t j = 0; j < n; j += VL) {
        vf s = load_f32(score + j) * scale;
        if (n - j < VL) s = vf_select(lane < (int32_t)(n - j), s, none);
        store_f32(score + j, s);
        best = vf_max(best, s);
    }
    *top = vf_top(best);
    vf sum = {0};
    for (int64_t j = 0; j < n; j += VL) {
        vf e = vf_exp(load_f32(score + j) - *top);
        store_f32(score + j, e);
        sum += e;
    }
    for (int64_t j = vlmk_cpu_round_up(n, VL); j < width; j += VL)
        store_f32(score + j, vf_set(0.0f));
    return vf_sum(sum);
}

static void store_query(const attention_view *v, int64_t i, int64_t h, const float *sum,
                        float inverse)
{
    const vlmk_attention_args *a = v->a;
    int64_t place = v->q_row[i] * a->out_stride + h * a->head_dim;
    VLMK_BY_DTYPE(a->dtype,
                  VLMK_FOR_LANES(c, n, a->head_dim,
                                 store_at(a->out, D, place + c, n, load_f32(sum + c) * inverse)));
}

/* Queries first .. end-1 (at most QUERY_BLOCK) of query head h. */
static void query_block(const attention_view *v, attention_sizes size, const fwd_blocks *b,
                        tile_span queries, int64_t h)
{
    const vlmk_attention_args *a = v->a;
    int64_t n = queries.end - queries.first, keys = n_seen(v, queries.end - 1);
    float inverse[QUERY_BLOCK];
    head_rows(a, a->q, (head_span){v->q_row + queries.first, n, a->q_stride, h}, b->q);
    micro_operands scores = {.a = b->q,
                             .a_row = size.d_pad,
                             .a_column = 1,
                             .b = b->keys_t,
                             .ldb = size.kv_pad,
                             .c = b->p,
                             .ldc = size.kv_pad};
    micro_product(&scores, n, keys, a->head_dim);
    for (int64_t i = 0; i < n; i++) {
        int64_t seen = n_seen(v, queries.first + i);
        float top = -INFINITY, sum = 0.0f;
        if (seen > 0) sum = softmax_row(b->p + i * size.kv_pad, seen, keys, (float)a->scale, &top);
        else memset(b->p + i * size.kv_pad, 0, (size_t)keys * sizeof(float));
        inverse[i] = seen > 0 ? 1.0f / sum : 0.0f;
        ((float *)a->lse)[v->q_row[queries.first + i] * a->H + h] =
            seen > 0 ? (float)((double)top + log((double)sum)) : -INFINITY;
    }
    micro_operands mix = {.a = b->p,
                          .a_row = size.kv_pad,
                          .a_column = 1,
                          .b = b->values,
                          .ldb = size.d_pad,
                          .c = b->out,
                          .ldc = size.d_pad};
    micro_product(&mix, n, size.d_pad, keys);
    for (int64_t i = 0; i < n; i++)
        store_query(v, queries.first + i, h, b->out + i * size.d_pad, inverse[i]);
}

static void fwd_tile(void *arg, int64_t tile, int worker)
{
    const fwd_job *job = arg;
    const vlmk_attention_args *a = job->a;
    attention_view v = view_of(a, tile / job->n_chunks / a->H_kv);
    int64_t h_kv = tile / job->n_chunks % a->H_kv, group = a->H / a->H_kv;
    tile_span chunk = span_of(tile % job->n_chunks, QUERY_CHUNK, v.n_q);
    if (chunk.first >= chunk.end) return;
    fwd_blocks b = {0};
    lay_out(job->size, job->worker_base + (size_t)worker * job->worker_stride, &b);
    head_span keys = {v.kv_row, v.n_kv, a->kv_stride, h_kv};
    head_rows(a, a->k, keys, b.values);
    head_transpose(b.values, v.n_kv, job->size.d_pad, job->size.kv_pad, b.keys_t);
    head_rows(a, a->v, keys, b.values);
    for (int64_t h = h_kv * group; h < (h_kv + 1) * group; h++)
        for (int64_t i = chunk.first; i < chunk.end; i += QUERY_BLOCK) {
            tile_span queries = {i, i + QUERY_BLOCK < chunk.end ? i + QUERY_BLOCK : chunk.end};
            query_block(&v, job->size, &b, queries, h);
        }
}

int VLMK_CPU(attention_fwd)(vlmk_env *env, const vlmk_attention_fwd_args *args)
{
    fwd_job job = {
        .a = args, .size = sizes_of(args), .n_chunks = vlmk_cpu_ceil_div(args->max_q, QUERY_CHUNK)};
    fwd_blocks none;
    job.worker_base =
        vlmk_cpu_worker_scratch(env, lay_out(job.size, NULL, &none), &job.worker_stride);
    if (!job.worker_base) return VLMOE_E_NOMEM;
    vlmk_cpu_parallel(env, fwd_tile, &job, args->n_seq * args->H_kv * job.n_chunks);
    if (env->flops) count_flops(env, 2.0 * seen_pairs(args) * (double)args->head_dim);
    return VLMOE_OK;
}
