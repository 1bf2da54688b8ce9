/* The tasks: what each reads, what it is judged by, and which parameters it trains, from where and how fast. */
#ifndef VLM_TRAIN_TASK_H
#define VLM_TRAIN_TASK_H

#include "config_task.h"
#include "context.h"

typedef enum vlm_task_kind {
    VLM_TASK_PRETRAIN,
    VLM_TASK_TOKENISER,
    VLM_TASK_VQA,
    VLM_TASK_NLVR2,
    VLM_TASK_RETRIEVAL,
    VLM_TASK_CLASSIFY,
    VLM_TASK_NLI
} vlm_task_kind;

typedef struct vlm_task_info {
    const char *name; /* run.task */
    const char *metric; /* what the best checkpoint is the best by */
    const char *metric_key; /* its name in held-out records */
    vlm_task_kind kind;
    int stream;       /* whose samples count: 0 images, 1 texts, 2 pairs */
    int64_t classes;  /* in the field's sets; 0 = it has no classes */
    bool is_tuned;    /* has a head, labels (or pairs that belong together) and a metric of its own */
    bool is_lower_better;
} vlm_task_info;
const vlm_task_info *vlm_task_of(const vlmoe_config *config);

/* model.words, or what a model has that meets none. */
int64_t vlm_words_without_model(const vlmoe_config *config);

/* Errors: UNSUPPORTED for what a config may ask and training cannot do. */
vlmoe_status vlm_task_check(const vlmoe_config *config, vlmoe_error *error);

/* Examples of a group of a tuned task: what it judges. */
int64_t vlm_task_examples(const vlmoe_config *config);
/* Classes of its labels: from labels.txt of its first set, or where that is not there the field's number (VQA 3129, ImageNet 1000, two and
 * three); 0 for tasks without.  Errors: IO, FORMAT, NOMEM. */
vlmoe_status vlm_task_classes(const vlmoe_config *config, int64_t *out, vlmoe_error *error);

/* Before the slabs exist: freezes what a task never meets (text parts in classify, ...) and, with task.freeze_moe, routers and experts;
 * sets the rates of blocks (task.layer_decay: decay^(last - id), embeddings 0, block i at i + 1, what follows the blocks last) and of heads
 * (task.head_lr times that). Of pretraining only what a contrastive part's head does not need is frozen. */
void vlm_task_set_params(const vlmoe_config *config, vlmoe_context *ctx);

#endif
