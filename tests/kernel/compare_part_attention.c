/* Attention on devices: packed, permuted and empty sequences, causal offsets, shared key heads, odd
 * head sizes. */
#include <string.h>
#include "compare.h"
#include "test_env.h"

#define U_BF16 0x1p-8

typedef struct shape {
    int64_t H, H_kv, head_dim;
    int causal;
    int64_t causal_offset;
    double q_scale; /* of the numbers in q: 0 makes all scores equal, a large one makes softmax
                       nearly one-hot */
    int n_seq;
    int32_t n_q[4], n_kv[4];
} shape;

static const shape shapes[] = {
    {1, 1, 1, 0, 0, 1.0, 1, {1}, {1}},
    {2, 2, 64, 0, 0, 1.0, 3, {63, 1, 65}, {63, 1, 65}},
    {4, 2, 16, 1, 0, 1.0, 2, {64, 129}, {64, 129}},
    {2, 1, 48, 0, 0, 1.0, 4, {5, 0, 7, 2}, {127, 7, 0, 3}}, /* one without queries, one without keys
                                                             */
    {3, 3, 33, 1, -3, 1.0, 2, {17, 5}, {17, 2}},            /* the first queries see nothing */
    {2, 2, 32, 1, 60, 1.0, 1, {5}, {65}}, /* decoding: few queries after many keys */
    {2, 2, 24, 0, 0, 0.0, 1, {9}, {31}},  /* equal scores: plain means */
    {2, 2, 64, 0, 0, 30.0, 1, {33}, {65}},
    {1, 1, 16, 1, 200, 1.0, 1, {420}, {560}}, /* longer than any tile */
    {2, 2, 8, 0, 0, 1.0, 0, {0}, {0}},
};

typedef struct attention {
    kit kit;
    const shape *s;
    int dtype;
    int64_t q_rows, kv_rows, max_q, max_kv, q_stride, kv_stride, out_stride;
    tensor *q_offset, *q_row, *kv_offset, *kv_row, *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv;
} attention;

/* offset[] of lengths, and rows handed out from the last to the second: row 0 belongs to nobody. */
static int64_t lay_out(const int32_t *length, int n_seq, int32_t *offset, int32_t *row)
{
    offset[0] = 0;
    for (int s = 0; s < n_seq; s++) offset[s + 1] = offset[s] + length[s];
    for (int i = 0; i < offset[n_seq]; i++) row[i] = offset[n_seq] - i;
    return offset[n_seq] + 1;
}

static void begin(attention *p, const char *what, const shape *s, int dtype)
{
    int32_t offset[5], row[600];
    memset(p, 0, sizeof *p);
    p->s = s;
    p->dtype = dtype;
    kit_begin(&p->kit, "%s H %lld/%lld size %lld causal %d%+lld, %d sequences, first %d x %d, %s",
              what, (long long)s->H, (long long)s->H_kv, (long long)s->head_dim, s->causal,
              (long long)s->causal_offset, s->n_seq, s->n_q[0], s->n_kv[0],
              dtype == VLMOE_F32 ? "f32" : "bf16");
    p->kit.flops = 0.0;
    p->q_rows = lay_out(s->n_q, s->n_seq, offset, row);
    p->q_offset = kit_ints(&p->kit, "q_offset", s->n_seq + 1, offset);
    p->q_row = kit_ints(&p->kit, "q_row", p->q_rows - 1, row);
    p->kv_rows = lay_out(s->n_kv, s->n_seq, offset, row);
    p->kv_offset = kit_ints(&p->kit, "kv_offset", s->n_seq + 1, offset);
    p->kv_row = kit_ints(&p->kit, "kv_row", p->kv_rows - 1, row);
    for (int i = 0; i < s->n_seq; i++) {
        if (s->n_q[i] > p->max_q) p->max_q = s->n_q[i];
        if (s->n_kv[i] > p->max_kv) p->max_kv = s->n_kv[i];
    }
    p->q_stride = s->H * s->head_dim + 5;
    p->kv_stride = s->H_kv * s->head_dim + 3;
    p->out_stride = s->H * s->head_dim + 1;
    p->q = kit_real(&p->kit, "q", p->q_rows * p->q_stride, dtype, s->q_scale);
    p->k = kit_real(&p->kit, "k", p->kv_rows * p->kv_stride, dtype, 1.0);
    p->v = kit_real(&p->kit, "v", p->kv_rows * p->kv_stride, dtype, 1.0);
}

static vlmk_attention_args args_of(const attention *p, int side)
{
    const shape *s = p->s;
    return (vlmk_attention_args){.dtype = type_at(p->q, side),
                                 .H = s->H,
                                 .H_kv = s->H_kv,
                                 .head_dim = s->head_dim,
                                 .q_stride = p->q_stride,
                                 .kv_stride = p->kv_stride,
                                 .out_stride = p->out_stride,
                                 .n_seq = s->n_seq,
                                 .q_offset = at(p->q_offset, side),
                                 .q_row = at(p->q_row, side),
                                 .kv_offset = at(p->kv_offset, side),
                                 .kv_row = at(p->kv_row, side),
                                 .max_q = p->max_q,
                                 .max_kv = p->max_kv,
                                 .scale = 0.3,
                                 .causal = s->causal,
                                 .causal_offset = s->causal_offset,
                                 .q = at(p->q, side),
                                 .k = at(p->k, side),
                                 .v = at(p->v, side),
                                 .out = at(p->out, side),
                                 .lse = at(p->lse, side),
                                 .dout = at(p->dout, side),
                                 .dq = at(p->dq, side),
                                 .dk = at(p->dk, side),
                                 .dv = at(p->dv, side)};
}

/* A query row: where it and its keys lie, its scores, and how far a score can be off. */
typedef struct query {
    int64_t n, q, out, lse_place; /* keys seen; places of element 0 */
    const int32_t *kv_row;
    int64_t head; /* first element of the key head in a key row */
    double score[600], score_error, lse;
} query;

static double dot(const tensor *x, int64_t x_first, const tensor *y, int64_t y_first, int64_t n,
                  double *size)
{
    double sum = 0.0;
    *size = 0.0;
    for (int64_t d = 0; d < n; d++) {
        double term = kit_get(x, WANT, x_first + d) * kit_get(y, WANT, y_first + d);
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

/* A score is a sum of head_dim products; its place in an exponent is rounded once more, relative to
 * the score and lse. */
static void look_up(const attention *p, int seq, int64_t h, int64_t i, query *out)
{
    const shape *s = p->s;
    const int32_t *kv_offset = at(p->kv_offset, WANT), *q_offset = at(p->q_offset, WANT);
    int64_t q_row = ((int32_t *)at(p->q_row, WANT))[q_offset[seq] + i],
            seen = i + s->causal_offset + 1;
    out->n = s->n_kv[seq];
    if (s->causal && seen < out->n) out->n = seen < 0 ? 0 : seen;
    out->kv_row = (int32_t *)at(p->kv_row, WANT) + kv_offset[seq];
    out->head = h / (s->H / s->H_kv) * s->head_dim;
    out->q = q_row * p->q_stride + h * s->head_dim;
    out->out = q_row * p->out_stride + h * s->head_dim;
    out->lse_place = q_row * s->H + h;
    double top = 0.0, top_size = 0.0;
    for (int64_t j = 0; j < out->n; j++) {
        double size;
        out->score[j] = 0.3 * dot(p->q, out->q, p->k, out->kv_row[j] * p->kv_stride + out->head,
                                  s->head_dim, &size);
        top = fmax(top, fabs(out->score[j]));
        top_size = fmax(top_size, 0.3 * size);
    }
    out->lse = out->n ? ref_log_sum_exp(out->score, out->n) : 0.0;
    out->score_error =
        U_F32 * ((double)(s->head_dim + 1) * top_size + 2.0 * (top + fabs(out->lse)));
}

/* Visit every (sequence, head, query). */
static void each_query(attention *p,
                       void (*fn)(attention *p, int seq, int64_t h, const query *at_hand))
{
    query at_hand;
    for (int seq = 0; seq < p->s->n_seq; seq++)
        for (int64_t h = 0; h < p->s->H; h++)
            for (int64_t i = 0; i < p->s->n_q[seq]; i++) {
                look_up(p, seq, h, i, &at_hand);
                fn(p, seq, h, &at_hand);
            }
}

/* How far a probability, or a slope of a score, is off as an operand of a product with tensors of
 * bf16: it may be rounded to bf16 itself. Nothing else of attention is. */
static double operand_error(const attention *p)
{
    return p->dtype == VLMOE_BF16 ? U_BF16 : 0.0;
}

/* p_j = exp(s_j - lse): relative error of two scores (its own and the largest in lse) and of a sum
 * of n; rounded as an operand; then a sum of n. */
static void fwd_query(attention *p, int seq, int64_t h, const query *q)
{
    (void)seq, (void)h;
    double n = (double)q->n;
    kit_error(p->lse)[q->lse_place] = q->score_error + n * U_F32;
    for (int64_t d = 0; d < p->s->head_dim; d++) {
        double size = 0.0;
        for (int64_t j = 0; j < q->n; j++)
            size += exp(q->score[j] - q->lse) *
                    fabs(kit_get(p->v, WANT, q->kv_row[j] * p->kv_stride + q->head + d));
        kit_error(p->out)[q->out + d] =
            size * (2.0 * q->score_error + (2.0 * n + 4.0) * U_F32 + operand_error(p));
    }
}

static int call_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    vlmk_attention_args a = args_of(arg, side);
    return table->attention_fwd(env, &a);
}

static void bound_fwd(void *arg)
{
    each_query(arg, fwd_query);
}

static const int types[] = {VLMOE_F32, VLMOE_BF16};

TEST(compare_attention_fwd)
{
    for (int i = 0; i < COUNT_OF(shapes); i++)
        for (int t = 0; t < 2; t++) {
            attention p;
            begin(&p, "attention_fwd", &shapes[i], types[t]);
            p.out = kit_output(&p.kit, "out", p.q_rows * p.out_stride, types[t], 0);
            p.lse = kit_output(&p.kit, "lse", p.q_rows * shapes[i].H, VLMOE_F32, 0);
            kit_run(&p.kit, call_fwd, bound_fwd, &p);
            kit_end(&p.kit);
        }
}

/* p = exp(s - lse) with lse given; dp and dout.out are sums of head_dim; ds = scale p (dp -
 * dout.out); both rounded as operands; dq, dk, dv are sums of ds or p over the keys of a query, or
 * the queries (of all heads that share it) of a key. */
static void bwd_query(attention *p, int seq, int64_t h, const query *q)
{
    (void)h;
    const shape *s = p->s;
    double sharing = (double)(s->n_q[seq] * (s->H / s->H_kv)), out_size;
    double delta = dot(p->dout, q->out, p->out, q->out, s->head_dim, &out_size);
    double lse = q->n ? kit_get(p->lse, WANT, q->lse_place) : 0.0, rounded = operand_error(p);
    for (int64_t j = 0; j < q->n; j++) {
        int64_t kv = q->kv_row[j] * p->kv_stride + q->head;
        double dp_size, weight = exp(q->score[j] - lse), relative = q->score_error + 4.0 * U_F32;
        double dp = dot(p->dout, q->out, p->v, kv, s->head_dim, &dp_size);
        double ds = 0.3 * weight * (dp - delta);
        double e_ds = relative * fabs(ds) +
                      0.3 * weight * U_F32 * (double)(s->head_dim + 3) * (dp_size + out_size);
        for (int64_t d = 0; d < s->head_dim; d++) {
            double q_d = fabs(kit_get(p->q, WANT, q->q + d)),
                   k_d = fabs(kit_get(p->k, WANT, kv + d));
            kit_error(p->dq)[q->q + d] +=
                k_d * (e_ds + ((double)q->n * U_F32 + rounded) * fabs(ds));
            kit_error(p->dk)[kv + d] += q_d * (e_ds + (sharing * U_F32 + rounded) * fabs(ds));
            kit_error(p->dv)[kv + d] += fabs(kit_get(p->dout, WANT, q->out + d)) * weight *
                                        (relative + sharing * U_F32 + rounded);
        }
    }
}

static int call_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    vlmk_attention_args a = args_of(arg, side);
    return table->attention_bwd(env, &a);
}

static void bound_bwd(void *arg)
{
    each_query(arg, bwd_query);
}

/* out and lse of the reference, rounded, are inputs of both sides. */
static void add_forward(attention *p)
{
    attention f;
    begin(&f, "forward", p->s, p->dtype);
    f.out = kit_real(&f.kit, "out", p->q_rows * p->out_stride, p->dtype, 0.0);
    f.lse = kit_real(&f.kit, "lse", p->q_rows * p->s->H, VLMOE_F32, 0.0);
    vlmk_attention_args a = args_of(&f, WANT);
    test_env e;
    test_env_init(&e, 1);
    CHECK_INT(vlmk_ref_attention_fwd(&e.env, &a), VLMOE_OK);
    test_env_fini(&e);
    p->out = kit_real(&p->kit, "out", f.out->n, p->dtype, 0.0);
    p->lse = kit_real(&p->kit, "lse", f.lse->n, VLMOE_F32, 0.0);
    for (int64_t i = 0; i < f.out->n; i++) kit_set(p->out, i, kit_get(f.out, WANT, i));
    for (int64_t i = 0; i < f.lse->n; i++) kit_set(p->lse, i, kit_get(f.lse, WANT, i));
    kit_end(&f.kit);
}

TEST(compare_attention_bwd)
{
    for (int i = 0; i < COUNT_OF(shapes); i++)
        for (int t = 0; t < 2; t++) {
            attention p;
            begin(&p, "attention_bwd", &shapes[i], types[t]);
            add_forward(&p);
            p.dout = kit_real(&p.kit, "dout", p.q_rows * p.out_stride, types[t], 1.0);
            p.dq = kit_output(&p.kit, "dq", p.q->n, types[t], 0);
            p.dk = kit_output(&p.kit, "dk", p.k->n, types[t], 0);
            p.dv = kit_output(&p.kit, "dv", p.v->n, types[t], 0);
            kit_run(&p.kit, call_bwd, bound_bwd, &p);
            kit_end(&p.kit);
        }
}
