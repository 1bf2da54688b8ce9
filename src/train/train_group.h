/* One group through the model: shared by training steps and evaluation. */
#ifndef VLM_TRAIN_GROUP_H
#define VLM_TRAIN_GROUP_H

#include "train_result.h"
#include "train_contrast.h"

/* Codes of the group's pictures into trainer->codes, where the objective needs them. Its own recording: call before tape_begin. */
vlmoe_status vlm_group_targets(vlmoe_trainer *trainer, const vlm_group *group);
vlm_models vlm_trainer_models(const vlmoe_trainer *trainer); /* borrowed */
/* Record the group. out: valid while the recording lasts; a loss that is not finite is in its bad. */
vlmoe_status vlm_group_record(vlmoe_trainer *trainer, vlmoe_tape *tape, const vlm_group *group, vlm_group_result *out, vlm_recording *recording);
/* vlmoe_trainer_step and _evaluate with the telemetry that the public reports leave out. The caller frees tally. */
vlmoe_status vlm_trainer_step(vlmoe_trainer *trainer, vlmoe_step_report *report, vlm_tally *tally);
vlmoe_status vlm_trainer_evaluate(vlmoe_trainer *trainer, vlmoe_step_report *report, vlm_tally *tally);

/* The image tokeniser's task, collective: a code book before the first step, from its first group; what the present recording, and
 * those of other ranks, chose, in the order of groups. */
vlmoe_status vlm_codes_start(vlmoe_trainer *trainer, const vlm_group *group);
vlmoe_status vlm_codes_collect(vlmoe_trainer *trainer, vlmoe_tape *tape);

/* One element of the device. */
vlmoe_status vlm_scalar_read(vlmoe_tape *tape, const vlmoe_tensor *scalar, double *out);
/* After vlm_results_add found a bad loss, and the recording has ended: record the group again, looking at every output, and name the loss
 * and the first place that was not finite; with ranks, on all of them, with the words of the one that has it. NUMERIC. */
vlmoe_status vlm_group_name_bad(vlmoe_trainer *trainer, vlmoe_mode mode, const vlm_group *group);

#endif
