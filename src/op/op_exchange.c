/* Rows of experts between ranks: to the ranks that hold the experts, and back. Bytes move and nothing is computed, so a row's bits do
 * not tell where it has been. Which rank holds what stands in comm_layout.h, what the two orders of rows are in vlmk.h (exchange_plan).
 *
 * Exact: the ranks of a set first share on the host how many rows each has for each expert; blocks and tensors are as long as that.
 * Fixed: each rank sends `slots` places for each expert, and how many of them are taken; no host needs to know how many, and every
 * step has the same sizes. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "op_util.h"

enum { WHAT_TEXT = 96 };

/* What a call of the communicator is for, the same text on every rank. */
static const char *name_call(const vlmoe_tape *tape, const char *purpose, char text[WHAT_TEXT])
{
    snprintf(text, WHAT_TEXT, "%s%s%s", tape->where, tape->where[0] ? ": " : "", purpose);
    return text;
}

/* ---- how many rows go where ---- */

/* What the ranks of a set tell each other: [members, E + 1] bounds of each one's rows by expert. */
static int64_t rows_between(const vlm_exchange *x, const int32_t *all, int64_t s, int64_t member)
{
    const int32_t *bound = all + s * (x->n_experts + 1) + member * x->E;
    return (int64_t)bound[x->E] - bound[0];
}

static int64_t thousandths(double factor)
{
    return llround(factor * 1000.0);
}

/* The most rows a rank may receive of `total` of its set; -1 = any number. */
static int64_t receive_bound(const vlm_exchange *x, double factor, int64_t total)
{
    if (factor <= 0.0) return -1;
    return (thousandths(factor) * total + 1000 * x->R - 1) / (1000 * x->R);
}

/* Every rank of the set finds the same first rank that would receive too much; the other sets are told. */
static bool check_received(vlmoe_tape *tape, const vlm_exchange *x, const int32_t *all,
                           double factor)
{
    int64_t total = 0;
    for (int64_t s = 0; s < x->R; s++) total += all[s * (x->n_experts + 1) + x->n_experts];
    int64_t bound = receive_bound(x, factor, total);
    const vlm_ranks *ranks = tape->ctx->ranks;
    for (int64_t m = 0; m < x->R; m++) {
        int64_t received = 0;
        for (int64_t s = 0; s < x->R; s++) received += rows_between(x, all, s, m);
        if (received <= INT32_MAX && (bound < 0 || received <= bound)) continue;
        long long rank = ranks->rank - x->member + m;
        if (received > INT32_MAX)
            vlm_poison(tape, VLMOE_E_SHAPE,
                       "rank %lld would receive %lld rows, more than a row number can count", rank,
                       (long long)received);
        else
            vlm_poison(tape, VLMOE_E_ARG,
                       "rank %lld would receive %lld rows of its experts, and moe.receive_factor = "
                       "%g lets it take %lld (that many times the mean of %lld rows on %lld "
                       "ranks). Raise it, or limit the rows of an expert by moe.capacity_factor",
                       rank, (long long)received, factor, (long long)bound, (long long)total,
                       (long long)x->R);
        if (x->R < ranks->size) vlm_comm_abort(ranks->world, tape->status, tape->ctx->error.text);
        return false;
    }
    return true;
}

/* Share the bounds of this rank's rows with the set; keep those of the rows it will receive. */
static void share_bounds(vlmoe_tape *tape, vlm_exchange *x, const vlm_exchange_policy *policy)
{
    vlmoe_context *ctx = tape->ctx;
    size_t bytes = (size_t)(x->n_experts + 1) * sizeof(int32_t);
    char what[WHAT_TEXT];
    int32_t *all = vlm_tape_host(tape, (size_t)x->R * bytes);
    if (!all) return;
    vlmoe_status status = vlm_comm_share(x->set, name_call(tape, "rows of each expert", what),
                                         x->home_bound, bytes, all, &ctx->error);
    if (status) {
        tape->status = status;
        return;
    }
    if (!check_received(tape, x, all, policy->receive_factor)) return;
    for (int64_t s = 0; s < x->R; s++)
        memcpy(x->bound + s * (x->E + 1), all + s * (x->n_experts + 1) + x->member * x->E,
               (size_t)(x->E + 1) * sizeof(int32_t));
    size_t own = (size_t)(x->R * (x->E + 1)) * sizeof(int32_t);
    status = ctx->backend->upload(ctx->device, x->d_bound, x->bound, own);
    if (status) vlm_poison(tape, status, "exchange: upload of counts of rows failed");
}

static void download(vlmoe_tape *tape, int32_t *host, const int32_t *from, int64_t n)
{
    vlmoe_context *ctx = tape->ctx;
    if (tape->status) return;
    vlmoe_status status = ctx->backend->download(ctx->device, host, from, (size_t)n * sizeof *host);
    if (status) vlm_poison(tape, status, "exchange: download of counts of rows failed");
}

/* Rows for each rank and from each, by what the set has shared now or, when a segment is run again, before. */
static void count_exact(vlmoe_tape *tape, vlm_exchange *x, const vlm_exchange_policy *policy,
                        bool is_new)
{
    int64_t n_bounds = x->R * (x->E + 1);
    x->home_bound = vlm_tape_host(tape, (size_t)(x->n_experts + 1) * sizeof *x->home_bound);
    x->bound = vlm_tape_host(tape, (size_t)n_bounds * sizeof *x->bound);
    download(tape, x->home_bound, x->routing->d_expert_offset, x->n_experts + 1);
    if (tape->status) return;
    if (is_new) share_bounds(tape, x, policy);
    else download(tape, x->bound, x->d_bound, n_bounds);
    if (tape->status) return;
    for (int64_t p = 0; p < x->R; p++) {
        const int32_t *home = x->home_bound + p * x->E, *away = x->bound + p * (x->E + 1);
        x->home[p] = (vlm_exchange_block){.rows = home[x->E] - home[0], .at = home[0]};
        x->away[p] = (vlm_exchange_block){.rows = away[x->E] - away[0], .at = x->n_arrival};
        x->n_arrival += x->away[p].rows;
    }
    x->n_rows = x->n_arrival;
}

/* Rows that a rank must have room for, where there are none: the largest number that the settings allow. */
static void count_planned(vlm_exchange *x, const vlm_exchange_policy *policy)
{
    int64_t total = x->R * x->n_home, served = 0;
    int64_t bound = receive_bound(x, policy->receive_factor, total);
    bool has_capacity = true;
    for (int64_t s = 0; s < x->routing->n_sets; s++) {
        has_capacity &= x->routing->capacity[s] >= 0;
        served += x->routing->capacity[s];
    }
    x->n_rows = bound >= 0 ? VLM_MIN(bound, total) : total;
    if (has_capacity) x->n_rows = VLM_MIN(x->n_rows, x->R * x->E * served);
    x->n_arrival = x->n_rows;
}

/* The same number of places between any two ranks, and how many of them are taken. */
static void count_fixed(vlmoe_tape *tape, vlm_exchange *x, bool is_new)
{
    vlmoe_context *ctx = tape->ctx;
    char what[WHAT_TEXT];
    for (int64_t p = 0; p < x->R; p++)
        x->home[p] = x->away[p] =
            (vlm_exchange_block){.rows = x->E * x->slots, .at = p * x->E * x->slots};
    x->n_rows = x->n_arrival = x->R * x->E * x->slots;
    if (!is_new || !ctx->backend->has_data) return;
    size_t *bytes = vlm_tape_host(tape, (size_t)(3 * x->R) * sizeof *bytes);
    if (!bytes) return;
    size_t *send_at = bytes + x->R, *recv_at = send_at + x->R;
    for (int64_t p = 0; p < x->R; p++) {
        bytes[p] = (size_t)(x->E + 1) * sizeof(int32_t);
        send_at[p] = (size_t)(p * x->E) * sizeof(int32_t);
        recv_at[p] = (size_t)p * bytes[p];
    }
    const vlm_comm_exchange call = {.what = name_call(tape, "taken slots", what),
                                    .send = x->routing->d_expert_offset,
                                    .send_bytes = bytes,
                                    .send_at = send_at,
                                    .recv = x->d_bound,
                                    .recv_bytes = bytes,
                                    .recv_at = recv_at};
    vlmoe_status status = vlm_comm_run(x->set, &call, &ctx->error);
    if (status) tape->status = status;
}

/* ---- where rows stand ---- */

static int32_t *take_ints(vlmoe_tape *tape, int64_t n)
{
    return vlm_tape_device(tape, (size_t)n * sizeof(int32_t));
}

static void run_plan(vlmoe_tape *tape, const vlmk_exchange_plan_args *args)
{
    if (tape->status) return;
    vlmoe_status status = VLM_KERNEL(tape->ctx, exchange_plan, args);
    if (status) tape->status = status;
}

/* Where rows of this rank's experts stand. */
static void plan_away(vlmoe_tape *tape, vlm_exchange *x)
{
    x->d_run_offset = take_ints(tape, x->R * x->E + 1);
    x->d_expert_offset = take_ints(tape, x->E + 1);
    x->d_arrival = take_ints(tape, x->n_rows);
    x->d_place = take_ints(tape, x->n_arrival);
    run_plan(tape, &(vlmk_exchange_plan_args){.R = x->R,
                                              .E = x->E,
                                              .slots = x->slots,
                                              .n_arrival = x->n_arrival,
                                              .n_expert = x->n_rows,
                                              .bound = x->d_bound,
                                              .run_offset = x->d_run_offset,
                                              .expert_offset = x->d_expert_offset,
                                              .arrival = x->d_arrival,
                                              .place = x->d_place});
}

/* Where this rank's own rows stand among the slots it sends. */
static void plan_home(vlmoe_tape *tape, vlm_exchange *x)
{
    int64_t n_slots = x->n_experts * x->slots;
    int32_t *d_offset = take_ints(tape, 2 * (x->n_experts + 1));
    x->d_slot = take_ints(tape, x->n_home);
    x->d_home = take_ints(tape, n_slots);
    if (tape->status) return;
    run_plan(tape, &(vlmk_exchange_plan_args){.R = 1,
                                              .E = x->n_experts,
                                              .slots = x->slots,
                                              .n_arrival = n_slots,
                                              .n_expert = x->n_home,
                                              .bound = x->routing->d_expert_offset,
                                              .run_offset = d_offset,
                                              .expert_offset = d_offset + x->n_experts + 1,
                                              .arrival = x->d_slot,
                                              .place = x->d_home});
    vlm_tape_give(tape, d_offset);
}

/* No set of this recording may fill more places than an expert has. */
static bool check_slots(vlmoe_tape *tape, const vlm_exchange *x)
{
    int64_t served = 0;
    for (int64_t s = 0; s < x->routing->n_sets; s++) {
        if (x->routing->capacity[s] < 0)
            return vlm_poison(tape, VLMOE_E_ARG,
                              "moe.exchange = slots sends as many rows as an expert may take, and "
                              "moe.capacity_factor = 0 sets no limit. Give a factor above 0, or "
                              "set moe.exchange = counts");
        served += x->routing->capacity[s];
    }
    if (x->n_experts * x->slots > INT32_MAX)
        vlm_poison(tape, VLMOE_E_SHAPE,
                   "%lld slots for each of %lld experts are more than a row number can count: give "
                   "a smaller moe.capacity_factor, or set moe.exchange = counts",
                   (long long)x->slots, (long long)x->n_experts);
    if (served > x->slots)
        vlm_poison(tape, VLMOE_E_INTERNAL,
                   "exchange: an expert takes up to %lld rows of this group and has %lld slots",
                   (long long)served, (long long)x->slots);
    return tape->status == VLMOE_OK;
}

vlm_exchange *vlm_exchange_make(vlmoe_tape *tape, vlm_routing *routing,
                                const vlm_exchange_policy *policy)
{
    if (!tape || tape->status) return NULL;
    if (!routing) return vlm_poison(tape, VLMOE_E_ARG, "exchange: routing is NULL");
    const vlm_expert_ranks *ranks =
        tape->ctx->ranks ? vlm_ranks_of(tape->ctx->ranks, routing->E) : NULL;
    if (!ranks)
        return vlm_poison(tape, VLMOE_E_INTERNAL, "exchange: no ranks share %lld experts",
                          (long long)routing->E);
    vlm_exchange *x = vlm_tape_host(tape, sizeof *x);
    if (!x) return NULL;
    *x = (vlm_exchange){.routing = routing,
                        .set = ranks->set,
                        .R = ranks->layout.members,
                        .member = vlm_expert_member(&ranks->layout, tape->ctx->ranks->rank),
                        .n_experts = routing->E,
                        .E = ranks->layout.per_rank,
                        .n_home = routing->T * routing->K,
                        .is_fixed = policy->is_fixed,
                        .slots = policy->is_fixed ? policy->slots : 0};
    if (x->is_fixed && !check_slots(tape, x)) return NULL;
    bool is_new;
    x->home = vlm_tape_host(tape, (size_t)x->R * sizeof *x->home);
    x->away = vlm_tape_host(tape, (size_t)x->R * sizeof *x->away);
    x->d_bound = vlm_keep(tape, (size_t)(x->R * (x->E + 1)) * sizeof *x->d_bound, &is_new);
    if (tape->status) return NULL;
    if (x->is_fixed) count_fixed(tape, x, is_new);
    else if (tape->ctx->backend->has_data) count_exact(tape, x, policy, is_new);
    else count_planned(x, policy);
    if (!tape->status) plan_away(tape, x);
    if (!tape->status && x->is_fixed) plan_home(tape, x);
    return tape->status ? NULL : x;
}

/* ---- moving rows ---- */

/* Rows of one width and type on their way. */
typedef struct movement {
    const vlm_exchange *x;
    vlmoe_dtype dtype;
    int64_t cols;
    const char *purpose;
} movement;

static void *take_rows(vlmoe_tape *tape, const movement *m, int64_t rows)
{
    return vlm_tape_device(tape, (size_t)(rows * m->cols) * vlm_dtype_bytes(m->dtype));
}

/* out[i] = in[index[i]], zeros where index is -1. */
static vlmoe_status reorder(vlmoe_tape *tape, const movement *m, const vlmk_gather_rows_args *order)
{
    vlmk_gather_rows_args args = *order;
    args.in_dtype = args.out_dtype = m->dtype;
    args.cols = m->cols;
    return VLM_KERNEL(tape->ctx, gather_rows, &args);
}

/* Blocks of rows of each rank to each rank. */
static vlmoe_status send_blocks(vlmoe_tape *tape, const movement *m, const void *send,
                                const vlm_exchange_block *from, void *recv,
                                const vlm_exchange_block *to)
{
    size_t R = (size_t)m->x->R, row = (size_t)m->cols * vlm_dtype_bytes(m->dtype);
    char what[WHAT_TEXT];
    if (!tape->ctx->backend->has_data) return VLMOE_OK;
    size_t *sizes = vlm_tape_host(tape, 4 * R * sizeof *sizes);
    if (!sizes) return tape->status;
    for (size_t p = 0; p < R; p++) {
        sizes[p] = (size_t)from[p].rows * row;
        sizes[R + p] = (size_t)from[p].at * row;
        sizes[2 * R + p] = (size_t)to[p].rows * row;
        sizes[3 * R + p] = (size_t)to[p].at * row;
    }
    const vlm_comm_exchange call = {.what = name_call(tape, m->purpose, what),
                                    .purpose = VLM_COMM_ROWS,
                                    .send = send,
                                    .send_bytes = sizes,
                                    .send_at = sizes + R,
                                    .recv = recv,
                                    .recv_bytes = sizes + 2 * R,
                                    .recv_at = sizes + 3 * R};
    return vlm_comm_run(m->x->set, &call, &tape->ctx->error);
}

/* rows [n_home, cols] of this rank's group to out [n_rows, cols] of its experts. */
static vlmoe_status move_away(vlmoe_tape *tape, const movement *m, const void *rows, void *out)
{
    const vlm_exchange *x = m->x;
    void *packed = x->is_fixed ? take_rows(tape, m, x->n_experts * x->slots) : NULL;
    bool is_sorted = x->E == 1 && !x->is_fixed; /* as they arrive */
    void *arrived = is_sorted ? out : take_rows(tape, m, x->n_arrival);
    if (tape->status) return tape->status;
    if (x->is_fixed)
        VLM_TRY(reorder(tape, m,
                        &(vlmk_gather_rows_args){.n_out = x->n_experts * x->slots,
                                                 .n_in = x->n_home,
                                                 .in = rows,
                                                 .index = x->d_home,
                                                 .out = packed}));
    VLM_TRY(send_blocks(tape, m, packed ? packed : rows, x->home, arrived, x->away));
    vlm_tape_give(tape, packed);
    if (is_sorted) return VLMOE_OK;
    VLM_TRY(reorder(tape, m,
                    &(vlmk_gather_rows_args){.n_out = x->n_rows,
                                             .n_in = x->n_arrival,
                                             .in = arrived,
                                             .index = x->d_arrival,
                                             .out = out}));
    vlm_tape_give(tape, arrived);
    return VLMOE_OK;
}

/* The way back: rows [n_rows, cols] to out [n_home, cols]. */
static vlmoe_status move_home(vlmoe_tape *tape, const movement *m, const void *rows, void *out)
{
    const vlm_exchange *x = m->x;
    bool is_sorted = x->E == 1 && !x->is_fixed;
    void *arrived = is_sorted ? NULL : take_rows(tape, m, x->n_arrival);
    void *packed = x->is_fixed ? take_rows(tape, m, x->n_experts * x->slots) : NULL;
    if (tape->status) return tape->status;
    if (!is_sorted)
        VLM_TRY(reorder(tape, m,
                        &(vlmk_gather_rows_args){.n_out = x->n_arrival,
                                                 .n_in = x->n_rows,
                                                 .in = rows,
                                                 .index = x->d_place,
                                                 .out = arrived}));
    VLM_TRY(
        send_blocks(tape, m, arrived ? arrived : rows, x->away, packed ? packed : out, x->home));
    vlm_tape_give(tape, arrived);
    if (!x->is_fixed) return VLMOE_OK;
    VLM_TRY(reorder(tape, m,
                    &(vlmk_gather_rows_args){.n_out = x->n_home,
                                             .n_in = x->n_experts * x->slots,
                                             .in = packed,
                                             .index = x->d_slot,
                                             .out = out}));
    vlm_tape_give(tape, packed);
    return VLMOE_OK;
}

/* ---- exchange ---- */

typedef struct exchange_attr {
    const vlm_exchange *exchange;
    vlm_direction direction;
} exchange_attr;

vlmoe_status vlm_exchange_infer(vlmoe_tape *tape, vlm_node *node)
{
    const exchange_attr *attr = node->attr;
    const vlm_exchange *x = attr->exchange;
    const vlmoe_tensor *rows = node->input[0];
    bool is_away = attr->direction == VLM_TO_EXPERTS;
    int64_t want = is_away ? x->n_home : x->n_rows;
    VLM_TRY(vlm_need_float(tape, rows, "rows"));
    if (rows->rank != 2 || rows->dim[0] != want)
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "rows are %s, %lld are planned", VLM_SHAPE(rows),
                           (long long)want);
    vlm_op_output(node, rows->dtype, 2,
                  (const int64_t[]){is_away ? x->n_rows : x->n_home, rows->dim[1]});
    return VLMOE_OK;
}

vlmoe_status vlm_exchange_forward(vlmoe_tape *tape, vlm_node *node)
{
    const exchange_attr *attr = node->attr;
    const vlmoe_tensor *rows = node->input[0];
    bool is_away = attr->direction == VLM_TO_EXPERTS;
    const movement m = {.x = attr->exchange,
                        .dtype = rows->dtype,
                        .cols = rows->dim[1],
                        .purpose = is_away ? "rows to experts" : "rows from experts"};
    node->has_peers = true;
    return is_away ? move_away(tape, &m, rows->data, node->output->data)
                   : move_home(tape, &m, rows->data, node->output->data);
}

/* Where no gradient came, its peers' rows pass all the same, and its own are zeros. */
vlmoe_status vlm_exchange_backward(vlmoe_tape *tape, vlm_node *node)
{
    const exchange_attr *attr = node->attr;
    vlmoe_tensor *rows = node->input[0], *y = node->output;
    bool is_away = attr->direction == VLM_TO_EXPERTS;
    const movement m = {.x = attr->exchange,
                        .dtype = rows->dtype,
                        .cols = rows->dim[1],
                        .purpose = is_away ? "gradients from experts" : "gradients to experts"};
    const void *dy = vlm_grad_of(y);
    void *zeros = dy ? NULL : vlm_tape_device(tape, vlmoe_tensor_bytes(y));
    void *drows = vlm_tape_device(tape, vlmoe_tensor_bytes(rows));
    if (!drows || (!dy && !zeros)) return tape->status;
    if (zeros) VLM_TRY(vlm_op_zero(tape, zeros, vlmoe_tensor_bytes(y)));
    VLM_TRY(is_away ? move_home(tape, &m, dy ? dy : zeros, drows)
                    : move_away(tape, &m, dy ? dy : zeros, drows));
    vlm_tape_give(tape, zeros);
    return vlm_grad_give(tape, rows, drows);
}

vlmoe_tensor *vlm_exchange_rows(vlmoe_tape *tape, vlmoe_tensor *rows, const vlm_exchange *exchange,
                                vlm_direction direction)
{
    if (!tape || tape->status) return NULL;
    if (!exchange) return vlm_poison(tape, VLMOE_E_ARG, "exchange: its plan is NULL");
    const exchange_attr attr = {.exchange = exchange, .direction = direction};
    return vlm_record(tape, &vlm_ops[VLM_OP_exchange], 1, &rows, 0, &attr, sizeof attr);
}
