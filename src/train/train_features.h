/* Features and predictions of pictures and texts that a user brings. Without an expert capacity in evaluation (the standard) a result
 * depends on its own picture and text alone, bit for bit: not on the other samples of a call, nor on how many there are. */
#ifndef VLM_TRAIN_FEATURES_H
#define VLM_TRAIN_FEATURES_H

#include "train.h"

typedef enum vlm_item_kind { VLM_ITEM_IMAGE, VLM_ITEM_TEXT, VLM_ITEM_PAIR } vlm_item_kind;

typedef struct vlm_items {
    vlm_item_kind kind;         /* of all of them; picture and text of a pair see each other */
    int64_t n;
    const uint8_t *pixels;      /* [n, S, S, 3]; not for texts */
    const int32_t *token;       /* [text_offset[n]] [CLS] first, [SEP] last of each; not for images */
    const int32_t *text_offset; /* [n + 1] */
} vlm_items;

/* Where results go, host memory of the caller; NULL = not wanted. What the kind lacks must be NULL. */
typedef struct vlm_features {
    float *image_cls, *image_mean; /* [n, D] final vector of [I_CLS]; mean of the patches' */
    float *text_cls, *text_mean;   /* [n, D] final vector of [CLS]; mean of the other tokens', [SEP] counted */
    float *word_logits;            /* [text_offset[n], V] word head at every token */
    float *code_logits;            /* [n, P, C] code head at every patch */
} vlm_features;

/* trainer: with a pretrained model (vlm_load). Errors: STATE (an image tokeniser, no code head), NOMEM, and those of the model. */
vlmoe_status vlm_features_make(vlmoe_trainer *trainer, const vlm_items *items, const vlm_features *out);

#endif
