/* Balance losses of a routing set and their gradient with respect to the logits. n = tokens of the
 * set. */
#include <string.h>
#include "math_act.h"
#include "ref.h"

/* What forward and backward share of one set. */
typedef struct set_view {
    int64_t E, K, first, n;
    const double *logits, *noisy, *clean; /* of the whole layer, [T, E] */
    const int32_t *expert;
    double sigma, global_experts;
} set_view;

/* The loss values of a set as functions of three sums over its tokens. */
typedef struct set_sums {
    double *clean; /* [E] sum_t clean[t,e] */
    double *load;  /* [E] sum_t P(e is among the first K of t) */
    double *first; /* [E] tokens whose first noisy choice is e */
} set_sums;

static double threshold(const set_view *v, int64_t t)
{
    return v->noisy[t * v->E + v->expert[t * v->K + v->K - 1]];
}

static void sum_tokens(const set_view *v, set_sums sums)
{
    for (int64_t e = 0; e < v->E; e++) sums.clean[e] = sums.load[e] = sums.first[e] = 0.0;
    for (int64_t t = v->first; t < v->first + v->n; t++) {
        sums.first[v->expert[t * v->K]] += 1.0;
        for (int64_t e = 0; e < v->E; e++) {
            sums.clean[e] += v->clean[t * v->E + e];
            if (v->sigma > 0.0)
                sums.load[e] +=
                    math_normal_cdf((v->logits[t * v->E + e] - threshold(v, t)) / v->sigma);
        }
    }
}

/* (std / mean)^2 of x / n, and its gradient with respect to x / n when slope is not NULL. */
static double squared_variation(const double *x, int64_t E, double n, double *slope)
{
    double mean = 0.0, variance = 0.0;
    for (int64_t e = 0; e < E; e++) mean += x[e] / n / (double)E;
    for (int64_t e = 0; e < E; e++) variance += (x[e] / n - mean) * (x[e] / n - mean) / (double)E;
    for (int64_t e = 0; slope && e < E; e++)
        slope[e] =
            2.0 / (double)E * ((x[e] / n - mean) / (mean * mean) - variance / (mean * mean * mean));
    return variance / (mean * mean);
}

static double entropy(const double *p, int64_t E, double n)
{
    double sum = 0.0;
    for (int64_t e = 0; e < E; e++)
        if (p[e] > 0.0) sum -= p[e] / n * log(p[e] / n);
    return sum;
}

static double global_loss(const set_view *v, const double *sum_clean)
{
    double value = -entropy(sum_clean, v->E, (double)v->n);
    return v->global_experts > 0.0 ? fmax(0.0, log(v->global_experts) + value) : value;
}

static void set_losses(const set_view *v, set_sums sums, double *loss)
{
    double n = (double)v->n;
    sum_tokens(v, sums);
    loss[VLMK_LOSS_IMPORTANCE] = squared_variation(sums.clean, v->E, 1.0, NULL);
    if (v->sigma > 0.0) loss[VLMK_LOSS_LOAD] = squared_variation(sums.load, v->E, n, NULL);
    for (int64_t e = 0; e < v->E; e++)
        loss[VLMK_LOSS_SWITCH] += (double)v->E * (sums.clean[e] / n) * (sums.first[e] / n);
    for (int64_t t = v->first; t < v->first + v->n; t++) {
        double lse = ref_log_sum_exp(v->logits + t * v->E, v->E);
        loss[VLMK_LOSS_Z] += lse * lse / n;
        loss[VLMK_LOSS_LOCAL] += entropy(v->clean + t * v->E, v->E, 1.0) / n;
    }
    loss[VLMK_LOSS_GLOBAL] = global_loss(v, sums.clean);
}

int vlmk_ref_router_losses_fwd(vlmk_env *env, const vlmk_router_losses_fwd_args *a)
{
    double *space = env->scratch(env, (size_t)(3 * a->E) * sizeof *space);
    if (!space) return VLMOE_E_NOMEM;
    set_sums sums = {.clean = space, .load = space + a->E, .first = space + 2 * a->E};
    set_view v = {.E = a->E,
                  .K = a->K,
                  .logits = a->logits,
                  .noisy = a->noisy,
                  .clean = a->clean,
                  .expert = a->expert,
                  .sigma = a->sigma,
                  .global_experts = a->global_experts};
    double total = 0.0;
    for (int64_t s = 0; s < a->n_sets; s++) {
        double *loss = (double *)a->losses + s * VLMK_N_LOSSES;
        memset(loss, 0, VLMK_N_LOSSES * sizeof *loss);
        v.first = a->set_offset[s];
        v.n = a->set_offset[s + 1] - v.first;
        if (v.n > 0 && v.E > 0) set_losses(&v, sums, loss);
        for (int l = 0; l < VLMK_N_LOSSES; l++) total += a->weight[l] * loss[l];
    }
    *(double *)a->total = a->n_sets ? total / (double)a->n_sets : 0.0;
    return VLMOE_OK;
}

/* Gradient of the weighted losses of a set with respect to clean[t,:] (by mean over tokens) and to
 * the sum of loads. */
typedef struct set_slopes {
    double *clean; /* [E] of importance, switch and global: the same for every token */
    double *load;  /* [E] with respect to P_e */
    double *token; /* [E] gradient with respect to the logits of the token at hand */
} set_slopes;

static void mean_slopes(const set_view *v, set_sums sums, const double *weight, set_slopes slope)
{
    double n = (double)v->n;
    sum_tokens(v, sums);
    squared_variation(sums.clean, v->E, 1.0, slope.clean);
    int global_is_on = v->global_experts <= 0.0 || global_loss(v, sums.clean) > 0.0;
    for (int64_t e = 0; e < v->E; e++) {
        slope.clean[e] *= weight[VLMK_LOSS_IMPORTANCE];
        slope.clean[e] += weight[VLMK_LOSS_SWITCH] * (double)v->E * (sums.first[e] / n) / n;
        if (global_is_on && sums.clean[e] > 0.0) /* (p log p)' = log p + 1 */
            slope.clean[e] += weight[VLMK_LOSS_GLOBAL] * (log(sums.clean[e] / n) + 1.0) / n;
    }
    if (v->sigma <= 0.0) return;
    squared_variation(sums.load, v->E, n, slope.load);
    for (int64_t e = 0; e < v->E; e++) slope.load[e] *= weight[VLMK_LOSS_LOAD];
}

/* P_e falls with the threshold, which is the noisy logit of the token's K-th choice: that expert's
 * logit carries the sum back. */
static void add_load_slope(const set_view *v, int64_t t, set_slopes slope)
{
    double of_threshold = 0.0;
    for (int64_t e = 0; e < v->E; e++) {
        double distance = (v->logits[t * v->E + e] - threshold(v, t)) / v->sigma;
        double value = slope.load[e] * math_normal_pdf(distance) / v->sigma / (double)v->n;
        slope.token[e] += value;
        of_threshold -= value;
    }
    slope.token[v->expert[t * v->K + v->K - 1]] += of_threshold;
}

static void token_slope(const set_view *v, int64_t t, const double *weight, set_slopes slope)
{
    const double *p = v->clean + t * v->E;
    double n = (double)v->n, lse = ref_log_sum_exp(v->logits + t * v->E, v->E);
    double h = entropy(p, v->E, 1.0), mean = 0.0;
    for (int64_t e = 0; e < v->E; e++) mean += p[e] * slope.clean[e];
    for (int64_t e = 0; e < v->E; e++) {
        slope.token[e] = p[e] * (slope.clean[e] - mean); /* softmax */
        slope.token[e] += weight[VLMK_LOSS_Z] * 2.0 * lse * p[e] / n;
        if (p[e] > 0.0) slope.token[e] -= weight[VLMK_LOSS_LOCAL] * p[e] * (log(p[e]) + h) / n;
    }
    if (v->sigma > 0.0) add_load_slope(v, t, slope);
}

int vlmk_ref_router_losses_bwd(vlmk_env *env, const vlmk_router_losses_bwd_args *a)
{
    int64_t E = a->E;
    double *space = env->scratch(env, (size_t)(6 * E) * sizeof *space);
    if (!space) return VLMOE_E_NOMEM;
    set_sums sums = {.clean = space, .load = space + E, .first = space + 2 * E};
    set_slopes slope = {.clean = space + 3 * E, .load = space + 4 * E, .token = space + 5 * E};
    set_view v = {.E = E,
                  .K = a->K,
                  .logits = a->logits,
                  .noisy = a->noisy,
                  .clean = a->clean,
                  .expert = a->expert,
                  .sigma = a->sigma,
                  .global_experts = a->global_experts};
    double factor = *(const double *)a->dtotal / (double)(a->n_sets ? a->n_sets : 1);
    for (int64_t s = 0; s < a->n_sets; s++) {
        v.first = a->set_offset[s];
        v.n = a->set_offset[s + 1] - v.first;
        if (v.n > 0) mean_slopes(&v, sums, a->weight, slope);
        for (int64_t t = v.first; t < v.first + v.n; t++) {
            token_slope(&v, t, a->weight, slope);
            for (int64_t e = 0; e < E; e++)
                ref_update(a->dlogits, VLMOE_F64, t * E + e, factor * slope.token[e],
                           a->accumulate);
        }
    }
    return VLMOE_OK;
}
