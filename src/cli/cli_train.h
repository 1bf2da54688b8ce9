/* Runs of vlmoe-train: training, dry runs and comparisons, on one rank or many. */
#ifndef VLM_CLI_TRAIN_H
#define VLM_CLI_TRAIN_H

#include "config.h"

enum { VLM_CLI_MOST_ARGS = 256 };
typedef struct vlm_cli_train_options {
    bool resume, dry_run, shows_memory, profiles;
    const char *json;                    /* with shows_memory: a file for the same numbers; NULL = none */
    const char *dump;                    /* file for the inputs and gradients of the next step; NULL = none */
    const char *trace;                   /* of the profile; NULL = run.out/trace.json */
    int64_t profile_first, profile_last; /* 0 = as vlm_profile_create chooses */
    int64_t verify_steps;                /* 0 = no comparison with one rank */
    int n_force;
    const char *force[VLM_CLI_MOST_ARGS]; /* keys whose numbers may differ from the checkpoint's */
} vlm_cli_train_options;

/* Returns an exit code. */
int vlm_cli_train(const vlmoe_config *config, const vlm_cli_train_options *options);

#endif
