/* Training: model, optimiser, data and counters as one thing that steps, evaluates, saves and resumes. */
#ifndef VLMOE_TRAIN_H
#define VLMOE_TRAIN_H

#include "vlmoe/config.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlmoe_trainer vlmoe_trainer; /* owns its context; one thread at a time */

typedef struct vlmoe_trainer_params {
    size_t struct_size;
    const char *device;  /* "cpu"; "meta" for sizes only: no data is opened, step records without numbers */
    vlmoe_log_fn log_fn; /* NULL = no log */
    void *log_user;
} vlmoe_trainer_params;
#define VLMOE_TRAINER_PARAMS { sizeof(vlmoe_trainer_params), "cpu", NULL, NULL }

/* Open data, build and initialise the model. config is copied. params NULL = all standard. error may be NULL.
 * Errors: ARG, IO, FORMAT, SHAPE, NOMEM, UNSUPPORTED. */
VLMOE_API vlmoe_status vlmoe_trainer_create(const vlmoe_config *config, const vlmoe_trainer_params *params, vlmoe_trainer **out, vlmoe_error *error);
VLMOE_API void vlmoe_trainer_destroy(vlmoe_trainer *trainer); /* NULL allowed */
VLMOE_API const char *vlmoe_trainer_error(const vlmoe_trainer *trainer); /* text of the last failure; never NULL */

/* The four parts of masked pretraining, in the order of the arrays below. */
enum { VLMOE_PART_TEXT = 0, VLMOE_PART_IMAGE = 1, VLMOE_PART_PAIR_TEXT = 2, VLMOE_PART_PAIR_IMAGE = 3, VLMOE_N_PARTS = 4 };

typedef struct vlmoe_step_report {
    size_t struct_size;
    int64_t step;                    /* optimiser steps done, from 1                                              */
    double loss;                     /* what was minimised, balance losses included; natural log                   */
    double part_loss[VLMOE_N_PARTS]; /* mean over masked positions of each part; NaN where a part is off           */
    double part_right[VLMOE_N_PARTS];/* share of masked positions right; NaN where a part is off                   */
    double reconstruction, commitment, code_usage; /* image tokeniser; NaN otherwise                              */
    double grad_norm;                /* L2 over all trained parameters, before clipping                            */
    double lr;
    double seconds;                  /* of this step                                                              */
    double wait_seconds;             /* of them, waiting for data                                                 */
    int64_t samples;                 /* images + texts + pairs of this step                                       */
    double dropped;                  /* share of token-choices not served, all sparse layers                      */
    double metric;                   /* of a task on labels, in evaluation, 0..1: VQA accuracy, mean of six recalls, accuracy; else NaN */
} vlmoe_step_report;

/* One optimiser step.  Errors: NUMERIC (names step, objective and place; parameters unchanged), IO, FORMAT, STATE (all steps done). */
VLMOE_API vlmoe_status vlmoe_trainer_step(vlmoe_trainer *trainer, vlmoe_step_report *report);
VLMOE_API int64_t vlmoe_trainer_steps_done(const vlmoe_trainer *trainer);

/* Held-out losses and accuracies (part_loss, part_right, or the tokeniser's fields); other fields are 0. */
VLMOE_API vlmoe_status vlmoe_trainer_evaluate(vlmoe_trainer *trainer, vlmoe_step_report *report);

/* Write DIR/step-XXXXXXXX, everything that a bit-exact resume needs; a crash leaves older ones whole. dir NULL = run.out. */
VLMOE_API vlmoe_status vlmoe_trainer_save(vlmoe_trainer *trainer, const char *dir);
/* Continue from a checkpoint folder, or from the newest in a run's folder. Number keys that differ are refused unless named in force
 * ("section.key", n_force of them).  Errors: IO, FORMAT, ARG (naming each key), SHAPE, VERSION. */
VLMOE_API vlmoe_status vlmoe_trainer_resume(vlmoe_trainer *trainer, const char *path, int n_force, const char *const *force);

#ifdef __cplusplus
}
#endif
#endif
