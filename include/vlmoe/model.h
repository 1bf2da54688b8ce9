/* The vision-language encoder from C: features and predictions of pictures and texts. Training
 * is vlmoe/train.h. */
#ifndef VLMOE_MODEL_H
#define VLMOE_MODEL_H

#include "vlmoe/config.h"
#include "vlmoe/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlmoe_model vlmoe_model; /* its weights are parameters of its context */

/* Register a model's parameters in ctx, by the config's sections model, moe and data
 * (pixel_mean, pixel_std). n_words: vocabulary of the texts with special pieces; n_codes: image
 * codes of the image head, 0 = no such head. ctx must outlive the model. Text of failures:
 * vlmoe_context_error.  Errors: ARG, SHAPE, STATE (ctx has recorded already), NOMEM. */
VLMOE_API vlmoe_status vlmoe_model_create(vlmoe_context *ctx, const vlmoe_config *config,
                                          int64_t n_words, int64_t n_codes, vlmoe_model **out);
/* NULL allowed; the parameters stay in the context. */
VLMOE_API void vlmoe_model_destroy(vlmoe_model *model);

/* Random first values of all parameters of the context, by its seed; weights are zero until this
 * or a checkpoint gives them values. */
VLMOE_API vlmoe_status vlmoe_model_init(vlmoe_model *model);

/* Samples in host memory, borrowed during a call. Pictures are those of images, then those of
 * pairs; texts those of pairs, then texts. */
typedef struct vlmoe_model_inputs {
    size_t struct_size;
    int64_t n_images, n_texts, n_pairs;
    const uint8_t *pixels;      /* [n_images + n_pairs, S, S, 3] red, green, blue         */
    const uint8_t *patch_mask;  /* [n_images + n_pairs, P] 1 = hidden; NULL = none        */
    const int32_t *token;       /* [text_offset[n_pairs + n_texts]] word ids, [CLS] first */
    const int32_t *text_offset; /* [n_pairs + n_texts + 1], from 0                        */
} vlmoe_model_inputs;
/* clang-format off */
#define VLMOE_MODEL_INPUTS { sizeof(vlmoe_model_inputs), 0, 0, 0, NULL, NULL, NULL, NULL }
/* clang-format on */

typedef enum vlmoe_pool {
    VLMOE_POOL_CLS = 0, /* the first row: [I_CLS] of a picture, [CLS] of a text */
    VLMOE_POOL_MEAN = 1 /* mean of the other rows; of a text with one token, that token */
} vlmoe_pool;

VLMOE_API int64_t vlmoe_model_width(const vlmoe_model *model);   /* D */
VLMOE_API int64_t vlmoe_model_patches(const vlmoe_model *model); /* P */

/* out [n_images + n_pairs + n_pairs + n_texts, D]: a vector for each picture, then for each
 * text. Picture and text of a pair see each other.  Errors: ARG (naming what is out of range),
 * NOMEM, UNSUPPORTED (meta), DEVICE. */
VLMOE_API vlmoe_status vlmoe_model_embed(vlmoe_model *model, const vlmoe_model_inputs *inputs,
                                         vlmoe_pool pool, float *out);

/* Logits of the word head at n places: at[i] is an index into inputs->token. out [n, n_words].
 * Errors: as embed. */
VLMOE_API vlmoe_status vlmoe_model_word_logits(vlmoe_model *model, const vlmoe_model_inputs *inputs,
                                               int64_t n, const int64_t *at, float *out);
/* Logits of the image code head at n places: at[i] = picture * P + patch. out [n, n_codes].
 * Errors: as embed, STATE (no such head). */
VLMOE_API vlmoe_status vlmoe_model_code_logits(vlmoe_model *model, const vlmoe_model_inputs *inputs,
                                               int64_t n, const int64_t *at, float *out);

#ifdef __cplusplus
}
#endif
#endif
