/* Gradient cases of losses against classes with scores, of similarities, means of rows and views of another shape. */
#include "gradients.h"

/* Rows of two classes, one, none, and one class twice. */
static vlmoe_tensor *class_loss(vlmoe_tape *tape, vlmoe_tensor *logits, int kind, double smoothing)
{
    static const int32_t offset[] = {0, 2, 3, 3, 5}, label[] = {4, 1, 0, 2, 2};
    static const double score[] = {1.0, 0.3, 0.6, 0.25, 0.5}, weight[] = {0.3, 2.0, 5.0, -1.0};
    const vlm_class_targets targets = {.kind = kind,
                                       .smoothing = smoothing,
                                       .d_offset = case_ints(tape, offset, 5),
                                       .d_label = case_ints(tape, label, 5),
                                       .d_score = case_wide(tape, score, 5),
                                       .d_row_weight = case_wide(tape, weight, 4)};
    return vlm_class_loss(tape, logits, &targets, NULL);
}

static vlmoe_tensor *softmax_classes(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return class_loss(tape, p[0], VLMK_CLASS_SOFTMAX, 0.0);
}

static vlmoe_tensor *softmax_smoothed(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return class_loss(tape, p[0], VLMK_CLASS_SOFTMAX, 0.2);
}

static vlmoe_tensor *sigmoid_classes(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return class_loss(tape, p[0], VLMK_CLASS_SIGMOID, 0.0);
}

/* Logits that nobody else reads: their block becomes their gradient. */
static vlmoe_tensor *classes_in_place(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *logits = vlmoe_linear_no_bias(tape, p[0], p[1], VLMOE_ACT_NONE);
    vlmoe_tensor *loss = class_loss(tape, logits, VLMK_CLASS_SOFTMAX, 0.1);
    vlm_tape_release(tape, logits);
    return loss;
}

/* exp(s) a b^T and its transpose, both from the same activations: a weight that is an activation, read twice. */
static vlmoe_tensor *similarity(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    const vlm_linear_opts opts = {.out_dtype = VLMOE_F64};
    vlmoe_tensor *a = vlm_l2_norm(tape, p[0], 1e-12), *b = vlm_l2_norm(tape, p[1], 1e-12);
    vlmoe_tensor *ab = vlm_temper(tape, vlm_linear(tape, a, b, NULL, &opts), p[2]),
                 *ba = vlm_temper(tape, vlm_linear(tape, b, a, NULL, &opts), p[2]);
    vlm_tape_release(tape, a);
    vlm_tape_release(tape, b);
    return ab && ba ? vlmoe_add(tape, ab, ba) : NULL;
}

/* Only the scale is learned, then only what it scales: in either case the other gets nothing. */
static vlmoe_tensor *temper_parameter(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_temper(tape, p[0], p[1]);
}

/* Means of two rows and one; row 1 belongs to nobody, target 1 has no rows. */
static vlmoe_tensor *mean_of_rows(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t index[] = {0, -1, 2, 0, 2};
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    return vlmoe_add(tape, vlm_scatter_sum(tape, x, case_ints(tape, index, 5), 3, 0.5),
                     vlm_scatter_sum(tape, x, case_ints(tape, index, 5), 3, 1.0));
}

/* Rows 2i and 2i + 1 side by side, of an activation and of a parameter. */
static vlmoe_tensor *rows_side_by_side(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    vlmoe_tensor *wide =
        vlmoe_linear_no_bias(tape, vlm_reshape_view(tape, x, 2), p[1], VLMOE_ACT_TANH);
    return vlmoe_linear_no_bias(tape, wide, vlm_reshape_view(tape, p[2], 3), VLMOE_ACT_NONE);
}

const op_case class_cases[] = {
    {"class_loss", "softmax, several classes", softmax_classes, .n_params = 1,
     .param = {{2, {4, 5}}}},
    {"class_loss", "softmax, smoothed", softmax_smoothed, .n_params = 1, .param = {{2, {4, 5}}}},
    {"class_loss", "sigmoid", sigmoid_classes, .n_params = 1, .param = {{2, {4, 5}}}},
    {"class_loss", "in place of the logits", classes_in_place, .n_params = 2,
     .param = {{2, {4, 3}}, {2, {5, 3}}}},
    {"temper", "similarity of two activations", similarity, .n_params = 3,
     .param = {{2, {3, 4}}, {2, {3, 4}}, {1, {1}, 0.5}}},
    {"temper", "of a parameter", temper_parameter, .n_params = 2,
     .param = {{2, {2, 3}}, {1, {1}, -0.5}}},
    {"scatter_sum", "means, a row of nobody, a target without rows", mean_of_rows, .n_params = 1,
     .param = {{2, {5, 3}}}},
    {"linear", "rows side by side", rows_side_by_side, .n_params = 3,
     .param = {{2, {4, 3}}, {2, {2, 6}}, {2, {2, 3}}}},
};
const int n_class_cases = VLM_COUNT(class_cases);
