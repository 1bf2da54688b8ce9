/* Parts that wait for each other: all of them run at the same time, each once, or none where the system refuses a thread. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include "base_threads.h"
#include "harness.h"

enum { MOST = 8 };
typedef struct meeting {
    pthread_barrier_t all_here;
    atomic_int calls[MOST];
    pthread_t first;
} meeting;

static void meet(void *arg, int i)
{
    meeting *m = arg;
    m->calls[i]++;
    if (!i) m->first = pthread_self();
    pthread_barrier_wait(&m->all_here); /* parts in turn would wait here for ever */
}

TEST(parts_run_at_the_same_time_and_each_once)
{
    for (int n = 1; n <= MOST; n++) {
        meeting m = {.calls = {0}};
        CHECK(!pthread_barrier_init(&m.all_here, NULL, (unsigned)n));
        CHECK_STATUS(vlm_threads_run(n, meet, &m, NULL), VLMOE_OK);
        for (int i = 0; i < MOST; i++) CHECK_INT(m.calls[i], i < n);
        CHECK(pthread_equal(m.first, pthread_self()));
        pthread_barrier_destroy(&m.all_here);
    }
}

/* Sanitizers need more address space than this test leaves. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void count(void *arg, int i)
{
    (void)i;
    atomic_fetch_add((atomic_int *)arg, 1);
}

/* More stacks than there is address space. */
TEST(none_runs_where_the_system_refuses_a_thread)
{
    struct rlimit whole, little;
    atomic_int calls = 0;
    vlmoe_error error = {VLMOE_OK, ""};
    CHECK(!getrlimit(RLIMIT_AS, &whole));
    little = whole;
    little.rlim_cur = (rlim_t)1 << 32;
    if (setrlimit(RLIMIT_AS, &little)) test_fail(__FILE__, __LINE__, "no limit could be set");
    const vlmoe_status st = vlm_threads_run(4096, count, &calls, &error);
    CHECK(!setrlimit(RLIMIT_AS, &whole));
    CHECK_STATUS(st, VLMOE_E_NOMEM);
    CHECK_HAS(error.text, "the system refuses thread ");
    CHECK_INT(calls, 0);
}
#endif
