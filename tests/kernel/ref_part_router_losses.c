/* Reference balance losses: published oracles of V-MoE's tests, closed forms, empty sets, gradients
 * of each loss. */
#include <string.h>
#include "test_ref.h"

static const double oracle_gates[] = {.5, .4, .1, .3, .3, .4, .1, .2, .7, .8, .2, .0}; /* [4, 3] */

static void losses_of(vlmk_router_losses_fwd_args *a, double losses[VLMK_N_LOSSES])
{
    static const int32_t set_offset[2][2] = {{0, 4}, {0, 3}};
    double total;
    a->n_sets = 1;
    a->set_offset = set_offset[a->T == 3];
    a->losses = losses;
    a->total = &total;
    CHECK_STATUS(vlmk_ref_router_losses_fwd(ref_env(), a), VLMOE_OK);
    double want = 0.0;
    for (int l = 0; l < VLMK_N_LOSSES; l++) want += a->weight[l] * losses[l];
    CHECK_CLOSE(total, want, 1e-14);
}

TEST(ref_router_importance_and_switch_match_vmoe)
{
    const int32_t expert[] = {0, 2, 2, 0};
    double losses[VLMK_N_LOSSES], logits[12] = {0};
    vlmk_router_losses_fwd_args a = {.T = 4,
                                     .E = 3,
                                     .K = 1,
                                     .logits = logits,
                                     .noisy = logits,
                                     .clean = oracle_gates,
                                     .expert = expert,
                                     .weight = {1, 2, 3, 4, 5, 6}};
    losses_of(&a, losses);
    CHECK_CLOSE(losses[VLMK_LOSS_SWITCH], 1.0875, 1e-14); /* E^2 mean_e(P f) is E sum_e P f */
    CHECK_CLOSE(losses[VLMK_LOSS_IMPORTANCE], 0.03875,
                1e-15);                   /* published as 0.03874999, from f32 arithmetic */
    CHECK(losses[VLMK_LOSS_LOAD] == 0.0); /* no noise, no load loss */
    CHECK_CLOSE(losses[VLMK_LOSS_Z], log(3.0) * log(3.0), 1e-14);
}

TEST(ref_router_load_matches_vmoe)
{
    const double logits[] = {.9, .06, .04, .7, .18, .12, .85, .05, .1};
    const double noise[] = {-.037, .026, -.018, -.074, .045, -.015, -.067, -.059, .073};
    double noisy[9], clean[9], losses[VLMK_N_LOSSES];
    int32_t expert[6];
    for (int i = 0; i < 9; i++) {
        noisy[i] = logits[i] + noise[i];
        clean[i] = 1.0 / 3.0;
    }
    for (int t = 0; t < 3; t++) { /* the first expert leads everywhere */
        expert[2 * t] = 0;
        expert[2 * t + 1] = noisy[3 * t + 1] > noisy[3 * t + 2] ? 1 : 2;
    }
    vlmk_router_losses_fwd_args a = {.T = 3,
                                     .E = 3,
                                     .K = 2,
                                     .logits = logits,
                                     .noisy = noisy,
                                     .clean = clean,
                                     .expert = expert,
                                     .sigma = 0.1,
                                     .weight = {0, 1}};
    losses_of(&a, losses);
    CHECK_CLOSE(losses[VLMK_LOSS_LOAD], 0.485738645, 5e-7); /* published from f32 arithmetic */
    CHECK_CLOSE(losses[VLMK_LOSS_IMPORTANCE], 0.0, 1e-30);
    CHECK_CLOSE(losses[VLMK_LOSS_LOCAL], log(3.0), 1e-15);
    CHECK_CLOSE(losses[VLMK_LOSS_GLOBAL], -log(3.0), 1e-15);
}

TEST(ref_router_entropies_match_closed_forms)
{
    double logits[12] = {0}, losses[VLMK_N_LOSSES], local = 0.0, global = 0.0;
    const int32_t expert[] = {0, 2, 2, 0};
    vlmk_router_losses_fwd_args a = {.T = 4,
                                     .E = 3,
                                     .K = 1,
                                     .logits = logits,
                                     .noisy = logits,
                                     .clean = oracle_gates,
                                     .expert = expert,
                                     .global_experts = 3.0};
    losses_of(&a, losses);
    for (int i = 0; i < 12; i++)
        local -= oracle_gates[i] > 0 ? oracle_gates[i] * log(oracle_gates[i]) / 4.0 : 0.0;
    const double mean[] = {.425, .275, .3};
    for (int e = 0; e < 3; e++) global += mean[e] * log(mean[e]);
    CHECK_CLOSE(losses[VLMK_LOSS_LOCAL], local, 1e-15);
    CHECK_CLOSE(losses[VLMK_LOSS_GLOBAL], log(3.0) + global, 1e-15);
    a.global_experts = 2.0; /* spread over more than two experts already */
    losses_of(&a, losses);
    CHECK(losses[VLMK_LOSS_GLOBAL] == 0.0);
}

/* Three sets, the second without tokens. */
enum { T = 7, E = 4, K = 2, SETS = 3 };
static const int32_t set_offset[] = {0, 3, 3, 7};
typedef struct loss_case {
    double logits[T * E], noisy[T * E], clean[T * E], gates[T * E], priority[T],
        losses[SETS * VLMK_N_LOSSES], total;
    int32_t expert[T * K];
    double weight[VLMK_N_LOSSES], global_experts, sigma;
} loss_case;

static double total_loss(void *arg)
{
    loss_case *p = arg;
    vlmk_router_select_args s = {.T = T,
                                 .E = E,
                                 .K = K,
                                 .logits = p->logits,
                                 .sigma = p->sigma,
                                 .key = 3,
                                 .noisy = p->noisy,
                                 .clean = p->clean,
                                 .gates = p->gates,
                                 .priority = p->priority,
                                 .expert = p->expert};
    vlmk_router_losses_fwd_args a = {.T = T,
                                     .E = E,
                                     .K = K,
                                     .n_sets = SETS,
                                     .set_offset = set_offset,
                                     .logits = p->logits,
                                     .noisy = p->noisy,
                                     .clean = p->clean,
                                     .expert = p->expert,
                                     .sigma = p->sigma,
                                     .global_experts = p->global_experts,
                                     .losses = p->losses,
                                     .total = &p->total};
    memcpy(a.weight, p->weight, sizeof a.weight);
    CHECK_STATUS(vlmk_ref_router_select(ref_env(), &s), VLMOE_OK);
    CHECK_STATUS(vlmk_ref_router_losses_fwd(ref_env(), &a), VLMOE_OK);
    return 1.3 * p->total;
}

static void check_losses_gradient(loss_case *p)
{
    const double dtotal = 1.3;
    double dlogits[T * E];
    fill(p->logits, T * E, 31);
    total_loss(p);
    vlmk_router_losses_bwd_args a = {.T = T,
                                     .E = E,
                                     .K = K,
                                     .n_sets = SETS,
                                     .set_offset = set_offset,
                                     .logits = p->logits,
                                     .noisy = p->noisy,
                                     .clean = p->clean,
                                     .expert = p->expert,
                                     .sigma = p->sigma,
                                     .global_experts = p->global_experts,
                                     .dtotal = &dtotal,
                                     .dlogits = dlogits};
    memcpy(a.weight, p->weight, sizeof a.weight);
    CHECK_STATUS(vlmk_ref_router_losses_bwd(ref_env(), &a), VLMOE_OK);
    check_gradient("dlogits", p->logits, T * E, dlogits, total_loss, p);
}

TEST(ref_router_loss_gradients_match_differences_one_by_one)
{
    for (int l = 0; l < VLMK_N_LOSSES; l++) {
        loss_case p = {.sigma = 0.5};
        p.weight[l] = 1.0;
        check_losses_gradient(&p);
        for (int i = 0; i < VLMK_N_LOSSES; i++)
            CHECK(p.losses[VLMK_N_LOSSES + i] == 0.0); /* the empty set */
        CHECK_CLOSE(p.total, (p.losses[l] + p.losses[2 * VLMK_N_LOSSES + l]) / 3.0, 1e-15);
    }
}

TEST(ref_router_loss_gradients_match_differences_together)
{
    loss_case with_noise = {.sigma = 0.25, .weight = {.5, .5, 1, .1, .2, .3}};
    loss_case without_noise = {.sigma = 0.0, .weight = {.5, .5, 1, .1, .2, .3}};
    check_losses_gradient(&with_noise);
    check_losses_gradient(&without_noise);
}

TEST(ref_router_global_threshold_switches_its_gradient)
{
    loss_case above = {.weight = {[VLMK_LOSS_GLOBAL] = 1.0},
                       .global_experts = 4.0}; /* tau + G > 0 */
    loss_case below = {.weight = {[VLMK_LOSS_GLOBAL] = 1.0},
                       .global_experts = 1.5}; /* tau + G < 0: flat */
    check_losses_gradient(&above);
    CHECK(above.total > 0.01);
    check_losses_gradient(&below);
    CHECK(below.total == 0.0);
}

TEST(ref_router_losses_of_no_sets_are_zero)
{
    double total = 5.0;
    vlmk_router_losses_fwd_args a = {.E = 3, .K = 1, .total = &total};
    CHECK_STATUS(vlmk_ref_router_losses_fwd(ref_env(), &a), VLMOE_OK);
    CHECK(total == 0.0);
}
