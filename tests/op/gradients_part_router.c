/* Gradient cases of routing and of the whole expert layer. */
#include "gradients.h"

static const int32_t ONE_SET[] = {0, 6}, THREE_SETS[] = {0, 4, 4, 6};

static vlm_route_policy policy_of(double capacity_factor)
{
    return (vlm_route_policy){.E = 4,
                              .K = 2,
                              .n_sets = 1,
                              .set_offset = ONE_SET,
                              .capacity_factor = capacity_factor,
                              .capacity_multiple = 1,
                              .capacity_min = 1,
                              .priority = true,
                              .site = 3};
}

static vlmoe_tensor *route(vlmoe_tape *tape, vlmoe_tensor *logits, vlm_route_policy policy)
{
    vlm_routing *routing;
    return vlm_route(tape, logits, &policy, &routing);
}

static vlmoe_tensor *route_dropless(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return route(tape, p[0], policy_of(0.0));
}

static vlmoe_tensor *route_noisy_sets(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlm_route_policy policy = policy_of(1.0);
    policy.noise_std = 1.0;
    policy.n_sets = 3;
    policy.set_offset = THREE_SETS;
    return route(tape, p[0], policy);
}

static vlmoe_tensor *route_before(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlm_route_policy policy = policy_of(0.5);
    policy.renorm = VLMK_RENORM_BEFORE;
    return route(tape, p[0], policy);
}

static vlmoe_tensor *route_after(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlm_route_policy policy = policy_of(0.5);
    policy.renorm = VLMK_RENORM_AFTER;
    policy.priority = false;
    return route(tape, p[0], policy);
}

/* One balance loss by itself, over three sets of which one is empty, with noise. */
static vlmoe_tensor *one_loss(vlmoe_tape *tape, vlmoe_tensor *logits, int loss)
{
    vlm_routing *routing = NULL;
    vlm_route_policy policy = policy_of(1.0);
    policy.noise_std = 2.0;
    policy.n_sets = 3;
    policy.set_offset = THREE_SETS;
    policy.global_experts = loss == VLMK_LOSS_GLOBAL ? 4.0 : 0.0;
    policy.weight[loss] = 1.0;
    if (!vlm_route(tape, logits, &policy, &routing)) return NULL;
    return vlm_router_losses(tape, logits, &policy, routing);
}

static vlmoe_tensor *loss_importance(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return one_loss(tape, p[0], VLMK_LOSS_IMPORTANCE);
}

static vlmoe_tensor *loss_load(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return one_loss(tape, p[0], VLMK_LOSS_LOAD);
}

static vlmoe_tensor *loss_switch(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return one_loss(tape, p[0], VLMK_LOSS_SWITCH);
}

static vlmoe_tensor *loss_z(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return one_loss(tape, p[0], VLMK_LOSS_Z);
}

static vlmoe_tensor *loss_local(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return one_loss(tape, p[0], VLMK_LOSS_LOCAL);
}

static vlmoe_tensor *loss_global(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return one_loss(tape, p[0], VLMK_LOSS_GLOBAL);
}

/* Weights and losses both differentiate into the logits. */
static vlmoe_tensor *route_and_losses(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlm_routing *routing = NULL;
    vlm_route_policy policy = policy_of(1.0);
    policy.noise_std = 1.0;
    for (int i = 0; i < VLMK_N_LOSSES; i++) policy.weight[i] = 0.1 * (i + 1);
    vlmoe_tensor *logits = vlmoe_linear_no_bias(tape, p[0], p[1], VLMOE_ACT_NONE);
    vlmoe_tensor *weight = vlm_route(tape, logits, &policy, &routing);
    if (weight) vlmoe_loss_add(tape, vlm_router_losses(tape, logits, &policy, routing), 2.0);
    return weight;
}

static vlm_routing *fixed_routing(vlmoe_tape *tape, double capacity_factor)
{
    vlm_routing *routing = NULL;
    vlm_route_policy policy = policy_of(capacity_factor);
    vlmoe_tensor *logits = case_constant(tape, 2, (const int64_t[]){6, 4}, 12);
    return vlm_route(tape, logits, &policy, &routing) ? routing : NULL;
}

static vlmoe_tensor *dispatch_all(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_dispatch(tape, p[0], fixed_routing(tape, 0.0));
}

static vlmoe_tensor *dispatch_dropping(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlmoe_tensor *x = vlm_act(tape, p[0], VLMOE_ACT_TANH);
    return vlmoe_add(tape, vlm_dispatch(tape, x, fixed_routing(tape, 0.5)),
                     vlm_dispatch(tape, x, fixed_routing(tape, 1.0)));
}

static vlmoe_tensor *combine_all(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_combine(tape, p[0], p[1], fixed_routing(tape, 0.0));
}

static vlmoe_tensor *combine_dropping(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return vlm_combine(tape, p[0], p[1], fixed_routing(tape, 0.5));
}

static vlmoe_tensor *expert_layer(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    const vlmoe_moe_weights weights = {p[1], p[2], p[3], p[4], p[5]};
    vlmoe_moe_params params = VLMOE_MOE_PARAMS;
    params.k = 2;
    params.capacity_factor = 1.0;
    params.importance = params.load = params.z = 0.3;
    return vlmoe_moe(tape, p[0], &weights, &params);
}

const op_case router_cases[] = {
    {"route", "dropless", route_dropless, .n_params = 1, .param = {{2, {6, 4}}}},
    {"route", "noise, three sets", route_noisy_sets, .n_params = 1, .param = {{2, {6, 4}}}},
    {"route", "renormalised before dropping", route_before, .n_params = 1, .param = {{2, {6, 4}}}},
    {"route", "renormalised after dropping", route_after, .n_params = 1, .param = {{2, {6, 4}}}},
    {"router_losses", "importance", loss_importance, .n_params = 1, .param = {{2, {6, 4}}}},
    {"router_losses", "load", loss_load, .n_params = 1, .param = {{2, {6, 4}}}},
    {"router_losses", "switch", loss_switch, .n_params = 1, .param = {{2, {6, 4}}}},
    {"router_losses", "z", loss_z, .n_params = 1, .param = {{2, {6, 4}}}},
    {"router_losses", "local entropy", loss_local, .n_params = 1, .param = {{2, {6, 4}}}},
    {"router_losses", "global entropy", loss_global, .n_params = 1, .param = {{2, {6, 4}}}},
    {"route", "weights and losses", route_and_losses, .n_params = 2,
     .param = {{2, {6, 3}}, {2, {4, 3}}}},
    {"dispatch", "everyone served", dispatch_all, .n_params = 1, .param = {{2, {6, 2}}}},
    {"dispatch", "dropped tokens", dispatch_dropping, .n_params = 1, .param = {{2, {6, 2}}}},
    {"combine", "everyone served", combine_all, .n_params = 2,
     .param = {{2, {12, 2}}, {2, {6, 2}}}},
    {"combine", "dropped tokens", combine_dropping, .n_params = 2,
     .param = {{2, {12, 2}}, {2, {6, 2}}}},
    {"combine", "a whole expert layer", expert_layer, .n_params = 6,
     .param = {{2, {6, 3}}, {2, {4, 3}}, {3, {4, 5, 3}}, {2, {4, 5}}, {3, {4, 3, 5}}, {2, {4, 3}}}},
};
const int n_router_cases = VLM_COUNT(router_cases);
