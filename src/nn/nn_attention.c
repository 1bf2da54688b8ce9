/* Self-attention as a layer: qkv product with biases on q and v, packed attention, output
 * projection. */
#include "nn.h"

/* The parameter [2, D] = (q, v) as the product's bias [3, D] = (q, 0, v). */
static vlmoe_tensor *spread_bias(vlmoe_tape *tape, vlmoe_tensor *bias)
{
    static const int32_t row[3] = {0, -1, 1};
    const int32_t *d_row = vlm_tape_upload(tape, row, sizeof row);
    if (!d_row) return NULL;
    return vlm_gather_sum(tape, 1, &bias, &d_row, 3, tape->ctx->wide);
}

vlmoe_tensor *vlm_attention_run(vlmoe_tape *tape, const vlm_attention_layer *layer, vlmoe_tensor *h,
                                const vlm_attention_layout *layout)
{
    vlm_linear_opts opts = {.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->compute};
    vlmoe_tensor *bias = spread_bias(tape, layer->qkv_bias);
    if (!h || !bias) return NULL;
    vlmoe_tensor *qkv = vlm_linear(tape, h, layer->qkv_weight, bias, &opts);
    vlm_tape_release(tape, bias);
    vlmoe_tensor *mixed = vlm_attention_packed(tape, qkv, layer->heads, layout);
    vlm_tape_release(tape, qkv);
    vlmoe_tensor *out = vlm_linear(tape, mixed, layer->proj.weight, layer->proj.bias, &opts);
    vlm_tape_release(tape, mixed);
    return out;
}
