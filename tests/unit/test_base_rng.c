/* Draws by counter: known answers, ranges, independence of order, permutations. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base_rng.h"
#include "math_philox.h"
#include "harness.h"

TEST(philox_gives_the_published_words)
{
    static const struct {
        uint32_t key[2], counter[4], want[4];
    } known[] = {
        /* the authors' kat_vectors, philox4x32 10 */
        {{0, 0}, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u}, {~0u, ~0u, ~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0xa4093822, 0x299f31d0},
         {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < VLM_COUNT(known); i++) {
        uint32_t got[4];
        math_philox(known[i].key, known[i].counter, got);
        CHECK(memcmp(got, known[i].want, sizeof got) == 0);
    }
}

TEST(a_place_always_gives_the_same_draws)
{
    vlm_rng a = vlm_rng_at(1, VLM_STREAM_TEST, 2, 3, 4),
            b = vlm_rng_at(1, VLM_STREAM_TEST, 2, 3, 4);
    for (int i = 0; i < 100; i++) CHECK_INT(vlm_rng_u32(&a), vlm_rng_u32(&b));
    vlm_rng fork = a;
    CHECK_INT(vlm_rng_u32(&fork), vlm_rng_u32(&a));
}

/* Part of every run's numbers: these may never change. The values come from a second
 * implementation, in Python. */
TEST(draws_are_pinned)
{
    vlm_rng rng = vlm_rng_at(42, VLM_STREAM_SHUFFLE, 1, 2, 3);
    static const uint32_t want[] = {0x71accd00, 0xe40a173b, 0xd833202b,
                                    0xdbd623a8, 0x8f437cfb, 0x30a1f097};
    for (int i = 0; i < VLM_COUNT(want); i++) CHECK_INT(vlm_rng_u32(&rng), want[i]);
    CHECK(vlm_rng_key(42, VLM_STREAM_DROPOUT, 1, 2, 3) == UINT64_C(0xd661cffc591e3b8));
    CHECK_INT(vlm_rng_permute(42, 1000, 0), 146);
}

TEST(every_argument_of_a_place_matters)
{
    static const uint64_t places[][5] = {
        {1, 4, 0, 0, 0},          {2, 4, 0, 0, 0},          {1, 5, 0, 0, 0},
        {1, 4, 1, 0, 0},          {1, 4, 0, 1, 0},          {1, 4, 0, 0, 1},
        {1ull << 32, 4, 0, 0, 0}, {1, 4, 1ull << 32, 0, 0}, {1, 4, 0, 1ull << 32, 0},
        {1, 4, 0, 0, 1ull << 32},
    };
    uint32_t first[VLM_COUNT(places)];
    uint64_t key[VLM_COUNT(places)];
    for (int i = 0; i < VLM_COUNT(places); i++) {
        const uint64_t *p = places[i];
        vlm_rng rng = vlm_rng_at(p[0], (vlm_stream)p[1], p[2], p[3], p[4]);
        first[i] = vlm_rng_u32(&rng);
        key[i] = vlm_rng_key(p[0], (vlm_stream)p[1], p[2], p[3], p[4]);
        for (int j = 0; j < i; j++) CHECK(first[i] != first[j] && key[i] != key[j]);
    }
}

TEST(draws_below_n_are_in_range_and_even)
{
    vlm_rng rng = vlm_rng_at(7, VLM_STREAM_TEST, 0, 0, 0);
    for (int i = 0; i < 100; i++) CHECK_INT(vlm_rng_below(&rng, 1), 0);
    enum { N = 7, DRAWS = 70000 };
    int count[N] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = vlm_rng_below(&rng, N);
        CHECK(x < N);
        count[x]++;
    }
    double chi2 = 0.0;
    for (int i = 0; i < N; i++) chi2 += pow(count[i] - DRAWS / N, 2.0) / (DRAWS / N);
    CHECK(
        chi2 <
        22.46); /* 6 degrees of freedom: above by chance once in 1,000 seeds; this seed is fixed */
    int n_upper = 0; /* a modulus that is not below 2^63 would show a bias of one half */
    for (int i = 0; i < 3000; i++)
        n_upper += vlm_rng_below(&rng, UINT64_C(3) << 62) >= UINT64_C(1) << 63;
    CHECK(abs(n_upper - 1000) < 4 * sqrt(3000.0 * 2 / 9));
}

TEST(unit_draws_lie_in_the_half_open_interval)
{
    vlm_rng rng = vlm_rng_at(8, VLM_STREAM_TEST, 0, 0, 0);
    enum { DRAWS = 40000 };
    double sum = 0.0, sum2 = 0.0;
    for (int i = 0; i < DRAWS; i++) {
        double u = vlm_rng_unit(&rng);
        CHECK(u >= 0.0 && u < 1.0);
        CHECK(u * 0x1p53 == floor(u * 0x1p53));
        sum += u;
        sum2 += u * u;
    }
    /* four standard errors of the mean (1/12) and of the second moment (4/45) */
    CHECK_CLOSE(sum / DRAWS, 0.5, 4 * sqrt(1.0 / 12 / DRAWS));
    CHECK_CLOSE(sum2 / DRAWS, 1.0 / 3, 4 * sqrt(4.0 / 45 / DRAWS));
}

TEST(normal_draws_have_the_moments_of_a_normal)
{
    vlm_rng rng = vlm_rng_at(9, VLM_STREAM_TEST, 0, 0, 0);
    enum { DRAWS = 40000 };
    double moment[5] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double z = vlm_rng_normal(&rng);
        CHECK(isfinite(z));
        for (int k = 1; k <= 4; k++) moment[k] += pow(z, k) / DRAWS;
    }
    /* variances of z, z^2, z^3, z^4 are 1, 2, 15, 96 */
    CHECK_CLOSE(moment[1], 0.0, 4 * sqrt(1.0 / DRAWS));
    CHECK_CLOSE(moment[2], 1.0, 4 * sqrt(2.0 / DRAWS));
    CHECK_CLOSE(moment[3], 0.0, 4 * sqrt(15.0 / DRAWS));
    CHECK_CLOSE(moment[4], 3.0, 4 * sqrt(96.0 / DRAWS));
}

TEST(permute_is_a_bijection_for_every_small_n)
{
    for (uint64_t n = 1; n <= 200; n++) {
        bool seen[200] = {false};
        for (uint64_t i = 0; i < n; i++) {
            uint64_t to = vlm_rng_permute(n * 977, n, i);
            CHECK(to < n && !seen[to]);
            seen[to] = true;
        }
    }
}

TEST(permute_reaches_every_order_of_four_evenly)
{
    enum { KEYS = 4800 };
    int count[256] = {0};
    for (uint64_t key = 0; key < KEYS; key++) {
        int code = 0;
        for (uint64_t i = 0; i < 4; i++) code = code * 4 + (int)vlm_rng_permute(key, 4, i);
        count[code]++;
    }
    double chi2 = 0.0;
    int n_orders = 0;
    for (int i = 0; i < 256; i++) {
        if (!count[i]) continue;
        n_orders++;
        chi2 += pow(count[i] - KEYS / 24, 2.0) / (KEYS / 24);
    }
    CHECK_INT(n_orders, 24);
    CHECK(chi2 < 49.73); /* 23 degrees of freedom, one in 1,000 */
}

TEST(permute_works_up_to_the_largest_n)
{
    uint64_t a = vlm_rng_permute(5, UINT64_MAX, 0), b = vlm_rng_permute(5, UINT64_MAX, 1);
    CHECK(a != b && a < UINT64_MAX && b < UINT64_MAX);
    CHECK(a > UINT32_MAX || b > UINT32_MAX);
    CHECK(vlm_rng_permute(5, (UINT64_C(1) << 40) + 1, 3) <= UINT64_C(1) << 40);
}
