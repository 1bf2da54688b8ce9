/* Threads that begin together: each waits until it is known whether all of them could be started. */
#include "base_threads.h"
#include <pthread.h>

typedef struct crowd {
    vlm_part_fn fn;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t decided;
    bool has_decided, begins;
} crowd;

typedef struct member {
    crowd *crowd;
    int i;
    pthread_t thread;
} member;

static void *run_member(void *arg)
{
    const member *m = arg;
    crowd *c = m->crowd;
    pthread_mutex_lock(&c->lock);
    while (!c->has_decided) pthread_cond_wait(&c->decided, &c->lock);
    const bool begins = c->begins;
    pthread_mutex_unlock(&c->lock);
    if (begins) c->fn(c->arg, m->i);
    return NULL;
}

static void decide(crowd *c, bool begins)
{
    pthread_mutex_lock(&c->lock);
    c->begins = begins;
    c->has_decided = true;
    pthread_cond_broadcast(&c->decided);
    pthread_mutex_unlock(&c->lock);
}

vlmoe_status vlm_threads_run(int n, vlm_part_fn fn, void *arg, vlmoe_error *error)
{
    crowd c = {.fn = fn,
               .arg = arg,
               .lock = PTHREAD_MUTEX_INITIALIZER,
               .decided = PTHREAD_COND_INITIALIZER};
    member *members = vlm_alloc_array((size_t)n, sizeof *members);
    if (!members) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %d threads", n);
    int started = 1; /* the calling one */
    for (; started < n; started++) {
        members[started] = (member){.crowd = &c, .i = started};
        if (pthread_create(&members[started].thread, NULL, run_member, &members[started])) break;
    }
    decide(&c, started == n);
    if (c.begins) fn(arg, 0);
    for (int i = 1; i < started; i++) pthread_join(members[i].thread, NULL);
    vlm_free(members);
    return started == n ? VLMOE_OK
                        : vlm_fail(error, VLMOE_E_NOMEM, "the system refuses thread %d of %d",
                                   started + 1, n);
}
