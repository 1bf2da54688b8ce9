/* Contexts: a device, its memory, its parameters and its random streams. */
#ifndef VLMOE_CONTEXT_H
#define VLMOE_CONTEXT_H

#include "vlmoe/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One thread at a time; contexts are independent. */
typedef struct vlmoe_context vlmoe_context;

typedef struct vlmoe_context_params {
    size_t struct_size;   /* bytes; set by the initialiser below                                   */
    const char *device;   /* "cpu", "meta" (shapes and sizes only)                                 */
    int n_threads;        /* CPU workers; 0 = the cores this process may use                       */
    uint64_t seed;        /* root of every random stream                                           */
    vlmoe_dtype compute;  /* VLMOE_F32 or VLMOE_BF16: type of products and stored activations      */
    size_t step_bytes;    /* arena of one recording; 0 = half of the machine's memory, taken lazily */
    vlmoe_log_fn log_fn;  /* NULL = no log                                                         */
    void *log_user;
} vlmoe_context_params;
#define VLMOE_CONTEXT_PARAMS { sizeof(vlmoe_context_params), "cpu", 0, 0, VLMOE_F32, 0, NULL, NULL }

/* Open a device. *out is written only on success; destroy it with vlmoe_context_destroy().
 * error may be NULL.  Errors: ARG, UNSUPPORTED, NOMEM, DEVICE. */
VLMOE_API vlmoe_status vlmoe_context_create(const vlmoe_context_params *params, vlmoe_context **out, vlmoe_error *error);

/* Close a device and everything it owns. NULL is allowed. Tensors of ctx become invalid. */
VLMOE_API void vlmoe_context_destroy(vlmoe_context *ctx);

/* Text of the last failure on ctx; valid until the next call on ctx; never NULL. */
VLMOE_API const char *vlmoe_context_error(const vlmoe_context *ctx);

/* A named, trainable tensor that lives as long as ctx, zero at first. Values and gradient are f32. The name is copied and must be new
 * in ctx. All parameters must be created before the first recording or access.  Errors: ARG, SHAPE, STATE, NOMEM. */
VLMOE_API vlmoe_status vlmoe_param_create(vlmoe_context *ctx, const char *name, int rank, const int64_t *shape, vlmoe_tensor **out);

/* Fill a parameter with a normal of this deviation cut at one deviation (as BEiT); the draws depend on the seed and the parameter's place alone. */
VLMOE_API vlmoe_status vlmoe_param_init_normal(vlmoe_tensor *param, double deviation);
VLMOE_API vlmoe_status vlmoe_param_init_constant(vlmoe_tensor *param, double value);
VLMOE_API vlmoe_tensor *vlmoe_param_find(vlmoe_context *ctx, const char *name); /* NULL: none of that name */
VLMOE_API int64_t vlmoe_param_count(const vlmoe_context *ctx);
VLMOE_API vlmoe_tensor *vlmoe_param_at(vlmoe_context *ctx, int64_t index); /* NULL out of range */
VLMOE_API const char *vlmoe_param_name(const vlmoe_tensor *param);         /* NULL: not a parameter */

/* Set all gradients to zero. */
VLMOE_API vlmoe_status vlmoe_grad_zero(vlmoe_context *ctx);

#ifdef __cplusplus
}
#endif
#endif
