/* Inside of a trainer, and the services that the tools build on. A checkpoint folder holds:
 *   model.safetensors      parameters by name (docs/FORMATS.md), an image tokeniser's under "image_tokeniser." when one is used
 *   optimiser.safetensors  "m/NAME" and "v/NAME" of trained parameters
 *   state.safetensors      code book state, if any
 *   labels.txt             names of the classes of a tuned task
 *   config.json            number keys;  state.json: step, hashes, versions;  text.model: the SentencePiece model
 *   checksums.json */
#ifndef VLM_TRAIN_H
#define VLM_TRAIN_H

#include "base_json.h"
#include "ckpt_dir.h"
#include "ckpt_safetensors.h"
#include "comm_ranks.h"
#include "config.h"
#include "data_group.h"
#include "model_head.h"
#include "model_tokeniser.h"
#include "objective.h"
#include "train_ranks.h"
#include "train_task.h"
#include "vlmoe/train.h"

struct vlmoe_trainer {
    vlmoe_config *config;
    vlmoe_error error;
    vlm_log log;
    vlmoe_context *ctx;
    vlm_spm *spm;               /* NULL when no texts are used */
    char *text_model;           /* path of its file, */
    vlm_text text_bytes;        /* and what it held when it was opened: checkpoints carry that */
    const vlm_task_info *task;  /* of config */
    vlm_mome *model;            /* NULL in task image_tokeniser */
    vlm_head *head;             /* of a tuned task, else NULL */
    vlm_head *contrast_head;    /* of the contrastive part of pretraining, or NULL */
    const vlm_classes *classes; /* of a tuned task but retrieval, from its data or its checkpoint; else NULL */
    vlm_classes own_classes;    /* those of a checkpoint */
    vlm_tokeniser *tokeniser;   /* trained in task image_tokeniser; frozen target maker in pretrain; NULL without image parts */
    vlm_source *train, *val;    /* val NULL when no val_* is set */
    int64_t step;               /* done */
    int32_t *codes;             /* [A + B, P] of the present group */
    bool is_meta;
    const char *from;           /* what will be resumed, while it is created; borrowed */
    size_t memory_left;         /* of run.memory_mib beyond what is planned for steps; 0 without such a target */
    struct vlm_health *health;  /* dead experts and collapsed routing, for warnings */
    int bad, bad_rank;          /* of the last turn: VLM_BAD_* or the part whose loss is not finite, and on which rank */
    vlm_seat *seat;             /* this trainer is one of several; borrowed; NULL = there is one, and no: */
    vlm_ranks ranks;
    vlm_text result;            /* of a group, packed for the other ranks; kept, as is: */
    size_t *result_at;          /* [ranks + 1] */
    bool (*should_stop)(void *user); /* with ranks: asked in each turn, so that all stop after the same step; NULL = never */
    void *stop_user;
    bool stops;                 /* some rank was asked to stop, and all know it */
    struct vlm_contrast *contrast; /* a loss over all groups of a step; NULL = there is none */
    struct vlm_dump *dump;      /* one step's dump, NULL = none */
};

/* As vlmoe_trainer_create; seat: its place among ranks, which outlives it; NULL: there is one. from: folder of the run or checkpoint that
 * will be resumed, so that task.init is not needed any more; NULL: none. Collective. */
vlmoe_status vlm_trainer_create(const vlmoe_config *config, const vlmoe_trainer_params *params, vlm_seat *seat, const char *from,
                                vlmoe_trainer **out, vlmoe_error *error);
/* The text model at trainer->text_model, and its bytes. Errors: IO, FORMAT, NOMEM; the text is the trainer's. */
vlmoe_status vlm_trainer_open_text(vlmoe_trainer *trainer);
/* Data and context are open, the model is not built: compare with the other ranks and join them. target, init: checkpoints of the image
 * tokeniser and of task.init, or NULL.  Errors: ARG (ranks differ, naming in what), those of vlm_comm. */
vlmoe_status vlm_trainer_join(vlmoe_trainer *trainer, const char *target, const char *init);

/* The context is open: models, slabs and memory for codes. */
vlmoe_status vlm_trainer_models_make(vlmoe_trainer *trainer, int64_t n_words, int64_t classes);

/* A model to evaluate or predict with, from a checkpoint folder (or a run's folder: its newest): a trainer without training data and
 * moments. Its config is the checkpoint's with n_set settings on top; val is open when they name held-out sets. */
vlmoe_status vlm_load(const char *path, int n_set, const char *const *set, const vlm_log *log, vlmoe_trainer **out, vlmoe_error *error);

#endif
