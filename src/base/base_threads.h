/* The same work several times over at the same time, each on a thread of its own: for parts that wait for each other. Tiles of one
 * product are base_team's. */
#ifndef VLM_BASE_THREADS_H
#define VLM_BASE_THREADS_H

#include "base.h"

typedef void (*vlm_part_fn)(void *arg, int i);

/* fn(arg, i) for i in [0, n), 0 on the calling thread; returns when all have ended. All begin or none does, so a part may wait for any
 * other. Errors: NOMEM (also when the system refuses a thread): fn was not called. */
vlmoe_status vlm_threads_run(int n, vlm_part_fn fn, void *arg, vlmoe_error *error);

#endif
