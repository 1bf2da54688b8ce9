/* Ranks as threads of one process. Each has a box for letters. A letter with a small block carries it; one with a long block points to
 * the sender's buffer, is copied from there by the receiver, and goes back to the sender's box, who frees it. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "comm_desk.h"

typedef enum letter_state {
    LETTER_SENT,     /* the receiver's; its block may be read when it becomes COPYING */
    LETTER_COPYING,  /* the sender must not touch the block's memory */
    LETTER_DONE,     /* the block is copied */
    LETTER_WITHDRAWN /* there is no block any more */
} letter_state;

typedef struct box box;
typedef struct letter {
    vlm_mail mail; /* first */
    box *
        home; /* of the sender of a long block; NULL: the block lies inside, and the receiver frees the letter */
    const char *data;
    _Atomic int state; /* of a long block */
    vlm_call *call;    /* the sender's; only the sender reads these two */
    vlm_call_peer *peer;
    char small[];
} letter;

struct box {
    pthread_mutex_t
        lock; /* of all below, and of the step from COPYING to DONE of letters from here */
    pthread_cond_t news;
    letter *first, *last;
    bool is_taken, is_closed; /* closed: letters to here are lost */
};

struct vlm_comm_hub {
    int n, n_ready; /* boxes; those whose locks are made */
    box boxes[];
};

typedef struct threads_desk {
    vlm_desk desk; /* first */
    vlm_comm_hub *hub;
    box *box;
} threads_desk;

static bool open_box(box *b)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes)) return false;
    bool has_lock = false;
    bool ok = !pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (ok) ok = has_lock = !pthread_mutex_init(&b->lock, NULL);
    if (ok) ok = !pthread_cond_init(&b->news, &attributes);
    if (!ok && has_lock) pthread_mutex_destroy(&b->lock);
    pthread_condattr_destroy(&attributes);
    return ok;
}

vlmoe_status vlm_comm_hub_create(int n, vlm_comm_hub **out, vlmoe_error *error)
{
    if (n < 1) return vlm_fail(error, VLMOE_E_ARG, "ranks count from 1: found %d", n);
    vlm_comm_hub *hub = vlm_alloc(sizeof *hub + (size_t)n * sizeof(box));
    if (hub) {
        hub->n = n;
        while (hub->n_ready < n && open_box(&hub->boxes[hub->n_ready])) hub->n_ready++;
    }
    if (!hub || hub->n_ready < n) {
        vlm_comm_hub_destroy(hub);
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %d ranks", n);
    }
    *out = hub;
    return VLMOE_OK;
}

void vlm_comm_hub_destroy(vlm_comm_hub *hub)
{
    if (!hub) return;
    for (int i = 0; i < hub->n_ready; i++) {
        box *b = &hub->boxes[i];
        while (b->first) { /* to a rank that never came */
            letter *l = b->first;
            b->first = (letter *)l->mail.next;
            vlm_free(l);
        }
        pthread_cond_destroy(&b->news);
        pthread_mutex_destroy(&b->lock);
    }
    vlm_free(hub);
}

/* The caller holds the lock, or nobody else knows the box. */
static void append(box *b, letter *l)
{
    l->mail.next = NULL;
    if (b->last) b->last->mail.next = &l->mail;
    else b->first = l;
    b->last = l;
    pthread_cond_signal(&b->news);
}

/* false: the box is closed, and the letter still the caller's. */
static bool put(box *b, letter *l)
{
    pthread_mutex_lock(&b->lock);
    const bool is_open = !b->is_closed;
    if (is_open) append(b, l);
    pthread_mutex_unlock(&b->lock);
    return is_open;
}

static letter *take_all(box *b)
{
    letter *first = b->first;
    b->first = b->last = NULL;
    return first;
}

static vlmoe_status threads_send(vlm_desk *desk, int to, const vlm_mail_head *head,
                                 const char *data, vlm_call *call, vlm_call_peer *peer,
                                 vlmoe_error *error)
{
    threads_desk *d = (threads_desk *)desk;
    const bool is_small = head->bytes <= VLM_MAIL_SMALL;
    letter *l = vlm_alloc(sizeof *l + (is_small ? head->bytes : 0));
    if (!l) return vlm_fail(error, VLMOE_E_NOMEM, "%s: out of memory", head->what);
    l->mail.from = desk->rank;
    l->mail.head = *head;
    l->data = data;
    if (is_small) {
        if (head->bytes) memcpy(l->small, data, head->bytes);
        l->data = l->mail.text = l->small;
    } else {
        l->home = d->box;
        l->call = call;
        l->peer = peer;
        peer->sent = l;
    }
    atomic_init(&l->state, LETTER_SENT);
    if (!put(&d->hub->boxes[to], l)) {
        if (!is_small) peer->sent = NULL;
        vlm_free(l);
    }
    if (is_small && peer) vlm_call_sent(call, peer);
    return VLMOE_OK;
}

/* A foreign letter that is not needed any more. */
static void give_back(letter *l)
{
    if (!l->home || !put(l->home, l)) vlm_free(l);
}

static void threads_drop(vlm_desk *desk, vlm_mail *mail)
{
    (void)desk;
    give_back((letter *)mail);
}

static vlmoe_status threads_receive(vlm_desk *desk, vlm_mail *mail, vlm_call *call,
                                    vlm_call_peer *peer, vlmoe_error *error)
{
    (void)desk, (void)error;
    letter *l = (letter *)mail;
    box *home = l->home;
    int sent = LETTER_SENT;
    if (!home) {
        memcpy(peer->recv, l->data, peer->recv_bytes);
        vlm_free(l);
        vlm_call_received(call, peer);
    } else if (atomic_compare_exchange_strong(&l->state, &sent, LETTER_COPYING)) {
        memcpy(peer->recv, l->data, peer->recv_bytes);
        pthread_mutex_lock(
            &home->lock); /* open: whoever closes it has withdrawn, and so waited for us */
        atomic_store(&l->state, LETTER_DONE);
        append(home, l);
        pthread_mutex_unlock(&home->lock);
        vlm_call_received(call, peer);
    } else {
        give_back(l); /* the sender failed, and says so in another letter */
    }
    return VLMOE_OK;
}

/* A letter of our own, back again. */
static void came_home(letter *l)
{
    if (atomic_load(&l->state) != LETTER_WITHDRAWN && l->call) {
        l->peer->sent = NULL;
        if (atomic_load(&l->state) == LETTER_DONE) vlm_call_sent(l->call, l->peer);
    }
    vlm_free(l);
}

static void wait_for_news(box *b, double seconds)
{
    static const double LONGEST = 3600;
    const double until = vlm_now() + VLM_MIN(seconds, LONGEST);
    struct timespec at = {.tv_sec = (time_t)until};
    at.tv_nsec = (long)((until - (double)at.tv_sec) * 1e9);
    while (!b->first && pthread_cond_timedwait(&b->news, &b->lock, &at) == 0) continue;
}

static vlmoe_status threads_progress(vlm_desk *desk, double seconds, vlmoe_error *error)
{
    (void)error;
    box *b = ((threads_desk *)desk)->box;
    pthread_mutex_lock(&b->lock);
    if (!b->first && seconds > 0) wait_for_news(b, seconds);
    letter *l = take_all(b);
    pthread_mutex_unlock(&b->lock);
    while (l) {
        letter *next = (letter *)l->mail.next;
        if (l->home == b) came_home(l);
        else vlm_desk_mail(desk, &l->mail);
        l = next;
    }
    return VLMOE_OK;
}

static void threads_withdraw(vlm_desk *desk, vlm_call *call)
{
    box *b = ((threads_desk *)desk)->box;
    for (int p = 0; p < vlm_call_size(call); p++) {
        letter *l = call->peers[p].sent;
        int sent = LETTER_SENT;
        if (!l || atomic_compare_exchange_strong(&l->state, &sent, LETTER_WITHDRAWN)) continue;
        pthread_mutex_lock(&b->lock);
        while (atomic_load(&l->state) == LETTER_COPYING) pthread_cond_wait(&b->news, &b->lock);
        l->call = NULL; /* it lies in our box */
        pthread_mutex_unlock(&b->lock);
    }
}

static void threads_close(vlm_desk *desk)
{
    box *b = ((threads_desk *)desk)->box;
    pthread_mutex_lock(&b->lock);
    b->is_closed = true;
    letter *l = take_all(b);
    pthread_mutex_unlock(&b->lock);
    while (l) {
        letter *next = (letter *)l->mail.next;
        if (l->home == b) vlm_free(l);
        else give_back(l);
        l = next;
    }
    vlm_free(desk);
}

static const vlm_link_ops threads_link = {.send = threads_send,
                                          .progress = threads_progress,
                                          .receive = threads_receive,
                                          .drop = threads_drop,
                                          .withdraw = threads_withdraw,
                                          .close = threads_close};
static const vlm_comm_ops threads_ops = VLM_POST_OPS("threads");

static bool take_box(box *b)
{
    pthread_mutex_lock(&b->lock);
    const bool is_ours = !b->is_taken;
    b->is_taken = true;
    pthread_mutex_unlock(&b->lock);
    return is_ours;
}

static void untake_box(box *b)
{
    pthread_mutex_lock(&b->lock);
    b->is_taken = false;
    pthread_mutex_unlock(&b->lock);
}

vlmoe_status vlm_comm_threads(vlm_comm_hub *hub, int rank, const vlm_comm_params *params,
                              vlm_comm **out, vlmoe_error *error)
{
    if (rank < 0 || rank >= hub->n)
        return vlm_fail(error, VLMOE_E_ARG, "rank %d of %d ranks: they count from 0", rank, hub->n);
    box *b = &hub->boxes[rank];
    if (!take_box(b)) return vlm_fail(error, VLMOE_E_STATE, "rank %d is taken", rank);
    threads_desk *d = vlm_alloc(sizeof *d);
    vlmoe_status st = VLMOE_E_NOMEM;
    if (d) {
        d->hub = hub;
        d->box = b;
        st = vlm_desk_open(&d->desk, &threads_link, &threads_ops, rank, hub->n, params, out, error);
    } else {
        vlm_fail(error, st, "out of memory for rank %d", rank);
    }
    if (st) {
        untake_box(b);
        vlm_free(d);
    }
    return st;
}
