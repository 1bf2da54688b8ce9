/* Balance losses of routing sets and their gradient. Sums over tokens in double; a tile is one
 * set, so the order is fixed. n = tokens of the set. */
#include "cpu_kernels.h"

/* What forward and backward share of one set. */
typedef struct set_view {
    int64_t E, K, first, n;
    const float *logits, *noisy, *clean; /* of the whole layer, [T, E] */
    const int32_t *expert;
    double sigma, global_experts;
} set_view;

/* Per expert over the set's tokens, in a worker's scratch. */
typedef struct set_sums {
    double *clean;    /* [E] sum_t clean[t,e] */
    double *load;     /* [E] sum_t P(e is among the first K of t) */
    double *first;    /* [E] tokens whose first noisy choice is e */
    double *of_clean; /* [E] backward: slope of the losses of means by clean[t,e] of any t */
    double *of_load;  /* [E] backward: slope of the load loss with respect to P_e */
    double *token;    /* [E] backward: slope with respect to the logits of the token at hand */
    float *spare;     /* [2, E] distances and Phi of one token */
} set_sums;
enum { N_SUMS = 6 };

static size_t sums_bytes(int64_t E)
{
    return (size_t)E * (N_SUMS * sizeof(double) + 2 * sizeof(float));
}

static set_sums sums_at(char *base, int64_t E)
{
    double *d = (double *)(void *)base;
    return (set_sums){
        d, d + E, d + 2 * E, d + 3 * E, d + 4 * E, d + 5 * E, (float *)(void *)(d + N_SUMS * E)};
}

/* (logits[e] - threshold) / sigma of token t, and Phi or density of it, E each in `out`. */
static void load_terms(const set_view *v, int64_t t, int is_density, float *out)
{
    const float *logits = v->logits + t * v->E;
    float threshold = v->noisy[t * v->E + v->expert[t * v->K + v->K - 1]],
          inverse = (float)(1.0 / v->sigma);
#define BODY                                                                                       \
    {                                                                                              \
        vf cdf, density;                                                                           \
        vf_normal((vf_load(logits + e, VLMOE_F32, m) - threshold) * inverse, &cdf, &density);      \
        vf_store(out + e, VLMOE_F32, m, is_density ? density : cdf);                               \
    }
    VLMK_FOR_LANES(e, m, v->E, BODY);
#undef BODY
}

static void sum_tokens(const set_view *v, set_sums sums)
{
    for (int64_t e = 0; e < v->E; e++) sums.clean[e] = sums.load[e] = sums.first[e] = 0.0;
    for (int64_t t = v->first; t < v->first + v->n; t++) {
        sums.first[v->expert[t * v->K]] += 1.0;
        for (int64_t e = 0; e < v->E; e++) sums.clean[e] += (double)v->clean[t * v->E + e];
        if (v->sigma <= 0.0) continue;
        load_terms(v, t, 0, sums.spare);
        for (int64_t e = 0; e < v->E; e++) sums.load[e] += (double)sums.spare[e];
    }
}

/* (std / mean)^2 of x / n, and its slope with respect to x / n when `slope` is not NULL. */
static double squared_variation(const double *x, int64_t E, double n, double *slope)
{
    double mean = 0.0, variance = 0.0;
    for (int64_t e = 0; e < E; e++) mean += x[e];
    mean /= n * (double)E;
    for (int64_t e = 0; e < E; e++) variance += (x[e] / n - mean) * (x[e] / n - mean);
    variance /= (double)E;
    for (int64_t e = 0; slope && e < E; e++)
        slope[e] =
            2.0 / (double)E * ((x[e] / n - mean) / (mean * mean) - variance / (mean * mean * mean));
    return variance / (mean * mean);
}

static double log_sum_exp(const float *x, int64_t n)
{
    double top = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < n; i++) top = fmax(top, (double)x[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)x[i] - top);
    return top + log(sum);
}

static double row_entropy(const float *p, int64_t E)
{
    double sum = 0.0;
    for (int64_t e = 0; e < E; e++)
        if (p[e] > 0.0f) sum -= (double)p[e] * log((double)p[e]);
    return sum;
}

static double global_loss(const set_view *v, const double *sum_clean)
{
    double value = 0.0; /* - entropy of the mean gate */
    for (int64_t e = 0; e < v->E; e++) {
        double mean = sum_clean[e] / (double)v->n;
        if (mean > 0.0) value += mean * log(mean);
    }
    return v->global_experts > 0.0 ? fmax(0.0, log(v->global_experts) + value) : value;
}

static void set_losses(const set_view *v, set_sums sums, float *out)
{
    double n = (double)v->n, of_switch = 0.0, z = 0.0, local = 0.0;
    sum_tokens(v, sums);
    for (int64_t e = 0; e < v->E; e++)
        of_switch += (double)v->E * (sums.clean[e] / n) * (sums.first[e] / n);
    for (int64_t t = v->first; t < v->first + v->n; t++) {
        double lse = log_sum_exp(v->logits + t * v->E, v->E);
        z += lse * lse;
        local += row_entropy(v->clean + t * v->E, v->E);
    }
    out[VLMK_LOSS_IMPORTANCE] = (float)squared_variation(sums.clean, v->E, 1.0, NULL);
    if (v->sigma > 0.0) out[VLMK_LOSS_LOAD] = (float)squared_variation(sums.load, v->E, n, NULL);
    out[VLMK_LOSS_SWITCH] = (float)of_switch;
    out[VLMK_LOSS_Z] = (float)(z / n);
    out[VLMK_LOSS_LOCAL] = (float)(local / n);
    out[VLMK_LOSS_GLOBAL] = (float)global_loss(v, sums.clean);
}

typedef struct losses_job {
    set_view layer; /* first and n are each tile's own */
    const int32_t *set_offset;
    const double *weight;
    double factor; /* of the gradient */
    int accumulate;
    float *losses;  /* [n_sets, VLMK_N_LOSSES] */
    float *dlogits; /* [T, E] */
    char *worker_base;
    size_t worker_stride;
} losses_job;

static set_view set_of(const losses_job *job, int64_t s)
{
    set_view v = job->layer;
    v.first = job->set_offset[s];
    v.n = job->set_offset[s + 1] - v.first;
    return v;
}

static void losses_tile(void *arg, int64_t s, int worker)
{
    const losses_job *job = arg;
    set_view v = set_of(job, s);
    float *out = job->losses + s * VLMK_N_LOSSES;
    memset(out, 0, VLMK_N_LOSSES * sizeof *out);
    if (v.n > 0 && v.E > 0)
        set_losses(&v, sums_at(job->worker_base + (size_t)worker * job->worker_stride, v.E), out);
}

int VLMK_CPU(router_losses_fwd)(vlmk_env *env, const vlmk_router_losses_fwd_args *args)
{
    losses_job job = {.layer = {.E = args->E,
                                .K = args->K,
                                .logits = args->logits,
                                .noisy = args->noisy,
                                .clean = args->clean,
                                .expert = args->expert,
                                .sigma = args->sigma,
                                .global_experts = args->global_experts},
                      .set_offset = args->set_offset,
                      .losses = args->losses};
    job.worker_base = vlmk_cpu_worker_scratch(env, sums_bytes(args->E), &job.worker_stride);
    if (!job.worker_base) return VLMOE_E_NOMEM;
    vlmk_cpu_parallel(env, losses_tile, &job, args->n_sets);
    double total = 0.0;
    for (int64_t s = 0; s < args->n_sets; s++)
        for (int l = 0; l < VLMK_N_LOSSES; l++)
            total += args->weight[l] * (double)job.losses[s * VLMK_N_LOSSES + l];
    *(float *)args->total = args->n_sets ? (float)(total / (double)args->n_sets) : 0.0f;
    return VLMOE_OK;
}

/* Slopes that are the same for every token of the set. */
static void mean_slopes(const set_view *v, set_sums sums, const double *weight)
{
    double n = (double)v->n;
    sum_tokens(v, sums);
    squared_variation(sums.clean, v->E, 1.0, sums.of_clean);
    int global_is_on = v->global_experts <= 0.0 || global_loss(v, sums.clean) > 0.0;
    for (int64_t e = 0; e < v->E; e++) {
        sums.of_clean[e] *= weight[VLMK_LOSS_IMPORTANCE];
        sums.of_clean[e] += weight[VLMK_LOSS_SWITCH] * (double)v->E * (sums.first[e] / n) / n;
        if (global_is_on && sums.clean[e] > 0.0) /* (p log p)' = log p + 1 */
            sums.of_clean[e] += weight[VLMK_LOSS_GLOBAL] * (log(sums.clean[e] / n) + 1.0) / n;
    }
    if (v->sigma <= 0.0) return;
    squared_variation(sums.load, v->E, n, sums.of_load);
    for (int64_t e = 0; e < v->E; e++) sums.of_load[e] *= weight[VLMK_LOSS_LOAD];
}

/* P_e rises with e's logit and falls with the threshold, which is the noisy logit of the token's
 * K-th choice: the logit of that expert carries the sum back. */
static void add_load_slope(const set_view *v, int64_t t, set_sums sums)
{
    double of_threshold = 0.0, scale = 1.0 / (v->sigma * (double)v->n);
    load_terms(v, t, 1, sums.spare);
    for (int64_t e = 0; e < v->E; e++) {
        double value = sums.of_load[e] * (double)sums.spare[e] * scale;
        sums.token[e] += value;
        of_threshold -= value;
    }
    sums.token[v->expert[t * v->K + v->K - 1]] += of_threshold;
}

static void token_slope(const set_view *v, int64_t t, const double *weight, set_sums sums)
{
    const float *p = v->clean + t * v->E;
    double n = (double)v->n, mean = 0.0;
    double z = weight[VLMK_LOSS_Z] != 0.0
                   ? weight[VLMK_LOSS_Z] * 2.0 * log_sum_exp(v->logits + t * v->E, v->E) / n
                   : 0.0;
    double local = weight[VLMK_LOSS_LOCAL] / n, entropy = local != 0.0 ? row_entropy(p, v->E) : 0.0;
    for (int64_t e = 0; e < v->E; e++) mean += (double)p[e] * sums.of_clean[e];
    for (int64_t e = 0; e < v->E; e++) {
        sums.token[e] =
            (double)p[e] * (sums.of_clean[e] - mean + z); /* softmax; lse's slope is p too */
        if (local != 0.0 && p[e] > 0.0f)
            sums.token[e] -= local * (double)p[e] * (log((double)p[e]) + entropy);
    }
    if (v->sigma > 0.0 && weight[VLMK_LOSS_LOAD] != 0.0) add_load_slope(v, t, sums);
}

static void losses_bwd_tile(void *arg, int64_t s, int worker)
{
    const losses_job *job = arg;
    set_view v = set_of(job, s);
    if (v.n <= 0 || v.E <= 0) return;
    set_sums sums = sums_at(job->worker_base + (size_t)worker * job->worker_stride, v.E);
    mean_slopes(&v, sums, job->weight);
    for (int64_t t = v.first; t < v.first + v.n; t++) {
        float *dlogits = job->dlogits + t * v.E;
        token_slope(&v, t, job->weight, sums);
        for (int64_t e = 0; e < v.E; e++) {
            float value = (float)(job->factor * sums.token[e]);
            dlogits[e] = job->accumulate ? dlogits[e] + value : value;
        }
    }
}

int VLMK_CPU(router_losses_bwd)(vlmk_env *env, const vlmk_router_losses_bwd_args *args)
{
    losses_job job = {.layer = {.E = args->E,
                                .K = args->K,
                                .logits = args->logits,
                                .noisy = args->noisy,
                                .clean = args->clean,
                                .expert = args->expert,
                                .sigma = args->sigma,
                                .global_experts = args->global_experts},
                      .set_offset = args->set_offset,
                      .weight = args->weight,
                      .accumulate = args->accumulate,
                      .dlogits = args->dlogits};
    if (args->n_sets < 1) return VLMOE_OK;
    job.factor = (double)*(const float *)args->dtotal / (double)args->n_sets;
    job.worker_base = vlmk_cpu_worker_scratch(env, sums_bytes(args->E), &job.worker_stride);
    if (!job.worker_base) return VLMOE_E_NOMEM;
    vlmk_cpu_parallel(env, losses_bwd_tile, &job, args->n_sets);
    return VLMOE_OK;
}
