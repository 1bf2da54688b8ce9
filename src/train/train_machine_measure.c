/* Rates of the machine that this process runs on: two blocks of the config's model under a profile, and messages between two ranks. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base_threads.h"
#include "train_machine.h"
#include "train_work.h"

enum { ROUNDS = 3, LARGE_BYTES = 16 << 20, N_LARGE = 8, N_SMALL = 200, BLOCKS = 2 };

/* ---- rates of work ---- */

/* The config with two blocks, the second sparse where any was; widths, group and vocabulary as they are. */
static vlmoe_config shrink(const vlmoe_config *config, int64_t last_block[1])
{
    vlmoe_config c = *config; /* texts stay the caller's */
    c.model.layers = VLM_MIN(config->model.layers, BLOCKS);
    last_block[0] = c.model.layers - 1;
    c.model.vl_from = VLM_MIN(config->model.vl_from, c.model.layers);
    c.moe.v_layers = (vlm_ints){VLM_MIN(config->moe.v_layers.n, 1), last_block};
    c.moe.t_layers = (vlm_ints){VLM_MIN(config->moe.t_layers.n, 1), last_block};
    c.run.recompute = false;
    c.run.recompute_blocks = 0;
    c.run.groups = 1;
    return c;
}

static double giga_rate(const vlm_work *work, int kind)
{
    return work->seconds[kind] > 0.0 ? work->amount[kind] / work->seconds[kind] * 1e-9 : 0.0;
}

static vlmoe_status measure_work(const vlmoe_config *config, int64_t n_words, vlm_machine *m,
                                 vlmoe_error *error)
{
    static const char *const types[] = {"f32", "bf16"};
    int64_t last_block[1];
    vlmoe_config c = shrink(config, last_block);
    for (int type = 0; type < 2; type++) {
        char dtype[8];
        vlm_group_work work = {0};
        snprintf(dtype, sizeof dtype, "%s", types[type]);
        c.run.dtype = dtype;
        VLM_TRY(vlm_group_work_record("cpu", &c, n_words, ROUNDS, &work, error));
        m->product_gflops[type] = giga_rate(&work.group, VLM_WORK_PRODUCTS);
        m->attention_gflops[type] = giga_rate(&work.group, VLM_WORK_ATTENTION);
        if (!strcmp(config->run.dtype, types[type]))
            m->memory_gbytes = giga_rate(&work.group, VLM_WORK_MEMORY);
        vlm_group_work_free(&work);
    }
    return VLMOE_OK;
}

/* ---- the link ---- */

/* Ranks 0 and 1 of comm send each other `bytes`, n times; the others only keep step. */
static vlmoe_status ping(vlm_comm *comm, size_t bytes, int n, char *memory, double *seconds,
                         vlmoe_error *error)
{
    enum { MOST = 4096 };
    size_t sizes[MOST] = {0}, at[MOST] = {0};
    int rank = vlm_comm_rank(comm), size = vlm_comm_size(comm);
    if (size > MOST)
        return vlm_fail(error, VLMOE_E_UNSUPPORTED, "a link is measured among at most %d ranks",
                        MOST);
    if (rank < 2) sizes[1 - rank] = bytes;
    const vlm_comm_exchange exchange = {.what = "calibration",
                                        .is_host = true,
                                        .send = memory,
                                        .send_bytes = sizes,
                                        .send_at = at,
                                        .recv = memory + bytes,
                                        .recv_bytes = sizes,
                                        .recv_at = at};
    double begin = vlm_now();
    for (int i = 0; i < n; i++) VLM_TRY(vlm_comm_run(comm, &exchange, error));
    *seconds = (vlm_now() - begin) / n;
    return VLMOE_OK;
}

static vlmoe_status measure_link(vlm_comm *comm, vlm_link *out, vlmoe_error *error)
{
    double large = 0.0, small = 0.0;
    char *memory = vlm_alloc(2 * (size_t)LARGE_BYTES);
    if (!memory) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to measure a link");
    vlmoe_status st = ping(comm, 8, N_SMALL, memory, &small, error);
    if (!st) st = ping(comm, LARGE_BYTES, 1, memory, &large, error); /* touches memory */
    if (!st) st = ping(comm, LARGE_BYTES, N_LARGE, memory, &large, error);
    vlm_free(memory);
    *out = (vlm_link){.gbytes = LARGE_BYTES / fmax(large - small, 1e-9) * 1e-9,
                      .microseconds = small * 1e6};
    return st;
}

typedef struct thread_rank {
    vlm_comm_hub *hub;
    vlm_link link;
    vlmoe_error error;
    vlmoe_status status;
    int rank;
} thread_rank;

static void run_thread(void *ranks, int p)
{
    thread_rank *r = (thread_rank *)ranks + p;
    vlm_comm *comm = NULL;
    const vlm_comm_params params = {.deadline_seconds = 60.0};
    r->status = vlm_comm_threads(r->hub, r->rank, &params, &comm, &r->error);
    if (!r->status) r->status = measure_link(comm, &r->link, &r->error);
    vlm_comm_destroy(comm);
}

static vlmoe_status measure_threads(vlm_link *out, vlmoe_error *error)
{
    thread_rank rank[2] = {{.rank = 0}, {.rank = 1}};
    vlm_comm_hub *hub = NULL;
    VLM_TRY(vlm_comm_hub_create(2, &hub, error));
    rank[0].hub = rank[1].hub = hub;
    vlmoe_status st = vlm_threads_run(2, run_thread, rank, error);
    vlm_comm_hub_destroy(hub);
    if (st) return st;
    if (rank[0].status) return vlm_fail(error, rank[0].status, "%s", rank[0].error.text);
    *out = rank[0].link;
    return VLMOE_OK;
}

/* ---- all ---- */

/* Ranks of one node at the same time: the node's rates are their sum. */
static vlmoe_status add_ranks(vlm_comm *comm, vlm_machine *m, vlmoe_error *error)
{
    double mine[] = {m->product_gflops[0], m->product_gflops[1], m->attention_gflops[0],
                     m->attention_gflops[1], m->memory_gbytes};
    double *to[] = {&m->product_gflops[0], &m->product_gflops[1], &m->attention_gflops[0],
                    &m->attention_gflops[1], &m->memory_gbytes};
    int size = vlm_comm_size(comm);
    double *all = vlm_alloc((size_t)size * sizeof mine);
    if (!all) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the ranks' rates");
    vlmoe_status st = vlm_comm_share(comm, "calibration: rates", mine, sizeof mine, all, error);
    for (int i = 0; i < VLM_COUNT(mine) && !st; i++) {
        *to[i] = 0.0;
        for (int r = 0; r < size; r++) *to[i] += all[r * VLM_COUNT(mine) + i];
    }
    vlm_free(all);
    return st;
}

vlmoe_status vlm_machine_measure(const vlmoe_config *config, int64_t n_words, vlm_comm *comm,
                                 vlm_machine *out, vlmoe_error *error)
{
    bool has_ranks = comm && vlm_comm_size(comm) > 1;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    vlm_machine m = {.ranks_per_node = sysconf(_SC_NPROCESSORS_ONLN), .shares_node = true};
    m.memory_mib = (double)pages * (double)page / 1048576.0;
    char host[48] = "";
    gethostname(host, sizeof host - 1);
    snprintf(m.name, sizeof m.name, "%s, measured", host);
    VLM_TRY(measure_work(config, n_words, &m, error));
    if (has_ranks) VLM_TRY(add_ranks(comm, &m, error));
    VLM_TRY(has_ranks ? measure_link(comm, &m.node, error) : measure_threads(&m.node, error));
    m.network = m.node; /* one node was seen */
    *out = m;
    return VLMOE_OK;
}
