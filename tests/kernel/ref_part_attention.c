/* Reference attention: against a softmax written out for one dense head, then packing, causality,
 * shared key heads, gradients. */
#include <string.h>
#include "test_ref.h"

/* Two sequences in permuted rows: queries 3 and 2, keys 4 and 3; one query row and one key row
 * belong to nobody. */
enum {
    Q_ROWS = 6,
    KV_ROWS = 8,
    H = 4,
    H_KV = 2,
    HD = 3,
    Q_STRIDE = H * HD + 2,
    KV_STRIDE = H_KV * HD + 1
};
enum { Q_SIZE = Q_ROWS * Q_STRIDE, KV_SIZE = KV_ROWS * KV_STRIDE };
static const int32_t q_offset[] = {0, 3, 5}, q_row[] = {4, 0, 2, 5, 1};
static const int32_t kv_offset[] = {0, 4, 7}, kv_row[] = {7, 1, 3, 0, 2, 6, 5};

typedef struct packed {
    double q[Q_SIZE], k[KV_SIZE], v[KV_SIZE], out[Q_SIZE], lse[Q_ROWS * H], r[Q_SIZE];
    double dq[Q_SIZE], dk[KV_SIZE], dv[KV_SIZE];
    int causal;
    int64_t causal_offset;
} packed;

static vlmk_attention_args args_of(packed *p)
{
    return (vlmk_attention_args){.dtype = VLMOE_F64,
                                 .H = H,
                                 .H_kv = H_KV,
                                 .head_dim = HD,
                                 .q_stride = Q_STRIDE,
                                 .kv_stride = KV_STRIDE,
                                 .out_stride = Q_STRIDE,
                                 .n_seq = 2,
                                 .q_offset = q_offset,
                                 .q_row = q_row,
                                 .kv_offset = kv_offset,
                                 .kv_row = kv_row,
                                 .max_q = 3,
                                 .max_kv = 4,
                                 .scale = 0.7,
                                 .causal = p->causal,
                                 .causal_offset = p->causal_offset,
                                 .q = p->q,
                                 .k = p->k,
                                 .v = p->v,
                                 .out = p->out,
                                 .lse = p->lse,
                                 .dout = p->r,
                                 .dq = p->dq,
                                 .dk = p->dk,
                                 .dv = p->dv};
}

static void make_packed(packed *p, int causal, int64_t causal_offset)
{
    memset(p, 0, sizeof *p);
    fill(p->q, Q_SIZE, 1);
    fill(p->k, KV_SIZE, 2);
    fill(p->v, KV_SIZE, 3);
    fill(p->r, Q_SIZE, 4);
    p->causal = causal;
    p->causal_offset = causal_offset;
}

static void forward(packed *p)
{
    vlmk_attention_args a = args_of(p);
    CHECK_STATUS(vlmk_ref_attention_fwd(ref_env(), &a), VLMOE_OK);
}

/* softmax(scale q k^T) v of sequence s, head h, query i, first n keys, element d. */
static double naive(const packed *p, int s, int h, int i, int n, int d)
{
    double top = 0.0, bottom = 0.0;
    for (int j = 0; j < n; j++) {
        int64_t kv = kv_row[kv_offset[s] + j] * KV_STRIDE + (h / 2) * HD;
        double score = 0.0;
        for (int e = 0; e < HD; e++)
            score += p->q[q_row[q_offset[s] + i] * Q_STRIDE + h * HD + e] * p->k[kv + e];
        top += exp(0.7 * score) * p->v[kv + d];
        bottom += exp(0.7 * score);
    }
    return n ? top / bottom : 0.0;
}

static void check_against_naive(packed *p)
{
    for (int s = 0; s < 2; s++)
        for (int h = 0; h < H; h++)
            for (int i = 0; i < q_offset[s + 1] - q_offset[s]; i++)
                for (int d = 0; d < HD; d++) {
                    int n = kv_offset[s + 1] - kv_offset[s];
                    int64_t seen = i + p->causal_offset + 1;
                    if (p->causal && seen < n) n = seen < 0 ? 0 : (int)seen;
                    double got = p->out[q_row[q_offset[s] + i] * Q_STRIDE + h * HD + d];
                    CHECK_CLOSE(got, naive(p, s, h, i, n, d), 1e-14);
                }
}

TEST(ref_attention_matches_softmax_per_sequence_and_head)
{
    packed p;
    make_packed(&p, 0, 0);
    for (int i = 0; i < Q_SIZE; i++) p.out[i] = 777.0;
    ref_flops();
    forward(&p);
    check_against_naive(&p);
    for (int i = 0; i < Q_STRIDE; i++)
        CHECK(p.out[3 * Q_STRIDE + i] == 777.0); /* row 3 is in no sequence */
    CHECK(ref_flops() == 2.0 * 2.0 * H * HD * (3 * 4 + 2 * 3));
}

TEST(ref_attention_is_causal_with_an_offset)
{
    packed p;
    make_packed(&p, 1, 1);
    forward(&p);
    check_against_naive(&p);
}

TEST(ref_attention_gives_zeros_where_nothing_is_seen)
{
    packed p;
    make_packed(&p, 1, -2);
    for (int i = 0; i < Q_SIZE; i++) p.out[i] = 777.0;
    forward(&p);
    check_against_naive(&p);
    CHECK(isinf(p.lse[q_row[0] * H]) && p.lse[q_row[0] * H] < 0.0);
    CHECK(isfinite(p.lse[q_row[2] * H]));
}

TEST(ref_attention_keeps_large_scores_finite)
{
    packed p;
    make_packed(&p, 0, 0);
    for (int i = 0; i < KV_SIZE; i++) p.k[i] *= 4000.0;
    forward(&p);
    for (int i = 0; i < 5; i++) CHECK(isfinite(p.out[q_row[i] * Q_STRIDE]));
}

static double attention_loss(void *arg)
{
    packed *p = arg;
    forward(p);
    double sum = 0.0;
    for (int i = 0; i < 5; i++)
        sum += weighted(p->out + q_row[i] * Q_STRIDE, p->r + q_row[i] * Q_STRIDE, H * HD);
    return sum;
}

TEST(ref_attention_gradients_match_differences)
{
    static const struct {
        int causal;
        int64_t offset;
    } cases[] = {{0, 0}, {1, 0}, {1, 1}, {1, -1}};
    for (int c = 0; c < 4; c++) {
        packed p;
        make_packed(&p, cases[c].causal, cases[c].offset);
        forward(&p);
        vlmk_attention_args a = args_of(&p);
        CHECK_STATUS(vlmk_ref_attention_bwd(ref_env(), &a), VLMOE_OK);
        check_gradient("dq", p.q, Q_SIZE, p.dq, attention_loss, &p);
        check_gradient("dk", p.k, KV_SIZE, p.dk, attention_loss, &p);
        check_gradient("dv", p.v, KV_SIZE, p.dv, attention_loss, &p);
    }
}
