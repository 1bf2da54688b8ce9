/* Parameters in files: what a read demands, what it says, and that a refused file changes nothing. */
#include <stdio.h>
#include <string.h>
#include "context.h"
#include "harness.h"
#include "train_params.h"

enum { ROWS = 3, COLS = 5, EXPERTS = 2 };

/* A matrix, a bias, experts of a vector each, and a frozen vector. */
static vlmoe_context *make_context(void)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlmoe_error error = {0};
    vlmoe_tensor *ignored = NULL;
    params.n_threads = 1;
    params.step_bytes = 1 << 16;
    CHECK_STATUS_E(vlmoe_context_create(&params, &ctx, &error), VLMOE_OK, &error);
    const vlm_param matrix = {.name = "matrix",
                              .role = VLM_ROLE_MATRIX,
                              .trained = true,
                              .lr_scale = 1.0,
                              .init_std = 1.0};
    const vlm_param bias = {
        .name = "bias", .role = VLM_ROLE_BIAS, .trained = true, .lr_scale = 1.0, .init_value = 0.5};
    const vlm_param experts = {.name = "experts.{e}.scale",
                               .role = VLM_ROLE_VECTOR,
                               .n_experts = EXPERTS,
                               .trained = true,
                               .lr_scale = 1.0,
                               .init_std = 1.0};
    const vlm_param frozen = {
        .name = "frozen", .role = VLM_ROLE_VECTOR, .lr_scale = 1.0, .init_value = 2.0};
    CHECK_STATUS_E(vlm_param_add(ctx, &matrix, 2, (int64_t[]){ROWS, COLS}, &ignored), VLMOE_OK,
                   &ctx->error);
    CHECK_STATUS_E(vlm_param_add(ctx, &bias, 1, (int64_t[]){COLS}, &ignored), VLMOE_OK,
                   &ctx->error);
    CHECK_STATUS_E(vlm_param_add(ctx, &experts, 2, (int64_t[]){EXPERTS, COLS}, &ignored), VLMOE_OK,
                   &ctx->error);
    CHECK_STATUS_E(vlm_param_add(ctx, &frozen, 1, (int64_t[]){COLS}, &ignored), VLMOE_OK,
                   &ctx->error);
    CHECK_STATUS_E(vlm_ctx_build(ctx), VLMOE_OK, &ctx->error);
    CHECK_STATUS_E(vlm_ctx_init_params(ctx), VLMOE_OK, &ctx->error);
    return ctx;
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", test_tmp_dir(), name);
    return path;
}

/* One tensor of a file that a test writes by hand. dims of rank 2: a zero second dimension means rank 1. */
typedef struct given {
    const char *name;
    vlm_st_dtype dtype;
    int64_t dims[2];
} given;

#define GOOD_MATRIX                                                                                \
    {                                                                                              \
        "matrix", VLMOE_F32,                                                                       \
        {                                                                                          \
            ROWS, COLS                                                                             \
        }                                                                                          \
    }
#define GOOD_BIAS                                                                                  \
    {                                                                                              \
        "bias", VLMOE_F32,                                                                         \
        {                                                                                          \
            COLS                                                                                   \
        }                                                                                          \
    }
#define GOOD_EXPERTS                                                                               \
    {"experts.0.scale", VLMOE_F32, {COLS}},                                                        \
    {                                                                                              \
        "experts.1.scale", VLMOE_F32,                                                              \
        {                                                                                          \
            COLS                                                                                   \
        }                                                                                          \
    }
#define GOOD_FROZEN                                                                                \
    {                                                                                              \
        "frozen", VLMOE_F32,                                                                       \
        {                                                                                          \
            COLS                                                                                   \
        }                                                                                          \
    }

static const char *write_file(int n, const given *tensors)
{
    static const char zeros[4 * ROWS * COLS * 2];
    vlm_st_writer *writer = NULL;
    vlmoe_error error = {0};
    const char *path = path_of("given.safetensors");
    CHECK_STATUS_E(vlm_st_writer_create(path, &writer, &error), VLMOE_OK, &error);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++) {
            const given *g = &tensors[i];
            const vlm_st_decl decl = {g->name, g->dtype, g->dims[1] ? 2 : 1, g->dims};
            size_t bytes =
                vlm_st_dtype_size(g->dtype) * (size_t)(g->dims[0] * (g->dims[1] ? g->dims[1] : 1));
            CHECK(bytes <= sizeof zeros);
            vlmoe_status st = pass ? vlm_st_writer_put(writer, g->name, zeros, bytes, &error)
                                   : vlm_st_writer_declare(writer, &decl, &error);
            CHECK_STATUS_E(st, VLMOE_OK, &error);
        }
    CHECK_STATUS_E(vlm_st_writer_close(writer, &error), VLMOE_OK, &error);
    return path;
}

/* Reading must give status and text, and leave every value as it was. */
static void expect_refusal(int n, const given *tensors, vlmoe_status status, const char *text)
{
    vlmoe_context *ctx = make_context();
    size_t bytes = (size_t)ctx->n_elements * sizeof(float);
    char before[4096];
    vlmoe_error error = {0};
    CHECK(bytes <= sizeof before);
    memcpy(before, ctx->master, bytes);
    CHECK_STATUS_E(vlm_state_read(ctx, VLM_STATE_VALUES, "", write_file(n, tensors), &error),
                   status, &error);
    CHECK_HAS(error.text, text);
    CHECK_HAS(error.text, "given.safetensors");
    CHECK(!memcmp(before, ctx->master, bytes));
    vlmoe_context_destroy(ctx);
}

TEST(params_come_back_as_they_were_written)
{
    vlmoe_context *a = make_context(), *b = make_context();
    vlmoe_error error = {0};
    size_t bytes = (size_t)a->n_elements * sizeof(float);
    memset(b->master, 0, bytes);
    CHECK_STATUS_E(vlm_state_write(a, VLM_STATE_VALUES, path_of("whole.safetensors"), &error),
                   VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_state_read(b, VLM_STATE_VALUES, "", path_of("whole.safetensors"), &error),
                   VLMOE_OK, &error);
    for (int64_t i = 0; i < a->n_params; i++) {
        const vlm_param *p = a->params[i];
        size_t n = (size_t)vlm_param_elements(p) * sizeof(float);
        CHECK(!memcmp((const float *)a->master + p->at, (const float *)b->master + p->at, n));
    }
    CHECK(((const float *)a->master)[a->params[0]->at] != 0.0f); /* zeros would prove nothing */
    vlmoe_context_destroy(a);
    vlmoe_context_destroy(b);
}

TEST(params_file_holds_one_tensor_per_expert_and_moments_without_frozen_ones)
{
    vlmoe_context *ctx = make_context();
    vlmoe_error error = {0};
    vlm_st *file = NULL;
    CHECK_STATUS_E(vlm_ctx_moments(ctx), VLMOE_OK, &ctx->error);
    CHECK_STATUS_E(vlm_state_write(ctx, VLM_STATE_MOMENTS, path_of("moments.safetensors"), &error),
                   VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_st_open(path_of("moments.safetensors"), &file, &error), VLMOE_OK, &error);
    CHECK_INT(vlm_st_count(file), 2 * (2 + EXPERTS));
    const vlm_st_tensor *expert = vlm_st_find(file, "v/experts.1.scale");
    CHECK(expert != NULL);
    CHECK_INT(expert->rank, 1);
    CHECK_INT(expert->dims[0], COLS);
    CHECK(vlm_st_find(file, "m/frozen") == NULL);
    vlm_st_close(file);
    vlmoe_context_destroy(ctx);
}

TEST(params_of_a_part_are_read_by_prefix_and_others_stay)
{
    const given part[] = {{"0.scale", VLMOE_F32, {COLS}}, {"1.scale", VLMOE_F32, {COLS}}};
    vlmoe_context *ctx = make_context();
    vlmoe_error error = {0};
    const float *values = ctx->master, first = values[ctx->params[0]->at];
    CHECK_STATUS_E(vlm_state_read(ctx, VLM_STATE_VALUES, "experts.", write_file(2, part), &error),
                   VLMOE_OK, &error);
    for (int64_t i = 0; i < EXPERTS * COLS; i++) CHECK(values[ctx->params[2]->at + i] == 0.0f);
    CHECK(first != 0.0f && values[ctx->params[0]->at] == first);
    vlmoe_context_destroy(ctx);
}

TEST(params_name_a_missing_tensor)
{
    const given no_bias[] = {GOOD_MATRIX, GOOD_EXPERTS, GOOD_FROZEN};
    const given no_expert[] = {
        GOOD_MATRIX, GOOD_BIAS, {"experts.0.scale", VLMOE_F32, {COLS}}, GOOD_FROZEN};
    expect_refusal(4, no_bias, VLMOE_E_FORMAT, "tensor bias is missing");
    expect_refusal(4, no_expert, VLMOE_E_FORMAT, "tensor experts.1.scale is missing");
    expect_refusal(0, NULL, VLMOE_E_FORMAT, "tensor matrix is missing");
}

TEST(params_name_an_extra_tensor)
{
    const given extra[] = {
        GOOD_MATRIX, GOOD_BIAS, GOOD_EXPERTS, GOOD_FROZEN, {"experts.2.scale", VLMOE_F32, {COLS}}};
    expect_refusal(6, extra, VLMOE_E_FORMAT, "tensor experts.2.scale is not part of this model");
}

TEST(params_name_a_misshaped_tensor_and_both_shapes)
{
    const given turned[] = {
        {"matrix", VLMOE_F32, {COLS, ROWS}}, GOOD_BIAS, GOOD_EXPERTS, GOOD_FROZEN};
    const given other_rank[] = {
        GOOD_MATRIX, {"bias", VLMOE_F32, {1, COLS}}, GOOD_EXPERTS, GOOD_FROZEN};
    const given last[] = {GOOD_MATRIX, GOOD_BIAS, GOOD_EXPERTS, {"frozen", VLMOE_F32, {COLS + 1}}};
    expect_refusal(5, turned, VLMOE_E_SHAPE, "tensor matrix must have shape [3, 5], found [5, 3]");
    expect_refusal(5, other_rank, VLMOE_E_SHAPE, "tensor bias must have shape [5], found [1, 5]");
    expect_refusal(
        5, last, VLMOE_E_SHAPE,
        "tensor frozen must have shape [5], found [6]"); /* nothing before it was written */
}

TEST(params_name_a_tensor_of_another_type)
{
    const given narrow[] = {
        GOOD_BIAS, GOOD_EXPERTS, GOOD_FROZEN, {"matrix", VLMOE_BF16, {ROWS, COLS}}};
    expect_refusal(5, narrow, VLMOE_E_DTYPE, "tensor matrix must be F32, found BF16");
}
