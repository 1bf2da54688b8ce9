/* exchange_plan: offsets first, by one walk over the runs' sizes in each order, then the runs' rows, each
 * run a tile. */
#include "cpu_kernels.h"

typedef struct plan_job {
    const vlmk_exchange_plan_args *a;
    int64_t *arrives; /* [R E + 1] arrival place where each run begins, by (source, expert) */
} plan_job;

static int64_t run_rows(const vlmk_exchange_plan_args *a, int64_t s, int64_t e)
{
    const int32_t *bound = a->bound + s * (a->E + 1) + e;
    return bound[1] - bound[0];
}

/* A run's rows in both orders, and what it leaves of its slots. */
static void run_tile(void *arg, int64_t run, int worker)
{
    const plan_job *job = arg;
    const vlmk_exchange_plan_args *a = job->a;
    int64_t s = run / a->E, e = run % a->E, first = a->run_offset[e * a->R + s],
            rows = run_rows(a, s, e), at = job->arrives[run];
    (void)worker;
    for (int64_t j = 0; j < rows; j++) a->arrival[first + j] = (int32_t)(at + j);
    for (int64_t j = 0; j < rows; j++) a->place[at + j] = (int32_t)(first + j);
    for (int64_t i = at + rows; i < job->arrives[run + 1]; i++) a->place[i] = -1;
}

static void fill(int32_t *to, int64_t first, int64_t end)
{
    for (int64_t i = first; i < end; i++) to[i] = -1;
}

int VLMK_CPU(exchange_plan)(vlmk_env *env, const vlmk_exchange_plan_args *args)
{
    const vlmk_exchange_plan_args *a = args;
    plan_job job = {.a = a};
    job.arrives = env->scratch(env, (size_t)(a->R * a->E + 1) * sizeof *job.arrives);
    if (!job.arrives) return VLMOE_E_NOMEM;
    int64_t at = 0;
    for (int64_t run = 0; run < a->R * a->E; run++) {
        job.arrives[run] = at;
        at += a->slots ? a->slots : run_rows(a, run / a->E, run % a->E);
    }
    job.arrives[a->R * a->E] = at;
    int32_t row = 0;
    for (int64_t e = 0; e < a->E; e++) {
        a->expert_offset[e] = row;
        for (int64_t s = 0; s < a->R; s++) {
            a->run_offset[e * a->R + s] = row;
            row += (int32_t)run_rows(a, s, e);
        }
    }
    a->expert_offset[a->E] = a->run_offset[a->E * a->R] = row;
    vlmk_cpu_parallel(env, run_tile, &job, a->R * a->E);
    fill(a->arrival, row, a->n_expert);
    fill(a->place, at, a->n_arrival);
    return VLMOE_OK;
}
