/* What every kind of communicator shares: checks of arguments, counts, and collectives made of the one exchange. */
#include <string.h>
#include "comm_internal.h"

vlmoe_status vlm_comm_init(vlm_comm *comm, const vlm_comm_ops *ops, int rank, int size,
                           const vlm_comm_params *params, vlmoe_error *error)
{
    *comm = (vlm_comm){.ops = ops, .rank = rank, .size = size};
    if (params) {
        comm->backend = params->backend;
        comm->device = params->device;
        comm->deadline_seconds = params->deadline_seconds;
        if (params->log) comm->log = *params->log;
    }
    comm->sizes = vlm_alloc_array(4 * (size_t)size, sizeof *comm->sizes);
    if (!comm->sizes)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a communicator of %d ranks", size);
    return VLMOE_OK;
}

void vlm_comm_fini(vlm_comm *comm)
{
    vlm_free(comm->sizes);
}

void vlm_comm_destroy(vlm_comm *comm)
{
    if (comm) comm->ops->destroy(comm);
}

int vlm_comm_rank(const vlm_comm *comm)
{
    return comm->rank;
}

int vlm_comm_size(const vlm_comm *comm)
{
    return comm->size;
}

const char *vlm_comm_kind(const vlm_comm *comm)
{
    return comm->ops->kind;
}

void vlm_comm_use_device(vlm_comm *comm, const vlm_backend *backend, vlm_device *device)
{
    comm->backend = backend;
    comm->device = device;
}

const char *vlm_comm_last(const vlm_comm *comm)
{
    return comm->last[0] ? comm->last : "nothing yet";
}

vlm_comm_counts vlm_comm_counted(const vlm_comm *comm)
{
    return comm->counts;
}

void vlm_comm_abort(vlm_comm *comm, vlmoe_status status, const char *reason)
{
    comm->ops->abort(comm, status ? status : VLMOE_E_COMM, reason ? reason : "no reason given");
}

void vlm_comm_poll(vlm_comm *comm)
{
    comm->ops->poll(comm);
}

vlmoe_status vlm_comm_split(vlm_comm *comm, int colour, int key, const char *what, vlm_comm **out,
                            vlmoe_error *error)
{
    return comm->ops->split(comm, colour, key, what, out, error);
}

static vlmoe_status check(const vlm_comm *comm, const vlm_comm_exchange *x, vlmoe_error *error)
{
    if (!x->what || !x->what[0])
        return vlm_fail(error, VLMOE_E_ARG, "an exchange needs a name for messages (what)");
    if (!x->send_bytes || !x->send_at || !x->recv_bytes || !x->recv_at)
        return vlm_fail(error, VLMOE_E_ARG, "%s: sizes and places of all ranks' blocks are needed",
                        x->what);
    bool sends = false, receives = false;
    for (int p = 0; p < comm->size; p++) {
        sends |= x->send_bytes[p] > 0;
        receives |= x->recv_bytes[p] > 0;
    }
    if ((sends && !x->send) || (receives && !x->recv))
        return vlm_fail(error, VLMOE_E_ARG, "%s: there are bytes to %s, but no buffer", x->what,
                        sends && !x->send ? "send" : "receive");
    if (x->send_bytes[comm->rank] != x->recv_bytes[comm->rank])
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s: this rank sends itself %zu bytes and expects %zu from itself", x->what,
                        x->send_bytes[comm->rank], x->recv_bytes[comm->rank]);
    if (!x->is_host && !comm->backend)
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s: buffers of a device, but the communicator was made without one",
                        x->what);
    return VLMOE_OK;
}

vlmoe_status vlm_comm_start(vlm_comm *comm, const vlm_comm_exchange *exchange, vlm_comm_ticket *out,
                            vlmoe_error *error)
{
    VLM_TRY(check(comm, exchange, error));
    const int64_t number = comm->next_number++;
    size_t n = VLM_MIN(strlen(exchange->what), sizeof comm->last - 1);
    memcpy(comm->last, exchange->what, n);
    comm->last[n] = 0;
    VLM_TRY(comm->ops->start(comm, exchange, number, error));
    comm->counts.calls++;
    for (int p = 0; p < comm->size; p++) {
        if (p == comm->rank) continue;
        comm->counts.sent_bytes += exchange->send_bytes[p];
        comm->counts.sent_for[exchange->purpose] += exchange->send_bytes[p];
        comm->counts.received_bytes += exchange->recv_bytes[p];
    }
    out->number = number;
    return VLMOE_OK;
}

vlmoe_status vlm_comm_wait(vlm_comm *comm, vlm_comm_ticket ticket, vlmoe_error *error)
{
    const double begin = vlm_now();
    const vlmoe_status st = comm->ops->wait(comm, ticket.number, error);
    comm->counts.wait_seconds += vlm_now() - begin;
    return st;
}

vlmoe_status vlm_comm_run(vlm_comm *comm, const vlm_comm_exchange *exchange, vlmoe_error *error)
{
    vlm_comm_ticket ticket;
    VLM_TRY(vlm_comm_start(comm, exchange, &ticket, error));
    return vlm_comm_wait(comm, ticket, error);
}

/* An exchange over the communicator's own arrays, all zero. */
static vlm_comm_exchange blank(vlm_comm *comm, const char *what, bool is_host)
{
    const size_t n = (size_t)comm->size;
    memset(comm->sizes, 0, 4 * n * sizeof *comm->sizes);
    return (vlm_comm_exchange){.what = what,
                               .is_host = is_host,
                               .send_bytes = comm->sizes,
                               .send_at = comm->sizes + n,
                               .recv_bytes = comm->sizes + 2 * n,
                               .recv_at = comm->sizes + 3 * n};
}

vlmoe_status vlm_comm_share(vlm_comm *comm, const char *what, const void *mine, size_t bytes,
                            void *out, vlmoe_error *error)
{
    vlm_comm_exchange x = blank(comm, what, true);
    size_t *send_bytes = comm->sizes;
    size_t *recv_bytes = send_bytes + 2 * comm->size, *recv_at = send_bytes + 3 * comm->size;
    for (int p = 0; p < comm->size; p++) {
        send_bytes[p] = recv_bytes[p] = bytes;
        recv_at[p] = (size_t)p * bytes;
    }
    x.send = mine;
    x.recv = out;
    return vlm_comm_run(comm, &x, error);
}

vlmoe_status vlm_comm_share_blocks(vlm_comm *comm, const char *what, const void *mine, size_t bytes,
                                   char **out, size_t *at, vlmoe_error *error)
{
    VLM_TRY(vlm_comm_share(comm, what, &bytes, sizeof bytes, at + 1, error));
    at[0] = 0;
    for (int p = 0; p < comm->size; p++) at[p + 1] += at[p];
    char *blocks = vlm_alloc(at[comm->size]);
    if (!blocks)
        return vlm_fail(error, VLMOE_E_NOMEM, "%s: out of memory for %zu bytes from %d ranks", what,
                        at[comm->size], comm->size);

    vlm_comm_exchange x = blank(comm, what, true);
    size_t *send_bytes = comm->sizes;
    size_t *recv_bytes = send_bytes + 2 * comm->size, *recv_at = send_bytes + 3 * comm->size;
    for (int p = 0; p < comm->size; p++) {
        send_bytes[p] = bytes;
        recv_bytes[p] = at[p + 1] - at[p];
        recv_at[p] = at[p];
    }
    x.send = mine;
    x.recv = blocks;
    const vlmoe_status st = vlm_comm_run(comm, &x, error);
    if (st) vlm_free(blocks);
    else *out = blocks;
    return st;
}

vlmoe_status vlm_comm_broadcast(vlm_comm *comm, const char *what, int root, bool is_host,
                                void *block, size_t bytes, vlmoe_error *error)
{
    if (root < 0 || root >= comm->size)
        return vlm_fail(error, VLMOE_E_ARG, "%s: rank %d of %d is to give its block", what, root,
                        comm->size);
    vlm_comm_exchange x = blank(comm, what, is_host);
    size_t *send_bytes = comm->sizes, *recv_bytes = send_bytes + 2 * comm->size;
    if (comm->rank != root) recv_bytes[root] = bytes;
    for (int p = 0; p < comm->size && comm->rank == root; p++)
        if (p != root) send_bytes[p] = bytes;
    x.send = x.recv = block;
    return vlm_comm_run(comm, &x, error);
}

vlmoe_status vlm_comm_barrier(vlm_comm *comm, const char *what, vlmoe_error *error)
{
    char mine = 0, theirs;
    vlm_comm_exchange x = blank(comm, what, true);
    for (int p = 0; p < comm->size; p++) comm->sizes[p] = comm->sizes[2 * comm->size + p] = 1;
    x.send = &mine;
    x.recv = &theirs; /* everybody's byte at the same place: nobody reads it */
    return vlm_comm_run(comm, &x, error);
}
