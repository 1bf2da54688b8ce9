/* What the files of the image tokeniser share. Private to src/model. */
#ifndef VLM_MODEL_TOKENISER_PARTS_H
#define VLM_MODEL_TOKENISER_PARTS_H

#include "model_tokeniser.h"

/* A transformer block with one feed-forward for everything. */
typedef struct vlm_plain_block {
    vlm_norm_layer norm1, norm2;
    vlm_attention_layer attention;
    vlm_ffn_layer ffn;
} vlm_plain_block;

/* Sums of one step: which codes its features chose, and the features themselves for codes that
 * need a new start. */
typedef struct vlm_code_sums {
    double *count, *sum; /* [codes], [codes, code_dim] */
    float *feature;      /* [n_features, code_dim] unit rows, groups in order */
    int64_t n_features, capacity;
} vlm_code_sums;

struct vlm_tokeniser {
    vlmoe_context *ctx; /* borrowed */
    vlm_cfg_tokeniser config;
    vlm_picture_format picture;
    int64_t patches, patch_width;
    vlm_linear_layer patch, to_code[2], from_code, to_target[2];
    vlmoe_tensor *position;
    vlm_plain_block *encoder, *decoder;
    vlm_norm_layer encoder_norm, decoder_norm;

    float *code, *count, *sum; /* the code book: [codes, code_dim], [codes], [codes, code_dim] */
    void *d_code;              /* [codes, code_dim] wide on the device, equal to code */
    bool started;
    vlm_code_sums step;
    double *work;    /* [work_capacity] host numbers of one call, kept for the next */
    int64_t work_capacity;
    vlmoe_tensor *z; /* [M, code_dim] of the present recording's vlm_tokeniser_loss, for collect */
    const int32_t *d_index; /* [M] */
};

/* Unit features [n P, code_dim] wide of n pictures. */
vlmoe_tensor *vlm_tokeniser_features(vlmoe_tape *tape, const vlm_tokeniser *model, int64_t n,
                                     const uint8_t *pixels);
/* Codes [n P, code_dim] wide to normalised patches [n P, 3 patch patch] wide. */
vlmoe_tensor *vlm_tokeniser_regress(vlmoe_tape *tape, const vlm_tokeniser *model, int64_t n,
                                    vlmoe_tensor *code);

/* At least n doubles of model->work; NULL: the context's error says so. */
double *vlm_tokeniser_work(vlm_tokeniser *model, int64_t n);
vlmoe_status vlm_codebook_init(vlm_tokeniser *model); /* memory; codes are zero until started */
void vlm_codebook_fini(vlm_tokeniser *model);
vlmoe_status vlm_codebook_upload(vlm_tokeniser *model);
vlmoe_status vlm_codebook_check_started(const vlm_tokeniser *model);

#endif
