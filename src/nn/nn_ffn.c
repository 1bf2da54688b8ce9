/* Feed-forwards: dense, and sparse with a router. Which rows they see is the model's business. */
#include "nn.h"

vlmoe_tensor *vlm_ffn_run(vlmoe_tape *tape, const vlm_ffn_layer *layer, vlmoe_tensor *h)
{
    vlm_linear_opts opts = {.act = VLMOE_ACT_GELU, .out_dtype = tape->ctx->compute};
    vlmoe_tensor *hidden = vlm_linear(tape, h, layer->fc1.weight, layer->fc1.bias, &opts);
    opts.act = VLMOE_ACT_NONE;
    vlmoe_tensor *out = vlm_linear(tape, hidden, layer->fc2.weight, layer->fc2.bias, &opts);
    vlm_tape_release(tape, hidden);
    return out;
}

/* Rows laid out expert by expert [T K, D] through each expert's own two products. Releases them. */
static vlmoe_tensor *experts_run(vlmoe_tape *tape, const vlm_moe_layer *layer, vlmoe_tensor *rows,
                                 const vlm_routing *routing)
{
    vlm_linear_opts opts = {.act = VLMOE_ACT_GELU,
                            .out_dtype = tape->ctx->compute,
                            .n_groups = layer->policy.E,
                            .d_offset = routing->d_expert_offset};
    vlmoe_tensor *hidden = vlm_linear(tape, rows, layer->fc1.weight, layer->fc1.bias, &opts);
    vlm_tape_release(tape, rows);
    opts.act = VLMOE_ACT_NONE;
    vlmoe_tensor *out = vlm_linear(tape, hidden, layer->fc2.weight, layer->fc2.bias, &opts);
    vlm_tape_release(tape, hidden);
    return out;
}

vlmoe_tensor *vlm_moe_run(vlmoe_tape *tape, const vlm_moe_layer *layer, vlmoe_tensor *h,
                          int64_t n_sets, const int32_t *set_offset, vlm_routing **routing)
{
    vlm_route_policy policy = layer->policy;
    policy.n_sets = n_sets;
    policy.set_offset = set_offset;
    if (tape->mode == VLMOE_PREDICT) policy.capacity_factor = layer->capacity_factor_eval;

    /* Logits, probabilities and losses are wide whatever the compute type: a rounded logit can
     * change a choice. */
    vlmoe_tensor *wide = vlmoe_cast(tape, h, tape->ctx->wide);
    vlm_linear_opts opts = {.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->wide};
    vlmoe_tensor *logits = vlm_linear(tape, wide, layer->router, NULL, &opts);
    vlm_routing *decided = NULL;
    vlmoe_tensor *weight = vlm_route(tape, logits, &policy, &decided);
    if (!weight) return NULL;
    vlmoe_loss_add(tape, vlm_router_losses(tape, logits, &policy, decided), 1.0);

    if (wide != h) vlm_tape_release(tape, wide);
    vlm_tape_release(tape, logits);

    vlmoe_tensor *rows = experts_run(tape, layer, vlm_dispatch(tape, h, decided), decided);
    vlmoe_tensor *y = vlm_combine(tape, rows, weight, decided);
    vlm_tape_release(tape, rows);
    if (routing && y) *routing = decided;
    return y;
}
