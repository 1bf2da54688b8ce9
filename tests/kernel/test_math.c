/* kernels/math: published known answers, and rounding at the points where it can go wrong. */
#include <float.h>
#include <math.h>
#include "harness.h"
#include "math_act.h"
#include "math_bf16.h"
#include "math_philox.h"

/* Known-answer vectors published with Random123 for philox4x32, 10 rounds. */
TEST(philox_gives_the_published_words)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        math_philox(known[i].key, known[i].counter, out);
        for (int w = 0; w < 4; w++) CHECK_INT(out[w], known[i].want[w]);
    }
}

TEST(philox_element_uses_both_halves_of_key_and_index)
{
    uint32_t base[4], out[4];
    const uint64_t key = 0x299f31d0a4093822u, index = 0x85a308d3243f6a88u;
    const uint32_t key_words[2] = {0xa4093822, 0x299f31d0},
                   counter[4] = {0x243f6a88, 0x85a308d3, 0, 0};
    math_philox(key_words, counter, base);
    math_philox_at(key, index, out);
    for (int w = 0; w < 4; w++) CHECK_INT(out[w], base[w]);
}

TEST(unit_is_never_one_and_reaches_zero)
{
    CHECK(math_unit(0) == 0.0);
    CHECK(math_unit(2047) == 0.0);
    CHECK(math_unit(2048) == 0x1p-53);
    CHECK(math_unit(UINT64_MAX) == 1.0 - 0x1p-53);
}

TEST(unit_and_normal_have_the_right_moments)
{
    enum { N = 100000 };
    double unit = 0.0, first = 0.0, second = 0.0, fourth = 0.0;
    for (uint64_t i = 0; i < N; i++) {
        double z = math_philox_normal(42, i);
        unit += math_philox_unit(42, i) / N;
        first += z / N;
        second += z * z / N;
        fourth += z * z * z * z / N;
    }
    /* five standard errors: sqrt(1/12), 1, sqrt(2), sqrt(96) over sqrt(N) */
    CHECK_CLOSE(unit, 0.5, 5.0 * sqrt(1.0 / 12.0 / N));
    CHECK_CLOSE(first, 0.0, 5.0 * sqrt(1.0 / N));
    CHECK_CLOSE(second, 1.0, 5.0 * sqrt(2.0 / N));
    CHECK_CLOSE(fourth, 3.0, 5.0 * sqrt(96.0 / N));
}

TEST(normal_is_finite_at_the_ends_of_its_words)
{
    CHECK_CLOSE(math_normal(0, 0), sqrt(64.0 * log(2.0)), 1e-12);
    CHECK(math_normal(~0u, 12345) == 0.0);
}

TEST(bf16_rounds_to_nearest_even)
{
    CHECK_INT(math_bf16_from_f32(1.0f), 0x3f80);
    CHECK_INT(math_bf16_from_f32(1.0f + 0x1p-8f), 0x3f80); /* tie to the even neighbour below */
    CHECK_INT(math_bf16_from_f32(1.0f + 0x3p-8f), 0x3f82); /* tie to the even neighbour above */
    CHECK_INT(math_bf16_from_f32(1.0f + 0x1p-8f + 0x1p-23f), 0x3f81); /* just over the tie */
    CHECK_INT(math_bf16_from_f32(-1.0f - 0x1p-8f), 0xbf80);
    CHECK_INT(math_bf16_from_f32(-0.0f), 0x8000);
    CHECK_INT(math_bf16_from_f32(FLT_MAX), 0x7f80);
    CHECK_INT(math_bf16_from_f32(INFINITY), 0x7f80);
    CHECK_INT(math_bf16_from_f32(0x1p-149f), 0x0000);
}

TEST(bf16_keeps_a_nan_a_nan)
{
    CHECK_INT(math_bf16_from_f32(math_f32_from_bits(0x7f800001u)), 0x7fc0);
    CHECK_INT(math_bf16_from_f32(math_f32_from_bits(0xffffffffu)), 0xffff);
    CHECK(isnan(math_bf16_to_f32(math_bf16_from_f64(NAN))));
}

TEST(bf16_survives_a_round_trip_of_every_value)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = math_bf16_to_f32((uint16_t)bits);
        if (!isnan(value)) CHECK_INT(math_bf16_from_f32(value), bits);
        if (!isnan(value)) CHECK_INT(math_bf16_from_f64(value), bits);
    }
}

/* 1 + 2^-8 is a tie in bf16; 2^-40 more or less is invisible in f32, where it would round to that
 * tie. */
TEST(bf16_from_f64_rounds_once)
{
    CHECK_INT(math_bf16_from_f64(1.0 + 0x1p-8), 0x3f80);
    CHECK_INT(math_bf16_from_f64(1.0 + 0x1p-8 + 0x1p-40), 0x3f81);
    CHECK_INT(math_bf16_from_f64(1.0 + 0x3p-8 - 0x1p-40), 0x3f81);
    CHECK_INT(math_bf16_from_f64(-1.0 - 0x1p-8 - 0x1p-40), 0xbf81);
    CHECK_INT(math_bf16_from_f64(1e300), 0x7f80);
    CHECK_INT(math_bf16_from_f64(1e-300), 0x0000);
}

TEST(gelu_and_its_slope_match_published_points)
{
    CHECK(math_gelu(0.0) == 0.0);
    CHECK_CLOSE(math_gelu(1.0), 0.84134474606854294859, 1e-16);         /* Phi(1) */
    CHECK_CLOSE(math_gelu(-1.0) / -0.15865525393145705142, 1.0, 1e-15); /* -(1 - Phi(1)) */
    CHECK_CLOSE(math_gelu(-10.0) / -7.6198530241605260660e-23, 1.0,
                1e-14); /* relative accuracy in the tail */
    for (double x = -4.0; x <= 4.0; x += 0.37) {
        const double h = 1e-5;
        CHECK_CLOSE(math_gelu_slope(x), (math_gelu(x + h) - math_gelu(x - h)) / (2 * h), 1e-9);
        CHECK_CLOSE(math_tanh_slope(x), (tanh(x + h) - tanh(x - h)) / (2 * h), 1e-9);
        /* the float forms: Phi and x phi are two terms of at most 1 and 0.25 */
        CHECK_CLOSE(math_gelu_f((float)x), math_gelu((float)x), 8 * 0x1p-24 * fabs(x));
        CHECK_CLOSE(math_gelu_slope_f((float)x), math_gelu_slope((float)x),
                    4 * (2 + x * x / 2) * 0x1p-24);
        CHECK_CLOSE(math_tanh_slope_f((float)x), math_tanh_slope((float)x), 8 * 0x1p-24);
    }
}
