/* Parameters between a context and files: one tensor per parameter, one per expert where a parameter holds experts. */
#ifndef VLM_TRAIN_PARAMS_H
#define VLM_TRAIN_PARAMS_H

#include "ckpt_safetensors.h"
#include "context.h"

/* What a walk meets: one file tensor. at: first element in the slabs; n elements. */
typedef struct vlm_piece {
    const vlm_param *param;
    char *name; /* with the expert's id; freed by the walk */
    int rank;
    const int64_t *dims;
    int64_t at, n;
} vlm_piece;
/* Call fn for every piece in registry order until it fails. trained_only leaves frozen parameters out. */
typedef vlmoe_status (*vlm_piece_fn)(void *arg, const vlm_piece *piece);
vlmoe_status vlm_pieces_walk(vlmoe_context *ctx, bool trained_only, vlm_piece_fn fn, void *arg, vlmoe_error *error);

/* Slabs to and from a file. slab: device memory of f32, or bf16, with the layout of the parameters. prefix stands before every name. */
typedef struct vlm_slab {
    const char *prefix; /* "", "m/", "v/" */
    void *data;
    vlmoe_dtype dtype; /* F32 (0) or BF16; the file's too */
} vlm_slab;
/* All slabs into one file, slab by slab. */
vlmoe_status vlm_slabs_write(vlmoe_context *ctx, bool trained_only, int n, const vlm_slab *slabs, const char *path, vlmoe_error *error);
/* Every piece must be in the file once, of the slab's type and its shape; a tensor of the file that no slab knows is refused. name_prefix: the file's
 * names stand behind this prefix in ctx ("image_tokeniser." when a tokeniser's own checkpoint is read into a larger context), and
 * parameters without it are left alone. Errors name file, tensor, expectation and finding: FORMAT, SHAPE, DTYPE. */
vlmoe_status vlm_slabs_read(vlmoe_context *ctx, bool trained_only, int n, const vlm_slab *slabs, const char *name_prefix, const char *path, vlmoe_error *error);

#endif
