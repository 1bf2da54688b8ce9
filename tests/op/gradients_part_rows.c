/* Gradient cases of operations that move, attend over, or compare rows. */
#include "gradients.h"

static vlmoe_tensor *attention_two_sequences(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t offset[] = {0, 2, 5};
    return vlmoe_attention(tape, p[0], 2, 2, offset, 0);
}

static vlmoe_tensor *attention_causal(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t offset[] = {0, 4};
    return vlmoe_attention(tape, p[0], 1, 1, offset, 1);
}

/* Sequences of rows 4 0 3 and 2; row 1 belongs to none. */
static vlmoe_tensor *attention_scattered(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t offset[] = {0, 3, 4}, row[] = {4, 0, 3, 2};
    const vlm_attention_layout layout = {.n_seq = 2,
                                         .max_len = 3,
                                         .d_offset = case_ints(tape, offset, 3),
                                         .d_row = case_ints(tape, row, 4)};
    vlmoe_tensor *qkv = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    return vlm_attention_packed(tape, qkv, 1, &layout);
}

static vlmoe_tensor *gather_repeated(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t index[] = {2, 0, 2, -1, 3};
    return vlmoe_gather(tape, p[0], 5, index);
}

static vlmoe_tensor *gather_three_tables(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t index[3][4] = {{0, 1, 1, 3}, {-1, 0, 1, 1}, {2, 2, -1, 0}};
    vlmoe_tensor *const table[] = {p[0], vlm_act(tape, p[1], VLMOE_ACT_TANH), p[0]};
    const int32_t *d_index[3];
    for (int i = 0; i < 3; i++) d_index[i] = case_ints(tape, index[i], 4);
    return vlm_gather_sum(tape, 3, table, d_index, 4, VLMOE_F64);
}

static vlmoe_tensor *residual_plain(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_residual(tape, p[0], 1, &(vlm_residual_part){.y = p[1]}, NULL);
}

/* Three parts that leave row 2 alone, given out of order, with row scales for two and a layer scale for all. */
static vlmoe_tensor *residual_parts(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const double scale[] = {0.0, 1.25, 3.0, 0.5, 2.0, 1.5};
    const void *d_scale = case_wide(tape, scale, 6);
    const vlm_residual_part part[] = {{.y = p[1], .begin = 3, .d_row_scale = d_scale},
                                      {.y = p[2], .begin = 5},
                                      {.y = p[3], .d_row_scale = d_scale}};
    return vlm_residual(tape, p[0], 3, part, p[4]);
}

static vlmoe_tensor *residual_same_branch(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    return vlm_residual(tape, x, 1, &(vlm_residual_part){.y = x}, p[1]);
}

static vlmoe_tensor *drop_path(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t sample[] = {0, 0, 1, 2, 3, 3};
    return vlmoe_add_drop_path(tape, p[0], p[1], 0.5, sample, 8);
}

static vlmoe_tensor *cross_entropy_skipping(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t target[] = {4, -1, 0};
    return vlmoe_cross_entropy(tape, p[0], target);
}

static vlmoe_tensor *cross_entropy_weighted(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t target[] = {1, 2, -1};
    static const double weight[] = {0.3, 2.0, 5.0};
    return vlm_cross_entropy_rows(tape, p[0], case_ints(tape, target, 3),
                                  case_wide(tape, weight, 3), NULL);
}

/* Logits that a second loss reads as well. */
static vlmoe_tensor *cross_entropy_twice(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const int32_t target[] = {1, 2, 0};
    vlmoe_tensor *logits = vlmoe_linear_no_bias(tape, p[0], p[1], VLMOE_ACT_NONE);
    vlmoe_loss_add(tape, vlmoe_cross_entropy(tape, logits, target), 0.5);
    vlmoe_loss_add(tape, vlmoe_cross_entropy(tape, logits, target), 0.25);
    return logits;
}

static vlmoe_tensor *mse_weighted(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static const double weight[] = {0.3, 2.0, 0.0};
    vlmoe_tensor *target = case_constant(tape, 2, (const int64_t[]){3, 2}, 4);
    return target ? vlm_mse_rows(tape, p[0], target->data, case_wide(tape, weight, 3), NULL) : NULL;
}

static vlmoe_tensor *codes(vlmoe_tape *tape)
{
    return vlm_l2_norm(tape, case_constant(tape, 2, (const int64_t[]){3, 2}, 6), 1e-12);
}

static vlmoe_tensor *quantise(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *code = codes(tape);
    return code ? vlm_quantise(tape, p[0], code->data, 3, NULL) : NULL;
}

/* Straight through: the derivative is that of z moved by a constant to its code. z0 is the value that the first run had. */
static vlmoe_tensor *quantise_surrogate(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    static double shift[8];
    static bool is_set;
    static const int64_t dim[] = {4, 2};
    vlmoe_tensor *q = quantise(tape, p);
    if (!q) return NULL;
    for (int i = 0; i < 8 && !is_set;
         i++) { /* the step to z is part of the first call: rounding it off leaves z0 */
        double z = ((const double *)p[0]->data)[i];
        shift[i] = ((const double *)q->data)[i] - (i == 0 ? z + 1e-5 : z);
    }
    is_set = true;
    return vlmoe_add(tape, p[0], vlmoe_input(tape, VLMOE_F64, 2, dim, shift));
}

const op_case row_cases[] = {
    {"attention", "two sequences, two heads", attention_two_sequences, .n_params = 1,
     .param = {{2, {5, 12}}}},
    {"attention", "causal", attention_causal, .n_params = 1, .param = {{2, {4, 6}}}},
    {"attention", "scattered rows, one of no sequence", attention_scattered, .n_params = 1,
     .param = {{2, {5, 6}}}},
    {"gather_sum", "repeated rows and none", gather_repeated, .n_params = 1,
     .param = {{2, {4, 3}}}},
    {"gather_sum", "three tables, one of them twice", gather_three_tables, .n_params = 2,
     .param = {{2, {4, 3}}, {2, {2, 3}}}},
    {"residual", "plain", residual_plain, .n_params = 2, .param = {{2, {3, 2}}, {2, {3, 2}}}},
    {"residual", "three parts", residual_parts, .n_params = 5,
     .param = {{2, {6, 2}}, {2, {2, 2}}, {2, {1, 2}}, {2, {2, 2}}, {1, {2}}}},
    {"residual", "base is the branch", residual_same_branch, .n_params = 2,
     .param = {{2, {3, 2}}, {1, {2}}}},
    {"residual", "drop path", drop_path, .n_params = 2, .param = {{2, {6, 2}}, {2, {6, 2}}}},
    {"cross_entropy", "skipped rows", cross_entropy_skipping, .n_params = 1,
     .param = {{2, {3, 5}}}},
    {"cross_entropy", "row weights", cross_entropy_weighted, .n_params = 1, .param = {{2, {3, 4}}}},
    {"cross_entropy", "logits read by three losses", cross_entropy_twice, .n_params = 2,
     .param = {{2, {3, 2}}, {2, {3, 2}}}},
    {"mse", "row weights", mse_weighted, .n_params = 1, .param = {{2, {3, 2}}}},
    {"quantise", "straight through", quantise, .numeric = quantise_surrogate, .n_params = 1,
     .param = {{2, {4, 2}}}},
};
const int n_row_cases = VLM_COUNT(row_cases);
