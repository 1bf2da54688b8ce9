/* The schedule of draws: exact shares, whole passes, a function of the draw's number alone. */
#include <stdlib.h>
#include "data_mix.h"
#include "harness.h"

static vlm_mix make_mix(int64_t n_sets, const int64_t *sizes, const double *weights)
{
    vlm_mix mix = {.seed = 11, .stream = 2};
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_mix_init(&mix, n_sets, sizes, weights, "data.pairs", &error), VLMOE_OK,
                   &error);
    return mix;
}

static int64_t block_of(const vlm_mix *mix)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < mix->n_sets; i++) sum += mix->sets[i].weight;
    return sum;
}

TEST(mix_weights_become_the_smallest_whole_shares)
{
    const int64_t sizes[3] = {10, 20, 30};
    const double halves[3] = {0.5, 0.25, 0.25}, thirds[3] = {1, 1, 1}, tiny[3] = {1e9, 0.0, 1e-9};
    vlm_mix mix = make_mix(3, sizes, halves);
    CHECK(mix.sets[0].weight == 2 && mix.sets[1].weight == 1 && mix.sets[2].weight == 1);
    vlm_mix_fini(&mix);
    mix = make_mix(3, sizes, thirds);
    CHECK_INT(block_of(&mix), 3);
    vlm_mix_fini(&mix);
    mix = make_mix(3, sizes, NULL); /* by size */
    CHECK(mix.sets[0].weight == 1 && mix.sets[1].weight == 2 && mix.sets[2].weight == 3);
    vlm_mix_fini(&mix);
    mix = make_mix(3, sizes, tiny); /* a weight above 0 is never lost */
    CHECK(mix.sets[0].weight == 720720 && mix.sets[1].weight == 0 && mix.sets[2].weight == 1);
    vlm_mix_fini(&mix);
}

TEST(mix_shares_are_exact_in_every_block_and_each_pass_is_whole)
{
    enum { SETS = 4, BLOCKS = 40 };
    const int64_t sizes[SETS] = {7, 5, 11, 1};
    const double weights[SETS] = {3, 1, 0, 2};
    vlm_mix mix = make_mix(SETS, sizes, weights);
    const int64_t block = block_of(&mix);
    CHECK_INT(block, 6);
    int64_t drawn[SETS] = {0}, seen[SETS][16] = {{0}};
    for (int64_t n = 0; n < BLOCKS * block; n++) {
        int64_t set = -1, sample = -1;
        vlm_mix_draw(&mix, n, &set, &sample);
        CHECK(set >= 0 && set < SETS && sample >= 0 && sample < sizes[set]);
        CHECK_INT(seen[set][sample],
                  drawn[set] / sizes[set]); /* once in each pass so far, not yet in this one */
        seen[set][sample]++;
        drawn[set]++;
        if ((n + 1) % block == 0)
            for (int s = 0; s < SETS; s++)
                CHECK_INT(drawn[s], (n + 1) / block * (int64_t)weights[s]);
    }
    vlm_mix_fini(&mix);
}

TEST(mix_by_size_visits_every_sample_of_all_sets_once_a_pass)
{
    const int64_t sizes[3] = {6, 10, 4}, first[3] = {0, 6, 16};
    int64_t seen[20] = {0};
    vlm_mix mix = make_mix(3, sizes, NULL);
    for (int64_t n = 0; n < 60; n++) {
        int64_t set, sample;
        vlm_mix_draw(&mix, n, &set, &sample);
        CHECK_INT(seen[first[set] + sample]++, n / 20);
    }
    vlm_mix_fini(&mix);
}

TEST(mix_draws_do_not_depend_on_other_draws)
{
    const int64_t sizes[2] = {100, 37};
    const double weights[2] = {0.7, 0.3};
    vlm_mix mix = make_mix(2, sizes, weights), again = make_mix(2, sizes, weights);
    for (int64_t n = 0; n < 500;
         n++) { /* forwards and backwards, and the second time without the first */
        int64_t a[2], b[2];
        vlm_mix_draw(&mix, n, &a[0], &a[1]);
        for (int64_t other = 499; other >= n; other -= 83)
            vlm_mix_draw(&again, other, &b[0], &b[1]);
        vlm_mix_draw(&again, n, &b[0], &b[1]);
        CHECK(a[0] == b[0] && a[1] == b[1]);
    }
    vlm_mix_fini(&mix);
    vlm_mix_fini(&again);
}

TEST(mix_passes_differ_and_follow_the_seed)
{
    const int64_t size = 50;
    vlm_mix mix = make_mix(1, &size, NULL), other = make_mix(1, &size, NULL);
    other.seed++;
    int same_pass = 0, same_seed = 0;
    for (int64_t n = 0; n < size; n++) {
        int64_t set, a, b, c;
        vlm_mix_draw(&mix, n, &set, &a);
        vlm_mix_draw(&mix, n + size, &set, &b);
        vlm_mix_draw(&other, n, &set, &c);
        same_pass += a == b;
        same_seed += a == c;
    }
    CHECK(same_pass < size / 2); /* one place in 50 agrees by chance */
    CHECK(same_seed < size / 2);
    vlm_mix_fini(&mix);
    vlm_mix_fini(&other);
}

TEST(mix_far_draws_are_exact)
{
    const int64_t sizes[2] = {1000003, 999}, n = (int64_t)1 << 61;
    const double weights[2] = {2, 1};
    vlm_mix mix = make_mix(2, sizes, weights);
    int64_t drawn[2] = {0};
    for (int64_t i = 0; i < 999; i++) {
        int64_t set, sample;
        vlm_mix_draw(&mix, n - n % 3 + i, &set, &sample);
        CHECK(sample >= 0 && sample < sizes[set]);
        drawn[set]++;
    }
    CHECK(drawn[0] == 666 && drawn[1] == 333);
    vlm_mix_fini(&mix);
}

TEST(mix_refuses_empty_sets_and_weights)
{
    const int64_t sizes[2] = {3, 0};
    const double none[2] = {0, 0}, only_full[2] = {1, 0};
    vlm_mix mix = {0};
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_mix_init(&mix, 2, sizes, NULL, "data.pairs", &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "data.pairs: set 2 of 2");
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_mix_init(&mix, 2, sizes, none, "data.pairs", &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "data.pairs_mix");
    CHECK_STATUS(vlm_mix_init(&mix, 2, sizes, only_full, "data.pairs", NULL), VLMOE_OK);
    vlm_mix_fini(&mix);
}
