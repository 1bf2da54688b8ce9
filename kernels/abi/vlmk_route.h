/* Arguments of kernels that route: who goes to which expert, the losses that balance it, rows on their way there and back. Included by vlmk.h,
 * whose words about dtypes, shapes, sums and accumulate hold here.
 * A routing set is a run of tokens with its own capacity and losses: tokens set_offset[s] .. set_offset[s+1]-1. */
#ifndef VLMK_ROUTE_H
#define VLMK_ROUTE_H

#include <stdint.h>

/* noisy = logits + sigma * normal(key, t * E + e) (sigma 0: noisy = logits); gates = softmax(noisy); expert = the K largest noisy
 * logits of a token in order, ties to the lower expert; priority = the largest gate. All wide. */
typedef struct vlmk_router_select_args {
    int64_t T, E, K;
    const void *logits; /* [T, E] wide */
    double sigma;       /* of the noise, already divided by E */
    uint64_t key;
    void *noisy;     /* [T, E] wide */
    void *clean;     /* [T, E] wide: softmax(logits) */
    void *gates;     /* [T, E] wide: softmax(noisy) */
    void *priority;  /* [T] wide */
    int32_t *expert; /* [T, K] */
} vlmk_router_select_args;
enum { VLMK_RENORM_NONE = 0, VLMK_RENORM_BEFORE = 1, VLMK_RENORM_AFTER = 2 };

/* Who is served. Per set, capacity[s] rows per expert (-1 = dropless). Order of service: all first choices, then all second ...;
 * within a choice by descending priority (bpr = 1, Riquelme et al. 2021; ties to the earlier token) or by token.
 * Served rows are laid out expert by expert; within an expert by set, token, choice. */
typedef struct vlmk_router_assign_args {
    int64_t T, E, K, n_sets;
    const int32_t *set_offset; /* [n_sets + 1] */
    const int32_t *capacity;   /* [n_sets]; -1 = no limit */
    int bpr;
    const int32_t *expert;  /* [T, K] */
    const void *priority;   /* [T] wide: the largest gate of each token */
    int32_t *slot;          /* [T, K]: row in the expert buffer, -1 = dropped */
    int32_t *row_token;     /* [T * K]: token of each served row; -1 past the last */
    int32_t *expert_offset; /* [E + 1]: rows of expert e are expert_offset[e] .. expert_offset[e+1]-1 */
    int32_t *load;          /* [n_sets, E]: tokens that chose e (any choice), before dropping */
    int32_t *served;        /* [n_sets, E]: rows served */
} vlmk_router_assign_args;

/* Combine weights after assignment: weight[t,k] = gates[t, expert[t,k]], 0 where dropped. Renormalisation: BEFORE divides by the sum
 * over all K choices, AFTER by max(sum over served choices, 1e-9). */
typedef struct vlmk_router_weights_args {
    int64_t T, E, K;
    const void *gates;     /* [T, E] wide */
    const int32_t *expert; /* [T, K] */
    const int32_t *slot;   /* [T, K] */
    int renorm;   /* VLMK_RENORM_* */
    void *weight; /* [T, K] wide */
} vlmk_router_weights_args;

/* dlogits (+)= gradient of the combine weights through renormalisation and softmax(noisy). */
typedef struct vlmk_router_weights_bwd_args {
    int64_t T, E, K;
    const void *gates;
    const int32_t *expert;
    const int32_t *slot;
    int renorm;
    const void *dweight; /* [T, K] wide */
    void *dlogits;       /* [T, E] wide */
    int accumulate;
} vlmk_router_weights_bwd_args;

/* Losses of each set (Riquelme et al. 2021, Fedus et al. 2021, Zoph et al. 2022, Mustafa et al. 2022):
 *   importance  (std_e/mean_e)^2 of I_e = sum_t clean[t,e]
 *   load        (std_e/mean_e)^2 of P_e = mean_t (1 - Phi((thr_t - logits[t,e]) / sigma)), thr_t = K-th largest noisy logit; 0 when sigma = 0
 *   switch      E * sum_e mean_t clean[t,e] * (share of tokens whose first noisy choice is e)
 *   z           mean_t (logsumexp_e logits)^2
 *   local       mean_t entropy(clean[t,:])
 *   global      max(0, tau + (-entropy(mean_t clean))) , tau = log(global_experts); global_experts = 0: no threshold, -entropy
 * Population deviations. A set without tokens gives zeros. */
enum { VLMK_LOSS_IMPORTANCE, VLMK_LOSS_LOAD, VLMK_LOSS_SWITCH, VLMK_LOSS_Z, VLMK_LOSS_LOCAL, VLMK_LOSS_GLOBAL, VLMK_N_LOSSES };
typedef struct vlmk_router_losses_fwd_args {
    int64_t T, E, K, n_sets;
    const int32_t *set_offset; /* [n_sets + 1] */
    const void *logits;        /* [T, E] wide */
    const void *noisy;         /* [T, E] wide */
    const void *clean;         /* [T, E] wide */
    const int32_t *expert;     /* [T, K] */
    double sigma;
    double global_experts;
    double weight[VLMK_N_LOSSES]; /* of each loss; a loss with weight 0 is still reported, the load loss only when sigma > 0 */
    void *losses;                 /* [n_sets, VLMK_N_LOSSES] wide, unweighted */
    void *total;                  /* [1] wide: sum over sets of sum_l weight[l] * losses[s,l], divided by n_sets */
} vlmk_router_losses_fwd_args;
typedef struct vlmk_router_losses_bwd_args {
    int64_t T, E, K, n_sets;
    const int32_t *set_offset;
    const void *logits;
    const void *noisy;
    const void *clean;
    const int32_t *expert;
    double sigma;
    double global_experts;
    double weight[VLMK_N_LOSSES];
    const void *dtotal; /* [1] wide */
    void *dlogits;      /* [T, E] wide; through the load loss's threshold too */
    int accumulate;
} vlmk_router_losses_bwd_args;

/* y[t,:] = sum over k ascending of weight[t,k] * rows[slot[t,k],:], dropped choices left out. */
typedef struct vlmk_combine_fwd_args {
    int dtype; /* of rows and y */
    int64_t T, K, cols;
    const void *rows;    /* [T * K, cols] */
    const int32_t *slot; /* [T, K] */
    const void *weight;  /* [T, K] wide */
    void *y;             /* [T, cols] */
} vlmk_combine_fwd_args;
/* drows[slot[t,k],:] = weight[t,k] * dy[t,:] (rows not served are not touched); dweight[t,k] = dy[t,:] . rows[slot[t,k],:], 0 if dropped */
typedef struct vlmk_combine_bwd_args {
    int dtype;
    int64_t T, K, cols;
    const void *rows;
    const int32_t *slot;
    const void *weight;
    const void *dy; /* [T, cols] */
    void *drows;    /* [T * K, cols] */
    void *dweight;  /* [T, K] wide */
} vlmk_combine_bwd_args;

/* The adjoint of dispatch: dx[t,:] (+)= sum over k ascending of drows[slot[t,k],:], dropped choices left out. */
typedef struct vlmk_dispatch_bwd_args {
    int dtype;
    int64_t T, K, cols;
    const void *drows;   /* [T * K, cols] */
    const int32_t *slot; /* [T, K] */
    void *dx;            /* [T, cols] */
    int accumulate;
} vlmk_dispatch_bwd_args;

/* Places of rows that come from R sources for E experts, in two orders. In arrival order they stand source by source, of a source its
 * runs by expert, each right after the one before (slots = 0) or in `slots` places of which it takes the first; in expert order expert by
 * expert, of an expert its runs by source, without gaps. The run of source s for expert e has bound[s (E + 1) + e + 1] - bound[s (E + 1) + e]
 * rows, at most `slots` unless that is 0; a source's first bound need not be 0. */
typedef struct vlmk_exchange_plan_args {
    int64_t R, E, slots;
    int64_t n_arrival;      /* places in arrival order */
    int64_t n_expert;       /* places in expert order, of which the rows take the first; not fewer than rows */
    const int32_t *bound;   /* [R, E + 1] */
    int32_t *run_offset;    /* [E R + 1] in expert order: the run of expert e from source s is run_offset[e R + s] .. run_offset[e R + s + 1]-1 */
    int32_t *expert_offset; /* [E + 1]: rows of expert e are expert_offset[e] .. expert_offset[e + 1]-1 */
    int32_t *arrival;       /* [n_expert]: arrival place of each row of expert order; -1 past the last */
    int32_t *place;         /* [n_arrival]: place in expert order of each arrival place; -1 where nothing arrived */
} vlmk_exchange_plan_args;

#endif
