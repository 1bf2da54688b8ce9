/* Exchanges made of messages between pairs of ranks, for kinds whose ranks can send each other small things unasked (threads, mpi).
 *
 * A rank has one desk, which its communicators share: open calls, mail that came before its call, and the failure, if there was one.
 * Before each block goes its head: call, place, size. Heads are what lets a rank see that calls do not match, and say who sent what;
 * small blocks travel inside. Nothing is sent for blocks of no bytes. A failure that a rank finds is told to all ranks at once, so that
 * one rank's deadline is everybody's, and with the same words. Before a rank gives up on others it asks them: who waits too, and answers,
 * is not to blame. A link moves heads and blocks: vlm_link_ops. */
#ifndef VLM_COMM_DESK_H
#define VLM_COMM_DESK_H

#include "comm_internal.h"

enum { VLM_MAIL_WHAT = 96, VLM_MAIL_SMALL = 1920 }; /* with its head, a small block stays below the 4 KiB that MPI sends unasked */

typedef enum vlm_mail_kind {
    VLM_MAIL_BLOCK,
    VLM_MAIL_FAILED,  /* the sender found a failure: status in number, text inside */
    VLM_MAIL_GAVE_UP, /* the sender was told to give up: likewise */
    VLM_MAIL_LEFT,    /* the sender's last communicator is destroyed; nothing follows */
    VLM_MAIL_ASK,     /* the sender's deadline has passed: are you alive? */
    VLM_MAIL_ANSWER   /* text: what the sender is at */
} vlm_mail_kind;

typedef struct vlm_mail_head { /* 128 bytes, as they travel between processes */
    uint64_t context;          /* communicator */
    int64_t number;            /* call of that communicator */
    uint64_t bytes;
    int32_t kind;
    int32_t tag; /* the link's own */
    char what[VLM_MAIL_WHAT];
} vlm_mail_head;

typedef struct vlm_mail { /* made by the link, the first member of its own struct */
    struct vlm_mail *next;
    int from; /* ranks of mail are those of the first communicator */
    vlm_mail_head head;
    const char *text; /* FAILED, GAVE_UP, ANSWER */
} vlm_mail;

/* What a call has with one other rank. Both flags fall by vlm_call_sent and vlm_call_received. */
typedef struct vlm_call_peer {
    int rank; /* in the first communicator */
    const char *send;
    char *recv;
    size_t send_bytes, recv_bytes;
    bool is_awaited;   /* its head has not come */
    bool is_receiving; /* its block is not here */
    bool is_sending;   /* our block has not been taken */
    void *sent, *received; /* the link's own; NULL at first */
} vlm_call_peer;

typedef struct vlm_post vlm_post;
typedef struct vlm_call {
    struct vlm_call *next;
    vlm_post *post;
    int64_t number;
    char what[VLM_MAIL_WHAT];
    int n_open; /* flags that are still up */
    void *device_recv; /* where staged blocks go; NULL: nothing is staged */
    char *staged_send, *staged_recv;
    size_t send_base, recv_base; /* places of the first staged bytes */
    vlm_call_peer peers[]; /* by rank of the communicator; nothing at its own */
} vlm_call;

typedef struct vlm_desk vlm_desk;
typedef struct vlm_link_ops {
    /* data of up to VLM_MAIL_SMALL bytes is read before send returns, and peer is sent; longer data when the other asks for it. peer NULL:
     * a notice. */
    vlmoe_status (*send)(vlm_desk *desk, int to, const vlm_mail_head *head, const char *data, vlm_call *call, vlm_call_peer *peer, vlmoe_error *error);
    /* Hands mail that came to vlm_desk_mail, and lowers flags. Where nothing came, waits for it, at most `seconds`. */
    vlmoe_status (*progress)(vlm_desk *desk, double seconds, vlmoe_error *error);
    /* The block of this mail into peer->recv, at once or later. Takes the mail. */
    vlmoe_status (*receive)(vlm_desk *desk, vlm_mail *mail, vlm_call *call, vlm_call_peer *peer, vlmoe_error *error);
    void (*drop)(vlm_desk *desk, vlm_mail *mail);
    /* After a failure: the call's buffers are not touched any more. */
    void (*withdraw)(vlm_desk *desk, vlm_call *call);
    void (*close)(vlm_desk *desk); /* frees the desk; waits for nobody */
} vlm_link_ops;

enum { VLM_MAIL_WORDS = 224 };
typedef struct vlm_desk_peer {
    bool has_left;
    char words[VLM_MAIL_WORDS]; /* its answer; empty: none */
} vlm_desk_peer;

struct vlm_desk { /* the first member of the link's own struct */
    const vlm_link_ops *link;
    int rank, size;
    vlm_post *posts; /* communicators of this rank */
    uint32_t n_contexts;
    vlm_call *calls;  /* open, oldest first */
    vlm_mail *early, *last_early; /* mail whose call has not begun, in the order it came */
    const vlm_call *waiting; /* the call that this rank waits for now; NULL: it is about something else */
    vlm_desk_peer *peers;    /* [size] */
    vlmoe_error failure; /* the first; status OK: none */
    vlm_log log;
};

/* The first communicator of a desk. After a failure the caller frees the desk itself, else it goes with its last communicator.
 * Errors: NOMEM. */
vlmoe_status vlm_desk_open(vlm_desk *desk, const vlm_link_ops *link, const vlm_comm_ops *ops, int rank, int size, const vlm_comm_params *params,
                           vlm_comm **out, vlmoe_error *error);
int vlm_call_size(const vlm_call *call); /* peers */
/* For links. mail becomes the desk's. */
void vlm_desk_mail(vlm_desk *desk, vlm_mail *mail);
void vlm_call_sent(vlm_call *call, vlm_call_peer *peer);
void vlm_call_received(vlm_call *call, vlm_call_peer *peer);

/* What kinds over desks put into their vlm_comm_ops. */
vlmoe_status vlm_post_split(vlm_comm *comm, int colour, int key, const char *what, vlm_comm **out, vlmoe_error *error);
vlmoe_status vlm_post_start(vlm_comm *comm, const vlm_comm_exchange *exchange, int64_t number, vlmoe_error *error);
vlmoe_status vlm_post_wait(vlm_comm *comm, int64_t number, vlmoe_error *error);
void vlm_post_poll(vlm_comm *comm);
void vlm_post_abort(vlm_comm *comm, vlmoe_status status, const char *reason);
void vlm_post_destroy(vlm_comm *comm);
#define VLM_POST_OPS(name)                                                                                                    \
    {                                                                                                                         \
        .kind = (name), .split = vlm_post_split, .start = vlm_post_start, .wait = vlm_post_wait, .poll = vlm_post_poll, \
        .abort = vlm_post_abort, .destroy = vlm_post_destroy                                                                 \
    }

#endif
