/* Parameters between a context and files: one tensor per parameter, one per expert where a parameter holds experts. */
#ifndef VLM_TRAIN_PARAMS_H
#define VLM_TRAIN_PARAMS_H

#include "ckpt_safetensors.h"
#include "context.h"

/* What a walk meets: one file tensor, and the pieces it consists of (context.h), which ranks own. On one rank that is one piece. */
typedef struct vlm_file_tensor {
    const vlm_param *param;
    char *name; /* with the expert's id; freed by the walk */
    int rank;
    const int64_t *dims;
    int64_t n;               /* elements */
    const vlm_piece *pieces; /* [n_pieces], by first */
    int64_t n_pieces;
} vlm_file_tensor;
/* Call fn for every file tensor in registry order until it fails, the same on every rank. trained_only leaves frozen parameters out. */
typedef vlmoe_status (*vlm_file_tensor_fn)(void *arg, const vlm_file_tensor *tensor);
vlmoe_status vlm_file_tensors_walk(vlmoe_context *ctx, bool trained_only, vlm_file_tensor_fn fn, void *arg, vlmoe_error *error);

/* What a file holds: values of all parameters (f32), or both moments of the trained ones ("m/NAME", then "v/NAME", in the type of the
 * context's moments, which must be there: vlm_ctx_moments). */
typedef enum vlm_state_kind { VLM_STATE_VALUES, VLM_STATE_MOMENTS } vlm_state_kind;

/* Collective; a file on a file system that all ranks see. Every rank writes the pieces it owns; bytes do not depend on ranks. A failure on
 * any rank is one on all, and its text names that rank; what lies at path then is for the caller to delete (vlm_ckpt_abandon).
 * Errors: IO, NOMEM, DEVICE; with ranks those of comm.h. */
vlmoe_status vlm_state_write(vlmoe_context *ctx, vlm_state_kind kind, const char *path, vlmoe_error *error);
/* Every rank reads what it owns and what it computes with, and checks everything: each file tensor must be there once, of its type and
 * shape; a tensor that the model does not know is refused; before the first value is changed. name_prefix: the file's names stand behind
 * this prefix in ctx ("image_tokeniser." when a tokeniser's own checkpoint is read into a larger context), and parameters without it are
 * left alone. Compute copies are refreshed. Not collective: a rank that fails must say so to the others (vlm_comm_abort, or by sharing).
 * Errors name file, tensor, expectation and finding: IO, FORMAT, SHAPE, DTYPE. */
vlmoe_status vlm_state_read(vlmoe_context *ctx, vlm_state_kind kind, const char *name_prefix, const char *path, vlmoe_error *error);

#endif
