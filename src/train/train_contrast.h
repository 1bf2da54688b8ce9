/* Retrieval with task.negatives "step": a contrastive loss over the pairs of all groups of a step, in two passes (objective_retrieval.h).
 * Ranks bring their groups' features; each solves the whole. */
#ifndef VLM_TRAIN_CONTRAST_H
#define VLM_TRAIN_CONTRAST_H

#include "train.h"
#include "train_predict.h"

typedef struct vlm_contrast vlm_contrast;

/* *out NULL where the config asks for nothing of it.  Errors: NOMEM. */
vlmoe_status vlm_contrast_create(const vlmoe_config *config, vlm_contrast **out, vlmoe_error *error);
void vlm_contrast_destroy(vlm_contrast *contrast); /* NULL allowed */

/* Passes 1 and 2 of the trainer's next step, collective. The source stands at the step's beginning, before and after. */
vlmoe_status vlm_contrast_solve(vlmoe_trainer *trainer);
/* What a group of that step has to do with the rest; NULL outside training or where groups are for themselves. Valid until the next call. */
const vlm_contrastive_part *vlm_contrast_part(vlmoe_trainer *trainer, vlmoe_mode mode, const vlm_group *group);
/* The step's figures of a group in the place of its own. */
void vlm_contrast_measures(const vlmoe_trainer *trainer, const vlm_group *group, vlm_measures *measures);
/* Record what the passes take, for a plan. Errors are in ctx. */
vlmoe_status vlm_contrast_plan(vlmoe_context *ctx, const vlm_models *models, const vlmoe_config *config, const vlm_group *group, vlmoe_error *error);

#endif
