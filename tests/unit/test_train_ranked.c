/* Lists of the best candidates: order, ties, and what falls out. */
#include "harness.h"
#include "train_ranked.h"

static void offer(vlm_ranked *r, int64_t query, int64_t at, float order, bool is_relevant)
{
    const vlm_candidate candidate = {
        .at = at, .order = order, .score = -order, .is_relevant = is_relevant};
    vlm_ranked_offer(r, query, &candidate);
}

static void check_list(const vlm_ranked *r, int64_t query, const int64_t *at)
{
    for (int64_t i = 0; i < r->k; i++) {
        CHECK_INT(r->at[query * r->k + i], at[i]);
        if (at[i] >= 0) CHECK(r->score[query * r->k + i] == -r->order[query * r->k + i]);
    }
}

TEST(the_best_stand_first_and_each_query_has_its_own)
{
    vlm_ranked r = {0};
    CHECK_STATUS(vlm_ranked_make(2, 3, &r, NULL), VLMOE_OK);
    check_list(&r, 0, (const int64_t[]){-1, -1, -1});
    static const float order[] = {1.0f, 5.0f, -2.0f, 3.0f, 4.0f};
    for (int i = 0; i < VLM_COUNT(order); i++) offer(&r, 0, i, order[i], false);
    offer(&r, 1, 7, -9.0f, true);
    check_list(&r, 0, (const int64_t[]){1, 4, 3});
    check_list(&r, 1, (const int64_t[]){7, -1, -1});
    vlm_ranked_free(&r);
    CHECK(!r.at && !r.n);
}

/* So the place of the first relevant one is its rank by metric_recall.h, also where the list ends among equals. */
TEST(of_equals_those_that_are_not_relevant_stand_first_then_those_that_came_first)
{
    vlm_ranked r = {0};
    CHECK_STATUS(vlm_ranked_make(1, 4, &r, NULL), VLMOE_OK);
    offer(&r, 0, 0, 1.0f, true);
    offer(&r, 0, 1, 1.0f, false);
    offer(&r, 0, 2, 1.0f, true);
    offer(&r, 0, 3, 1.0f, false);
    check_list(&r, 0, (const int64_t[]){1, 3, 0, 2});
    offer(&r, 0, 4, 1.0f, false);
    offer(&r, 0, 5, 1.0f, true);
    check_list(&r, 0, (const int64_t[]){1, 3, 4, 0});
    offer(&r, 0, 6, 2.0f, true);
    check_list(&r, 0, (const int64_t[]){6, 1, 3, 4});
    vlm_ranked_free(&r);
}
