/* Lifetimes of activations: what is released is given back at once or when backward has passed, what can be remade is, gradients
 * keep their bits, and equal recordings lie at equal addresses. */
#include <math.h>
#include <string.h>
#include "harness.h"
#include "op.h"
#include "test_ops.h"

enum { ROWS = 33, WIDTH = 24, HIDDEN = 96, OUT = 5 };

typedef struct net {
    vlmoe_context *ctx;
    vlmoe_tensor *gain, *bias, *w1, *b1, *w2, *b2, *head;
    bool releases;
    vlmoe_tensor *normed, *hidden, *sum; /* of the last recording */
} net;

static vlmoe_tensor *param(vlmoe_context *ctx, const char *name, int64_t rows, int64_t cols)
{
    vlmoe_tensor *t = NULL;
    const int64_t shape[] = {rows, cols};
    bool is_vector = rows == 0;
    CHECK_STATUS(vlmoe_param_create(ctx, name, is_vector ? 1 : 2, shape + is_vector, &t), VLMOE_OK);
    return t;
}

static net open_net(const char *device, vlmoe_dtype compute, bool releases)
{
    net n = {.ctx = test_op_context(device, compute, 1), .releases = releases};
    n.gain = param(n.ctx, "gain", 0, WIDTH);
    n.bias = param(n.ctx, "bias", 0, WIDTH);
    n.w1 = param(n.ctx, "w1", HIDDEN, WIDTH);
    n.b1 = param(n.ctx, "b1", 0, HIDDEN);
    n.w2 = param(n.ctx, "w2", WIDTH, HIDDEN);
    n.b2 = param(n.ctx, "b2", 0, WIDTH);
    n.head = param(n.ctx, "head", OUT, WIDTH);
    for (int64_t i = 0; i < vlmoe_param_count(n.ctx); i++)
        CHECK_STATUS(vlmoe_param_init_normal(vlmoe_param_at(n.ctx, i), 0.5), VLMOE_OK);
    return n;
}

static void release(const net *n, vlmoe_tape *tape, vlmoe_tensor *t)
{
    if (n->releases) vlm_tape_release(tape, t);
}

/* x + ffn(norm(x)), then a head and its loss. */
static vlmoe_tensor *record(net *n, vlmoe_tape *tape)
{
    static float host[ROWS * WIDTH];
    static int32_t target[ROWS];
    vlmoe_dtype ct = n->ctx->compute;
    for (int i = 0; i < ROWS * WIDTH; i++) host[i] = sinf((float)i);
    for (int i = 0; i < ROWS; i++) target[i] = i % OUT;
    vlmoe_tensor *x = vlmoe_input(tape, VLMOE_F32, 2, (int64_t[]){ROWS, WIDTH}, host);
    n->normed = vlmoe_layer_norm(tape, x, n->gain, n->bias, 1e-6, ct);
    n->hidden = vlmoe_linear(tape, n->normed, n->w1, n->b1, VLMOE_ACT_GELU);
    release(n, tape, n->normed);
    vlmoe_tensor *y = vlmoe_linear(tape, n->hidden, n->w2, n->b2, VLMOE_ACT_NONE);
    release(n, tape, n->hidden);
    vlm_residual_part part = {.y = y};
    vlmoe_tensor *sum = n->sum = vlm_residual(tape, x, 1, &part, NULL);
    release(n, tape, y);
    release(n, tape, x);
    vlmoe_tensor *narrow = vlmoe_cast(tape, sum, ct);
    if (narrow != sum) release(n, tape, sum);
    vlmoe_tensor *logits =
        vlmoe_cast(tape, vlmoe_linear_no_bias(tape, narrow, n->head, VLMOE_ACT_NONE), VLMOE_F32);
    release(n, tape, narrow);
    vlmoe_loss_add(tape, vlmoe_cross_entropy(tape, logits, target), 1.0);
    release(n, tape, logits);
    return logits;
}

static void run(net *n)
{
    vlmoe_tape *tape = NULL;
    CHECK_STATUS(vlmoe_grad_zero(n->ctx), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_begin(n->ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    record(n, tape);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
    vlmoe_tape_end(tape);
}

TEST(releases_change_no_gradient_of_f32_and_f64_and_lower_the_peak)
{
    static const char *const devices[] = {"cpu", "ref"};
    for (int d = 0; d < 2; d++) {
        net kept = open_net(devices[d], VLMOE_F32, false),
            released = open_net(devices[d], VLMOE_F32, true);
        run(&kept);
        run(&released);
        size_t bytes = (size_t)kept.ctx->n_elements * vlm_dtype_bytes(kept.ctx->wide);
        CHECK(memcmp(kept.ctx->grads, released.ctx->grads, bytes) == 0);
        CHECK(released.ctx->arena.peak < kept.ctx->arena.peak);
        vlmoe_context_destroy(kept.ctx);
        vlmoe_context_destroy(released.ctx);
    }
}

/* In bf16 a remade activation is that of the stored, rounded pre-activation z: at most 1.13 |z| u from the first, one more rounding
 * beside those that each weight's gradient sums have anyway. */
TEST(a_remade_activation_of_bf16_moves_a_gradient_by_its_own_rounding)
{
    net kept = open_net("cpu", VLMOE_BF16, false), released = open_net("cpu", VLMOE_BF16, true);
    run(&kept);
    run(&released);
    const float *a = kept.w2->param->grad, *b = released.w2->param->grad;
    double top = 0.0, off = 0.0;
    for (int i = 0; i < WIDTH * HIDDEN; i++) {
        top = fmax(top, fabs((double)a[i]));
        off = fmax(off, fabs((double)a[i] - (double)b[i]));
    }
    CHECK(top > 0.0 && off < 0x1p-8 * top * ROWS);
    vlmoe_context_destroy(kept.ctx);
    vlmoe_context_destroy(released.ctx);
}

TEST(what_can_be_remade_is_given_back_in_the_forward_pass)
{
    net n = open_net("cpu", VLMOE_BF16, true);
    vlmoe_tape *tape = NULL;
    CHECK_STATUS(vlmoe_tape_begin(n.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    record(&n, tape);
    CHECK(!n.normed->data && !n.hidden->data);
    CHECK(n.sum->data != NULL); /* its cast is remade from it, and it cannot be */
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
    CHECK(!n.sum->data && !n.normed->data && !n.hidden->data);
    vlmoe_tape_end(tape);
    vlmoe_context_destroy(n.ctx);
}

TEST(without_a_release_a_caller_may_read_results_after_backward)
{
    net n = open_net("cpu", VLMOE_F32, false);
    vlmoe_tape *tape = NULL;
    float before[ROWS * OUT], after[ROWS * OUT];
    CHECK_STATUS(vlmoe_tape_begin(n.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlmoe_tensor *logits = record(&n, tape);
    CHECK_STATUS(vlmoe_tensor_read(logits, before, sizeof before), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read(logits, after, sizeof after), VLMOE_OK);
    CHECK(memcmp(before, after, sizeof before) == 0);
    vlmoe_tape_end(tape);
    vlmoe_context_destroy(n.ctx);
}

TEST(a_prediction_gives_back_at_once)
{
    net n = open_net("cpu", VLMOE_F32, true), whole = open_net("cpu", VLMOE_F32, false);
    vlmoe_tape *tape = NULL;
    CHECK_STATUS(vlmoe_tape_begin(n.ctx, VLMOE_PREDICT, &tape), VLMOE_OK);
    record(&n, tape);
    CHECK(!n.hidden->data);
    vlmoe_tape_end(tape);
    CHECK_STATUS(vlmoe_tape_begin(whole.ctx, VLMOE_PREDICT, &tape), VLMOE_OK);
    record(&whole, tape);
    vlmoe_tape_end(tape);
    CHECK(n.ctx->arena.peak < whole.ctx->arena.peak);
    vlmoe_context_destroy(n.ctx);
    vlmoe_context_destroy(whole.ctx);
}

TEST(after_backward_only_what_the_caller_holds_is_left)
{
    net n = open_net("cpu", VLMOE_BF16, true);
    vlmoe_tape *tape = NULL;
    CHECK_STATUS(vlmoe_tape_begin(n.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlmoe_tensor *logits = record(&n, tape);
    size_t recorded = n.ctx->arena.in_use;
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
    CHECK(logits && n.ctx->arena.in_use < recorded / 4);
    vlmoe_tape_end(tape);
    CHECK_INT(n.ctx->arena.in_use, 0);
    vlmoe_context_destroy(n.ctx);
}

TEST(equal_recordings_lie_at_equal_addresses)
{
    net n = open_net("cpu", VLMOE_BF16, true);
    vlmoe_tape *tape = NULL;
    const void *first = NULL;
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(vlmoe_tape_begin(n.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
        const void *place = record(&n, tape)->data;
        CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
        vlmoe_tape_end(tape);
        if (i) CHECK(place == first);
        first = place;
    }
    vlmoe_context_destroy(n.ctx);
}
