/* Groups of training: what is in them, and that they depend on config, seed and position alone. */
#include <math.h>
#include "source_fixture.h"

static const char *const PLAIN[] = {"data.crop_min=1", "data.flip=0", "data.jitter=0", NULL};

/* Hashes of the next n groups, which must be those from step on. */
static void hash_run(vlm_source *source, int64_t step, int64_t n, uint64_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        const vlm_group *group = next(source);
        CHECK(group->step == step + i / 2 && group->index == i % 2);
        out[i] = hash_group(group);
    }
}

TEST(source_group_has_its_samples_in_the_order_of_the_header)
{
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, PLAIN);
    CHECK_INT(vlm_source_samples(source, IMAGES), N_IMAGES);
    CHECK_INT(vlm_source_samples(source, TEXTS), N_TEXTS);
    CHECK_INT(vlm_source_samples(source, PAIRS), N_PAIRS);
    for (int step = 0; step < 20; step++) {
        const vlm_group *group = next(source);
        CHECK(group->n_images == 4 && group->n_pairs == 3 && group->n_texts == 5);
        CHECK(group->image_size == SIDE && group->n_patches == PATCHES && group->n_cut == 0);
        for (int64_t i = 0; i < 7; i++) {
            check_picture(group, i, group->sample[i] + (i < 4 ? 0 : 100));
            CHECK_INT(count_mask(group, i), 6); /* 0.4 * 16 */
        }
        CHECK_INT(group->text_offset[0], 0);
        for (int64_t t = 0; t < 8; t++) {
            double rate = t < 3 ? 0.5 : 0.15;
            CHECK_INT(check_text(group, t, group->sample[4 + t]),
                      VLM_MAX(1, llround(rate * (double)words(group, t))));
        }
        CHECK_INT(group->text_offset[8], group->n_tokens);
    }
    vlm_source_close(source);
}

/* By size, the two image folders are one set of 11: groups of 4 in 11 groups see each picture 4
 * times, once a pass. */
TEST(source_pass_holds_every_sample_once)
{
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, NULL);
    int64_t images[N_IMAGES] = {0}, texts[N_TEXTS] = {0}, pairs[N_PAIRS] = {0}, n_images = 0,
            n_texts = 0, n_pairs = 0;
    for (int g = 0; g < 39; g++) {
        const vlm_group *group = next(source);
        for (int64_t i = 0; i < 4; i++)
            CHECK_INT(images[group->sample[i]]++, n_images++ / N_IMAGES);
        for (int64_t i = 0; i < 3; i++)
            CHECK_INT(pairs[group->sample[4 + i]]++, n_pairs++ / N_PAIRS);
        for (int64_t i = 0; i < 5; i++)
            CHECK_INT(texts[group->sample[7 + i]]++, n_texts++ / N_TEXTS);
    }
    vlm_source_close(source);
}

TEST(source_groups_do_not_depend_on_threads_or_cache)
{
    enum { N = 24 };
    uint64_t want[N], got[N];
    static const char *const ways[][4] = {
        {"data.workers=3", NULL},
        {"data.workers=3", "data.prefetch=1", NULL},
        {"data.workers=8", "data.prefetch=9", "data.cache=false", NULL},
        {"data.cache_mib=0", NULL},
    };
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, KEYS("data.workers=1"));
    hash_run(source, 0, N, want);
    vlm_source_close(source);
    for (int i = 0; i < VLM_COUNT(ways); i++) {
        source = open_source(VLM_SOURCE_TRAIN, ways[i]);
        hash_run(source, 0, N, got);
        CHECK(memcmp(want, got, sizeof want) == 0);
        CHECK(vlm_source_wait_seconds(source) >= 0.0);
        vlm_source_close(source);
    }
    source = open_source(VLM_SOURCE_TRAIN, KEYS("run.seed=6"));
    hash_run(source, 0, N, got);
    for (int i = 0; i < N; i++) CHECK(want[i] != got[i]);
    vlm_source_close(source);
}

TEST(source_seek_equals_the_straight_run)
{
    enum { N = 24 };
    uint64_t want[N], got[N];
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, KEYS("data.workers=3"));
    hash_run(source, 0, N, want);
    static const int64_t steps[] = {5, 0, 11, 11, 3};
    for (int i = 0; i < VLM_COUNT(steps); i++) {
        CHECK_STATUS(vlm_source_seek(source, steps[i], NULL), VLMOE_OK);
        hash_run(source, steps[i], N - 2 * steps[i], got);
        CHECK(memcmp(want + 2 * steps[i], got, (size_t)(N - 2 * steps[i]) * sizeof *got) == 0);
    }
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_source_seek(source, -1, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "step -1");
    vlm_source_close(source);
    source = open_source(VLM_SOURCE_TRAIN, NULL); /* before the first next, as a resumed run does */
    CHECK_STATUS(vlm_source_seek(source, 7, NULL), VLMOE_OK);
    hash_run(source, 7, 4, got);
    CHECK(memcmp(want + 14, got, 4 * sizeof *got) == 0);
    vlm_source_close(source);
}

TEST(source_augments_in_training_and_differently_each_time)
{
    vlm_source *plain = open_source(VLM_SOURCE_TRAIN, PLAIN),
               *rich = open_source(VLM_SOURCE_TRAIN, NULL);
    static uint8_t seen[8][PIXELS];
    int n_seen = 0;
    for (int g = 0; g < 30 && n_seen < 8; g++) {
        const vlm_group *a = next(plain), *b = next(rich);
        for (int i = 0; i < 4; i++) {
            CHECK_INT(a->sample[i],
                      b->sample[i]); /* order and augmentation draw from streams of their own */
            if (a->sample[i] != 3 || n_seen == 8) continue;
            CHECK(memcmp(a->pixels + i * PIXELS, b->pixels + i * PIXELS, PIXELS) != 0);
            memcpy(seen[n_seen++], b->pixels + i * PIXELS, PIXELS);
        }
    }
    CHECK_INT(n_seen, 8);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < i; j++) CHECK(memcmp(seen[i], seen[j], PIXELS) != 0);
    vlm_source_close(plain);
    vlm_source_close(rich);
}

TEST(source_mixes_sets_by_weight)
{
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, KEYS("data.images_mix=[1,3]"));
    for (int g = 0; g < 10; g++) {
        const vlm_group *group = next(source);
        int64_t from_a = 0;
        for (int i = 0; i < 4; i++) from_a += group->sample[i] < 7;
        CHECK_INT(from_a, 1); /* a block of 4 draws has one of the first folder */
    }
    vlm_source_close(source);
}

TEST(source_hides_nothing_for_an_objective_that_is_off)
{
    vlm_source *source = open_source(
        VLM_SOURCE_TRAIN, KEYS("objective.pair_text_weight=0", "objective.image_weight=0"));
    const vlm_group *group = next(source);
    CHECK(group->n_images == 0 && group->n_pairs == 3 && group->n_texts == 5);
    for (int64_t i = 0; i < 3; i++) {
        CHECK_INT(count_mask(group, i), 6);
        CHECK_INT(check_text(group, i, group->sample[i]), 0);
    }
    vlm_source_close(source);
    source =
        open_source(VLM_SOURCE_TRAIN, KEYS("objective.pair_image_weight=0",
                                           "objective.text_weight=0", "data.images_per_group=0"));
    group = next(source);
    CHECK(group->n_images == 0 && group->n_pairs == 3 && group->n_texts == 0);
    for (int64_t i = 0; i < 3; i++) {
        CHECK_INT(count_mask(group, i), 0);
        CHECK(check_text(group, i, group->sample[i]) > 0);
    }
    vlm_source_close(source);
}

TEST(source_draws_the_share_of_hidden_words_of_a_pair_up_to_the_largest)
{
    vlm_source *source = open_source(
        VLM_SOURCE_TRAIN, KEYS("objective.pair_text_mask=0.4", "objective.pair_text_mask_max=1.0"));
    bool has_few = false, has_all = false;
    for (int g = 0; g < 60; g++) {
        const vlm_group *group = next(source);
        for (int64_t t = 0; t < 3; t++) {
            int64_t hidden = check_text(group, t, group->sample[4 + t]), n = words(group, t);
            CHECK(hidden >= VLM_MAX(1, llround(0.4 * (double)n)) && hidden <= n);
            has_few = has_few || hidden == llround(0.4 * (double)n);
            has_all = has_all || hidden == n;
        }
    }
    CHECK(has_few && has_all);
    vlm_source_close(source);
}

TEST(source_gives_the_image_tokeniser_all_pictures_and_no_text)
{
    vlmoe_config *config = make_config(KEYS("run.task=image_tokeniser", "objective.image_weight=0",
                                            "objective.pair_image_weight=0"));
    vlm_source *source = NULL;
    prepare();
    CHECK_STATUS(vlm_source_open(config, VLM_SOURCE_TRAIN, NULL, NULL, &source, NULL), VLMOE_OK);
    const vlm_group *group = next(source);
    CHECK(group->n_images == 4 && group->n_pairs == 3 && group->n_texts == 0 &&
          group->n_tokens == 0);
    for (int64_t i = 0; i < 7; i++) CHECK_INT(count_mask(group, i), 0);
    for (int64_t i = 0; i <= 3; i++) CHECK_INT(group->text_offset[i], 0);
    vlm_source_close(source);
    vlmoe_config_destroy(config);
}
