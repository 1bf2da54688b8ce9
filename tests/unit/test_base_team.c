/* The thread team: every tile once, no hang, no leftover. Run under ThreadSanitizer too. */
#include <stdatomic.h>
#include "base_cores.h"
#include "base_team.h"
#include "harness.h"

enum { N_TILES = 1000 };
typedef struct tally {
    int runs[N_TILES]; /* plain on purpose: a tile run twice is a race that the sanitizer reports */
    int n_workers;
    _Atomic int bad_worker;
} tally;

static void count_tile(void *arg, int64_t tile, int worker)
{
    tally *t = arg;
    t->runs[tile]++;
    if (worker < 0 || worker >= t->n_workers) atomic_store(&t->bad_worker, 1);
}

TEST(every_tile_runs_once_with_1_to_4_threads)
{
    for (int n = 1; n <= 4; n++) {
        vlm_team *team = NULL;
        CHECK_STATUS(vlm_team_create(n, &team, NULL), VLMOE_OK);
        CHECK_INT(vlm_team_size(team), n);
        static const int64_t counts[] = {0, 1, 2, 3, 17, N_TILES};
        for (int k = 0; k < VLM_COUNT(counts); k++) {
            tally t = {.n_workers = n};
            vlm_team_run(team, count_tile, &t, counts[k]);
            for (int64_t i = 0; i < N_TILES; i++) CHECK_INT(t.runs[i], i < counts[k]);
            CHECK_INT(atomic_load(&t.bad_worker), 0);
        }
        vlm_team_destroy(team);
    }
}

static void add_one(void *arg, int64_t tile, int worker)
{
    (void)worker;
    ((int *)arg)[tile]++;
}

TEST(ten_thousand_tiny_runs_do_not_hang_or_lose_a_tile)
{
    for (int n = 2; n <= 4; n++) {
        vlm_team *team = NULL;
        CHECK_STATUS(vlm_team_create(n, &team, NULL), VLMOE_OK);
        int sum[4] = {0};
        for (int i = 0; i < 10000; i++) vlm_team_run(team, add_one, sum, 4);
        for (int k = 0; k < 4; k++) CHECK_INT(sum[k], 10000);
        vlm_team_destroy(team);
    }
}

static void wait_for_the_other(void *arg, int64_t tile, int worker)
{
    (void)tile, (void)worker;
    _Atomic int *arrived = arg;
    atomic_fetch_add(arrived, 1);
    double until = vlm_now() + 10.0;
    while (atomic_load(arrived) < 2 && vlm_now() < until) continue;
}

TEST(two_tiles_run_at_the_same_time_even_after_a_sleep)
{
    vlm_team *team = NULL;
    CHECK_STATUS(vlm_team_create(2, &team, NULL), VLMOE_OK);
    for (int i = 0; i < 3; i++) {
        _Atomic int arrived = 0;
        double start = vlm_now();
        vlm_team_run(team, wait_for_the_other, &arrived, 2);
        CHECK(vlm_now() - start < 9.0); /* one after the other takes 10 s */
        double sleep_until = vlm_now() + 0.01;
        while (vlm_now() < sleep_until) continue; /* far longer than the spin */
    }
    vlm_team_destroy(team);
}

TEST(a_team_needs_a_thread)
{
    vlm_team *team = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_team_create(0, &team, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "not 0");
    CHECK(team == NULL);
    vlm_team_destroy(NULL);
}

TEST(teams_that_never_ran_can_be_destroyed)
{
    for (int i = 0; i < 100; i++) {
        vlm_team *team = NULL;
        CHECK_STATUS(vlm_team_create(3, &team, NULL), VLMOE_OK);
        vlm_team_destroy(team);
    }
}

TEST(cores_honour_the_quota)
{
    CHECK(vlm_cores_allowed() >= 1);
    CHECK_INT(vlm_cores_from_quota("max 100000\n", 8), 8);
    CHECK_INT(vlm_cores_from_quota("200000 100000\n", 8), 2);
    CHECK_INT(vlm_cores_from_quota("150000 100000\n", 8), 2);
    CHECK_INT(vlm_cores_from_quota("1000 100000\n", 8), 1);
    CHECK_INT(vlm_cores_from_quota("9000000 100000\n", 8), 8);
    CHECK_INT(vlm_cores_from_quota("", 8), 8);
    CHECK_INT(vlm_cores_from_quota("100000 0", 8), 8);
    CHECK_INT(vlm_cores_from_quota("-1 100000", 8), 8);
}
