/* What op_util.h promises. No operation stands here. */
#include <string.h>
#include "op_util.h"

void vlm_op_output(vlm_node *node, vlmoe_dtype dtype, int rank, const int64_t *dim)
{
    node->output->dtype = dtype;
    node->output->rank = rank;
    memcpy(node->output->dim, dim, (size_t)rank * sizeof *dim);
}

void vlm_op_output_like(vlm_node *node, vlmoe_dtype dtype, const vlmoe_tensor *x)
{
    vlm_op_output(node, dtype, x->rank, x->dim);
}

void vlm_op_output_scalar(vlm_node *node)
{
    vlm_op_output(node, node->output->ctx->wide, 1, (const int64_t[]){1});
}

bool vlm_is_float(const vlmoe_context *ctx, vlmoe_dtype dtype)
{
    return dtype == VLMOE_F32 || dtype == VLMOE_BF16 || dtype == ctx->wide;
}

vlmoe_status vlm_need_float(vlmoe_tape *tape, const vlmoe_tensor *t, const char *name)
{
    if (vlm_is_float(tape->ctx, t->dtype)) return VLMOE_OK;
    return VLM_OP_FAIL(tape, VLMOE_E_DTYPE, "%s %s is %s, expected a float type", name,
                       VLM_SHAPE(t), vlm_dtype_name(t->dtype));
}

vlmoe_status vlm_need_wide(vlmoe_tape *tape, const vlmoe_tensor *t, const char *name)
{
    vlmoe_dtype wide = tape->ctx->wide;
    if (t->dtype == wide) return VLMOE_OK;
    return VLM_OP_FAIL(tape, VLMOE_E_DTYPE, "%s %s is %s, expected %s", name, VLM_SHAPE(t),
                       vlm_dtype_name(t->dtype), vlm_dtype_name(wide));
}

vlmoe_status vlm_need_vector(vlmoe_tape *tape, const vlmoe_tensor *t, int64_t n, const char *name)
{
    VLM_TRY(vlm_need_wide(tape, t, name));
    if (vlm_count(t) == n) return VLMOE_OK;
    return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "%s is %s, expected [%lld]", name, VLM_SHAPE(t),
                       (long long)n);
}

bool vlm_same_shape(const vlmoe_tensor *a, const vlmoe_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

const void *vlm_op_values(const vlmoe_tensor *t, vlmoe_dtype dtype)
{
    const vlm_param *param = t->base ? t->base->param : t->param;
    if (t->dtype == dtype) return t->data;
    if (!param || !param->has_copy || t->ctx->compute != dtype) return NULL;
    return (const char *)param->copy + (size_t)(t->base_row * vlm_cols(t)) * vlm_dtype_bytes(dtype);
}

size_t vlm_wide_bytes(const vlmoe_tape *tape, int64_t n)
{
    return (size_t)n * vlm_dtype_bytes(tape->ctx->wide);
}

void *vlm_op_upload_wide(vlmoe_tape *tape, const double *host, int64_t n)
{
    void *wide =
        vlm_tape_host(tape, vlm_wide_bytes(tape, n)); /* stays until the copy has surely happened */
    if (!wide) return NULL;
    for (int64_t i = 0; i < n; i++) {
        if (tape->ctx->wide == VLMOE_F64) ((double *)wide)[i] = host[i];
        else ((float *)wide)[i] = (float)host[i];
    }
    return vlm_tape_upload(tape, wide, vlm_wide_bytes(tape, n));
}

vlmoe_status vlm_op_copy(vlmoe_tape *tape, void *dst, const void *src, size_t bytes)
{
    vlmoe_status status = tape->ctx->backend->copy(tape->ctx->device, dst, src, bytes);
    return status ? VLM_OP_FAIL(tape, status, "copying %zu bytes failed", bytes) : VLMOE_OK;
}

vlmoe_status vlm_op_zero(vlmoe_tape *tape, void *dst, size_t bytes)
{
    vlmoe_status status = tape->ctx->backend->zero(tape->ctx->device, dst, bytes);
    return status ? VLM_OP_FAIL(tape, status, "clearing %zu bytes failed", bytes) : VLMOE_OK;
}

vlmoe_status vlm_op_convert(vlmoe_tape *tape, int64_t n, const void *src, vlmoe_dtype src_dtype,
                            void *dst, vlmoe_dtype dst_dtype)
{
    const vlmk_convert_args args = {
        .n = n, .src_dtype = src_dtype, .dst_dtype = dst_dtype, .src = src, .dst = dst};
    return VLM_KERNEL(tape->ctx, convert, &args);
}
