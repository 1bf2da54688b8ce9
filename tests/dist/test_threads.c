/* Communicators of one process: one rank alone, and ranks as threads. */
#include "harness.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "cases.h"

enum { MAX_THREADS = 8 };
typedef struct rank_thread {
    pthread_t thread;
    vlm_comm_hub *hub;
    int rank;
    case_rank view;
} rank_thread;

static void run_all(case_rank *r)
{
    for (const dist_case *c = dist_cases; c->name && !r->text[0]; c++) c->run(r);
}

static void *run_rank(void *arg)
{
    rank_thread *t = arg;
    const vlm_comm_params params = {.deadline_seconds = 60};
    vlmoe_error error = {0};
    if (vlm_comm_threads(t->hub, t->rank, &params, &t->view.world, &error)) {
        snprintf(t->view.text, sizeof t->view.text, "%s", error.text);
        return NULL;
    }
    run_all(&t->view);
    if (t->view.text[0]) vlm_comm_abort(t->view.world, VLMOE_E_INTERNAL, t->view.text);
    vlm_comm_destroy(t->view.world);
    return NULL;
}

TEST(cases_hold_on_threads)
{
    for (int n = 1; n <= MAX_THREADS; n++) {
        rank_thread ranks[MAX_THREADS] = {0};
        vlm_comm_hub *hub = NULL;
        CHECK_STATUS(vlm_comm_hub_create(n, &hub, NULL), VLMOE_OK);
        for (int i = 0; i < n; i++) {
            ranks[i].hub = hub;
            ranks[i].rank = i;
            CHECK(!pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]));
        }
        for (int i = 0; i < n; i++) pthread_join(ranks[i].thread, NULL);
        vlm_comm_hub_destroy(hub);
        for (int i = 0; i < n; i++) CHECK_TEXT(ranks[i].view.text, "");
    }
}

TEST(cases_hold_on_one_rank)
{
    case_rank r = {0};
    CHECK_STATUS(vlm_comm_self(NULL, &r.world, NULL), VLMOE_OK);
    CHECK_TEXT(vlm_comm_kind(r.world), "self");
    run_all(&r);
    vlm_comm_destroy(r.world);
    CHECK_TEXT(r.text, "");
}
