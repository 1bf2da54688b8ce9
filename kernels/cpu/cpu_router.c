/* Routing: who is chosen, who is served, with what weight. The losses stand in
 * cpu_router_losses.c. */
#include "cpu_kernels.h"
#include "math_philox.h"

enum { TOKENS_PER_TILE = 128 };

static void softmax(const float *x, int64_t n, float *out)
{
    float top = -INFINITY;
    vf sum = {0};
    for (int64_t i = 0; i < n; i++)
        if (x[i] > top) top = x[i];
#define BODY                                                                                       \
    {                                                                                              \
        vf e = vf_exp(vf_load(x + i, VLMOE_F32, m) - top);                                         \
        sum += vf_keep(e, m);                                                                      \
        vf_store(out + i, VLMOE_F32, m, e);                                                        \
    }
    VLMK_FOR_LANES(i, m, n, BODY);
#undef BODY
    float inverse = 1.0f / vf_sum(sum);
    VLMK_FOR_LANES(i, m, n,
                   vf_store(out + i, VLMOE_F32, m, vf_load(out + i, VLMOE_F32, m) * inverse));
}

/* The K largest in order; the first of equals wins. */
static void take_largest(const float *x, int64_t E, int64_t K, int32_t *expert)
{
    for (int64_t k = 0; k < K; k++) {
        int32_t best = -1;
        for (int64_t e = 0; e < E; e++) {
            if (best >= 0 && !(x[e] > x[best])) continue;
            int is_taken = 0;
            for (int64_t j = 0; j < k; j++) is_taken |= expert[j] == (int32_t)e;
            if (!is_taken) best = (int32_t)e;
        }
        expert[k] = best;
    }
}

static void select_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_router_select_args *a = arg;
    (void)worker;
    tile_span tokens = span_of(tile, TOKENS_PER_TILE, a->T);
    for (int64_t t = tokens.first; t < tokens.end; t++) {
        const float *logits = (const float *)a->logits + t * a->E;
        float *noisy = (float *)a->noisy + t * a->E, *gates = (float *)a->gates + t * a->E;
        float *clean = (float *)a->clean + t * a->E, priority = 0.0f;
        softmax(logits, a->E, clean);
        memcpy(noisy, logits, (size_t)a->E * sizeof *noisy);
        memcpy(gates, clean, (size_t)a->E * sizeof *gates);
        if (a->sigma > 0.0) {
            for (int64_t e = 0; e < a->E; e++)
                noisy[e] = (float)((double)logits[e] +
                                   a->sigma * math_philox_normal(a->key, (uint64_t)(t * a->E + e)));
            softmax(noisy, a->E, gates);
        }
        take_largest(noisy, a->E, a->K, a->expert + t * a->K);
        for (int64_t e = 0; e < a->E; e++)
            if (gates[e] > priority) priority = gates[e];
        ((float *)a->priority)[t] = priority;
    }
}

int VLMK_CPU(router_select)(vlmk_env *env, const vlmk_router_select_args *args)
{
    vlmk_router_select_args a = *args;
    parallel_spans(env, select_tile, &a, a.T, TOKENS_PER_TILE);
    return VLMOE_OK;
}

typedef struct assign_job {
    const vlmk_router_assign_args *a;
    int32_t *order,
        *spare; /* [T] tokens of each set in order of service, and the merge's other half */
} assign_job;

/* Stable merge sort of n tokens by descending priority; the result ends up in `order`. */
static void sort_by_priority(const float *priority, int32_t *order, int32_t *spare, int64_t n)
{
    for (int64_t run = 1; run < n; run *= 2) {
        for (int64_t first = 0; first < n; first += 2 * run) {
            int64_t middle = first + run < n ? first + run : n,
                    end = first + 2 * run < n ? first + 2 * run : n;
            int64_t left = first, right = middle;
            for (int64_t i = first; i < end; i++) {
                int take_right = left == middle ||
                                 (right < end && priority[order[right]] > priority[order[left]]);
                spare[i] = take_right ? order[right++] : order[left++];
            }
        }
        memcpy(order, spare, (size_t)n * sizeof *order);
    }
}

/* Mark the served choices of a set (slot 0, dropped -1) and count. */
static void serve_tile(void *arg, int64_t s, int worker)
{
    const assign_job *job = arg;
    const vlmk_router_assign_args *a = job->a;
    (void)worker;
    int64_t first = a->set_offset[s], n = a->set_offset[s + 1] - first;
    int32_t *load = a->load + s * a->E, *served = a->served + s * a->E, *order = job->order + first;
    for (int64_t e = 0; e < a->E; e++) load[e] = served[e] = 0;
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)(first + i);
    if (a->bpr) sort_by_priority(a->priority, order, job->spare + first, n);
    for (int64_t k = 0; k < a->K; k++)
        for (int64_t i = 0; i < n; i++) {
            int64_t choice = order[i] * a->K + k;
            int32_t e = a->expert[choice];
            int has_room = a->capacity[s] < 0 || served[e] < a->capacity[s];
            a->slot[choice] = has_room ? 0 : -1;
            load[e]++;
            served[e] += has_room;
        }
}

int VLMK_CPU(router_assign)(vlmk_env *env, const vlmk_router_assign_args *args)
{
    const vlmk_router_assign_args *a = args;
    assign_job job = {.a = a};
    job.order = env->scratch(env, (size_t)a->T * sizeof *job.order);
    job.spare = env->scratch(env, (size_t)a->T * sizeof *job.spare);
    int32_t *next = env->scratch(
        env, (size_t)a->E * sizeof *next); /* row each expert's next served choice gets */
    if (!job.order || !job.spare || !next) return VLMOE_E_NOMEM;
    for (int64_t i = 0; i < a->T * a->K; i++) a->slot[i] = a->row_token[i] = -1;
    vlmk_cpu_parallel(env, serve_tile, &job, a->n_sets);
    int32_t row = 0;
    for (int64_t e = 0; e < a->E; e++) {
        a->expert_offset[e] = next[e] = row;
        for (int64_t s = 0; s < a->n_sets; s++) row += a->served[s * a->E + e];
    }
    a->expert_offset[a->E] = row;
    for (int64_t i = 0; i < a->T * a->K; i++) { /* token, then choice; sets are runs of tokens */
        if (a->slot[i] < 0) continue;
        a->slot[i] = next[a->expert[i]]++;
        a->row_token[a->slot[i]] = (int32_t)(i / a->K);
    }
    return VLMOE_OK;
}

/* One token's choices. */
typedef struct choice_view {
    const float *gate;     /* [E] */
    const int32_t *expert; /* [K] */
    const int32_t *slot;   /* [K] */
    int64_t K;
} choice_view;

/* What the served gates are divided by. */
static double weight_divisor(int renorm, choice_view v)
{
    double all = 0.0, kept = 0.0;
    for (int64_t k = 0; k < v.K; k++) {
        all += (double)v.gate[v.expert[k]];
        if (v.slot[k] >= 0) kept += (double)v.gate[v.expert[k]];
    }
    if (renorm == VLMK_RENORM_BEFORE) return all;
    if (renorm == VLMK_RENORM_AFTER) return fmax(kept, 1e-9);
    return 1.0;
}

static void weights_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_router_weights_args *a = arg;
    (void)worker;
    tile_span tokens = span_of(tile, TOKENS_PER_TILE, a->T);
    for (int64_t t = tokens.first; t < tokens.end; t++) {
        choice_view v = {(const float *)a->gates + t * a->E, a->expert + t * a->K,
                         a->slot + t * a->K, a->K};
        double divisor = weight_divisor(a->renorm, v);
        float *weight = (float *)a->weight + t * a->K;
        for (int64_t k = 0; k < a->K; k++)
            weight[k] = v.slot[k] < 0 ? 0.0f : (float)((double)v.gate[v.expert[k]] / divisor);
    }
}

int VLMK_CPU(router_weights)(vlmk_env *env, const vlmk_router_weights_args *args)
{
    vlmk_router_weights_args a = *args;
    parallel_spans(env, weights_tile, &a, a.T, TOKENS_PER_TILE);
    return VLMOE_OK;
}

/* weight_k = gate_k / S: dgate_k = dweight_k / S for served k, less (sum_j dweight_j gate_j) /
 * S^2 for each gate that is in S; then through softmax: dlogit_e = gate_e (dgate_e - sum_j
 * gate_j dgate_j). Writes dlogit's two parts for one token. */
static void weights_token_bwd(const vlmk_router_weights_bwd_args *a, int64_t t)
{
    choice_view v = {(const float *)a->gates + t * a->E, a->expert + t * a->K, a->slot + t * a->K,
                     a->K};
    const float *dweight = (const float *)a->dweight + t * a->K;
    float *dlogits = (float *)a->dlogits + t * a->E;
    double divisor = weight_divisor(a->renorm, v), along = 0.0, mean = 0.0;
    for (int64_t k = 0; k < a->K; k++)
        if (v.slot[k] >= 0) along += (double)dweight[k] * (double)v.gate[v.expert[k]];
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t e = 0; pass && e < a->E; e++) {
            float value = (float)(-(double)v.gate[e] * mean);
            int is_chosen = 0;
            for (int64_t k = 0; k < a->K; k++) is_chosen |= v.expert[k] == (int32_t)e;
            if (!is_chosen) dlogits[e] = a->accumulate ? dlogits[e] + value : value;
        }
        for (int64_t k = 0; k < a->K; k++) {
            int is_served = v.slot[k] >= 0, e = v.expert[k];
            int in_divisor = a->renorm == VLMK_RENORM_BEFORE ||
                             (a->renorm == VLMK_RENORM_AFTER && is_served && divisor > 1e-9);
            double dgate = (is_served ? (double)dweight[k] / divisor : 0.0) -
                           (in_divisor ? along / (divisor * divisor) : 0.0);
            if (!pass) {
                mean += (double)v.gate[e] * dgate;
                continue;
            }
            float value = (float)((double)v.gate[e] * (dgate - mean));
            dlogits[e] = a->accumulate ? dlogits[e] + value : value;
        }
    }
}

static void weights_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_router_weights_bwd_args *a = arg;
    (void)worker;
    tile_span tokens = span_of(tile, TOKENS_PER_TILE, a->T);
    for (int64_t t = tokens.first; t < tokens.end; t++) weights_token_bwd(a, t);
}

int VLMK_CPU(router_weights_bwd)(vlmk_env *env, const vlmk_router_weights_bwd_args *args)
{
    vlmk_router_weights_bwd_args a = *args;
    parallel_spans(env, weights_bwd_tile, &a, a.T, TOKENS_PER_TILE);
    return VLMOE_OK;
}
