/* Our ordered reduction of gradients beside the library's own reduce-scatter, on the same buffers, in turns.
 * usage: mpirun -n R bench_reduce [ELEMENTS [ROUNDS]]
 * Rank 0 prints a line of JSON: medians over rounds of the slowest rank's seconds. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "comm_ranks.h"
#include "context.h"
#include "optim_reduce.h"

enum { COLUMNS = 1024, MOST_ROUNDS = 101 };

typedef struct reduce_bench {
    vlm_comm *comm;
    vlm_ranks ranks;
    vlmoe_context *ctx;
    vlmoe_tensor *param;
    int64_t n;
    float *send, *receive; /* of the library's */
} reduce_bench;

static vlmoe_status open_bench(reduce_bench *b, vlmoe_error *error)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    const vlm_comm_params comm = {.deadline_seconds = 120.0};
    const vlm_param spec = {
        .name = (char *)"w", .role = VLM_ROLE_VECTOR, .trained = true, .lr_scale = 1.0};
    VLM_TRY(vlm_comm_mpi(&comm, &b->comm, error));
    VLM_TRY(vlm_ranks_open(b->comm, vlm_comm_size(b->comm), 0, NULL, &b->ranks, error));
    params.n_threads = 1;
    params.step_bytes = 1 << 20;
    VLM_TRY(vlmoe_context_create(&params, &b->ctx, error));
    vlm_comm_use_device(b->comm, b->ctx->backend, b->ctx->device);
    vlmoe_status st = vlm_ctx_join(b->ctx, &b->ranks);
    if (!st) st = vlm_param_add(b->ctx, &spec, 2, (int64_t[]){b->n / COLUMNS, COLUMNS}, &b->param);
    if (!st) st = vlm_ctx_build(b->ctx);
    if (st) return vlm_fail(error, st, "%s", vlmoe_context_error(b->ctx));
    b->send = malloc((size_t)b->n * sizeof *b->send);
    b->receive = malloc((size_t)b->n * sizeof *b->receive);
    return b->send && b->receive ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "no memory");
}

static void fill(float *to, int64_t n, int rank)
{
    for (int64_t i = 0; i < n; i++) to[i] = (float)(i % 1000 + rank);
}

/* Of the slowest rank. */
static double slowest(double seconds)
{
    double most = seconds;
    MPI_Allreduce(&seconds, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
}

static vlmoe_status time_ours(reduce_bench *b, double *seconds, vlmoe_error *error)
{
    VLM_TRY(vlmoe_grad_zero(b->ctx));
    fill(b->param->param->grad, b->n, b->ranks.rank);
    MPI_Barrier(MPI_COMM_WORLD);
    double begin = vlm_now();
    vlmoe_status st = vlm_reduce_micro_step(b->ctx);
    *seconds = slowest(vlm_now() - begin);
    return st ? vlm_fail(error, st, "%s", vlmoe_context_error(b->ctx)) : VLMOE_OK;
}

static void time_library(reduce_bench *b, double *seconds)
{
    fill(b->send, b->n, b->ranks.rank);
    MPI_Barrier(MPI_COMM_WORLD);
    double begin = vlm_now();
    MPI_Reduce_scatter_block(b->send, b->receive, (int)(b->n / b->ranks.size), MPI_FLOAT, MPI_SUM,
                             MPI_COMM_WORLD);
    *seconds = slowest(vlm_now() - begin);
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static vlmoe_status run(reduce_bench *b, int rounds, vlmoe_error *error)
{
    double ours[MOST_ROUNDS], library[MOST_ROUNDS];
    for (int i = -1; i < rounds; i++) { /* the first touches memory */
        double own = 0.0, its = 0.0;
        VLM_TRY(time_ours(b, &own, error));
        time_library(b, &its);
        if (i >= 0) ours[i] = own, library[i] = its;
    }
    qsort(ours, (size_t)rounds, sizeof *ours, by_value);
    qsort(library, (size_t)rounds, sizeof *library, by_value);
    if (!b->ranks.rank)
        printf("{\"ranks\": %d, \"elements\": %lld, \"ordered\": %.6f, \"library\": %.6f}\n",
               b->ranks.size, (long long)b->n, ours[rounds / 2], library[rounds / 2]);
    return VLMOE_OK;
}

int main(int argc, char **argv)
{
    reduce_bench b = {.n = argc > 1 ? strtoll(argv[1], NULL, 10) / COLUMNS * COLUMNS : 1 << 24};
    int rounds = argc > 2 ? atoi(argv[2]) : 11;
    vlmoe_error error = {VLMOE_OK, ""};
    vlmoe_status st = rounds < 1 || rounds > MOST_ROUNDS || b.n < COLUMNS
                          ? vlm_fail(&error, VLMOE_E_ARG, "1 to %d rounds of at least %d elements",
                                     MOST_ROUNDS, COLUMNS)
                          : open_bench(&b, &error);
    if (!st) st = run(&b, rounds, &error);
    if (st) fprintf(stderr, "bench_reduce: %s\n", error.text);
    vlmoe_context_destroy(b.ctx);
    vlm_ranks_close(&b.ranks);
    vlm_comm_destroy(b.comm);
    vlm_comm_mpi_end();
    free(b.send);
    free(b.receive);
    return st != VLMOE_OK;
}
