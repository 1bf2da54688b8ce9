/* The thread team. A run is open while its number is in `open`; workers join and leave it freely,
 * so a run whose tiles are done before a sleeper wakes does not wait for that sleeper. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include "base_team.h"

/* Long enough to bridge the gap between two kernels, short enough not to starve a neighbour that
 * shares the core. */
static const double SPIN_SECONDS = 5e-6;
enum { SPINS_PER_LOOK = 16 };

typedef struct worker {
    vlm_team *team;
    pthread_t thread;
    int index;
} worker;

struct vlm_team {
    int n;
    int n_started; /* threads to join; n - 1 once created */
    bool may_spin;
    worker *workers;

    /* The job; written only while open == 0 and active == 0. */
    vlm_tile_fn fn;
    void *arg;
    int64_t n_tiles;
    _Atomic int64_t next_tile;

    /* All four are sequentially consistent: each side first announces itself, then looks at the
     * other (Dekker's pattern). */
    _Atomic uint64_t open;    /* number of the run that may be joined, 0 = none */
    _Atomic int active;       /* workers that may be touching the job */
    _Atomic int sleepers;     /* workers asleep, or about to */
    _Atomic int owner_sleeps; /* the caller waits for active == 0 */
    uint64_t n_runs;

    pthread_mutex_t lock;
    pthread_cond_t work_came, work_left;
    _Atomic bool stop;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void run_tiles(vlm_team *team, int index)
{
    for (;;) {
        int64_t tile = atomic_fetch_add_explicit(&team->next_tile, 1, memory_order_relaxed);
        if (tile >= team->n_tiles) return;
        team->fn(team->arg, tile, index);
    }
}

/* A run to join that this worker has not seen, or the end of the team. */
static bool has_news(vlm_team *team, uint64_t seen)
{
    uint64_t open = atomic_load(&team->open);
    return (open != 0 && open != seen) || atomic_load(&team->stop);
}

static void wait_for_news(vlm_team *team, uint64_t seen)
{
    if (team->may_spin) {
        double until = vlm_now() + SPIN_SECONDS;
        do {
            for (int i = 0; i < SPINS_PER_LOOK; i++) {
                if (has_news(team, seen)) return;
                relax();
            }
        } while (vlm_now() < until);
    }
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->sleepers, 1);
    while (!has_news(team, seen)) pthread_cond_wait(&team->work_came, &team->lock);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->lock);
}

static void *work(void *arg)
{
    worker *self = arg;
    vlm_team *team = self->team;
    uint64_t seen = 0;
    while (!atomic_load(&team->stop)) {
        wait_for_news(team, seen);
        atomic_fetch_add(&team->active, 1);
        uint64_t open = atomic_load(
            &team->open); /* perhaps a later run than the one that woke us, which is fine */
        if (open) {
            seen = open;
            run_tiles(team, self->index);
        }
        if (atomic_fetch_sub(&team->active, 1) == 1 && atomic_load(&team->owner_sleeps)) {
            pthread_mutex_lock(&team->lock);
            pthread_cond_signal(&team->work_left);
            pthread_mutex_unlock(&team->lock);
        }
    }
    return NULL;
}

/* Tiles are all handed out; wait for those still being computed. */
static void wait_for_workers(vlm_team *team)
{
    if (team->may_spin) {
        double until = vlm_now() + SPIN_SECONDS;
        do {
            for (int i = 0; i < SPINS_PER_LOOK; i++) {
                if (atomic_load(&team->active) == 0) return;
                relax();
            }
        } while (vlm_now() < until);
    }
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->owner_sleeps, 1);
    while (atomic_load(&team->active) != 0) pthread_cond_wait(&team->work_left, &team->lock);
    atomic_store(&team->owner_sleeps, 0);
    pthread_mutex_unlock(&team->lock);
}

void vlm_team_run(vlm_team *team, vlm_tile_fn fn, void *arg, int64_t n_tiles)
{
    if (team->n == 1 || n_tiles <= 1) {
        for (int64_t tile = 0; tile < n_tiles; tile++) fn(arg, tile, 0);
        return;
    }
    team->fn = fn;
    team->arg = arg;
    team->n_tiles = n_tiles;
    atomic_store_explicit(&team->next_tile, 0, memory_order_relaxed);
    atomic_store(&team->open, ++team->n_runs);
    if (atomic_load(&team->sleepers) > 0) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_broadcast(&team->work_came);
        pthread_mutex_unlock(&team->lock);
    }
    run_tiles(team, 0);
    atomic_store(&team->open, 0);
    wait_for_workers(team);
}

/* Threads with every signal blocked: signals belong to the threads of the program. */
static vlmoe_status start_workers(vlm_team *team, vlmoe_error *error)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    vlmoe_status status = VLMOE_OK;
    for (int i = 1; i < team->n && !status; i++) {
        worker *self = &team->workers[i - 1];
        *self = (worker){.team = team, .index = i};
        if (pthread_create(&self->thread, NULL, work, self) == 0) team->n_started++;
        else
            status = vlm_fail(error, VLMOE_E_NOMEM, "the system gave %d of %d threads", i, team->n);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return status;
}

vlmoe_status vlm_team_create(int n_threads, vlm_team **out, vlmoe_error *error)
{
    if (n_threads < 1)
        return vlm_fail(error, VLMOE_E_ARG, "a team has at least 1 thread, not %d", n_threads);
    vlm_team *team = vlm_alloc(sizeof *team);
    worker *workers = vlm_alloc_array((size_t)n_threads, sizeof *workers);
    if (!team || !workers) {
        vlm_free(team);
        vlm_free(workers);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a team of %d threads", n_threads);
    }
    team->n = n_threads;
    team->workers = workers;
    team->may_spin = n_threads <= vlm_cores_allowed(); /* more threads than cores: spinning only
                                                          keeps a worker off its core */
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->work_came, NULL);
    pthread_cond_init(&team->work_left, NULL);
    vlmoe_status status = start_workers(team, error);
    if (status) {
        vlm_team_destroy(team);
        return status;
    }
    *out = team;
    return VLMOE_OK;
}

void vlm_team_destroy(vlm_team *team)
{
    if (!team) return;
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->stop, true);
    pthread_cond_broadcast(&team->work_came);
    pthread_mutex_unlock(&team->lock);
    for (int i = 0; i < team->n_started; i++) pthread_join(team->workers[i].thread, NULL);
    pthread_cond_destroy(&team->work_came);
    pthread_cond_destroy(&team->work_left);
    pthread_mutex_destroy(&team->lock);
    vlm_free(team->workers);
    vlm_free(team);
}

int vlm_team_size(const vlm_team *team)
{
    return team->n;
}
