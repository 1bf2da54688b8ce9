/* Balance losses on devices. Bounds are worked out as running errors of the formulas in f32: a
 * value and how far off it may be. */
#include <string.h>
#include "compare.h"

static const struct {
    int64_t T, E, K;
} sizes[] = {{0, 4, 1}, {3, 2, 1}, {5, 3, 2}, {64, 8, 1}, {129, 7, 3}, {63, 33, 2}, {300, 32, 1}};

enum { MAX_E = 33, MAX_T = 300, SETS = 4 };
typedef struct losses_run {
    kit kit;
    int64_t T, E, K;
    double sigma, global_experts, weight[VLMK_N_LOSSES];
    int accumulate;
    int32_t offset[SETS + 1];
    tensor *set_offset, *logits, *noisy, *clean, *expert, *losses, *total, *dtotal, *dlogits;
} losses_run;

/* (std / mean)^2 over experts of x, each off by e: the value, its slope, and how far off they are.
 */
typedef struct variation {
    double value, error, slope[MAX_E], slope_error[MAX_E];
} variation;

static void vary(const double *x, const double *e, int64_t E, variation *out)
{
    double mean = 0.0, e_mean = 0.0, variance = 0.0, e_variance = 0.0, n = (double)E;
    for (int64_t i = 0; i < E; i++) mean += x[i] / n;
    for (int64_t i = 0; i < E; i++) e_mean += (e[i] + n * U_F32 * x[i]) / n;
    for (int64_t i = 0; i < E; i++) {
        double distance = fabs(x[i] - mean), off = e[i] + e_mean + U_F32 * distance;
        variance += distance * distance / n;
        e_variance += (2.0 * distance * off + off * off + n * U_F32 * distance * distance) / n;
    }
    double relative = e_mean / mean + 2.0 * U_F32, square = mean * mean;
    out->value = variance / square;
    out->error = e_variance / square + 2.0 * relative * out->value;
    for (int64_t i = 0; i < E; i++) {
        double first = fabs(x[i] - mean) / square, second = variance / (square * mean);
        out->slope[i] = 2.0 / n * ((x[i] - mean) / square - second);
        out->slope_error[i] =
            2.0 / n *
            ((e[i] + e_mean) / square + e_variance / (square * mean) +
             (2.0 * relative + 4.0 * U_F32) * first + (3.0 * relative + 4.0 * U_F32) * second);
    }
}

/* Of one set: sums over its tokens, and what hangs on them. */
typedef struct set_view {
    int64_t first, n;
    double importance[MAX_E], e_importance[MAX_E], load[MAX_E], e_load[MAX_E], share[MAX_E];
    variation by_importance, by_load;
} set_view;

static double threshold(const losses_run *p, int64_t t)
{
    return kit_get(p->noisy, WANT,
                   t * p->E + ((int32_t *)at(p->expert, WANT))[t * p->K + p->K - 1]);
}

static double density(double x)
{
    return 0.3989422804014327 * exp(-0.5 * x * x);
}

/* Phi(d): two terms, and d off by four relative roundings; P_e and I_e are sums of n. */
static void view_set(const losses_run *p, int s, set_view *v)
{
    memset(v, 0, sizeof *v);
    v->first = p->offset[s];
    v->n = p->offset[s + 1] - v->first;
    if (v->n == 0) return;
    double n = (double)v->n;
    for (int64_t t = v->first; t < v->first + v->n; t++) {
        v->share[((int32_t *)at(p->expert, WANT))[t * p->K]] += 1.0 / n;
        for (int64_t e = 0; e < p->E; e++) {
            v->importance[e] += kit_get(p->clean, WANT, t * p->E + e);
            if (p->sigma <= 0.0) continue;
            double d = (kit_get(p->logits, WANT, t * p->E + e) - threshold(p, t)) / p->sigma;
            v->load[e] += 0.5 * erfc(-d * 0.7071067811865476) / n;
            v->e_load[e] += U_F32 * (density(d) * fabs(d) * 4.0 + 2.0) / n;
        }
    }
    for (int64_t e = 0; e < p->E; e++) v->e_importance[e] = n * U_F32 * v->importance[e];
    for (int64_t e = 0; e < p->E; e++) v->e_load[e] += n * U_F32 * v->load[e];
    vary(v->importance, v->e_importance, p->E, &v->by_importance);
    if (p->sigma > 0.0) vary(v->load, v->e_load, p->E, &v->by_load);
}

/* - sum p log p of p = x / n, off by relative in each p; a logarithm has its own rounding and one
 * absolute unit near 1. */
static double entropy(const double *x, int64_t E, double n, double relative, double *error)
{
    double sum = 0.0;
    *error = 0.0;
    for (int64_t e = 0; e < E; e++) {
        if (x[e] <= 0.0) continue;
        double p = x[e] / n, size = fabs(p * log(p));
        sum += size;
        *error += ((double)E + 4.0) * U_F32 * size + p * (U_F32 + relative * (1.0 + fabs(log(p))));
    }
    return sum;
}

/* log of a sum of E exponentials, each with its argument's rounding. */
static double log_sum_exp(const double *x, int64_t E, double *error)
{
    double lse = ref_log_sum_exp(x, E), range = 0.0;
    for (int64_t e = 0; e < E; e++) range = fmax(range, fabs(x[e] - lse));
    *error = U_F32 * ((double)E + 4.0 + range + fabs(lse));
    return lse;
}

static void bound_fwd(void *arg)
{
    losses_run *p = arg;
    static set_view v;
    double total = 0.0, size = 0.0;
    for (int s = 0; s < SETS; s++) {
        double *e = kit_error(p->losses) + s * VLMK_N_LOSSES, n, off;
        view_set(p, s, &v);
        n = (double)v.n;
        if (v.n == 0) continue;
        e[VLMK_LOSS_IMPORTANCE] = v.by_importance.error;
        e[VLMK_LOSS_LOAD] = v.by_load.error;
        e[VLMK_LOSS_SWITCH] = (n + (double)p->E + 4.0) * U_F32 *
                              kit_get(p->losses, WANT, s * VLMK_N_LOSSES + VLMK_LOSS_SWITCH);
        for (int64_t t = v.first; t < v.first + v.n; t++) {
            double lse = log_sum_exp((const double *)at(p->logits, WANT) + t * p->E, p->E, &off);
            e[VLMK_LOSS_Z] += (2.0 * fabs(lse) * off + (n + 2.0) * U_F32 * lse * lse) / n;
            double h = entropy((const double *)at(p->clean, WANT) + t * p->E, p->E, 1.0, 0.0, &off);
            e[VLMK_LOSS_LOCAL] += (off + n * U_F32 * h) / n;
        }
        double h = entropy(v.importance, p->E, n, n * U_F32, &off);
        e[VLMK_LOSS_GLOBAL] =
            off +
            U_F32 * (h + (p->global_experts > 0.0 ? 2.0 * fabs(log(p->global_experts)) : 0.0));
        for (int l = 0; l < VLMK_N_LOSSES; l++) {
            total += fabs(p->weight[l]) * e[l] / SETS;
            size += fabs(p->weight[l] * kit_get(p->losses, WANT, s * VLMK_N_LOSSES + l)) / SETS;
        }
    }
    kit_error(p->total)[0] = total + (SETS * VLMK_N_LOSSES + 3) * U_F32 * size;
}

/* Slope of the losses of means with respect to clean[t,e]: value and error; the same for all tokens
 * of a set. */
static void mean_slopes(const losses_run *p, const set_view *v, double *slope, double *error)
{
    double n = (double)v->n, E = (double)p->E;
    for (int64_t e = 0; e < p->E; e++) {
        double by_switch = p->weight[VLMK_LOSS_SWITCH] * E * v->share[e] / n,
               logarithm = log(v->importance[e] / n);
        double by_global = p->weight[VLMK_LOSS_GLOBAL] * (logarithm + 1.0) / n;
        slope[e] = fabs(p->weight[VLMK_LOSS_IMPORTANCE] * v->by_importance.slope[e]) +
                   fabs(by_switch) + fabs(by_global);
        error[e] =
            fabs(p->weight[VLMK_LOSS_IMPORTANCE]) * v->by_importance.slope_error[e] +
            4.0 * U_F32 * slope[e] +
            fabs(p->weight[VLMK_LOSS_GLOBAL]) * U_F32 * (n + 2.0 + 2.0 * fabs(logarithm)) / n;
    }
}

/* Load: slope phi(d) / (sigma n), the density off by d^2 times its argument's roundings; the
 * threshold's expert carries the sum. */
static void add_load_error(const losses_run *p, const set_view *v, int64_t t, double *error)
{
    double all = 0.0;
    for (int64_t e = 0; e < p->E; e++) {
        double d = (kit_get(p->logits, WANT, t * p->E + e) - threshold(p, t)) / p->sigma;
        double part = fabs(p->weight[VLMK_LOSS_LOAD]) * density(d) / (p->sigma * (double)v->n);
        double size = part * fabs(v->by_load.slope[e]);
        double off = part * v->by_load.slope_error[e] + size * U_F32 * (4.0 * d * d + 6.0);
        error[e] += off;
        all += off + (double)p->E * U_F32 * size;
    }
    error[((int32_t *)at(p->expert, WANT))[t * p->K + p->K - 1]] += all;
}

static void token_error(const losses_run *p, const set_view *v, int64_t t, double *error)
{
    double slope[MAX_E], e_slope[MAX_E], mean = 0.0, e_mean = 0.0, e_lse, e_h, n = (double)v->n;
    const double *clean = (const double *)at(p->clean, WANT) + t * p->E;
    double lse = log_sum_exp((const double *)at(p->logits, WANT) + t * p->E, p->E, &e_lse);
    double h = entropy(clean, p->E, 1.0, 0.0, &e_h);
    mean_slopes(p, v, slope, e_slope);
    for (int64_t e = 0; e < p->E; e++) {
        mean += clean[e] * slope[e];
        e_mean += clean[e] * e_slope[e];
    }
    for (int64_t e = 0; e < p->E; e++) {
        double logarithm = clean[e] > 0.0 ? fabs(log(clean[e])) : 0.0;
        error[e] =
            clean[e] * (e_slope[e] + e_mean + ((double)p->E + 6.0) * U_F32 * (slope[e] + mean));
        error[e] += p->weight[VLMK_LOSS_Z] * 2.0 * clean[e] / n * (e_lse + 4.0 * U_F32 * fabs(lse));
        error[e] += p->weight[VLMK_LOSS_LOCAL] * clean[e] / n *
                    (e_h + U_F32 * (1.0 + 6.0 * logarithm + 4.0 * h));
    }
    if (p->sigma > 0.0) add_load_error(p, v, t, error);
}

static void bound_bwd(void *arg)
{
    losses_run *p = arg;
    static set_view v;
    double factor = fabs(kit_get(p->dtotal, WANT, 0)) / SETS;
    for (int s = 0; s < SETS; s++) {
        view_set(p, s, &v);
        for (int64_t t = v.first; t < v.first + v.n; t++) {
            double *error = kit_error(p->dlogits) + t * p->E;
            token_error(p, &v, t, error);
            for (int64_t e = 0; e < p->E; e++)
                error[e] =
                    factor * error[e] +
                    U_F32 * (2.0 * fabs(kit_get(p->dlogits, WANT, t * p->E + e)) + p->accumulate);
        }
    }
}

/* What router_select of the reference gives, rounded to f32; choices from the rounded noisy logits,
 * so that all sides agree. */
static void add_inputs(losses_run *p, const char *what, int i, double sigma)
{
    static double wide[4][MAX_T * MAX_E], priority[MAX_T];
    static int32_t expert[MAX_T * 3];
    memset(p, 0, sizeof *p);
    kit_begin(&p->kit, "%s T %lld E %lld K %lld sigma %g", what, (long long)sizes[i].T,
              (long long)sizes[i].E, (long long)sizes[i].K, sigma);
    p->T = sizes[i].T, p->E = sizes[i].E, p->K = sizes[i].K, p->sigma = sigma;
    const int32_t offset[SETS + 1] = {0, (int32_t)(p->T / 3), (int32_t)(p->T / 3),
                                      (int32_t)(p->T - p->T / 4), (int32_t)p->T};
    memcpy(p->offset, offset, sizeof offset);
    int64_t n = p->T * p->E;
    p->logits = kit_real(&p->kit, "logits", n, VLMOE_F32, 2.0);
    p->noisy = kit_real(&p->kit, "noisy", n, VLMOE_F32, 1.0);
    p->clean = kit_real(&p->kit, "clean", n, VLMOE_F32, 1.0);
    vlmk_router_select_args a = {.T = p->T,
                                 .E = p->E,
                                 .K = p->K,
                                 .logits = at(p->logits, WANT),
                                 .sigma = sigma,
                                 .key = 9,
                                 .noisy = wide[0],
                                 .clean = wide[1],
                                 .gates = wide[2],
                                 .priority = priority,
                                 .expert = expert};
    CHECK_INT(vlmk_ref_router_select(NULL, &a), VLMOE_OK);
    for (int64_t j = 0; j < n; j++) kit_set(p->noisy, j, wide[0][j]);
    for (int64_t j = 0; j < n; j++) kit_set(p->clean, j, wide[1][j]);
    a.logits = at(p->noisy, WANT);
    a.noisy = wide[3];
    a.sigma = 0.0;
    CHECK_INT(vlmk_ref_router_select(NULL, &a), VLMOE_OK);
    p->expert = kit_ints(&p->kit, "expert", p->T * p->K, expert);
    p->set_offset = kit_ints(&p->kit, "set_offset", SETS + 1, p->offset);
}

static int call_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    losses_run *p = arg;
    vlmk_router_losses_fwd_args a = {.T = p->T,
                                     .E = p->E,
                                     .K = p->K,
                                     .n_sets = SETS,
                                     .set_offset = at(p->set_offset, side),
                                     .logits = at(p->logits, side),
                                     .noisy = at(p->noisy, side),
                                     .clean = at(p->clean, side),
                                     .expert = at(p->expert, side),
                                     .sigma = p->sigma,
                                     .global_experts = p->global_experts,
                                     .losses = at(p->losses, side),
                                     .total = at(p->total, side)};
    memcpy(a.weight, p->weight, sizeof a.weight);
    return table->router_losses_fwd(env, &a);
}

static int call_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    losses_run *p = arg;
    vlmk_router_losses_bwd_args a = {.T = p->T,
                                     .E = p->E,
                                     .K = p->K,
                                     .n_sets = SETS,
                                     .set_offset = at(p->set_offset, side),
                                     .logits = at(p->logits, side),
                                     .noisy = at(p->noisy, side),
                                     .clean = at(p->clean, side),
                                     .expert = at(p->expert, side),
                                     .sigma = p->sigma,
                                     .global_experts = p->global_experts,
                                     .dtotal = at(p->dtotal, side),
                                     .dlogits = at(p->dlogits, side),
                                     .accumulate = p->accumulate};
    memcpy(a.weight, p->weight, sizeof a.weight);
    return table->router_losses_bwd(env, &a);
}

static const double sigmas[] = {0.0, 0.125, 1.0};

/* Global loss: with two and more experts log(2 E) - H is above zero, so the threshold's kink is
 * far. */
static double global_experts_of(int s, int64_t E)
{
    return s == 1 ? 2.0 * (double)E : 0.0;
}

TEST(compare_router_losses_fwd)
{
    static const double weight[VLMK_N_LOSSES] = {0.5, 0.5, 1.0, 0.1, 0.2, 0.3};
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int s = 0; s < COUNT_OF(sigmas); s++) {
            losses_run p;
            add_inputs(&p, "router_losses_fwd", i, sigmas[s]);
            memcpy(p.weight, weight, sizeof weight);
            p.global_experts = global_experts_of(s, p.E);
            p.losses = kit_output(&p.kit, "losses", SETS * VLMK_N_LOSSES, VLMOE_F32, 0);
            p.total = kit_output(&p.kit, "total", 1, VLMOE_F32, 0);
            kit_run(&p.kit, call_fwd, bound_fwd, &p);
            kit_end(&p.kit);
        }
}

/* Each loss by itself, then all. */
TEST(compare_router_losses_bwd)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int s = 0; s < COUNT_OF(sigmas); s++)
            for (int which = 0; which <= VLMK_N_LOSSES; which++) {
                losses_run p;
                add_inputs(&p, "router_losses_bwd", i, sigmas[s]);
                for (int l = 0; l < VLMK_N_LOSSES; l++)
                    p.weight[l] = which == l || which == VLMK_N_LOSSES ? 0.5 : 0.0;
                p.global_experts = global_experts_of(s, p.E);
                p.accumulate = which % 2;
                p.dtotal = kit_real(&p.kit, "dtotal", 1, VLMOE_F32, 1.0);
                p.dlogits =
                    p.accumulate
                        ? kit_updated(kit_real(&p.kit, "dlogits", p.T * p.E, VLMOE_F32, 1.0), 0)
                        : kit_output(&p.kit, "dlogits", p.T * p.E, VLMOE_F32, 0);
                kit_run(&p.kit, call_bwd, bound_bwd, &p);
                kit_end(&p.kit);
            }
}
