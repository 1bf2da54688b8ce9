/* A model and the largest group of a config on a device, to be recorded: what a plan and a calibration have in common. */
#ifndef VLM_TRAIN_PLAN_PARTS_H
#define VLM_TRAIN_PLAN_PARTS_H

#include "train.h"
#include "train_record.h"

typedef struct vlm_plan_parts {
    vlm_models models;         /* codes: zeros */
    vlm_group group;           /* every text at its longest, masks at their highest share, as many labels as there can be */
} vlm_plan_parts;

/* Adds the config's parameters to ctx.  Errors: those of the model; NOMEM. The text is in ctx or error. */
vlmoe_status vlm_plan_parts_make(vlmoe_context *ctx, const vlmoe_config *config, int64_t n_words, vlm_plan_parts *out, vlmoe_error *error);
void vlm_plan_parts_free(vlm_plan_parts *parts); /* also after a failed make */

#endif
