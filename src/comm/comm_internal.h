/* What stands between comm.h and a kind of communicator. comm.c checks arguments, counts, and makes every collective of exchanges;
 * a kind does what vlm_comm_ops says. */
#ifndef VLM_COMM_INTERNAL_H
#define VLM_COMM_INTERNAL_H

#include "comm.h"

typedef struct vlm_comm_ops {
    const char *kind;
    /* As vlm_comm_split. */
    vlmoe_status (*split)(vlm_comm *comm, int colour, int key, const char *what, vlm_comm **out, vlmoe_error *error);
    /* number: of this call, from 0, the same on all ranks of comm. */
    vlmoe_status (*start)(vlm_comm *comm, const vlm_comm_exchange *exchange, int64_t number, vlmoe_error *error);
    vlmoe_status (*wait)(vlm_comm *comm, int64_t number, vlmoe_error *error);
    void (*poll)(vlm_comm *comm);
    void (*abort)(vlm_comm *comm, vlmoe_status status, const char *reason);
    void (*destroy)(vlm_comm *comm);
} vlm_comm_ops;

struct vlm_comm {
    const vlm_comm_ops *ops;
    int rank, size;
    const vlm_backend *backend;
    vlm_device *device;
    double deadline_seconds; /* <= 0: for ever */
    vlm_log log;
    int64_t next_number;
    vlm_comm_counts counts;
    char last[96]; /* what the last exchange was for */
    size_t *sizes; /* [4 * size] for collectives made of exchanges: send_bytes, send_at, recv_bytes, recv_at */
};

/* The shared part, filled. Errors: NOMEM. */
vlmoe_status vlm_comm_init(vlm_comm *comm, const vlm_comm_ops *ops, int rank, int size, const vlm_comm_params *params, vlmoe_error *error);
void vlm_comm_fini(vlm_comm *comm);

#endif
