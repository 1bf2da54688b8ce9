/* Parameters: names, first values, copies, access; and AdamW over all of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"
#include "op.h"
#include "optim_adamw.h"
#include "test_ops.h"
#include "vlmoe/ops.h"

#define DIMS(...)                                                                                  \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static vlmoe_tensor *add(vlmoe_context *ctx, vlm_param spec, int rank, const int64_t *dim)
{
    vlmoe_tensor *t = NULL;
    CHECK_STATUS_E(vlm_param_add(ctx, &spec, rank, dim, &t), VLMOE_OK, &ctx->error);
    return t;
}

static double *values(const vlmoe_tensor *t)
{
    double *out = malloc(vlmoe_tensor_bytes(t));
    CHECK_STATUS(vlmoe_tensor_read(t, out, vlmoe_tensor_bytes(t)), VLMOE_OK);
    return out;
}

TEST(first_values_are_a_normal_cut_at_one_deviation)
{
    vlmoe_context *ctx = test_op_context("ref", VLMOE_F64, 1);
    vlmoe_tensor *t =
        add(ctx, (vlm_param){.name = "w", .trained = true, .init_std = 0.02}, DIMS(200, 100));
    CHECK_STATUS(vlm_ctx_init_params(ctx), VLMOE_OK);
    double *x = values(t), sum = 0.0, square = 0.0, n = (double)vlm_count(t);
    for (int64_t i = 0; i < vlm_count(t); i++) {
        CHECK(fabs(x[i]) <= 0.02);
        sum += x[i] / 0.02;
        square += x[i] / 0.02 * x[i] / 0.02;
    }
    /* Cut at 1 the variance is 1 - 2 phi(1) / (2 Phi(1) - 1) = 0.29113 and the fourth moment below 1: five standard errors. */
    CHECK_CLOSE(sum / n, 0.0, 5.0 * sqrt(0.2912 / n));
    CHECK_CLOSE(square / n, 0.2911, 5.0 * sqrt(1.0 / n));
    free(x);
    vlmoe_context_destroy(ctx);
}

TEST(experts_start_equal_or_apart_as_asked)
{
    vlmoe_context *ctx = test_op_context("ref", VLMOE_F64, 1);
    vlmoe_tensor *equal =
        add(ctx, (vlm_param){.name = "a.{e}", .n_experts = 3, .init_std = 1.0, .init_equal = true},
            DIMS(3, 4));
    vlmoe_tensor *apart =
        add(ctx, (vlm_param){.name = "b.{e}", .n_experts = 3, .init_std = 1.0}, DIMS(3, 4));
    vlmoe_tensor *constant = add(ctx, (vlm_param){.name = "c", .init_value = 0.25}, DIMS(2));
    CHECK_STATUS(vlm_ctx_init_params(ctx), VLMOE_OK);
    double *a = values(equal), *b = values(apart), *c = values(constant);
    CHECK(memcmp(a, a + 4, 4 * sizeof *a) == 0 && memcmp(a, a + 8, 4 * sizeof *a) == 0);
    for (int i = 0; i < 4; i++) CHECK(b[i] != b[4 + i] && b[i] != b[8 + i] && b[i] != a[i]);
    CHECK(c[0] == 0.25 && c[1] == 0.25);
    free(a);
    free(b);
    free(c);
    char *name = vlm_param_expert_name(equal->param, 2);
    CHECK_TEXT(name, "a.2");
    vlm_free(name);
    vlmoe_context_destroy(ctx);
}

/* Draws of a parameter come from its place: the shape of another does not move them. */
TEST(first_values_do_not_depend_on_other_parameters)
{
    double *w[2];
    for (int i = 0; i < 2; i++) {
        vlmoe_context *ctx = test_op_context("ref", VLMOE_F64, 1);
        add(ctx, (vlm_param){.name = "other", .init_std = 1.0}, DIMS(5 + 7 * i));
        vlmoe_tensor *t = add(ctx, (vlm_param){.name = "w", .init_std = 1.0}, DIMS(3, 3));
        CHECK_STATUS(vlm_ctx_init_params(ctx), VLMOE_OK);
        w[i] = values(t);
        vlmoe_context_destroy(ctx);
    }
    CHECK(memcmp(w[0], w[1], 9 * sizeof(double)) == 0);
    free(w[0]);
    free(w[1]);
}

TEST(names_are_unique_and_found)
{
    vlmoe_context *ctx = test_op_context("cpu", VLMOE_F32, 1);
    vlmoe_tensor *a = NULL, *b = NULL, *none = NULL;
    CHECK_STATUS(vlmoe_param_create(ctx, "a", DIMS(3), &a), VLMOE_OK);
    CHECK_STATUS(vlmoe_param_create(ctx, "b", DIMS(2, 3), &b), VLMOE_OK);
    CHECK_STATUS(vlmoe_param_create(ctx, "a", DIMS(3), &none), VLMOE_E_ARG);
    CHECK_HAS(vlmoe_context_error(ctx), "parameter a exists");
    CHECK_STATUS(vlmoe_param_create(ctx, "c", DIMS(3, 0), &none), VLMOE_E_SHAPE);
    CHECK_STATUS(vlmoe_param_create(ctx, "", DIMS(3), &none), VLMOE_E_ARG);
    CHECK_INT(vlmoe_param_count(ctx), 2);
    CHECK(vlmoe_param_find(ctx, "b") == b && vlmoe_param_at(ctx, 0) == a &&
          vlmoe_param_at(ctx, 2) == NULL && !vlmoe_param_find(ctx, "x"));
    CHECK_TEXT(vlmoe_param_name(b), "b");
    CHECK_INT(vlmoe_tensor_dim(b, -1), 3);
    CHECK_INT(vlmoe_tensor_dim(b, 5), 0);
    CHECK(none == NULL);
    vlmoe_context_destroy(ctx);
}

TEST(writing_a_parameter_writes_its_copy)
{
    vlmoe_context *ctx = test_op_context("cpu", VLMOE_BF16, 1);
    vlmoe_tensor *w = NULL, *b = NULL;
    const float value[] = {1.0f, -2.5f, 0.1f, 3.0f};
    float back[4];
    CHECK_STATUS(vlmoe_param_create(ctx, "w", DIMS(2, 2), &w), VLMOE_OK);
    CHECK_STATUS(vlmoe_param_create(ctx, "b", DIMS(2), &b), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_write(w, value, sizeof value), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read(w, back, sizeof back), VLMOE_OK);
    CHECK(memcmp(value, back, sizeof back) == 0);
    const uint16_t *copy = w->param->copy;
    CHECK(copy[0] == 0x3f80 && copy[1] == 0xc020 && copy[2] == 0x3dcd && copy[3] == 0x4040);
    CHECK(b->param->copy == NULL);
    CHECK_STATUS(vlmoe_tensor_read(w, back, 3), VLMOE_E_ARG);
    CHECK_HAS(vlmoe_context_error(ctx), "w of shape [2, 2], expected 16");
    vlmoe_context_destroy(ctx);
}

/* Parameters a (decays), b (does not, half the rate), c (frozen), with these gradients. */
typedef struct trio {
    vlmoe_context *ctx;
    vlmoe_tensor *a, *b, *c;
} trio;

static trio trio_open(double ga, double gb)
{
    trio t = {.ctx = test_op_context("ref", VLMOE_F64, 1)};
    t.a = add(t.ctx,
              (vlm_param){
                  .name = "a", .trained = true, .decays = true, .lr_scale = 1.0, .init_value = 1.0},
              DIMS(1));
    t.b = add(t.ctx, (vlm_param){.name = "b", .trained = true, .lr_scale = 0.5, .init_value = 1.0},
              DIMS(1));
    t.c = add(t.ctx, (vlm_param){.name = "c", .decays = true, .lr_scale = 1.0, .init_value = 1.0},
              DIMS(1));
    CHECK_STATUS(vlm_ctx_init_params(t.ctx), VLMOE_OK);
    *(double *)t.a->param->grad = ga;
    *(double *)t.b->param->grad = gb;
    return t;
}

static double value(const vlmoe_tensor *t)
{
    return *(const double *)t->data;
}

static const vlm_adamw_opts plain = {
    .lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 0.0, .weight_decay = 0.2, .grad_scale = 1.0};

TEST(adamw_honours_decay_rate_and_frozen)
{
    double norm = 0.0;
    trio t = trio_open(3.0, -4.0);
    CHECK_STATUS_E(vlm_adamw_apply(t.ctx, &plain, 1, &norm), VLMOE_OK, &t.ctx->error);
    CHECK_CLOSE(norm, 5.0, 1e-15);
    /* In step 1 with eps = 0 the corrected m / sqrt(v) is the sign of the gradient. */
    CHECK_CLOSE(value(t.a), 1.0 * (1.0 - 0.1 * 0.2) - 0.1, 1e-15);
    CHECK_CLOSE(value(t.b), 1.0 + 0.05, 1e-15);
    CHECK(value(t.c) == 1.0);
    vlmoe_context_destroy(t.ctx);
}

TEST(adamw_clips_by_the_norm_of_all_scaled_gradients)
{
    double norm = 0.0;
    trio t = trio_open(3.0, -4.0);
    vlm_adamw_opts opts = plain;
    opts.grad_scale = 2.0;
    opts.clip = 1.0;
    CHECK_STATUS(vlm_adamw_apply(t.ctx, &opts, 1, &norm), VLMOE_OK);
    CHECK_CLOSE(norm, 10.0, 1e-14);
    const double *m = t.ctx->moments;
    double factor = 2.0 * (1.0 / (10.0 + 1e-6));
    CHECK_CLOSE(m[t.a->param->at], 0.1 * factor * 3.0, 1e-15);
    CHECK_CLOSE(m[t.b->param->at], 0.1 * factor * -4.0, 1e-15);
    vlmoe_context_destroy(t.ctx);
}

TEST(adamw_changes_nothing_when_a_gradient_is_not_finite)
{
    double norm = 7.0;
    trio t = trio_open(3.0, NAN);
    CHECK_STATUS(vlm_adamw_apply(t.ctx, &plain, 1, &norm), VLMOE_E_NUMERIC);
    CHECK_HAS(vlmoe_context_error(t.ctx), "gradient of b");
    CHECK(norm == 7.0 && value(t.a) == 1.0 && value(t.b) == 1.0);
    CHECK(((const double *)t.ctx->moments)[0] == 0.0);
    vlm_adamw_opts opts = plain;
    CHECK_STATUS(vlm_adamw_apply(t.ctx, &opts, 0, NULL), VLMOE_E_ARG);
    opts.beta1 = 1.0;
    CHECK_STATUS(vlm_adamw_apply(t.ctx, &opts, 1, NULL), VLMOE_E_ARG);
    vlmoe_context_destroy(t.ctx);
}

/* Fifty steps against a gradient that pulls towards zero. A bf16 moment is off by at most 2^-7 of itself a step, with mean zero: over
 * 1 / (1 - beta1) = 10 steps of memory the step's size is off by less than 2^-7 sqrt(10) for m, half of that times sqrt(50) for v over
 * as many steps as there are. So the way of 50 steps of at most lr each is off by less than 50 lr 2^-7 (3.2 + 3.6), mean zero or not. */
TEST(moments_of_bf16_go_the_way_of_f32_within_their_rounding)
{
    double end[2];
    for (int k = 0; k < 2; k++) {
        vlmoe_context *ctx = test_op_context("cpu", VLMOE_F32, 1);
        vlmoe_tensor *t =
            add(ctx, (vlm_param){.name = "t", .init_value = 1.0, .trained = true, .lr_scale = 1.0},
                DIMS(512));
        float x[512], sum = 0.0f;
        if (k) ctx->moment_dtype = VLMOE_BF16;
        CHECK_STATUS(vlm_ctx_init_params(ctx), VLMOE_OK);
        for (int64_t step = 1; step <= 50; step++) {
            vlm_adamw_opts opts = plain;
            opts.lr = 0.01;
            opts.weight_decay = 0.0;
            opts.clip = 0.0;
            CHECK_STATUS(vlmoe_tensor_read(t, x, sizeof x), VLMOE_OK);
            memcpy(t->param->grad, x, sizeof x);
            CHECK_STATUS(vlm_adamw_apply(ctx, &opts, step, NULL), VLMOE_OK);
        }
        CHECK_STATUS(vlmoe_tensor_read(t, x, sizeof x), VLMOE_OK);
        for (int i = 0; i < 512; i++) sum += x[i];
        end[k] = (double)sum / 512.0;
        vlmoe_context_destroy(ctx);
    }
    CHECK(end[0] < 0.7 && end[0] != end[1]);
    CHECK_CLOSE(end[1], end[0], 50 * 0.01 * 0x1p-7 * 6.8);
}

TEST(a_frozen_subtree_records_nothing)
{
    vlmoe_context *ctx = test_op_context("ref", VLMOE_F64, 1);
    vlmoe_tensor *frozen =
        add(ctx, (vlm_param){.name = "f", .init_std = 1.0, .has_copy = true}, DIMS(3, 3));
    vlmoe_tensor *trained =
        add(ctx, (vlm_param){.name = "t", .init_std = 1.0, .trained = true, .has_copy = true},
            DIMS(3, 3));
    vlmoe_tape *tape = NULL;
    double grad[9];
    CHECK_STATUS(vlm_ctx_init_params(ctx), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlmoe_tensor *y = vlmoe_linear_no_bias(tape, frozen, frozen, VLMOE_ACT_GELU);
    CHECK(tape->last == NULL && !y->wants_grad);
    y = vlmoe_linear_no_bias(tape, y, trained, VLMOE_ACT_GELU);
    CHECK(tape->last && tape->last->previous == NULL);
    vlmoe_tape_end(tape);
    CHECK_STATUS(vlmoe_tensor_read_grad(frozen, grad, sizeof grad), VLMOE_E_STATE);
    CHECK_STATUS(vlmoe_tensor_read_grad(trained, grad, sizeof grad), VLMOE_OK);
    vlmoe_context_destroy(ctx);
}

TEST(capacity_is_exact_in_thousandths)
{
    CHECK_INT(vlm_capacity(200, 4, 1, 1.1, 1, 1), 55); /* binary floating point gives 56 */
    CHECK_INT(vlm_capacity(7, 4, 1, 1.05, 1, 1), 2);
    CHECK_INT(vlm_capacity(8, 4, 2, 1.0, 4, 1), 4);
    CHECK_INT(vlm_capacity(9, 4, 2, 1.0, 4, 1), 8);
    CHECK_INT(vlm_capacity(1, 64, 1, 1.0, 1, 1), 1);
    CHECK_INT(vlm_capacity(1, 64, 1, 1.0, 1, 4), 4);
    CHECK_INT(vlm_capacity(0, 4, 1, 1.0, 4, 4), 0);
    CHECK_INT(vlm_capacity(100, 4, 1, 0.0, 1, 1), -1);
}
