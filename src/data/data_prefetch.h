/* Threads that prepare numbered pieces of work ahead, handed out in order. Which thread prepared a
 * piece never shows. Not here: what a piece is (data_source.c makes groups). */
#ifndef VLM_DATA_PREFETCH_H
#define VLM_DATA_PREFETCH_H

#include <stdatomic.h>
#include "base.h"

/* Prepare piece `number` in place `slot`, on thread `worker` of [0, n_workers). A slot has one piece at a time; several slots are worked
 * on at once. When *cancel becomes true the piece is no longer wanted, and returning early with any
 * status is right. */
typedef vlmoe_status (*vlm_prefetch_fn)(void *arg, int64_t number, int slot, int worker,
                                        const atomic_bool *cancel, vlmoe_error *error);

typedef struct vlm_prefetch_params {
    vlm_prefetch_fn fn;
    void *arg;
    int n_workers; /* >= 1 */
    int n_slots;   /* >= 2: the one handed out and those prepared ahead */
    int64_t limit; /* pieces there are, -1 = endless */
} vlm_prefetch_params;

typedef struct vlm_prefetch vlm_prefetch;

/* Starts at piece 0 at once. Errors: ARG, NOMEM (also when the system refuses a thread). */
vlmoe_status vlm_prefetch_open(const vlm_prefetch_params *params, vlm_prefetch **out,
                               vlmoe_error *error);
void vlm_prefetch_close(vlm_prefetch *prefetch); /* NULL allowed; cancels what is being prepared and
                                                    joins the threads */

/* The slot of the next piece, valid until the next call; -1 after the last. A piece that failed
 * gives its error, again and again, until a seek; pieces before it come out first. One caller at a
 * time. */
vlmoe_status vlm_prefetch_next(vlm_prefetch *prefetch, int *out_slot, vlmoe_error *error);
void vlm_prefetch_seek(
    vlm_prefetch *prefetch,
    int64_t number); /* drops what was prepared; waits for pieces in work to notice */
double vlm_prefetch_wait_seconds(const vlm_prefetch *prefetch); /* time next() spent waiting */

#endif
