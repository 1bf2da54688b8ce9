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

/* Rows laid out expert by expert through each expert's own two products. Releases them. */
static vlmoe_tensor *experts_run(vlmoe_tape *tape, const vlm_moe_layer *layer, vlmoe_tensor *rows,
                                 vlm_linear_opts opts)
{
    opts.act = VLMOE_ACT_GELU;
    opts.out_dtype = tape->ctx->compute;
    vlmoe_tensor *hidden = vlm_linear(tape, rows, layer->fc1.weight, layer->fc1.bias, &opts);
    vlm_tape_release(tape, rows);
    opts.act = VLMOE_ACT_NONE;
    vlmoe_tensor *out = vlm_linear(tape, hidden, layer->fc2.weight, layer->fc2.bias, &opts);
    vlm_tape_release(tape, hidden);
    return out;
}

/* Slots that hold what an expert may take of any recording in this mode. */
static int64_t most_slots(const vlm_moe_layer *layer, double factor)
{
    const vlm_route_policy *p = &layer->policy;
    int64_t slots = 0;
    for (int i = 0; i < VLM_COUNT(layer->most_tokens); i++)
        slots += vlm_capacity(layer->most_tokens[i], p->E, p->K, factor, p->capacity_multiple,
                              p->capacity_min);
    return slots;
}

/* The same with experts on several ranks: rows go to their experts' ranks and come back. Releases them. */
static vlmoe_tensor *experts_across(vlmoe_tape *tape, const vlm_moe_layer *layer,
                                    vlmoe_tensor *rows, vlm_routing *routing)
{
    double factor =
        tape->mode == VLMOE_PREDICT ? layer->capacity_factor_eval : layer->policy.capacity_factor;
    vlm_exchange_policy policy = {.is_fixed = layer->has_slots && factor > 0.0,
                                  .receive_factor = layer->receive_factor};
    if (policy.is_fixed) policy.slots = most_slots(layer, factor);
    vlm_exchange *exchange = vlm_exchange_make(tape, routing, &policy);
    if (!exchange) return NULL;
    vlmoe_tensor *there = vlm_exchange_rows(tape, rows, exchange, VLM_TO_EXPERTS);
    vlm_tape_release(tape, rows);
    vlmoe_tensor *out = experts_run(tape, layer, there,
                                    (vlm_linear_opts){.n_groups = exchange->E,
                                                      .d_offset = exchange->d_expert_offset,
                                                      .n_parts = exchange->R,
                                                      .d_run_offset = exchange->d_run_offset});
    vlmoe_tensor *back = vlm_exchange_rows(tape, out, exchange, VLM_FROM_EXPERTS);
    vlm_tape_release(tape, out);
    return back;
}

/* What each served choice's expert makes of its token, by slot. */
static vlmoe_tensor *serve(vlmoe_tape *tape, const vlm_moe_layer *layer, vlmoe_tensor *h,
                           vlm_routing *routing)
{
    const vlm_expert_ranks *ranks =
        tape->ctx->ranks ? vlm_ranks_of(tape->ctx->ranks, routing->E) : NULL;
    vlmoe_tensor *rows = vlm_dispatch(tape, h, routing);
    if (ranks && ranks->layout.members > 1) return experts_across(tape, layer, rows, routing);
    return experts_run(
        tape, layer, rows,
        (vlm_linear_opts){.n_groups = routing->E, .d_offset = routing->d_expert_offset});
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

    vlmoe_tensor *rows = serve(tape, layer, h, decided);
    vlmoe_tensor *y = vlm_combine(tape, rows, weight, decided);
    vlm_tape_release(tape, rows);
    if (routing && y) *routing = decided;
    return y;
}
