/* Communicators: R ranks that make the same calls in the same order. A communicator moves bytes and never adds, so the order of
 * every sum is its caller's (optim_reduce.h). Kinds: self (one rank), threads (ranks are threads of one process), mpi; nccl would be
 * another row of vlm_comm_ops. A communicator, with all that were split from it, is used by one thread at a time. */
#ifndef VLM_COMM_H
#define VLM_COMM_H

#include "backend.h"
#include "base.h"

typedef struct vlm_comm vlm_comm;

typedef struct vlm_comm_params {
    const vlm_backend *backend; /* of device buffers; NULL: host buffers only */
    vlm_device *device;
    double deadline_seconds;    /* longest wait for a peer in one call; <= 0: for ever */
    const vlm_log *log;         /* NULL: none */
} vlm_comm_params;

/* One rank, nobody to wait for.  Errors: NOMEM. */
vlmoe_status vlm_comm_self(const vlm_comm_params *params, vlm_comm **out, vlmoe_error *error);

/* Ranks as threads of this process: a hub made once, outliving its communicators, then one communicator a thread.
 * Errors: ARG (n < 1, rank), STATE (rank taken), NOMEM. */
typedef struct vlm_comm_hub vlm_comm_hub;
vlmoe_status vlm_comm_hub_create(int n, vlm_comm_hub **out, vlmoe_error *error);
void vlm_comm_hub_destroy(vlm_comm_hub *hub); /* NULL allowed */
vlmoe_status vlm_comm_threads(vlm_comm_hub *hub, int rank, const vlm_comm_params *params, vlm_comm **out, vlmoe_error *error);

/* Ranks as processes. Begins MPI when nobody has; vlm_comm_mpi_end ends it then, after all communicators are gone (and leaves it after a
 * failure, or when not all ranks come to end it within the deadline, since ending waits for the dead). is_launched: this process was started by a launcher of MPI (no MPI call is made), and how many
 * ranks it says there are; 0: it does not say.
 * Errors: UNSUPPORTED (built without MPI), COMM. */
bool vlm_comm_mpi_is_launched(int *n_ranks);
vlmoe_status vlm_comm_mpi(const vlm_comm_params *params, vlm_comm **out, vlmoe_error *error);
void vlm_comm_mpi_end(void);

void vlm_comm_destroy(vlm_comm *comm); /* never waits for anybody; NULL allowed */
int vlm_comm_rank(const vlm_comm *comm);
int vlm_comm_size(const vlm_comm *comm);
const char *vlm_comm_kind(const vlm_comm *comm); /* "self", "threads", "mpi" */

/* Where device buffers of later exchanges lie, and those of communicators split off later; NULL: host buffers only. */
void vlm_comm_use_device(vlm_comm *comm, const vlm_backend *backend, vlm_device *device);
/* What the last exchange that was started here was for; "nothing yet". For messages; valid until the next. */
const char *vlm_comm_last(const vlm_comm *comm);

/* Collective: ranks of one colour (any number) become a communicator of their own, ordered by (key, rank here). Its failure text gives ranks by
 * their number in the first communicator ("rank 5"), as everything about ranks that a person reads does.  Errors: as below. */
vlmoe_status vlm_comm_split(vlm_comm *comm, int colour, int key, const char *what, vlm_comm **out, vlmoe_error *error);

/* The one collective: bytes of every rank to every rank. Peer p gets send_bytes[p] bytes from send + send_at[p] (blocks may overlap or be
 * the same) and gives recv_bytes[p] bytes into recv + recv_at[p]; zero is allowed anywhere, also for pointers then. What a rank sends to
 * itself is copied. Arrays [size] are read before start returns; buffers must stay until wait.
 * what: place and purpose, for messages ("blocks.3.ffn_v: rows to experts"); it must be the same on all ranks.
 * Blocks of no bytes are not sent, so an exchange waits only for ranks that it brings bytes from, or whose buffers take ours.
 * Errors, from start or wait, after which the communicator (and those it was split from or into) only returns errors, buffers of open
 * tickets are the caller's again, and all other ranks are told ("rank 1 found: ..."):
 *   TIMEOUT  the deadline passed, and a second in which ranks that wait themselves may say so; names what, the seconds and the ranks whose
 *            data is missing and who did not answer
 *   COMM     a peer gave up (its rank and its reason) or left, calls do not match (what here and there, where it can be told), or the
 *            transport failed
 *   DEVICE, NOMEM  of this rank; the others get the same status
 * ARG: the arguments are wrong; nothing has happened. */
typedef enum vlm_comm_purpose { VLM_COMM_OTHER, VLM_COMM_ROWS, VLM_COMM_GRADIENTS, VLM_COMM_VALUES, VLM_COMM_N_PURPOSES } vlm_comm_purpose;
typedef struct vlm_comm_exchange {
    const char *what;
    vlm_comm_purpose purpose; /* for counters */
    bool is_host; /* buffers are host memory, else memory of the device */
    const void *send;
    const size_t *send_bytes, *send_at; /* [size] */
    void *recv;
    const size_t *recv_bytes, *recv_at; /* [size] */
} vlm_comm_exchange;
typedef struct vlm_comm_ticket { int64_t number; } vlm_comm_ticket;
vlmoe_status vlm_comm_start(vlm_comm *comm, const vlm_comm_exchange *exchange, vlm_comm_ticket *out, vlmoe_error *error);
vlmoe_status vlm_comm_wait(vlm_comm *comm, vlm_comm_ticket ticket, vlmoe_error *error); /* tickets may be waited for in any order, each once */
void vlm_comm_poll(vlm_comm *comm); /* lets started exchanges progress */

/* start and wait. */
vlmoe_status vlm_comm_run(vlm_comm *comm, const vlm_comm_exchange *exchange, vlmoe_error *error);
/* Host blocks of equal size from every rank to every rank: out [size * bytes], by rank. For small things: counts, statuses, hashes. */
vlmoe_status vlm_comm_share(vlm_comm *comm, const char *what, const void *mine, size_t bytes, void *out, vlmoe_error *error);
/* Host blocks of any size: *out (caller frees with vlm_free) all blocks by rank, one after the other; block p begins at at[p], [size + 1]. */
vlmoe_status vlm_comm_share_blocks(vlm_comm *comm, const char *what, const void *mine, size_t bytes, char **out, size_t *at, vlmoe_error *error);
vlmoe_status vlm_comm_broadcast(vlm_comm *comm, const char *what, int root, bool is_host, void *block, size_t bytes, vlmoe_error *error);
/* What this rank has come to becomes what all have: if any rank's status is a failure, the first such rank's is everybody's, and its text
 * in *error is "rank 2: ...". COMM and TIMEOUT are known to all already, and returned without a call. comm NULL: status. */
vlmoe_status vlm_comm_agree(vlm_comm *comm, const char *what, vlmoe_status status, vlmoe_error *error);
vlmoe_status vlm_comm_barrier(vlm_comm *comm, const char *what, vlmoe_error *error);

/* This rank gives up: peers' present and later calls fail with this rank's number and reason. May be called at any time, twice too (the
 * first reason stays), never waits. */
void vlm_comm_abort(vlm_comm *comm, vlmoe_status status, const char *reason);

/* Since creation; what stays on a rank is not counted. */
typedef struct vlm_comm_counts {
    int64_t calls;
    uint64_t sent_bytes, received_bytes;
    uint64_t sent_for[VLM_COMM_N_PURPOSES]; /* sent_bytes by purpose */
    double wait_seconds; /* in wait */
} vlm_comm_counts;
vlm_comm_counts vlm_comm_counted(const vlm_comm *comm);

#endif
