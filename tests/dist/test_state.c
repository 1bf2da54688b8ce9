/* Training state spread over ranks: values, moments and norms of several steps on 1, 2, 4 and 8 ranks are the same bits, for any number of
 * experts, and every rank computes with them; so are the files that ranks write together. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "ckpt_dir.h"
#include "harness.h"
#include "state_run.h"

static void check_equal(const outcome *a, const outcome *b, const setting *s)
{
    char text[128];
    snprintf(text, sizeof text, "%d ranks, %lld experts, %s", s->ranks, (long long)s->experts,
             s->compute ? "bf16" : "f32");
    for (int k = 0; k < 3; k++)
        if (memcmp(a->state[k], b->state[k], (size_t)a->n * 4))
            test_fail(__FILE__, __LINE__, "%s: %s differ", text, k ? "moments" : "values");
    if (memcmp(a->norm, b->norm, sizeof a->norm))
        test_fail(__FILE__, __LINE__, "%s: norms %g and %g", text, a->norm[0], b->norm[0]);
}

TEST(state_has_the_same_bits_on_any_number_of_ranks)
{
    for (int64_t experts = 2; experts <= 8; experts *= 2)
        for (int type = 0; type < 3; type++) {
            setting s = {.ranks = 1,
                         .experts = experts,
                         .compute = type ? VLMOE_BF16 : VLMOE_F32,
                         .moments = type == 2 ? VLMOE_BF16 : VLMOE_F32,
                         .bad_group = -1,
                         .end = STEPS};
            outcome want = state_run(&s, NULL);
            CHECK(want.norm[0] > 1.0 && want.norm[0] != want.norm[1]); /* clipped */
            for (s.ranks = 2; s.ranks <= MOST_RANKS; s.ranks *= 2)
                for (int is_small = 0; is_small < 2; is_small++) {
                    s.bucket_bytes = is_small ? 3 * sizeof(float) * VLMK_NORM_BLOCK : 0;
                    outcome got = state_run(&s, NULL);
                    check_equal(&want, &got, &s);
                    state_free(&got);
                }
            state_free(&want);
        }
}

TEST(a_gradient_that_is_not_finite_stops_all_ranks_with_the_same_words)
{
    for (int ranks = 1; ranks <= MOST_RANKS; ranks *= 2) {
        char message[VLMOE_ERROR_TEXT + 64] = "";
        const setting s = {
            .ranks = ranks, .experts = 4, .bad_group = 5, .bucket_bytes = 1 << 14, .end = STEPS};
        outcome out = state_run(&s, message);
        CHECK_HAS(message, "the gradient of w1 is not finite");
        state_free(&out);
    }
}

/* ---- files ---- */

static char *folder_of(const char *name)
{
    static char folder[4][PATH];
    static int next;
    char *text = folder[next++ % 4];
    snprintf(text, PATH, "%s/%s", test_tmp_dir(), name);
    CHECK_STATUS(vlm_dir_make(text, NULL), VLMOE_OK);
    return text;
}

static void check_equal_files(const char *a, const char *b)
{
    for (int kind = VLM_STATE_VALUES; kind <= VLM_STATE_MOMENTS; kind++) {
        char path[2][PATH], *data[2];
        size_t bytes[2];
        state_path(a, kind, path[0]);
        state_path(b, kind, path[1]);
        for (int i = 0; i < 2; i++)
            CHECK_STATUS(vlm_file_read(path[i], 1 << 26, &data[i], &bytes[i], NULL), VLMOE_OK);
        CHECK(bytes[0] == bytes[1] && !memcmp(data[0], data[1], bytes[0]));
        for (int i = 0; i < 2; i++) vlm_free(data[i]);
    }
}

/* A straight run on one rank; and one that begins on 4 and goes on on others. */
TEST(state_moves_between_numbers_of_ranks)
{
    for (int k = 0; k < 3; k++) {
        setting s = {.ranks = 1,
                     .experts = k ? 8 : 2,
                     .compute = k ? VLMOE_BF16 : VLMOE_F32,
                     .moments = k == 2 ? VLMOE_BF16 : VLMOE_F32,
                     .bad_group = -1,
                     .end = STEPS};
        char *straight = folder_of("straight"), *middle = folder_of("middle"),
             *moved = folder_of("moved");
        s.save = straight;
        outcome want = state_run(&s, NULL);
        setting first = s;
        first.ranks = 4;
        first.bucket_bytes = 1 << 15;
        first.end = STEPS - 1;
        first.save = middle;
        outcome half = state_run(&first, NULL);
        state_free(&half);
        for (int ranks = 1; ranks <= MOST_RANKS; ranks *= 2) {
            setting rest = s;
            rest.ranks = ranks;
            rest.begin = STEPS - 1;
            rest.load = middle;
            rest.save = moved;
            outcome got = state_run(&rest, NULL);
            memcpy(got.norm, want.norm,
                   sizeof got.norm - sizeof got.norm[0]); /* of the first steps */
            check_equal(&want, &got, &rest);
            check_equal_files(straight, moved);
            state_free(&got);
        }
        state_free(&want);
    }
}

TEST(a_rank_that_cannot_write_is_a_failure_on_all_and_named)
{
    char message[VLMOE_ERROR_TEXT + 64] = "";
    setting s = {.ranks = 4,
                 .experts = 4,
                 .bad_group = -1,
                 .end = 1,
                 .failing = 3,
                 .save = folder_of("failing")};
    outcome out = state_run(&s, message);
    CHECK_HAS(message, "DEVICE: rank 2: cannot read ");
    state_free(&out);
    s.failing = 0;
    s.save = "/nowhere/at/all";
    out = state_run(&s, message);
    CHECK_HAS(message, "IO: rank 0: cannot create /nowhere/at/all/");
    state_free(&out);
}

TEST(checksums_of_all_ranks_are_those_of_one)
{
    char *first = NULL;
    size_t n_first = 0;
    for (int ranks = 1; ranks <= MOST_RANKS; ranks *= 2) {
        char name[16], path[PATH], *text = NULL;
        size_t n = 0;
        vlm_ckpt *files = NULL;
        snprintf(name, sizeof name, "ranks%d", ranks);
        const setting s = {.ranks = ranks,
                           .experts = 4,
                           .bad_group = -1,
                           .end = 1,
                           .save = folder_of(name),
                           .is_checkpoint = true};
        outcome out = state_run(&s, NULL);
        state_free(&out);
        snprintf(path, sizeof path, "%.400s/step-00000001", s.save);
        CHECK_STATUS(vlm_ckpt_open(path, true, &files, NULL), VLMOE_OK);
        vlm_ckpt_close(files);
        snprintf(path, sizeof path, "%.400s/step-00000001/" VLM_CKPT_CHECKSUMS, s.save);
        CHECK_STATUS(vlm_file_read(path, 1 << 16, &text, &n, NULL), VLMOE_OK);
        if (!first) {
            first = text;
            n_first = n;
            continue;
        }
        CHECK(n == n_first && !memcmp(first, text, n));
        vlm_free(text);
    }
    vlm_free(first);
}
