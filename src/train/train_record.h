/* One group through the model and its objective, whatever the task: what steps, evaluations, plans and calibrations record. */
#ifndef VLM_TRAIN_RECORD_H
#define VLM_TRAIN_RECORD_H

#include "data_group.h"
#include "model_head.h"
#include "model_tokeniser.h"
#include "objective.h"
#include "objective_retrieval.h"
#include "objective_task.h"
#include "train_task.h"

/* What a config trains; NULL where its task has none. */
typedef struct vlm_models {
    vlm_mome *model;          /* the encoder */
    vlm_head *head;           /* of a tuned task */
    vlm_head *contrast;       /* features of pairs in pretraining with objective.contrastive_weight */
    vlm_tokeniser *tokeniser; /* what is trained, or the maker of targets */
    int32_t *codes;           /* [A + B, P] targets of the present group */
} vlm_models;

/* Register what config trains in ctx, and which of it is trained how (train_task.h). classes: of a tuned task but retrieval.
 * Errors: those of the models, in ctx. On failure models holds what was made: free it. */
vlmoe_status vlm_models_make(vlmoe_context *ctx, const vlmoe_config *config, int64_t n_words, int64_t classes, vlm_models *models);
void vlm_models_free(vlm_models *models); /* all that is not NULL */

/* What was recorded; host memory of the recording. */
typedef struct vlm_recording {
    const vlm_mome_output *model; /* the (first) encoding; NULL: there is none */
    vlm_masked masked;            /* pretrain */
    vlm_tokeniser_losses losses;  /* image_tokeniser */
    vlm_task task;                /* vqa, nlvr2, classify, nli */
    vlm_retrieval retrieval;      /* retrieval; the contrastive part of pretraining */
} vlm_recording;

/* part: of a contrastive loss that spans the step (objective_retrieval.h), else NULL. On failure the tape is poisoned. */
void vlm_recording_make(vlmoe_tape *tape, const vlm_models *models, const vlmoe_config *config, const vlm_group *group,
                        const vlm_contrastive_part *part, vlm_recording *out);
/* Nobody reads logits any more. */
void vlm_recording_release(vlmoe_tape *tape, vlm_recording *recording);

#endif
