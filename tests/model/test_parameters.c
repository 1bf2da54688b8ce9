/* Which parameters a model has, how they start, which decay, how many there are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "context.h"
#include "harness.h"
#include "test_model.h"

typedef struct expected {
    const char *name;
    int64_t dim[3]; /* 0 past the rank */
    int64_t n_experts;
} expected;

/* docs/FORMATS.md for the tiny config: D 16, F 24, 3 blocks; block 0: t sparse; block 1: v and t
 * sparse; block 2: dense, with VL. */
/* clang-format off */
#define FFN(name)                                                        \
    {name ".fc1.weight", {24, 16}}, {name ".fc1.bias", {24}},            \
    {name ".fc2.weight", {16, 24}}, {name ".fc2.bias", {16}}
#define MOE(name, E)                                                     \
    {name ".router.weight", {E, 16}},                                    \
    {name ".experts.{e}.fc1.weight", {E, 24, 16}, E},                    \
    {name ".experts.{e}.fc1.bias", {E, 24}, E},                          \
    {name ".experts.{e}.fc2.weight", {E, 16, 24}, E},                    \
    {name ".experts.{e}.fc2.bias", {E, 16}, E}
#define NORM(name) {name ".weight", {16}}, {name ".bias", {16}}
#define ATTENTION(name)                                                  \
    NORM(name ".norm1"),                                                 \
    {name ".attention.qkv.weight", {48, 16}},                            \
    {name ".attention.qkv.bias", {2, 16}},                               \
    {name ".attention.proj.weight", {16, 16}},                           \
    {name ".attention.proj.bias", {16}}
#define SCALES(name) {name ".scale1", {16}}, {name ".scale2", {16}}
/* clang-format on */

static const expected TINY_PARAMS[] = {
    {"word_embedding.weight", {23, 16}},
    {"text_position", {9, 16}},
    {"patch.weight", {16, 48}},
    {"patch.bias", {16}},
    {"image_position", {5, 16}},
    {"image_cls", {1, 16}},
    {"image_mask", {1, 16}},
    ATTENTION("blocks.0"),
    NORM("blocks.0.norm2_v"),
    NORM("blocks.0.norm2_t"),
    FFN("blocks.0.ffn_v"),
    MOE("blocks.0.ffn_t", 3),
    SCALES("blocks.0"),
    ATTENTION("blocks.1"),
    NORM("blocks.1.norm2_v"),
    NORM("blocks.1.norm2_t"),
    MOE("blocks.1.ffn_v", 4),
    MOE("blocks.1.ffn_t", 3),
    SCALES("blocks.1"),
    ATTENTION("blocks.2"),
    NORM("blocks.2.norm2_v"),
    NORM("blocks.2.norm2_t"),
    NORM("blocks.2.norm2_vl"),
    FFN("blocks.2.ffn_v"),
    FFN("blocks.2.ffn_t"),
    FFN("blocks.2.ffn_vl"),
    SCALES("blocks.2"),
    NORM("norm"),
    {"word_head.dense.weight", {16, 16}},
    {"word_head.dense.bias", {16}},
    NORM("word_head.norm"),
    {"word_head.decoder.weight", {23, 16}},
    {"word_head.decoder.bias", {23}},
    {"code_head.weight", {7, 16}},
    {"code_head.bias", {7}},
};

TEST(parameters_are_those_of_the_formats_page)
{
    vlmoe_config *config = test_tiny_config(NULL);
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
    vlm_mome *model = test_tiny_model(ctx, config);
    CHECK_INT(ctx->n_params, sizeof TINY_PARAMS / sizeof *TINY_PARAMS);
    for (int64_t i = 0; i < ctx->n_params; i++) {
        const vlm_param *param = ctx->params[i];
        CHECK_TEXT(param->name, TINY_PARAMS[i].name);
        CHECK_INT(param->n_experts, TINY_PARAMS[i].n_experts);
        for (int a = 0; a < 3; a++)
            CHECK_INT(a < param->tensor.rank ? param->tensor.dim[a] : 0, TINY_PARAMS[i].dim[a]);
    }
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Names decide here, roles in the library. */
static bool decays_by_name(const char *name)
{
    bool is_weight = strlen(name) > 7 && strcmp(name + strlen(name) - 7, ".weight") == 0;
    return is_weight && !has(name, "norm");
}

TEST(only_matrices_tables_of_words_and_routers_decay)
{
    vlmoe_config *config = test_tiny_config(NULL);
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
    vlm_mome *model = test_tiny_model(ctx, config);
    for (int64_t i = 0; i < ctx->n_params; i++)
        CHECK_INT(ctx->params[i]->decays, decays_by_name(ctx->params[i]->name));
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}

/* Largest absolute value of a parameter. */
static double top_of(const vlmoe_tensor *t)
{
    float *x = malloc(vlmoe_tensor_bytes(t));
    double top = 0.0;
    CHECK_STATUS(vlmoe_tensor_read(t, x, vlmoe_tensor_bytes(t)), VLMOE_OK);
    for (int64_t i = 0; i < vlmoe_tensor_count(t); i++) top = fmax(top, fabs((double)x[i]));
    free(x);
    return top;
}

/* A cut normal's largest value lies below the cut and, over hundreds of draws, near it. */
TEST(first_values_are_cut_at_one_deviation_and_output_projections_shrink_with_depth)
{
    vlmoe_config *config = test_tiny_config(NULL);
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
    vlm_mome *model = test_tiny_model(ctx, config);
    for (int64_t i = 0; i < ctx->n_params; i++) {
        const vlm_param *param = ctx->params[i];
        int64_t block = strncmp(param->name, "blocks.", 7) == 0 ? param->name[7] - '0' : -1;
        bool is_output = has(param->name, "proj.weight") || has(param->name, "fc2.weight");
        double top = top_of(&param->tensor),
               cut = is_output ? 0.4 / sqrt(2.0 * (double)(block + 1)) : 0.4;
        if (has(param->name, "norm") && has(param->name, ".weight")) CHECK(top == 1.0);
        else if (has(param->name, "scale")) CHECK_CLOSE(top, 0.7, 1e-7);
        else if (has(param->name, ".bias")) CHECK(top == 0.0);
        else {
            CHECK(top <= cut * (1.0 + 1e-6));
            CHECK(top > 0.7 * cut);
        }
    }
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}

static bool experts_are_equal(vlmoe_context *ctx, const char *name)
{
    const vlmoe_tensor *t = vlmoe_param_find(ctx, name);
    CHECK(t != NULL);
    float *x = malloc(vlmoe_tensor_bytes(t));
    size_t each = vlmoe_tensor_bytes(t) / (size_t)vlmoe_tensor_dim(t, 0);
    CHECK_STATUS(vlmoe_tensor_read(t, x, vlmoe_tensor_bytes(t)), VLMOE_OK);
    bool equal =
        memcmp(x, (char *)x + each, each) == 0 && memcmp(x, (char *)x + 2 * each, each) == 0;
    free(x);
    return equal;
}

TEST(experts_start_equal_unless_asked_to_differ)
{
    const char *const more[2] = {"moe.distinct_experts=false", "moe.distinct_experts=true"};
    for (int distinct = 0; distinct < 2; distinct++) {
        vlmoe_config *config = test_tiny_config(more[distinct]);
        vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
        vlm_mome *model = test_tiny_model(ctx, config);
        CHECK_INT(experts_are_equal(ctx, "blocks.0.ffn_t.experts.{e}.fc1.weight"), !distinct);
        CHECK_INT(experts_are_equal(ctx, "blocks.1.ffn_t.experts.{e}.fc2.weight"), !distinct);
        vlm_mome_destroy(model);
        vlmoe_context_destroy(ctx);
        vlmoe_config_destroy(config);
    }
}

TEST(a_tied_decoder_has_no_weight_of_its_own)
{
    vlmoe_config *config = test_tiny_config("model.tied_decoder=true");
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
    vlm_mome *model = test_tiny_model(ctx, config);
    CHECK(vlmoe_param_find(ctx, "word_head.decoder.weight") == NULL);
    CHECK(vlmoe_param_find(ctx, "word_head.decoder.bias") != NULL);
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}

/* BASE with 32 experts in every other block of both modalities. By hand, D 768, F 3072:
 *   attention 4 D D weights, 2 D + D biases (qkv, proj), feed-forward 2 D F + D + F, a norm 2 D. */
TEST(base_with_32_experts_has_the_published_size)
{
    static const char BASE[] =
        "{\"model\": {\"layers\": 12, \"width\": 768, \"heads\": 12, \"vl_from\": 10, "
        "\"image_size\": 224, \"patch\": 16, \"text_len\": 128,"
        " \"tied_decoder\": true}, \"moe\": {\"v_layers\": [1, 3, 5, 7, 9, 11], \"t_layers\": [1, "
        "3, 5, 7, 9, 11], \"v_experts\": 32,"
        " \"t_experts\": 32}}";
    const int64_t D = 768, V = 64000, C = 8192, ffn = 2 * D * 3072 + D + 3072, router = 32 * D;
    vlmoe_config *config = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_config_parse(BASE, sizeof BASE - 1, "base", &config, &error), VLMOE_OK,
                   &error);
    vlmoe_context *ctx = test_context("meta", VLMOE_BF16, 1);
    vlm_mome *model = NULL;
    CHECK_STATUS_E(vlm_mome_create(ctx, config, V, C, &model), VLMOE_OK, &ctx->error);

    int64_t embeddings = V * D + 128 * D + (D * D + D) + 197 * D + 2 * D;
    int64_t attention = 12 * (4 * D * D + 3 * D), norms = 12 * (2 * D + 2 * 2 * D) + 2 * 2 * D;
    int64_t dense = (6 + 6 + 2) * ffn, sparse = 12 * (router + 32 * ffn), met = 12 * (router + ffn);
    int64_t heads = 2 * D + (D * D + D) + 2 * D + V + (C * D + C);
    vlm_mome_size size = vlm_mome_count(model);
    CHECK_INT(size.total, embeddings + attention + norms + dense + sparse + heads);
    CHECK_INT(size.per_token, embeddings + attention + norms + dense + met + heads);
    CHECK(size.total > 1900000000 && size.total < 2000000000); /* "1.9B" */
    CHECK(size.per_token > 180000000 &&
          size.per_token < 220000000); /* "180M", word table and heads not told */
    int64_t seen = attention + 12 * 2 * 2 * D + 6 * ffn + 6 * (router + ffn) +
                   2 * D; /* by any single-modality token */
    CHECK_INT(size.per_vision_token, seen + D + (D * D + D) + (C * D + C));
    CHECK_INT(size.per_text_token, seen + 2 * D + (D * D + D) + 2 * D + V * D + V);
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}
