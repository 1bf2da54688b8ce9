/* Losses of rows against classes with scores (labels of tasks), and the learned temperature of similarities. */
#include "op_util.h"

/* ---- class_loss ---- */

typedef struct class_attr {
    vlm_class_targets targets;
    vlm_class_result result;
} class_attr;

vlmoe_status vlm_class_loss_infer(vlmoe_tape *tape, vlm_node *node)
{
    const class_attr *attr = node->attr;
    const vlmoe_tensor *logits = node->input[0];
    VLM_TRY(vlm_need_wide(tape, logits, "logits"));
    if (logits->rank < 1 || vlm_cols(logits) < 1)
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "logits are %s, expected [rows, classes]",
                           VLM_SHAPE(logits));
    double smoothing = attr->targets.smoothing;
    bool is_softmax = attr->targets.kind == VLMK_CLASS_SOFTMAX;
    if (!(smoothing >= 0.0 && smoothing < 1.0) || (!is_softmax && smoothing != 0.0))
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "smoothing is %g, expected %s", smoothing,
                           is_softmax ? "0 <= smoothing < 1" : "0 for independent classes");
    vlm_op_output_scalar(node);
    return VLMOE_OK;
}

/* saved: lse [M] wide. */
vlmoe_status vlm_class_loss_forward(vlmoe_tape *tape, vlm_node *node)
{
    const class_attr *attr = node->attr;
    const vlmoe_tensor *logits = node->input[0];
    node->saved[0] = vlm_tape_device(tape, vlm_wide_bytes(tape, vlm_rows(logits)));
    if (!node->saved[0]) return tape->status;
    const vlmk_class_loss_fwd_args args = {.kind = attr->targets.kind,
                                           .M = vlm_rows(logits),
                                           .V = vlm_cols(logits),
                                           .smoothing = attr->targets.smoothing,
                                           .x = logits->data,
                                           .offset = attr->targets.d_offset,
                                           .label = attr->targets.d_label,
                                           .score = attr->targets.d_score,
                                           .row_weight = attr->targets.d_row_weight,
                                           .row_loss = attr->result.d_row_loss,
                                           .lse = node->saved[0],
                                           .best = attr->result.d_best,
                                           .loss = node->output->data};
    return VLM_KERNEL(tape->ctx, class_loss_fwd, &args);
}

vlmoe_status vlm_class_loss_backward(vlmoe_tape *tape, vlm_node *node)
{
    const class_attr *attr = node->attr;
    vlmoe_tensor *logits = node->input[0];
    const void *values = logits->data;
    void *dlogits = vlm_tape_reuse(tape, logits);
    if (!dlogits) dlogits = vlm_tape_device(tape, vlmoe_tensor_bytes(logits));
    if (!dlogits) return tape->status;
    const vlmk_class_loss_bwd_args args = {.kind = attr->targets.kind,
                                           .M = vlm_rows(logits),
                                           .V = vlm_cols(logits),
                                           .smoothing = attr->targets.smoothing,
                                           .x = values,
                                           .offset = attr->targets.d_offset,
                                           .label = attr->targets.d_label,
                                           .score = attr->targets.d_score,
                                           .row_weight = attr->targets.d_row_weight,
                                           .lse = node->saved[0],
                                           .dloss = vlm_grad_of(node->output),
                                           .dx = dlogits};
    VLM_TRY(VLM_KERNEL(tape->ctx, class_loss_bwd, &args));
    return vlm_grad_give(tape, logits, dlogits);
}

vlmoe_tensor *vlm_class_loss(vlmoe_tape *tape, vlmoe_tensor *logits,
                             const vlm_class_targets *targets, vlm_class_result *out)
{
    if (!tape || tape->status) return NULL;
    if (!logits || !targets->d_offset || !targets->d_label || !targets->d_score ||
        !targets->d_row_weight)
        return vlm_poison(tape, VLMOE_E_ARG, "class_loss: logits, labels or weights are NULL");
    bool is_new;
    int64_t M = vlm_rows(logits);
    class_attr attr = {.targets = *targets};
    attr.result.d_row_loss = vlm_keep(tape, vlm_wide_bytes(tape, M), &is_new);
    attr.result.d_best = vlm_keep(tape, (size_t)M * sizeof(int32_t), &is_new);
    vlmoe_tensor *loss =
        vlm_record(tape, &vlm_ops[VLM_OP_class_loss], 1, &logits, 0, &attr, sizeof attr);
    if (loss && out) *out = attr.result;
    return loss;
}

/* ---- temper ---- */

vlmoe_status vlm_temper_infer(vlmoe_tape *tape, vlm_node *node)
{
    VLM_TRY(vlm_need_wide(tape, node->input[0], "x"));
    VLM_TRY(vlm_need_vector(tape, node->input[1], 1, "s"));
    vlm_op_output_like(node, node->input[0]->dtype, node->input[0]);
    return VLMOE_OK;
}

vlmoe_status vlm_temper_forward(vlmoe_tape *tape, vlm_node *node)
{
    const vlmk_temper_fwd_args args = {.n = vlm_count(node->output),
                                       .s = node->input[1]->data,
                                       .x = node->input[0]->data,
                                       .y = node->output->data};
    return VLM_KERNEL(tape->ctx, temper_fwd, &args);
}

vlmoe_status vlm_temper_backward(vlmoe_tape *tape, vlm_node *node)
{
    vlmoe_tensor *x = node->input[0], *s = node->input[1];
    void *dy = node->output->grad; /* nobody reads it after this node: becomes dx in place */
    int accumulate;
    void *ds = vlm_grad_in(tape, s, &accumulate);
    if (tape->status) return tape->status;
    const vlmk_temper_bwd_args args = {.n = vlm_count(x),
                                       .s = s->data,
                                       .x = x->data,
                                       .dy = dy,
                                       .dx = x->wants_grad ? dy : NULL,
                                       .ds = ds,
                                       .accumulate_ds = accumulate};
    VLM_TRY(VLM_KERNEL(tape->ctx, temper_bwd, &args));
    return vlm_grad_give(tape, x, dy);
}

vlmoe_tensor *vlm_temper(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *s)
{
    vlmoe_tensor *const inputs[] = {x, s};
    return vlm_record(tape, &vlm_ops[VLM_OP_temper], 2, inputs, 0, NULL, 0);
}
