/* Ranks as processes over MPI; the only file that knows mpi.h. Twin without MPI: none_mpi.c.
 *
 * Mail is one message with a head and, inside, a small block; a receive for it is always posted. A long block follows in messages of its
 * own, under a tag that its head names, and is received straight into its buffer. Only calls that return at once are made, so that
 * every wait obeys the deadline.
 *
 * After a failure nothing here calls MPI's progress again: what had begun cannot write into buffers that their owners took back.
 * MPI_Finalize waits for all ranks, also for dead ones, so it is called only when every rank has come to call it; else the process ends
 * without it, which its launcher sees. What must be known of MPI when no communicator is left (did we begin it, has it failed, how long
 * may a wait be) is kept as the name of MPI_COMM_SELF, which no one else has a use for: this library keeps no variables outside of
 * objects. */
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "comm_desk.h"

static const char OURS[] = "begun by libvlmoe, deadline %lf s", FAILED[] = "failed in libvlmoe";
enum { TAG_MAIL = 0, FIRST_TAG = 1, PIECE = 1 << 30 }; /* MPI counts in int */

typedef struct packet {
    vlm_mail_head head;
    char small[VLM_MAIL_SMALL];
} packet;

/* Messages under way. */
typedef struct transfer {
    struct transfer *next;
    vlm_call *call; /* NULL: mail, whose packet is the transfer's own */
    vlm_call_peer *peer;
    packet *mail;
    bool is_receive;
    int n;
    MPI_Request requests[];
} transfer;

typedef struct mpi_mail {
    vlm_mail mail; /* first */
    char small[];
} mpi_mail;

typedef struct mpi_desk {
    vlm_desk desk; /* first */
    MPI_Comm comm;
    MPI_Request incoming; /* into in */
    packet in;
    transfer *transfers; /* under way */
    transfer *spare;     /* of mail, to be used again */
    int32_t next_tag, last_tag;
} mpi_desk;

static vlmoe_status fail_mpi(int code, const char *verb, vlmoe_error *error)
{
    char reason[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, reason, &length);
    return vlm_fail(error, VLMOE_E_COMM, "MPI cannot %s: %s", verb, reason);
}

/* ---- sending ---- */

static transfer *new_transfer(int n)
{
    transfer *t = vlm_alloc(sizeof *t + (size_t)n * sizeof *t->requests);
    for (int i = 0; t && i < n; i++) t->requests[i] = MPI_REQUEST_NULL;
    if (t) t->n = n;
    return t;
}

static void free_transfer(transfer *t)
{
    vlm_free(t->mail);
    vlm_free(t);
}

static transfer *new_mail(mpi_desk *d)
{
    transfer *t = d->spare;
    if (t) {
        d->spare = t->next;
        return t;
    }
    t = new_transfer(1);
    if (t) t->mail = vlm_alloc(sizeof *t->mail);
    if (t && t->mail) return t;
    if (t) free_transfer(t);
    return NULL;
}

static void end_transfer(mpi_desk *d, transfer *t)
{
    if (t->mail) {
        t->next = d->spare;
        d->spare = t;
        return;
    }
    if (t->is_receive) vlm_call_received(t->call, t->peer);
    else vlm_call_sent(t->call, t->peer);
    free_transfer(t);
}

static vlmoe_status send_mail(mpi_desk *d, int to, const vlm_mail_head *head, const char *data,
                              vlmoe_error *error)
{
    transfer *t = new_mail(d);
    if (!t) return vlm_fail(error, VLMOE_E_NOMEM, "%s: out of memory", head->what);
    const size_t inside = head->bytes <= VLM_MAIL_SMALL ? head->bytes : 0;
    t->mail->head = *head;
    if (inside) memcpy(t->mail->small, data, inside);
    const int code = MPI_Isend(t->mail, (int)(sizeof *head + inside), MPI_BYTE, to, TAG_MAIL,
                               d->comm, t->requests);
    int is_done = 0;
    if (!code) MPI_Test(t->requests, &is_done, MPI_STATUS_IGNORE);
    if (is_done || code) {
        end_transfer(d, t);
    } else {
        t->next = d->transfers;
        d->transfers = t;
    }
    return code ? fail_mpi(code, "send", error) : VLMOE_OK;
}

/* The long block that a call has with peer, in as many messages as it needs. */
static vlmoe_status move(mpi_desk *d, vlm_call *call, vlm_call_peer *peer, bool is_receive, int tag,
                         vlmoe_error *error)
{
    const size_t bytes = is_receive ? peer->recv_bytes : peer->send_bytes;
    const int n = (int)((bytes + PIECE - 1) / PIECE);
    transfer *t = new_transfer(n);
    if (!t) return vlm_fail(error, VLMOE_E_NOMEM, "%s: out of memory", call->what);
    t->call = call;
    t->peer = peer;
    t->is_receive = is_receive;
    t->next = d->transfers;
    d->transfers = t;
    int code = 0;
    for (int i = 0; i < n && !code; i++) {
        const size_t at = (size_t)i * PIECE;
        const int count = (int)VLM_MIN(bytes - at, (size_t)PIECE);
        code = is_receive ? MPI_Irecv(peer->recv + at, count, MPI_BYTE, peer->rank, tag, d->comm,
                                      &t->requests[i])
                          : MPI_Isend(peer->send + at, count, MPI_BYTE, peer->rank, tag, d->comm,
                                      &t->requests[i]);
    }
    return code ? fail_mpi(code, is_receive ? "receive" : "send", error) : VLMOE_OK;
}

static vlmoe_status mpi_send(vlm_desk *desk, int to, const vlm_mail_head *head, const char *data,
                             vlm_call *call, vlm_call_peer *peer, vlmoe_error *error)
{
    mpi_desk *d = (mpi_desk *)desk;
    vlm_mail_head tagged = *head;
    if (head->bytes > VLM_MAIL_SMALL) {
        tagged.tag = d->next_tag;
        d->next_tag = d->next_tag == d->last_tag ? FIRST_TAG : d->next_tag + 1;
    }
    VLM_TRY(send_mail(d, to, &tagged, data, error));
    if (head->bytes > VLM_MAIL_SMALL) return move(d, call, peer, false, tagged.tag, error);
    if (peer) vlm_call_sent(call, peer);
    return VLMOE_OK;
}

/* ---- receiving ---- */

static vlmoe_status listen(mpi_desk *d, vlmoe_error *error)
{
    const int code = MPI_Irecv(&d->in, (int)sizeof d->in, MPI_BYTE, MPI_ANY_SOURCE, TAG_MAIL,
                               d->comm, &d->incoming);
    return code ? fail_mpi(code, "receive", error) : VLMOE_OK;
}

/* What lies in d->in, copied. NULL: no memory. */
static vlm_mail *open_packet(const mpi_desk *d, int from)
{
    const size_t inside = d->in.head.bytes <= VLM_MAIL_SMALL ? d->in.head.bytes : 0;
    mpi_mail *m = vlm_alloc(sizeof *m + inside);
    if (!m) return NULL;
    m->mail.from = from;
    m->mail.head = d->in.head;
    m->mail.text = m->small;
    if (inside) memcpy(m->small, d->in.small, inside);
    return &m->mail;
}

static vlmoe_status mpi_receive(vlm_desk *desk, vlm_mail *mail, vlm_call *call, vlm_call_peer *peer,
                                vlmoe_error *error)
{
    vlmoe_status st = VLMOE_OK;
    if (mail->head.bytes > VLM_MAIL_SMALL) {
        st = move((mpi_desk *)desk, call, peer, true, mail->head.tag, error);
    } else {
        memcpy(peer->recv, ((mpi_mail *)mail)->small, peer->recv_bytes);
        vlm_call_received(call, peer);
    }
    vlm_free(mail);
    return st;
}

static void mpi_drop(vlm_desk *desk, vlm_mail *mail)
{
    (void)desk;
    vlm_free(mail);
}

static vlmoe_status take_mail(mpi_desk *d, bool *is_news, vlmoe_error *error)
{
    while (!d->desk.failure.status) {
        int has_come = 0;
        MPI_Status status;
        const int code = MPI_Test(&d->incoming, &has_come, &status);
        if (code) return fail_mpi(code, "receive", error);
        if (!has_come) break;
        vlm_mail *mail = open_packet(d, status.MPI_SOURCE);
        VLM_TRY(listen(d, error));
        if (!mail) return vlm_fail(error, VLMOE_E_NOMEM, "%s: out of memory", d->in.head.what);
        vlm_desk_mail(&d->desk, mail);
        *is_news = true;
    }
    return VLMOE_OK;
}

static vlmoe_status look_after_transfers(mpi_desk *d, bool *is_news, vlmoe_error *error)
{
    for (transfer **link = &d->transfers; *link && !d->desk.failure.status;) {
        transfer *t = *link;
        int is_done = 0;
        const int code = MPI_Testall(t->n, t->requests, &is_done, MPI_STATUSES_IGNORE);
        if (code) return fail_mpi(code, t->is_receive ? "receive" : "send", error);
        if (!is_done) {
            link = &t->next;
            continue;
        }
        *link = t->next;
        end_transfer(d, t);
        *is_news = true;
    }
    return VLMOE_OK;
}

/* MPI has no way to sleep until something comes. Who waits long leaves the core to who computes; while a long block may be moving, which
 * it does in the calls between rests, mostly by offering it only. */
static void rest(int n_rests, bool may_be_moving)
{
    enum { YIELDS = 2000, YIELDS_A_NAP = 256 };
    static const long NAP_NS = 50000;
    const struct timespec nap = {.tv_nsec = NAP_NS};
    if (n_rests < YIELDS || (may_be_moving && n_rests % YIELDS_A_NAP)) sched_yield();
    else nanosleep(&nap, NULL);
}

static bool has_long_blocks(const mpi_desk *d)
{
    const transfer *t = d->transfers;
    while (t && t->mail) t = t->next;
    return t != NULL;
}

static vlmoe_status mpi_progress(vlm_desk *desk, double seconds, vlmoe_error *error)
{
    mpi_desk *d = (mpi_desk *)desk;
    const double until = seconds > 0 ? vlm_now() + seconds : 0;
    bool is_news = false;
    for (int i = 0;; i++) {
        VLM_TRY(take_mail(d, &is_news, error));
        VLM_TRY(look_after_transfers(d, &is_news, error));
        if (is_news || seconds <= 0 || desk->failure.status || vlm_now() >= until) return VLMOE_OK;
        rest(i, has_long_blocks(d));
    }
}

/* The last calls to MPI of a desk that has failed: what has not begun to come never will. */
static void mpi_withdraw(vlm_desk *desk, vlm_call *call)
{
    mpi_desk *d = (mpi_desk *)desk;
    for (transfer *t = d->transfers; t; t = t->next) {
        if (t->call != call) continue;
        for (int i = 0; i < t->n && t->is_receive; i++)
            if (t->requests[i] != MPI_REQUEST_NULL) MPI_Cancel(&t->requests[i]);
        t->call = NULL;
    }
}

/* ---- beginning and ending ---- */

/* MPI_Finalize comes here first, while messages still move: a moment for what nobody waited for. */
static int end_desk(MPI_Comm self, int key, void *value, void *extra)
{
    static const double MOMENT = 1.0;
    (void)self, (void)key, (void)extra;
    mpi_desk *d = value;
    const double until = vlm_now() + MOMENT;
    bool is_done = false;
    while (!is_done && vlm_now() < until) {
        is_done = true;
        for (transfer *t = d->transfers; t; t = t->next) {
            int flag = 0;
            if (MPI_Testall(t->n, t->requests, &flag, MPI_STATUSES_IGNORE)) flag = 1;
            is_done &= flag != 0;
        }
        if (!is_done) sched_yield();
    }
    if (!is_done) return MPI_SUCCESS; /* their memory is MPI's until the process ends */
    while (d->transfers) {
        transfer *t = d->transfers;
        d->transfers = t->next;
        free_transfer(t);
    }
    while (d->spare) {
        transfer *t = d->spare;
        d->spare = t->next;
        free_transfer(t);
    }
    vlm_free(d);
    return MPI_SUCCESS;
}

/* The desk's memory becomes MPI's, which may still read notices from it; end_desk frees it. The communicator is left to MPI_Finalize:
 * freeing it may wait for others. */
static void mpi_close(vlm_desk *desk)
{
    mpi_desk *d = (mpi_desk *)desk;
    int key = MPI_KEYVAL_INVALID;
    if (d->desk.failure.status) {
        MPI_Comm_set_name(MPI_COMM_SELF, FAILED);
    } else {
        int is_done = 0;
        MPI_Cancel(&d->incoming);
        MPI_Test(&d->incoming, &is_done, MPI_STATUS_IGNORE);
    }
    if (MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, end_desk, &key, NULL)) return;
    MPI_Comm_set_attr(MPI_COMM_SELF, key, d);
    MPI_Comm_free_keyval(&key);
}

/* Our name of MPI_COMM_SELF: with the deadline, or FAILED. false: it has another one. */
static bool read_self(bool *has_failed, double *deadline_seconds)
{
    char name[MPI_MAX_OBJECT_NAME] = "";
    int length = 0;
    if (MPI_Comm_get_name(MPI_COMM_SELF, name, &length)) return false;
    *has_failed = strcmp(name, FAILED) == 0;
    return *has_failed || sscanf(name, OURS, deadline_seconds) == 1;
}

static void name_self(double deadline_seconds)
{
    char name[MPI_MAX_OBJECT_NAME];
    snprintf(name, sizeof name, OURS, deadline_seconds);
    MPI_Comm_set_name(MPI_COMM_SELF, name);
}

/* An MPI that cannot start ends the process in MPI_Init_thread; nothing can be said before. */
static vlmoe_status begin_mpi(double deadline_seconds, vlmoe_error *error)
{
    int is_begun = 0, is_ended = 0, level = MPI_THREAD_SINGLE;
    MPI_Initialized(&is_begun);
    MPI_Finalized(&is_ended);
    if (is_ended)
        return vlm_fail(error, VLMOE_E_COMM, "MPI has ended in this process; it begins only once");
    if (is_begun) {
        bool has_failed;
        double before;
        const bool is_ours = read_self(&has_failed, &before);
        if (is_ours && has_failed)
            return vlm_fail(error, VLMOE_E_COMM, "MPI failed in this process; start it again");
        if (is_ours) name_self(deadline_seconds);
        MPI_Query_thread(&level);
    } else {
        const int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
        if (code) return fail_mpi(code, "begin", error);
        name_self(deadline_seconds);
        MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    }
    if (level < MPI_THREAD_FUNNELED)
        return vlm_fail(error, VLMOE_E_COMM, "MPI was begun for processes of one thread");
    return VLMOE_OK;
}

/* Ranks of another MPI's launcher are each alone, and would all do the same work. */
static vlmoe_status check_size(vlmoe_error *error)
{
    int size = 0, launched = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (!vlm_comm_mpi_is_launched(&launched) || !launched || launched == size) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_COMM,
                    "the launcher says %d ranks and MPI sees %d: use the mpirun of the MPI that "
                    "this library was built with, or srun --mpi",
                    launched, size);
}

/* false: the deadline passed, or MPI failed (*code). */
static bool wait_for(MPI_Request *request, double deadline_seconds, int *code)
{
    const double began = vlm_now();
    int is_done = 0;
    *code = MPI_Test(request, &is_done, MPI_STATUS_IGNORE);
    for (int i = 0; !*code && !is_done; i++) {
        if (deadline_seconds > 0 && vlm_now() > began + deadline_seconds) return false;
        rest(i, false);
        *code = MPI_Test(request, &is_done, MPI_STATUS_IGNORE);
    }
    return !*code;
}

static vlmoe_status own_world(mpi_desk *d, double deadline_seconds, vlmoe_error *error)
{
    MPI_Request request;
    int code = MPI_Comm_idup(MPI_COMM_WORLD, &d->comm, &request);
    if (!code && !wait_for(&request, deadline_seconds, &code) && !code) {
        MPI_Comm_set_name(MPI_COMM_SELF, FAILED);
        return vlm_fail(error, VLMOE_E_TIMEOUT,
                        "start: not all ranks have opened their communicator within %g s",
                        deadline_seconds);
    }
    if (!code) code = MPI_Comm_set_errhandler(d->comm, MPI_ERRORS_RETURN);
    return code ? fail_mpi(code, "copy its world", error) : VLMOE_OK;
}

static const vlm_link_ops mpi_link = {.send = mpi_send,
                                      .progress = mpi_progress,
                                      .receive = mpi_receive,
                                      .drop = mpi_drop,
                                      .withdraw = mpi_withdraw,
                                      .close = mpi_close};
static const vlm_comm_ops mpi_ops = VLM_POST_OPS("mpi");

/* When own_world fails, the desk stays: MPI may still write the copy's handle into it. */
static vlmoe_status open_desk(mpi_desk *d, const vlm_comm_params *params, vlm_comm **out,
                              vlmoe_error *error)
{
    int rank = 0, size = 1, has_bound = 0, *bound = NULL;
    VLM_TRY(own_world(d, params ? params->deadline_seconds : 0, error));
    MPI_Comm_rank(d->comm, &rank);
    MPI_Comm_size(d->comm, &size);
    MPI_Comm_get_attr(d->comm, MPI_TAG_UB, &bound, &has_bound);
    d->next_tag = FIRST_TAG;
    d->last_tag = has_bound ? *bound : 32767; /* what the standard promises */
    vlm_comm *comm;
    vlmoe_status st =
        vlm_desk_open(&d->desk, &mpi_link, &mpi_ops, rank, size, params, &comm, error);
    if (st) {
        vlm_free(d);
        return st;
    }
    st = listen(d, error);
    if (st) vlm_comm_destroy(comm);
    else *out = comm;
    return st;
}

vlmoe_status vlm_comm_mpi(const vlm_comm_params *params, vlm_comm **out, vlmoe_error *error)
{
    VLM_TRY(begin_mpi(params ? params->deadline_seconds : 0, error));
    VLM_TRY(check_size(error));
    mpi_desk *d = vlm_alloc(sizeof *d);
    if (!d) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a communicator");
    d->incoming = MPI_REQUEST_NULL;
    return open_desk(d, params, out, error);
}

void vlm_comm_mpi_end(void)
{
    int is_begun = 0, is_ended = 0, code;
    bool has_failed;
    double deadline_seconds;
    MPI_Request everybody;
    MPI_Initialized(&is_begun);
    MPI_Finalized(&is_ended);
    if (!is_begun || is_ended || !read_self(&has_failed, &deadline_seconds) || has_failed) return;
    if (MPI_Ibarrier(MPI_COMM_WORLD, &everybody)) return;
    if (wait_for(&everybody, deadline_seconds, &code)) MPI_Finalize();
}
