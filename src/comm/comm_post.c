/* Calls over messages: begins them, matches mail with them, waits for them, and says what is missing. */
#include <stdio.h>
#include <string.h>
#include "comm_post.h"

int vlm_call_size(const vlm_call *call)
{
    return call->post->comm.size;
}

void vlm_call_sent(vlm_call *call, vlm_call_peer *peer)
{
    if (!peer->is_sending) return;
    peer->is_sending = false;
    call->n_open--;
}

void vlm_call_received(vlm_call *call, vlm_call_peer *peer)
{
    if (!peer->is_receiving) return;
    peer->is_receiving = false;
    call->n_open--;
}

void vlm_call_free(vlm_call *call)
{
    vlm_free(call->staged_send);
    vlm_free(call->staged_recv);
    call->staged_send = call->staged_recv = NULL;
    call->next = call->post->spare;
    call->post->spare = call;
}

static vlmoe_status failed(const vlm_desk *desk, vlmoe_error *error)
{
    return vlm_fail(error, desk->failure.status, "%s", desk->failure.text);
}

/* The desk fails with what is in found; the caller's error gets the words of the desk. */
static vlmoe_status fail_desk(vlm_desk *desk, const vlmoe_error *found, vlmoe_error *error)
{
    vlm_desk_fail(desk, found);
    return failed(desk, error);
}

static vlm_call_peer *peer_of(vlm_call *call, int rank)
{
    for (int p = 0; p < call->post->comm.size; p++)
        if (call->peers[p].rank == rank) return &call->peers[p];
    return NULL;
}

static vlm_call *find_call(const vlm_desk *desk, const vlm_post *post, int64_t number)
{
    vlm_call *call = desk->calls;
    while (call && (call->post != post || call->number != number)) call = call->next;
    return call;
}

static vlmoe_status mismatch(const vlm_call *call, const vlm_mail *mail, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_COMM,
                    "calls do not match: rank %d is in \"%s\" where rank %d is in \"%s\"",
                    mail->from, mail->head.what, call->post->desk->rank, call->what);
}

vlmoe_status vlm_post_take(vlm_desk *desk, const vlm_post *post, vlm_mail *mail, vlmoe_error *error)
{
    vlm_call *call = find_call(desk, post, mail->head.number);
    vlm_call_peer *peer = call ? peer_of(call, mail->from) : NULL;
    const size_t expected = peer && peer->is_awaited ? peer->recv_bytes : 0;
    vlmoe_status st;
    if (call && strcmp(call->what, mail->head.what) != 0) st = mismatch(call, mail, error);
    else if (!expected || expected != mail->head.bytes)
        st = vlm_fail(error, VLMOE_E_COMM,
                      "calls do not match: in \"%s\" rank %d sends %llu bytes where rank %d "
                      "expects %zu",
                      mail->head.what, mail->from, (unsigned long long)mail->head.bytes, desk->rank,
                      expected);
    else {
        peer->is_awaited = false;
        return desk->link->receive(desk, mail, call, peer, error);
    }
    desk->link->drop(desk, mail);
    return st;
}

/* A rank's mail comes in the order of its calls. What came from a later call shows that nothing will come for this one. */
vlmoe_status vlm_post_overtaken(const vlm_desk *desk, const vlm_post *post, const vlm_mail *mail,
                                vlmoe_error *error)
{
    for (vlm_call *call = desk->calls; call; call = call->next) {
        if (call->post != post || call->number >= mail->head.number) continue;
        const vlm_call_peer *peer = peer_of(call, mail->from);
        if (peer && peer->is_awaited)
            return vlm_fail(error, VLMOE_E_COMM,
                            "calls do not match: rank %d is in \"%s\" and sent nothing in \"%s\", "
                            "where rank %d expects %zu bytes",
                            mail->from, mail->head.what, call->what, desk->rank, peer->recv_bytes);
    }
    return VLMOE_OK;
}

/* First and last byte of all blocks, relative to the buffer. */
static void span_of(const vlm_comm *comm, const size_t *bytes, const size_t *at, size_t *from,
                    size_t *to)
{
    *from = SIZE_MAX;
    *to = 0;
    for (int p = 0; p < comm->size; p++) {
        if (!bytes[p] || p == comm->rank) continue;
        *from = VLM_MIN(*from, at[p]);
        *to = VLM_MAX(*to, at[p] + bytes[p]);
    }
    if (!*to) *from = 0;
}

/* Host memory for what lies on a device. The host cannot read there, or does not know that it can. */
static vlmoe_status stage(vlm_call *call, const vlm_comm_exchange *x, const char **send,
                          char **recv, vlmoe_error *error)
{
    const vlm_comm *comm = &call->post->comm;
    size_t from, to, recv_from, recv_to;
    span_of(comm, x->send_bytes, x->send_at, &from, &to);
    span_of(comm, x->recv_bytes, x->recv_at, &recv_from, &recv_to);
    call->staged_send = vlm_alloc(to - from);
    call->staged_recv = vlm_alloc(recv_to - recv_from);
    if (!call->staged_send || !call->staged_recv)
        return vlm_fail(error, VLMOE_E_NOMEM, "%s: out of memory for %zu bytes", call->what,
                        to - from + recv_to - recv_from);
    call->device_recv = x->recv;
    call->send_base = from;
    call->recv_base = recv_from;
    *send = call->staged_send;
    *recv = call->staged_recv;
    const vlmoe_status st = to > from
                                ? comm->backend->download(comm->device, call->staged_send,
                                                          (const char *)x->send + from, to - from)
                                : VLMOE_OK;
    if (st) return vlm_fail(error, st, "%s: cannot read the device's memory", call->what);
    return VLMOE_OK;
}

static vlmoe_status unstage(const vlm_call *call, vlmoe_error *error)
{
    const vlm_comm *comm = &call->post->comm;
    vlmoe_status st = VLMOE_OK;
    for (int p = 0; p < comm->size && !st; p++) {
        const vlm_call_peer *peer = &call->peers[p];
        if (!peer->recv_bytes) continue;
        const size_t at = call->recv_base + (size_t)(peer->recv - call->staged_recv);
        st = comm->backend->upload(comm->device, (char *)call->device_recv + at, peer->recv,
                                   peer->recv_bytes);
    }
    if (!st) return comm->backend->sync(comm->device, error); /* staged memory goes now */
    return vlm_fail(error, st, "%s: cannot write the device's memory", call->what);
}

static vlmoe_status copy_own(const vlm_comm *comm, const vlm_comm_exchange *x, vlmoe_error *error)
{
    const size_t bytes = x->send_bytes[comm->rank];
    if (!bytes) return VLMOE_OK;
    const char *from = (const char *)x->send + x->send_at[comm->rank];
    char *to = (char *)x->recv + x->recv_at[comm->rank];
    if (from == to) return VLMOE_OK;
    if (x->is_host) {
        memmove(to, from, bytes);
        return VLMOE_OK;
    }
    const vlmoe_status st = comm->backend->copy(comm->device, to, from, bytes);
    if (st) return vlm_fail(error, st, "%s: cannot copy on the device", x->what);
    return VLMOE_OK;
}

static vlm_call *new_call(vlm_post *post, const char *what, int64_t number)
{
    const size_t bytes = sizeof(vlm_call) + (size_t)post->comm.size * sizeof(vlm_call_peer);
    vlm_call *call = post->spare;
    if (call) {
        post->spare = call->next;
        memset(call, 0, bytes);
    } else {
        call = vlm_alloc(bytes);
        if (!call) return NULL;
    }
    call->post = post;
    call->number = number;
    post->n_begun = number + 1;
    snprintf(call->what, sizeof call->what, "%s", what);
    vlm_call **end = &post->desk->calls;
    while (*end) end = &(*end)->next;
    *end = call;
    return call;
}

static void fill_peers(vlm_call *call, const vlm_comm_exchange *x, const char *send, char *recv)
{
    const vlm_comm *comm = &call->post->comm;
    for (int p = 0; p < comm->size; p++) {
        vlm_call_peer *peer = &call->peers[p];
        peer->rank = call->post->ranks[p];
        if (p == comm->rank) continue;
        if (x->send_bytes[p]) {
            peer->send = send + (x->send_at[p] - call->send_base);
            peer->send_bytes = x->send_bytes[p];
            peer->is_sending = true;
        }
        if (x->recv_bytes[p]) {
            peer->recv = recv + (x->recv_at[p] - call->recv_base);
            peer->recv_bytes = x->recv_bytes[p];
            peer->is_awaited = peer->is_receiving = true;
        }
        call->n_open += peer->is_sending + peer->is_receiving;
    }
}

static vlmoe_status send_all(vlm_call *call, vlmoe_error *error)
{
    const vlm_post *post = call->post;
    vlm_mail_head head = {.context = post->context, .number = call->number, .kind = VLM_MAIL_BLOCK};
    memcpy(head.what, call->what, sizeof head.what);
    for (int i = 1; i < post->comm.size; i++) { /* every rank begins with another one */
        vlm_call_peer *peer = &call->peers[(post->comm.rank + i) % post->comm.size];
        if (!peer->is_sending) continue;
        head.bytes = peer->send_bytes;
        VLM_TRY(
            post->desk->link->send(post->desk, peer->rank, &head, peer->send, call, peer, error));
    }
    return VLMOE_OK;
}

static vlmoe_status take_early(vlm_call *call, vlmoe_error *error)
{
    const vlm_post *post = call->post;
    vlm_desk *desk = post->desk;
    if (!desk->early) return VLMOE_OK;
    for (;;) {
        vlm_mail *mail = vlm_desk_early(desk, post->context, call->number);
        if (!mail) break;
        VLM_TRY(vlm_post_take(desk, post, mail, error));
    }
    for (const vlm_mail *mail = desk->early; mail; mail = mail->next)
        if (mail->head.context == post->context)
            VLM_TRY(vlm_post_overtaken(desk, post, mail, error));
    return VLMOE_OK;
}

static vlmoe_status begin(vlm_post *post, const vlm_comm_exchange *x, int64_t number,
                          vlmoe_error *error)
{
    vlm_call *call = new_call(post, x->what, number);
    if (!call) return vlm_fail(error, VLMOE_E_NOMEM, "%s: out of memory", x->what);
    const char *send = x->send;
    char *recv = x->recv;
    if (!x->is_host) {
        VLM_TRY(post->comm.backend->sync(post->comm.device, error));
        if (!post->comm.backend->is_host) VLM_TRY(stage(call, x, &send, &recv, error));
    }
    VLM_TRY(copy_own(&post->comm, x, error));
    fill_peers(call, x, send, recv);
    VLM_TRY(send_all(call, error));
    return take_early(call, error);
}

vlmoe_status vlm_post_start(vlm_comm *comm, const vlm_comm_exchange *exchange, int64_t number,
                            vlmoe_error *error)
{
    vlm_post *post = (vlm_post *)comm;
    vlm_desk *desk = post->desk;
    vlmoe_error found = {0};
    vlmoe_status st = VLMOE_OK;
    if (desk->size > 1 && !desk->failure.status) st = desk->link->progress(desk, 0, &found);
    if (desk->failure.status) return failed(desk, error);
    if (!st) st = begin(post, exchange, number, &found);
    return st || desk->failure.status ? fail_desk(desk, &found, error) : VLMOE_OK;
}

void vlm_post_poll(vlm_comm *comm)
{
    vlm_desk *desk = ((vlm_post *)comm)->desk;
    vlmoe_error found = {0};
    if (desk->failure.status || desk->size == 1) return;
    if (desk->link->progress(desk, 0, &found)) vlm_desk_fail(desk, &found);
}

typedef struct named {
    int rank[16];
    int n; /* also of those that have no room */
} named;

static void name(named *names, int rank)
{
    if (names->n < VLM_COUNT(names->rank)) names->rank[names->n] = rank;
    names->n++;
}

/* "rank 2", "ranks 2, 3 and 7", "ranks 0, 1, ... and 20 more" */
static void print_ranks(const named *names, char *text, size_t bytes)
{
    const int shown = VLM_MIN(names->n, VLM_COUNT(names->rank));
    size_t at = (size_t)snprintf(text, bytes, names->n == 1 ? "rank" : "ranks");
    for (int i = 0; i < shown && at < bytes; i++) {
        const char *between = !i ? " " : i == names->n - 1 ? " and " : ", ";
        at += (size_t)snprintf(text + at, bytes - at, "%s%d", between, names->rank[i]);
    }
    if (names->n > shown && at < bytes)
        snprintf(text + at, bytes - at, " and %d more", names->n - shown);
}

/* Whom a call waits for: ranks that owe it data; where there are none, those that have not taken theirs. */
static bool is_missing(const vlm_call *call, int p, bool is_data)
{
    return is_data ? call->peers[p].is_receiving : call->peers[p].is_sending;
}

static bool waits_for_data(const vlm_call *call)
{
    bool is_data = false;
    for (int p = 0; p < call->post->comm.size; p++) is_data |= call->peers[p].is_receiving;
    return is_data;
}

void vlm_post_answer(vlm_desk *desk, int to)
{
    char words[VLM_MAIL_WORDS] = "computes", ranks[80];
    const vlm_call *call = desk->waiting;
    if (call) {
        named names = {.n = 0};
        const bool is_data = waits_for_data(call);
        for (int p = 0; p < call->post->comm.size; p++)
            if (is_missing(call, p, is_data)) name(&names, call->peers[p].rank);
        print_ranks(&names, ranks, sizeof ranks);
        snprintf(words, sizeof words, "is in \"%s\" and waits for %s", call->what, ranks);
    }
    vlm_desk_tell(desk, to, VLM_MAIL_ANSWER, VLMOE_OK, words);
}

static void ask(vlm_desk *desk, const vlm_call *call)
{
    const bool is_data = waits_for_data(call);
    for (int p = 0; p < call->post->comm.size; p++) {
        if (!is_missing(call, p, is_data)) continue;
        desk->peers[call->peers[p].rank].words[0] = '\0';
        vlm_desk_tell(desk, call->peers[p].rank, VLM_MAIL_ASK, VLMOE_OK, NULL);
    }
}

/* Those that did not answer are named; where all did, all of them, and what the first one said. */
static void time_out(const vlm_call *call, vlmoe_error *error)
{
    const vlm_desk *desk = call->post->desk;
    named all = {.n = 0}, silent = {.n = 0};
    char ranks[160], also[VLM_MAIL_WORDS + 32] = "";
    const bool is_data = waits_for_data(call);
    for (int p = 0; p < call->post->comm.size; p++) {
        if (!is_missing(call, p, is_data)) continue;
        const int rank = call->peers[p].rank;
        const char *words = desk->peers[rank].words;
        name(&all, rank);
        if (!words[0]) name(&silent, rank);
        else if (!also[0]) snprintf(also, sizeof also, "; rank %d %s", rank, words);
    }
    print_ranks(silent.n ? &silent : &all, ranks, sizeof ranks);
    vlm_fail(error, VLMOE_E_TIMEOUT, "%s: %s %s within %g s%s", call->what,
             is_data ? "no data from" : "data not taken by", ranks,
             call->post->comm.deadline_seconds, also);
}

static bool has_left(const vlm_call *call, vlmoe_error *error)
{
    const vlm_desk *desk = call->post->desk;
    for (int p = 0; p < call->post->comm.size; p++) {
        const vlm_call_peer *peer = &call->peers[p];
        if ((!peer->is_awaited && !peer->is_sending) || !desk->peers[peer->rank].has_left) continue;
        vlm_fail(error, VLMOE_E_COMM, "%s: rank %d has left without it", call->what, peer->rank);
        return true;
    }
    return false;
}

/* Until the call is done or the desk has failed. Past the deadline there is a moment for answers, or for data after all. */
static void wait_for(vlm_desk *desk, const vlm_call *call)
{
    static const double FOR_EVER = 1e9, MOMENT = 1.0;
    const double limit = call->post->comm.deadline_seconds;
    double until = limit > 0 ? vlm_now() + limit : FOR_EVER;
    bool has_asked = false;
    desk->waiting = call;
    while (!desk->failure.status && call->n_open) {
        vlmoe_error found = {0};
        double left = limit > 0 ? until - vlm_now() : FOR_EVER;
        if (left <= 0 && !has_asked) {
            ask(desk, call);
            has_asked = true;
            left = VLM_MIN(MOMENT, limit / 2);
            until = vlm_now() + left;
        }
        if (left <= 0) time_out(call, &found);
        else if (!has_left(call, &found)) desk->link->progress(desk, left, &found);
        if (found.status) vlm_desk_fail(desk, &found);
    }
    desk->waiting = NULL;
}

vlmoe_status vlm_post_wait(vlm_comm *comm, int64_t number, vlmoe_error *error)
{
    vlm_post *post = (vlm_post *)comm;
    vlm_desk *desk = post->desk;
    if (desk->failure.status) return failed(desk, error);
    vlm_call *call = find_call(desk, post, number);
    if (!call)
        return vlm_fail(error, VLMOE_E_ARG, "ticket %lld is not open: it was waited for before",
                        (long long)number);
    if (call->n_open) wait_for(desk, call);
    if (desk->failure.status) return failed(desk, error);

    vlm_call **link = &desk->calls;
    while (*link != call) link = &(*link)->next;
    *link = call->next;
    vlmoe_error found = {0};
    const vlmoe_status st = call->staged_recv ? unstage(call, &found) : VLMOE_OK;
    vlm_call_free(call);
    return st ? fail_desk(desk, &found, error) : VLMOE_OK;
}
