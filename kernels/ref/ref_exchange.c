/* Plans of exchanges of rows between ranks: where each row goes, from how many there are. */
#include "ref.h"

static int64_t run_rows(const vlmk_exchange_plan_args *a, int64_t s, int64_t e)
{
    const int32_t *bound = a->bound + s * (a->E + 1) + e;
    return bound[1] - bound[0];
}

/* Arrival place of the first row of a run: all that arrives before it. */
static int64_t run_arrival(const vlmk_exchange_plan_args *a, int64_t s, int64_t e)
{
    int64_t sum = 0;
    if (a->slots) return (s * a->E + e) * a->slots;
    for (int64_t i = 0; i < s * a->E + e; i++) sum += run_rows(a, i / a->E, i % a->E);
    return sum;
}

int vlmk_ref_exchange_plan(vlmk_env *env, const vlmk_exchange_plan_args *a)
{
    (void)env;
    int64_t row = 0;
    for (int64_t i = 0; i < a->n_expert; i++) a->arrival[i] = -1;
    for (int64_t i = 0; i < a->n_arrival; i++) a->place[i] = -1;
    for (int64_t e = 0; e < a->E; e++) {
        a->expert_offset[e] = (int32_t)row;
        for (int64_t s = 0; s < a->R; s++) {
            a->run_offset[e * a->R + s] = (int32_t)row;
            for (int64_t j = 0; j < run_rows(a, s, e); j++, row++) {
                int64_t from = run_arrival(a, s, e) + j;
                a->arrival[row] = (int32_t)from;
                a->place[from] = (int32_t)row;
            }
        }
    }
    a->expert_offset[a->E] = a->run_offset[a->E * a->R] = (int32_t)row;
    return VLMOE_OK;
}
