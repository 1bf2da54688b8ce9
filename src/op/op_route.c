/* Routing: from logits to who serves whom with what weight, and the balance losses. Decisions are kept, so a segment that is run
 * again reads them back. Moving rows stands in op_moe.c. */
#include <math.h>
#include <string.h>
#include "base_rng.h"
#include "op_util.h"

int64_t vlm_capacity(int64_t T, int64_t E, int64_t K, double factor, int64_t multiple,
                     int64_t minimum)
{
    if (factor == 0.0) return -1;
    if (T == 0) return 0;
    int64_t thousandths = llround(
        factor * 1000.0); /* the decimal as written: 1.1 in binary gives 56 rows for an exact 55 */
    int64_t capacity = (K * T * thousandths + 1000 * E - 1) / (1000 * E);
    capacity = VLM_MAX(capacity, minimum);
    if (multiple > 1) capacity = (capacity + multiple - 1) / multiple * multiple;
    return VLM_MIN(capacity, INT32_MAX);
}

/* ---- route ---- */

typedef struct route_attr {
    vlm_routing *routing;
    bool is_new; /* false: decided before, read back */
    bool bpr;
    int renorm;
    uint64_t key;
    const int32_t *d_capacity; /* [n_sets], is_new only */
} route_attr;

vlmoe_status vlm_route_infer(vlmoe_tape *tape, vlm_node *node)
{
    const route_attr *attr = node->attr;
    const vlm_routing *routing = attr->routing;
    VLM_TRY(vlm_need_wide(tape, node->input[0], "logits"));
    vlm_op_output(node, tape->ctx->wide, 2, (const int64_t[]){routing->T, routing->K});
    node->output->data = routing->d_weight;
    return VLMOE_OK;
}

vlmoe_status vlm_route_forward(vlmoe_tape *tape, vlm_node *node)
{
    const route_attr *attr = node->attr;
    const vlm_routing *r = attr->routing;
    if (!attr->is_new) return VLMOE_OK;
    const vlmk_router_select_args select = {.T = r->T,
                                            .E = r->E,
                                            .K = r->K,
                                            .logits = node->input[0]->data,
                                            .sigma = r->sigma,
                                            .key = attr->key,
                                            .noisy = r->d_noisy,
                                            .clean = r->d_clean,
                                            .gates = r->d_gates,
                                            .priority = r->d_priority,
                                            .expert = r->d_expert};
    VLM_TRY(VLM_KERNEL(tape->ctx, router_select, &select));
    const vlmk_router_assign_args assign = {.T = r->T,
                                            .E = r->E,
                                            .K = r->K,
                                            .n_sets = r->n_sets,
                                            .set_offset = r->d_set_offset,
                                            .capacity = attr->d_capacity,
                                            .bpr = attr->bpr,
                                            .expert = r->d_expert,
                                            .priority = r->d_priority,
                                            .slot = r->d_slot,
                                            .row_token = r->d_row_token,
                                            .expert_offset = r->d_expert_offset,
                                            .load = r->d_load,
                                            .served = r->d_served};
    VLM_TRY(VLM_KERNEL(tape->ctx, router_assign, &assign));
    const vlmk_router_weights_args weights = {.T = r->T,
                                              .E = r->E,
                                              .K = r->K,
                                              .gates = r->d_gates,
                                              .expert = r->d_expert,
                                              .slot = r->d_slot,
                                              .renorm = attr->renorm,
                                              .weight = r->d_weight};
    return VLM_KERNEL(tape->ctx, router_weights, &weights);
}

vlmoe_status vlm_route_backward(vlmoe_tape *tape, vlm_node *node)
{
    const route_attr *attr = node->attr;
    const vlm_routing *r = attr->routing;
    int accumulate;
    void *dlogits = vlm_grad_in(tape, node->input[0], &accumulate);
    if (!dlogits) return tape->status;
    const vlmk_router_weights_bwd_args args = {.T = r->T,
                                               .E = r->E,
                                               .K = r->K,
                                               .gates = r->d_gates,
                                               .expert = r->d_expert,
                                               .slot = r->d_slot,
                                               .renorm = attr->renorm,
                                               .dweight = vlm_grad_of(node->output),
                                               .dlogits = dlogits,
                                               .accumulate = accumulate};
    return VLM_KERNEL(tape->ctx, router_weights_bwd, &args);
}

static bool check_policy(vlmoe_tape *tape, const vlmoe_tensor *logits,
                         const vlm_route_policy *policy)
{
    if (logits->rank != 2 || logits->dim[1] != policy->E || policy->E < 1) {
        vlm_poison(tape, VLMOE_E_SHAPE, "route: logits are %s, expected [tokens, %lld experts]",
                   VLM_SHAPE(logits), (long long)policy->E);
        return false;
    }
    if (policy->K < 1 || policy->K > policy->E || !(policy->capacity_factor >= 0.0) ||
        !(policy->noise_std >= 0.0) || policy->n_sets < 1) {
        vlm_poison(tape, VLMOE_E_ARG,
                   "route: %lld of %lld experts, capacity factor %g, noise %g, %lld sets",
                   (long long)policy->K, (long long)policy->E, policy->capacity_factor,
                   policy->noise_std, (long long)policy->n_sets);
        return false;
    }
    for (int64_t s = 0; s < policy->n_sets; s++) {
        bool starts_right = s > 0 || policy->set_offset[0] == 0;
        if (!starts_right || policy->set_offset[s + 1] < policy->set_offset[s]) {
            vlm_poison(tape, VLMOE_E_ARG,
                       "route: set %lld is tokens %d to %d, expected ascending runs from 0",
                       (long long)s, policy->set_offset[s], policy->set_offset[s + 1]);
            return false;
        }
    }
    if (policy->set_offset[policy->n_sets] == logits->dim[0]) return true;
    vlm_poison(tape, VLMOE_E_ARG, "route: sets end at token %d of logits %s",
               policy->set_offset[policy->n_sets], VLM_SHAPE(logits));
    return false;
}

/* All arrays of a routing, in one order, so that a replay finds each where it was. */
static void keep_arrays(vlmoe_tape *tape, vlm_routing *r, bool *is_new)
{
    size_t T = (size_t)r->T, TK = T * (size_t)r->K, SE = (size_t)(r->n_sets * r->E),
           word = sizeof(int32_t);
    size_t TE_wide = vlm_wide_bytes(tape, r->T * r->E);
    r->d_set_offset = vlm_keep(tape, (size_t)(r->n_sets + 1) * word, is_new);
    r->d_expert = vlm_keep(tape, TK * word, is_new);
    r->d_slot = vlm_keep(tape, TK * word, is_new);
    r->d_row_token = vlm_keep(tape, TK * word, is_new);
    r->d_expert_offset = vlm_keep(tape, (size_t)(r->E + 1) * word, is_new);
    r->d_load = vlm_keep(tape, SE * word, is_new);
    r->d_served = vlm_keep(tape, SE * word, is_new);
    r->d_noisy = vlm_keep(tape, TE_wide, is_new);
    r->d_clean = vlm_keep(tape, TE_wide, is_new);
    r->d_gates = vlm_keep(tape, TE_wide, is_new);
    r->d_priority = vlm_keep(tape, vlm_wide_bytes(tape, r->T), is_new);
    r->d_weight = vlm_keep(tape, vlm_wide_bytes(tape, r->T * r->K), is_new);
}

/* Host arrays of capacities and set bounds, and their copies on the device. */
static void upload_sets(vlmoe_tape *tape, const vlm_route_policy *policy, route_attr *attr)
{
    vlmoe_context *ctx = tape->ctx;
    vlm_routing *r = attr->routing;
    size_t n = (size_t)policy->n_sets;
    r->capacity = vlm_tape_host(tape, (2 * n + 1) * sizeof(int32_t));
    if (!r->capacity) return;
    int32_t *offset = r->capacity + n;
    memcpy(offset, policy->set_offset, (n + 1) * sizeof *offset);
    for (size_t s = 0; s < n; s++)
        r->capacity[s] = (int32_t)vlm_capacity(offset[s + 1] - offset[s], policy->E, policy->K,
                                               policy->capacity_factor, policy->capacity_multiple,
                                               policy->capacity_min);
    if (!attr->is_new) return;
    attr->d_capacity = vlm_tape_upload(tape, r->capacity, n * sizeof(int32_t));
    if (tape->status) return;
    vlmoe_status status =
        ctx->backend->upload(ctx->device, r->d_set_offset, offset, (n + 1) * sizeof(int32_t));
    if (status) vlm_poison(tape, status, "route: upload of the routing sets failed");
}

vlmoe_tensor *vlm_route(vlmoe_tape *tape, vlmoe_tensor *logits, const vlm_route_policy *policy,
                        vlm_routing **routing)
{
    if (!tape || tape->status) return NULL;
    if (!logits) return vlm_poison(tape, VLMOE_E_ARG, "route: logits are NULL");
    if (!check_policy(tape, logits, policy)) return NULL;
    vlm_routing *r = vlm_tape_host(tape, sizeof *r);
    if (!r) return NULL;
    double sigma = tape->mode == VLMOE_TRAIN ? policy->noise_std / (double)policy->E : 0.0;
    *r = (vlm_routing){.T = logits->dim[0],
                       .E = policy->E,
                       .K = policy->K,
                       .n_sets = policy->n_sets,
                       .sigma = sigma};
    route_attr attr = {.routing = r, .bpr = policy->priority, .renorm = policy->renorm};
    attr.key = vlm_rng_key(tape->ctx->seed, VLM_STREAM_ROUTER, (uint64_t)tape->step,
                           (uint64_t)tape->group, policy->site);
    keep_arrays(tape, r, &attr.is_new);
    upload_sets(tape, policy, &attr);
    vlmoe_tensor *weight =
        vlm_record(tape, &vlm_ops[VLM_OP_route], 1, &logits, 0, &attr, sizeof attr);
    if (weight) *routing = r;
    return weight;
}

/* ---- router_losses ---- */

typedef struct losses_attr {
    const vlm_routing *routing;
    double weight[VLMK_N_LOSSES];
    double global_experts;
} losses_attr;

vlmoe_status vlm_router_losses_infer(vlmoe_tape *tape, vlm_node *node)
{
    const losses_attr *attr = node->attr;
    const vlmoe_tensor *logits = node->input[0];
    VLM_TRY(vlm_need_wide(tape, logits, "logits"));
    if (logits->rank != 2 || logits->dim[0] != attr->routing->T ||
        logits->dim[1] != attr->routing->E)
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "logits are %s, routed were [%lld, %lld]",
                           VLM_SHAPE(logits), (long long)attr->routing->T,
                           (long long)attr->routing->E);
    vlm_op_output_scalar(node);
    return VLMOE_OK;
}

vlmoe_status vlm_router_losses_forward(vlmoe_tape *tape, vlm_node *node)
{
    const losses_attr *attr = node->attr;
    const vlm_routing *r = attr->routing;
    vlmk_router_losses_fwd_args args = {.T = r->T,
                                        .E = r->E,
                                        .K = r->K,
                                        .n_sets = r->n_sets,
                                        .set_offset = r->d_set_offset,
                                        .logits = node->input[0]->data,
                                        .noisy = r->d_noisy,
                                        .clean = r->d_clean,
                                        .expert = r->d_expert,
                                        .sigma = r->sigma,
                                        .global_experts = attr->global_experts,
                                        .losses = r->d_losses,
                                        .total = node->output->data};
    memcpy(args.weight, attr->weight, sizeof args.weight);
    return VLM_KERNEL(tape->ctx, router_losses_fwd, &args);
}

vlmoe_status vlm_router_losses_backward(vlmoe_tape *tape, vlm_node *node)
{
    const losses_attr *attr = node->attr;
    const vlm_routing *r = attr->routing;
    int accumulate;
    void *dlogits = vlm_grad_in(tape, node->input[0], &accumulate);
    if (!dlogits) return tape->status;
    vlmk_router_losses_bwd_args args = {.T = r->T,
                                        .E = r->E,
                                        .K = r->K,
                                        .n_sets = r->n_sets,
                                        .set_offset = r->d_set_offset,
                                        .logits = node->input[0]->data,
                                        .noisy = r->d_noisy,
                                        .clean = r->d_clean,
                                        .expert = r->d_expert,
                                        .sigma = r->sigma,
                                        .global_experts = attr->global_experts,
                                        .dtotal = vlm_grad_of(node->output),
                                        .dlogits = dlogits,
                                        .accumulate = accumulate};
    memcpy(args.weight, attr->weight, sizeof args.weight);
    return VLM_KERNEL(tape->ctx, router_losses_bwd, &args);
}

vlmoe_tensor *vlm_router_losses(vlmoe_tape *tape, vlmoe_tensor *logits,
                                const vlm_route_policy *policy, vlm_routing *routing)
{
    if (!tape || tape->status) return NULL;
    if (!routing) return vlm_poison(tape, VLMOE_E_ARG, "router_losses: routing is NULL");
    bool is_new;
    losses_attr attr = {.routing = routing, .global_experts = policy->global_experts};
    memcpy(attr.weight, policy->weight, sizeof attr.weight);
    routing->d_losses =
        vlm_keep(tape, vlm_wide_bytes(tape, routing->n_sets * VLMK_N_LOSSES), &is_new);
    return vlm_record(tape, &vlm_ops[VLM_OP_router_losses], 1, &logits, 0, &attr, sizeof attr);
}
