/* Reference routing: published oracles of V-MoE's tests, service order by hand, renormalisation. */
#include <string.h>
#include "math_philox.h"
#include "test_ref.h"

TEST(ref_router_select_without_noise_is_softmax_and_top_k)
{
    const double logits[] = {0, log(2.0), log(5.0), 3, 3, 3};
    double noisy[6], clean[6], gates[6], priority[2];
    int32_t expert[4];
    vlmk_router_select_args a = {.T = 2,
                                 .E = 3,
                                 .K = 2,
                                 .logits = logits,
                                 .sigma = 0.0,
                                 .key = 5,
                                 .noisy = noisy,
                                 .clean = clean,
                                 .gates = gates,
                                 .priority = priority,
                                 .expert = expert};
    CHECK_STATUS(vlmk_ref_router_select(ref_env(), &a), VLMOE_OK);
    const double want[] = {0.125, 0.25, 0.625, 1.0 / 3, 1.0 / 3, 1.0 / 3};
    for (int i = 0; i < 6; i++) {
        CHECK(noisy[i] == logits[i]);
        CHECK_CLOSE(clean[i], want[i], 1e-15);
        CHECK(gates[i] == clean[i]);
    }
    CHECK_INT(expert[0], 2);
    CHECK_INT(expert[1], 1);
    CHECK_INT(expert[2], 0); /* ties to the lower expert */
    CHECK_INT(expert[3], 1);
    CHECK(priority[0] == gates[2] && priority[1] == gates[3]);
}

TEST(ref_router_select_chooses_by_noisy_logits)
{
    enum { T = 50, E = 4 };
    double logits[T * E], noisy[T * E], clean[T * E], gates[T * E], priority[T];
    int32_t expert[T];
    fill(logits, T * E, 1);
    vlmk_router_select_args a = {.T = T,
                                 .E = E,
                                 .K = 1,
                                 .logits = logits,
                                 .sigma = 0.8,
                                 .key = 7,
                                 .noisy = noisy,
                                 .clean = clean,
                                 .gates = gates,
                                 .priority = priority,
                                 .expert = expert};
    CHECK_STATUS(vlmk_ref_router_select(ref_env(), &a), VLMOE_OK);
    int moved = 0;
    for (int t = 0; t < T; t++) {
        int best = 0, best_clean = 0;
        for (int e = 0; e < E; e++) {
            CHECK(noisy[t * E + e] ==
                  logits[t * E + e] + 0.8 * math_philox_normal(7, (uint64_t)(t * E + e)));
            if (noisy[t * E + e] > noisy[t * E + best]) best = e;
            if (clean[t * E + e] > clean[t * E + best_clean]) best_clean = e;
        }
        CHECK_INT(expert[t], best);
        CHECK(priority[t] == gates[t * E + best]);
        moved += best != best_clean;
    }
    CHECK(moved > 5);
}

/* One set of three tokens, two choices, capacity 2; gates [[.4,0,.2],[.5,.1,.4],[.3,.2,.6]]
 * (V-MoE's dispatch test). */
static const int32_t oracle_expert[] = {0, 2, 0, 2, 2, 0};
static const double oracle_priority[] = {0.4, 0.5, 0.6};

typedef struct assignment {
    int32_t slot[16], row_token[16], expert_offset[8], load[8], served[8];
} assignment;

static void assign_oracle(int bpr, int32_t capacity, assignment *out)
{
    const int32_t set_offset[] = {0, 3};
    vlmk_router_assign_args a = {.T = 3,
                                 .E = 3,
                                 .K = 2,
                                 .n_sets = 1,
                                 .set_offset = set_offset,
                                 .capacity = &capacity,
                                 .bpr = bpr,
                                 .expert = oracle_expert,
                                 .priority = oracle_priority,
                                 .slot = out->slot,
                                 .row_token = out->row_token,
                                 .expert_offset = out->expert_offset,
                                 .load = out->load,
                                 .served = out->served};
    CHECK_STATUS(vlmk_ref_router_assign(ref_env(), &a), VLMOE_OK);
}

static void check_ints(const int32_t *got, const int32_t *want, int n, const char *what)
{
    for (int i = 0; i < n; i++)
        if (got[i] != want[i])
            test_fail(__FILE__, __LINE__, "%s[%d] is %d, expected %d", what, i, got[i], want[i]);
}

/* Served: t0 e0, t1 e0, t2 e2, t0 e2; dropped: t1 e2, t2 e0. */
TEST(ref_router_assign_vanilla_matches_vmoe)
{
    assignment got;
    assign_oracle(0, 2, &got);
    check_ints(got.slot, (const int32_t[]){0, 2, 1, -1, 3, -1}, 6, "slot");
    check_ints(got.row_token, (const int32_t[]){0, 1, 0, 2, -1, -1}, 6, "row_token");
    check_ints(got.expert_offset, (const int32_t[]){0, 2, 2, 4}, 4, "expert_offset");
    check_ints(got.load, (const int32_t[]){3, 0, 3}, 3, "load");
    check_ints(got.served, (const int32_t[]){2, 0, 2}, 3, "served");
}

/* Served: t1 e0, t0 e0, t2 e2, then second choices by the same order: t1 e2; dropped: t2 e0, t0 e2.
 */
TEST(ref_router_assign_by_priority_matches_vmoe)
{
    assignment got;
    assign_oracle(1, 2, &got);
    check_ints(got.slot, (const int32_t[]){0, -1, 1, 2, 3, -1}, 6, "slot");
    check_ints(got.row_token, (const int32_t[]){0, 1, 1, 2, -1, -1}, 6, "row_token");
}

TEST(ref_router_assign_serves_all_when_dropless_and_none_at_capacity_zero)
{
    assignment got;
    assign_oracle(1, -1, &got);
    check_ints(got.slot, (const int32_t[]){0, 3, 1, 4, 5, 2}, 6, "slot");
    check_ints(got.row_token, (const int32_t[]){0, 1, 2, 0, 1, 2}, 6, "row_token");
    assign_oracle(1, 0, &got);
    check_ints(got.slot, (const int32_t[]){-1, -1, -1, -1, -1, -1}, 6, "slot");
    check_ints(got.expert_offset, (const int32_t[]){0, 0, 0, 0}, 4, "expert_offset");
    check_ints(got.load, (const int32_t[]){3, 0, 3}, 3, "load");
}

/* Sets have their own capacity; the middle set is empty; equal priorities serve the earlier token.
 */
TEST(ref_router_assign_keeps_sets_apart_and_breaks_ties_by_token)
{
    const int32_t set_offset[] = {0, 3, 3, 5}, capacity[] = {1, 4, 1}, expert[] = {1, 1, 1, 1, 0};
    const double priority[] = {0.5, 0.9, 0.9, 0.2, 0.3};
    assignment got;
    vlmk_router_assign_args a = {.T = 5,
                                 .E = 2,
                                 .K = 1,
                                 .n_sets = 3,
                                 .set_offset = set_offset,
                                 .capacity = capacity,
                                 .bpr = 1,
                                 .expert = expert,
                                 .priority = priority,
                                 .slot = got.slot,
                                 .row_token = got.row_token,
                                 .expert_offset = got.expert_offset,
                                 .load = got.load,
                                 .served = got.served};
    CHECK_STATUS(vlmk_ref_router_assign(ref_env(), &a), VLMOE_OK);
    check_ints(got.slot, (const int32_t[]){-1, 1, -1, 2, 0}, 5, "slot");
    check_ints(got.row_token, (const int32_t[]){4, 1, 3, -1, -1}, 5, "row_token");
    check_ints(got.expert_offset, (const int32_t[]){0, 1, 3}, 3, "expert_offset");
    check_ints(got.load, (const int32_t[]){0, 3, 0, 0, 1, 1}, 6, "load");
    check_ints(got.served, (const int32_t[]){0, 1, 0, 0, 1, 1}, 6, "served");
}

TEST(ref_router_weights_renormalise_before_or_after_dropping)
{
    const double gates[] = {0.5, 0.3, 0.2, 0.5, 0.3, 0.2};
    const int32_t expert[] = {0, 1, 0, 2}, slot[] = {0, -1, -1, -1};
    const double want[3][4] = {{0.5, 0, 0, 0}, {0.625, 0, 0, 0}, {1, 0, 0, 0}};
    for (int renorm = VLMK_RENORM_NONE; renorm <= VLMK_RENORM_AFTER; renorm++) {
        double weight[4];
        vlmk_router_weights_args a = {.T = 2,
                                      .E = 3,
                                      .K = 2,
                                      .gates = gates,
                                      .expert = expert,
                                      .slot = slot,
                                      .renorm = renorm,
                                      .weight = weight};
        CHECK_STATUS(vlmk_ref_router_weights(ref_env(), &a), VLMOE_OK);
        for (int i = 0; i < 4; i++) CHECK_CLOSE(weight[i], want[renorm][i], 1e-15);
    }
}

/* Two of three choices served, all served, one, none. */
enum { T = 4, E = 5, K = 3 };
static const int32_t some_slot[T * K] = {0, -1, 1, 2, 3, 4, -1, 5, -1, -1, -1, -1};
typedef struct weigh_case {
    double logits[T * E], noisy[T * E], clean[T * E], gates[T * E], priority[T], weight[T * K],
        r[T * K];
    int32_t expert[T * K];
    int renorm;
} weigh_case;

static void select_case(weigh_case *p)
{
    vlmk_router_select_args a = {.T = T,
                                 .E = E,
                                 .K = K,
                                 .logits = p->logits,
                                 .sigma = 0.3,
                                 .key = 11,
                                 .noisy = p->noisy,
                                 .clean = p->clean,
                                 .gates = p->gates,
                                 .priority = p->priority,
                                 .expert = p->expert};
    CHECK_STATUS(vlmk_ref_router_select(ref_env(), &a), VLMOE_OK);
}

static double weights_loss(void *arg)
{
    weigh_case *p = arg;
    select_case(p);
    vlmk_router_weights_args a = {.T = T,
                                  .E = E,
                                  .K = K,
                                  .gates = p->gates,
                                  .expert = p->expert,
                                  .slot = some_slot,
                                  .renorm = p->renorm,
                                  .weight = p->weight};
    CHECK_STATUS(vlmk_ref_router_weights(ref_env(), &a), VLMOE_OK);
    return weighted(p->weight, p->r, T * K);
}

TEST(ref_router_weights_gradient_matches_differences)
{
    for (int renorm = VLMK_RENORM_NONE; renorm <= VLMK_RENORM_AFTER; renorm++) {
        weigh_case p = {.renorm = renorm};
        double dlogits[T * E];
        fill(p.logits, T * E, 21);
        fill(p.r, T * K, 22);
        weights_loss(&p);
        vlmk_router_weights_bwd_args a = {.T = T,
                                          .E = E,
                                          .K = K,
                                          .gates = p.gates,
                                          .expert = p.expert,
                                          .slot = some_slot,
                                          .renorm = renorm,
                                          .dweight = p.r,
                                          .dlogits = dlogits};
        CHECK_STATUS(vlmk_ref_router_weights_bwd(ref_env(), &a), VLMOE_OK);
        check_gradient("dlogits", p.logits, T * E, dlogits, weights_loss, &p);
        double once = dlogits[1];
        a.accumulate = 1;
        CHECK_STATUS(vlmk_ref_router_weights_bwd(ref_env(), &a), VLMOE_OK);
        CHECK(dlogits[1] == 2.0 * once);
    }
}
