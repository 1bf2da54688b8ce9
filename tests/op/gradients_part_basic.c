/* Gradient cases of products, norms, element-wise operations, and of inputs used more than once. */
#include "gradients.h"

static vlmoe_tensor *cast_to_bf16(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_cast(tape, vlmoe_cast(tape, p[0], VLMOE_BF16), VLMOE_F64);
}

/* Two gradients meet in bf16 memory. */
static vlmoe_tensor *cast_used_twice(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *narrow = vlmoe_cast(tape, p[0], VLMOE_BF16);
    return vlmoe_add(tape, vlmoe_cast(tape, narrow, VLMOE_F64),
                     vlmoe_cast(tape, narrow, VLMOE_F64));
}

static vlmoe_tensor *linear_plain(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_linear(tape, p[0], p[1], p[2], VLMOE_ACT_NONE);
}

static vlmoe_tensor *linear_gelu(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_linear(tape, p[0], p[1], p[2], VLMOE_ACT_GELU);
}

static vlmoe_tensor *linear_tanh(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_linear_no_bias(tape, p[0], p[1], VLMOE_ACT_TANH);
}

/* Group 1 has no rows; all rows belong to a group. */
static vlmoe_tensor *linear_grouped(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t offset[] = {0, 3, 3, 5};
    const vlm_linear_opts opts = {.act = VLMOE_ACT_GELU,
                                  .out_dtype = VLMOE_F64,
                                  .n_groups = 3,
                                  .d_offset = case_ints(tape, offset, 4)};
    return vlm_linear(tape, p[0], p[1], p[2], &opts);
}

static vlmoe_tensor *weight_used_twice(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *h = vlmoe_linear(tape, p[0], p[1], p[2], VLMOE_ACT_TANH);
    return vlmoe_linear(tape, h, p[1], p[2], VLMOE_ACT_NONE);
}

/* The weight once, the bias twice: what the kernel adds to differs. */
static vlmoe_tensor *bias_used_twice(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *h = vlmoe_linear(tape, p[0], p[1], p[2], VLMOE_ACT_TANH);
    return vlmoe_linear(tape, h, p[3], p[2], VLMOE_ACT_NONE);
}

/* Rows of one stream through two layers, as modalities are; the rows between them through none; and the whole once more. */
static vlmoe_tensor *views_of_activation(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    vlm_residual_part part[2] = {{.begin = 3}, {.begin = 0}};
    part[0].y = vlmoe_linear_no_bias(tape, vlm_rows_view(tape, x, 3, 2), p[1], VLMOE_ACT_GELU);
    part[1].y = vlmoe_linear_no_bias(tape, vlm_rows_view(tape, vlm_rows_view(tape, x, 0, 3), 0, 2),
                                     p[2], VLMOE_ACT_GELU);
    return vlm_residual(tape, x, 2, part, NULL);
}

/* Nothing else reads x: the gradient of its other rows is zero. */
static vlmoe_tensor *view_alone(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlmoe_linear_no_bias(tape, p[0], p[1], VLMOE_ACT_NONE);
    return vlmoe_linear_no_bias(tape, vlm_rows_view(tape, x, 1, 3), p[2], VLMOE_ACT_GELU);
}

static vlmoe_tensor *views_of_parameter(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *top = vlm_rows_view(tape, p[1], 0, 3), *bottom = vlm_rows_view(tape, p[1], 3, 3);
    return vlmoe_linear_no_bias(tape, vlmoe_linear_no_bias(tape, p[0], top, VLMOE_ACT_TANH), bottom,
                                VLMOE_ACT_NONE);
}

/* An activation that three nodes read. */
static vlmoe_tensor *activation_used_thrice(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_GELU);
    vlmoe_tensor *sum = vlmoe_add(tape, x, vlm_l2_norm(tape, x, 1e-12));
    return vlmoe_add(tape, sum, vlmoe_linear_no_bias(tape, x, p[1], VLMOE_ACT_TANH));
}

/* A node that leads nowhere is no use of its parameter's share. */
static vlmoe_tensor *dead_end(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *used = vlmoe_linear_no_bias(tape, p[0], p[1], VLMOE_ACT_TANH);
    (void)vlmoe_linear_no_bias(tape, p[0], p[1], VLMOE_ACT_GELU);
    return used;
}

static vlmoe_tensor *layer_norm(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_layer_norm(tape, p[0], p[1], p[2], 1e-5, VLMOE_F64);
}

static vlmoe_tensor *layer_norm_gain_twice(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_layer_norm(tape, vlmoe_layer_norm(tape, p[0], p[1], p[2], 1e-5, VLMOE_F64), p[1],
                            p[3], 1e-5, VLMOE_F64);
}

static vlmoe_tensor *l2_norm(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_l2_norm(tape, p[0], 1e-12);
}

/* Rows shorter than eps are divided by eps. */
static vlmoe_tensor *l2_norm_short(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_l2_norm(tape, p[0], 10.0);
}

static vlmoe_tensor *add_two(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_add(tape, p[0], p[1]);
}

static vlmoe_tensor *add_to_itself(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    return vlmoe_add(tape, vlmoe_add(tape, x, x), p[0]);
}

static vlmoe_tensor *act_gelu(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_act(tape, p[0], VLMOE_ACT_GELU);
}

static vlmoe_tensor *act_tanh(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_act(tape, p[0], VLMOE_ACT_TANH);
}

static vlmoe_tensor *dropout(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlmoe_dropout(tape, p[0], 0.4, 3);
}

static vlmoe_tensor *dropout_of_activation(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    return vlmoe_add(tape, vlmoe_dropout(tape, x, 0.4, 3), vlmoe_dropout(tape, x, 0.4, 4));
}

const op_case basic_cases[] = {
    {"cast", "to bf16 and back", cast_to_bf16, .on_grid = true, .n_params = 1,
     .param = {{2, {2, 4}}}},
    {"cast", "used twice", cast_used_twice, .on_grid = true, .n_params = 1, .param = {{2, {2, 4}}}},
    {"linear", "three axes, bias", linear_plain, .n_params = 3,
     .param = {{3, {2, 2, 3}}, {2, {4, 3}}, {1, {4}}}},
    {"linear", "gelu", linear_gelu, .n_params = 3, .param = {{2, {3, 4}}, {2, {2, 4}}, {1, {2}}}},
    {"linear", "tanh, no bias", linear_tanh, .n_params = 2, .param = {{2, {3, 4}}, {2, {2, 4}}}},
    {"linear", "groups", linear_grouped, .n_params = 3,
     .param = {{2, {5, 3}}, {3, {3, 2, 3}}, {2, {3, 2}}}},
    {"linear", "one weight in two layers", weight_used_twice, .n_params = 3,
     .param = {{2, {3, 3}}, {2, {3, 3}}, {1, {3}}}},
    {"linear", "one bias in two layers", bias_used_twice, .n_params = 4,
     .param = {{2, {3, 3}}, {2, {3, 3}}, {1, {3}}, {2, {3, 3}}}},
    {"linear", "views of an activation", views_of_activation, .n_params = 3,
     .param = {{2, {5, 3}}, {2, {3, 3}}, {2, {3, 3}}}},
    {"linear", "one view of an activation", view_alone, .n_params = 3,
     .param = {{2, {5, 3}}, {2, {3, 3}}, {2, {3, 3}}}},
    {"linear", "views of a parameter", views_of_parameter, .n_params = 2,
     .param = {{2, {2, 3}}, {2, {6, 3}}}},
    {"linear", "a node that leads nowhere", dead_end, .n_params = 2,
     .param = {{2, {2, 3}}, {2, {3, 3}}}},
    {"add", "an activation that three nodes read", activation_used_thrice, .n_params = 2,
     .param = {{2, {2, 3}}, {2, {3, 3}}}},
    {"layer_norm", "rows", layer_norm, .n_params = 3,
     .param = {{2, {3, 4}}, {1, {4}, 1.0}, {1, {4}}}},
    {"layer_norm", "one gain in two norms", layer_norm_gain_twice, .n_params = 4,
     .param = {{2, {3, 4}}, {1, {4}, 2.0}, {1, {4}}, {1, {4}}}},
    {"l2_norm", "rows", l2_norm, .n_params = 1, .param = {{2, {3, 4}}}},
    {"l2_norm", "short rows", l2_norm_short, .n_params = 1, .param = {{2, {3, 4}}}},
    {"add", "two inputs", add_two, .n_params = 2, .param = {{2, {2, 3}}, {2, {2, 3}}}},
    {"add", "one input twice", add_to_itself, .n_params = 1, .param = {{2, {2, 3}}}},
    {"act", "gelu", act_gelu, .n_params = 1, .param = {{2, {2, 5}}}},
    {"act", "tanh", act_tanh, .n_params = 1, .param = {{2, {2, 5}}}},
    {"dropout", "of a parameter", dropout, .n_params = 1, .param = {{2, {4, 4}}}},
    {"dropout", "two draws of one activation", dropout_of_activation, .n_params = 1,
     .param = {{2, {4, 4}}}},
};
const int n_basic_cases = VLM_COUNT(basic_cases);
