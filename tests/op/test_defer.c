/* Weight gradients of a step's groups: written first, added to later, waiting or not, they are those of clearing and adding at once,
 * bit for bit, step after step. */
#include <math.h>
#include <string.h>
#include "autograd_defer.h"
#include "harness.h"
#include "op.h"
#include "test_ops.h"

enum { E = 3, ROWS = 12, K = 40, N = 24, GROUPS = 4, STEPS = 2 };

/* Rows of the experts by group: an expert without rows in one group, one without rows in all. */
static const int32_t offset[GROUPS][E + 1] = {
    {0, 5, 5, 12}, {0, 0, 0, 12}, {0, 12, 12, 12}, {0, 1, 1, 9}};

typedef struct net {
    vlmoe_context *ctx;
    vlmoe_tensor *w, *b, *dense, *tied,
        *idle; /* tied has two uses; idle is used by the first group of the first step alone */
} net;

typedef struct gradients {
    float w[E * N * K], b[E * N], dense[K * N], tied[K * K], idle[K * N];
} gradients;

static vlmoe_tensor *param(vlmoe_context *ctx, const char *name, int64_t n_experts, int rank,
                           const int64_t *dim)
{
    vlmoe_tensor *t = NULL;
    vlm_param spec = {.role = VLM_ROLE_MATRIX,
                      .n_experts = n_experts,
                      .trained = true,
                      .lr_scale = 1.0,
                      .has_copy = true,
                      .init_std = 0.5};
    spec.name = vlm_strdup(name);
    CHECK_STATUS(vlm_param_add(ctx, &spec, rank, dim, &t), VLMOE_OK);
    vlm_free(spec.name);
    return t;
}

static net open_net(vlmoe_dtype compute)
{
    net n = {.ctx = test_op_context("cpu", compute, 2)};
    n.w = param(n.ctx, "experts.{e}.weight", E, 3, (int64_t[]){E, N, K});
    n.b = param(n.ctx, "experts.{e}.bias", E, 2, (int64_t[]){E, N});
    n.dense = param(n.ctx, "dense", 0, 2, (int64_t[]){K, N});
    n.tied = param(n.ctx, "tied", 0, 2, (int64_t[]){K, K});
    n.idle = param(n.ctx, "idle", 0, 2, (int64_t[]){K, N});
    CHECK_STATUS(vlm_ctx_init_params(n.ctx), VLMOE_OK);
    return n;
}

static void run_group(const net *n, int64_t step, int64_t group)
{
    vlmoe_tape *tape = NULL;
    float x[ROWS * K], weight[ROWS];
    static const float target[ROWS * K];
    for (int i = 0; i < ROWS * K; i++) x[i] = sinf((float)(i + 97 * group + 1009 * step));
    for (int i = 0; i < ROWS; i++) weight[i] = i < offset[group][E] ? 1.0F : 0.0F;
    CHECK_STATUS(vlmoe_tape_begin(n->ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_linear_opts opts = {.out_dtype = n->ctx->compute};
    vlmoe_tensor *h = vlmoe_input(tape, n->ctx->compute, 2, (int64_t[]){ROWS, K}, x);
    h = vlm_linear(tape, h, n->tied, NULL, &opts);
    h = vlm_linear(tape, h, n->tied, NULL, &opts);
    vlm_linear_opts experts = opts;
    experts.n_groups = E;
    experts.d_offset = vlm_tape_upload(tape, offset[group], sizeof offset[group]);
    h = vlm_linear(tape, h, n->w, n->b, &experts);
    h = vlm_rows_view(tape, h, 0, offset[group][E]);
    bool is_idle = step > 0 || group > 0;
    opts.out_dtype = n->ctx->wide;
    h = vlm_linear(tape, h, is_idle ? n->dense : n->idle, NULL, &opts);
    const void *d_target = vlm_tape_upload(tape, target, sizeof target);
    const void *d_weight = vlm_tape_upload(tape, weight, sizeof weight);
    void *d_loss = NULL;
    vlmoe_loss_add(tape, vlm_mse_rows(tape, h, d_target, d_weight, &d_loss), 1.0);
    CHECK_STATUS_E(vlmoe_tape_backward(tape, 1.0), VLMOE_OK, &n->ctx->error);
    vlmoe_tape_end(tape);
}

/* The gradients of the last of STEPS steps; before the first, accumulators hold what must not show. */
static void run_steps(vlmoe_dtype compute, bool is_open, size_t bytes, gradients *out)
{
    net n = open_net(compute);
    if (is_open) CHECK_STATUS(vlm_defer_open(n.ctx, bytes), VLMOE_OK);
    for (int64_t step = 0; step < STEPS; step++) {
        CHECK_STATUS(vlmoe_grad_zero(n.ctx), VLMOE_OK);
        for (int64_t group = 0; group < GROUPS; group++) run_group(&n, step, group);
        CHECK_STATUS(vlm_defer_flush(n.ctx), VLMOE_OK);
    }
    CHECK(!is_open || bytes < 4096 || vlm_defer_peak(n.ctx) > 0);
    CHECK_STATUS(vlmoe_tensor_read_grad(n.w, out->w, sizeof out->w), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read_grad(n.b, out->b, sizeof out->b), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read_grad(n.dense, out->dense, sizeof out->dense), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read_grad(n.tied, out->tied, sizeof out->tied), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read_grad(n.idle, out->idle, sizeof out->idle), VLMOE_OK);
    vlmoe_context_destroy(n.ctx);
}

TEST(gradients_of_groups_are_those_of_clearing_and_adding)
{
    static gradients want, got;
    const size_t room[] = {0, 8 << 10, 1 << 20}; /* none, for less than the groups, for all */
    for (int dtype = VLMOE_F32; dtype <= VLMOE_BF16; dtype++) {
        run_steps((vlmoe_dtype)dtype, false, 0, &want);
        for (int i = 0; i < VLM_COUNT(room); i++) {
            run_steps((vlmoe_dtype)dtype, true, room[i], &got);
            CHECK(memcmp(got.w, want.w, sizeof want.w) == 0);
            CHECK(memcmp(got.b, want.b, sizeof want.b) == 0);
            CHECK(memcmp(got.dense, want.dense, sizeof want.dense) == 0);
            CHECK(memcmp(got.tied, want.tied, sizeof want.tied) == 0);
            CHECK(memcmp(got.idle, want.idle, sizeof want.idle) == 0);
        }
        for (int i = 0; i < K * N; i++) CHECK(got.idle[i] == 0.0F);
        for (int i = N * K; i < 2 * N * K; i++) CHECK(got.w[i] == 0.0F);
    }
}

TEST(waiting_memory_cannot_change_while_gradients_wait)
{
    net n = open_net(VLMOE_F32);
    CHECK_STATUS(vlm_defer_open(n.ctx, 1 << 20), VLMOE_OK);
    CHECK_STATUS(vlmoe_grad_zero(n.ctx), VLMOE_OK);
    run_group(&n, 0, 0);
    CHECK(vlm_defer_waiting(n.ctx) > 0);
    CHECK_STATUS(vlm_defer_open(n.ctx, 1 << 20), VLMOE_E_STATE);
    CHECK_STATUS(vlm_defer_flush(n.ctx), VLMOE_OK);
    CHECK_STATUS(vlm_defer_open(n.ctx, 0), VLMOE_OK);
    vlmoe_context_destroy(n.ctx);
}
