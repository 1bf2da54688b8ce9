/* Named means, percentages, spread, NLVR2, top-1 and top-5. */
#include <math.h>
#include <stdio.h>
#include "harness.h"
#include "metric_named.h"
#include "metric_nlvr2.h"
#include "metric_top.h"

TEST(names_are_kept_apart_and_sorted)
{
    vlm_named *named = vlm_named_create();
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "genre %d", (i * 7) % 100);
        CHECK_STATUS(vlm_named_add(named, name, i % 2, NULL), VLMOE_OK);
    }
    CHECK_INT(vlm_named_count(named), 100);
    for (int i = 1; i < 100; i++)
        CHECK(__builtin_strcmp(vlm_named_row_at(named, i - 1)->name,
                               vlm_named_row_at(named, i)->name) < 0);
    const vlm_named_row *row = vlm_named_find(named, "genre 7"); /* i = 1, 101, ...: all odd */
    CHECK_INT(row->n, 10);
    CHECK_CLOSE(row->sum, 10.0, 0.0);
    vlm_named_destroy(named);
    vlm_named_destroy(NULL);
}

/* As Python's round(100 * s / n, 2): 2.675 is below its decimal, 0.125 is a tie and goes to even. */
TEST(percentages_round_the_exact_value)
{
    CHECK_CLOSE(vlm_percent(2.675, 100), 2.67, 0.0);
    CHECK_CLOSE(vlm_percent(1.0, 800), 0.12, 0.0);
    CHECK_CLOSE(vlm_percent(3.0, 800), 0.38, 0.0);
    CHECK_CLOSE(vlm_percent(2.0, 3), 66.67, 0.0);
    CHECK(isnan(vlm_percent(0.0, 0)));
}

TEST(spread_is_that_of_a_sample)
{
    const double value[] = {1.0, 2.0, 4.0, 5.0};
    vlm_seed_spread spread = vlm_over_seeds(value, 4);
    CHECK_CLOSE(spread.mean, 3.0, 0.0);
    CHECK_CLOSE(spread.deviation, sqrt(10.0 / 3.0), 0x1p-51);
    CHECK(isnan(vlm_over_seeds(value, 1).deviation) && vlm_over_seeds(value, 1).mean == 1.0);
    CHECK(isnan(vlm_over_seeds(value, 0).mean));
}

TEST(nlvr2_groups_by_identifier_without_its_third_field)
{
    static const struct {
        const char *identifier;
        bool is_right;
    } item[] = {{"dev-1-0-1", true},    {"dev-2-0-1", true},  {"dev-1-1-1", true},
                {"dev-1-0-0", false},   {"dev-1-12-0", true}, {"dev-2-1-1", true},
                {"test1-1-0-1", false}, {"plain", true},      {"two-fields", true},
                {"two-other", false}};
    vlm_nlvr2 *tally = vlm_nlvr2_create();
    vlm_nlvr2_result none = vlm_nlvr2_count(tally);
    CHECK_INT(none.n + none.sentences, 0);
    for (int i = 0; i < VLM_COUNT(item); i++)
        CHECK_STATUS(vlm_nlvr2_add(tally, item[i].identifier, item[i].is_right, NULL), VLMOE_OK);
    vlm_nlvr2_result result = vlm_nlvr2_count(tally);
    CHECK_INT(result.n, 10);
    CHECK_INT(result.right, 7);
    CHECK_INT(result.sentences,
              7); /* dev-1--1, dev-1--0, dev-2--1, test1-1--1 and three of their own */
    CHECK_INT(result.consistent, 4); /* dev-1--1, dev-2--1, plain, two-fields */
    CHECK_STATUS(vlm_nlvr2_add(tally, "dev-2-2-1", false, NULL),
                 VLMOE_OK); /* counting ends nothing */
    CHECK_INT(vlm_nlvr2_count(tally).consistent, 3);
    vlm_nlvr2_destroy(tally);
}

TEST(top_ranks_by_score_and_equal_scores_by_class)
{
    const float score[] = {0.5f, 0.5f, 2.0f, -1.0f, 0.5f, 0.0f, 0.25f};
    CHECK_INT(vlm_top_best(score, 7), 2);
    CHECK_INT(vlm_top_rank(score, 7, 2), 1);
    CHECK_INT(vlm_top_rank(score, 7, 0), 2);
    CHECK_INT(vlm_top_rank(score, 7, 4), 4);
    CHECK_INT(vlm_top_rank(score, 7, 3), 7);
    const float bad[] = {1.0f, NAN};
    CHECK_INT(vlm_top_best(bad, 2), -1);
    CHECK_INT(vlm_top_rank(bad, 2, 0), 0);
}

TEST(top_counts_confusion_and_the_majority)
{
    vlm_top *top = NULL;
    CHECK_STATUS(vlm_top_create(7, true, &top, NULL), VLMOE_OK);
    CHECK_INT(vlm_top_count(top).majority_class, -1);
    const float score[] = {0.5f, 0.5f, 2.0f, -1.0f, 0.5f, 0.0f, 0.25f};
    static const int64_t label[] = {2, 0, 3, 6, 5, 5}; /* ranks 1, 2, 7, 5, 6, 6 */
    for (int i = 0; i < 6; i++) CHECK_STATUS(vlm_top_add(top, score, label[i], NULL), VLMOE_OK);
    CHECK_STATUS(vlm_top_add_best(top, (int64_t[]){-1, 5, 5}, 3, 5, NULL), VLMOE_OK);
    vlm_top_result result = vlm_top_count(top);
    CHECK_INT(result.n, 7);
    CHECK_INT(result.right, 1);
    CHECK_INT(result.right5, 4);
    CHECK_INT(result.majority_class, 5);
    CHECK_CLOSE(result.majority, 3.0 / 7.0, 0.0);
    CHECK_CLOSE(result.chance, 1.0 / 7.0, 0.0);
    CHECK_INT(vlm_top_confusion(top, 5, 2), 2);
    CHECK_INT(vlm_top_confusion(top, 2, 2), 1);
    CHECK_INT(vlm_top_labels(top, 5), 3);
    CHECK_STATUS(vlm_top_add(top, score, 7, NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_top_add_best(top, (int64_t[]){9}, 1, 5, NULL), VLMOE_E_ARG);
    const float bad[] = {0, 0, 0, 0, 0, 0, NAN};
    CHECK_STATUS(vlm_top_add(top, bad, 0, NULL), VLMOE_E_NUMERIC);
    CHECK_INT(vlm_top_count(top).n, 7);
    vlm_top_destroy(top);
    CHECK_STATUS(vlm_top_create(0, false, &top, NULL), VLMOE_E_ARG);
}
