/* Tasks that choose among classes: vqa, nlvr2, classify, nli. One encoding, the task's head, one loss against the labels of the group.
 *   vqa                    independent classes with soft scores: binary cross-entropy, summed over classes
 *   nlvr2, classify, nli   softmax cross-entropy with task.label_smoothing; mixtures of labels are legal
 * The loss is the mean over the samples that have a label; without any it is 0. */
#ifndef VLM_OBJECTIVE_TASK_H
#define VLM_OBJECTIVE_TASK_H

#include "data_group.h"
#include "model_head.h"

/* What computes a task: borrowed. */
typedef struct vlm_task_parts {
    const vlm_mome *model;
    const vlm_head *head;
    const vlmoe_config *config;
} vlm_task_parts;

/* What was recorded; host memory of the recording. */
typedef struct vlm_task {
    vlm_mome_inputs inputs;
    vlm_mome_output model;
    int64_t n, n_labelled; /* samples, those with a label */
    vlmoe_tensor *logits;  /* [n, classes] wide; NULL when n is 0 */
    vlm_class_result result;
} vlm_task;

/* Of one group. */
typedef struct vlm_task_metrics {
    int64_t n;    /* samples with a label */
    double loss;  /* their mean; natural log */
    double score; /* mean score of the class with the largest logit: accuracy, or VQA's soft accuracy */
} vlm_task_metrics;

/* Record encoder, head and loss. A group without labels (label_offset NULL) is for prediction. On failure the tape is poisoned. */
void vlm_task_record(vlmoe_tape *tape, const vlm_task_parts *parts, const vlm_group *group, vlm_task *out);
/* Nobody reads the logits any more. */
void vlm_task_release(vlmoe_tape *tape, vlm_task *task);
/* Both after the forward, waiting for the device. metrics: of the labels the group has. */
vlmoe_status vlm_task_metrics_read(vlmoe_tape *tape, const vlm_task *task, const vlm_group *group, vlm_task_metrics *out);
/* out [n, classes]; before the release. */
vlmoe_status vlm_task_logits_read(vlmoe_tape *tape, const vlm_task *task, double *out);

#endif
