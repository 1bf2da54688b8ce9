/* The MoME encoder of VL-MoE: embeddings, blocks of shared self-attention and modality
 * feed-forwards, final norm, prediction heads. Facts: arXiv 2303.07226 section 3; row order of a
 * group: data_group.h. Parameter names: docs/FORMATS.md. */
#ifndef VLM_MODEL_MOME_H
#define VLM_MODEL_MOME_H

#include "config_task.h"
#include "nn.h"

typedef struct vlm_mome vlm_mome;

/* Register all parameters (in the order of docs/FORMATS.md). n_words: vocabulary with special
 * pieces. n_codes: image codes, 0 = no image head. A config of a tuned task (config_task.h) makes the encoder alone, and with
 * task.freeze_moe without balance losses. Borrows ctx; copies what it needs of config.
 * Errors: ARG, SHAPE, NOMEM. */
vlmoe_status vlm_mome_create(vlmoe_context *ctx, const vlmoe_config *config, int64_t n_words,
                             int64_t n_codes, vlm_mome **out);
void vlm_mome_destroy(vlm_mome *model); /* NULL allowed */

/* Inputs of one group, host memory (vlm_group's arrays, or a user's own). Zero counts are legal. */
typedef struct vlm_mome_inputs {
    int64_t n_images, n_texts, n_pairs; /* A, C, B of data_group.h */
    const uint8_t *pixels;              /* [A + B, S, S, 3]; with picture [n_distinct, S, S, 3] */
    const int32_t *picture;             /* [A + B] which of n_distinct pictures each is; NULL = each its own */
    int64_t n_distinct;                 /* read with picture only */
    const uint8_t *patch_mask;          /* [A + B, P] 1 = hidden; NULL = none */
    const int32_t *token;               /* [text_offset[B + C]] */
    const int32_t *text_offset;         /* [B + C + 1] */
} vlm_mome_inputs;

/* Where things are in the rows of an encoded group. */
typedef struct vlm_mome_rows {
    int64_t n_rows;                 /* n_vision + n_text */
    int64_t n_vision, n_text;       /* pictures of A and B; texts of B and C */
    int64_t pair_begin, pair_count; /* rows of pairs, contiguous */
    int64_t patches;                /* P: picture i has rows i (1 + P) .. , its [I_CLS] first */
    int64_t text_begin;             /* text j has rows text_begin + text_offset[j] .. */
} vlm_mome_rows;

/* Routing of one sparse layer in one recording, for telemetry and dumps. Sets of 'v': [images,
 * pairs]; of 't': [pairs, texts]; in the VL blocks the pairs' set is absent. */
typedef struct vlm_mome_routing {
    const vlm_moe_layer *layer;
    vlm_routing *routing;
    int n_sets;
    const char *set_name[2]; /* "images", "pairs", "texts" */
} vlm_mome_routing;

typedef struct vlm_mome_output {
    vlmoe_tensor *hidden; /* [n_rows, D] wide, after the final norm */
    vlm_mome_rows rows;
    int n_routings;
    vlm_mome_routing *routings; /* [n_routings] by block, v before t; host, of the recording */
    /* [2 layers, n_rows] host: row scales of the attention (2l) and feed-forward (2l + 1) branches;
     * NULL without drop path. */
    const float *drop_path;
} vlm_mome_output;

/* Record the encoder. The first n_recompute blocks are segments: run again in backward. On failure the tape is poisoned and hidden
 * is NULL. */
void vlm_mome_encode(vlmoe_tape *tape, const vlm_mome *model, const vlm_mome_inputs *inputs,
                     int64_t n_recompute, vlm_mome_output *out);

/* Heads on gathered rows x [M, D]: word logits [M, n_words] wide, code logits [M, n_codes] wide. */
vlmoe_tensor *vlm_mome_word_logits(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x);
vlmoe_tensor *vlm_mome_code_logits(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x);

/* Parameters: all, and those that one token of each modality meets (router and k experts of each
 * sparse layer counted). */
typedef struct vlm_mome_size {
    int64_t total, per_vision_token, per_text_token;
    /* All shared and dense parameters, and k experts of every sparse layer: "applied" in the
     * paper's sense. */
    int64_t per_token;
} vlm_mome_size;
vlm_mome_size vlm_mome_count(const vlm_mome *model);

#endif
