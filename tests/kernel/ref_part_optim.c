/* Reference optimiser and elementwise kernels against values worked out by hand. */
#include "math_philox.h"
#include "test_ref.h"

/* First step from zero moments: m / c1 = g, v / c2 = g^2, so the step is lr g / (|g| + eps) after
 * the decay. */
TEST(ref_adamw_first_step_is_decay_then_a_signed_step)
{
    double param[] = {2.0, -1.0, 3.0}, m[3] = {0}, v[3] = {0};
    const double grad[] = {4.0, -0.5, 0.0}, lr = 0.1, decay = 0.05, eps = 1e-3;
    float copy[3];
    vlmk_adamw_args a = {.n = 3,
                         .param = param,
                         .grad = grad,
                         .m = m,
                         .v = v,
                         .copy = copy,
                         .copy_dtype = VLMOE_F32,
                         .moment_dtype = VLMOE_F64,
                         .lr = lr,
                         .beta1 = 0.9,
                         .beta2 = 0.999,
                         .eps = eps,
                         .decay = decay,
                         .correction1 = 1.0 - 0.9,
                         .correction2 = 1.0 - 0.999,
                         .grad_scale = 0.5};
    CHECK_STATUS(vlmk_ref_adamw(ref_env(), &a), VLMOE_OK);
    CHECK_CLOSE(param[0], 2.0 * (1.0 - 0.005) - 0.1 * 2.0 / (2.0 + eps), 1e-12);
    CHECK_CLOSE(param[1], -1.0 * (1.0 - 0.005) + 0.1 * 0.25 / (0.25 + eps), 1e-12);
    CHECK_CLOSE(param[2], 3.0 * (1.0 - 0.005), 1e-15);
    CHECK_CLOSE(m[0], 0.2, 1e-15);
    CHECK_CLOSE(v[0], 0.004, 1e-15);
    for (int i = 0; i < 3; i++) CHECK(copy[i] == (float)param[i]);
}

/* Two steps against the textbook recursion with explicit bias-corrected moments. */
TEST(ref_adamw_second_step_uses_both_moments)
{
    double param[] = {1.0}, m[1] = {0}, v[1] = {0}, want = 1.0, first = 0.0, second = 0.0;
    const double grads[] = {0.3, -0.7};
    for (int step = 1; step <= 2; step++) {
        double g = grads[step - 1];
        vlmk_adamw_args a = {.n = 1,
                             .param = param,
                             .grad = &g,
                             .m = m,
                             .v = v,
                             .moment_dtype = VLMOE_F64,
                             .lr = 0.01,
                             .beta1 = 0.9,
                             .beta2 = 0.98,
                             .eps = 1e-6,
                             .correction1 = 1.0 - pow(0.9, step),
                             .correction2 = 1.0 - pow(0.98, step),
                             .grad_scale = 1.0};
        CHECK_STATUS(vlmk_ref_adamw(ref_env(), &a), VLMOE_OK);
        first = 0.9 * first + 0.1 * g;
        second = 0.98 * second + 0.02 * g * g;
        want -= 0.01 * (first / (1.0 - pow(0.9, step))) /
                (sqrt(second / (1.0 - pow(0.98, step))) + 1e-6);
    }
    CHECK_CLOSE(param[0], want, 1e-14);
}

TEST(ref_square_sum_starts_a_new_block_every_4096)
{
    static double x[4099];
    double partial[2];
    for (int i = 0; i < 4099; i++) x[i] = i < 4096 ? 1.0 : 2.0;
    vlmk_square_sum_args a = {.n = 4099, .x = x, .partial = partial};
    CHECK_STATUS(vlmk_ref_square_sum(ref_env(), &a), VLMOE_OK);
    CHECK(partial[0] == 4096.0 && partial[1] == 12.0);
}

TEST(ref_convert_goes_through_every_pair)
{
    const double x[] = {0.5, -3.0, 0.1};
    float f[3];
    uint16_t b[3];
    double back[3];
    vlmk_convert_args to_f = {
        .n = 3, .src_dtype = VLMOE_F64, .dst_dtype = VLMOE_F32, .src = x, .dst = f};
    vlmk_convert_args to_b = {
        .n = 3, .src_dtype = VLMOE_F32, .dst_dtype = VLMOE_BF16, .src = f, .dst = b};
    vlmk_convert_args to_d = {
        .n = 3, .src_dtype = VLMOE_BF16, .dst_dtype = VLMOE_F64, .src = b, .dst = back};
    CHECK_STATUS(vlmk_ref_convert(ref_env(), &to_f), VLMOE_OK);
    CHECK_STATUS(vlmk_ref_convert(ref_env(), &to_b), VLMOE_OK);
    CHECK_STATUS(vlmk_ref_convert(ref_env(), &to_d), VLMOE_OK);
    CHECK(f[2] == 0.1f && back[0] == 0.5 && back[1] == -3.0 && back[2] == 0.10009765625);
}

TEST(ref_axpy_writes_or_adds)
{
    const double src[] = {1, 2};
    double dst[] = {10, 20};
    vlmk_axpy_args a = {.n = 2, .factor = 3.0, .src = src, .dst = dst, .accumulate = 1};
    CHECK_STATUS(vlmk_ref_axpy(ref_env(), &a), VLMOE_OK);
    CHECK(dst[0] == 13.0 && dst[1] == 26.0);
    a.accumulate = 0;
    CHECK_STATUS(vlmk_ref_axpy(ref_env(), &a), VLMOE_OK);
    CHECK(dst[0] == 3.0 && dst[1] == 6.0);
}

TEST(ref_dropout_keeps_the_right_share_and_scales_it)
{
    enum { N = 10000 };
    static double x[N], y[N];
    for (int i = 0; i < N; i++) x[i] = i + 1.0;
    vlmk_dropout_args a = {.dtype = VLMOE_F64, .n = N, .p = 0.25, .key = 99, .x = x, .y = y};
    CHECK_STATUS(vlmk_ref_dropout(ref_env(), &a), VLMOE_OK);
    int kept = 0;
    for (int i = 0; i < N; i++) {
        CHECK(y[i] == 0.0 || y[i] == x[i] / 0.75);
        CHECK((y[i] != 0.0) == (math_philox_unit(99, (uint64_t)i) >= 0.25));
        kept += y[i] != 0.0;
    }
    CHECK_CLOSE(kept, 7500.0, 5.0 * sqrt(N * 0.25 * 0.75));
    a.p = 0.0;
    CHECK_STATUS(vlmk_ref_dropout(ref_env(), &a), VLMOE_OK);
    for (int i = 0; i < N; i++) CHECK(y[i] == x[i]);
}

/* 2 x 4 pixels in patches of 2: out is channel, row, column of each patch. */
TEST(ref_patchify_orders_channel_row_column)
{
    uint8_t pixels[2 * 4 * 3];
    double out[2 * 12];
    for (int i = 0; i < 24; i++) pixels[i] = (uint8_t)(10 * i);
    vlmk_patchify_args a = {.out_dtype = VLMOE_F64,
                            .B = 1,
                            .height = 2,
                            .width = 4,
                            .patch = 2,
                            .pixels = pixels,
                            .mean = {0.5, 0.25, 0.0},
                            .deviation = {0.5, 1.0, 2.0},
                            .out = out};
    CHECK_STATUS(vlmk_ref_patchify(ref_env(), &a), VLMOE_OK);
    CHECK(out[0] == (0.0 - 0.5) / 0.5); /* patch 0, channel 0, (0, 0) */
    CHECK_CLOSE(out[3], (150.0 / 255.0 - 0.5) / 0.5,
                1e-15);                                   /* patch 0, channel 0, (1, 1): pixel 5 */
    CHECK_CLOSE(out[4 + 2], 130.0 / 255.0 - 0.25, 1e-15); /* patch 0, channel 1, (1, 0): pixel 4 */
    CHECK_CLOSE(out[12 + 8], 80.0 / 255.0 / 2.0, 1e-15);  /* patch 1, channel 2, (0, 0): pixel 2 */
}
