/* Sources of several ranks: together they give the groups of one, each rank its own. */
#include "source_fixture.h"

enum { G = 6, STEPS = 3 };
static const char *const SIX[] = {"run.groups=6", "data.workers=2", NULL};

TEST(source_of_a_rank_gives_its_groups_of_each_step)
{
    uint64_t one[STEPS * G];
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, SIX);
    for (int i = 0; i < STEPS * G; i++) one[i] = hash_group(next(source));
    vlm_source_close(source);
    static const int sizes[] = {1, 2, 3, 6};
    for (int s = 0; s < VLM_COUNT(sizes); s++)
        for (int rank = 0; rank < sizes[s]; rank++) {
            source = open_source(VLM_SOURCE_TRAIN, SIX);
            CHECK_STATUS(vlm_source_share(source, rank, sizes[s], NULL), VLMOE_OK);
            for (int from = 0; from < 2;
                 from++) { /* the first step, then a seek back to the second */
                if (from) CHECK_STATUS(vlm_source_seek(source, from, NULL), VLMOE_OK);
                for (int n = from * G + rank; n < STEPS * G; n += sizes[s]) {
                    const vlm_group *group = next(source);
                    CHECK(group->step == n / G && group->index == n % G && !group->is_repeat);
                    CHECK(hash_group(group) == one[n]);
                }
            }
            vlm_source_close(source);
        }
}

TEST(source_of_a_rank_repeats_the_last_held_out_group_when_others_have_more)
{
    uint64_t one[3];
    vlm_source *source = open_source(VLM_SOURCE_EVAL, NULL);
    for (int i = 0; i < 3; i++) one[i] = hash_group(next(source));
    CHECK(next(source) == NULL);
    vlm_source_close(source);
    static const int sizes[] = {1, 2, 4};
    for (int s = 0; s < VLM_COUNT(sizes); s++)
        for (int rank = 0; rank < sizes[s]; rank++) {
            source = open_source(VLM_SOURCE_EVAL, NULL);
            CHECK_STATUS(vlm_source_share(source, rank, sizes[s], NULL), VLMOE_OK);
            for (int pass = 0; pass < 2; pass++) {
                for (int turn = 0; turn < (3 + sizes[s] - 1) / sizes[s]; turn++) {
                    const int n = turn * sizes[s] + rank;
                    const vlm_group *group = next(source);
                    CHECK(group != NULL);
                    CHECK_INT(group->is_repeat, n >= 3);
                    CHECK(hash_group(group) == one[VLM_MIN(n, 2)]);
                }
                CHECK(next(source) == NULL);
                CHECK_STATUS(vlm_source_seek(source, 0, NULL), VLMOE_OK);
            }
            vlm_source_close(source);
        }
}

TEST(source_refuses_ranks_that_do_not_divide_groups)
{
    vlmoe_error error = {0};
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, SIX);
    CHECK_STATUS(vlm_source_share(source, 0, 4, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "run.groups 6");
    CHECK_STATUS(vlm_source_share(source, 3, 3, NULL), VLMOE_E_ARG);
    CHECK_INT(next(source)->index, 0); /* as it was */
    vlm_source_close(source);
}
