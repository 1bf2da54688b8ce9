/* A rank's desk: its communicators, mail and failure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "comm_post.h"

static vlmoe_status make_post(vlm_desk *desk, const vlm_comm_ops *ops, int rank, int size,
                              const vlm_comm_params *params, vlm_post **out, vlmoe_error *error)
{
    vlm_post *post = vlm_alloc(sizeof *post);
    int *ranks = vlm_alloc_array((size_t)size, sizeof *ranks);
    vlmoe_status st = VLMOE_E_NOMEM;
    if (!post || !ranks) {
        vlm_fail(error, st, "out of memory for a communicator of %d ranks", size);
        goto failed;
    }
    st = vlm_comm_init(&post->comm, ops, rank, size, params, error);
    if (st) goto failed;
    post->desk = desk;
    post->ranks = ranks;
    post->next = desk->posts;
    desk->posts = post;
    *out = post;
    return VLMOE_OK;
failed:
    vlm_free(post);
    vlm_free(ranks);
    return st;
}

vlmoe_status vlm_desk_open(vlm_desk *desk, const vlm_link_ops *link, const vlm_comm_ops *ops,
                           int rank, int size, const vlm_comm_params *params, vlm_comm **out,
                           vlmoe_error *error)
{
    desk->link = link;
    desk->rank = rank;
    desk->size = size;
    if (params && params->log) desk->log = *params->log;
    desk->peers = vlm_alloc_array((size_t)size, sizeof *desk->peers);
    if (!desk->peers)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a communicator of %d ranks", size);
    vlm_post *post;
    const vlmoe_status st = make_post(desk, ops, rank, size, params, &post, error);
    if (st) {
        vlm_free(desk->peers);
        return st;
    }
    for (int p = 0; p < size; p++) post->ranks[p] = p;
    *out = &post->comm;
    return VLMOE_OK;
}

void vlm_desk_tell(vlm_desk *desk, int to, vlm_mail_kind kind, vlmoe_status status,
                   const char *text)
{
    vlm_mail_head head = {.kind = kind, .number = status};
    head.bytes = text ? strlen(text) + 1 : 0;
    if (!desk->peers[to].has_left) desk->link->send(desk, to, &head, text, NULL, NULL, NULL);
}

static void tell_all(vlm_desk *desk, vlm_mail_kind kind, vlmoe_status status, const char *text)
{
    for (int i = 1; i < desk->size; i++)
        vlm_desk_tell(desk, (desk->rank + i) % desk->size, kind, status, text);
}

/* The desk returns errors from now on, and nobody writes to what callers gave to open calls. */
static void settle(vlm_desk *desk)
{
    for (vlm_call *call = desk->calls; call;) {
        vlm_call *next = call->next;
        desk->link->withdraw(desk, call);
        vlm_call_free(call);
        call = next;
    }
    desk->calls = NULL;
    desk->waiting = NULL;
    vlm_logf(&desk->log, VLMOE_LOG_DEBUG, "comm", "%s", desk->failure.text);
}

void vlm_desk_fail(vlm_desk *desk, const vlmoe_error *why)
{
    if (desk->failure.status) return;
    desk->failure = *why;
    tell_all(desk, VLM_MAIL_FAILED, why->status, why->text);
    settle(desk);
}

void vlm_post_abort(vlm_comm *comm, vlmoe_status status, const char *reason)
{
    vlm_desk *desk = ((vlm_post *)comm)->desk;
    if (desk->failure.status) return;
    vlm_fail(&desk->failure, status, "this rank (%d) gave up: %s", desk->rank, reason);
    char text[VLMOE_ERROR_TEXT];
    snprintf(text, sizeof text, "%s", reason);
    tell_all(desk, VLM_MAIL_GAVE_UP, status, text);
    settle(desk);
}

static void told(vlm_desk *desk, const vlm_mail *mail)
{
    if (desk->failure.status) return;
    if (mail->head.kind == VLM_MAIL_GAVE_UP)
        vlm_fail(&desk->failure, VLMOE_E_COMM, "rank %d gave up: %s", mail->from, mail->text);
    else
        vlm_fail(&desk->failure, (vlmoe_status)mail->head.number, "rank %d found: %s", mail->from,
                 mail->text);
    settle(desk);
}

static vlm_post *find_post(const vlm_desk *desk, uint64_t context)
{
    vlm_post *post = desk->posts;
    while (post && post->context != context) post = post->next;
    return post;
}

static void block_came(vlm_desk *desk, vlm_mail *mail)
{
    const vlm_post *post = find_post(desk, mail->head.context);
    vlmoe_error error = {0};
    if (post && mail->head.number < post->n_begun) {
        vlm_post_take(desk, post, mail, &error);
    } else {
        mail->next = NULL;
        if (desk->last_early) desk->last_early->next = mail;
        else desk->early = mail;
        desk->last_early = mail;
        if (post) vlm_post_overtaken(desk, post, mail, &error);
    }
    if (error.status) vlm_desk_fail(desk, &error);
}

void vlm_desk_mail(vlm_desk *desk, vlm_mail *mail)
{
    if (mail->head.kind == VLM_MAIL_BLOCK && !desk->failure.status) {
        block_came(desk, mail);
        return;
    }
    vlm_desk_peer *peer = &desk->peers[mail->from];
    switch ((vlm_mail_kind)mail->head.kind) {
    case VLM_MAIL_BLOCK: /* too late */
        break;
    case VLM_MAIL_FAILED:
    case VLM_MAIL_GAVE_UP:
        told(desk, mail);
        break;
    case VLM_MAIL_LEFT:
        peer->has_left = true;
        break;
    case VLM_MAIL_ASK:
        if (!desk->failure.status) vlm_post_answer(desk, mail->from);
        break;
    case VLM_MAIL_ANSWER:
        snprintf(peer->words, sizeof peer->words, "%s", mail->text);
        break;
    }
    desk->link->drop(desk, mail);
}

vlm_mail *vlm_desk_early(vlm_desk *desk, uint64_t context, int64_t number)
{
    vlm_mail *before = NULL, *mail = desk->early;
    while (mail && (mail->head.context != context || mail->head.number != number)) {
        before = mail;
        mail = mail->next;
    }
    if (!mail) return NULL;
    if (before) before->next = mail->next;
    else desk->early = mail->next;
    if (desk->last_early == mail) desk->last_early = before;
    return mail;
}

/* A communicator given up in the middle of a call, while others of its desk live on. */
static void give_up_calls(vlm_desk *desk, const vlm_post *post)
{
    for (const vlm_call *call = desk->calls; call; call = call->next) {
        if (call->post != post) continue;
        char reason[VLM_MAIL_WHAT + 64];
        snprintf(reason, sizeof reason, "it left in the middle of \"%s\"", call->what);
        vlm_post_abort(&call->post->comm, VLMOE_E_COMM, reason);
        return;
    }
}

static void close_desk(vlm_desk *desk)
{
    if (!desk->failure.status) tell_all(desk, VLM_MAIL_LEFT, VLMOE_OK, NULL);
    while (desk->early) {
        vlm_mail *mail = desk->early;
        desk->early = mail->next;
        desk->link->drop(desk, mail);
    }
    vlm_free(desk->peers);
    desk->link->close(desk);
}

void vlm_post_destroy(vlm_comm *comm)
{
    vlm_post *post = (vlm_post *)comm;
    vlm_desk *desk = post->desk;
    give_up_calls(desk, post);
    vlm_post **link = &desk->posts;
    while (*link != post) link = &(*link)->next;
    *link = post->next;
    while (post->spare) {
        vlm_call *call = post->spare;
        post->spare = call->next;
        vlm_free(call);
    }
    vlm_free(post->ranks);
    vlm_comm_fini(comm);
    vlm_free(post);
    if (!desk->posts) close_desk(desk);
}

typedef struct split_word {
    uint64_t context; /* that this rank proposes; the first member's is taken */
    int32_t colour, key;
} split_word;

typedef struct member {
    int32_t key;
    int rank;
} member;

static int by_key_and_rank(const void *a, const void *b)
{
    const member *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->rank - y->rank;
}

static vlmoe_status make_part(vlm_post *from, const split_word *words, member *members,
                              vlm_comm **out, vlmoe_error *error)
{
    const vlm_comm *comm = &from->comm;
    int n = 0, mine = 0;
    for (int p = 0; p < comm->size; p++)
        if (words[p].colour == words[comm->rank].colour)
            members[n++] = (member){.key = words[p].key, .rank = p};
    qsort(members, (size_t)n, sizeof *members, by_key_and_rank);
    while (members[mine].rank != comm->rank) mine++;

    const vlm_comm_params params = {.backend = comm->backend,
                                    .device = comm->device,
                                    .deadline_seconds = comm->deadline_seconds,
                                    .log = &comm->log};
    vlm_post *post;
    VLM_TRY(make_post(from->desk, comm->ops, mine, n, &params, &post, error));
    post->context = words[members[0].rank].context;
    for (int i = 0; i < n; i++) post->ranks[i] = from->ranks[members[i].rank];
    *out = &post->comm;
    return VLMOE_OK;
}

vlmoe_status vlm_post_split(vlm_comm *comm, int colour, int key, const char *what, vlm_comm **out,
                            vlmoe_error *error)
{
    vlm_post *post = (vlm_post *)comm;
    vlm_desk *desk = post->desk;
    const uint64_t context = ((uint64_t)desk->rank + 1) << 32 | desk->n_contexts++;
    const split_word word = {.context = context, .colour = colour, .key = key};
    split_word *words = vlm_alloc_array((size_t)comm->size, sizeof *words);
    member *members = vlm_alloc_array((size_t)comm->size, sizeof *members);
    vlmoe_status st = VLMOE_E_NOMEM;
    if (words && members) st = vlm_comm_share(comm, what, &word, sizeof word, words, error);
    else vlm_fail(error, st, "%s: out of memory for words of %d ranks", what, comm->size);
    if (!st) st = make_part(post, words, members, out, error);
    vlm_free(words);
    vlm_free(members);
    return st;
}
