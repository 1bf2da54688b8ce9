/* Routing on devices: choices and places must be equal, not close; weights within the bound. */
#include <stdlib.h>
#include <string.h>
#include "compare.h"
#include "math_philox.h"

static const struct {
    int64_t T, E, K;
} sizes[] = {{0, 4, 1},   {1, 1, 1},   {5, 3, 2},    {64, 8, 1},
             {129, 7, 3}, {63, 33, 2}, {300, 32, 1}, {40, 130, 4}};

typedef struct routing {
    kit kit;
    int64_t T, E, K;
    double sigma;
    int renorm, accumulate, bpr;
    int64_t n_sets;
    tensor *logits, *noisy, *clean, *gates, *priority, *expert;
    tensor *set_offset, *capacity, *slot, *row_token, *expert_offset, *load, *served, *weight,
        *dweight, *dlogits;
} routing;

static void begin(routing *p, const char *what, int i)
{
    memset(p, 0, sizeof *p);
    kit_begin(&p->kit, "%s T %lld E %lld K %lld", what, (long long)sizes[i].T,
              (long long)sizes[i].E, (long long)sizes[i].K);
    p->T = sizes[i].T;
    p->E = sizes[i].E;
    p->K = sizes[i].K;
}

static int call_select(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    routing *p = arg;
    vlmk_router_select_args a = {.T = p->T,
                                 .E = p->E,
                                 .K = p->K,
                                 .logits = at(p->logits, side),
                                 .sigma = p->sigma,
                                 .key = 0xfeedbeefcafe1234u,
                                 .noisy = at(p->noisy, side),
                                 .clean = at(p->clean, side),
                                 .gates = at(p->gates, side),
                                 .priority = at(p->priority, side),
                                 .expert = at(p->expert, side)};
    return table->router_select(env, &a);
}

/* noisy: sigma's rounding, the noise's, a product and a sum. A softmax: its argument is off by u
 * (|x| + |lse|) and its own error, the largest error of any argument is in the sum too, and E
 * terms. priority is one of the gates. */
static void bound_select(void *arg)
{
    routing *p = arg;
    for (int64_t t = 0; t < p->T; t++) {
        double noise = 0.0, range = 0.0;
        for (int64_t i = t * p->E; i < (t + 1) * p->E; i++) {
            double x = kit_get(p->logits, WANT, i), z = fabs(kit_get(p->noisy, WANT, i) - x);
            kit_error(p->noisy)[i] = U_F32 * (3.0 * z + (z > 0.0 ? fabs(x) : 0.0));
            noise = fmax(noise, kit_error(p->noisy)[i]);
            range = fmax(range, fabs(x) + z);
        }
        double relative =
            U_F32 * ((double)p->E + 4.0 + 4.0 * range + 2.0 * log((double)p->E + 1.0));
        for (int64_t i = t * p->E; i < (t + 1) * p->E; i++) {
            kit_error(p->clean)[i] = relative * kit_get(p->clean, WANT, i);
            kit_error(p->gates)[i] = (relative + 2.0 * noise) * kit_get(p->gates, WANT, i);
        }
        kit_error(p->priority)[t] = (relative + 2.0 * noise) * kit_get(p->priority, WANT, t);
    }
}

/* Rows 0 and 1 are full of ties; row 2 would overflow an exponential that is not relative to the
 * largest. */
static void add_logits(routing *p)
{
    p->logits = kit_real(&p->kit, "logits", p->T * p->E, VLMOE_F32, 4.0);
    for (int64_t i = 0; p->T > 2 && i < 2 * p->E; i++)
        kit_set(p->logits, i, (double)(i * 7 / 3 % 2));
    for (int64_t i = 2 * p->E; p->T > 2 && i < 3 * p->E; i++)
        kit_set(p->logits, i, 500.0 + kit_get(p->logits, WANT, i));
}

TEST(compare_router_select)
{
    static const double sigmas[] = {0.0, 0.125, 1.0};
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int s = 0; s < COUNT_OF(sigmas); s++) {
            routing p;
            begin(&p, "router_select", i);
            p.sigma = sigmas[s];
            add_logits(&p);
            p.noisy = kit_output(&p.kit, "noisy", p.T * p.E, VLMOE_F32, 0);
            p.noisy->is_exact = p.sigma == 0.0;
            p.clean = kit_output(&p.kit, "clean", p.T * p.E, VLMOE_F32, 0);
            p.gates = kit_output(&p.kit, "gates", p.T * p.E, VLMOE_F32, 0);
            p.priority = kit_output(&p.kit, "priority", p.T, VLMOE_F32, 0);
            p.expert = kit_int_output(&p.kit, "expert", p.T * p.K);
            kit_run(&p.kit, call_select, bound_select, &p);
            kit_end(&p.kit);
        }
}

static int call_assign(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    routing *p = arg;
    vlmk_router_assign_args a = {.T = p->T,
                                 .E = p->E,
                                 .K = p->K,
                                 .n_sets = p->n_sets,
                                 .set_offset = at(p->set_offset, side),
                                 .capacity = at(p->capacity, side),
                                 .bpr = p->bpr,
                                 .expert = at(p->expert, side),
                                 .priority = at(p->priority, side),
                                 .slot = at(p->slot, side),
                                 .row_token = at(p->row_token, side),
                                 .expert_offset = at(p->expert_offset, side),
                                 .load = at(p->load, side),
                                 .served = at(p->served, side)};
    return table->router_assign(env, &a);
}

/* K different experts of each token; skewed, so that some overflow and some stay empty. */
static void add_experts(routing *p)
{
    int32_t *expert = malloc((size_t)(p->T * p->K + 1) * sizeof *expert);
    CHECK(expert != NULL);
    for (int64_t t = 0; t < p->T; t++) {
        double u = math_philox_unit(5, (uint64_t)t);
        int64_t first = (int64_t)(u * u * (double)p->E);
        for (int64_t k = 0; k < p->K; k++) expert[t * p->K + k] = (int32_t)((first + k) % p->E);
    }
    p->expert = kit_ints(&p->kit, "expert", p->T * p->K, expert);
    free(expert);
}

/* Four sets, the second empty, the third of one token at most; capacities from none to no limit.
 * Priorities come in tenths: many ties. */
static void run_assign(int i, int bpr, int32_t capacity)
{
    routing p;
    begin(&p, bpr ? "router_assign by priority" : "router_assign by token", i);
    p.bpr = bpr;
    p.n_sets = 4;
    int32_t half = (int32_t)(p.T / 2), next = (int32_t)(half + (p.T > half ? 1 : 0));
    const int32_t offset[] = {0, half, half, next, (int32_t)p.T};
    const int32_t limit[] = {capacity, 0, 1, capacity < 0 ? 3 : capacity + 1};
    p.set_offset = kit_ints(&p.kit, "set_offset", 5, offset);
    p.capacity = kit_ints(&p.kit, "capacity", 4, limit);
    add_experts(&p);
    p.priority = kit_real(&p.kit, "priority", p.T, VLMOE_F32, 1.0);
    for (int64_t t = 0; t < p.T; t++)
        kit_set(p.priority, t, floor(10.0 * kit_get(p.priority, SIZE, t)) / 10.0);
    p.slot = kit_int_output(&p.kit, "slot", p.T * p.K);
    p.row_token = kit_int_output(&p.kit, "row_token", p.T * p.K);
    p.expert_offset = kit_int_output(&p.kit, "expert_offset", p.E + 1);
    p.load = kit_int_output(&p.kit, "load", p.n_sets * p.E);
    p.served = kit_int_output(&p.kit, "served", p.n_sets * p.E);
    kit_run(&p.kit, call_assign, NULL, &p);
    kit_end(&p.kit);
}

TEST(compare_router_assign_is_exact)
{
    static const int32_t capacities[] = {-1, 0, 1, 7, 1000};
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int c = 0; c < COUNT_OF(capacities); c++)
            for (int bpr = 0; bpr < 2; bpr++) run_assign(i, bpr, capacities[c]);
}

static int call_weights(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    routing *p = arg;
    vlmk_router_weights_args a = {.T = p->T,
                                  .E = p->E,
                                  .K = p->K,
                                  .gates = at(p->gates, side),
                                  .expert = at(p->expert, side),
                                  .slot = at(p->slot, side),
                                  .renorm = p->renorm,
                                  .weight = at(p->weight, side)};
    return table->router_weights(env, &a);
}

static int call_weights_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    routing *p = arg;
    vlmk_router_weights_bwd_args a = {.T = p->T,
                                      .E = p->E,
                                      .K = p->K,
                                      .gates = at(p->gates, side),
                                      .expert = at(p->expert, side),
                                      .slot = at(p->slot, side),
                                      .renorm = p->renorm,
                                      .dweight = at(p->dweight, side),
                                      .dlogits = at(p->dlogits, side),
                                      .accumulate = p->accumulate};
    return table->router_weights_bwd(env, &a);
}

/* A sum of K positive gates and a quotient: relative. */
static void bound_weights(void *arg)
{
    routing *p = arg;
    for (int64_t i = 0; i < p->T * p->K; i++)
        kit_error(p->weight)[i] = ((double)p->K + 2.0) * U_F32 * kit_get(p->weight, WANT, i);
}

/* dgate_k = dw_k / S - (sum dw g) / S^2, dlogit_e = g_e (dgate_e - sum_k g_k dgate_k): all terms
 * with their absolute values, sums of K. */
static void bound_weights_bwd(void *arg)
{
    routing *p = arg;
    double n = 2.0 * (double)p->K + 8.0;
    for (int64_t t = 0; t < p->T; t++) {
        double all = 0.0, kept = 0.0, pull = 0.0, mean = 0.0, size[8] = {0};
        const int32_t *expert = (const int32_t *)at(p->expert, WANT) + t * p->K;
        const int32_t *slot = (const int32_t *)at(p->slot, WANT) + t * p->K;
        for (int64_t k = 0; k < p->K; k++) {
            double gate = kit_get(p->gates, WANT, t * p->E + expert[k]);
            all += gate;
            kept += slot[k] < 0 ? 0.0 : gate;
            pull += slot[k] < 0 ? 0.0 : gate * fabs(kit_get(p->dweight, WANT, t * p->K + k));
        }
        double divisor = p->renorm == VLMK_RENORM_BEFORE  ? all
                         : p->renorm == VLMK_RENORM_AFTER ? fmax(kept, 1e-9)
                                                          : 1.0;
        for (int64_t k = 0; k < p->K; k++) {
            double dweight = slot[k] < 0 ? 0.0 : fabs(kit_get(p->dweight, WANT, t * p->K + k));
            size[k] = dweight / divisor +
                      (p->renorm == VLMK_RENORM_NONE ? 0.0 : pull / (divisor * divisor));
            mean += kit_get(p->gates, WANT, t * p->E + expert[k]) * size[k];
        }
        for (int64_t e = 0; e < p->E; e++) {
            double own = 0.0;
            for (int64_t k = 0; k < p->K; k++)
                if (expert[k] == e) own = size[k];
            kit_error(p->dlogits)[t * p->E + e] =
                n * U_F32 * kit_get(p->gates, WANT, t * p->E + e) * (own + mean) +
                (p->accumulate ? 2.0 * U_F32 : 0.0);
        }
    }
}

/* Gates are a softmax of random numbers, rounded; two thirds of the choices are served. */
static void add_gates(routing *p)
{
    p->gates = kit_real(&p->kit, "gates", p->T * p->E, VLMOE_F32, 3.0);
    for (int64_t t = 0; t < p->T; t++) {
        double lse = ref_log_sum_exp((const double *)at(p->gates, WANT) + t * p->E, p->E);
        for (int64_t i = t * p->E; i < (t + 1) * p->E; i++)
            kit_set(p->gates, i, exp(kit_get(p->gates, WANT, i) - lse));
    }
    int32_t slot[400];
    for (int64_t i = 0; i < p->T * p->K; i++) slot[i] = i * 5 % 3 == 1 ? -1 : (int32_t)i;
    add_experts(p);
    p->slot = kit_ints(&p->kit, "slot", p->T * p->K, slot);
}

TEST(compare_router_weights)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int renorm = VLMK_RENORM_NONE; renorm <= VLMK_RENORM_AFTER; renorm++) {
            routing p;
            begin(&p, "router_weights", i);
            p.renorm = renorm;
            add_gates(&p);
            p.weight = kit_output(&p.kit, "weight", p.T * p.K, VLMOE_F32, 0);
            kit_run(&p.kit, call_weights, bound_weights, &p);
            kit_end(&p.kit);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                begin(&p, accumulate ? "router_weights_bwd +=" : "router_weights_bwd", i);
                p.renorm = renorm;
                p.accumulate = accumulate;
                add_gates(&p);
                p.dweight = kit_real(&p.kit, "dweight", p.T * p.K, VLMOE_F32, 1.0);
                p.dlogits =
                    accumulate
                        ? kit_updated(kit_real(&p.kit, "dlogits", p.T * p.E, VLMOE_F32, 1.0), 0)
                        : kit_output(&p.kit, "dlogits", p.T * p.E, VLMOE_F32, 0);
                kit_run(&p.kit, call_weights_bwd, bound_weights_bwd, &p);
                kit_end(&p.kit);
            }
        }
}
