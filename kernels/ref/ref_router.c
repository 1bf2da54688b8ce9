/* Routing: who is chosen, who is served, with what weight. The losses stand in ref_router_losses.c.
 */
#include "math_philox.h"
#include "ref.h"

static void softmax(const double *x, int64_t n, double *out)
{
    double lse = ref_log_sum_exp(x, n);
    for (int64_t i = 0; i < n; i++) out[i] = exp(x[i] - lse);
}

/* The K largest in order; an expert already taken is skipped, the first of equals wins. */
static void take_largest(const double *x, int64_t E, int64_t K, int32_t *expert)
{
    for (int64_t k = 0; k < K; k++) {
        int32_t best = -1;
        for (int64_t e = 0; e < E; e++) {
            int taken = 0;
            for (int64_t j = 0; j < k; j++) taken |= expert[j] == e;
            if (!taken && (best < 0 || x[e] > x[best])) best = (int32_t)e;
        }
        expert[k] = best;
    }
}

int vlmk_ref_router_select(vlmk_env *env, const vlmk_router_select_args *a)
{
    (void)env;
    for (int64_t t = 0; t < a->T; t++) {
        const double *logits = (const double *)a->logits + t * a->E;
        double *noisy = (double *)a->noisy + t * a->E;
        double *gates = (double *)a->gates + t * a->E;
        double priority = 0.0;
        for (int64_t e = 0; e < a->E; e++) {
            noisy[e] = logits[e];
            if (a->sigma > 0.0)
                noisy[e] += a->sigma * math_philox_normal(a->key, (uint64_t)(t * a->E + e));
        }
        softmax(logits, a->E, (double *)a->clean + t * a->E);
        softmax(noisy, a->E, gates);
        take_largest(noisy, a->E, a->K, a->expert + t * a->K);
        for (int64_t e = 0; e < a->E; e++) priority = fmax(priority, gates[e]);
        ((double *)a->priority)[t] = priority;
    }
    return VLMOE_OK;
}

/* Tokens of a set in order of service: by token, or by descending priority with ties to the earlier
 * token (insertion sort). */
static void service_order(const vlmk_router_assign_args *a, int64_t first, int64_t end,
                          int64_t *order)
{
    const double *priority = a->priority;
    for (int64_t t = first; t < end; t++) {
        int64_t place = t - first;
        for (; a->bpr && place > 0 && priority[order[place - 1]] < priority[t]; place--)
            order[place] = order[place - 1];
        order[place] = t;
    }
}

/* Mark the served choices of set s (slot 0, dropped -1) and count. */
static void serve_set(const vlmk_router_assign_args *a, int64_t s, int64_t *order)
{
    int64_t first = a->set_offset[s], n = a->set_offset[s + 1] - first;
    int32_t *load = a->load + s * a->E, *served = a->served + s * a->E;
    for (int64_t e = 0; e < a->E; e++) load[e] = served[e] = 0;
    service_order(a, first, first + n, order);
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

int vlmk_ref_router_assign(vlmk_env *env, const vlmk_router_assign_args *a)
{
    int64_t *order = env->scratch(env, (size_t)a->T * sizeof *order);
    if (!order) return VLMOE_E_NOMEM;
    for (int64_t i = 0; i < a->T * a->K; i++) a->slot[i] = a->row_token[i] = -1;
    for (int64_t s = 0; s < a->n_sets; s++) serve_set(a, s, order);
    int32_t row = 0;
    for (int64_t e = 0; e < a->E; e++) {
        a->expert_offset[e] = row;
        for (int64_t i = 0; i < a->T * a->K;
             i++) { /* token, then choice; sets are runs of tokens */
            if (a->expert[i] != e || a->slot[i] < 0) continue;
            a->slot[i] = row;
            a->row_token[row++] = (int32_t)(i / a->K);
        }
    }
    a->expert_offset[a->E] = row;
    return VLMOE_OK;
}

/* What the served gates of token t are divided by. */
static double weight_divisor(int renorm, const double *gate, const int32_t *expert,
                             const int32_t *slot, int64_t K)
{
    double all = 0.0, kept = 0.0;
    for (int64_t k = 0; k < K; k++) {
        all += gate[expert[k]];
        if (slot[k] >= 0) kept += gate[expert[k]];
    }
    if (renorm == VLMK_RENORM_BEFORE) return all;
    if (renorm == VLMK_RENORM_AFTER) return fmax(kept, 1e-9);
    return 1.0;
}

int vlmk_ref_router_weights(vlmk_env *env, const vlmk_router_weights_args *a)
{
    (void)env;
    for (int64_t t = 0; t < a->T; t++) {
        const double *gate = (const double *)a->gates + t * a->E;
        const int32_t *expert = a->expert + t * a->K, *slot = a->slot + t * a->K;
        double *weight = (double *)a->weight + t * a->K;
        double divisor = weight_divisor(a->renorm, gate, expert, slot, a->K);
        for (int64_t k = 0; k < a->K; k++)
            weight[k] = slot[k] < 0 ? 0.0 : gate[expert[k]] / divisor;
    }
    return VLMOE_OK;
}

/* weight_k = gate_k / S: dgate_k = dweight_k / S for served k, less (sum_j dweight_j gate_j) / S^2
 * for every gate that is in S. */
static double dgate(const vlmk_router_weights_bwd_args *a, int64_t t, int64_t k)
{
    const double *gate = (const double *)a->gates + t * a->E,
                 *dweight = (const double *)a->dweight + t * a->K;
    const int32_t *expert = a->expert + t * a->K, *slot = a->slot + t * a->K;
    double divisor = weight_divisor(a->renorm, gate, expert, slot, a->K), sum = 0.0;
    int in_divisor = a->renorm == VLMK_RENORM_BEFORE ||
                     (a->renorm == VLMK_RENORM_AFTER && slot[k] >= 0 && divisor > 1e-9);
    for (int64_t j = 0; j < a->K; j++)
        if (slot[j] >= 0) sum += dweight[j] * gate[expert[j]];
    return (slot[k] >= 0 ? dweight[k] / divisor : 0.0) -
           (in_divisor ? sum / (divisor * divisor) : 0.0);
}

/* Through softmax: dlogit_e = gate_e (dgate_e - sum_j gate_j dgate_j). */
int vlmk_ref_router_weights_bwd(vlmk_env *env, const vlmk_router_weights_bwd_args *a)
{
    (void)env;
    for (int64_t t = 0; t < a->T; t++) {
        const double *gate = (const double *)a->gates + t * a->E;
        const int32_t *expert = a->expert + t * a->K;
        double mean = 0.0;
        for (int64_t k = 0; k < a->K; k++) mean += gate[expert[k]] * dgate(a, t, k);
        for (int64_t e = 0; e < a->E; e++) {
            double own = 0.0;
            for (int64_t k = 0; k < a->K; k++)
                if (expert[k] == e) own = dgate(a, t, k);
            ref_update(a->dlogits, VLMOE_F64, t * a->E + e, gate[e] * (own - mean), a->accumulate);
        }
    }
    return VLMOE_OK;
}
