/* One group through the model: shared by training steps and evaluation. */
#ifndef VLM_TRAIN_GROUP_H
#define VLM_TRAIN_GROUP_H

#include "train_report.h"

/* Codes of the group's pictures into trainer->codes, where the objective needs them. Its own recording: call before tape_begin. */
vlmoe_status vlm_group_targets(vlmoe_trainer *trainer, const vlm_group *group);
/* Record the group and add its losses to tally; masked is filled in pretraining. Errors: NUMERIC; then
 * trainer->bad_loss is set, and vlm_group_name_bad gives the text once the recording has ended. */
vlmoe_status vlm_group_record(vlmoe_trainer *trainer, vlmoe_tape *tape, const vlm_group *group, vlm_tally *tally, vlm_masked *masked);
/* vlmoe_trainer_step and _evaluate with the telemetry that the public reports leave out. The caller frees tally. */
vlmoe_status vlm_trainer_step(vlmoe_trainer *trainer, vlmoe_step_report *report, vlm_tally *tally);
vlmoe_status vlm_trainer_evaluate(vlmoe_trainer *trainer, vlmoe_step_report *report, vlm_tally *tally);

/* One element of the device. */
vlmoe_status vlm_scalar_read(vlmoe_tape *tape, const vlmoe_tensor *scalar, double *out);
/* Record the group again, looking at every output, and name the loss and the first place that was not finite. NUMERIC. */
vlmoe_status vlm_group_name_bad(vlmoe_trainer *trainer, vlmoe_mode mode, const vlm_group *group);

#endif
