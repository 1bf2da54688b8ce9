/* How long ranks take to talk: a share of 8 bytes, and an exchange in which every rank sends 16 MB to the others, in equal blocks.
 * Prints the best and the median of rounds as rank 0 sees them.
 * usage: bench_comm threads N [MB] | mpirun -np N bench_comm mpi [MB] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_threads.h"
#include "comm.h"

enum { MAX_RANKS = 64, SHARES = 500, ROUNDS = 15, FEW_ROUNDS = 3 };

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static vlmoe_status time_shares(vlm_comm *comm, double *seconds, vlmoe_error *error)
{
    double all[MAX_RANKS];
    VLM_TRY(vlm_comm_barrier(comm, "bench: begin", error));
    const double began = vlm_now();
    for (int i = 0; i < SHARES; i++)
        VLM_TRY(vlm_comm_share(comm, "bench: share", &began, sizeof began, all, error));
    *seconds = (vlm_now() - began) / SHARES;
    return VLMOE_OK;
}

static vlmoe_status time_exchange(vlm_comm *comm, char *send, char *recv, size_t block,
                                  double *seconds, vlmoe_error *error)
{
    const int size = vlm_comm_size(comm), rank = vlm_comm_rank(comm);
    size_t bytes[MAX_RANKS], at[MAX_RANKS];
    for (int p = 0; p < size; p++) {
        bytes[p] = p == rank ? 0 : block;
        at[p] = (size_t)p * block;
    }
    const vlm_comm_exchange x = {.what = "bench: exchange",
                                 .is_host = true,
                                 .send = send,
                                 .send_bytes = bytes,
                                 .send_at = at,
                                 .recv = recv,
                                 .recv_bytes = bytes,
                                 .recv_at = at};
    VLM_TRY(vlm_comm_barrier(comm, "bench: begin", error));
    const double began = vlm_now();
    VLM_TRY(vlm_comm_run(comm, &x, error));
    *seconds = vlm_now() - began;
    return VLMOE_OK;
}

static vlmoe_status measure(vlm_comm *comm, double mb, vlmoe_error *error)
{
    const int size = vlm_comm_size(comm);
    const int rounds = mb > 100 ? FEW_ROUNDS : ROUNDS;
    const size_t block = size > 1 ? (size_t)(mb * 1e6) / (size_t)(size - 1) : 0;
    char *send = vlm_alloc(block * (size_t)size), *recv = vlm_alloc(block * (size_t)size);
    double share[ROUNDS], exchange[ROUNDS];
    vlmoe_status st = send && recv ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "out of memory");
    if (!st) memset(send, vlm_comm_rank(comm), block * (size_t)size);
    for (int i = 0; i < rounds && !st; i++) st = time_shares(comm, &share[i], error);
    for (int i = 0; i < rounds && !st; i++)
        st = time_exchange(comm, send, recv, block, &exchange[i], error);
    for (int p = 0; p < size && !st && block; p++)
        if (p != vlm_comm_rank(comm) &&
            (recv[(size_t)p * block] != p || recv[(size_t)(p + 1) * block - 1] != p))
            st = vlm_fail(error, VLMOE_E_COMM, "wrong bytes from rank %d", p);
    vlm_free(send);
    vlm_free(recv);
    if (st || vlm_comm_rank(comm)) return st;
    qsort(share, (size_t)rounds, sizeof *share, by_size);
    qsort(exchange, (size_t)rounds, sizeof *exchange, by_size);
    const double sent = (double)block * (size - 1);
    printf("%s, %d ranks: share of 8 bytes %.1f us (best %.1f); %.1f MB from each rank %.2f ms = "
           "%.2f GB/s (best %.2f)\n",
           vlm_comm_kind(comm), size, share[rounds / 2] * 1e6, share[0] * 1e6, sent / 1e6,
           exchange[rounds / 2] * 1e3, sent / exchange[rounds / 2] / 1e9, sent / exchange[0] / 1e9);
    return VLMOE_OK;
}

typedef struct rank_thread {
    vlm_comm_hub *hub;
    int rank;
    double mb;
} rank_thread;

static void run_rank(void *ranks, int i)
{
    const rank_thread *t = (const rank_thread *)ranks + i;
    const vlm_comm_params params = {.deadline_seconds = 60};
    vlm_comm *comm = NULL;
    vlmoe_error error = {0};
    if (vlm_comm_threads(t->hub, t->rank, &params, &comm, &error) || measure(comm, t->mb, &error))
        fprintf(stderr, "rank %d: %s\n", t->rank, error.text);
    vlm_comm_destroy(comm);
}

static int run_threads(int n, double mb)
{
    rank_thread ranks[MAX_RANKS] = {0};
    vlm_comm_hub *hub = NULL;
    if (n < 1 || n > MAX_RANKS || vlm_comm_hub_create(n, &hub, NULL)) return 1;
    for (int i = 0; i < n; i++) ranks[i] = (rank_thread){.hub = hub, .rank = i, .mb = mb};
    const vlmoe_status st = vlm_threads_run(n, run_rank, ranks, NULL);
    vlm_comm_hub_destroy(hub);
    return st != VLMOE_OK;
}

static int run_mpi(double mb)
{
    const vlm_comm_params params = {.deadline_seconds = 60};
    vlm_comm *comm = NULL;
    vlmoe_error error = {0};
    const vlmoe_status st = vlm_comm_mpi(&params, &comm, &error);
    if (st || measure(comm, mb, &error)) fprintf(stderr, "bench_comm: %s\n", error.text);
    vlm_comm_destroy(comm);
    vlm_comm_mpi_end();
    return error.status != VLMOE_OK;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "threads") == 0)
        return run_threads(atoi(argv[2]), argc > 3 ? atof(argv[3]) : 16);
    if (argc > 1 && strcmp(argv[1], "mpi") == 0) return run_mpi(argc > 2 ? atof(argv[2]) : 16);
    fprintf(stderr, "usage: bench_comm threads N [MB] | mpirun -np N bench_comm mpi [MB]\n");
    return 2;
}
