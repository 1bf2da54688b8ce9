/* Constants from the host and changes of float type. Where a caller names F32 the context's wide type is meant: f64 on the reference
 * device. */
#include "op_util.h"

/* F32 data of the host in another float type: by way of a block that is given back at once. */
static vlmoe_status fill_converted(vlmoe_tape *tape, vlmoe_tensor *out, const void *host)
{
    const void *block = vlm_tape_upload(tape, host, (size_t)vlm_count(out) * sizeof(float));
    if (!block) return tape->status;
    VLM_TRY(vlm_op_convert(tape, vlm_count(out), block, VLMOE_F32, out->data, out->dtype));
    vlm_tape_give(tape, block);
    return VLMOE_OK;
}

vlmoe_tensor *vlmoe_input(vlmoe_tape *tape, vlmoe_dtype dtype, int rank, const int64_t *shape,
                          const void *host)
{
    if (!tape || tape->status) return NULL;
    vlmoe_context *ctx = tape->ctx;
    bool is_f32 = dtype == VLMOE_F32 || dtype == VLMOE_BF16; /* what host holds */
    if (!host) return vlm_poison(tape, VLMOE_E_ARG, "input: host is NULL");
    if (!vlm_is_float(ctx, dtype) && dtype != VLMOE_I32 && dtype != VLMOE_U8)
        return vlm_poison(tape, VLMOE_E_DTYPE, "input: %s is not a type of device %s",
                          vlm_dtype_name(dtype), ctx->backend->name);
    vlmoe_tensor *out = vlm_tensor_new(tape, dtype == VLMOE_F32 ? ctx->wide : dtype, rank, shape);
    if (!out) return NULL;
    vlmoe_status status;
    if (is_f32 && out->dtype != VLMOE_F32) status = fill_converted(tape, out, host);
    else status = ctx->backend->upload(ctx->device, out->data, host, vlmoe_tensor_bytes(out));
    if (!status) status = ctx->backend->sync(ctx->device, &ctx->error); /* host is the caller's */
    return status ? vlm_poison(tape, status, "input: upload of %s failed", VLM_SHAPE(out)) : out;
}

vlmoe_status vlm_cast_infer(vlmoe_tape *tape, vlm_node *node)
{
    vlmoe_dtype dtype = *(const vlmoe_dtype *)node->attr;
    VLM_TRY(vlm_need_float(tape, node->input[0], "x"));
    if (!vlm_is_float(tape->ctx, dtype))
        return VLM_OP_FAIL(tape, VLMOE_E_DTYPE, "x %s cannot become %s", VLM_SHAPE(node->input[0]),
                           vlm_dtype_name(dtype));
    vlm_op_output_like(node, dtype, node->input[0]);
    return VLMOE_OK;
}

vlmoe_status vlm_cast_forward(vlmoe_tape *tape, vlm_node *node)
{
    const vlmoe_tensor *x = node->input[0];
    return vlm_op_convert(tape, vlm_count(x), x->data, x->dtype, node->output->data,
                          node->output->dtype);
}

vlmoe_status vlm_cast_backward(vlmoe_tape *tape, vlm_node *node)
{
    return vlm_grad_add(tape, node->input[0], vlm_grad_of(node->output), node->output->dtype);
}

vlmoe_tensor *vlmoe_cast(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_dtype dtype)
{
    if (!tape || tape->status) return NULL;
    if (dtype == VLMOE_F32) dtype = tape->ctx->wide;
    if (x && x->dtype == dtype) return x;
    return vlm_record(tape, &vlm_ops[VLM_OP_cast], 1, &x, 0, &dtype, sizeof dtype);
}
