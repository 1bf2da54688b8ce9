/* Communicators of one process: one rank alone, and ranks as threads. */
#include "harness.h"
#include <stdio.h>
#include <string.h>
#include "base_threads.h"
#include "cases.h"

enum { MAX_THREADS = 8 };
typedef struct rank_thread {
    vlm_comm_hub *hub;
    const dist_case *alone; /* NULL: all of dist_cases */
    case_rank view;
} rank_thread;

static void run_all(case_rank *r)
{
    for (const dist_case *c = dist_cases; c->name && !r->text[0]; c++) c->run(r);
}

static void run_rank(void *ranks, int i)
{
    rank_thread *t = (rank_thread *)ranks + i;
    case_rank *r = &t->view;
    const vlm_comm_params params = {.deadline_seconds = case_deadline(t->alone)};
    vlmoe_error error = {0};
    if (vlm_comm_threads(t->hub, r->rank, &params, &r->world, &error)) {
        snprintf(r->text, sizeof r->text, "%s", error.text);
        return;
    }
    if (t->alone) t->alone->run(r);
    else run_all(r);
    if (r->world && r->text[0]) vlm_comm_abort(r->world, VLMOE_E_INTERNAL, r->text);
    vlm_comm_destroy(r->world);
}

static void run_ranks(int n, const dist_case *alone)
{
    rank_thread ranks[MAX_THREADS] = {0};
    vlm_comm_hub *hub = NULL;
    CHECK_STATUS(vlm_comm_hub_create(n, &hub, NULL), VLMOE_OK);
    for (int i = 0; i < n; i++) {
        ranks[i].hub = hub;
        ranks[i].view.rank = i;
        ranks[i].alone = alone;
    }
    CHECK_STATUS(vlm_threads_run(n, run_rank, ranks, NULL), VLMOE_OK);
    vlm_comm_hub_destroy(hub);
    for (int i = 0; i < n; i++)
        if (ranks[i].view.text[0])
            test_fail(__FILE__, __LINE__, "%s on %d ranks: %s", alone ? alone->name : "cases", n,
                      ranks[i].view.text);
}

TEST(cases_hold_on_threads)
{
    for (int n = 1; n <= MAX_THREADS; n++) run_ranks(n, NULL);
}

TEST(failures_are_seen_on_threads)
{
    for (const dist_case *c = dist_failures; c->name; c++) run_ranks(4, c);
}

TEST(cases_hold_on_one_rank)
{
    case_rank r = {0};
    CHECK_STATUS(vlm_comm_self(NULL, &r.world, NULL), VLMOE_OK);
    CHECK_TEXT(vlm_comm_kind(r.world), "self");
    run_all(&r);
    vlm_comm_abort(r.world, VLMOE_E_IO, "enough");
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_comm_barrier(r.world, "after", &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "enough");
    vlm_comm_destroy(r.world);
    CHECK_TEXT(r.text, "");
}

TEST(a_hub_knows_its_ranks)
{
    vlm_comm_hub *hub = NULL;
    vlm_comm *one = NULL, *other = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_comm_hub_create(0, &hub, NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_comm_hub_create(2, &hub, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_comm_threads(hub, 2, NULL, &other, NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_comm_threads(hub, 1, NULL, &one, NULL), VLMOE_OK);
    CHECK_TEXT(vlm_comm_kind(one), "threads");
    CHECK_STATUS(vlm_comm_threads(hub, 1, NULL, &other, &error), VLMOE_E_STATE);
    CHECK_HAS(error.text, "rank 1 is taken");
    vlm_comm_destroy(one); /* while rank 0 never came */
    vlm_comm_hub_destroy(hub);
}
