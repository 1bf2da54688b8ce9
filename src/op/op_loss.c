/* Losses over rows. What metrics read afterwards is kept when the recording runs in segments. */
#include <string.h>
#include "op_util.h"

/* ---- cross entropy ---- */

typedef struct ce_attr {
    const int32_t *d_target;  /* [M] */
    const void *d_row_weight; /* [M] wide */
    vlm_ce_result result;
} ce_attr;

vlmoe_status vlm_cross_entropy_infer(vlmoe_tape *tape, vlm_node *node)
{
    const vlmoe_tensor *logits = node->input[0];
    VLM_TRY(vlm_need_wide(tape, logits, "logits"));
    if (logits->rank < 1 || vlm_cols(logits) < 1)
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "logits are %s, expected [rows, classes]",
                           VLM_SHAPE(logits));
    vlm_op_output_scalar(node);
    return VLMOE_OK;
}

/* saved: lse [M] wide. */
vlmoe_status vlm_cross_entropy_forward(vlmoe_tape *tape, vlm_node *node)
{
    const ce_attr *attr = node->attr;
    const vlmoe_tensor *logits = node->input[0];
    node->saved[0] = vlm_tape_device(tape, vlm_wide_bytes(tape, vlm_rows(logits)));
    if (!node->saved[0]) return tape->status;
    const vlmk_cross_entropy_fwd_args args = {.M = vlm_rows(logits),
                                              .V = vlm_cols(logits),
                                              .logits = logits->data,
                                              .target = attr->d_target,
                                              .row_weight = attr->d_row_weight,
                                              .nll = attr->result.d_nll,
                                              .lse = node->saved[0],
                                              .correct = attr->result.d_correct,
                                              .loss = node->output->data};
    return VLM_KERNEL(tape->ctx, cross_entropy_fwd, &args);
}

vlmoe_status vlm_cross_entropy_backward(vlmoe_tape *tape, vlm_node *node)
{
    const ce_attr *attr = node->attr;
    vlmoe_tensor *logits = node->input[0];
    const void *values = logits->data;
    void *dlogits = vlm_tape_reuse(tape, logits);
    if (!dlogits) dlogits = vlm_tape_device(tape, vlmoe_tensor_bytes(logits));
    if (!dlogits) return tape->status;
    const vlmk_cross_entropy_bwd_args args = {.M = vlm_rows(logits),
                                              .V = vlm_cols(logits),
                                              .out_dtype = logits->dtype,
                                              .logits = values,
                                              .target = attr->d_target,
                                              .row_weight = attr->d_row_weight,
                                              .lse = node->saved[0],
                                              .dloss = vlm_grad_of(node->output),
                                              .dlogits = dlogits};
    VLM_TRY(VLM_KERNEL(tape->ctx, cross_entropy_bwd, &args));
    return vlm_grad_give(tape, logits, dlogits);
}

vlmoe_tensor *vlm_cross_entropy_rows(vlmoe_tape *tape, vlmoe_tensor *logits,
                                     const int32_t *d_target, const void *d_row_weight,
                                     vlm_ce_result *out)
{
    if (!tape || tape->status) return NULL;
    if (!logits || !d_target || !d_row_weight)
        return vlm_poison(tape, VLMOE_E_ARG, "cross_entropy: logits, targets or weights are NULL");
    bool is_new;
    int64_t M = vlm_rows(logits);
    ce_attr attr = {.d_target = d_target, .d_row_weight = d_row_weight};
    attr.result.d_nll = vlm_keep(tape, vlm_wide_bytes(tape, M), &is_new);
    attr.result.d_correct = vlm_keep(tape, (size_t)M * sizeof(int32_t), &is_new);
    vlmoe_tensor *loss =
        vlm_record(tape, &vlm_ops[VLM_OP_cross_entropy], 1, &logits, 0, &attr, sizeof attr);
    if (loss && out) *out = attr.result;
    return loss;
}

vlmoe_tensor *vlmoe_cross_entropy(vlmoe_tape *tape, vlmoe_tensor *logits, const int32_t *target)
{
    if (!tape || tape->status) return NULL;
    if (!logits || !target)
        return vlm_poison(tape, VLMOE_E_ARG, "cross_entropy: logits or target is NULL");
    int64_t M = vlm_rows(logits), n_counted = 0;
    int32_t *host = vlm_tape_host(
        tape, (size_t)M * sizeof *host); /* stays until the copy has surely happened */
    double *weight = vlm_tape_host(tape, (size_t)M * sizeof *weight);
    if (!host || !weight) return NULL;
    for (int64_t r = 0; r < M; r++) {
        if (target[r] < -1 || target[r] >= vlm_cols(logits))
            return vlm_poison(tape, VLMOE_E_ARG, "cross_entropy: target[%lld] is %d with logits %s",
                              (long long)r, target[r], VLM_SHAPE(logits));
        host[r] = target[r];
        n_counted += target[r] >= 0;
    }
    for (int64_t r = 0; r < M; r++) weight[r] = target[r] >= 0 ? 1.0 / (double)n_counted : 0.0;
    const int32_t *d_target = vlm_tape_upload(tape, host, (size_t)M * sizeof *host);
    const void *d_weight = vlm_op_upload_wide(tape, weight, M);
    return d_target && d_weight ? vlm_cross_entropy_rows(tape, logits, d_target, d_weight, NULL)
                                : NULL;
}

/* ---- mean squared error ---- */

typedef struct mse_attr {
    const void *d_target;     /* [M, C] wide */
    const void *d_row_weight; /* [M] wide */
    void *d_row_loss;         /* [M] wide */
} mse_attr;

vlmoe_status vlm_mse_infer(vlmoe_tape *tape, vlm_node *node)
{
    VLM_TRY(vlm_need_wide(tape, node->input[0], "x"));
    vlm_op_output_scalar(node);
    return VLMOE_OK;
}

vlmoe_status vlm_mse_forward(vlmoe_tape *tape, vlm_node *node)
{
    const mse_attr *attr = node->attr;
    const vlmoe_tensor *x = node->input[0];
    const vlmk_mse_fwd_args args = {.M = vlm_rows(x),
                                    .C = vlm_cols(x),
                                    .x = x->data,
                                    .target = attr->d_target,
                                    .row_weight = attr->d_row_weight,
                                    .row_loss = attr->d_row_loss,
                                    .loss = node->output->data};
    return VLM_KERNEL(tape->ctx, mse_fwd, &args);
}

vlmoe_status vlm_mse_backward(vlmoe_tape *tape, vlm_node *node)
{
    const mse_attr *attr = node->attr;
    vlmoe_tensor *x = node->input[0];
    void *dx = vlm_tape_device(tape, vlmoe_tensor_bytes(x));
    if (!dx) return tape->status;
    const vlmk_mse_bwd_args args = {.M = vlm_rows(x),
                                    .C = vlm_cols(x),
                                    .x = x->data,
                                    .target = attr->d_target,
                                    .row_weight = attr->d_row_weight,
                                    .dloss = vlm_grad_of(node->output),
                                    .dx = dx};
    VLM_TRY(VLM_KERNEL(tape->ctx, mse_bwd, &args));
    return vlm_grad_give(tape, x, dx);
}

vlmoe_tensor *vlm_mse_rows(vlmoe_tape *tape, vlmoe_tensor *x, const void *d_target,
                           const void *d_row_weight, void **d_row_loss)
{
    if (!tape || tape->status) return NULL;
    if (!x || !d_target || !d_row_weight)
        return vlm_poison(tape, VLMOE_E_ARG, "mse: x, target or weights are NULL");
    bool is_new;
    mse_attr attr = {.d_target = d_target, .d_row_weight = d_row_weight};
    attr.d_row_loss = vlm_keep(tape, vlm_wide_bytes(tape, vlm_rows(x)), &is_new);
    vlmoe_tensor *loss = vlm_record(tape, &vlm_ops[VLM_OP_mse], 1, &x, 0, &attr, sizeof attr);
    if (loss && d_row_loss) *d_row_loss = attr.d_row_loss;
    return loss;
}

vlmoe_tensor *vlmoe_mse(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *target)
{
    if (!tape || tape->status) return NULL;
    if (!x || !target) return vlm_poison(tape, VLMOE_E_ARG, "mse: x or target is NULL");
    if (x->dtype != target->dtype || !vlm_same_shape(x, target))
        return vlm_poison(tape, VLMOE_E_SHAPE,
                          "mse: x is %s of %s and target %s of %s, expected one shape and type",
                          VLM_SHAPE(x), vlm_dtype_name(x->dtype), VLM_SHAPE(target),
                          vlm_dtype_name(target->dtype));
    int64_t M = vlm_rows(x);
    double *weight = vlm_tape_host(tape, (size_t)M * sizeof *weight);
    if (!weight) return NULL;
    for (int64_t r = 0; r < M; r++) weight[r] = 1.0 / (double)M;
    const void *d_weight = vlm_op_upload_wide(tape, weight, M);
    return d_weight ? vlm_mse_rows(tape, x, target->data, d_weight, NULL) : NULL;
}
