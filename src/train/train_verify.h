/* Does a layout of ranks compute what one rank computes? A few steps of a config on ranks, the same steps on rank 0 alone, and what
 * differs first. Nothing is written. */
#ifndef VLM_TRAIN_VERIFY_H
#define VLM_TRAIN_VERIFY_H

#include "train.h"

typedef struct vlm_verify_params {
    int64_t steps;        /* fewer where the run ends before */
    const char *from;     /* checkpoint, or folder of a run, to go on from; NULL = the beginning */
    int n_force;          /* as of vlmoe_trainer_resume */
    const char *const *force;
    void (*say)(void *user, const char *line); /* progress, on rank 0, one call at a time; NULL = none */
    void *user;
} vlm_verify_params;

typedef struct vlm_verify_result {
    bool differs;
    char text[1024]; /* the verdict, the same on all ranks */
} vlm_verify_result;

/* Collective; seat->size > 1. Rank 0 runs its part alone while the others wait, and needs memory for the whole model then, which it says
 * beforehand. A failure is one on all ranks.
 * Errors: ARG (run.memory_mib does not do for the whole model; config), STATE (no steps are left), those of a trainer and of vlm_comm. */
vlmoe_status vlm_verify(const vlmoe_config *config, const vlmoe_trainer_params *trainer, vlm_seat *seat, const vlm_verify_params *params,
                        vlm_verify_result *out, vlmoe_error *error);

#endif
