/* Rows to experts and back, and the whole sparse layer of the public API. */
#include "op_util.h"

static bool has_routing(vlmoe_tape *tape, const vlm_routing *routing, const char *op)
{
    if (!tape || tape->status) return false;
    if (!routing) vlm_poison(tape, VLMOE_E_ARG, "%s: routing is NULL", op);
    return routing != NULL;
}

/* ---- dispatch ---- */

typedef struct move_attr {
    const vlm_routing *routing;
} move_attr;

vlmoe_status vlm_dispatch_infer(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_routing *r = ((const move_attr *)node->attr)->routing;
    const vlmoe_tensor *x = node->input[0];
    VLM_TRY(vlm_need_float(tape, x, "x"));
    if (x->rank != 2 || x->dim[0] != r->T)
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "x is %s, routed were %lld tokens", VLM_SHAPE(x),
                           (long long)r->T);
    vlm_op_output(node, x->dtype, 2, (const int64_t[]){r->T * r->K, x->dim[1]});
    return VLMOE_OK;
}

vlmoe_status vlm_dispatch_forward(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_routing *r = ((const move_attr *)node->attr)->routing;
    const vlmoe_tensor *x = node->input[0];
    const vlmk_gather_rows_args args = {.in_dtype = x->dtype,
                                        .out_dtype = x->dtype,
                                        .n_out = r->T * r->K,
                                        .n_in = r->T,
                                        .cols = x->dim[1],
                                        .in = x->data,
                                        .index = r->d_row_token,
                                        .out = node->output->data};
    return VLM_KERNEL(tape->ctx, gather_rows, &args);
}

vlmoe_status vlm_dispatch_backward(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_routing *r = ((const move_attr *)node->attr)->routing;
    vlmoe_tensor *x = node->input[0];
    int accumulate;
    void *dx = vlm_grad_in(tape, x, &accumulate);
    if (!dx) return tape->status;
    const vlmk_dispatch_bwd_args args = {.dtype = x->dtype,
                                         .T = r->T,
                                         .K = r->K,
                                         .cols = x->dim[1],
                                         .drows = vlm_grad_of(node->output),
                                         .slot = r->d_slot,
                                         .dx = dx,
                                         .accumulate = accumulate};
    return VLM_KERNEL(tape->ctx, dispatch_bwd, &args);
}

vlmoe_tensor *vlm_dispatch(vlmoe_tape *tape, vlmoe_tensor *x, vlm_routing *routing)
{
    if (!has_routing(tape, routing, "dispatch")) return NULL;
    return vlm_record(tape, &vlm_ops[VLM_OP_dispatch], 1, &x, 0, &(move_attr){routing},
                      sizeof(move_attr));
}

/* ---- combine ---- */

vlmoe_status vlm_combine_infer(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_routing *r = ((const move_attr *)node->attr)->routing;
    const vlmoe_tensor *rows = node->input[0], *weight = node->input[1];
    VLM_TRY(vlm_need_float(tape, rows, "rows"));
    VLM_TRY(vlm_need_wide(tape, weight, "weight"));
    if (rows->rank != 2 || rows->dim[0] != r->T * r->K || weight->rank != 2 ||
        weight->dim[0] != r->T || weight->dim[1] != r->K)
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE,
                           "rows are %s and weight %s, routed were %lld tokens with %lld choices",
                           VLM_SHAPE(rows), VLM_SHAPE(weight), (long long)r->T, (long long)r->K);
    vlm_op_output(node, rows->dtype, 2, (const int64_t[]){r->T, rows->dim[1]});
    return VLMOE_OK;
}

vlmoe_status vlm_combine_forward(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_routing *r = ((const move_attr *)node->attr)->routing;
    const vlmoe_tensor *rows = node->input[0], *weight = node->input[1];
    const vlmk_combine_fwd_args args = {.dtype = rows->dtype,
                                        .T = r->T,
                                        .K = r->K,
                                        .cols = rows->dim[1],
                                        .rows = rows->data,
                                        .slot = r->d_slot,
                                        .weight = weight->data,
                                        .y = node->output->data};
    return VLM_KERNEL(tape->ctx, combine_fwd, &args);
}

vlmoe_status vlm_combine_backward(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_routing *r = ((const move_attr *)node->attr)->routing;
    vlmoe_tensor *rows = node->input[0], *weight = node->input[1];
    void *drows = vlm_tape_device(tape, vlmoe_tensor_bytes(rows)),
         *dweight = vlm_tape_device(tape, vlmoe_tensor_bytes(weight));
    if (!drows || !dweight) return tape->status;
    VLM_TRY(vlm_op_zero(tape, drows, vlmoe_tensor_bytes(rows))); /* rows that serve nobody */
    const vlmk_combine_bwd_args args = {.dtype = rows->dtype,
                                        .T = r->T,
                                        .K = r->K,
                                        .cols = rows->dim[1],
                                        .rows = rows->data,
                                        .slot = r->d_slot,
                                        .weight = weight->data,
                                        .dy = vlm_grad_of(node->output),
                                        .drows = drows,
                                        .dweight = dweight};
    VLM_TRY(VLM_KERNEL(tape->ctx, combine_bwd, &args));
    VLM_TRY(vlm_grad_give(tape, rows, drows));
    return vlm_grad_give(tape, weight, dweight);
}

vlmoe_tensor *vlm_combine(vlmoe_tape *tape, vlmoe_tensor *rows, vlmoe_tensor *weight,
                          vlm_routing *routing)
{
    if (!has_routing(tape, routing, "combine")) return NULL;
    vlmoe_tensor *const inputs[] = {rows, weight};
    return vlm_record(tape, &vlm_ops[VLM_OP_combine], 2, inputs, 0, &(move_attr){routing},
                      sizeof(move_attr));
}

/* ---- the whole layer ---- */

/* Router in wide, weights of the served choices, balance losses into the tape. All tokens are one routing set. */
static vlmoe_tensor *route_tokens(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *router,
                                  const vlmoe_moe_params *params, vlm_routing **routing)
{
    vlmoe_tensor *logits =
        vlmoe_linear_no_bias(tape, vlmoe_cast(tape, x, tape->ctx->wide), router, VLMOE_ACT_NONE);
    if (!logits) return NULL;
    if (vlm_rows(logits) > INT32_MAX / VLM_MAX(params->k, 1))
        return vlm_poison(tape, VLMOE_E_SHAPE,
                          "moe: x %s has more tokens than a row number can count", VLM_SHAPE(x));
    const int32_t set_offset[] = {0, (int32_t)vlm_rows(logits)};
    vlm_route_policy policy = {.E = vlm_cols(logits),
                               .K = params->k,
                               .n_sets = 1,
                               .set_offset = set_offset,
                               .capacity_factor = params->capacity_factor,
                               .capacity_multiple = 1,
                               .capacity_min = 1,
                               .priority = params->priority != 0,
                               .noise_std = params->noise_std,
                               .site = params->site};
    policy.weight[VLMK_LOSS_IMPORTANCE] = params->importance;
    policy.weight[VLMK_LOSS_LOAD] = params->load;
    policy.weight[VLMK_LOSS_Z] = params->z;
    vlmoe_tensor *weight = vlm_route(tape, logits, &policy, routing);
    bool has_losses = params->importance != 0.0 || params->load != 0.0 || params->z != 0.0;
    if (weight && has_losses && tape->mode == VLMOE_TRAIN)
        vlmoe_loss_add(tape, vlm_router_losses(tape, logits, &policy, *routing), 1.0);
    return weight;
}

vlmoe_tensor *vlmoe_moe(vlmoe_tape *tape, vlmoe_tensor *x, const vlmoe_moe_weights *weights,
                        const vlmoe_moe_params *params)
{
    if (!tape || tape->status) return NULL;
    if (params->struct_size != sizeof *params)
        return vlm_poison(tape, VLMOE_E_ARG,
                          "moe: struct_size is %zu, expected %zu: start from VLMOE_MOE_PARAMS",
                          params->struct_size, sizeof *params);
    if (!x || !weights->router || !weights->w1 || !weights->b1 || !weights->w2 || !weights->b2)
        return vlm_poison(tape, VLMOE_E_ARG, "moe: x or a weight is NULL");
    vlm_routing *routing = NULL;
    vlmoe_tensor *weight = route_tokens(tape, x, weights->router, params, &routing);
    if (!weight || !routing) return NULL;
    vlm_linear_opts opts = {.act = VLMOE_ACT_GELU,
                            .out_dtype = x->dtype,
                            .n_groups = routing->E,
                            .d_offset = routing->d_expert_offset};
    vlmoe_tensor *rows = vlm_dispatch(tape, x, routing);
    rows = vlm_linear(tape, rows, weights->w1, weights->b1, &opts);
    opts.act = VLMOE_ACT_NONE;
    rows = vlm_linear(tape, rows, weights->w2, weights->b2, &opts);
    return vlm_combine(tape, rows, weight, routing);
}
