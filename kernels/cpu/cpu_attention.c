/* Attention, forward. A tile is a chunk of queries of one sequence for one key head: keys and
 * values are laid out once and shared by the query heads of that key head. Scores live for one
 * block of queries against all keys of the sequence, so the softmax needs no running correction:
 * memory is QUERY_BLOCK rows per worker, never [Lq, Lk]. Where operands are bf16, so are the
 * probabilities in their product with the values; their sum is of f32. */
#include "cpu_attention.h"

enum { QUERY_CHUNK = 8 * QUERY_BLOCK };

typedef struct fwd_job {
    const vlmk_attention_args *a;
    attention_sizes size;
    float factor;     /* scale in powers of two: exp(scale s) = 2^(factor s) */
    int64_t n_chunks; /* of the longest sequence */
    char *worker_base;
    size_t worker_stride;
} fwd_job;

/* A worker's blocks. */
typedef struct fwd_blocks {
    void *rows;   /* [kv_pad or QUERY_BLOCK, d_pad] */
    void *keys_t; /* panels of [d_pad, keys] */
    void *values; /* panels of [keys, d_pad] */
    void *p;      /* [QUERY_BLOCK, kv_pad] scores f32, then probabilities at the front of rows */
    void *out;    /* [QUERY_BLOCK, d_pad] f32 */
} fwd_blocks;

static size_t lay_out(attention_sizes size, char *base, fwd_blocks *b)
{
    int64_t keys = size.d_pad * size.kv_pad, queries = QUERY_BLOCK * size.d_pad;
    const scratch_piece piece[] = {
        {&b->rows, keys > queries ? keys : queries, size.bytes},
        {&b->keys_t, keys, size.bytes},
        {&b->values, keys, size.bytes},
        {&b->p, QUERY_BLOCK * size.kv_pad, 4},
        {&b->out, queries, 4},
    };
    return place_pieces(piece, (int)(sizeof piece / sizeof *piece), base);
}

/* A row of scores becomes one of probabilities, not yet divided by their sum. */
typedef struct score_row {
    float *score;
    int64_t n, width; /* keys seen; elements to write, zeros past n */
    float factor;
} score_row;

/* p = 2^(factor (score - top)) in place, as dtype; returns the sum, in *top the score of the
 * largest p. That one's exponent is 0 exactly, however large scores are. */
VLMK_INLINE float softmax_row(score_row row, const int dtype, float *top)
{
    vf best = vf_set(-INFINITY), sum = {0};
    const vf none = vf_set(-INFINITY);
    const float sign = row.factor < 0.0f ? -1.0f : 1.0f;
    const int64_t whole = row.n / VL * VL;
    vi lane;
    for (int l = 0; l < VL; l++) lane[l] = l;
    const vi is_seen = lane < (int32_t)(row.n - whole);
    for (int64_t j = 0; j < whole; j += VL) best = vf_max(best, load_f32(row.score + j) * sign);
    if (whole < row.n) {
        vf last = load_f32(row.score + whole) * sign;
        best = vf_max(best, vf_select(is_seen, last, none));
    }
    *top = vf_top(best) * sign;
    for (int64_t j = 0; j < whole; j += VL) {
        vf e = vf_exp2((load_f32(row.score + j) - *top) * row.factor);
        store_operand(row.score, dtype, j, e);
        sum += e;
    }
    int64_t j = whole;
    if (whole < row.n) {
        vf e = vf_exp2((load_f32(row.score + j) - *top) * row.factor);
        e = (vf)((vi)e & is_seen);
        store_operand(row.score, dtype, j, e);
        sum += e;
        j += VL;
    }
    for (; j < row.width; j += VL) store_operand(row.score, dtype, j, vf_set(0.0f));
    return vf_sum(sum);
}

static float softmax_f32(score_row row, float *top)
{
    return softmax_row(row, VLMOE_F32, top);
}
static float softmax_bf16(score_row row, float *top)
{
    return softmax_row(row, VLMOE_BF16, top);
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

/* Probabilities and lse of a block's queries; 1 / sum in inverse[]. */
static void softmax_block(const fwd_job *job, const attention_view *v, const fwd_blocks *b,
                          tile_span queries, int64_t h, float *inverse)
{
    const vlmk_attention_args *a = v->a;
    score_row row = {.width = vlmk_cpu_round_up(n_seen(v, queries.end - 1), job->size.unit),
                     .factor = job->factor};
    for (int64_t i = 0; i < queries.end - queries.first; i++) {
        float top = 0.0f, sum = 0.0f;
        row.score = (float *)b->p + i * job->size.kv_pad;
        row.n = n_seen(v, queries.first + i);
        if (row.n == 0) memset(row.score, 0, (size_t)row.width * sizeof(float));
        else if (job->size.dtype == VLMOE_BF16) sum = softmax_bf16(row, &top);
        else sum = softmax_f32(row, &top);
        inverse[i] = row.n > 0 ? 1.0f / sum : 0.0f;
        ((float *)a->lse)[v->q_row[queries.first + i] * a->H + h] =
            row.n > 0 ? (float)(a->scale * (double)top + (double)logf(sum)) : -INFINITY;
    }
}

/* Queries first .. end-1 (at most QUERY_BLOCK) of query head h. */
static void query_block(const fwd_job *job, const attention_view *v, const fwd_blocks *b,
                        tile_span queries, int64_t h)
{
    const vlmk_attention_args *a = v->a;
    attention_sizes size = job->size;
    int64_t n = queries.end - queries.first, n_pad = vlmk_cpu_round_up(n, size.unit);
    int64_t width = vlmk_cpu_round_up(n_seen(v, queries.end - 1), size.unit);
    float inverse[QUERY_BLOCK];
    head_rows(a, size, a->q, (head_span){v->q_row + queries.first, n, a->q_stride, h}, b->rows);
    panel_operands scores = {.a = b->rows,
                             .lda = size.d_pad,
                             .b = b->keys_t,
                             .panel = size.d_pad * VL,
                             .c = b->p,
                             .ldc = size.kv_pad};
    panel_product(size.kind, &scores, n_pad, width, size.d_pad);
    softmax_block(job, v, b, queries, h, inverse);
    panel_operands mix = {.a = b->p,
                          .lda = size.kv_pad * 4 / size.bytes,
                          .b = b->values,
                          .panel = vlmk_cpu_round_up(v->n_kv, size.unit) * VL,
                          .c = b->out,
                          .ldc = size.d_pad};
    panel_product(size.kind, &mix, n_pad, size.d_pad, width);
    for (int64_t i = 0; i < n; i++)
        store_query(v, queries.first + i, h, (float *)b->out + i * size.d_pad, inverse[i]);
}

static void fwd_tile(void *arg, int64_t tile, int worker)
{
    const fwd_job *job = arg;
    const vlmk_attention_args *a = job->a;
    attention_sizes size = job->size;
    attention_view v = view_of(a, tile / job->n_chunks / a->H_kv);
    int64_t h_kv = tile / job->n_chunks % a->H_kv, group = a->H / a->H_kv;
    tile_span chunk = span_of(tile % job->n_chunks, QUERY_CHUNK, v.n_q);
    if (chunk.first >= chunk.end) return;
    fwd_blocks b = {0};
    lay_out(size, job->worker_base + (size_t)worker * job->worker_stride, &b);
    head_span span = {v.kv_row, v.n_kv, a->kv_stride, h_kv};
    int64_t keys = vlmk_cpu_round_up(v.n_kv, size.unit);
    head_rows(a, size, a->k, span, b.rows);
    panels_across(size.dtype, b.rows, keys, size.d_pad, b.keys_t);
    head_rows(a, size, a->v, span, b.rows);
    panels_down(size.dtype, b.rows, keys, size.d_pad, b.values);
    panel_begin(size.kind);
    for (int64_t h = h_kv * group; h < (h_kv + 1) * group; h++)
        for (int64_t i = chunk.first; i < chunk.end; i += QUERY_BLOCK) {
            tile_span queries = {i, i + QUERY_BLOCK < chunk.end ? i + QUERY_BLOCK : chunk.end};
            query_block(job, &v, &b, queries, h);
        }
    panel_end(size.kind);
}

int VLMK_CPU(attention_fwd)(vlmk_env *env, const vlmk_attention_fwd_args *args)
{
    fwd_job job = {.a = args,
                   .size = sizes_of(env, args),
                   .factor = (float)(args->scale * M_LOG2E),
                   .n_chunks = vlmk_cpu_ceil_div(args->max_q, QUERY_CHUNK)};
    fwd_blocks none;
    job.worker_base =
        vlmk_cpu_worker_scratch(env, lay_out(job.size, NULL, &none), &job.worker_stride);
    if (!job.worker_base) return VLMOE_E_NOMEM;
    vlmk_cpu_parallel(env, fwd_tile, &job, args->n_seq * args->H_kv * job.n_chunks);
    if (env->flops) count_flops(env, 2.0 * seen_pairs(args) * (double)args->head_dim);
    return VLMOE_OK;
}
