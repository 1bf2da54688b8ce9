/* Layer norm over the last axis, and rows divided by their length. */
#include "op_util.h"

typedef struct norm_attr {
    double eps;
    vlmoe_dtype dtype; /* of y */
} norm_attr;

vlmoe_status vlm_layer_norm_infer(vlmoe_tape *tape, vlm_node *node)
{
    const norm_attr *attr = node->attr;
    const vlmoe_tensor *x = node->input[0];
    VLM_TRY(vlm_need_float(tape, x, "x"));
    VLM_TRY(vlm_need_vector(tape, node->input[1], vlm_cols(x), "gain"));
    VLM_TRY(vlm_need_vector(tape, node->input[2], vlm_cols(x), "bias"));
    if (!(attr->eps > 0.0))
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "eps is %g, expected more than 0", attr->eps);
    if (!vlm_is_float(tape->ctx, attr->dtype))
        return VLM_OP_FAIL(tape, VLMOE_E_DTYPE, "the result cannot be %s",
                           vlm_dtype_name(attr->dtype));
    vlm_op_output_like(node, attr->dtype, x);
    return VLMOE_OK;
}

/* saved: mean [rows], rstd [rows], wide. */
vlmoe_status vlm_layer_norm_forward(vlmoe_tape *tape, vlm_node *node)
{
    const norm_attr *attr = node->attr;
    const vlmoe_tensor *x = node->input[0];
    for (int i = 0; i < 2; i++)
        if (!node->saved[i]) /* there already when the output is remade */
            node->saved[i] = vlm_tape_device(tape, vlm_wide_bytes(tape, vlm_rows(x)));
    if (tape->status) return tape->status;
    const vlmk_layer_norm_fwd_args args = {.x_dtype = x->dtype,
                                           .y_dtype = attr->dtype,
                                           .rows = vlm_rows(x),
                                           .cols = vlm_cols(x),
                                           .x = x->data,
                                           .gain = node->input[1]->data,
                                           .bias = node->input[2]->data,
                                           .y = node->output->data,
                                           .mean = node->saved[0],
                                           .rstd = node->saved[1],
                                           .eps = attr->eps};
    return VLM_KERNEL(tape->ctx, layer_norm_fwd, &args);
}

vlmoe_status vlm_layer_norm_backward(vlmoe_tape *tape, vlm_node *node)
{
    vlmoe_tensor *x = node->input[0], *gain = node->input[1], *bias = node->input[2];
    int add_x, add_gain, add_bias;
    void *dx = vlm_grad_in(tape, x, &add_x), *dgain = vlm_grad_in(tape, gain, &add_gain),
         *dbias = vlm_grad_in(tape, bias, &add_bias);
    size_t bytes = vlm_wide_bytes(tape, vlm_cols(x));
    bool has_params = dgain || dbias, is_direct = dgain && dbias && add_gain == add_bias;
    vlmk_layer_norm_bwd_args args = {.x_dtype = x->dtype,
                                     .dy_dtype = node->output->dtype,
                                     .rows = vlm_rows(x),
                                     .cols = vlm_cols(x),
                                     .x = x->data,
                                     .gain = gain->data,
                                     .mean = node->saved[0],
                                     .rstd = node->saved[1],
                                     .dy = vlm_grad_of(node->output),
                                     .dx = dx,
                                     .dgain = dgain,
                                     .dbias = dbias,
                                     .accumulate_dx = add_x,
                                     .accumulate_params = add_gain};
    if (has_params && !is_direct) { /* the kernel forms both in one way: by themselves first */
        args.dgain = vlm_tape_device(tape, bytes);
        args.dbias = vlm_tape_device(tape, bytes);
        args.accumulate_params = 0;
    }
    if (tape->status) return tape->status;
    VLM_TRY(VLM_KERNEL(tape->ctx, layer_norm_bwd, &args));
    if (has_params && !is_direct) {
        vlmk_axpy_args add = {.n = vlm_cols(x),
                              .factor = 1.0,
                              .src = args.dgain,
                              .dst = dgain,
                              .accumulate = add_gain};
        if (dgain) VLM_TRY(VLM_KERNEL(tape->ctx, axpy, &add));
        add = (vlmk_axpy_args){.n = vlm_cols(x),
                               .factor = 1.0,
                               .src = args.dbias,
                               .dst = dbias,
                               .accumulate = add_bias};
        if (dbias) VLM_TRY(VLM_KERNEL(tape->ctx, axpy, &add));
        vlm_tape_give(tape, args.dbias);
        vlm_tape_give(tape, args.dgain);
    }
    return VLMOE_OK;
}

vlmoe_tensor *vlmoe_layer_norm(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *gain,
                               vlmoe_tensor *bias, double eps, vlmoe_dtype dtype)
{
    vlmoe_tensor *const inputs[] = {x, gain, bias};
    const norm_attr attr = {.eps = eps,
                            .dtype = tape && dtype == VLMOE_F32 ? tape->ctx->wide : dtype};
    return vlm_record(tape, &vlm_ops[VLM_OP_layer_norm], 3, inputs, 0, &attr, sizeof attr);
}

vlmoe_status vlm_l2_norm_infer(vlmoe_tape *tape, vlm_node *node)
{
    const norm_attr *attr = node->attr;
    VLM_TRY(vlm_need_wide(tape, node->input[0], "x"));
    if (!(attr->eps > 0.0))
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "eps is %g, expected more than 0", attr->eps);
    vlm_op_output_like(node, node->input[0]->dtype, node->input[0]);
    return VLMOE_OK;
}

/* saved: norm [rows] wide. */
vlmoe_status vlm_l2_norm_forward(vlmoe_tape *tape, vlm_node *node)
{
    const norm_attr *attr = node->attr;
    const vlmoe_tensor *x = node->input[0];
    node->saved[0] = vlm_tape_device(tape, vlm_wide_bytes(tape, vlm_rows(x)));
    if (!node->saved[0]) return tape->status;
    const vlmk_l2_norm_fwd_args args = {.rows = vlm_rows(x),
                                        .cols = vlm_cols(x),
                                        .x = x->data,
                                        .y = node->output->data,
                                        .norm = node->saved[0],
                                        .eps = attr->eps};
    return VLM_KERNEL(tape->ctx, l2_norm_fwd, &args);
}

vlmoe_status vlm_l2_norm_backward(vlmoe_tape *tape, vlm_node *node)
{
    const norm_attr *attr = node->attr;
    vlmoe_tensor *x = node->input[0];
    void *dx = vlm_tape_device(tape, vlmoe_tensor_bytes(x));
    if (!dx) return tape->status;
    const vlmk_l2_norm_bwd_args args = {.rows = vlm_rows(x),
                                        .cols = vlm_cols(x),
                                        .y = node->output->data,
                                        .norm = node->saved[0],
                                        .dy = vlm_grad_of(node->output),
                                        .dx = dx,
                                        .eps = attr->eps};
    VLM_TRY(VLM_KERNEL(tape->ctx, l2_norm_bwd, &args));
    return vlm_grad_give(tape, x, dx);
}

vlmoe_tensor *vlm_l2_norm(vlmoe_tape *tape, vlmoe_tensor *x, double eps)
{
    return vlm_record(tape, &vlm_ops[VLM_OP_l2_norm], 1, &x, 0, &(norm_attr){.eps = eps},
                      sizeof(norm_attr));
}
