/* The schedule of data_mix.h. Not here: where samples lie (data_shard.h), what becomes of them
 * (data_group.c). */
#include <math.h>
#include "base_rng.h"
#include "data_mix.h"

__extension__ typedef unsigned __int128 wide; /* products of a draw's number and a weight */

enum { WEIGHT_SUM = 720720, SETS_MAX = 1024 };

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void reduce(vlm_mix *mix)
{
    int64_t common = 0;
    for (int64_t i = 0; i < mix->n_sets; i++)
        common = greatest_divisor(mix->sets[i].weight, common);
    for (int64_t i = 0; i < mix->n_sets; i++) mix->sets[i].weight /= common;
}

/* Whole weights with the sum WEIGHT_SUM: floors first, then one more for the largest remainders,
 * ties to the lower set. */
static void apportion(vlm_mix *mix, const double *weights, double sum)
{
    int64_t given = 0;
    for (int64_t i = 0; i < mix->n_sets; i++) {
        double exact = WEIGHT_SUM * (weights[i] / sum);
        mix->sets[i].weight = weights[i] > 0.0 ? VLM_MAX(1, (int64_t)floor(exact)) : 0;
        given += mix->sets[i].weight;
    }
    for (; given < WEIGHT_SUM; given++) {
        int64_t best = 0;
        double best_rest = -INFINITY;
        for (int64_t i = 0; i < mix->n_sets; i++) {
            double rest = WEIGHT_SUM * (weights[i] / sum) - (double)mix->sets[i].weight;
            if (weights[i] > 0.0 && rest > best_rest) {
                best = i;
                best_rest = rest;
            }
        }
        mix->sets[best].weight++;
    }
}

static vlmoe_status weigh(vlm_mix *mix, const double *weights, const char *name, vlmoe_error *error)
{
    double sum = 0.0;
    for (int64_t i = 0; i < mix->n_sets; i++)
        sum += weights ? weights[i] : (double)mix->sets[i].size;
    if (!(sum > 0.0) || !isfinite(sum))
        return vlm_fail(error, VLMOE_E_ARG,
                        weights ? "%s_mix: no weight is above 0" : "%s: the sets hold no samples",
                        name);
    for (int64_t i = 0; i < mix->n_sets; i++)
        if (mix->sets[i].size == 0 && (!weights || weights[i] > 0.0))
            return vlm_fail(error, VLMOE_E_ARG, "%s: set %lld of %lld holds no samples", name,
                            (long long)i + 1, (long long)mix->n_sets);
    if (weights) apportion(mix, weights, sum);
    else
        for (int64_t i = 0; i < mix->n_sets; i++) mix->sets[i].weight = mix->sets[i].size;
    reduce(mix);
    return VLMOE_OK;
}

vlmoe_status vlm_mix_init(vlm_mix *mix, int64_t n_sets, const int64_t *sizes, const double *weights,
                          const char *name, vlmoe_error *error)
{
    if (n_sets < 1 || n_sets > SETS_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "%s: %lld sets, expected 1 to %d", name,
                        (long long)n_sets, SETS_MAX);
    mix->n_sets = n_sets;
    mix->sets = vlm_alloc_array((size_t)n_sets, sizeof *mix->sets);
    if (!mix->sets)
        return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory for %lld sets", name,
                        (long long)n_sets);
    for (int64_t i = 0; i < n_sets; i++) mix->sets[i].size = sizes[i];
    vlmoe_status status = weigh(mix, weights, name, error);
    if (status) vlm_mix_fini(mix);
    return status;
}

void vlm_mix_fini(vlm_mix *mix)
{
    vlm_free(mix->sets);
    mix->sets = NULL;
    mix->n_sets = 0;
}

/* floor(n part / whole) */
static int64_t share(int64_t n, int64_t part, int64_t whole)
{
    return (int64_t)((wide)(uint64_t)n * (uint64_t)part / (uint64_t)whole);
}

void vlm_mix_draw(const vlm_mix *mix, int64_t n, int64_t *out_set, int64_t *out_sample)
{
    int64_t whole = 0, i = 0;
    for (int64_t j = 0; j < mix->n_sets; j++) whole += mix->sets[j].weight;
    for (; whole > mix->sets[i].weight; i++) { /* until one set has all that is left */
        int64_t before = share(n, mix->sets[i].weight, whole);
        if (share(n + 1, mix->sets[i].weight, whole) > before) {
            n = before;
            break;
        }
        n -= before;
        whole -= mix->sets[i].weight;
    }
    const uint64_t size = (uint64_t)mix->sets[i].size, pass = (uint64_t)n / size;
    uint64_t key = vlm_rng_key(mix->seed, VLM_STREAM_SHUFFLE, (uint64_t)i, pass, mix->stream);
    *out_set = i;
    *out_sample = (int64_t)vlm_rng_permute(key, size, (uint64_t)n % size);
}
