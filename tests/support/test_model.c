#include "test_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_rng.h"
#include "context.h"
#include "harness.h"
#include "test_backend.h"

static const char *const TINY[] = {
    "run.seed=5",
    "model.layers=3",
    "model.width=16",
    "model.heads=2",
    "model.hidden=24",
    "model.vl_from=2",
    "model.image_size=8",
    "model.patch=4",
    "model.text_len=9",
    "model.drop_path=0.3",
    "model.layer_scale=0.7",
    "model.init_std=0.4",
    "moe.v_layers=[1]",
    "moe.t_layers=[0, 1]",
    "moe.v_experts=4",
    "moe.t_experts=3",
    "moe.k=2",
    "moe.capacity_factor=0.8",
    "moe.distinct_experts=true",
    "moe.v_importance=0.3",
    "moe.v_load=0.2",
    "moe.v_z=0.03",
    "moe.v_local_entropy=0.05",
    "moe.t_importance=0.02",
    "moe.t_load=0.1",
    "moe.t_switch=0.04",
    "moe.t_global_entropy=0.06",
    "tokeniser.layers=2",
    "tokeniser.width=16",
    "tokeniser.heads=2",
    "tokeniser.decoder_layers=1",
    "tokeniser.codes=7",
    "tokeniser.code_dim=5",
    "tokeniser.kmeans_iterations=3",
};
enum { N_TINY = sizeof TINY / sizeof *TINY, MORE = 14 };

vlmoe_config *test_tiny_config(const char *more)
{
    const char *set[N_TINY + MORE];
    char text[512];
    int n = N_TINY;
    vlmoe_config *config = NULL;
    vlmoe_error error = {0};
    memcpy(set, TINY, sizeof TINY);
    CHECK(!more || strlen(more) < sizeof text);
    snprintf(text, sizeof text, "%s", more ? more : "");
    for (char *key = strtok(text, ";"); key; key = strtok(NULL, ";")) {
        CHECK(n < N_TINY + MORE);
        set[n++] = key;
    }
    CHECK_STATUS_E(vlmoe_config_load(NULL, n, set, &config, &error), VLMOE_OK, &error);
    return config;
}

static void fill_texts(const vlmoe_config *config, vlm_rng *rng, vlm_group *g)
{
    int64_t n = g->n_pairs + g->n_texts, limit = config->model.text_len;
    g->text_offset = calloc((size_t)n + 1, sizeof *g->text_offset);
    g->token = calloc((size_t)(n * limit) + 1, sizeof *g->token);
    g->token_target = calloc((size_t)(n * limit) + 1, sizeof *g->token_target);
    CHECK(g->text_offset && g->token && g->token_target);
    for (int64_t j = 0; j < n; j++) {
        int64_t length = 3 + (int64_t)vlm_rng_below(rng, (uint64_t)limit - 2);
        g->text_offset[j + 1] = g->text_offset[j] + (int32_t)length;
        for (int64_t t = g->text_offset[j]; t < g->text_offset[j + 1]; t++) {
            g->token[t] = (int32_t)vlm_rng_below(rng, TINY_WORDS);
            bool hidden = t == g->text_offset[j] + 1 || vlm_rng_below(rng, 3) == 0;
            g->token_target[t] = hidden ? (int32_t)vlm_rng_below(rng, TINY_WORDS) : -1;
        }
    }
    g->n_tokens = g->text_offset[n];
}

static void fill_pictures(const vlmoe_config *config, vlm_rng *rng, test_group *t)
{
    vlm_group *g = &t->group;
    size_t n = (size_t)(g->n_images + g->n_pairs), S = (size_t)config->model.image_size,
           P = (size_t)g->n_patches;
    g->pixels = calloc(n * S * S * 3 + 1, 1);
    g->patch_mask = calloc(n * P + 1, 1);
    t->codes = calloc(n * P + 1, sizeof *t->codes);
    CHECK(g->pixels && g->patch_mask && t->codes);
    for (size_t i = 0; i < n * S * S * 3; i++) g->pixels[i] = (uint8_t)vlm_rng_below(rng, 256);
    for (size_t i = 0; i < n * P; i++) {
        g->patch_mask[i] = i % P == 1 || vlm_rng_below(rng, 3) == 0;
        t->codes[i] = (int32_t)vlm_rng_below(rng, TINY_CODES);
    }
}

test_group test_group_make(const vlmoe_config *config, int64_t n_images, int64_t n_texts,
                           int64_t n_pairs)
{
    test_group t = {.codes = NULL};
    int64_t side = config->model.image_size / config->model.patch;
    vlm_rng rng =
        vlm_rng_at(77, VLM_STREAM_TEST, (uint64_t)n_images, (uint64_t)n_texts, (uint64_t)n_pairs);
    t.group.n_images = n_images;
    t.group.n_texts = n_texts;
    t.group.n_pairs = n_pairs;
    t.group.image_size = config->model.image_size;
    t.group.n_patches = side * side;
    fill_texts(config, &rng, &t.group);
    fill_pictures(config, &rng, &t);
    return t;
}

void test_group_free(test_group *t)
{
    free(t->group.pixels);
    free(t->group.patch_mask);
    free(t->group.token);
    free(t->group.token_target);
    free(t->group.text_offset);
    free(t->codes);
}

vlm_mome_inputs test_group_inputs(const test_group *t)
{
    const vlm_group *g = &t->group;
    return (vlm_mome_inputs){.n_images = g->n_images,
                             .n_texts = g->n_texts,
                             .n_pairs = g->n_pairs,
                             .pixels = g->pixels,
                             .patch_mask = g->patch_mask,
                             .token = g->token,
                             .text_offset = g->text_offset};
}

vlmoe_context *test_context(const char *device, vlmoe_dtype compute, int n_threads)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlmoe_error error = {0};
    params.device = device;
    params.compute = compute;
    params.n_threads = n_threads;
    params.seed = 5;
    params.step_bytes = (size_t)48 << 20;
    CHECK_STATUS_E(vlmoe_context_create(&params, &ctx, &error), VLMOE_OK, &error);
    return ctx;
}

vlmoe_context *test_ref_context(void)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlmoe_error error = {0};
    params.compute = VLMOE_F64;
    params.seed = 5;
    params.step_bytes = (size_t)48 << 20;
    CHECK_STATUS_E(vlm_ctx_create_on(test_ref_backend(), &params, &ctx, &error), VLMOE_OK, &error);
    return ctx;
}

vlm_mome *test_tiny_model(vlmoe_context *ctx, const vlmoe_config *config)
{
    vlm_mome *model = NULL;
    CHECK_STATUS_E(vlm_mome_create(ctx, config, TINY_WORDS, TINY_CODES, &model), VLMOE_OK,
                   &ctx->error);
    CHECK_STATUS_E(vlm_ctx_init_params(ctx), VLMOE_OK, &ctx->error);
    return model;
}

void *test_param_grads(vlmoe_context *ctx)
{
    size_t bytes = (size_t)ctx->n_trained * vlm_dtype_bytes(ctx->wide);
    void *copy = malloc(bytes);
    CHECK(copy != NULL);
    CHECK_STATUS_E(ctx->backend->download(ctx->device, copy, ctx->grads, bytes), VLMOE_OK,
                   &ctx->error);
    return copy;
}
