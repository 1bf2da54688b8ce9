/* Gradient cases of exchanges: a set of one rank, so that rows come back to where they were; what several make of it stands in tests/dist. */
#include <string.h>
#include "gradients.h"

static vlm_comm *self;
static vlm_ranks ranks;

__attribute__((destructor)) static void close_self(void)
{
    vlm_comm_destroy(self);
}

/* Ranks for this recording's context: one that holds all four experts. */
static void join(vlmoe_tape *tape)
{
    const vlm_comm_params params = {.backend = tape->ctx->backend, .device = tape->ctx->device};
    vlmoe_error error = {0};
    vlm_comm_destroy(self);
    CHECK_STATUS_E(vlm_comm_self(&params, &self, &error), VLMOE_OK, &error);
    ranks = (vlm_ranks){.size = 1, .groups = 1, .world = self, .n_counts = 1};
    ranks.experts[0] = (vlm_expert_ranks){
        .layout = {.experts = 4, .chain = 1, .ranks = 1, .members = 1, .sets = 1, .per_rank = 4},
        .set = self};
    tape->ctx->ranks = &ranks;
}

static vlm_exchange *plan(vlmoe_tape *tape, double capacity_factor, bool is_fixed)
{
    vlm_routing *routing = NULL;
    const int32_t set_offset[] = {0, 6};
    const vlm_route_policy policy = {.E = 4,
                                     .K = 2,
                                     .n_sets = 1,
                                     .set_offset = set_offset,
                                     .capacity_factor = capacity_factor,
                                     .capacity_multiple = 1};
    vlmoe_tensor *logits = case_constant(tape, 2, (const int64_t[]){6, 4}, 12);
    join(tape);
    if (!vlm_route(tape, logits, &policy, &routing)) return NULL;
    return vlm_exchange_make(tape, routing,
                             &(vlm_exchange_policy){.is_fixed = is_fixed, .slots = 5});
}

/* Rows that are defined: those that are served. */
static vlmoe_tensor *served(vlmoe_tape *tape, vlmoe_tensor *rows, const vlm_exchange *x)
{
    int32_t end = 0;
    if (!x) return NULL;
    if (tape->ctx->backend->download(tape->ctx->device, &end, x->d_expert_offset + x->E,
                                     sizeof end))
        return NULL;
    return vlm_rows_view(tape, rows, 0, end);
}

/* Tokens to their experts. */
static vlmoe_tensor *leave(vlmoe_tape *tape, vlmoe_tensor *x, vlm_exchange *exchange)
{
    if (!exchange) return NULL;
    vlmoe_tensor *rows = vlm_dispatch(tape, x, exchange->routing);
    return vlm_exchange_rows(tape, rows, exchange, VLM_TO_EXPERTS);
}

static vlmoe_tensor *there(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlm_exchange *x = plan(tape, 0.0, false);
    return served(tape, leave(tape, p[0], x), x);
}

static vlmoe_tensor *there_in_slots(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    return leave(tape, p[0], plan(tape, 1.0, true));
}

static vlmoe_tensor *and_back(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlm_exchange *x = plan(tape, 0.5, false);
    vlmoe_tensor *rows = vlm_act(tape, leave(tape, p[0], x), VLMOE_ACT_TANH);
    return served(tape, vlm_exchange_rows(tape, rows, x, VLM_FROM_EXPERTS), x);
}

static vlmoe_tensor *and_back_in_slots(vlmoe_tape *tape, vlmoe_tensor *const *p)
{
    vlm_exchange *x = plan(tape, 0.5, true);
    vlmoe_tensor *rows = vlm_act(tape, leave(tape, p[0], x), VLMOE_ACT_TANH);
    return vlm_exchange_rows(tape, rows, x, VLM_FROM_EXPERTS);
}

const op_case exchange_cases[] = {
    {"exchange", "to experts", there, .n_params = 1, .param = {{2, {6, 3}}}},
    {"exchange", "to experts, slots", there_in_slots, .n_params = 1, .param = {{2, {6, 3}}}},
    {"exchange", "to experts and back, dropped tokens", and_back, .n_params = 1,
     .param = {{2, {6, 3}}}},
    {"exchange", "to experts and back, slots", and_back_in_slots, .n_params = 1,
     .param = {{2, {6, 3}}}},
};
const int n_exchange_cases = VLM_COUNT(exchange_cases);
