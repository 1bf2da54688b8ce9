/* The encoder through include/vlmoe/model.h alone, held against the inner functions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"
#include "test_model.h"
#include "vlmoe/model.h"

enum { D = 16 };

static vlmoe_model *model_make(vlmoe_context *ctx, const vlmoe_config *config)
{
    vlmoe_model *model = NULL;
    CHECK_STATUS(vlmoe_model_create(ctx, config, TINY_WORDS, TINY_CODES, &model), VLMOE_OK);
    CHECK_STATUS(vlmoe_model_init(model), VLMOE_OK);
    CHECK_INT(vlmoe_model_width(model), D);
    CHECK_INT(vlmoe_model_patches(model), TINY_PATCHES);
    return model;
}

static vlmoe_model_inputs inputs_of(const test_group *g)
{
    vlmoe_model_inputs in = VLMOE_MODEL_INPUTS;
    in.n_images = g->group.n_images;
    in.n_texts = g->group.n_texts;
    in.n_pairs = g->group.n_pairs;
    in.pixels = g->group.pixels;
    in.patch_mask = g->group.patch_mask;
    in.token = g->group.token;
    in.text_offset = g->group.text_offset;
    return in;
}

/* The final norm's rows have mean bias and, over D, variance 1 at the start: so a [CLS] vector
 * has norm sqrt(D), a mean of several rows less; and swapping two texts swaps their vectors. */
TEST(embed_gives_a_vector_for_each_picture_and_text)
{
    vlmoe_config *config = test_tiny_config(NULL);
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
    vlmoe_model *model = model_make(ctx, config);
    test_group g = test_group_make(config, 2, 3, 2);
    vlmoe_model_inputs in = inputs_of(&g);
    float cls[9 * D], mean[9 * D], one[D];
    CHECK_STATUS(vlmoe_model_embed(model, &in, VLMOE_POOL_CLS, cls), VLMOE_OK);
    CHECK_STATUS(vlmoe_model_embed(model, &in, VLMOE_POOL_MEAN, mean), VLMOE_OK);
    for (int i = 0; i < 9; i++) {
        double square = 0.0, mean_square = 0.0;
        for (int c = 0; c < D; c++) {
            square += (double)cls[i * D + c] * (double)cls[i * D + c];
            mean_square += (double)mean[i * D + c] * (double)mean[i * D + c];
        }
        CHECK_CLOSE(square, D, 1e-3);
        CHECK(mean_square < square);
    }
    int32_t begin = in.text_offset[4], offset[2] = {0, in.text_offset[5] - in.text_offset[4]};
    vlmoe_model_inputs last = VLMOE_MODEL_INPUTS;
    last.n_texts = 1;
    last.token = in.token + begin;
    last.text_offset = offset;
    CHECK_STATUS(vlmoe_model_embed(model, &last, VLMOE_POOL_CLS, one), VLMOE_OK);
    CHECK(memcmp(one, cls + 8 * D, sizeof one) == 0);
    CHECK_STATUS(vlmoe_model_embed(model, &last, VLMOE_POOL_MEAN, one), VLMOE_OK);
    CHECK(memcmp(one, mean + 8 * D, sizeof one) == 0);
    vlmoe_model_inputs image = VLMOE_MODEL_INPUTS;
    image.n_images = 1;
    image.pixels = in.pixels + 8 * 8 * 3;
    image.patch_mask = in.patch_mask + TINY_PATCHES;
    CHECK_STATUS(vlmoe_model_embed(model, &image, VLMOE_POOL_MEAN, one), VLMOE_OK);
    CHECK(memcmp(one, mean + D, sizeof one) == 0);
    test_group_free(&g);
    vlmoe_model_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}

/* Heads applied to every row in the order of rows, by the inner functions. */
static void inner_logits(vlmoe_context *ctx, const vlmoe_config *config, const test_group *g,
                         vlm_mome_rows *rows, float *words, float *codes)
{
    vlmoe_tape *tape = NULL;
    vlm_mome_output out;
    vlm_mome *model = test_tiny_model(ctx, config);
    vlm_mome_inputs in = test_group_inputs(g);
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_PREDICT, &tape), VLMOE_OK);
    vlm_mome_encode(tape, model, &in, false, &out);
    vlmoe_tensor *w = vlm_mome_word_logits(tape, model, out.hidden),
                 *c = vlm_mome_code_logits(tape, model, out.hidden);
    CHECK_STATUS(vlmoe_tape_status(tape), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read(w, words, vlmoe_tensor_bytes(w)), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_read(c, codes, vlmoe_tensor_bytes(c)), VLMOE_OK);
    *rows = out.rows;
    vlmoe_tape_end(tape);
    vlm_mome_destroy(model);
}

TEST(logits_stand_where_they_were_asked_for)
{
    vlmoe_config *config = test_tiny_config(NULL);
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1),
                  *other = test_context("cpu", VLMOE_F32, 1);
    vlmoe_model *model = model_make(ctx, config);
    test_group g = test_group_make(config, 1, 1, 1);
    vlmoe_model_inputs in = inputs_of(&g);
    static float words[64 * TINY_WORDS], codes[64 * TINY_CODES];
    float got_words[2 * TINY_WORDS], got_codes[2 * TINY_CODES];
    vlm_mome_rows rows;
    inner_logits(other, config, &g, &rows, words, codes);
    const int64_t at_word[2] = {in.text_offset[2] - 1, 1},
                  at_code[2] = {TINY_PATCHES + 2, 0}; /* picture 1, patch 2; picture 0, patch 0 */
    CHECK_STATUS(vlmoe_model_word_logits(model, &in, 2, at_word, got_words), VLMOE_OK);
    CHECK_STATUS(vlmoe_model_code_logits(model, &in, 2, at_code, got_codes), VLMOE_OK);
    for (int i = 0; i < 2; i++) {
        int64_t code_row = i ? 1 : (1 + TINY_PATCHES) + 1 + 2;
        CHECK(memcmp(got_words + i * TINY_WORDS,
                     words + (rows.text_begin + at_word[i]) * TINY_WORDS,
                     sizeof(float) * TINY_WORDS) == 0);
        CHECK(memcmp(got_codes + i * TINY_CODES, codes + code_row * TINY_CODES,
                     sizeof(float) * TINY_CODES) == 0);
    }
    CHECK_STATUS(vlmoe_model_word_logits(model, &in, 0, NULL, NULL), VLMOE_OK);
    test_group_free(&g);
    vlmoe_model_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_context_destroy(other);
    vlmoe_config_destroy(config);
}

TEST(what_cannot_be_answered_is_refused_and_leaves_the_context_usable)
{
    vlmoe_config *config = test_tiny_config(NULL);
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
    vlmoe_model *model = model_make(ctx, config), *second = NULL;
    test_group g = test_group_make(config, 1, 1, 0);
    vlmoe_model_inputs in = inputs_of(&g), bad = in;
    float out[2 * D], logits[TINY_WORDS];
    int64_t at = in.text_offset[1];
    CHECK_STATUS(vlmoe_model_word_logits(model, &in, 1, &at, logits), VLMOE_E_ARG);
    CHECK_HAS(vlmoe_context_error(ctx), "place 0 to predict at");
    at = TINY_PATCHES;
    CHECK_STATUS(vlmoe_model_code_logits(model, &in, 1, &at, logits), VLMOE_E_ARG);
    bad.struct_size = 8;
    CHECK_STATUS(vlmoe_model_embed(model, &bad, VLMOE_POOL_CLS, out), VLMOE_E_ARG);
    CHECK_HAS(vlmoe_context_error(ctx), "VLMOE_MODEL_INPUTS");
    bad = in;
    bad.pixels = NULL;
    CHECK_STATUS(vlmoe_model_embed(model, &bad, VLMOE_POOL_CLS, out), VLMOE_E_ARG);
    CHECK_STATUS(vlmoe_model_embed(model, &in, VLMOE_POOL_CLS, out), VLMOE_OK);
    CHECK(vlmoe_model_create(ctx, config, TINY_WORDS, TINY_CODES, &second) !=
          VLMOE_OK); /* names are taken */
    CHECK(second == NULL);
    test_group_free(&g);
    vlmoe_model_destroy(model);
    vlmoe_context_destroy(ctx);

    vlmoe_context *meta = test_context("meta", VLMOE_F32, 1);
    model = model_make(meta, config);
    g = test_group_make(config, 1, 0, 0);
    in = inputs_of(&g);
    CHECK_STATUS(vlmoe_model_embed(model, &in, VLMOE_POOL_CLS, out), VLMOE_E_UNSUPPORTED);
    test_group_free(&g);
    vlmoe_model_destroy(model);
    vlmoe_context_destroy(meta);
    vlmoe_config_destroy(config);
}
