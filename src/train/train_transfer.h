/* The beginning of fine-tuning: an encoder out of the checkpoint of another task. Which parameters are trained from there, and how fast, is
 * train_task.h's. */
#ifndef VLM_TRAIN_TRANSFER_H
#define VLM_TRAIN_TRANSFER_H

#include "train_checkpoint.h"

/* Values of ctx's parameters from the checkpoint, by name:
 *   encoder          as it is; it must all be there. image_position: the grid resampled (train_resample.h), [I_CLS]'s kept;
 *                    text_position: cut when the checkpoint's is longer
 *   head.retrieval.  as it is where both have it in equal shape (it knows no classes)
 *   other head.      keep their first values
 * The checkpoint's prediction heads and image tokeniser are left out; any other tensor that ctx does not know, and any other shape, is
 * refused by name before the first value is changed. What was done is logged, a line of each kind. Not collective: every rank reads what
 * it holds.  config: the run's; numbers of the encoder that no shape shows (heads, experts per token, ...) must be the checkpoint's.
 * Errors: ARG (those numbers), FORMAT, DTYPE, SHAPE (naming file, tensor, both shapes), IO, NOMEM. */
vlmoe_status vlm_transfer(const vlm_checkpoint *from, const vlmoe_config *config, vlmoe_context *ctx, vlmoe_error *error);

/* Path of the text model of a run that starts there: configured, or the checkpoint's own where that is "". Both must be the same bytes.
 * *out: the caller frees; NULL: there is none.  Errors: ARG (they differ), IO, NOMEM. */
vlmoe_status vlm_transfer_text_model(const vlm_checkpoint *from, const char *configured, char **out, vlmoe_error *error);

#endif
