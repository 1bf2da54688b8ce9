/* One step's inputs, choices, losses and gradients as a safetensors file: names and shapes in docs/FORMATS.md, "Step dump". */
#ifndef VLM_TRAIN_DUMP_H
#define VLM_TRAIN_DUMP_H

#include "train.h"
#include "train_record.h"

typedef struct vlm_dump vlm_dump;
/* Arrays are copied to memory and written by close. Errors: NOMEM. */
vlmoe_status vlm_dump_open(const char *path, vlm_dump **out, vlmoe_error *error);
vlmoe_status vlm_dump_params(vlm_dump *dump, vlmoe_trainer *trainer, const char *prefix); /* "param" or "after" */
vlmoe_status vlm_dump_grads(vlm_dump *dump, vlmoe_trainer *trainer);
vlmoe_status vlm_dump_group(vlm_dump *dump, vlmoe_trainer *trainer, vlmoe_tape *tape, const vlm_group *group, const vlm_recording *recording);
/* Write everything; the dump is gone afterwards. NULL allowed. report: of the dumped step. */
vlmoe_status vlm_dump_close(vlm_dump *dump, vlmoe_trainer *trainer, const vlmoe_step_report *report, vlmoe_error *error);
void vlm_dump_abandon(vlm_dump *dump); /* NULL allowed; nothing is written */

#endif
