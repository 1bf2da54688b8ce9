/* Ranks as threads that train a small model of every kind of parameter. Gradients are functions of group and element, added as products
 * would add them; at the end each rank compares what it computes with and counts what it sent. */
#include "state_run.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_threads.h"
#include "ckpt_dir.h"
#include "comm_ranks.h"
#include "context.h"
#include "harness.h"
#include "optim_adamw.h"
#include "optim_reduce.h"

enum { GROUPS = 8, N_PARAMS = 9, TEXT_EXPERTS = 8 };

typedef struct rank_run {
    const setting *s;
    outcome *out;
    vlm_comm_hub *hub;
    int rank;
    vlmoe_context *ctx;
    vlm_ranks ranks;
    char message[VLMOE_ERROR_TEXT + 64];
    case_rank view;
} rank_run;

/* ---- the model ---- */

typedef struct shape {
    const char *name;
    vlm_role role;
    bool is_expert, is_text, has_copy, is_frozen, is_equal;
    int64_t dim[2];
} shape;

static const shape shapes[N_PARAMS] = {
    {"embedding", VLM_ROLE_EMBEDDING, .has_copy = true, .dim = {3000, 7}},
    {"bias", VLM_ROLE_BIAS, .dim = {37, 1}},
    {"w1", VLM_ROLE_MATRIX, .has_copy = true, .dim = {130, 97}},
    {"router", VLM_ROLE_ROUTER, .dim = {8, 33}},
    {"experts.{e}.weight", VLM_ROLE_MATRIX, .is_expert = true, .has_copy = true, .is_equal = true,
     .dim = {70, 90}},
    {"experts.{e}.bias", VLM_ROLE_BIAS, .is_expert = true, .dim = {41, 1}},
    {"text.{e}.weight", VLM_ROLE_MATRIX, .is_expert = true, .is_text = true, .has_copy = true,
     .dim = {64, 65}},
    {"frozen", VLM_ROLE_MATRIX, .has_copy = true, .is_frozen = true, .dim = {50, 90}},
    {"w2", VLM_ROLE_MATRIX, .has_copy = true, .dim = {64, 64}},
};

static void make_params(case_rank *r, vlmoe_context *ctx, int64_t experts)
{
    for (int i = 0; i < N_PARAMS; i++) {
        const shape *x = &shapes[i];
        vlmoe_tensor *ignored = NULL;
        int64_t n = x->is_text ? TEXT_EXPERTS : experts, dim[3] = {n, x->dim[0], x->dim[1]};
        const vlm_param spec = {.name = (char *)x->name,
                                .role = x->role,
                                .n_experts = x->is_expert ? n : 0,
                                .trained = !x->is_frozen,
                                .decays = x->role == VLM_ROLE_MATRIX,
                                .lr_scale = 1.0 + 0.1 * i,
                                .has_copy = x->has_copy,
                                .init_std = 0.5,
                                .init_equal = x->is_equal};
        EXPECT(!vlm_param_add(ctx, &spec, 2 + x->is_expert, dim + !x->is_expert, &ignored));
    }
    EXPECT(!vlm_ctx_init_params(ctx));
    EXPECT(!vlm_ctx_moments(ctx));
}

/* Of many sizes, so that every order of sums gives other bits. */
static float gradient(int64_t step, int64_t group, int64_t param, int64_t expert, int64_t i)
{
    uint32_t h = (uint32_t)(i * 2654435761u) ^
                 (uint32_t)((expert + 2) * 40503u + param * 9176 + group * 7919 + step * 104729);
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return ldexpf((float)(h & 0xffff) - 32768.0F, (int)(h >> 28) - 24);
}

/* What backward of micro-step i adds on this rank: a plain parameter meets this rank's group, experts those of this rank's set. */
static void backward(const rank_run *r, int64_t step, int64_t micro)
{
    vlmoe_context *ctx = r->ctx;
    int64_t size = r->s->ranks;
    for (int64_t k = 0; k < ctx->n_params; k++) {
        const vlm_param *param = ctx->params[k];
        if (!param->grad) continue;
        const vlm_expert_ranks *x =
            ctx->ranks && param->n_experts ? vlm_ranks_of(&r->ranks, param->n_experts) : NULL;
        int64_t first = x ? micro * size + vlm_expert_set(&x->layout, r->rank) * x->layout.members
                          : micro * size + r->rank;
        int64_t last = first + (x ? x->layout.members : 1), file = vlm_param_file_elements(param);
        for (int64_t g = first; g < last; g++)
            for (int64_t e = 0; e < VLM_MAX(param->n_local, 1); e++)
                for (int64_t i = 0; i < file; i++) {
                    float *sum = (float *)param->grad + e * file + i;
                    *sum += gradient(step, g, k, param->first_expert + e, i);
                    bool is_bad = g == r->s->bad_group && step == STEPS - 1 && k == 2 && i == 77;
                    if (is_bad) *sum = NAN;
                }
    }
}

/* ---- a run ---- */

static int64_t file_place(const vlmoe_context *ctx, const vlm_piece *piece)
{
    int64_t at = 0;
    for (int64_t i = 0; i < piece->param->index; i++)
        at += vlm_param_files(ctx->params[i]) * vlm_param_file_elements(ctx->params[i]);
    return at + VLM_MAX(piece->expert, 0) * vlm_param_file_elements(piece->param) + piece->first;
}

static void gather(const rank_run *r)
{
    const vlmoe_context *ctx = r->ctx;
    size_t moment = vlm_dtype_bytes(ctx->moment_dtype);
    pthread_mutex_lock(&r->out->lock);
    for (int64_t i = 0; i < ctx->n_pieces; i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        size_t at = (size_t)file_place(ctx, piece), n = (size_t)piece->n;
        if (!vlm_piece_is_mine(piece, r->rank)) continue;
        memcpy(r->out->state[0] + at * 4, piece->value, n * 4);
        if (!piece->param->trained) continue;
        for (int k = 0; k < 2; k++)
            memcpy(r->out->state[1 + k] + at * moment, vlm_piece_moment(ctx, piece, k), n * moment);
    }
    pthread_mutex_unlock(&r->out->lock);
}

/* What this rank computes with must be what the owners have: wide values as they are, copies rounded from them. */
static void compare_values(case_rank *view, const rank_run *r)
{
    case_rank *const failing = view;
    const vlmoe_context *ctx = r->ctx;
    for (int64_t k = 0; k < ctx->n_params; k++) {
        const vlm_param *param = ctx->params[k];
        const vlm_piece first = {.param = (vlm_param *)param, .expert = param->first_expert};
        const float *master = (const float *)(void *)r->out->state[0] + file_place(ctx, &first);
        int64_t n = vlm_param_elements(param);
        if (param->tensor.data && memcmp(param->tensor.data, master, (size_t)n * 4))
            case_fail(failing, __FILE__, __LINE__, "rank %d computes with other values of %s",
                      r->rank, param->name);
        if (!param->has_copy || ctx->compute == ctx->wide) continue;
        uint16_t *rounded = vlm_alloc_array((size_t)n, sizeof *rounded);
        const vlmk_convert_args args = {
            .n = n, .src_dtype = VLMOE_F32, .dst_dtype = VLMOE_BF16, .src = master, .dst = rounded};
        VLM_KERNEL(r->ctx, convert, &args);
        if (memcmp(param->copy, rounded, (size_t)n * 2))
            case_fail(failing, __FILE__, __LINE__, "rank %d computes with another copy of %s",
                      r->rank, param->name);
        vlm_free(rounded);
    }
}

static void train(case_rank *view, rank_run *run)
{
    case_rank *r = view;
    const vlm_adamw_opts opts = {.lr = 0.01,
                                 .beta1 = 0.9,
                                 .beta2 = 0.99,
                                 .eps = 1e-8,
                                 .weight_decay = 0.1,
                                 .clip = 1.0,
                                 .grad_scale = 1.0 / GROUPS};
    for (int64_t step = run->s->begin; step < run->s->end; step++) {
        double norm = 0.0;
        EXPECT(!vlmoe_grad_zero(run->ctx));
        for (int64_t micro = 0; micro < GROUPS / run->s->ranks; micro++) {
            backward(run, step, micro);
            EXPECT(!vlm_reduce_micro_step(run->ctx));
        }
        EXPECT(!vlm_reduce_finish(run->ctx));
        vlmoe_status want =
            run->s->bad_group >= 0 && step == STEPS - 1 ? VLMOE_E_NUMERIC : VLMOE_OK;
        EXPECT(vlm_adamw_apply(run->ctx, &opts, step + 1, &norm) == want);
        snprintf(run->message, sizeof run->message, "%s", vlmoe_context_error(run->ctx));
        if (run->rank == 0) run->out->norm[step] = norm;
    }
}

static size_t sent(const rank_run *run)
{
    size_t n = vlm_comm_counted(run->ranks.world).sent_bytes;
    for (int i = 0; i < run->ranks.n_counts; i++)
        if (run->ranks.experts[i].cross)
            n += vlm_comm_counted(run->ranks.experts[i].cross).sent_bytes;
    return n;
}

/* What a plan says of a rank is what it sends: gradients in a micro-step, values in a step. */
static void count_bytes(case_rank *r, rank_run *run)
{
    const vlm_reduce_bytes plan = vlm_reduce_sent(run->ctx);
    EXPECT(!vlmoe_grad_zero(run->ctx));
    size_t before = sent(run);
    EXPECT(!vlm_reduce_micro_step(run->ctx));
    size_t after_gradients = sent(run);
    EXPECT(!vlm_reduce_share_values(run->ctx));
    EXPECT(after_gradients - before == plan.gradients);
    EXPECT(sent(run) - after_gradients == plan.values);
    EXPECT(run->s->ranks == 1 || plan.gradients > 0);
}

static void open_run(case_rank *r, rank_run *run)
{
    const setting *s = run->s;
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    params.n_threads = 1;
    params.seed = 5;
    params.compute = s->compute;
    params.step_bytes = 1 << 20;
    const int64_t counts[2] = {s->experts, TEXT_EXPERTS};
    EXPECT_OK(vlmoe_context_create(&params, &run->ctx, error));
    run->ctx->moment_dtype = s->moments;
    if (s->bucket_bytes) run->ctx->bucket_bytes = s->bucket_bytes;
    const vlm_comm_params comm = {
        .backend = run->ctx->backend, .device = run->ctx->device, .deadline_seconds = 60};
    EXPECT_OK(vlm_comm_threads(run->hub, run->rank, &comm, &r->world, error));
    EXPECT_OK(vlm_ranks_open(r->world, GROUPS, 2, counts, &run->ranks, error));
    EXPECT(!vlm_ctx_join(run->ctx, &run->ranks));
    make_params(r, run->ctx, s->experts);
}

void state_path(const char *folder, vlm_state_kind kind, char path[PATH])
{
    snprintf(path, PATH, "%s/%s.safetensors", folder,
             kind == VLM_STATE_VALUES ? "model" : "optimiser");
}

static void load(case_rank *r, rank_run *run)
{
    char path[PATH];
    for (int kind = VLM_STATE_VALUES; run->s->load && kind <= VLM_STATE_MOMENTS; kind++) {
        state_path(run->s->load, kind, path);
        EXPECT_OK(vlm_state_read(run->ctx, kind, "", path, error));
    }
}

static vlmoe_status no_download(vlm_device *device, void *host, const void *src, size_t bytes)
{
    (void)device, (void)host, (void)src, (void)bytes;
    return VLMOE_E_DEVICE;
}

/* In the folder of a checkpoint under run->s->save, which rank 0 makes. */
static void save_checkpoint(case_rank *r, rank_run *run)
{
    vlm_ckpt_writer *writer = NULL;
    char path[PATH], *folder = NULL;
    size_t at[MOST_RANKS + 1];
    if (!run->rank) EXPECT_OK(vlm_ckpt_begin(run->s->save, "step-00000001", &writer, error));
    const char *mine = writer ? vlm_ckpt_folder(writer) : "";
    EXPECT_OK(vlm_comm_share_blocks(r->world, "folder", mine, writer ? strlen(mine) + 1 : 0,
                                    &folder, at, error));
    for (int kind = VLM_STATE_VALUES; kind <= VLM_STATE_MOMENTS; kind++) {
        state_path(folder, kind, path);
        EXPECT_OK(vlm_state_write(run->ctx, kind, path, error));
    }
    vlm_free(folder);
    EXPECT_OK(vlm_ckpt_commit_on(r->world, writer, error));
}

static void save(case_rank *r, rank_run *run)
{
    char path[PATH];
    if (run->s->is_checkpoint) {
        save_checkpoint(r, run);
        return;
    }
    vlm_backend broken = *run->ctx->backend;
    const vlm_backend *whole = run->ctx->backend;
    broken.download = no_download;
    if (run->s->failing == run->rank + 1) run->ctx->backend = &broken;
    for (int kind = VLM_STATE_VALUES; run->s->save && kind <= VLM_STATE_MOMENTS; kind++) {
        vlmoe_error found = {0};
        state_path(run->s->save, kind, path);
        vlmoe_status status = vlm_state_write(run->ctx, kind, path, &found);
        if (status)
            snprintf(run->message, sizeof run->message, "%s: %s", vlmoe_status_name(status),
                     found.text);
    }
    run->ctx->backend = whole;
    (void)r;
}

static void run_rank(void *ranks, int i)
{
    rank_run *run = (rank_run *)ranks + i;
    case_rank *r = &run->view;
    open_run(r, run);
    if (!r->text[0]) load(r, run);
    if (!r->text[0]) train(r, run);
    if (!r->text[0]) save(r, run);
    if (!r->text[0]) gather(run);
    if (!r->text[0] && vlm_comm_barrier(r->world, "all is gathered", NULL))
        snprintf(r->text, sizeof r->text, "barrier");
    if (!r->text[0]) compare_values(r, run);
    if (!r->text[0]) count_bytes(r, run);
    if (r->text[0] && r->world) vlm_comm_abort(r->world, VLMOE_E_INTERNAL, r->text);
    vlm_ranks_close(&run->ranks);
    vlmoe_context_destroy(run->ctx);
    vlm_comm_destroy(r->world);
}

static int64_t elements(int64_t experts)
{
    int64_t n = 0;
    for (int i = 0; i < N_PARAMS; i++)
        n += shapes[i].dim[0] * shapes[i].dim[1] *
             (!shapes[i].is_expert ? 1
              : shapes[i].is_text  ? TEXT_EXPERTS
                                   : experts);
    return n;
}

outcome state_run(const setting *s, char *message)
{
    rank_run run[MOST_RANKS] = {0};
    vlm_comm_hub *hub = NULL;
    outcome out = {.n = elements(s->experts), .lock = PTHREAD_MUTEX_INITIALIZER};
    for (int k = 0; k < 3; k++) out.state[k] = calloc((size_t)out.n, 4);
    CHECK_STATUS(vlm_comm_hub_create(s->ranks, &hub, NULL), VLMOE_OK);
    for (int i = 0; i < s->ranks; i++)
        run[i] = (rank_run){.s = s, .out = &out, .hub = hub, .rank = i};
    CHECK_STATUS(vlm_threads_run(s->ranks, run_rank, run, NULL), VLMOE_OK);
    vlm_comm_hub_destroy(hub);
    for (int i = 0; i < s->ranks; i++) {
        CHECK_TEXT(run[i].view.text, "");
        CHECK_TEXT(run[i].message, run[0].message);
    }
    if (message) snprintf(message, sizeof run[0].message, "%s", run[0].message);
    return out;
}

void state_free(outcome *o)
{
    for (int k = 0; k < 3; k++) free(o->state[k]);
}
