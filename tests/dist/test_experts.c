/* A sparse layer with its experts on several ranks: outputs, gradients and sums of experts' gradients have the bits that one rank
 * makes of the same groups, one after the other. Ranks are threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "autograd_defer.h"
#include "base_threads.h"
#include "harness.h"
#include "nn.h"
#include "optim_reduce.h"
#include "test_backend.h"

enum { G = 8, D = 16, F = 24, MOST_T = 72, MOST_E = 8, MOST_R = 8 };

typedef struct layer_case {
    const char *what;
    vlmoe_dtype dtype;
    int64_t E, K; /* 0: 4, 1 */
    double capacity;
    bool bpr, recompute, has_slots, is_predict;
    bool all_to_one; /* every token chooses the last expert first */
    bool all_idle;   /* no group has tokens but the first */
    int idle;        /* 1 + a group without tokens */
    int mute;        /* 1 + a group without a loss, so that no gradient comes to its layer */
    size_t defer;    /* bytes for waiting gradients */
    double receive_factor;
} layer_case;

/* What a group made, and what a rank's experts have been given. */
typedef struct group_result {
    float y[MOST_T * D], dx[MOST_T * D], drouter[MOST_E * D];
    double loss;
} group_result;
typedef struct expert_sums {
    float w1[MOST_E * F * D], b1[MOST_E * F], w2[MOST_E * D * F], b2[MOST_E * D];
} expert_sums;
typedef struct run_result {
    group_result group[G];
    expert_sums sums;
} run_result;

/* One rank, or the only one. */
typedef struct side {
    const layer_case *c;
    vlmoe_context *ctx;
    vlm_ranks ranks;
    vlm_comm *world;
    vlmoe_tensor *x[G], *router[G], *expert[4];
    int64_t first, n_local; /* its experts */
    vlmoe_error error;
} side;

static int64_t tokens_of(const layer_case *c, int64_t group)
{
    if (group + 1 == c->idle || (c->all_idle && group > 0)) return 0;
    return group == 3 ? 1 : MOST_T - 7 * group;
}

static float value_at(int64_t stream, int64_t i)
{
    return sinf(0.37F * (float)(i % 1013) + 1.7F * (float)stream + 0.011F * (float)(i / 1013));
}

static vlmoe_status add_param(side *s, const vlm_param *spec, int rank, const int64_t *dim,
                              vlmoe_tensor **out)
{
    vlm_param full = *spec;
    full.trained = true;
    full.lr_scale = 1.0;
    return vlm_param_add(s->ctx, &full, rank, dim, out);
}

typedef struct values {
    int64_t stream, first;
    float scale, centre;
} values;

static vlmoe_status write_values(vlmoe_tensor *t, values v)
{
    int64_t n = vlmoe_tensor_count(t);
    float *value = malloc((size_t)n * sizeof *value);
    for (int64_t i = 0; i < n; i++) value[i] = v.centre + v.scale * value_at(v.stream, v.first + i);
    vlmoe_status st = vlmoe_tensor_write(t, value, (size_t)n * sizeof *value);
    free(value);
    return st;
}

/* The last expert's row answers to what all tokens have in common. */
static vlmoe_status write_router(const side *s, vlmoe_tensor *router)
{
    float value[MOST_E * D];
    for (int64_t i = 0; i < s->c->E * D; i++) value[i] = 0.4F * value_at(5, i);
    for (int64_t d = 0; s->c->all_to_one && d < D; d++) value[(s->c->E - 1) * D + d] = 2.0F;
    return vlmoe_tensor_write(router, value, (size_t)(s->c->E * D) * sizeof *value);
}

static vlmoe_status make_params(side *s)
{
    const layer_case *c = s->c;
    char name[32];
    const int64_t dim[4][3] = {{c->E, F, D}, {c->E, F}, {c->E, D, F}, {c->E, D}};
    for (int64_t g = 0; g < G; g++) {
        snprintf(name, sizeof name, "x.%lld", (long long)g);
        VLM_TRY(add_param(s, &(vlm_param){.name = name, .role = VLM_ROLE_EMBEDDING}, 2,
                          (int64_t[]){MOST_T, D}, &s->x[g]));
        snprintf(name, sizeof name, "router.%lld", (long long)g);
        VLM_TRY(add_param(s, &(vlm_param){.name = name, .role = VLM_ROLE_ROUTER}, 2,
                          (int64_t[]){c->E, D}, &s->router[g]));
    }
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "experts.{e}.%d", i);
        const vlm_param spec = {.name = name,
                                .role = i % 2 ? VLM_ROLE_BIAS : VLM_ROLE_MATRIX,
                                .n_experts = c->E,
                                .has_copy = i % 2 == 0};
        VLM_TRY(add_param(s, &spec, i % 2 ? 2 : 3, dim[i], &s->expert[i]));
    }
    VLM_TRY(vlm_ctx_build(s->ctx));
    for (int64_t g = 0; g < G; g++) {
        VLM_TRY(write_values(s->x[g], (values){10 + g, 0, 1.0F, c->all_to_one ? 2.0F : 0.0F}));
        VLM_TRY(write_router(s, s->router[g]));
    }
    for (int i = 0; i < 4; i++) {
        int64_t each = vlmoe_tensor_count(s->expert[i]) / s->n_local;
        VLM_TRY(write_values(s->expert[i], (values){30 + i, s->first * each, 0.3F, 0.0F}));
    }
    return vlm_ctx_refresh_copies(s->ctx);
}

typedef struct moe_call {
    const vlm_moe_layer *layer;
    int32_t set_offset[3];
} moe_call;

static vlmoe_tensor *run_layer(vlmoe_tape *tape, const void *arg, vlmoe_tensor *h)
{
    const moe_call *call = arg;
    vlm_tape_where(tape, "blocks.1.ffn_v");
    return vlm_moe_run(tape, call->layer, h, 2, call->set_offset, NULL);
}

static vlm_moe_layer layer_of(const side *s, int64_t group)
{
    const layer_case *c = s->c;
    vlm_moe_layer layer = {.router = s->router[group],
                           .fc1 = {s->expert[0], s->expert[1]},
                           .fc2 = {s->expert[2], s->expert[3]},
                           .capacity_factor_eval = c->has_slots ? c->capacity : 0.0,
                           .has_slots = c->has_slots,
                           .receive_factor = c->receive_factor,
                           .most_tokens = {MOST_T / 2, MOST_T}};
    layer.policy = (vlm_route_policy){.E = c->E,
                                      .K = c->K,
                                      .capacity_factor = c->capacity,
                                      .capacity_multiple = 1,
                                      .capacity_min = 1,
                                      .priority = c->bpr,
                                      .noise_std = 1.0,
                                      .site = 3};
    layer.policy.weight[VLMK_LOSS_IMPORTANCE] = 0.1;
    layer.policy.weight[VLMK_LOSS_LOAD] = 0.1;
    return layer;
}

/* Mean squared distance of y to zeros; its loss is left out for the group that is mute. */
static vlmoe_tensor *record_group(const side *s, vlmoe_tape *tape, int64_t group, moe_call *call)
{
    int64_t T = tokens_of(s->c, group);
    int32_t index[MOST_T];
    float weight[MOST_T];
    static const float target[MOST_T * D];
    for (int i = 0; i < MOST_T; i++) index[i] = i;
    for (int i = 0; i < MOST_T; i++) weight[i] = 0.5F + 0.01F * (float)i;
    call->set_offset[1] = (int32_t)(T / 2);
    call->set_offset[2] = (int32_t)T;
    const int32_t *d_index = vlm_tape_upload(tape, index, sizeof index);
    vlmoe_tensor *h =
        vlm_gather_sum(tape, 1, &(vlmoe_tensor *){s->x[group]}, &d_index, T, s->c->dtype);
    vlmoe_tensor *y = vlm_segment(tape, s->c->recompute, run_layer, call, h);
    y = vlmoe_cast(tape, y, VLMOE_F32);
    if (group + 1 == s->c->mute) return y;
    void *d_loss = NULL;
    vlmoe_loss_add(tape,
                   vlm_mse_rows(tape, y, vlm_tape_upload(tape, target, sizeof target),
                                vlm_tape_upload(tape, weight, sizeof weight), &d_loss),
                   1.0);
    return y;
}

static vlmoe_status run_group(side *s, int64_t group, group_result *out)
{
    vlmoe_tape *tape = NULL;
    vlm_moe_layer layer = layer_of(s, group);
    moe_call call = {.layer = &layer};
    VLM_TRY(vlmoe_tape_begin(s->ctx, s->c->is_predict ? VLMOE_PREDICT : VLMOE_TRAIN, &tape));
    vlm_tape_place(tape, 7, group);
    vlmoe_tensor *y = record_group(s, tape, group, &call);
    vlmoe_status st = vlmoe_tape_status(tape);
    if (!st) st = vlmoe_tensor_read(y, out->y, vlmoe_tensor_bytes(y));
    if (!st) st = vlmoe_tape_loss(tape, &out->loss);
    if (!st && !s->c->is_predict) st = vlmoe_tape_backward(tape, 1.0);
    vlmoe_tape_end(tape);
    if (st || s->c->is_predict) return st;
    /* this group's alone: the only one that has these parameters */
    const vlm_param *x = s->x[group]->param, *router = s->router[group]->param;
    const vlm_backend *backend = s->ctx->backend;
    VLM_TRY(backend->download(s->ctx->device, out->dx, x->grad, sizeof out->dx));
    VLM_TRY(backend->download(s->ctx->device, out->drouter, router->grad,
                              (size_t)(s->c->E * D) * sizeof(float)));
    return vlm_reduce_micro_step(s->ctx);
}

/* Sums of experts' gradients, as far as this rank owns them. */
static vlmoe_status read_sums(const side *s, expert_sums *sums)
{
    float *to[4] = {sums->w1, sums->b1, sums->w2, sums->b2};
    for (int64_t i = 0; i < s->ctx->n_pieces; i++) {
        const vlm_piece *piece = &s->ctx->pieces[i];
        for (int k = 0; k < 4; k++) {
            if (&piece->param->tensor != s->expert[k] || !piece->grad) continue;
            int64_t at = piece->expert * vlm_param_file_elements(piece->param) + piece->first;
            VLM_TRY(s->ctx->backend->download(s->ctx->device, to[k] + at, piece->grad,
                                              (size_t)piece->n * sizeof(float)));
        }
    }
    return VLMOE_OK;
}

static vlmoe_status open_context(side *s)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    params.seed = 11;
    params.compute = s->c->dtype;
    params.n_threads = 1;
    params.step_bytes = (size_t)4 << 20;
    VLM_TRY(vlm_ctx_create_on(vlm_backend_find("cpu"), &params, &s->ctx, &s->error));
    memset(s->ctx->arena.base, 0xff, s->ctx->arena.capacity); /* reading what nobody wrote shows */
    return VLMOE_OK;
}

/* Groups first, first + step, ... of a step, then what waits. */
static vlmoe_status run_groups(side *s, int64_t first, int64_t step, run_result *out)
{
    VLM_TRY(vlmoe_grad_zero(s->ctx));
    for (int64_t g = first; g < G; g += step) VLM_TRY(run_group(s, g, &out->group[g]));
    if (s->c->is_predict) return VLMOE_OK;
    VLM_TRY(vlm_reduce_finish(s->ctx));
    return read_sums(s, &out->sums);
}

static void run_alone(const layer_case *c, run_result *out)
{
    side s = {.c = c, .n_local = c->E};
    memset(out, 0, sizeof *out);
    CHECK_STATUS_E(open_context(&s), VLMOE_OK, &s.error);
    CHECK_STATUS_E(vlm_ctx_groups(s.ctx, G), VLMOE_OK, &s.ctx->error);
    CHECK_STATUS_E(make_params(&s), VLMOE_OK, &s.ctx->error);
    CHECK_STATUS_E(run_groups(&s, 0, 1, out), VLMOE_OK, &s.ctx->error);
    vlmoe_context_destroy(s.ctx);
}

/* ---- several ---- */

typedef struct rank_job {
    const layer_case *c;
    int rank, R;
    vlm_comm_hub *hub;
    run_result *out;
    vlmoe_status status;
    vlmoe_error error;
} rank_job;

static vlmoe_status join(side *s, const rank_job *job)
{
    const vlm_comm_params params = {
        .backend = s->ctx->backend, .device = s->ctx->device, .deadline_seconds = 120.0};
    VLM_TRY(vlm_comm_threads(job->hub, job->rank, &params, &s->world, &s->error));
    VLM_TRY(vlm_ranks_open(s->world, G, 1, &s->c->E, &s->ranks, &s->error));
    s->n_local = s->ranks.experts[0].layout.per_rank;
    s->first = vlm_expert_first(&s->ranks.experts[0].layout, job->rank);
    return vlm_ctx_join(s->ctx, &s->ranks);
}

static void run_rank(void *ranks, int r)
{
    rank_job *job = (rank_job *)ranks + r;
    side s = {.c = job->c};
    job->status = open_context(&s);
    if (!job->status) job->status = join(&s, job);
    if (!job->status) {
        job->status = make_params(&s);
        if (!job->status && s.c->defer) job->status = vlm_defer_open(s.ctx, s.c->defer);
        if (!job->status) job->status = run_groups(&s, job->rank, job->R, job->out);
        job->error = s.ctx->error;
    } else {
        job->error = s.error;
    }
    if (job->status && s.world) vlm_comm_abort(s.world, job->status, job->error.text);
    vlm_ranks_close(&s.ranks);
    vlm_comm_destroy(s.world);
    vlmoe_context_destroy(s.ctx);
}

static layer_case filled(const layer_case *given)
{
    layer_case c = *given;
    if (!c.E) c.E = 4;
    if (!c.K) c.K = 1;
    return c;
}

static void run_across(const layer_case *c, int R, run_result *out, rank_job job[MOST_R])
{
    vlm_comm_hub *hub = NULL;
    vlmoe_error error = {0};
    memset(out, 0, sizeof *out);
    CHECK_STATUS_E(vlm_comm_hub_create(R, &hub, &error), VLMOE_OK, &error);
    for (int r = 0; r < R; r++) {
        job[r] = (rank_job){.c = c, .rank = r, .R = R, .hub = hub, .out = out};
    }
    CHECK_STATUS(vlm_threads_run(R, run_rank, job, NULL), VLMOE_OK);
    vlm_comm_hub_destroy(hub);
}

#define SAME(member)                                                                               \
    do {                                                                                           \
        if (memcmp(&got->member, &want->member, sizeof got->member) != 0)                          \
            test_fail(__FILE__, __LINE__, "%s, %d ranks: %s differs", c->what, R, #member);        \
    } while (0)

static void check_same(const layer_case *c, int R, const run_result *want, const run_result *got)
{
    for (int g = 0; g < G; g++) {
        SAME(group[g].y);
        SAME(group[g].loss);
        if (c->is_predict) continue;
        SAME(group[g].dx);
        SAME(group[g].drouter);
    }
    SAME(sums.w1);
    SAME(sums.b1);
    SAME(sums.w2);
    SAME(sums.b2);
}

static void check_case(const layer_case *given, int R)
{
    const layer_case full = filled(given), *c = &full;
    static run_result want, got;
    rank_job job[MOST_R];
    run_alone(c, &want);
    run_across(c, R, &got, job);
    for (int r = 0; r < R; r++) {
        if (job[r].status)
            test_fail(__FILE__, __LINE__, "%s: rank %d of %d: %s", c->what, r, R,
                      job[r].error.text);
    }
    check_same(c, R, &want, &got);
    bool is_zero = true;
    for (int i = 0; i < F * D; i++) is_zero &= want.sums.w1[i] == 0.0F;
    CHECK(c->is_predict || c->all_to_one || !is_zero);
}

static const layer_case cases[] = {
    {.what = "dropless"},
    {.what = "dropless, bf16", .dtype = VLMOE_BF16},
    {.what = "two experts a token", .K = 2},
    {.what = "capacity, by position", .capacity = 1.05},
    {.what = "capacity, by priority", .capacity = 1.05, .bpr = true},
    {.what = "capacity, two experts a token, bf16, waiting gradients",
     .K = 2,
     .dtype = VLMOE_BF16,
     .capacity = 1.1,
     .bpr = true,
     .defer = 1 << 20},
    {.what = "waiting gradients, little room", .defer = 8 << 10},
    {.what = "run again", .recompute = true, .capacity = 1.05, .bpr = true},
    {.what = "run again, dropless, two experts a token", .recompute = true, .K = 2},
    {.what = "slots", .has_slots = true, .capacity = 1.05, .bpr = true},
    {.what = "slots, bf16, two experts a token, waiting gradients",
     .has_slots = true,
     .dtype = VLMOE_BF16,
     .K = 2,
     .capacity = 1.05,
     .bpr = true,
     .defer = 1 << 20},
    {.what = "slots, run again", .has_slots = true, .capacity = 1.05, .recompute = true},
    {.what = "a group without tokens", .idle = 2},
    {.what = "a group without tokens, slots", .idle = 1, .has_slots = true, .capacity = 1.05},
    {.what = "nearly all groups without tokens", .all_idle = true, .recompute = true},
    {.what = "all tokens to one expert", .all_to_one = true},
    {.what = "all tokens to one expert, slots",
     .all_to_one = true,
     .has_slots = true,
     .capacity = 1.05},
    {.what = "a group without a loss", .mute = 2},
    {.what = "a group without a loss, run again, slots",
     .mute = 3,
     .recompute = true,
     .has_slots = true,
     .capacity = 1.05},
    {.what = "prediction", .is_predict = true, .capacity = 1.05},
    {.what = "prediction, slots", .is_predict = true, .capacity = 1.05, .has_slots = true},
    {.what = "a bound that is kept", .receive_factor = 4.0},
};

TEST(experts_on_two_ranks_have_the_bits_of_one)
{
    for (int i = 0; i < VLM_COUNT(cases); i++) check_case(&cases[i], 2);
}

TEST(experts_on_four_ranks_have_the_bits_of_one)
{
    for (int i = 0; i < VLM_COUNT(cases); i++) check_case(&cases[i], 4);
}

TEST(eight_experts_on_two_to_eight_ranks)
{
    layer_case c = {.what = "eight experts", .E = 8, .K = 2, .capacity = 1.05, .bpr = true};
    for (int slots = 0; slots < 2; slots++)
        for (int R = 2; R <= 8; R *= 2) {
            c.has_slots = slots;
            check_case(&c, R);
        }
}

TEST(two_experts_on_sets_of_two_ranks)
{
    layer_case c = {.what = "two experts", .E = 2};
    for (int R = 4; R <= 8; R *= 2) check_case(&c, R);
}

/* All ranks of a set find it, unless one was told before it could look. */
TEST(too_many_rows_for_a_rank_fail_on_all)
{
    static run_result out;
    rank_job job[MOST_R];
    layer_case c = {.what = "bound", .E = 4, .K = 1, .all_to_one = true, .receive_factor = 1.5};
    for (c.E = 2; c.E <= 4; c.E += 2) { /* two sets; one */
        int n_found = 0;
        run_across(&c, 4, &out, job);
        for (int r = 0; r < 4; r++) {
            n_found += job[r].status == VLMOE_E_ARG;
            CHECK(job[r].status == VLMOE_E_ARG || job[r].status == VLMOE_E_COMM);
            CHECK_HAS(job[r].error.text, "blocks.1.ffn_v: rank ");
            CHECK_HAS(job[r].error.text, "would receive");
            CHECK_HAS(job[r].error.text, "moe.receive_factor = 1.5");
            CHECK_HAS(job[r].error.text, "moe.capacity_factor");
        }
        CHECK(n_found > 0);
    }
}

/* In prediction, which may have no capacity where training has one, rows are counted. */
TEST(slots_are_taken_where_there_is_a_capacity)
{
    const layer_case c = {.what = "slots, no capacity", .has_slots = true, .is_predict = true};
    check_case(&c, 2);
}
