/* The whole encoder with its objective on several ranks (threads): hidden rows, losses and every gradient of a step have the bits of
 * one rank, also where a group has no rows of a modality, or nothing at all; and the planned arena holds a rank's recordings. */
#include <stdlib.h>
#include <string.h>
#include "autograd_defer.h"
#include "base_threads.h"
#include "harness.h"
#include "objective.h"
#include "optim_reduce.h"
#include "test_model.h"
#include "train_plan.h"

enum { G = 4, MOST_R = 4, MOST_ROWS = 96, D = 16, MOST_ELEMENTS = 1 << 16 };

/* Images, texts, pairs of each group; without those, its sparse layers have no rows of a modality. */
static const int64_t samples[G][3] = {{3, 3, 2}, {3, 0, 0}, {0, 3, 0}, {1, 2, 2}};
/* In prediction the last group is empty: held-out data may have ended. */
static const int64_t held_out[G][3] = {{3, 3, 2}, {2, 0, 0}, {0, 1, 0}, {0, 0, 0}};

#define LARGEST                                                                                    \
    "run.groups=4;moe.t_experts=4;data.images_per_group=3;data.texts_per_group=3;"                 \
    "data.pairs_per_group=2"

typedef struct results {
    float hidden[2][G][MOST_ROWS * D]; /* training, prediction */
    double loss[2][G];
    float grad[MOST_ELEMENTS];
    size_t arena; /* largest of all ranks */
} results;

typedef struct rank_job {
    const vlmoe_config *config;
    bool recompute;
    size_t defer;
    int rank, R;
    vlm_comm_hub *hub; /* NULL: one rank */
    results *out;
    size_t arena;
    vlmoe_status status;
    vlmoe_error error;
} rank_job;

typedef struct side {
    const rank_job *job;
    vlmoe_context *ctx;
    vlm_mome *model;
    vlm_comm *world;
    vlm_ranks ranks;
} side;

static vlmoe_status run_group(const side *s, int64_t g, bool is_training)
{
    vlmoe_tape *tape = NULL;
    vlm_masked masked;
    const int64_t *n = is_training ? samples[g] : held_out[g];
    int which = is_training ? 0 : 1;
    vlmoe_config config = *s->job->config;
    config.run.recompute = s->job->recompute;
    test_group group = test_group_make(&config, n[0], n[1], n[2]);
    vlmoe_status st = vlmoe_tape_begin(s->ctx, is_training ? VLMOE_TRAIN : VLMOE_PREDICT, &tape);
    if (st) return st;
    vlm_tape_place(tape, 3, g);
    vlm_masked_record(tape, s->model, &config, &group.group, group.codes, &masked);
    st = vlmoe_tape_status(tape);
    if (!st)
        st = vlmoe_tensor_read(masked.model.hidden, s->job->out->hidden[which][g],
                               vlmoe_tensor_bytes(masked.model.hidden));
    if (!st) st = vlmoe_tape_loss(tape, &s->job->out->loss[which][g]);
    if (!st) vlm_masked_release(tape, &masked);
    if (!st && is_training) st = vlmoe_tape_backward(tape, 1.0);
    vlmoe_tape_end(tape);
    test_group_free(&group);
    return st || !is_training ? st : vlm_reduce_micro_step(s->ctx);
}

/* Gradients that this rank owns, to their places among all. */
static vlmoe_status read_gradients(const side *s)
{
    int64_t at[128] = {0};
    for (int64_t i = 0; i < s->ctx->n_params; i++)
        at[i + 1] =
            at[i] + vlm_param_file_elements(s->ctx->params[i]) * vlm_param_files(s->ctx->params[i]);
    if (at[s->ctx->n_params] > MOST_ELEMENTS) return VLMOE_E_NOMEM;
    for (int64_t i = 0; i < s->ctx->n_pieces; i++) {
        const vlm_piece *p = &s->ctx->pieces[i];
        if (!p->grad) continue;
        int64_t first = at[p->param->index] + p->first;
        if (p->expert > 0) first += p->expert * vlm_param_file_elements(p->param);
        VLM_TRY(s->ctx->backend->download(s->ctx->device, s->job->out->grad + first, p->grad,
                                          (size_t)p->n * sizeof(float)));
    }
    return VLMOE_OK;
}

static vlmoe_status run_step(const side *s)
{
    const rank_job *job = s->job;
    if (job->defer) VLM_TRY(vlm_defer_open(s->ctx, job->defer));
    VLM_TRY(vlmoe_grad_zero(s->ctx));
    for (int64_t g = job->rank; g < G; g += job->R) VLM_TRY(run_group(s, g, true));
    VLM_TRY(vlm_reduce_finish(s->ctx));
    VLM_TRY(read_gradients(s));
    for (int64_t g = job->rank; g < G; g += job->R) {
        bool is_empty = held_out[g][0] + held_out[g][1] + held_out[g][2] == 0;
        if (!is_empty || job->hub) VLM_TRY(run_group(s, g, false));
    }
    return VLMOE_OK;
}

static vlmoe_status join(side *s, vlmoe_error *error)
{
    const rank_job *job = s->job;
    const int64_t counts[] = {job->config->moe.v_experts, job->config->moe.t_experts};
    if (!job->hub) return vlm_ctx_groups(s->ctx, G);
    const vlm_comm_params params = {
        .backend = s->ctx->backend, .device = s->ctx->device, .deadline_seconds = 120.0};
    VLM_TRY(vlm_comm_threads(job->hub, job->rank, &params, &s->world, error));
    VLM_TRY(vlm_ranks_open(s->world, G, 2, counts, &s->ranks, error));
    return vlm_ctx_join(s->ctx, &s->ranks);
}

static vlmoe_status run_side(side *s, rank_job *job)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    params.seed = 5;
    params.compute = strcmp(job->config->run.dtype, "bf16") ? VLMOE_F32 : VLMOE_BF16;
    params.n_threads = 1;
    params.step_bytes = (size_t)16 << 20;
    VLM_TRY(vlmoe_context_create(&params, &s->ctx, &job->error));
    memset(s->ctx->arena.base, 0xff, s->ctx->arena.capacity); /* reading what nobody wrote shows */
    vlmoe_status st = join(s, &job->error);
    if (st) return st;
    st = vlm_mome_create(s->ctx, job->config, TINY_WORDS, TINY_CODES, &s->model);
    if (!st) st = vlm_ctx_init_params(s->ctx);
    if (!st) st = run_step(s);
    if (st) job->error = s->ctx->error;
    job->arena = s->ctx->arena.peak;
    return st;
}

static void run_rank(void *ranks, int r)
{
    rank_job *job = (rank_job *)ranks + r;
    side s = {.job = job};
    job->status = run_side(&s, job);
    if (job->status && s.world) vlm_comm_abort(s.world, job->status, job->error.text);
    vlm_mome_destroy(s.model);
    vlm_ranks_close(&s.ranks);
    vlmoe_context_destroy(s.ctx);
    vlm_comm_destroy(s.world);
}

static void run_ranks(const rank_job *like, int R, results *out)
{
    rank_job job[MOST_R];
    vlm_comm_hub *hub = NULL;
    vlmoe_error error = {0};
    memset(out, 0, sizeof *out);
    if (R > 1) CHECK_STATUS_E(vlm_comm_hub_create(R, &hub, &error), VLMOE_OK, &error);
    for (int r = 0; r < R; r++) {
        job[r] = *like;
        job[r].rank = r;
        job[r].R = R;
        job[r].hub = hub;
        job[r].out = out;
    }
    CHECK_STATUS(vlm_threads_run(R, run_rank, job, NULL), VLMOE_OK);
    vlm_comm_hub_destroy(hub);
    for (int r = 0; r < R; r++) {
        if (job[r].status)
            test_fail(__FILE__, __LINE__, "rank %d of %d: %s", r, R, job[r].error.text);
        out->arena = VLM_MAX(out->arena, job[r].arena);
    }
}

static void check_settings(const char *more, bool recompute, size_t defer)
{
    static results want, got;
    vlmoe_config *config = test_tiny_config(more);
    const rank_job like = {.config = config, .recompute = recompute, .defer = defer};
    run_ranks(&(rank_job){.config = config}, 1, &want);
    CHECK(want.loss[0][0] != 0.0);
    for (int R = 2; R <= MOST_R; R *= 2) {
        vlm_plan plan;
        vlmoe_error error = {0};
        vlmoe_config planned = *config;
        planned.run.recompute = recompute;
        run_ranks(&like, R, &got);
        if (memcmp(got.hidden, want.hidden, sizeof got.hidden))
            test_fail(__FILE__, __LINE__, "%s, %d ranks: hidden rows differ", more, R);
        if (memcmp(got.loss, want.loss, sizeof got.loss))
            test_fail(__FILE__, __LINE__, "%s, %d ranks: losses differ", more, R);
        if (memcmp(got.grad, want.grad, sizeof got.grad))
            test_fail(__FILE__, __LINE__, "%s, %d ranks: gradients differ", more, R);
        CHECK_STATUS_E(vlm_plan_of_rank(&planned, TINY_WORDS, R, &plan, &error), VLMOE_OK, &error);
        if (got.arena > plan.step_bytes)
            test_fail(__FILE__, __LINE__, "%s, %d ranks: %zu bytes of arena, planned were %zu",
                      more, R, got.arena, plan.step_bytes);
    }
    vlmoe_config_destroy(config);
}

TEST(encoder_on_ranks)
{
    check_settings(LARGEST, false, 0);
    check_settings(LARGEST ";moe.capacity_factor=0", false, 1 << 20);
    check_settings(LARGEST ";run.dtype=bf16", true, 1 << 20);
}

TEST(encoder_on_ranks_in_slots)
{
    check_settings(LARGEST ";moe.exchange=slots", false, 0);
    check_settings(LARGEST ";moe.exchange=slots;moe.capacity_factor_eval=1.5;run.dtype=bf16", true,
                   0);
}

TEST(plans_of_ranks)
{
    vlmoe_error error = {0};
    vlm_plan one, two, bounded; /* of one rank, or several; with a bound on rows */
    vlmoe_config *config = test_tiny_config(LARGEST ";moe.capacity_factor=0");
    CHECK_STATUS_E(vlm_plan_of_rank(config, TINY_WORDS, 1, &one, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_plan_of_rank(config, TINY_WORDS, 2, &two, &error), VLMOE_OK, &error);
    CHECK_INT(one.parameters, two.parameters);
    CHECK_INT(one.per_token, two.per_token);
    CHECK_INT(one.tokens, two.tokens);
    CHECK(two.moment_bytes < one.moment_bytes);
    CHECK(two.step_bytes > one.step_bytes); /* all rows of both groups may come */
    config->moe.receive_factor = 1.2;
    CHECK_STATUS_E(vlm_plan_of_rank(config, TINY_WORDS, 2, &bounded, &error), VLMOE_OK, &error);
    CHECK(bounded.step_bytes < two.step_bytes);
    config->moe.receive_factor = 0.0; /* training with capacities, prediction without them */
    config->moe.capacity_factor = config->moe.capacity_factor_eval = 0.8;
    config->run.recompute = true;
    config->model.hidden = 400; /* so that rows at experts take the most memory */
    CHECK_STATUS_E(vlm_plan_of_rank(config, TINY_WORDS, 4, &bounded, &error), VLMOE_OK, &error);
    config->moe.capacity_factor_eval = 0.0;
    CHECK_STATUS_E(vlm_plan_of_rank(config, TINY_WORDS, 4, &two, &error), VLMOE_OK, &error);
    CHECK(bounded.step_bytes < two.step_bytes);
    CHECK_STATUS(vlm_plan_of_rank(config, TINY_WORDS, 3, &two, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "3");
    vlmoe_config_destroy(config);
}
