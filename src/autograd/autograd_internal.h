/* What the files of src/autograd share and nobody else sees. */
#ifndef VLM_AUTOGRAD_INTERNAL_H
#define VLM_AUTOGRAD_INTERNAL_H

#include "tape.h"

/* Results kept for segments, in order of recording. Nodes of this list are host memory of the tape. */
struct vlm_kept {
    void *block;
    size_t bytes;
    struct vlm_kept *next;
};

void vlm_params_destroy(vlmoe_context *ctx);
/* Memory for this many elements, none for 0; what is for messages. */
vlmoe_status vlm_slab_take(vlmoe_context *ctx, int64_t elements, vlmoe_dtype dtype, void **out,
                           const char *what);
/* The list of pieces, once parameters have their memory. */
vlmoe_status vlm_pieces_make(vlmoe_context *ctx);
/* One more at the end of the list.  Errors: NOMEM. */
vlmoe_status vlm_piece_add(vlmoe_context *ctx, const vlm_piece *piece);
/* Elements that a parameter takes in a slab. */
int64_t vlm_param_padded(const vlm_param *param);
/* Element i of memory of this type; NULL of NULL. */
void *vlm_element(void *data, vlmoe_dtype dtype, int64_t i);
/* How the experts of a parameter lie on ranks; NULL: it has none, or there is one rank. */
const vlm_expert_layout *vlm_param_layout(const vlm_param *param);
/* A parameter's grad begins again at +0. */
vlmoe_status vlm_grad_restart(vlmoe_context *ctx, const vlm_param *param);
/* The compute copy of one parameter from its values, if it has one of its own. */
vlmoe_status vlm_param_refresh(vlm_param *param);
/* Values by the parameter's spec; refreshes the copy. */
vlmoe_status vlm_param_init(vlm_param *param);
/* Bytes between host and device, waiting; texts for failures. */
vlmoe_status vlm_ctx_upload(vlmoe_context *ctx, void *dst, const void *host, size_t bytes,
                            vlmoe_error *error);
vlmoe_status vlm_ctx_download(vlmoe_context *ctx, void *host, const void *src, size_t bytes,
                              vlmoe_error *error);

/* Count how often a recording differentiates into a parameter. */
void vlm_count_use(const vlmoe_tape *tape, const vlmoe_tensor *t);
/* Add the tape's share of a parameter to its accumulator, if several uses have made one. */
vlmoe_status vlm_share_flush(vlmoe_tape *tape, vlm_param *param);

/* Where a node stands, for a profile: the first parameter it takes, which tells more than the place, or the place. */
const char *vlm_node_place(const vlm_node *node);

/* Lifetimes (autograd_lifetime.c): a node that is appended reads data later; before its backward that data is there again; after it
 * what nobody needs is given back. */
void vlm_life_begin(vlmoe_tape *tape, vlm_node *node);
vlmoe_status vlm_life_ensure(vlmoe_tape *tape, const vlm_node *node);
void vlm_life_end(vlmoe_tape *tape, vlm_node *node);
/* Blocks that a node which is not appended saved for a backward that will not come. */
void vlm_life_forget(vlmoe_tape *tape, vlm_node *node);

/* A watched recording: note the node if its output is the first that is not finite. */
void vlm_watch(vlmoe_tape *tape, const vlm_node *node);

/* Append a filled node; host memory. */
void vlm_node_append(vlmoe_tape *tape, vlm_node *node);
/* Call backward of the nodes from tape->last down. */
vlmoe_status vlm_walk(vlmoe_tape *tape);
/* d(scale * loss)/dscalar = scale * weight. */
vlmoe_status vlm_seed(vlmoe_tape *tape, vlmoe_tensor *scalar, double weight);
/* The node of a segment; its backward runs the segment again. Not in ops.def: it computes nothing itself. */
extern const vlm_op_def vlm_segment_op;
bool vlm_segment_has_terms(const vlm_node *node);

#endif
