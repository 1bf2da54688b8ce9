/* A trainer's state as a checkpoint folder, and back. What the folder holds: train.h. */
#ifndef VLM_TRAIN_CHECKPOINT_H
#define VLM_TRAIN_CHECKPOINT_H

#include "train.h"

/* state.json of a checkpoint. */
typedef struct vlm_checkpoint_state {
    int64_t step;
    char task[32];
    char library[32], device[128]; /* who wrote it; shown, and said in a warning when a resume differs */
} vlm_checkpoint_state;

/* An opened checkpoint with its config and state; path may be a run's folder (its newest checkpoint is taken) or a checkpoint. */
typedef struct vlm_checkpoint {
    char *path; /* of the checkpoint itself */
    vlm_ckpt *files;
    vlmoe_config *config;
    vlm_checkpoint_state state;
} vlm_checkpoint;
/* Every checksum is verified. Errors: IO, FORMAT, VERSION, ARG (config), NOMEM. */
vlmoe_status vlm_checkpoint_open(const char *path, vlm_checkpoint *out, vlmoe_error *error);
void vlm_checkpoint_close(vlm_checkpoint *checkpoint);

/* DIR/step-XXXXXXXX; older ones are pruned (keep_last of the config, and the best). Collective: what is not parameters and moments is
 * written by rank 0; a failure on any rank leaves no folder and is one on all. */
vlmoe_status vlm_checkpoint_save(vlmoe_trainer *trainer, const char *dir, vlmoe_error *error);
/* Parameters (of names that begin with name_prefix; "" = all) and code book. */
vlmoe_status vlm_checkpoint_load_model(const vlm_checkpoint *checkpoint, vlmoe_context *ctx, vlm_tokeniser *tokeniser, const char *name_prefix, vlmoe_error *error);
/* Names of its classes. Errors: FORMAT (it has none), IO, NOMEM. */
vlmoe_status vlm_checkpoint_classes(const vlm_checkpoint *checkpoint, vlm_classes *out, vlmoe_error *error);
/* Data must have the classes that a checkpoint was trained with. NULL: no task with classes. Errors: ARG (naming the first that differs). */
vlmoe_status vlm_checkpoint_check_classes(const vlm_checkpoint *checkpoint, const vlm_classes *classes, vlmoe_error *error);
vlmoe_status vlm_checkpoint_load_optimiser(const vlm_checkpoint *checkpoint, vlmoe_context *ctx, vlmoe_error *error);

#endif
