/* Gradients of experts over the groups of a step: chains of S = min(E, G) groups from +0, and their sums in order, as each group's own
 * gradient gives them added by hand; waiting or not. What all groups share is one chain. */
#include <math.h>
#include <string.h>
#include "autograd_defer.h"
#include "harness.h"
#include "op.h"
#include "optim_reduce.h"
#include "test_ops.h"

enum { E = 2, ROWS = 10, K = 32, N = 24, GROUPS = 8, STEPS = 2 };

typedef struct net {
    vlmoe_context *ctx;
    vlmoe_tensor *w, *b, *dense;
} net;

typedef struct gradients {
    float w[E * N * K], b[E * N], dense[N * K];
} gradients;

static vlmoe_tensor *param(vlmoe_context *ctx, char *name, int64_t n_experts, int rank,
                           const int64_t *dim)
{
    vlmoe_tensor *t = NULL;
    const vlm_param spec = {.name = name,
                            .role = VLM_ROLE_MATRIX,
                            .n_experts = n_experts,
                            .trained = true,
                            .lr_scale = 1.0,
                            .has_copy = true,
                            .init_std = 0.5};
    CHECK_STATUS(vlm_param_add(ctx, &spec, rank, dim, &t), VLMOE_OK);
    return t;
}

static net open_net(vlmoe_dtype compute, int64_t groups)
{
    net n = {.ctx = test_op_context("cpu", compute, 2)};
    if (groups) CHECK_STATUS(vlm_ctx_groups(n.ctx, groups), VLMOE_OK);
    n.w = param(n.ctx, "experts.{e}.weight", E, 3, (int64_t[]){E, N, K});
    n.b = param(n.ctx, "experts.{e}.bias", E, 2, (int64_t[]){E, N});
    n.dense = param(n.ctx, "dense", 0, 2, (int64_t[]){K, N});
    CHECK_STATUS(vlm_ctx_init_params(n.ctx), VLMOE_OK);
    return n;
}

/* The first expert gets from no rows to all of them. */
static void run_group(const net *n, int64_t step, int64_t group)
{
    static const float target[ROWS * K];
    vlmoe_tape *tape = NULL;
    float x[ROWS * K], weight[ROWS];
    const int32_t offset[E + 1] = {0, (int32_t)(group * ROWS / (GROUPS - 1)), ROWS};
    void *d_loss = NULL;
    for (int i = 0; i < ROWS * K; i++) x[i] = sinf((float)(i + 97 * group + 1009 * step));
    for (int i = 0; i < ROWS; i++) weight[i] = 1.0F;
    CHECK_STATUS(vlmoe_tape_begin(n->ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_linear_opts opts = {.out_dtype = n->ctx->compute};
    vlmoe_tensor *h = vlmoe_input(tape, n->ctx->compute, 2, (int64_t[]){ROWS, K}, x);
    opts.n_groups = E;
    opts.d_offset = vlm_tape_upload(tape, offset, sizeof offset);
    h = vlm_linear(tape, h, n->w, n->b, &opts);
    opts = (vlm_linear_opts){.out_dtype = n->ctx->wide};
    h = vlm_linear(tape, h, n->dense, NULL, &opts);
    const void *d_target = vlm_tape_upload(tape, target, sizeof target);
    const void *d_weight = vlm_tape_upload(tape, weight, sizeof weight);
    vlmoe_loss_add(tape, vlm_mse_rows(tape, h, d_target, d_weight, &d_loss), 1.0);
    CHECK_STATUS_E(vlmoe_tape_backward(tape, 1.0), VLMOE_OK, &n->ctx->error);
    vlmoe_tape_end(tape);
}

static void read(const net *n, gradients *out)
{
    CHECK_STATUS(vlmoe_tensor_read_grad(n->w, out->w, sizeof out->w), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read_grad(n->b, out->b, sizeof out->b), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read_grad(n->dense, out->dense, sizeof out->dense), VLMOE_OK);
}

static void add(float *sum, const float *term, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += term[i];
}

/* Each group's gradient by itself, then the sums as the rule says them. */
static void by_hand(vlmoe_dtype compute, int64_t chain, gradients *out)
{
    static gradients one, sum;
    net n = open_net(compute, 0);
    memset(out, 0, sizeof *out);
    for (int64_t group = 0; group < GROUPS; group++) {
        if (group % chain == 0) memset(&sum, 0, sizeof sum);
        CHECK_STATUS(vlmoe_grad_zero(n.ctx), VLMOE_OK);
        run_group(&n, STEPS - 1, group);
        read(&n, &one);
        add(sum.w, one.w, E * N * K);
        add(sum.b, one.b, E * N);
        add(out->dense, one.dense, N * K);
        if ((group + 1) % chain) continue;
        add(out->w, sum.w, E * N * K);
        add(out->b, sum.b, E * N);
    }
    vlmoe_context_destroy(n.ctx);
}

static void by_steps(vlmoe_dtype compute, bool is_open, size_t room, gradients *out)
{
    net n = open_net(compute, GROUPS);
    CHECK_INT(vlm_grad_chain_steps(n.ctx), E);
    if (is_open) CHECK_STATUS(vlm_defer_open(n.ctx, room), VLMOE_OK);
    for (int64_t step = 0; step < STEPS; step++) {
        CHECK_STATUS(vlmoe_grad_zero(n.ctx), VLMOE_OK);
        for (int64_t group = 0; group < GROUPS; group++) {
            run_group(&n, step, group);
            CHECK_STATUS(vlm_reduce_micro_step(n.ctx), VLMOE_OK);
        }
        CHECK_STATUS(vlm_reduce_finish(n.ctx), VLMOE_OK);
    }
    read(&n, out);
    CHECK(room < 4096 || vlm_defer_peak(n.ctx) > 0);
    vlmoe_context_destroy(n.ctx);
}

static bool equals(const gradients *a, const gradients *b)
{
    return !memcmp(a->w, b->w, sizeof a->w) && !memcmp(a->b, b->b, sizeof a->b) &&
           !memcmp(a->dense, b->dense, sizeof a->dense);
}

TEST(experts_are_summed_in_chains_and_everything_else_in_one)
{
    static gradients want, one_chain, got;
    const size_t room[] = {0, 3 << 10, 1 << 20}; /* none, for less than a chain, for all */
    for (int dtype = VLMOE_F32; dtype <= VLMOE_BF16; dtype++) {
        by_hand((vlmoe_dtype)dtype, E, &want);
        by_hand((vlmoe_dtype)dtype, GROUPS, &one_chain);
        CHECK(!equals(&want, &one_chain)); /* else the order would not show */
        by_steps((vlmoe_dtype)dtype, false, 0, &got);
        CHECK(equals(&got, &want));
        for (int i = 0; i < VLM_COUNT(room); i++) {
            by_steps((vlmoe_dtype)dtype, true, room[i], &got);
            CHECK(equals(&got, &want));
        }
    }
}

TEST(a_step_with_a_group_missing_is_no_step)
{
    net n = open_net(VLMOE_F32, GROUPS);
    CHECK_STATUS(vlmoe_grad_zero(n.ctx), VLMOE_OK);
    CHECK_STATUS(vlm_reduce_micro_step(n.ctx), VLMOE_OK);
    CHECK_STATUS(vlm_reduce_finish(n.ctx), VLMOE_E_STATE);
    CHECK_HAS(vlmoe_context_error(n.ctx), "8 groups, 1 are done");
    CHECK_STATUS(vlm_ctx_groups(n.ctx, 4), VLMOE_E_STATE);
    vlmoe_context_destroy(n.ctx);
}
