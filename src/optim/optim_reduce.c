/* Sums over groups of what several ranks compute: gradients go to the owner of each element, who adds them in the order of ranks; values
 * go back. Communicators only move bytes, so the order of the sums is this file's, and is that of one rank. */
#include "optim_reduce.h"
#include <string.h>
#include "autograd_defer.h"
#include "autograd_spread.h"

/* ---- what travels ---- */

/* Bytes and places of an exchange by rank, and the buckets under way. */
typedef struct trip {
    size_t *send_bytes, *send_at, *recv_bytes, *recv_at; /* [size] each */
    vlm_comm_exchange exchange;                          /* with these lists */
    vlm_comm_ticket ticket[VLM_SPREAD_WINDOW];
} trip;

static vlmoe_status trip_open(vlmoe_context *ctx, const vlm_spread *s, trip *t)
{
    size_t n = (size_t)s->size, *lists = vlm_alloc_array(4 * n, sizeof *lists);
    if (!lists)
        return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory to exchange with %d ranks", s->size);
    *t = (trip){lists, lists + n, lists + 2 * n, lists + 3 * n, {0}, {{0}}};
    t->exchange = (vlm_comm_exchange){.send_bytes = t->send_bytes,
                                      .send_at = t->send_at,
                                      .recv_bytes = t->recv_bytes,
                                      .recv_at = t->recv_at};
    return VLMOE_OK;
}

static void trip_close(trip *t)
{
    vlm_free(t->send_bytes);
}

static vlmoe_status start(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket)
{
    return vlm_comm_start(s->comm, &t->exchange, &t->ticket[bucket % VLM_SPREAD_WINDOW],
                          &ctx->error);
}

static vlmoe_status finish(vlmoe_context *ctx, const vlm_spread *s, const trip *t, int64_t bucket)
{
    return vlm_comm_wait(s->comm, t->ticket[bucket % VLM_SPREAD_WINDOW], &ctx->error);
}

/* ---- gradients to their owners ---- */

/* Where rank r's part of a bucket arrives: one after the other, without a place for this rank itself. */
static char *arriving(const vlmoe_context *ctx, const vlm_spread *s, int64_t bucket, int r)
{
    size_t slot = ctx->spreads->arriving_bytes / VLM_SPREAD_WINDOW;
    size_t bytes = (size_t)(s->own[bucket + 1] - s->own[bucket]) * vlm_dtype_bytes(ctx->wide);
    return (char *)ctx->spreads->arriving + (size_t)(bucket % VLM_SPREAD_WINDOW) * slot +
           (size_t)(r - (r > s->rank)) * bytes;
}

static vlmoe_status send_gradients(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket)
{
    size_t wide = vlm_dtype_bytes(ctx->wide);
    char *first = arriving(ctx, s, bucket, 0);
    for (int r = 0; r < s->size; r++) {
        int64_t begin = vlm_spread_begin(s, bucket, r), n = vlm_spread_end(s, bucket, r) - begin;
        bool is_other = r != s->rank;
        t->send_bytes[r] = is_other ? (size_t)n * wide : 0;
        t->send_at[r] = (size_t)begin * wide;
        t->recv_bytes[r] = is_other ? (size_t)(s->own[bucket + 1] - s->own[bucket]) * wide : 0;
        t->recv_at[r] = is_other ? (size_t)(arriving(ctx, s, bucket, r) - first) : 0;
    }
    t->exchange.what = "gradients to their owners";
    t->exchange.purpose = VLM_COMM_GRADIENTS;
    t->exchange.send = s->grads;
    t->exchange.recv = first;
    return start(ctx, s, t, bucket);
}

static vlmoe_status add_gradients(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket)
{
    size_t wide = vlm_dtype_bytes(ctx->wide);
    int64_t begin = vlm_spread_begin(s, bucket, s->rank);
    VLM_TRY(finish(ctx, s, t, bucket));
    for (int r = 0; r < s->size; r++) {
        const vlmk_axpy_args args = {.n = s->own[bucket + 1] - s->own[bucket],
                                     .factor = 1.0,
                                     .src = r == s->rank ? (char *)s->grads + (size_t)begin * wide
                                                         : arriving(ctx, s, bucket, r),
                                     .dst = (char *)s->sums + (size_t)s->own[bucket] * wide,
                                     .accumulate = 1};
        if (args.n) VLM_TRY(VLM_KERNEL(ctx, axpy, &args));
    }
    return ctx->backend->sync(ctx->device, &ctx->error); /* the place is used again */
}

typedef vlmoe_status (*bucket_fn)(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket);

/* Buckets overlap: the next one is on its way while one is received. After a failure what is under way still has to end, since it
 * reads and writes memory here; that takes no longer than the deadline. */
static vlmoe_status each_bucket(vlmoe_context *ctx, const vlm_spread *s, bucket_fn send,
                                bucket_fn receive)
{
    trip t;
    int64_t sent = 0, received = 0;
    VLM_TRY(trip_open(ctx, s, &t));
    vlmoe_status status = VLMOE_OK;
    while (received < s->n_buckets && !status) {
        bool may_send = sent < s->n_buckets && sent - received < VLM_SPREAD_WINDOW;
        status = may_send ? send(ctx, s, &t, sent) : receive(ctx, s, &t, received);
        if (may_send) sent += !status;
        else received++;
    }
    for (; received < sent; received++) (void)finish(ctx, s, &t, received);
    trip_close(&t);
    return status;
}

/* What waits of these parameters is a part of this micro-step; that of experts with one set may wait on. */
static vlmoe_status settle(vlmoe_context *ctx)
{
    for (int i = 1; i < ctx->spreads->n; i++)
        if (ctx->spreads->spread[i].n) return vlm_defer_flush(ctx);
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (vlm_spread_of(ctx, ctx->params[i]) >= 0) VLM_TRY(vlm_defer_settle(ctx, ctx->params[i]));
    return VLMOE_OK;
}

static vlmoe_status reduce(vlmoe_context *ctx)
{
    VLM_TRY(settle(ctx));
    VLM_TRY(ctx->backend->sync(ctx->device, &ctx->error));
    for (int i = 0; i < ctx->spreads->n; i++)
        VLM_TRY(each_bucket(ctx, &ctx->spreads->spread[i], send_gradients, add_gradients));
    return vlm_spreads_restart(ctx);
}

vlmoe_status vlm_reduce_micro_step(vlmoe_context *ctx)
{
    vlm_ctx_error(ctx);
    if (ctx->spreads) {
        vlm_span_begin(ctx->spans, VLM_SPAN_PHASE, "sums over ranks", NULL, -1);
        vlmoe_status st = reduce(ctx);
        vlm_span_end(ctx->spans);
        VLM_TRY(st);
    }
    return vlm_grad_groups_done(ctx, vlm_ctx_size(ctx));
}

vlmoe_status vlm_reduce_finish(vlmoe_context *ctx)
{
    vlm_ctx_error(ctx);
    if (ctx->groups && ctx->groups_done != ctx->groups)
        return vlm_fail(&ctx->error, VLMOE_E_STATE, "a step has %lld groups, %lld are done",
                        (long long)ctx->groups, (long long)ctx->groups_done);
    return vlm_defer_flush(ctx);
}

/* ---- values to all who compute with them ---- */

/* The elements of a spread that travel as wide values, or as copies. */
typedef struct section {
    int64_t begin, end; /* elements of the spread */
    int64_t first;      /* which element base is */
    size_t element;     /* bytes */
    char *base;
} section;

static section section_of(const vlmoe_context *ctx, const vlm_spread *s, bool is_copy)
{
    if (!is_copy) return (section){0, s->n_wide, 0, vlm_dtype_bytes(ctx->wide), s->wide};
    return (section){s->n_wide, s->n, s->first_copy, vlm_dtype_bytes(ctx->compute), s->copies};
}

static vlmoe_status share_section(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket,
                                  bool is_copy)
{
    const section c = section_of(ctx, s, is_copy);
    for (int r = 0; r < s->size; r++) {
        int64_t begin = VLM_MAX(vlm_spread_begin(s, bucket, r), c.begin);
        int64_t n = VLM_MAX(VLM_MIN(vlm_spread_end(s, bucket, r), c.end) - begin, 0);
        t->recv_at[r] = n ? (size_t)(begin - c.first) * c.element : 0;
        t->recv_bytes[r] = (size_t)n * c.element;
    }
    size_t own_at = t->recv_at[s->rank], own_bytes = t->recv_bytes[s->rank];
    for (int r = 0; r < s->size; r++) {
        t->send_at[r] = own_at;
        t->send_bytes[r] = r == s->rank ? 0 : own_bytes;
    }
    t->recv_bytes[s->rank] = 0;
    t->exchange.what = "values from their owners";
    t->exchange.purpose = VLM_COMM_VALUES;
    t->exchange.send = t->exchange.recv = c.base;
    return start(ctx, s, t, bucket);
}

static vlmoe_status send_wide(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket)
{
    return share_section(ctx, s, t, bucket, false);
}

static vlmoe_status send_copies(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket)
{
    return share_section(ctx, s, t, bucket, true);
}

static vlmoe_status receive(vlmoe_context *ctx, const vlm_spread *s, trip *t, int64_t bucket)
{
    return finish(ctx, s, t, bucket);
}

static vlmoe_status share_values(vlmoe_context *ctx)
{
    VLM_TRY(ctx->backend->sync(ctx->device, &ctx->error));
    for (int i = 0; i < ctx->spreads->n; i++) {
        const vlm_spread *s = &ctx->spreads->spread[i];
        if (s->n_wide) VLM_TRY(each_bucket(ctx, s, send_wide, receive));
        if (s->n_wide < s->n) VLM_TRY(each_bucket(ctx, s, send_copies, receive));
    }
    return vlm_spreads_refresh(ctx);
}

vlmoe_status vlm_reduce_share_values(vlmoe_context *ctx)
{
    if (!ctx->spreads) return VLMOE_OK;
    vlm_span_begin(ctx->spans, VLM_SPAN_PHASE, "values to ranks", NULL, -1);
    vlmoe_status st = share_values(ctx);
    vlm_span_end(ctx->spans);
    return st;
}

/* Elements of section c that this rank owns. */
static size_t owned_of(const vlm_spread *s, section c)
{
    int64_t n = 0;
    for (int64_t b = 0; b < s->n_buckets; b++) {
        int64_t begin = VLM_MAX(vlm_spread_begin(s, b, s->rank), c.begin);
        n += VLM_MAX(VLM_MIN(vlm_spread_end(s, b, s->rank), c.end) - begin, 0);
    }
    return (size_t)n;
}

vlm_reduce_bytes vlm_reduce_sent(const vlmoe_context *ctx)
{
    vlm_reduce_bytes sent = {0, 0};
    for (int i = 0; ctx->spreads && i < ctx->spreads->n; i++) {
        const vlm_spread *s = &ctx->spreads->spread[i];
        const section wide = section_of(ctx, s, false), copies = section_of(ctx, s, true);
        size_t others = (size_t)s->size - 1, own = (size_t)s->own[s->n_buckets];
        sent.gradients += ((size_t)s->n - own) * vlm_dtype_bytes(ctx->wide);
        sent.values +=
            others * (owned_of(s, wide) * wide.element + owned_of(s, copies) * copies.element);
    }
    return sent;
}

/* ---- the norm ---- */

vlmoe_status vlm_reduce_share_blocks(vlmoe_context *ctx, const double *mine, int64_t n_mine,
                                     double *out)
{
    char *all = NULL;
    int size = vlm_ctx_size(ctx);
    size_t *at = vlm_alloc_array((size_t)size + 1, sizeof *at);
    vlmoe_status status = VLMOE_OK;
    if (!at) status = vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory for the gradient norm");
    if (!status)
        status = vlm_comm_share_blocks(ctx->ranks->world, "sums of the gradient norm", mine,
                                       (size_t)n_mine * sizeof *mine, &all, at, &ctx->error);
    for (int64_t i = 0; i < ctx->n_pieces && !status; i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        size_t bytes = (size_t)vlm_piece_blocks(piece) * sizeof *out;
        if (!piece->param->trained) continue;
        memcpy(out, all + at[piece->owner], bytes);
        at[piece->owner] += bytes;
        out += vlm_piece_blocks(piece);
    }
    vlm_free(all);
    vlm_free(at);
    return status;
}
