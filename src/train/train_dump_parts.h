/* What the files that make a step dump share. Private to src/train. */
#ifndef VLM_TRAIN_DUMP_PARTS_H
#define VLM_TRAIN_DUMP_PARTS_H

#include "ckpt_safetensors.h"
#include "objective_retrieval.h"
#include "train_dump.h"

#define D(...) ((int64_t[]){__VA_ARGS__})

/* One array, copied now. Takes name, which may be NULL (out of memory). */
vlmoe_status vlm_dump_host(vlm_dump *dump, vlmoe_trainer *trainer, char *name, vlm_st_dtype dtype, int rank, const int64_t *dims, const void *data);
vlmoe_status vlm_dump_device(vlm_dump *dump, vlmoe_trainer *trainer, char *name, vlm_st_dtype dtype, int rank, const int64_t *dims,
                             const void *data);
/* Routes and drop path of one encoding, drawn at the tape's place. */
vlmoe_status vlm_dump_encoding(vlm_dump *dump, vlmoe_trainer *trainer, vlmoe_tape *tape, const vlm_mome_output *model, const char *base);
/* Labels and results of a group of a task; base is the group's name. */
vlmoe_status vlm_dump_task(vlm_dump *dump, vlmoe_trainer *trainer, vlmoe_tape *tape, const vlm_group *group, const vlm_task *task,
                           const char *base);
/* The contrastive part of a pretraining group. */
vlmoe_status vlm_dump_contrastive(vlm_dump *dump, vlmoe_trainer *trainer, vlmoe_tape *tape, const vlm_retrieval *retrieval, const char *base);
vlmoe_status vlm_dump_retrieval(vlm_dump *dump, vlmoe_trainer *trainer, vlmoe_tape *tape, const vlm_retrieval *retrieval, const char *base);

#endif
