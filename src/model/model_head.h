/* Heads of tasks on an encoded group, in the forms of VLMo and BEiT-3 (Bao et al. 2022, Wang et al. 2022). Parameters are named
 * head.<task>.<part>; which rows a head reads is decided here, what is minimised in objective_task.h and objective_retrieval.h.
 *
 *   vqa        pooler of a pair's [T_CLS]; linear to 2D, layer norm, GELU, linear to the classes
 *   nlvr2      poolers of two pairs 2i and 2i + 1 side by side; the same with 2D -> 2D
 *   classify   mean of the final vectors of a picture's patches; layer norm, linear
 *   nli        pooler of a text's [CLS]; linear
 *   retrieval  features: a bias-free linear map per modality of [I_CLS] and [T_CLS], divided by their length, and a learned temperature;
 *              matching: pooler of a pair's [T_CLS], linear to (no, yes)
 * pooler: linear, tanh. Dropout stands before the last linear map, except in retrieval. */
#ifndef VLM_MODEL_HEAD_H
#define VLM_MODEL_HEAD_H

#include "model_mome.h"

typedef enum vlm_head_kind {
    VLM_HEAD_VQA,
    VLM_HEAD_NLVR2,
    VLM_HEAD_CLASSIFY,
    VLM_HEAD_NLI,
    VLM_HEAD_RETRIEVAL,
    VLM_N_HEADS
} vlm_head_kind;
/* "vqa", ..., as in run.task and in names of parameters. */
extern const char *const vlm_head_names[VLM_N_HEADS];

typedef struct vlm_head vlm_head;

typedef struct vlm_head_spec {
    vlm_head_kind kind;
    int64_t width;       /* D of the encoder */
    int64_t classes;     /* of vqa, nlvr2, classify, nli */
    int64_t embed_width; /* retrieval: width of features, 0 = width */
    double init_std, norm_eps;
    double dropout;
    double temperature; /* retrieval: first value */
} vlm_head_spec;
/* What config says about the head of a task. classes: from the sets' labels.txt; not read for retrieval. */
vlm_head_spec vlm_head_spec_of(const vlmoe_config *config, vlm_head_kind kind, int64_t classes);

/* Register the parameters, after those of the encoder. Borrows ctx.  Errors: ARG, SHAPE, NOMEM. */
vlmoe_status vlm_head_create(vlmoe_context *ctx, const vlm_head_spec *spec, vlm_head **out);
void vlm_head_destroy(vlm_head *head); /* NULL allowed */
vlm_head_kind vlm_head_kind_of(const vlm_head *head);
int64_t vlm_head_classes(const vlm_head *head);     /* columns of its logits; 2 for retrieval's matching */
int64_t vlm_head_embed_width(const vlm_head *head); /* of features; 0 but for retrieval */
/* Its parameters are first .. end-1 in the registry. */
void vlm_head_params(const vlm_head *head, int64_t *first, int64_t *end);

/* A group as it was encoded, and what for: heads find [CLS] rows by both. */
typedef struct vlm_encoded {
    const vlm_mome_inputs *inputs;
    const vlm_mome_output *model;
} vlm_encoded;

/* Samples of a group for this task: pairs, half of them, images or texts; pairs for retrieval's matching. */
int64_t vlm_head_samples(const vlm_head *head, const vlm_mome_inputs *inputs);
/* [samples, classes] wide; of retrieval: matching of every pair, [n_pairs, 2], columns (no, yes). */
vlmoe_tensor *vlm_head_logits(vlmoe_tape *tape, const vlm_head *head, const vlm_encoded *encoded);

/* Retrieval: unit vectors [n_images, E] or [n_texts, E] wide, of images and texts that were encoded apart. */
typedef enum vlm_side { VLM_SIDE_IMAGE, VLM_SIDE_TEXT } vlm_side;
vlmoe_tensor *vlm_head_features(vlmoe_tape *tape, const vlm_head *head, const vlm_encoded *encoded, vlm_side side);
/* Cosines over the temperature [rows of a, rows of b]. */
vlmoe_tensor *vlm_head_similarity(vlmoe_tape *tape, const vlm_head *head, vlmoe_tensor *a, vlmoe_tensor *b);
/* The learned parameter [1]: minus the logarithm of the temperature. */
vlmoe_tensor *vlm_head_log_scale(const vlm_head *head);

#endif
