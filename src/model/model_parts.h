/* What the files of the MoME encoder share: its parameters, and one recording's plan of rows.
 * Private to src/model. */
#ifndef VLM_MODEL_PARTS_H
#define VLM_MODEL_PARTS_H

#include "model_mome.h"

/* Who a feed-forward serves. */
enum { VLM_MOD_V, VLM_MOD_T, VLM_MOD_VL, VLM_N_MODS };
enum { VLM_WHERE_TEXT = 48 };

typedef struct vlm_mome_block {
    vlm_norm_layer norm1;
    vlm_attention_layer attention;
    vlm_norm_layer norm2[VLM_N_MODS];
    bool has_vl;       /* pairs go through norm2[VL] and ffn[VL] */
    bool is_sparse[2]; /* V, T: moe[] instead of ffn[] */
    vlm_ffn_layer ffn[VLM_N_MODS];
    vlm_moe_layer moe[2];
    vlmoe_tensor *scale1, *scale2; /* [D]; NULL without layer scale */
    double drop_path;              /* rate of both branches */
    char where_attention[VLM_WHERE_TEXT], where_ffn[VLM_N_MODS][VLM_WHERE_TEXT];
} vlm_mome_block;

struct vlm_mome {
    vlmoe_context *ctx; /* borrowed */
    int64_t layers, width, hidden, vl_from, text_len, patches, n_words, n_codes, experts_per_token;
    double dropout, drop_path;
    vlm_picture_format picture;
    int64_t param_begin, param_end; /* in the registry of ctx */
    vlmoe_tensor *word_embedding, *text_position, *image_position, *image_cls, *image_mask;
    vlm_linear_layer patch;
    vlm_mome_block *blocks; /* [layers] */
    vlm_norm_layer norm;
    vlm_linear_layer word_dense, code_head;
    vlm_linear_layer word_decoder; /* its weight is word_embedding when tied */
    vlm_norm_layer word_norm;
};

/* One recording: where the rows are, who attends to whom, which draws of drop path apply. Host
 * memory of the recording. */
typedef struct vlm_mome_plan {
    const vlm_mome *model;
    vlm_mome_inputs in;
    vlm_mome_rows rows;
    vlm_attention_layout layout;
    const char *d_drop_path; /* [2 layers, n_rows] wide on the device; NULL = off */
    float *drop_path;        /* the same on the host */
    vlm_mome_output *out;    /* routings are filled in by the blocks */
} vlm_mome_plan;

/* Check inputs and lay out rows, attention and drop path. NULL after poisoning. */
vlm_mome_plan *vlm_mome_plan_make(vlmoe_tape *tape, const vlm_mome *model,
                                  const vlm_mome_inputs *inputs);
/* The residual stream before the first block [n_rows, D] wide. */
vlmoe_tensor *vlm_mome_embed(vlmoe_tape *tape, const vlm_mome_plan *plan);
/* One block; a vlm_segment_fn with a vlm_mome_call as argument. */
typedef struct vlm_mome_call {
    const vlm_mome_plan *plan;
    int64_t block;
} vlm_mome_call;
vlmoe_tensor *vlm_mome_block_run(vlmoe_tape *tape, const void *call, vlmoe_tensor *x);
/* Dropout of model.dropout at a place numbered by site; x itself when it is off. */
vlmoe_tensor *vlm_mome_dropout(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x,
                               uint64_t site);

#endif
