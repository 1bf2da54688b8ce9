/* What wrong recordings are told: status, operation, place, both shapes; and that the first failure stays. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "harness.h"
#include "op.h"
#include "test_ops.h"

#define DIMS(...)                                                                                  \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
static const float zeros[256];

static vlmoe_tensor *in(vlmoe_tape *tape, int64_t rows, int64_t cols)
{
    return vlmoe_input(tape, VLMOE_F32, DIMS(rows, cols), zeros);
}

static void linear_shapes(vlmoe_tape *tape)
{
    vlmoe_linear_no_bias(tape, in(tape, 2, 3), in(tape, 4, 5), VLMOE_ACT_NONE);
}

static void linear_bias(vlmoe_tape *tape)
{
    vlmoe_linear(tape, in(tape, 2, 3), in(tape, 4, 3), in(tape, 1, 5), VLMOE_ACT_NONE);
}

static void linear_without_bias(vlmoe_tape *tape)
{
    vlmoe_linear(tape, in(tape, 2, 3), in(tape, 4, 3), NULL, VLMOE_ACT_NONE);
}

static void linear_copy(vlmoe_tape *tape)
{
    vlmoe_linear_no_bias(tape, vlmoe_cast(tape, in(tape, 2, 3), VLMOE_BF16), in(tape, 4, 3),
                         VLMOE_ACT_NONE);
}

static void linear_groups(vlmoe_tape *tape)
{
    vlm_linear(tape, in(tape, 2, 3), in(tape, 4, 3), NULL,
               &(vlm_linear_opts){.out_dtype = VLMOE_F32, .n_groups = 2});
}

static void linear_act(vlmoe_tape *tape)
{
    vlmoe_linear_no_bias(tape, in(tape, 2, 3), in(tape, 4, 3), (vlmoe_act)7);
}

static void norm_gain(vlmoe_tape *tape)
{
    vlmoe_layer_norm(tape, in(tape, 2, 3), in(tape, 1, 4), in(tape, 1, 3), 1e-5, VLMOE_F32);
}

static void norm_eps(vlmoe_tape *tape)
{
    vlmoe_layer_norm(tape, in(tape, 2, 3), in(tape, 1, 3), in(tape, 1, 3), 0.0, VLMOE_F32);
}

static void attention_width(vlmoe_tape *tape)
{
    static const int32_t offset[] = {0, 2};
    vlmoe_attention(tape, in(tape, 2, 9), 2, 1, offset, 0);
}

static void attention_rows(vlmoe_tape *tape)
{
    static const int32_t offset[] = {0, 3};
    vlmoe_attention(tape, in(tape, 2, 6), 2, 1, offset, 0);
}

static void gather_index(vlmoe_tape *tape)
{
    static const int32_t index[] = {0, 4};
    vlmoe_gather(tape, in(tape, 4, 3), 2, index);
}

static void gather_widths(vlmoe_tape *tape)
{
    static const int32_t index[] = {0};
    const int32_t *d_index[] = {vlm_tape_upload(tape, index, 4), vlm_tape_upload(tape, index, 4)};
    vlmoe_tensor *const table[] = {in(tape, 4, 3), in(tape, 4, 2)};
    vlm_gather_sum(tape, 2, table, d_index, 1, VLMOE_F32);
}

static void add_shapes(vlmoe_tape *tape)
{
    vlmoe_add(tape, in(tape, 2, 3), in(tape, 3, 2));
}

static void add_types(vlmoe_tape *tape)
{
    vlmoe_add(tape, in(tape, 2, 3), vlmoe_cast(tape, in(tape, 2, 3), VLMOE_BF16));
}

static void residual_overlap(vlmoe_tape *tape)
{
    const vlm_residual_part part[] = {{.y = in(tape, 2, 3), .begin = 0},
                                      {.y = in(tape, 2, 3), .begin = 1}};
    vlm_residual(tape, in(tape, 4, 3), 2, part, NULL);
}

static void residual_past_end(vlmoe_tape *tape)
{
    vlm_residual(tape, in(tape, 4, 3), 1, &(vlm_residual_part){.y = in(tape, 2, 3), .begin = 3},
                 NULL);
}

static void drop_path_sample(vlmoe_tape *tape)
{
    static const int32_t sample[] = {0, 5};
    vlmoe_add_drop_path(tape, in(tape, 2, 3), in(tape, 2, 3), 0.5, sample, 0);
}

static void dropout_p(vlmoe_tape *tape)
{
    vlmoe_dropout(tape, in(tape, 2, 3), 1.0, 0);
}

static void ce_target(vlmoe_tape *tape)
{
    static const int32_t target[] = {0, 3};
    vlmoe_cross_entropy(tape, in(tape, 2, 3), target);
}

static void class_loss_smoothing(vlmoe_tape *tape)
{
    static const int32_t none[3];
    const vlm_class_targets targets = {.kind = VLMK_CLASS_SIGMOID,
                                       .smoothing = 0.5,
                                       .d_offset = none,
                                       .d_label = none,
                                       .d_score = none,
                                       .d_row_weight = none};
    vlm_class_loss(tape, in(tape, 2, 3), &targets, NULL);
}

static void temper_scale(vlmoe_tape *tape)
{
    vlm_temper(tape, in(tape, 2, 3), in(tape, 1, 2));
}

static void scatter_type(vlmoe_tape *tape)
{
    static const int32_t index[2];
    vlm_scatter_sum(tape, vlmoe_cast(tape, in(tape, 2, 3), VLMOE_BF16), index, 2, 1.0);
}

static void linear_activation(vlmoe_tape *tape)
{
    vlmoe_tensor *narrow = vlmoe_cast(tape, in(tape, 4, 3), VLMOE_BF16);
    vlmoe_linear_no_bias(tape, vlmoe_cast(tape, in(tape, 2, 3), VLMOE_BF16), narrow,
                         VLMOE_ACT_NONE);
}

static void reshape_rows(vlmoe_tape *tape)
{
    vlm_reshape_view(tape, in(tape, 4, 3), 5);
}

static void mse_shapes(vlmoe_tape *tape)
{
    vlmoe_mse(tape, in(tape, 2, 3), in(tape, 2, 4));
}

static void act_unknown(vlmoe_tape *tape)
{
    vlm_act(tape, in(tape, 2, 3), (vlmoe_act)9);
}

static void l2_type(vlmoe_tape *tape)
{
    vlm_l2_norm(tape, vlmoe_cast(tape, in(tape, 2, 3), VLMOE_BF16), 1e-6);
}

static void quantise_none(vlmoe_tape *tape)
{
    vlm_quantise(tape, in(tape, 2, 3), zeros, 0, NULL);
}

static vlm_routing *routed(vlmoe_tape *tape, int64_t experts, int64_t k, int32_t end)
{
    vlm_routing *routing = NULL;
    const int32_t set_offset[] = {0, end};
    const vlm_route_policy policy = {
        .E = experts, .K = k, .n_sets = 1, .set_offset = set_offset, .capacity_min = 1};
    vlm_route(tape, in(tape, 4, 3), &policy, &routing);
    return routing;
}

static void route_experts(vlmoe_tape *tape)
{
    routed(tape, 5, 1, 4);
}

static void route_k(vlmoe_tape *tape)
{
    routed(tape, 3, 4, 4);
}

static void route_sets(vlmoe_tape *tape)
{
    routed(tape, 3, 1, 3);
}

static void router_losses_logits(vlmoe_tape *tape)
{
    vlm_router_losses(tape, in(tape, 5, 3), &(vlm_route_policy){.E = 3}, routed(tape, 3, 1, 4));
}

static void dispatch_tokens(vlmoe_tape *tape)
{
    vlm_dispatch(tape, in(tape, 5, 2), routed(tape, 3, 1, 4));
}

static void combine_rows(vlmoe_tape *tape)
{
    vlm_combine(tape, in(tape, 4, 2), in(tape, 4, 2), routed(tape, 3, 2, 4));
}

static void moe_size(vlmoe_tape *tape)
{
    vlmoe_moe_params params = VLMOE_MOE_PARAMS;
    params.struct_size = 8;
    vlmoe_moe(tape, in(tape, 4, 2), &(vlmoe_moe_weights){0}, &params);
}

static void cast_integers(vlmoe_tape *tape)
{
    vlmoe_cast(tape, vlmoe_input(tape, VLMOE_I32, DIMS(2, 3), zeros), VLMOE_F32);
}

static void input_type(vlmoe_tape *tape)
{
    vlmoe_input(tape, VLMOE_F64, DIMS(2, 3), zeros);
}

static void input_shape(vlmoe_tape *tape)
{
    vlmoe_input(tape, VLMOE_F32, DIMS(2, -3), zeros);
}

static void loss_shape(vlmoe_tape *tape)
{
    vlmoe_loss_add(tape, in(tape, 2, 3), 1.0);
}

static void loss_weight(vlmoe_tape *tape)
{
    vlmoe_loss_add(tape, in(tape, 1, 1), NAN);
}

static void arena_full(vlmoe_tape *tape)
{
    const int64_t dim[] = {1 << 20, 1 << 20};
    vlm_tensor_new(tape, VLMOE_F32, 2, dim);
}

static void view_rows(vlmoe_tape *tape)
{
    vlm_rows_view(tape, in(tape, 4, 3), 2, 3);
}

static vlmoe_tensor *wider(vlmoe_tape *tape, const void *arg, vlmoe_tensor *x)
{
    (void)arg, (void)x;
    return in(tape, 2, 4);
}

static vlmoe_tensor *nested(vlmoe_tape *tape, const void *arg, vlmoe_tensor *x)
{
    return vlm_segment(tape, true, wider, arg, x);
}

static void segment_shape(vlmoe_tape *tape)
{
    vlm_segment(tape, true, wider, NULL, in(tape, 2, 3));
}

static void segment_nested(vlmoe_tape *tape)
{
    vlm_segment(tape, true, nested, NULL, in(tape, 2, 3));
}

static const struct wrong {
    void (*record)(vlmoe_tape *tape);
    vlmoe_status status;
    const char *op, *part, *other_part;
} wrongs[] = {
    {linear_shapes, VLMOE_E_SHAPE, "linear", "[2, 3]", "[4, 5]"},
    {linear_bias, VLMOE_E_SHAPE, "linear", "[4, 3]", "[1, 5]"},
    {linear_without_bias, VLMOE_E_ARG, "linear", "b is NULL", "vlmoe_linear_no_bias"},
    {linear_copy, VLMOE_E_DTYPE, "linear", "bf16", "[4, 3]"},
    {linear_groups, VLMOE_E_SHAPE, "linear", "[4, 3]", "[groups, out, in]"},
    {linear_act, VLMOE_E_ARG, "linear", "activation", "7"},
    {norm_gain, VLMOE_E_SHAPE, "layer_norm", "gain is [1, 4]", "[3]"},
    {norm_eps, VLMOE_E_ARG, "layer_norm", "eps", "0"},
    {attention_width, VLMOE_E_SHAPE, "attention", "[2, 9]", "2 heads"},
    {attention_rows, VLMOE_E_ARG, "attention", "0 to 3", "[2, 6]"},
    {gather_index, VLMOE_E_ARG, "gather", "index[1] is 4", "[4, 3]"},
    {gather_widths, VLMOE_E_SHAPE, "gather_sum", "[4, 3]", "[4, 2]"},
    {add_shapes, VLMOE_E_SHAPE, "add", "[2, 3]", "[3, 2]"},
    {add_types, VLMOE_E_DTYPE, "add", "bf16", "expected f32"},
    {residual_overlap, VLMOE_E_SHAPE, "residual", "[4, 3]", "row 1, [2, 3]"},
    {residual_past_end, VLMOE_E_SHAPE, "residual", "[4, 3]", "row 3, [2, 3]"},
    {drop_path_sample, VLMOE_E_ARG, "add_drop_path", "sample[1] is 5", "0 to 1"},
    {dropout_p, VLMOE_E_ARG, "dropout", "p is 1", ""},
    {ce_target, VLMOE_E_ARG, "cross_entropy", "target[1] is 3", "[2, 3]"},
    {class_loss_smoothing, VLMOE_E_ARG, "class_loss", "smoothing is 0.5", "independent"},
    {temper_scale, VLMOE_E_SHAPE, "temper", "s is [1, 2]", "[1]"},
    {scatter_type, VLMOE_E_DTYPE, "scatter_sum", "bf16", "f32"},
    {linear_activation, VLMOE_E_DTYPE, "linear", "an activation", "[4, 3]"},
    {reshape_rows, VLMOE_E_SHAPE, "", "5 rows", "[4, 3]"},
    {mse_shapes, VLMOE_E_SHAPE, "mse", "[2, 3]", "[2, 4]"},
    {act_unknown, VLMOE_E_ARG, "act", "activation 9", ""},
    {l2_type, VLMOE_E_DTYPE, "l2_norm", "bf16", "f32"},
    {quantise_none, VLMOE_E_ARG, "quantise", "0 codes", ""},
    {route_experts, VLMOE_E_SHAPE, "route", "[4, 3]", "5 experts"},
    {route_k, VLMOE_E_ARG, "route", "4 of 3 experts", ""},
    {route_sets, VLMOE_E_ARG, "route", "token 3", "[4, 3]"},
    {router_losses_logits, VLMOE_E_SHAPE, "router_losses", "[5, 3]", "[4, 3]"},
    {dispatch_tokens, VLMOE_E_SHAPE, "dispatch", "[5, 2]", "4 tokens"},
    {combine_rows, VLMOE_E_SHAPE, "combine", "[4, 2]", "2 choices"},
    {moe_size, VLMOE_E_ARG, "moe", "struct_size is 8", "VLMOE_MOE_PARAMS"},
    {cast_integers, VLMOE_E_DTYPE, "cast", "i32", "[2, 3]"},
    {input_type, VLMOE_E_DTYPE, "input", "f64", "cpu"},
    {input_shape, VLMOE_E_SHAPE, "", "below 0", ""},
    {loss_shape, VLMOE_E_SHAPE, "loss_add", "[2, 3]", "one element"},
    {loss_weight, VLMOE_E_ARG, "loss_add", "nan", ""},
    {arena_full, VLMOE_E_NOMEM, "", "4398046511104 bytes", "step_bytes"},
    {view_rows, VLMOE_E_SHAPE, "", "rows 2 to 5", "[4, 3]"},
    {segment_shape, VLMOE_E_SHAPE, "segment", "[2, 4]", "[2, 3]"},
    {segment_nested, VLMOE_E_STATE, "segment", "nest", ""},
};

TEST(wrong_recordings_name_operation_place_and_shapes)
{
    vlmoe_context *ctx = test_op_context("cpu", VLMOE_BF16, 1);
    for (int i = 0; i < VLM_COUNT(wrongs); i++) {
        vlmoe_tape *tape = NULL;
        CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
        vlm_tape_where(tape, "blocks.1.ffn");
        wrongs[i].record(tape);
        const char *text = vlmoe_context_error(ctx);
        char what[64];
        snprintf(what, sizeof what, "case %d (%s)", i, wrongs[i].op);
        test_status(vlmoe_tape_status(tape), wrongs[i].status, &ctx->error, what, __FILE__,
                    __LINE__);
        CHECK_HAS(text, "blocks.1.ffn: ");
        CHECK_HAS(text, wrongs[i].op);
        CHECK_HAS(text, wrongs[i].part);
        CHECK_HAS(text, wrongs[i].other_part);
        vlmoe_tape_end(tape);
    }
    vlmoe_context_destroy(ctx);
}

TEST(the_first_failure_stays_and_null_flows_through)
{
    vlmoe_context *ctx = test_op_context("cpu", VLMOE_F32, 1);
    vlmoe_tape *tape = NULL;
    double loss = 5.0;
    float byte = 0.0f;
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlmoe_tensor *good = in(tape, 2, 2);
    vlmoe_tensor *x = vlmoe_add(tape, in(tape, 2, 3), in(tape, 3, 2));
    CHECK(x == NULL);
    x = vlmoe_linear_no_bias(tape, x, x, VLMOE_ACT_NONE);
    vlmoe_loss_add(tape, vlmoe_mse(tape, x, x), 1.0);
    CHECK(x == NULL);
    CHECK(vlmoe_dropout(tape, good, 7.0, 0) == NULL);
    CHECK_STATUS(vlmoe_tape_loss(tape, &loss), VLMOE_E_SHAPE);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_E_SHAPE);
    CHECK_STATUS(vlmoe_tensor_read(good, &byte, 1),
                 VLMOE_E_ARG); /* another failure does not take the text's place */
    CHECK(loss == 5.0);
    CHECK_HAS(vlmoe_context_error(ctx), "add: a is [2, 3] and b [3, 2]");
    vlmoe_tape_end(tape);
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    CHECK_TEXT(vlmoe_context_error(ctx), "");
    vlmoe_tape_end(tape);
    vlmoe_context_destroy(ctx);
}

TEST(calls_at_the_wrong_moment_are_refused)
{
    vlmoe_context *ctx = test_op_context("cpu", VLMOE_F32, 1);
    vlmoe_tape *tape = NULL, *second = NULL;
    vlmoe_tensor *w = NULL, *late = NULL;
    CHECK_STATUS(vlmoe_param_create(ctx, "w", DIMS(2, 2), &w), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &second), VLMOE_E_STATE);
    CHECK_STATUS(vlmoe_param_create(ctx, "late", DIMS(2, 2), &late), VLMOE_E_STATE);
    vlmoe_loss_add(tape, vlmoe_mse(tape, w, in(tape, 2, 2)), 1.0);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_E_STATE);
    vlmoe_tape_end(tape);
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_PREDICT, &tape), VLMOE_OK);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_E_STATE);
    vlmoe_tape_end(tape);
    vlmoe_tape_end(NULL);
    CHECK(second == NULL && late == NULL);
    vlmoe_context_destroy(ctx);
}

TEST(contexts_refuse_what_they_cannot_do)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlmoe_error error;
    params.device = "abacus";
    CHECK_STATUS(vlmoe_context_create(&params, &ctx, &error), VLMOE_E_UNSUPPORTED);
    CHECK_HAS(error.text, "abacus");
    params.device = "cpu";
    params.compute = VLMOE_I32;
    CHECK_STATUS(vlmoe_context_create(&params, &ctx, &error), VLMOE_E_DTYPE);
    params.compute = VLMOE_F32;
    params.n_threads = -1;
    CHECK_STATUS(vlmoe_context_create(&params, &ctx, &error), VLMOE_E_ARG);
    params.n_threads = 1;
    params.struct_size = 1;
    CHECK_STATUS(vlmoe_context_create(&params, &ctx, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "VLMOE_CONTEXT_PARAMS");
    params.struct_size = sizeof params;
    params.step_bytes = SIZE_MAX / 4;
    CHECK_STATUS(vlmoe_context_create(&params, &ctx, NULL), VLMOE_E_NOMEM);
    CHECK(ctx == NULL);
}
