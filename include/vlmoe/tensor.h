/* Element types and the read side of tensors. */
#ifndef VLMOE_TENSOR_H
#define VLMOE_TENSOR_H

#include "vlmoe/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlmoe_dtype {
    VLMOE_F32 = 0,
    VLMOE_BF16 = 1,
    VLMOE_I32 = 10,
    VLMOE_U8 = 11,
    VLMOE_F64 = 90 /* reference device only */
} vlmoe_dtype;
enum { VLMOE_MAX_RANK = 6 };

/* Shape, type and place of numbers on a device. Row-major and dense; the last axis is contiguous. */
typedef struct vlmoe_tensor vlmoe_tensor;

VLMOE_API vlmoe_dtype vlmoe_tensor_dtype(const vlmoe_tensor *t);
VLMOE_API int vlmoe_tensor_rank(const vlmoe_tensor *t);
VLMOE_API int64_t vlmoe_tensor_dim(const vlmoe_tensor *t, int axis); /* -1 = last axis; 0 when there is no such axis */
VLMOE_API int64_t vlmoe_tensor_count(const vlmoe_tensor *t);         /* elements */
VLMOE_API size_t vlmoe_tensor_bytes(const vlmoe_tensor *t);

/* Copy all elements to or from the host and wait. bytes must equal vlmoe_tensor_bytes.
 * grad: the gradient, in f32 (f64 on the reference device); bytes is count * that size. Parameters only.
 * Errors: ARG (bytes), STATE (no gradient), UNSUPPORTED (meta device), DEVICE. */
VLMOE_API vlmoe_status vlmoe_tensor_read(const vlmoe_tensor *t, void *dst, size_t bytes);
VLMOE_API vlmoe_status vlmoe_tensor_write(vlmoe_tensor *t, const void *src, size_t bytes);
VLMOE_API vlmoe_status vlmoe_tensor_read_grad(const vlmoe_tensor *t, void *dst, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
