/* Exchanges between buffers of devices: read and written in place where the host can, else staged. */
#include "harness.h"
#include <stdio.h>
#include <string.h>
#include "backend.h"
#include "base_threads.h"
#include "cases.h"

enum { RANKS = 3, BLOCK = 5000, ROOM = RANKS * (BLOCK + 8) };

typedef struct rank_thread {
    vlm_comm_hub *hub;
    const vlm_backend *backend;
    int rank;
    vlmoe_error error;
    char got[ROOM]; /* the device's receive buffer at the end */
} rank_thread;

/* Rank r sends q its bytes from place q on, so blocks overlap; what comes from q lies behind 8 bytes that nobody may write. */
static vlmoe_status exchange(rank_thread *t, vlm_comm *comm, vlm_device *device, vlmoe_error *error)
{
    char host[BLOCK + RANKS];
    case_blocks b;
    void *send, *recv;
    for (size_t i = 0; i < sizeof host; i++) host[i] = (char)(t->rank * 50 + (int)(i % 47));
    VLM_TRY(t->backend->alloc(device, VLM_MEMORY_DEVICE, sizeof host, &send, error));
    VLM_TRY(t->backend->alloc(device, VLM_MEMORY_DEVICE, ROOM, &recv, error));
    VLM_TRY(t->backend->upload(device, send, host, sizeof host));
    for (int q = 0; q < RANKS; q++) {
        b.send_bytes[q] = b.recv_bytes[q] = BLOCK;
        b.send_at[q] = (size_t)q;
        b.recv_at[q] = (size_t)q * (BLOCK + 8) + 8;
    }
    vlm_comm_exchange x = case_exchange("case: device to device", &b, send, recv);
    x.is_host = false;
    VLM_TRY(vlm_comm_run(comm, &x, error));
    VLM_TRY(vlm_comm_broadcast(comm, "case: broadcast", 1, false, recv, 8,
                               error)); /* zeros into zeros: no buffer to send here */
    VLM_TRY(t->backend->download(device, t->got, recv, ROOM));
    t->backend->release(device, send);
    t->backend->release(device, recv);
    return VLMOE_OK;
}

static void run_rank(void *ranks, int i)
{
    rank_thread *t = (rank_thread *)ranks + i;
    vlm_device *device = NULL;
    const vlm_device_params device_params = {.n_threads = 1};
    if (t->backend->open(&device_params, &device, &t->error)) return;
    const vlm_comm_params params = {
        .backend = t->backend, .device = device, .deadline_seconds = 20};
    vlm_comm *comm = NULL;
    if (!vlm_comm_threads(t->hub, t->rank, &params, &comm, &t->error)) {
        const vlmoe_status st = exchange(t, comm, device, &t->error);
        if (st) vlm_fail(&t->error, st, "the device said no");
    }
    vlm_comm_destroy(comm);
    t->backend->close(device);
}

static void check_got(const rank_thread *t)
{
    CHECK_TEXT(t->error.text, "");
    for (int q = 0; q < RANKS; q++) {
        const char *block = t->got + (size_t)q * (BLOCK + 8);
        for (int i = 0; i < 8; i++) CHECK_INT(block[i], 0);
        for (int i = 0; i < BLOCK; i++)
            CHECK_INT(block[8 + i], (char)(q * 50 + (i + t->rank) % 47));
    }
}

static void run_ranks(const vlm_backend *backend)
{
    static rank_thread ranks[RANKS];
    vlm_comm_hub *hub = NULL;
    memset(ranks, 0, sizeof ranks);
    CHECK_STATUS(vlm_comm_hub_create(RANKS, &hub, NULL), VLMOE_OK);
    for (int i = 0; i < RANKS; i++) {
        ranks[i].hub = hub;
        ranks[i].backend = backend;
        ranks[i].rank = i;
    }
    CHECK_STATUS(vlm_threads_run(RANKS, run_rank, ranks, NULL), VLMOE_OK);
    vlm_comm_hub_destroy(hub);
    for (int i = 0; i < RANKS; i++) check_got(&ranks[i]);
}

TEST(host_memory_is_used_in_place)
{
    CHECK(vlm_backend_find("cpu")->is_host);
    run_ranks(vlm_backend_find("cpu"));
}

TEST(other_memory_is_staged)
{
    vlm_backend far = *vlm_backend_find("cpu");
    far.is_host = false;
    run_ranks(&far);
}
