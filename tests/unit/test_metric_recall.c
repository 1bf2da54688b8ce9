/* Ranks of retrieval on small matrices: both ways, several texts, equal texts, folds, blocks, ties. */
#include <math.h>
#include <string.h>
#include "harness.h"
#include "metric_recall.h"

/* The whole matrix [n_images, n_texts] twice, in blocks of so many rows. */
static void measure(const vlm_recall_set *set, const double *score, int64_t block,
                    vlm_recall_result *all, vlm_recall_result *folds)
{
    vlm_recall *recall = NULL;
    CHECK_STATUS(vlm_recall_create(set, &recall, NULL), VLMOE_OK);
    for (int time = 0; time < 2; time++)
        for (int64_t i = 0; i < set->n_images; i += block) {
            int64_t n = VLM_MIN(block, set->n_images - i);
            CHECK_STATUS(vlm_recall_show(recall, i, n, score + i * set->n_texts, NULL), VLMOE_OK);
        }
    CHECK_STATUS(vlm_recall_finish(recall, all, folds, NULL), VLMOE_OK);
    vlm_recall_destroy(recall);
}

/* Two pictures with two texts each, one with one. */
static const int64_t image_of[] = {0, 1, 0, 1, 2};
static const double scores[] = {
    0.1, 0.9, 0.8, 0.2, 0.0, /* picture 0: text 2 behind text 1: rank 2                */
    0.5, 0.6, 0.4, 0.7, 0.1, /* picture 1: text 3 first: rank 1                        */
    0.3, 0.9, 0.8, 0.7, 0.2, /* picture 2: text 4 last: rank 5                         */
};                           /* pictures for texts 0..4: ranks 3, 3, 2 (a tie), 2 (a tie), 1 */

TEST(ranks_of_both_ways_and_ties_against_the_model)
{
    vlm_recall_set set = {.n_images = 3, .n_texts = 5, .image_of = image_of};
    vlm_recall_result all, folds, blocks;
    measure(&set, scores, 3, &all, &folds);
    CHECK_CLOSE(all.text.at[0], 1.0 / 3.0, 0.0);
    CHECK_CLOSE(all.text.at[1], 1.0, 0.0);
    CHECK_CLOSE(all.text.mean_rank, 8.0 / 3.0, 1e-15);
    CHECK_CLOSE(all.text.median_rank, 2.0, 0.0);
    CHECK_CLOSE(all.image.at[0], 1.0 / 5.0, 0.0);
    CHECK_CLOSE(all.image.at[1], 1.0, 0.0);
    CHECK_CLOSE(all.image.mean_rank, 11.0 / 5.0, 1e-15);
    CHECK_CLOSE(all.image.median_rank, 2.0, 0.0);
    CHECK_CLOSE(all.mean, (1.0 / 3.0 + 1.0 / 5.0 + 4.0) / 6.0, 1e-15);
    CHECK(!memcmp(&all, &folds, sizeof all));
    measure(&set, scores, 1, &blocks, &folds);
    CHECK(!memcmp(&all, &blocks, sizeof all));
}

TEST(equal_scores_find_nothing)
{
    double flat[15 * 20];
    int64_t own[20];
    for (int i = 0; i < 15 * 20; i++) flat[i] = 0.25;
    for (int i = 0; i < 20; i++) own[i] = i % 15;
    vlm_recall_set set = {.n_images = 15, .n_texts = 20, .image_of = own};
    vlm_recall_result all, folds;
    measure(&set, flat, 4, &all, &folds);
    CHECK_CLOSE(all.mean, 0.0, 0.0);
    CHECK_CLOSE(all.image.mean_rank, 15.0, 1e-12);
}

/* Text 1 of picture 1 has the words of text 2 of picture 0. */
TEST(equal_texts_are_relevant_to_each_others_pictures)
{
    static const int64_t concept[] = {0, 1, 1, 2, 3};
    vlm_recall_set set = {.n_images = 3, .n_texts = 5, .image_of = image_of, .concept = concept};
    vlm_recall_result all, folds;
    measure(&set, scores, 2, &all, &folds);
    CHECK_CLOSE(all.text.at[0], 2.0 / 3.0, 0.0);  /* picture 0 finds "text 1" */
    CHECK_CLOSE(all.image.at[0], 1.0 / 5.0, 0.0); /* text 1 ties with picture 2 at 0.9 */
    CHECK_CLOSE(all.image.mean_rank, 10.0 / 5.0, 1e-15);
}

TEST(candidates_of_a_fold_are_its_own)
{
    static const int64_t own[] = {0, 1, 2, 3};
    static const double score[] = {
        0.5, 0.6, 0.9, 0.9, /* within its fold: rank 2 */
        0.0, 0.7, 0.9, 0.9, /* 1 */
        0.9, 0.9, 0.5, 0.4, /* 1 */
        0.9, 0.9, 0.0, 0.3, /* 1 */
    };
    vlm_recall_set set = {.n_images = 4, .n_texts = 4, .image_of = own, .fold = 2};
    vlm_recall_result all, folds;
    measure(&set, score, 3, &all, &folds);
    CHECK_CLOSE(all.text.at[0], 0.0, 0.0);
    CHECK_CLOSE(folds.text.at[0], 0.75, 0.0);
    CHECK_CLOSE(folds.image.at[0], 0.75, 0.0); /* text 3 is behind picture 2 */
    CHECK_CLOSE(folds.text.mean_rank, 1.25, 0.0);
    CHECK_CLOSE(folds.mean, (0.75 + 0.75 + 4.0) / 6.0, 1e-15);
}

TEST(what_does_not_fit_is_refused)
{
    vlm_recall *recall = NULL;
    vlmoe_error error = {0};
    vlm_recall_set set = {.n_images = 3, .n_texts = 5, .image_of = image_of, .fold = 2};
    CHECK_STATUS(vlm_recall_create(&set, &recall, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "folds of 2");
    static const int64_t gap[] = {0, 0, 0, 2, 2};
    set = (vlm_recall_set){.n_images = 3, .n_texts = 5, .image_of = gap};
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_recall_create(&set, &recall, &error), VLMOE_E_ARG);
    CHECK_TEXT(error.text, "picture 1 has no text");
    static const int64_t beyond[] = {0, 1, 2, 3, 0};
    set.image_of = beyond;
    CHECK_STATUS(vlm_recall_create(&set, &recall, NULL), VLMOE_E_ARG);

    set.image_of = image_of;
    CHECK_STATUS(vlm_recall_create(&set, &recall, NULL), VLMOE_OK);
    vlm_recall_result result;
    CHECK_STATUS(vlm_recall_show(recall, 1, 1, scores, NULL), VLMOE_E_STATE);
    CHECK_STATUS(vlm_recall_show(recall, 0, 4, scores, NULL), VLMOE_E_STATE);
    CHECK_STATUS(vlm_recall_show(recall, 0, 3, scores, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_recall_finish(recall, &result, &result, NULL), VLMOE_E_STATE);
    CHECK_STATUS(vlm_recall_show(recall, 0, 3, scores, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_recall_show(recall, 0, 3, scores, NULL), VLMOE_E_STATE);
    vlm_recall_destroy(recall);
    double bad[15];
    memcpy(bad, scores, sizeof bad);
    bad[7] = NAN;
    CHECK_STATUS(vlm_recall_create(&set, &recall, NULL), VLMOE_OK);
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_recall_show(recall, 0, 3, bad, &error), VLMOE_E_NUMERIC);
    CHECK_TEXT(error.text, "the score of picture 1 and text 2 is NaN");
    vlm_recall_destroy(recall);
}
