/* What operations compute, against values worked out by hand or in plain loops: how arguments reach the kernels. */
#include <math.h>
#include <string.h>
#include "harness.h"
#include "op.h"
#include "test_ops.h"

#define DIMS(...)                                                                                  \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* A recording on ref; tensors from f64 values; results read in place. */
static vlmoe_context *ctx;
static vlmoe_tape *tape;

static void begin(vlmoe_mode mode)
{
    ctx = test_op_context("ref", VLMOE_F64, 1);
    CHECK_STATUS(vlmoe_tape_begin(ctx, mode, &tape), VLMOE_OK);
}

static void end(void)
{
    vlmoe_tape_end(tape);
    vlmoe_context_destroy(ctx);
}

static vlmoe_tensor *in(int64_t rows, int64_t cols, const double *host)
{
    return vlmoe_input(tape, VLMOE_F64, DIMS(rows, cols), host);
}

static void check_values(const vlmoe_tensor *t, int64_t n, const double *want)
{
    CHECK_STATUS_E(vlmoe_tape_status(tape), VLMOE_OK, &ctx->error);
    CHECK_INT(vlm_count(t), n);
    for (int64_t i = 0; i < n; i++) CHECK_CLOSE(((const double *)t->data)[i], want[i], 1e-14);
}

TEST(row_scales_of_a_residual_are_those_of_the_base)
{
    static const double base[] = {1, 2, 3, 4, 5, 6, 7, 8}, y[] = {10, 20, 30, 40},
                        scale[] = {9, 0.5, 2, 9};
    static const double col[] = {1, -1}, want[] = {1, 2, 8, -6, 65, -74, 7, 8};
    begin(VLMOE_TRAIN);
    const vlm_residual_part part = {
        .y = in(2, 2, y), .begin = 1, .d_row_scale = vlm_tape_upload(tape, scale, sizeof scale)};
    check_values(vlm_residual(tape, in(4, 2, base), 1, &part, in(1, 2, col)), 8, want);
    end();
}

TEST(drop_path_treats_the_rows_of_a_sample_alike)
{
    enum { ROWS = 400 };
    static double zero[ROWS], one[ROWS];
    static int32_t sample[ROWS];
    for (int i = 0; i < ROWS; i++) one[i] = 1.0, sample[i] = i / 2;
    begin(VLMOE_TRAIN);
    const double *y =
        vlmoe_add_drop_path(tape, in(ROWS, 1, zero), in(ROWS, 1, one), 0.25, sample, 1)->data;
    const double *other =
        vlmoe_add_drop_path(tape, in(ROWS, 1, zero), in(ROWS, 1, one), 0.25, sample, 2)->data;
    int n_kept = 0, n_differ = 0;
    for (int i = 0; i < ROWS; i += 2) {
        CHECK(y[i] == y[i + 1] && (y[i] == 0.0 || y[i] == 1.0 / 0.75));
        n_kept += y[i] != 0.0;
        n_differ += y[i] != other[i];
    }
    CHECK_CLOSE(n_kept, 150.0, 5.0 * sqrt(200 * 0.25 * 0.75)); /* binomial, five deviations */
    CHECK(n_differ > 0);
    end();
    begin(VLMOE_PREDICT);
    check_values(vlmoe_add_drop_path(tape, in(3, 1, zero), in(3, 1, one), 0.25, sample, 1), 3, one);
    end();
}

TEST(dropout_draws_by_place_and_not_in_prediction)
{
    static double one[64];
    for (int i = 0; i < 64; i++) one[i] = 1.0;
    begin(VLMOE_TRAIN);
    vlmoe_tensor *x = in(8, 8, one), *first = vlmoe_dropout(tape, x, 0.5, 1),
                 *again = vlmoe_dropout(tape, x, 0.5, 1);
    CHECK(memcmp(first->data, again->data, sizeof one) == 0);
    CHECK(memcmp(first->data, vlmoe_dropout(tape, x, 0.5, 2)->data, sizeof one) != 0);
    vlm_tape_place(tape, 3, 0);
    CHECK(memcmp(first->data, vlmoe_dropout(tape, x, 0.5, 1)->data, sizeof one) != 0);
    vlm_tape_place(tape, 0, 1);
    CHECK(memcmp(first->data, vlmoe_dropout(tape, x, 0.5, 1)->data, sizeof one) != 0);
    CHECK(vlmoe_dropout(tape, x, 0.0, 1) == x);
    end();
    begin(VLMOE_PREDICT);
    x = in(8, 8, one);
    CHECK(vlmoe_dropout(tape, x, 0.5, 1) == x);
    end();
}

TEST(losses_are_means_over_what_counts)
{
    const double logits[] = {log(3), 0, 5, 5, 0, 0}, x[] = {1, 2, 3, 4}, y[] = {1, 0, 0, 4};
    static const int32_t target[] = {0, -1, 1}, none[] = {-1, -1, -1};
    double loss = 0.0;
    begin(VLMOE_TRAIN);
    vlmoe_tensor *l = in(3, 2, logits);
    check_values(vlmoe_cross_entropy(tape, l, target), 1,
                 (const double[]){(log(4.0 / 3.0) + log(2.0)) / 2.0});
    check_values(vlmoe_cross_entropy(tape, l, none), 1, (const double[]){0.0});
    vlmoe_tensor *mse = vlmoe_mse(tape, in(2, 2, x), in(2, 2, y));
    check_values(mse, 1, (const double[]){(4.0 + 9.0) / 4.0});
    vlmoe_loss_add(tape, mse, 2.0);
    vlmoe_loss_add(tape, mse, -0.5);
    CHECK_STATUS(vlmoe_tape_loss(tape, &loss), VLMOE_OK);
    CHECK_CLOSE(loss, 1.5 * 13.0 / 4.0, 1e-15);
    end();
}

/* Row 0: a softmax of 3/4 and 1/4 against scores 1 and 0.5; row 1 has no class. */
TEST(class_losses_are_sums_over_classes_with_scores)
{
    const double logits[] = {log(3), 0, 5, 7}, score[] = {1, 0.5}, weight[] = {2, 9};
    static const int32_t offset[] = {0, 2, 2}, label[] = {0, 1};
    begin(VLMOE_TRAIN);
    vlm_class_targets t = {.kind = VLMK_CLASS_SOFTMAX,
                           .d_offset = vlm_tape_upload(tape, offset, sizeof offset),
                           .d_label = vlm_tape_upload(tape, label, sizeof label),
                           .d_score = vlm_tape_upload(tape, score, sizeof score),
                           .d_row_weight = vlm_tape_upload(tape, weight, sizeof weight)};
    vlm_class_result result;
    double nll[] = {log(4.0 / 3.0), log(4.0)}, hard = nll[0] + 0.5 * nll[1];
    check_values(vlm_class_loss(tape, in(2, 2, logits), &t, &result), 1,
                 (const double[]){2.0 * hard});
    CHECK_INT(result.d_best[0], 0);
    CHECK_INT(result.d_best[1], 1);
    CHECK(((const double *)result.d_row_loss)[1] == 0.0);
    t.smoothing = 0.2; /* 0.8 of the above, 0.2 of the mean of both classes by the sum of scores */
    check_values(vlm_class_loss(tape, in(2, 2, logits), &t, NULL), 1,
                 (const double[]){2.0 * (0.8 * hard + 0.2 * 1.5 * (nll[0] + nll[1]) / 2.0)});
    t.kind = VLMK_CLASS_SIGMOID;
    t.smoothing = 0.0;
    double row0 = (log(4) - log(3)) + log(2), row1 = log1p(exp(5)) + log1p(exp(7));
    check_values(vlm_class_loss(tape, in(2, 2, logits), &t, NULL), 1,
                 (const double[]){2.0 * row0 + 9.0 * row1});
    end();
}

TEST(views_of_another_shape_and_means_of_rows)
{
    static const double x[] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const int32_t index[] = {1, 0, 1, -1};
    begin(VLMOE_TRAIN);
    vlmoe_tensor *t = in(4, 2, x), *wide = vlm_reshape_view(tape, t, 2);
    CHECK_INT(vlm_cols(wide), 4);
    check_values(wide, 8, x);
    check_values(vlm_scatter_sum(tape, t, vlm_tape_upload(tape, index, sizeof index), 3, 0.5), 6,
                 (const double[]){1.5, 2, 3, 4, 0, 0});
    end();
}

/* What a recording keeps nothing for cannot be differentiated, yet its draws are those of training. */
TEST(forward_only_draws_as_in_training)
{
    static double one[64];
    double drawn[64];
    for (int i = 0; i < 64; i++) one[i] = 1.0;
    begin(VLMOE_TRAIN);
    memcpy(drawn, vlmoe_dropout(tape, in(8, 8, one), 0.5, 1)->data, sizeof drawn);
    end();
    begin(VLMOE_TRAIN);
    vlm_tape_forward_only(tape);
    CHECK(memcmp(drawn, vlmoe_dropout(tape, in(8, 8, one), 0.5, 1)->data, sizeof drawn) == 0);
    CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_E_STATE);
    end();
}

TEST(cast_rounds_to_nearest_even)
{
    static const double x[] = {1.0 + 1.0 / 256, 1.0 + 3.0 / 256, -1.0 - 1.01 / 256},
                        want[] = {1.0, 1.0 + 4.0 / 256, -1.0 - 2.0 / 256};
    begin(VLMOE_TRAIN);
    check_values(vlmoe_cast(tape, vlmoe_cast(tape, in(1, 3, x), VLMOE_BF16), VLMOE_F32), 3, want);
    end();
}

TEST(gathered_rows_are_summed_over_tables)
{
    static const double a[] = {1, 2, 3, 4}, b[] = {10, 20}, want[] = {13, 24, 1, 2, 10, 20};
    static const int32_t index[2][3] = {{1, 0, -1}, {0, -1, 0}};
    begin(VLMOE_TRAIN);
    vlmoe_tensor *const table[] = {in(2, 2, a), in(1, 2, b)};
    const int32_t *d_index[] = {vlm_tape_upload(tape, index[0], 12),
                                vlm_tape_upload(tape, index[1], 12)};
    check_values(vlm_gather_sum(tape, 2, table, d_index, 3, VLMOE_F64), 6, want);
    vlmoe_tensor *narrow = vlm_gather_sum(tape, 2, table, d_index, 3, VLMOE_BF16);
    check_values(vlmoe_cast(tape, narrow, VLMOE_F32), 6, want);
    end();
}

TEST(quantise_takes_the_nearest_code)
{
    static const double z[] = {0.8, 0.6, -1, 0}, code[] = {0, 1, 1, 0, -0.6, -0.8},
                        want[] = {1, 0, -0.6, -0.8};
    const int32_t *index = NULL;
    begin(VLMOE_TRAIN);
    check_values(vlm_quantise(tape, in(2, 2, z), in(3, 2, code)->data, 3, &index), 4, want);
    CHECK(index[0] == 1 && index[1] == 2);
    end();
}

/* Token t at expert e: gate * (w2[e] gelu(w1[e] x + b1[e]) + b2[e]) with width, hidden and out all one. */
TEST(an_expert_layer_weighs_its_best_experts)
{
    static const double x[] = {1.0, -2.0, 0.5}, router[] = {0.3, -0.4, 0.9}, w1[] = {1, 2, 3},
                        b1[] = {0.1, 0.2, 0.3}, w2[] = {-1, 0.5, 2}, b2[] = {1, 2, 3};
    double want[3] = {0};
    for (int t = 0; t < 3; t++) {
        double gate[3], sum = 0.0;
        int worst = 0;
        for (int e = 0; e < 3; e++) sum += gate[e] = exp(router[e] * x[t]);
        for (int e = 1; e < 3; e++) worst = gate[e] < gate[worst] ? e : worst;
        for (int e = 0; e < 3; e++) {
            double h = w1[e] * x[t] + b1[e], gelu = 0.5 * h * (1.0 + erf(h / sqrt(2.0)));
            if (e != worst) want[t] += gate[e] / sum * (w2[e] * gelu + b2[e]);
        }
    }
    begin(VLMOE_TRAIN);
    const vlmoe_moe_weights weights = {
        in(3, 1, router), vlmoe_input(tape, VLMOE_F64, DIMS(3, 1, 1), w1), in(3, 1, b1),
        vlmoe_input(tape, VLMOE_F64, DIMS(3, 1, 1), w2), in(3, 1, b2)};
    vlmoe_moe_params params = VLMOE_MOE_PARAMS;
    params.k = 2;
    params.capacity_factor = 0.0;
    params.noise_std = 0.0;
    check_values(vlmoe_moe(tape, in(3, 1, x), &weights, &params), 3, want);
    end();
}
