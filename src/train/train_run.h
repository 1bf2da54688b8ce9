/* A whole run, of one rank or of each of several: steps, records, evaluations, checkpoints, until it is done or asked to stop. The caller brings signals and a screen. */
#ifndef VLM_TRAIN_RUN_H
#define VLM_TRAIN_RUN_H

#include "train_profile.h"
#include "train_report.h"

/* With ranks, all of them have should_stop (asked more often; one yes stops all after the same step), and rank 0 alone the others. */
typedef struct vlm_run_hooks {
    bool (*should_stop)(void *user); /* asked after every step */
    void (*progress)(void *user, const char *kind, const vlmoe_step_report *report, const vlm_tally *tally); /* "train" or "eval" */
    void (*saved)(void *user, const char *folder);
    void *user;
    vlm_profile *profile; /* measures some of the steps; NULL = none */
} vlm_run_hooks;

typedef enum vlm_run_end { VLM_RUN_COMPLETE, VLM_RUN_STOPPED } vlm_run_end;

/* Run to config.run.steps. Writes run.out/metrics.jsonl (cut back to the present step first), run.out/config.json, checkpoints and the best
 * one by held-out loss. Stopping and completing both save. On a failure of a step nothing is saved: parameters are those of the
 * step before.  dump_path: the next step is dumped there; NULL = none. */
vlmoe_status vlm_run(vlmoe_trainer *trainer, const vlm_run_hooks *hooks, const char *dump_path, vlm_run_end *end, vlmoe_error *error);

#endif
