/* Vectors replaced by their nearest code; the gradient passes straight through (van den Oord et al. 2017). */
#include "op_util.h"

typedef struct quantise_attr {
    const void *d_code; /* [n_codes, C] wide, unit rows */
    int64_t n_codes;
    int32_t *d_index; /* [M], kept */
    bool is_new;      /* false: chosen before, read back */
} quantise_attr;

vlmoe_status vlm_quantise_infer(vlmoe_tape *tape, vlm_node *node)
{
    const quantise_attr *attr = node->attr;
    VLM_TRY(vlm_need_wide(tape, node->input[0], "z"));
    if (attr->n_codes < 1)
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "%lld codes, expected at least 1",
                           (long long)attr->n_codes);
    vlm_op_output_like(node, node->input[0]->dtype, node->input[0]);
    return VLMOE_OK;
}

vlmoe_status vlm_quantise_forward(vlmoe_tape *tape, vlm_node *node)
{
    const quantise_attr *attr = node->attr;
    const vlmoe_tensor *z = node->input[0];
    const vlmk_vq_assign_args assign = {.M = vlm_rows(z),
                                        .n_codes = attr->n_codes,
                                        .C = vlm_cols(z),
                                        .z = z->data,
                                        .code = attr->d_code,
                                        .index = attr->d_index};
    if (attr->is_new) VLM_TRY(VLM_KERNEL(tape->ctx, vq_assign, &assign));
    const vlmk_gather_rows_args gather = {.in_dtype = z->dtype,
                                          .out_dtype = z->dtype,
                                          .n_out = vlm_rows(z),
                                          .n_in = attr->n_codes,
                                          .cols = vlm_cols(z),
                                          .in = attr->d_code,
                                          .index = attr->d_index,
                                          .out = node->output->data};
    return VLM_KERNEL(tape->ctx, gather_rows, &gather);
}

vlmoe_status vlm_quantise_backward(vlmoe_tape *tape, vlm_node *node)
{
    return vlm_grad_give(tape, node->input[0], node->output->grad);
}

vlmoe_tensor *vlm_quantise(vlmoe_tape *tape, vlmoe_tensor *z, const void *d_code, int64_t n_codes,
                           const int32_t **d_index_out)
{
    if (!tape || tape->status) return NULL;
    if (!z || !d_code) return vlm_poison(tape, VLMOE_E_ARG, "quantise: z or code is NULL");
    quantise_attr attr = {.d_code = d_code, .n_codes = n_codes};
    attr.d_index = vlm_keep(tape, (size_t)vlm_rows(z) * sizeof(int32_t), &attr.is_new);
    vlmoe_tensor *out = vlm_record(tape, &vlm_ops[VLM_OP_quantise], 1, &z, 0, &attr, sizeof attr);
    if (out && d_index_out) *d_index_out = attr.d_index;
    return out;
}
