/* Self-attention over packed sequences. */
#include <math.h>
#include "op_util.h"

typedef struct attention_attr {
    int64_t heads;
    vlm_attention_layout layout;
} attention_attr;

vlmoe_status vlm_attention_infer(vlmoe_tape *tape, vlm_node *node)
{
    const attention_attr *attr = node->attr;
    const vlmoe_tensor *qkv = node->input[0];
    VLM_TRY(vlm_need_float(tape, qkv, "qkv"));
    if (attr->heads < 1)
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "%lld heads, expected at least 1",
                           (long long)attr->heads);
    if (qkv->rank != 2 || vlm_cols(qkv) < 1 || vlm_cols(qkv) % (3 * attr->heads) != 0)
        return VLM_OP_FAIL(
            tape, VLMOE_E_SHAPE,
            "qkv is %s, expected [rows, 3 * heads * width of a head] with %lld heads",
            VLM_SHAPE(qkv), (long long)attr->heads);
    if (attr->layout.n_seq < 0 || attr->layout.max_len < 0)
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "%lld sequences of at most %lld rows",
                           (long long)attr->layout.n_seq, (long long)attr->layout.max_len);
    vlm_op_output(node, qkv->dtype, 2, (const int64_t[]){qkv->dim[0], vlm_cols(qkv) / 3});
    return VLMOE_OK;
}

/* Column first of a packed row belongs to part 0 (q), 1 (k), 2 (v). */
static void *part(const vlm_node *node, void *data, int i)
{
    return (char *)data +
           (size_t)(i * vlm_cols(node->output)) * vlm_dtype_bytes(node->output->dtype);
}

/* saved: lse [rows, heads] wide. */
static vlmk_attention_args attention_args(const vlm_node *node)
{
    const attention_attr *attr = node->attr;
    const vlm_attention_layout *layout = &attr->layout;
    const vlmoe_tensor *qkv = node->input[0];
    int64_t width = vlm_cols(node->output);
    vlmk_attention_args args = {.dtype = qkv->dtype,
                                .H = attr->heads,
                                .H_kv = attr->heads,
                                .head_dim = width / attr->heads,
                                .q_stride = 3 * width,
                                .kv_stride = 3 * width,
                                .out_stride = width,
                                .n_seq = layout->n_seq,
                                .q_offset = layout->d_offset,
                                .q_row = layout->d_row,
                                .kv_offset = layout->d_offset,
                                .kv_row = layout->d_row,
                                .max_q = layout->max_len,
                                .max_kv = layout->max_len,
                                .causal = layout->causal,
                                .out = node->output->data,
                                .lse = node->saved[0]};
    args.scale = 1.0 / sqrt((double)args.head_dim);
    args.q = part(node, qkv->data, 0);
    args.k = part(node, qkv->data, 1);
    args.v = part(node, qkv->data, 2);
    return args;
}

vlmoe_status vlm_attention_forward(vlmoe_tape *tape, vlm_node *node)
{
    const attention_attr *attr = node->attr;
    node->saved[0] =
        vlm_tape_device(tape, vlm_wide_bytes(tape, node->output->dim[0] * attr->heads));
    if (!node->saved[0]) return tape->status;
    VLM_TRY(vlm_op_zero(tape, node->output->data,
                        vlmoe_tensor_bytes(node->output))); /* rows of no sequence */
    const vlmk_attention_args args = attention_args(node);
    return VLM_KERNEL(tape->ctx, attention_fwd, &args);
}

vlmoe_status vlm_attention_backward(vlmoe_tape *tape, vlm_node *node)
{
    vlmoe_tensor *qkv = node->input[0];
    void *dqkv = vlm_tape_device(tape, vlmoe_tensor_bytes(qkv));
    if (!dqkv) return tape->status;
    VLM_TRY(vlm_op_zero(tape, dqkv, vlmoe_tensor_bytes(qkv))); /* rows of no sequence */
    vlmk_attention_args args = attention_args(node);
    args.dout = vlm_grad_of(node->output);
    args.dq = part(node, dqkv, 0);
    args.dk = part(node, dqkv, 1);
    args.dv = part(node, dqkv, 2);
    VLM_TRY(VLM_KERNEL(tape->ctx, attention_bwd, &args));
    return vlm_grad_give(tape, qkv, dqkv);
}

vlmoe_tensor *vlm_attention_packed(vlmoe_tape *tape, vlmoe_tensor *qkv, int64_t heads,
                                   const vlm_attention_layout *layout)
{
    const attention_attr attr = {.heads = heads, .layout = *layout};
    return vlm_record(tape, &vlm_ops[VLM_OP_attention], 1, &qkv, 0, &attr, sizeof attr);
}

/* Row i of the list is row i of qkv: then offsets into the list are row numbers. */
vlmoe_tensor *vlmoe_attention(vlmoe_tape *tape, vlmoe_tensor *qkv, int64_t heads, int64_t n_seq,
                              const int32_t *offset, int causal)
{
    if (!tape || tape->status) return NULL;
    if (!qkv || !offset || n_seq < 0)
        return vlm_poison(tape, VLMOE_E_ARG, "attention: qkv or offset is NULL, or n_seq below 0");
    vlm_attention_layout layout = {.n_seq = n_seq, .causal = causal != 0};
    for (int64_t s = 0; s < n_seq; s++) {
        if (offset[s] < 0 || offset[s + 1] < offset[s] || offset[s + 1] > vlm_rows(qkv))
            return vlm_poison(tape, VLMOE_E_ARG,
                              "attention: sequence %lld is rows %d to %d of qkv %s", (long long)s,
                              offset[s], offset[s + 1], VLM_SHAPE(qkv));
        layout.max_len = VLM_MAX(layout.max_len, offset[s + 1] - offset[s]);
    }
    int32_t n_rows = n_seq ? offset[n_seq] : 0;
    int32_t *host = vlm_tape_host(tape, (size_t)(n_seq + 1 + n_rows) * sizeof *host);
    if (!host) return NULL;
    for (int64_t s = 0; s <= n_seq && n_seq > 0; s++) host[s] = offset[s];
    for (int32_t i = 0; i < n_rows; i++) host[n_seq + 1 + i] = i;
    const int32_t *block = vlm_tape_upload(tape, host, (size_t)(n_seq + 1 + n_rows) * sizeof *host);
    if (!block) return NULL;
    layout.d_offset = block;
    layout.d_row = block + n_seq + 1;
    return vlm_attention_packed(tape, qkv, heads, &layout);
}
