/* A small network of all operations, trained for two steps: the bits must not depend on threads or on running segments again, and a
 * dry run must take the same path. */
#include <math.h>
#include <string.h>
#include "harness.h"
#include "base_rng.h"
#include "op.h"
#include "optim_adamw.h"
#include "test_ops.h"

enum { N = 8, D = 16, HEADS = 2, F = 24, E = 4, WORDS = 11, DEPTH = 3 };

typedef struct net net;
typedef struct block {
    net *owner;
    int index;
    vlmoe_tensor *gain1, *bias1, *qkv, *qkv_bias, *out, *gain2, *bias2;
    vlmoe_moe_weights moe;
} block;
struct net {
    vlmoe_context *ctx;
    block blocks[DEPTH];
    vlmoe_tensor *words, *scale; /* word table, also the decoder; layer scale of every branch */
    vlmoe_tensor *outside; /* an activation that segments read besides their input, if they do */
    bool has_segments, has_dead_segment, reads_outside;
    size_t list_bytes; /* of a list that each block makes whenever it is run */
    double loss;
};

static vlmoe_tensor *param(net *n, double deviation, double value, int rank, const int64_t *dim)
{
    vlmoe_tensor *t = NULL;
    char *name = vlm_format("p%lld", (long long)n->ctx->n_params);
    const vlm_param spec = {.name = name,
                            .role = VLM_ROLE_MATRIX,
                            .trained = true,
                            .decays = rank > 1,
                            .lr_scale = 1.0,
                            .has_copy = rank > 1,
                            .init_std = deviation,
                            .init_value = value};
    CHECK_STATUS(vlm_param_add(n->ctx, &spec, rank, dim, &t), VLMOE_OK);
    vlm_free(name);
    return t;
}

#define DIMS(...)                                                                                  \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static net *net_open(const char *device, vlmoe_dtype compute, int n_threads)
{
    net *n = vlm_alloc(sizeof *n);
    n->ctx = test_op_context(device, compute, n_threads);
    n->words = param(n, 0.5, 0.0, DIMS(WORDS, D));
    n->scale = param(n, 0.0, 0.6, DIMS(D));
    for (int i = 0; i < DEPTH; i++) {
        block *b = &n->blocks[i];
        *b = (block){.owner = n, .index = i};
        b->gain1 = param(n, 0.0, 1.0, DIMS(D));
        b->bias1 = param(n, 0.1, 0.0, DIMS(D));
        b->qkv = param(n, 0.3, 0.0, DIMS(3 * D, D));
        b->qkv_bias = param(n, 0.1, 0.0, DIMS(3 * D));
        b->out = param(n, 0.3, 0.0, DIMS(D, D));
        b->gain2 = param(n, 0.0, 1.0, DIMS(D));
        b->bias2 = param(n, 0.1, 0.0, DIMS(D));
        b->moe = (vlmoe_moe_weights){.router = param(n, 0.5, 0.0, DIMS(E, D)),
                                     .w1 = param(n, 0.3, 0.0, DIMS(E, F, D)),
                                     .b1 = param(n, 0.1, 0.0, DIMS(E, F)),
                                     .w2 = param(n, 0.3, 0.0, DIMS(E, D, F)),
                                     .b2 = param(n, 0.1, 0.0, DIMS(E, D))};
    }
    CHECK_STATUS_E(vlm_ctx_init_params(n->ctx), VLMOE_OK, &n->ctx->error);
    return n;
}

static void net_close(net *n)
{
    vlmoe_context_destroy(n->ctx);
    vlm_free(n);
}

static vlmoe_tensor *run_block(vlmoe_tape *tape, const void *arg, vlmoe_tensor *x)
{
    static const int32_t offset[] = {0, 5, N}, sample[] = {0, 0, 0, 0, 0, 1, 1, 1};
    const block *b = arg;
    net *n = b->owner;
    vlmoe_dtype compute = n->ctx->compute;
    vlmoe_moe_params moe = VLMOE_MOE_PARAMS;
    if (n->list_bytes) CHECK(vlm_tape_host(tape, n->list_bytes) != NULL);
    moe.k = 2;
    moe.site = (uint64_t)b->index;
    moe.z = 0.01;
    vlmoe_tensor *y = vlmoe_layer_norm(tape, x, b->gain1, b->bias1, 1e-5, compute);
    y = vlmoe_attention(tape, vlmoe_linear(tape, y, b->qkv, b->qkv_bias, VLMOE_ACT_NONE), HEADS, 2,
                        offset, b->index == 1);
    y = vlmoe_dropout(tape, vlmoe_linear_no_bias(tape, y, b->out, VLMOE_ACT_NONE), 0.2,
                      (uint64_t)b->index);
    x = vlmoe_add_drop_path(tape, x, vlmoe_cast(tape, y, n->ctx->wide), 0.3, sample,
                            (uint64_t)b->index);
    if (n->reads_outside) x = vlmoe_add(tape, x, n->outside);
    y = vlmoe_layer_norm(tape, x, b->gain2, b->bias2, 1e-5, compute);
    y = vlmoe_moe(tape, y, &b->moe, &moe);
    return vlm_residual(tape, x, 1, &(vlm_residual_part){.y = y}, n->scale);
}

static vlmoe_tensor *forward(net *n, vlmoe_tape *tape)
{
    static const int32_t word[] = {3, 1, 4, 1, 5, 9, 2, 6}, target[] = {1, -1, 2, 3, 10, 0, -1, 7};
    vlmoe_tensor *x = vlmoe_gather(tape, n->words, N, word);
    if (n->reads_outside) n->outside = vlm_act(tape, x, VLMOE_ACT_TANH);
    if (n->has_dead_segment) (void)vlm_segment(tape, n->has_segments, run_block, &n->blocks[0], x);
    for (int i = 0; i < DEPTH; i++)
        x = vlm_segment(tape, n->has_segments, run_block, &n->blocks[i], x);
    vlmoe_tensor *y =
        vlmoe_layer_norm(tape, x, n->blocks[0].gain1, n->blocks[0].bias1, 1e-5, n->ctx->compute);
    y = vlm_linear(tape, y, n->words, NULL, &(vlm_linear_opts){.out_dtype = n->ctx->wide});
    return vlmoe_cross_entropy(tape, y, target);
}

/* One group: forward, and in TRAIN mode backward with the gradients added to what is there. */
static void run_group(net *n, vlmoe_mode mode, int64_t step, int64_t group)
{
    vlmoe_tape *tape = NULL;
    CHECK_STATUS(vlmoe_tape_begin(n->ctx, mode, &tape), VLMOE_OK);
    vlm_tape_place(tape, step, group);
    vlmoe_loss_add(tape, forward(n, tape), 1.0);
    CHECK_STATUS_E(vlmoe_tape_status(tape), VLMOE_OK, &n->ctx->error);
    if (n->ctx->backend->has_data)
        CHECK_STATUS_E(vlmoe_tape_loss(tape, &n->loss), VLMOE_OK, &n->ctx->error);
    vlm_tape_place(tape, 77, 7); /* a segment draws again where it was recorded, not here */
    if (mode == VLMOE_TRAIN)
        CHECK_STATUS_E(vlmoe_tape_backward(tape, 0.5), VLMOE_OK, &n->ctx->error);
    vlmoe_tape_end(tape);
}

static void train_two_steps(net *n)
{
    const vlm_adamw_opts opts = {.lr = 0.01,
                                 .beta1 = 0.9,
                                 .beta2 = 0.98,
                                 .eps = 1e-8,
                                 .weight_decay = 0.1,
                                 .clip = 1.0,
                                 .grad_scale = 0.5};
    for (int64_t step = 1; step <= 2; step++) {
        CHECK_STATUS(vlmoe_grad_zero(n->ctx), VLMOE_OK);
        for (int64_t group = 0; group < 2; group++) run_group(n, VLMOE_TRAIN, step, group);
        CHECK_STATUS_E(vlm_adamw_apply(n->ctx, &opts, step, NULL), VLMOE_OK, &n->ctx->error);
    }
}

/* Losses, gradients, parameters and their copies are equal, bit for bit. */
static void check_same(const net *a, const net *b)
{
    size_t wide = (size_t)a->ctx->n_elements * vlm_dtype_bytes(a->ctx->wide);
    CHECK(memcmp(&a->loss, &b->loss, sizeof a->loss) == 0);
    CHECK(isfinite(a->loss));
    CHECK(memcmp(a->ctx->grads, b->ctx->grads, wide) == 0);
    CHECK(memcmp(a->ctx->master, b->ctx->master, wide) == 0);
    if (a->ctx->copies)
        CHECK(memcmp(a->ctx->copies, b->ctx->copies,
                     (size_t)a->ctx->n_elements * vlm_dtype_bytes(a->ctx->compute)) == 0);
}

static const struct setting {
    const char *device;
    vlmoe_dtype compute;
} settings[] = {{"ref", VLMOE_F64}, {"cpu", VLMOE_F32}, {"cpu", VLMOE_BF16}};

TEST(segments_give_the_same_bits_in_less_memory)
{
    for (int i = 0; i < VLM_COUNT(settings); i++) {
        net *plain = net_open(settings[i].device, settings[i].compute, 1),
            *again = net_open(settings[i].device, settings[i].compute, 1);
        again->has_segments = true;
        train_two_steps(plain);
        train_two_steps(again);
        check_same(plain, again);
        CHECK(again->ctx->arena.peak < plain->ctx->arena.peak);
        net_close(plain);
        net_close(again);
    }
}

TEST(one_and_two_threads_give_the_same_bits)
{
    for (int i = 1; i < VLM_COUNT(settings); i++) {
        net *one = net_open("cpu", settings[i].compute, 1),
            *two = net_open("cpu", settings[i].compute, 2);
        train_two_steps(one);
        train_two_steps(two);
        check_same(one, two);
        net_close(one);
        net_close(two);
    }
}

TEST(a_segment_may_differentiate_into_more_than_its_input)
{
    net *plain = net_open("ref", VLMOE_F64, 1), *again = net_open("ref", VLMOE_F64, 1);
    plain->reads_outside = again->reads_outside = true;
    again->has_segments = true;
    train_two_steps(plain);
    train_two_steps(again);
    check_same(plain, again);
    net_close(plain);
    net_close(again);
}

/* What lies before a segment is told from what its second run makes, wherever the memory of either was found. */
TEST(lists_of_a_recording_may_take_any_memory)
{
    for (int has_segments = 0; has_segments < 2; has_segments++) {
        net *plain = net_open("ref", VLMOE_F64, 1), *listing = net_open("ref", VLMOE_F64, 1);
        plain->reads_outside = listing->reads_outside = true;
        listing->has_segments = has_segments;
        listing->list_bytes = (size_t)30 << 20;
        train_two_steps(plain);
        train_two_steps(listing);
        check_same(plain, listing);
        CHECK(listing->ctx->host.peak > DEPTH * listing->list_bytes);
        net_close(plain);
        net_close(listing);
    }
}

/* Its balance losses still count, and the share of a weight that others use as well is added all the same. */
TEST(a_segment_whose_result_is_unused_still_gives_its_loss_terms)
{
    net *plain = net_open("ref", VLMOE_F64, 1), *again = net_open("ref", VLMOE_F64, 1),
        *without = net_open("ref", VLMOE_F64, 1);
    again->has_segments = true;
    plain->has_dead_segment = again->has_dead_segment = true;
    train_two_steps(plain);
    train_two_steps(again);
    train_two_steps(without);
    check_same(plain, again);
    CHECK(plain->loss != without->loss);
    net_close(plain);
    net_close(again);
    net_close(without);
}

static int n_assigned;
static int (*real_assign)(vlmk_env *env, const vlmk_router_assign_args *args);
static int counting_assign(vlmk_env *env, const vlmk_router_assign_args *args)
{
    n_assigned++;
    return real_assign(env, args);
}

TEST(a_segment_that_is_run_again_does_not_route_again)
{
    net *n = net_open("ref", VLMOE_F64, 1);
    vlmk_table table = *n->ctx->kernels;
    real_assign = table.router_assign;
    table.router_assign = counting_assign;
    n->ctx->kernels = &table;
    n->has_segments = true;
    n_assigned = 0;
    run_group(n, VLMOE_TRAIN, 1, 0);
    CHECK_INT(n_assigned, DEPTH);
    net_close(n);
}

TEST(prediction_keeps_nothing_and_draws_nothing)
{
    net *n = net_open("ref", VLMOE_F64, 1);
    run_group(n, VLMOE_TRAIN, 1, 0);
    double trained = n->loss;
    run_group(n, VLMOE_PREDICT, 1, 0);
    double first = n->loss;
    n->has_segments = true;
    run_group(n, VLMOE_PREDICT, 2, 5); /* another place: other draws, if there were any */
    CHECK(n->loss == first);
    CHECK(n->loss != trained);
    net_close(n);
}

TEST(a_dry_run_on_meta_takes_the_same_memory)
{
    for (int has_segments = 0; has_segments < 2; has_segments++) {
        net *real = net_open("cpu", VLMOE_BF16, 1), *dry = net_open("meta", VLMOE_BF16, 1);
        real->has_segments = dry->has_segments = has_segments;
        train_two_steps(real);
        train_two_steps(dry);
        CHECK_INT(dry->ctx->arena.peak, real->ctx->arena.peak);
        CHECK(dry->ctx->backend->flops(dry->ctx->device) >=
              real->ctx->backend->flops(real->ctx->device));
        net_close(real);
        net_close(dry);
    }
}

/* Wherever memory runs out, forward or backward, in a segment or out of one: NOMEM, and the next recording works. */
TEST(a_full_arena_fails_cleanly_at_every_point)
{
    net *n = net_open("ref", VLMOE_F64, 1);
    size_t whole = n->ctx->arena.capacity, step = whole / 512;
    for (int has_segments = 0; has_segments < 2; has_segments++) {
        vlmoe_status status = VLMOE_E_NOMEM;
        int n_failed = 0, n_failed_backward = 0;
        n->has_segments = has_segments;
        for (size_t capacity = step; status == VLMOE_E_NOMEM; capacity += step, n_failed++) {
            vlmoe_tape *tape = NULL;
            n->ctx->arena.capacity = capacity & ~(size_t)(VLM_HEAP_ALIGN - 1);
            CHECK_STATUS(vlmoe_tape_begin(n->ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
            vlmoe_loss_add(tape, forward(n, tape), 1.0);
            bool has_recorded = vlmoe_tape_status(tape) == VLMOE_OK;
            status = vlmoe_tape_backward(tape, 1.0);
            n_failed_backward += has_recorded && status;
            if (status) CHECK_HAS(vlmoe_context_error(n->ctx), "no room");
            vlmoe_tape_end(tape);
        }
        CHECK_STATUS(status, VLMOE_OK);
        CHECK(n_failed > 5 && n_failed_backward > 1);
        n->ctx->arena.capacity = whole;
    }
    net_close(n);
}

TEST(meta_counts_two_operations_per_product_term)
{
    vlmoe_context *ctx = test_op_context("meta", VLMOE_F32, 1);
    vlmoe_tensor *w = NULL;
    vlmoe_tape *tape = NULL;
    double loss;
    static const float host[5 * 3];
    CHECK_STATUS(vlmoe_param_create(ctx, "w", DIMS(7, 3), &w), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlmoe_tensor *x = vlmoe_input(tape, VLMOE_F32, DIMS(5, 3), host);
    vlmoe_tensor *y = vlmoe_linear_no_bias(tape, x, w, VLMOE_ACT_NONE);
    CHECK(ctx->backend->flops(ctx->device) == 2.0 * 5 * 7 * 3);
    static const int32_t target[5];
    vlmoe_loss_add(tape, vlmoe_cross_entropy(tape, y, target), 1.0);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
    CHECK(ctx->backend->flops(ctx->device) == 2 * 2.0 * 5 * 7 * 3); /* dw; x is a constant */
    CHECK_STATUS(vlmoe_tape_loss(tape, &loss), VLMOE_E_UNSUPPORTED);
    vlmoe_tape_end(tape);
    vlmoe_context_destroy(ctx);
}
