/* Runs of a few steps on ranks as threads, with made-up gradients: what a run is, and what it left. */
#ifndef TEST_DIST_STATE_RUN_H
#define TEST_DIST_STATE_RUN_H

#include <pthread.h>
#include "cases.h"
#include "train_params.h"

enum { PATH = 512, STEPS = 2, MOST_RANKS = 8 };

/* What a run is; and what it left, by file tensor: master values and moments, gathered from all ranks. */
typedef struct setting {
    int ranks;
    int64_t experts;
    vlmoe_dtype compute, moments;
    size_t bucket_bytes;
    int64_t bad_group;       /* whose gradient of w1 is not finite in the last step; -1 = none */
    int64_t begin, end;      /* steps, from what load holds where begin > 0 */
    const char *save, *load; /* folders; NULL = none */
    bool is_checkpoint;      /* save is for checkpoints: folders with checksums */
    int failing;             /* 1 + the rank that cannot read its device when it saves; 0 = none */
} setting;

typedef struct outcome {
    int64_t n; /* elements of the model */
    char *state[3];
    double norm[STEPS];
    pthread_mutex_t lock;
} outcome;

/* Every rank must end without complaint, and all with the same message (of the last failure that the run was made for; NULL: not wanted). */
outcome state_run(const setting *s, char *message);
void state_free(outcome *o);
void state_path(const char *folder, vlm_state_kind kind, char path[PATH]); /* of the file that a run saves and loads there */

#endif
