/* Small things that most operations need: checks with one wording, outputs, arrays from the host. */
#ifndef VLM_OP_UTIL_H
#define VLM_OP_UTIL_H

#include "op.h"

/* The shape of t as text, for one message. */
#define VLM_SHAPE(t)                   vlm_shape_text((t), (char[VLM_SHAPE_TEXT]){0})
#define VLM_OP_FAIL(tape, status, ...) vlm_fail(&(tape)->ctx->error, (status), __VA_ARGS__)

void vlm_op_output(vlm_node *node, vlmoe_dtype dtype, int rank, const int64_t *dim);
void vlm_op_output_like(vlm_node *node, vlmoe_dtype dtype, const vlmoe_tensor *x);
void vlm_op_output_scalar(vlm_node *node); /* one element of the wide type */

bool vlm_is_float(const vlmoe_context *ctx, vlmoe_dtype dtype); /* f32, bf16, or the wide type */
/* DTYPE when t is not of such a type; name is the argument's. */
vlmoe_status vlm_need_float(vlmoe_tape *tape, const vlmoe_tensor *t, const char *name);
vlmoe_status vlm_need_wide(vlmoe_tape *tape, const vlmoe_tensor *t, const char *name);
/* A wide vector of n elements, e.g. a gain. */
vlmoe_status vlm_need_vector(vlmoe_tape *tape, const vlmoe_tensor *t, int64_t n, const char *name);
bool vlm_same_shape(const vlmoe_tensor *a, const vlmoe_tensor *b);

/* Values of t in dtype: its data, or a parameter's compute copy; NULL = there are none of that type. */
const void *vlm_op_values(const vlmoe_tensor *t, vlmoe_dtype dtype);
size_t vlm_wide_bytes(const vlmoe_tape *tape, int64_t n);
/* n doubles of the host as a device array of the wide type. */
void *vlm_op_upload_wide(vlmoe_tape *tape, const double *host, int64_t n);
/* Both on the device's queue; failures name the action. */
vlmoe_status vlm_op_copy(vlmoe_tape *tape, void *dst, const void *src, size_t bytes);
vlmoe_status vlm_op_zero(vlmoe_tape *tape, void *dst, size_t bytes);
vlmoe_status vlm_op_convert(vlmoe_tape *tape, int64_t n, const void *src, vlmoe_dtype src_dtype,
                            void *dst, vlmoe_dtype dst_dtype);

#endif
