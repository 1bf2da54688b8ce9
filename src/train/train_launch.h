/* The ranks of a run: threads of this process, or this process among those that mpirun started. */
#ifndef VLM_TRAIN_LAUNCH_H
#define VLM_TRAIN_LAUNCH_H

#include "train.h"

typedef struct vlm_launch {
    int size;    /* ranks of the run; 1 = alone; 0 = known once they run */
    bool is_mpi; /* each is a process */
    bool speaks; /* out: a failure is this process's to report; not when it is the same on all ranks and another is the first */
} vlm_launch;

/* From run.ranks and from what mpirun says.  Errors: ARG (they contradict each other). */
vlmoe_status vlm_launch_plan(const vlmoe_config *config, vlm_launch *out, vlmoe_error *error);
/* Do so many ranks fit the config's groups and experts?  Errors: ARG, with the keys and numbers that do. */
vlmoe_status vlm_launch_check(const vlmoe_config *config, int n_ranks, vlmoe_error *error);
/* A rank's place, without a communicator. */
vlm_seat vlm_launch_seat(const vlm_launch *launch, const vlmoe_config *config, int rank);

/* Run fn as each rank of this process; the first on the calling thread. seat is NULL where there is one rank. A rank that fails on its
 * own tells the others. Returns when all have returned: OK, or what went wrong first, with its rank. Errors: fn's; those of
 * vlm_launch_check; COMM, UNSUPPORTED, NOMEM. */
typedef vlmoe_status (*vlm_rank_fn)(void *arg, vlm_seat *seat, vlmoe_error *error);
vlmoe_status vlm_launch_run(vlm_launch *launch, const vlmoe_config *config, vlm_rank_fn fn, void *arg, vlmoe_error *error);

#endif
