/* Who holds which expert, against the words of decisions/0007: restated by brute force for all small numbers. */
#include "harness.h"
#include <string.h>
#include "comm_layout.h"

/* Ranks in consecutive sets; a set has as many ranks as groups a chain, or all ranks when there are fewer; sets and members are whole. */
static bool fits_by_words(int64_t experts, int64_t groups, int ranks)
{
    const int64_t chain = experts < groups ? experts : groups;
    const int members = ranks < chain ? ranks : (int)chain;
    bool ok = true;
    ok &= groups / ranks * ranks == groups;   /* each rank computes as many groups as the others */
    ok &= ranks / members * members == ranks; /* all sets are full */
    ok &= experts / members * members ==
          experts; /* each member holds as many experts as the others */
    if (ranks <= chain) ok &= chain / ranks * ranks == chain; /* chains end where micro-steps end */
    return ok;
}

static void check_layout(const vlm_expert_layout *l, int64_t experts, int64_t groups, int ranks)
{
    CHECK_INT(l->experts, experts);
    CHECK_INT(l->chain, experts < groups ? experts : groups);
    CHECK_INT(l->ranks, ranks);
    CHECK_INT(l->members * l->sets, ranks);
    CHECK_INT(l->members * l->per_rank, experts);
    int holders[40][40] = {{0}}; /* [set][expert] */
    for (int r = 0; r < ranks; r++)
        for (int64_t e = 0; e < l->per_rank; e++)
            holders[vlm_expert_set(l, r)][vlm_expert_first(l, r) + e]++;
    for (int s = 0; s < l->sets; s++)
        for (int64_t e = 0; e < experts; e++) CHECK_INT(holders[s][e], 1);
    /* A micro-step's groups of one set are whole chains, or parts of one chain. */
    for (int r = 0; r + 1 < ranks; r++) {
        const bool same_chain = l->sets == 1 || r / l->chain == (r + 1) / l->chain;
        CHECK(same_chain == (vlm_expert_set(l, r) == vlm_expert_set(l, r + 1)));
    }
}

TEST(every_layout_up_to_40_is_what_the_words_say)
{
    int n_fit = 0;
    for (int64_t experts = 1; experts <= 40; experts++)
        for (int64_t groups = 1; groups <= 40; groups++)
            for (int ranks = 1; ranks <= 40; ranks++) {
                vlm_expert_layout l;
                const vlmoe_status st = vlm_expert_layout_make(experts, groups, ranks, &l, NULL);
                CHECK_STATUS(st, fits_by_words(experts, groups, ranks) ? VLMOE_OK : VLMOE_E_ARG);
                CHECK_STATUS(vlm_ranks_check(groups, ranks, NULL),
                             groups % ranks ? VLMOE_E_ARG : VLMOE_OK);
                if (st) continue;
                check_layout(&l, experts, groups, ranks);
                n_fit++;
            }
    CHECK(n_fit > 1600); /* one rank always fits */
}

TEST(what_does_not_fit_names_what_would)
{
    vlm_expert_layout l;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_expert_layout_make(32, 32, 12, &l, &error), VLMOE_E_ARG);
    CHECK_TEXT(error.text, "32 experts and 32 groups do not fit on 12 ranks: 12 does not divide "
                           "the 32 groups of a step; the "
                           "nearest number of ranks that fits is 8 or 16");
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_expert_layout_make(6, 32, 4, &l, &error), VLMOE_E_ARG);
    CHECK_TEXT(error.text, "6 experts and 32 groups do not fit on 4 ranks: 4 does not divide the 6 "
                           "experts; the nearest number of "
                           "ranks that fits is 2");
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_expert_layout_make(8, 16, 64, &l, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "fits is 16");
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_ranks_check(12, 5, &error), VLMOE_E_ARG);
    CHECK_TEXT(error.text, "a step has 12 groups, which 5 ranks cannot share evenly; numbers of "
                           "ranks that can: 1, 2, 3, 4, 6, 12");
    CHECK_STATUS(vlm_expert_layout_make(0, 1, 1, &l, NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_expert_layout_make(1, 1, 0, &l, NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_ranks_check(0, 1, NULL), VLMOE_E_ARG);
}
