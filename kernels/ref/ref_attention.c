/* Attention over packed sequences: out = softmax(scale q k^T) v per sequence and head, with the
 * whole row of scores at hand. */
#include "ref.h"

/* One sequence and query head. */
typedef struct head_view {
    const vlmk_attention_args *a;
    int64_t h, h_kv;
    const int32_t *q_row, *kv_row;
    int64_t n_q, n_kv;
} head_view;

static head_view view_of(const vlmk_attention_args *a, int64_t s, int64_t h)
{
    head_view v = {.a = a, .h = h, .h_kv = h / (a->H / a->H_kv)};
    v.q_row = a->q_row + a->q_offset[s];
    v.kv_row = a->kv_row + a->kv_offset[s];
    v.n_q = a->q_offset[s + 1] - a->q_offset[s];
    v.n_kv = a->kv_offset[s + 1] - a->kv_offset[s];
    return v;
}

/* Place of element 0 of query i, of its output, of key or value j. */
static int64_t q_place(const head_view *v, int64_t i)
{
    return v->q_row[i] * v->a->q_stride + v->h * v->a->head_dim;
}

static int64_t out_place(const head_view *v, int64_t i)
{
    return v->q_row[i] * v->a->out_stride + v->h * v->a->head_dim;
}

static int64_t kv_place(const head_view *v, int64_t j)
{
    return v->kv_row[j] * v->a->kv_stride + v->h_kv * v->a->head_dim;
}

/* Keys 0 .. n-1 are seen by query i. */
static int64_t n_seen(const head_view *v, int64_t i)
{
    if (!v->a->causal) return v->n_kv;
    int64_t n = i + v->a->causal_offset + 1;
    return n < 0 ? 0 : n > v->n_kv ? v->n_kv : n;
}

static double dot(const head_view *v, const void *x, int64_t x_first, const void *y,
                  int64_t y_first)
{
    double sum = 0.0;
    for (int64_t d = 0; d < v->a->head_dim; d++)
        sum += ref_get(x, v->a->dtype, x_first + d) * ref_get(y, v->a->dtype, y_first + d);
    return sum;
}

static void fwd_query(const head_view *v, int64_t i, double *score)
{
    const vlmk_attention_args *a = v->a;
    int64_t n = n_seen(v, i);
    for (int64_t j = 0; j < n; j++)
        score[j] = a->scale * dot(v, a->q, q_place(v, i), a->k, kv_place(v, j));
    double lse = ref_log_sum_exp(score, n);
    for (int64_t d = 0; d < a->head_dim; d++) {
        double sum = 0.0;
        for (int64_t j = 0; j < n; j++)
            sum += exp(score[j] - lse) * ref_get(a->v, a->dtype, kv_place(v, j) + d);
        ref_put(a->out, a->dtype, out_place(v, i) + d, sum);
    }
    ((double *)a->lse)[v->q_row[i] * a->H + v->h] = lse;
}

int vlmk_ref_attention_fwd(vlmk_env *env, const vlmk_attention_fwd_args *a)
{
    double *score = env->scratch(env, (size_t)a->max_kv * sizeof *score);
    if (!score) return VLMOE_E_NOMEM;
    for (int64_t s = 0; s < a->n_seq; s++)
        for (int64_t h = 0; h < a->H; h++) {
            head_view v = view_of(a, s, h);
            for (int64_t i = 0; i < v.n_q; i++) {
                fwd_query(&v, i, score);
                ref_count_flops(env, 2.0 * (double)n_seen(&v, i) * (double)a->head_dim);
            }
        }
    return VLMOE_OK;
}

/* Query i: p = exp(score - lse), dp = dout . v, ds = p (dp - dout . out); dq, and its share of dk
 * and dv of the key head. */
static void bwd_query(const head_view *v, int64_t i, double *dk, double *dv, double *dq)
{
    const vlmk_attention_args *a = v->a;
    double lse = ((const double *)a->lse)[v->q_row[i] * a->H + v->h];
    double mean_dp = dot(v, a->dout, out_place(v, i), a->out, out_place(v, i));
    for (int64_t d = 0; d < a->head_dim; d++) dq[d] = 0.0;
    for (int64_t j = 0; j < n_seen(v, i); j++) {
        double p = exp(a->scale * dot(v, a->q, q_place(v, i), a->k, kv_place(v, j)) - lse);
        double ds =
            p * (dot(v, a->dout, out_place(v, i), a->v, kv_place(v, j)) - mean_dp) * a->scale;
        for (int64_t d = 0; d < a->head_dim; d++) {
            dq[d] += ds * ref_get(a->k, a->dtype, kv_place(v, j) + d);
            dk[j * a->head_dim + d] += ds * ref_get(a->q, a->dtype, q_place(v, i) + d);
            dv[j * a->head_dim + d] += p * ref_get(a->dout, a->dtype, out_place(v, i) + d);
        }
    }
    for (int64_t d = 0; d < a->head_dim; d++) ref_put(a->dq, a->dtype, q_place(v, i) + d, dq[d]);
}

/* One sequence and key head: the query heads that share it are added in order. */
static void bwd_key_head(vlmk_env *env, const vlmk_attention_args *a, int64_t s, int64_t h_kv,
                         double *sums)
{
    int64_t group = a->H / a->H_kv;
    head_view v = view_of(a, s, h_kv * group);
    double *dk = sums, *dv = sums + v.n_kv * a->head_dim, *dq = dv + v.n_kv * a->head_dim;
    for (int64_t x = 0; x < 2 * v.n_kv * a->head_dim; x++) sums[x] = 0.0;
    for (int64_t h = h_kv * group; h < (h_kv + 1) * group; h++) {
        v = view_of(a, s, h);
        for (int64_t i = 0; i < v.n_q; i++) {
            bwd_query(&v, i, dk, dv, dq);
            ref_count_flops(env, 5.0 * (double)n_seen(&v, i) * (double)a->head_dim);
        }
    }
    for (int64_t j = 0; j < v.n_kv; j++)
        for (int64_t d = 0; d < a->head_dim; d++) {
            ref_put(a->dk, a->dtype, kv_place(&v, j) + d, dk[j * a->head_dim + d]);
            ref_put(a->dv, a->dtype, kv_place(&v, j) + d, dv[j * a->head_dim + d]);
        }
}

int vlmk_ref_attention_bwd(vlmk_env *env, const vlmk_attention_bwd_args *a)
{
    double *sums = env->scratch(env, (size_t)((2 * a->max_kv + 1) * a->head_dim) * sizeof *sums);
    if (!sums) return VLMOE_E_NOMEM;
    for (int64_t s = 0; s < a->n_seq; s++)
        for (int64_t h_kv = 0; h_kv < a->H_kv; h_kv++) bwd_key_head(env, a, s, h_kv, sums);
    return VLMOE_OK;
}
