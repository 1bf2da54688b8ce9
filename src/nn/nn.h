/* Layers: parameters plus the calls that use them. A layer struct holds borrowed parameters;
 * nn_* create registers them in a context. */
#ifndef VLM_NN_H
#define VLM_NN_H

#include "op.h"

typedef struct vlm_linear_layer {
    vlmoe_tensor *weight, *bias;
} vlm_linear_layer; /* [out, in], [out] or NULL */
typedef struct vlm_norm_layer {
    vlmoe_tensor *gain, *bias;
    double eps;
} vlm_norm_layer; /* [D], [D] */

/* Shared by all layers of one model while it is built. std is the truncated-normal deviation of
 * its matrices. */
typedef struct vlm_builder {
    vlmoe_context *ctx;
    double std;
    bool trained;        /* false: everything it makes is frozen */
    vlmoe_status status; /* first failure; later calls do nothing */
} vlm_builder;

/* Names are printf formats: prefix + ".weight", ".bias". scale multiplies std (1/sqrt(2 l) on
 * output projections). */
vlmoe_tensor *vlm_builder_add(vlm_builder *b, const vlm_param *spec, int rank, const int64_t *dim);
void vlm_linear_make(vlm_builder *b, const char *name, int64_t out, int64_t in, bool has_bias,
                     double scale, vlm_linear_layer *layer);
void vlm_norm_make(vlm_builder *b, const char *name, int64_t width, double eps,
                   vlm_norm_layer *layer);
vlmoe_tensor *vlm_vector_make(vlm_builder *b, const char *name, vlm_role role, int rank,
                              const int64_t *dim, double std, double value);

/* Self-attention. qkv.weight [3D, D], rows q, k, v, head by head; q and v have biases, k has
 * none (VLMo): one parameter qkv.bias [2, D] = (q, v), spread over the [N, 3D] product by the
 * layer. proj has a bias. */
typedef struct vlm_attention_layer {
    int64_t heads;
    vlmoe_tensor *qkv_weight; /* [3D, D] */
    vlmoe_tensor *qkv_bias;   /* [2, D] */
    vlm_linear_layer proj;
} vlm_attention_layer;
void vlm_attention_make(vlm_builder *b, const char *name, int64_t width, int64_t heads,
                        double out_scale, vlm_attention_layer *layer);
vlmoe_tensor *vlm_attention_run(vlmoe_tape *tape, const vlm_attention_layer *layer, vlmoe_tensor *h,
                                const vlm_attention_layout *layout);

/* Dense feed-forward: fc2(gelu(fc1(x))). */
typedef struct vlm_ffn_layer {
    vlm_linear_layer fc1, fc2;
} vlm_ffn_layer;
void vlm_ffn_make(vlm_builder *b, const char *name, int64_t width, int64_t hidden, double out_scale,
                  vlm_ffn_layer *layer);
vlmoe_tensor *vlm_ffn_run(vlmoe_tape *tape, const vlm_ffn_layer *layer, vlmoe_tensor *h);

/* Sparse feed-forward. router [E, D] wide; experts fc1 [E, F, D], [E, F]; fc2 [E, D, F], [E, D],
 * of which a rank has its own experts alone.
 * policy without sets; the caller fills it, capacity_factor_eval, modality and block before
 * vlm_moe_make. */
typedef struct vlm_moe_layer {
    vlmoe_tensor *router;
    vlm_linear_layer fc1, fc2;
    vlm_route_policy policy;     /* capacity_factor: of TRAIN mode */
    double capacity_factor_eval; /* of PREDICT mode; 0 = dropless */
    /* between ranks; slots where the capacity factor of the mode is above 0, else exact counts */
    bool has_slots;
    double receive_factor;
    int64_t most_tokens[2]; /* of the routing sets of any recording */
    char modality;               /* 'v' or 't' */
    int64_t block;               /* from 0 */
} vlm_moe_layer;
void vlm_moe_make(vlm_builder *b, const char *name, int64_t width, int64_t hidden, double out_scale,
                  bool distinct, vlm_moe_layer *layer);
/* h [T, D] ct, set_offset host [n_sets + 1]. *routing (NULL allowed) receives what was decided.
 * Adds its balance losses to the tape. */
vlmoe_tensor *vlm_moe_run(vlmoe_tape *tape, const vlm_moe_layer *layer, vlmoe_tensor *h,
                          int64_t n_sets, const int32_t *set_offset, vlm_routing **routing);

/* Host data as tensors and device blocks of the recording; all return NULL after poisoning.
 * "wide" is f32, f64 on the reference device. */
/* Waits: host is the caller's again. */
void *vlm_upload_wide(vlmoe_tape *tape, const double *host, int64_t n);
/* Any device block of n wide numbers as doubles; waits. Errors: UNSUPPORTED (meta), NOMEM,
 * DEVICE. */
vlmoe_status vlm_download_wide(vlmoe_context *ctx, const void *src, int64_t n, double *out);

/* n square pictures [n, size, size, 3] as patch vectors [n P, 3 patch patch] in dtype: (pixel /
 * 255 - mean[c]) / deviation[c], columns in the order channel, row, column. A constant: no
 * gradient. */
typedef struct vlm_picture_format {
    int64_t size, patch; /* pixels on a side; patch divides size */
    double mean[3], deviation[3];
} vlm_picture_format;
vlmoe_tensor *vlm_patch_vectors(vlmoe_tape *tape, vlmoe_dtype dtype, int64_t n,
                                const uint8_t *pixels, const vlm_picture_format *format);

#endif
