/* A ring of slots under one lock. Piece number n lives in slot n % n_slots; workers take numbers in
 * order and stay less than n_slots ahead of the piece that the caller holds. */
#include <pthread.h>
#include "data_prefetch.h"

typedef struct slot_state {
    bool is_done;
    vlmoe_error error; /* status OK = prepared */
} slot_state;

struct vlm_prefetch {
    vlm_prefetch_params params;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a worker may have something to do */
    pthread_cond_t news; /* a piece is done, or a worker has become idle */
    /* under the lock */
    slot_state *slots;
    int64_t held;   /* number of the piece the caller holds, position - 1 */
    int64_t ticket; /* next number to prepare */
    int n_busy;
    int n_started; /* threads that have their number */
    bool is_closing;
    /* read without the lock */
    atomic_bool cancel;
    double wait_seconds; /* the caller's alone */
    pthread_t *threads;
    int n_threads; /* running */
};

static bool has_work(const vlm_prefetch *prefetch)
{
    if (atomic_load(&prefetch->cancel)) return false;
    if (prefetch->params.limit >= 0 && prefetch->ticket >= prefetch->params.limit) return false;
    return prefetch->ticket - prefetch->held < prefetch->params.n_slots;
}

/* Prepare one piece; called and left with the lock held. */
static void work_once(vlm_prefetch *prefetch, int worker)
{
    const int64_t number = prefetch->ticket++;
    const int i_slot = (int)(number % prefetch->params.n_slots);
    vlmoe_error error = {0};
    prefetch->n_busy++;
    pthread_mutex_unlock(&prefetch->lock);
    vlmoe_status status = prefetch->params.fn(prefetch->params.arg, number, i_slot, worker,
                                              &prefetch->cancel, &error);
    pthread_mutex_lock(&prefetch->lock);
    prefetch->n_busy--;
    error.status = status;
    prefetch->slots[i_slot] = (slot_state){true, error};
    pthread_cond_broadcast(&prefetch->news);
}

static void *worker_main(void *arg)
{
    vlm_prefetch *prefetch = arg;
    pthread_mutex_lock(&prefetch->lock);
    const int worker = prefetch->n_started++;
    while (!prefetch->is_closing) {
        if (has_work(prefetch)) work_once(prefetch, worker);
        else pthread_cond_wait(&prefetch->work, &prefetch->lock);
    }
    pthread_mutex_unlock(&prefetch->lock);
    return NULL;
}

vlmoe_status vlm_prefetch_open(const vlm_prefetch_params *params, vlm_prefetch **out,
                               vlmoe_error *error)
{
    if (params->n_workers < 1 || params->n_slots < 2)
        return vlm_fail(error, VLMOE_E_ARG,
                        "prefetch with %d threads and %d slots, expected at least 1 and 2",
                        params->n_workers, params->n_slots);
    vlm_prefetch *prefetch = vlm_alloc(sizeof *prefetch);
    if (!prefetch) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for prefetch");
    prefetch->params = *params;
    prefetch->held = -1;
    pthread_mutex_init(&prefetch->lock, NULL);
    pthread_cond_init(&prefetch->work, NULL);
    pthread_cond_init(&prefetch->news, NULL);
    prefetch->slots = vlm_alloc_array((size_t)params->n_slots, sizeof *prefetch->slots);
    prefetch->threads = vlm_alloc_array((size_t)params->n_workers, sizeof *prefetch->threads);
    bool ok = prefetch->slots && prefetch->threads;
    for (int i = 0; ok && i < params->n_workers; i++) {
        ok = pthread_create(&prefetch->threads[i], NULL, worker_main, prefetch) == 0;
        prefetch->n_threads += ok;
    }
    if (!ok) {
        vlm_prefetch_close(prefetch);
        return vlm_fail(error, VLMOE_E_NOMEM, "cannot start %d prefetch threads",
                        params->n_workers);
    }
    *out = prefetch;
    return VLMOE_OK;
}

void vlm_prefetch_close(vlm_prefetch *prefetch)
{
    if (!prefetch) return;
    atomic_store(&prefetch->cancel, true);
    pthread_mutex_lock(&prefetch->lock);
    prefetch->is_closing = true;
    pthread_cond_broadcast(&prefetch->work);
    pthread_mutex_unlock(&prefetch->lock);
    for (int i = 0; i < prefetch->n_threads; i++) pthread_join(prefetch->threads[i], NULL);
    pthread_cond_destroy(&prefetch->news);
    pthread_cond_destroy(&prefetch->work);
    pthread_mutex_destroy(&prefetch->lock);
    vlm_free(prefetch->threads);
    vlm_free(prefetch->slots);
    vlm_free(prefetch);
}

vlmoe_status vlm_prefetch_next(vlm_prefetch *prefetch, int *out_slot, vlmoe_error *error)
{
    pthread_mutex_lock(&prefetch->lock);
    const int64_t number = prefetch->held + 1;
    if (prefetch->params.limit >= 0 && number >= prefetch->params.limit) {
        pthread_mutex_unlock(&prefetch->lock);
        *out_slot = -1;
        return VLMOE_OK;
    }
    slot_state *slot = &prefetch->slots[number % prefetch->params.n_slots];
    if (!slot->is_done) {
        double start = vlm_now();
        while (!slot->is_done) pthread_cond_wait(&prefetch->news, &prefetch->lock);
        prefetch->wait_seconds += vlm_now() - start;
    }
    vlmoe_error found = slot->error;
    if (!found.status) {
        slot->is_done = false; /* for the piece n_slots later */
        prefetch->held = number;
        pthread_cond_signal(&prefetch->work);
    }
    pthread_mutex_unlock(&prefetch->lock);
    if (found.status) return vlm_fail(error, found.status, "%s", found.text);
    *out_slot = (int)(number % prefetch->params.n_slots);
    return VLMOE_OK;
}

void vlm_prefetch_seek(vlm_prefetch *prefetch, int64_t number)
{
    atomic_store(&prefetch->cancel, true);
    pthread_mutex_lock(&prefetch->lock);
    while (prefetch->n_busy > 0) pthread_cond_wait(&prefetch->news, &prefetch->lock);
    for (int i = 0; i < prefetch->params.n_slots; i++) prefetch->slots[i].is_done = false;
    prefetch->ticket = number;
    prefetch->held = number - 1;
    atomic_store(&prefetch->cancel, false);
    pthread_cond_broadcast(&prefetch->work);
    pthread_mutex_unlock(&prefetch->lock);
}

double vlm_prefetch_wait_seconds(const vlm_prefetch *prefetch)
{
    return prefetch->wait_seconds;
}
