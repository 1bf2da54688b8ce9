/* Words and patches that are hidden: exact counts, and draws that are as likely as the header says.
 */
#include <math.h>
#include <string.h>
#include "data_mask.h"
#include "harness.h"

enum { CLS = 1, SEP = 2, MASK = 3, N_IDS = 1000, FIRST_WORD = 500, LENGTH_MAX = 64 };

static int64_t mask_text(double rate, int64_t n, uint64_t draw, int32_t *ids, int32_t *target)
{
    const vlm_text_mask_params params = {rate, 0.1, 0.1, MASK, N_IDS};
    vlm_rng rng = vlm_rng_at(7, VLM_STREAM_TEST, draw, 0, 0);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(FIRST_WORD + i);
    if (n > 0) ids[0] = CLS;
    if (n > 1) ids[n - 1] = SEP;
    vlm_mask_text(&params, &rng, n, ids, target);
    int64_t hidden = 0;
    for (int64_t i = 0; i < n; i++) hidden += target[i] >= 0;
    return hidden;
}

TEST(text_mask_hides_the_rounded_share_and_at_least_one)
{
    int32_t ids[LENGTH_MAX], target[LENGTH_MAX];
    const struct {
        double rate;
        int64_t n, hidden;
    } cases[] = {
        {0.15, 12, 2 /* 1.5 away from 0 */},
        {0.15, 22, 3},
        {0.15, 3, 1},
        {0.01, 42, 1},
        {0.5, 12, 5},
        {1.0, 12, 10},
        {1.0, 64, 62},
        {0.0, 12, 0},
        {0.15, 2, 0},
        {1.0, 2, 0},
        {1.0, 1, 0},
        {1.0, 0, 0},
    };
    for (int i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++)
        for (uint64_t draw = 0; draw < 20; draw++)
            CHECK_INT(mask_text(cases[i].rate, cases[i].n, draw, ids, target), cases[i].hidden);
}

TEST(text_mask_targets_are_the_original_words_and_ends_stay)
{
    int32_t ids[LENGTH_MAX], target[LENGTH_MAX];
    for (uint64_t draw = 0; draw < 200; draw++) {
        mask_text(0.5, 40, draw, ids, target);
        CHECK(ids[0] == CLS && target[0] == -1);
        CHECK(ids[39] == SEP && target[39] == -1);
        for (int i = 1; i < 39; i++) {
            CHECK(target[i] == -1 || target[i] == FIRST_WORD + i);
            if (target[i] == -1) CHECK_INT(ids[i], FIRST_WORD + i);
        }
    }
}

/* A count of n draws with probability p, within 6 deviations: false alarm 2e-9, and the draws are
 * fixed. */
static void check_share(int64_t count, int64_t n, double p)
{
    CHECK_CLOSE((double)count, (double)n * p, 6.0 * sqrt((double)n * p * (1.0 - p)));
}

TEST(text_mask_is_80_10_10_and_every_position_is_as_likely)
{
    enum { DRAWS = 20000, LENGTH = 12 };
    int32_t ids[LENGTH], target[LENGTH];
    int64_t masked = 0, kept = 0, other = 0, at[LENGTH] = {0};
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        mask_text(0.3, LENGTH, draw, ids, target);
        for (int i = 0; i < LENGTH; i++) {
            if (target[i] < 0) continue;
            at[i]++;
            if (ids[i] == MASK) masked++;
            else if (ids[i] == target[i]) kept++;
            else other++;
        }
    }
    CHECK_INT(masked + kept + other, 3 * DRAWS);
    check_share(masked, 3 * DRAWS,
                0.8 + 0.1 / N_IDS); /* a random word is [MASK] or itself once in N_IDS each */
    check_share(kept, 3 * DRAWS, 0.1 + 0.1 / N_IDS);
    check_share(other, 3 * DRAWS, 0.1 * (1.0 - 2.0 / N_IDS));
    for (int i = 1; i < LENGTH - 1; i++) check_share(at[i], DRAWS, 0.3);
}

static int64_t count(const uint8_t *mask, int64_t n)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        CHECK(mask[i] <= 1);
        sum += mask[i];
    }
    return sum;
}

TEST(block_mask_has_exactly_the_rounded_share)
{
    static const int64_t grids[][2] = {{1, 1}, {2, 2}, {4, 4}, {3, 5}, {1, 9}, {14, 14}};
    static const double rates[] = {0.0, 0.1, 0.4, 0.5, 0.75, 1.0};
    uint8_t mask[196];
    for (int g = 0; g < VLM_COUNT(grids); g++)
        for (int r = 0; r < VLM_COUNT(rates); r++)
            for (uint64_t draw = 0; draw < 50; draw++) {
                vlm_rng rng = vlm_rng_at(3, VLM_STREAM_TEST, draw, 0, 0);
                int64_t n = grids[g][0] * grids[g][1];
                memset(mask, 7, sizeof mask);
                vlm_mask_blocks(grids[g][0], grids[g][1], rates[r], 0, 0.3, &rng, mask);
                CHECK_INT(count(mask, n), llround(rates[r] * (double)n));
            }
}

/* With aspect 1 and a smallest block as large as what is wanted, the mask is one square; it must
 * reach every place. */
TEST(block_mask_with_one_square_block_is_that_square_anywhere)
{
    int64_t seen[12][12] = {{0}};
    for (uint64_t draw = 0; draw < 3000; draw++) {
        uint8_t mask[196];
        vlm_rng rng = vlm_rng_at(3, VLM_STREAM_TEST, draw, 0, 0);
        vlm_mask_blocks(14, 14, 9.0 / 196.0, 9, 1.0, &rng, mask);
        CHECK_INT(count(mask, 196), 9);
        int first = 0;
        while (!mask[first]) first++;
        for (int row = 0; row < 3; row++)
            for (int col = 0; col < 3; col++) CHECK(mask[first + row * 14 + col]);
        seen[first / 14][first % 14]++;
    }
    for (int row = 0; row < 12; row++)
        for (int col = 0; col < 12; col++) CHECK(seen[row][col] > 0);
}

static int64_t hidden_neighbours(const uint8_t *mask)
{
    int64_t n = 0;
    for (int i = 0; i < 196; i++) {
        if (i % 14 < 13) n += mask[i] && mask[i + 1];
        if (i < 182) n += mask[i] && mask[i + 14];
    }
    return n;
}

/* 78 of 196 patches hidden one by one touch in 364 * (78 / 196) * (77 / 195) = 57.2 places on
 * average, so about half of such masks would fail; of masks made of blocks none may. */
TEST(block_mask_at_beits_rate_is_made_of_blocks)
{
    for (uint64_t draw = 0; draw < 300; draw++) {
        uint8_t mask[196];
        vlm_rng rng = vlm_rng_at(3, VLM_STREAM_TEST, draw, 0, 0);
        vlm_mask_blocks(14, 14, 0.4, 0, 0.3, &rng, mask);
        CHECK_INT(count(mask, 196), 78);
        CHECK(hidden_neighbours(mask) > 58);
    }
}
