/* Laws of the encoder: who depends on whom, empty streams, routing sets, draws of drop path, refused inputs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "context.h"
#include "base_rng.h"
#include "harness.h"
#include "objective.h"
#include "test_model.h"

/* An encoder in PREDICT mode; hidden rows as floats, [n_rows, D]. */
typedef struct encoder {
    vlmoe_config *config;
    vlmoe_context *ctx;
    vlm_mome *model;
} encoder;

static encoder encoder_make(const char *more)
{
    encoder e;
    e.config = test_tiny_config(more);
    e.ctx = test_context("cpu", VLMOE_F32, 1);
    e.model = test_tiny_model(e.ctx, e.config);
    return e;
}

static void encoder_free(encoder *e)
{
    vlm_mome_destroy(e->model);
    vlmoe_context_destroy(e->ctx);
    vlmoe_config_destroy(e->config);
}

static float *encode(encoder *e, const vlm_mome_inputs *in, vlm_mome_rows *rows)
{
    vlmoe_tape *tape = NULL;
    vlm_mome_output out;
    CHECK_STATUS(vlmoe_tape_begin(e->ctx, VLMOE_PREDICT, &tape), VLMOE_OK);
    vlm_mome_encode(tape, e->model, in, false, &out);
    CHECK_STATUS_E(vlmoe_tape_status(tape), VLMOE_OK, &e->ctx->error);
    CHECK(out.drop_path == NULL);
    float *hidden = malloc(vlmoe_tensor_bytes(out.hidden));
    CHECK_STATUS(vlmoe_tensor_read(out.hidden, hidden, vlmoe_tensor_bytes(out.hidden)), VLMOE_OK);
    *rows = out.rows;
    vlmoe_tape_end(tape);
    return hidden;
}

static bool rows_equal(const float *a, int64_t row_a, const float *b, int64_t row_b, int64_t count)
{
    return memcmp(a + row_a * 16, b + row_b * 16, (size_t)(count * 16) * sizeof *a) == 0;
}

/* Dropless routing, attention per sequence and row-wise products: neighbours in a group must not
 * matter. */
TEST(a_sample_is_encoded_alike_alone_and_among_others)
{
    encoder e = encoder_make(NULL);
    test_group g = test_group_make(e.config, 2, 3, 2);
    vlm_mome_inputs all = test_group_inputs(&g);
    vlm_mome_rows rows, one;
    float *hidden = encode(&e, &all, &rows);
    const int32_t *offset = all.text_offset;
    const int64_t P1 = 1 + TINY_PATCHES, picture_bytes = 8 * 8 * 3;

    for (int64_t j = 0; j < all.n_texts; j++) { /* each text */
        int64_t at = offset[all.n_pairs + j], length = offset[all.n_pairs + j + 1] - at;
        int32_t own[2] = {0, (int32_t)length};
        vlm_mome_inputs in = {.n_texts = 1, .token = all.token + at, .text_offset = own};
        float *alone = encode(&e, &in, &one);
        CHECK(rows_equal(hidden, rows.text_begin + at, alone, 0, length));
        free(alone);
    }
    vlm_mome_inputs image = {.n_images = 1,
                             .pixels = all.pixels + picture_bytes,
                             .patch_mask = all.patch_mask + TINY_PATCHES};
    float *alone = encode(&e, &image, &one);
    CHECK(rows_equal(hidden, P1, alone, 0, P1));
    free(alone);

    int64_t at = offset[1], length = offset[2] - at; /* the second pair: picture 3 */
    int32_t own[2] = {0, (int32_t)length};
    vlm_mome_inputs pair = {.n_pairs = 1,
                            .pixels = all.pixels + 3 * picture_bytes,
                            .patch_mask = all.patch_mask + 3 * TINY_PATCHES,
                            .token = all.token + at,
                            .text_offset = own};
    alone = encode(&e, &pair, &one);
    CHECK(rows_equal(hidden, 3 * P1, alone, 0, P1));
    CHECK(rows_equal(hidden, rows.text_begin + at, alone, one.text_begin, length));
    free(alone);
    free(hidden);
    test_group_free(&g);
    encoder_free(&e);
}

/* Which of images, pairs, texts change when a parameter changes. */
typedef struct reach {
    bool images, pair_pictures, pair_texts, texts;
} reach;

static reach reach_of(encoder *e, const vlm_mome_inputs *in, const float *before)
{
    vlm_mome_rows r;
    float *after = encode(e, in, &r);
    int64_t pair_text_end = r.pair_begin + r.pair_count;
    reach out = {.images = !rows_equal(before, 0, after, 0, r.pair_begin),
                 .pair_pictures = !rows_equal(before, r.pair_begin, after, r.pair_begin,
                                              r.n_vision - r.pair_begin),
                 .pair_texts = !rows_equal(before, r.text_begin, after, r.text_begin,
                                           pair_text_end - r.text_begin),
                 .texts = !rows_equal(before, pair_text_end, after, pair_text_end,
                                      r.n_rows - pair_text_end)};
    free(after);
    return out;
}

static void check_reach(encoder *e, const vlm_mome_inputs *in, const char *name, reach want)
{
    vlm_mome_rows rows;
    float *before = encode(e, in, &rows);
    vlmoe_tensor *t = vlmoe_param_find(e->ctx, name);
    CHECK(t != NULL);
    size_t bytes = vlmoe_tensor_bytes(t);
    float *old = malloc(bytes), *changed = malloc(bytes);
    CHECK_STATUS(vlmoe_tensor_read(t, old, bytes), VLMOE_OK);
    for (size_t i = 0; i < bytes / sizeof *old; i++)
        changed[i] = old[i] + 0.25f * (float)(1 + i % 3);
    CHECK_STATUS(vlmoe_tensor_write(t, changed, bytes), VLMOE_OK);
    reach got = reach_of(e, in, before);
    CHECK_STATUS(vlmoe_tensor_write(t, old, bytes), VLMOE_OK);
    if (memcmp(&got, &want, sizeof got) != 0)
        test_fail(__FILE__, __LINE__,
                  "%s reaches images %d, pair pictures %d, pair texts %d, texts %d", name,
                  got.images, got.pair_pictures, got.pair_texts, got.texts);
    free(before);
    free(old);
    free(changed);
}

TEST(each_feed_forward_serves_its_own_rows)
{
    encoder e = encoder_make(NULL);
    test_group g = test_group_make(e.config, 2, 2, 2);
    vlm_mome_inputs in = test_group_inputs(&g);
    const reach vision = {true, true, true, false}, text = {false, true, true, true},
                pairs = {false, true, true, false};
    const reach images = {true, false, false, false}, texts = {false, false, false, true},
                all = {true, true, true, true};
    check_reach(&e, &in, "blocks.0.ffn_v.fc2.bias", vision); /* pairs' texts through attention */
    check_reach(&e, &in, "blocks.0.ffn_t.experts.{e}.fc2.bias", text);
    check_reach(&e, &in, "blocks.1.ffn_v.experts.{e}.fc1.weight", vision);
    check_reach(&e, &in, "blocks.1.norm2_t.bias", text);
    check_reach(&e, &in, "blocks.2.ffn_v.fc1.weight", images);
    check_reach(&e, &in, "blocks.2.ffn_t.fc1.weight", texts);
    check_reach(&e, &in, "blocks.2.ffn_vl.fc1.weight", pairs);
    check_reach(&e, &in, "blocks.2.norm2_vl.weight", pairs);
    check_reach(&e, &in, "blocks.1.attention.qkv.bias", all);
    check_reach(&e, &in, "patch.weight", vision);
    check_reach(&e, &in, "text_position", text);
    check_reach(&e, &in, "image_mask", vision);
    check_reach(&e, &in, "norm.weight", all);
    test_group_free(&g);
    encoder_free(&e);
}

/* A bias on k would move nothing but rounding, so qkv.bias has rows for q and v: the v row moves
 * outputs by exactly what proj makes of it. */
TEST(the_second_row_of_the_qkv_bias_belongs_to_v)
{
    encoder e = encoder_make("moe.v_layers=[];moe.t_layers=[]");
    test_group g = test_group_make(e.config, 1, 0, 0);
    vlm_mome_inputs in = test_group_inputs(&g);
    vlm_mome_rows rows;
    vlmoe_tensor *t = vlmoe_param_find(e.ctx, "blocks.0.attention.qkv.bias"),
                 *proj = vlmoe_param_find(e.ctx, "blocks.0.attention.proj.bias");
    vlmoe_tensor *w = vlmoe_param_find(e.ctx, "blocks.0.attention.proj.weight");
    float bias[32] = {0}, weight[256], out[16];
    CHECK_STATUS(vlmoe_tensor_read(w, weight, sizeof weight), VLMOE_OK);
    for (int o = 0; o < 16; o++) {
        out[o] = 0.0f;
        for (int i = 0; i < 16; i++) out[o] += weight[o * 16 + i] * 0.5f;
    }
    for (int i = 16; i < 32; i++) bias[i] = 0.5f;
    CHECK_STATUS(vlmoe_tensor_write(t, bias, sizeof bias), VLMOE_OK);
    float *by_v = encode(&e, &in, &rows);
    memset(bias, 0, sizeof bias);
    CHECK_STATUS(vlmoe_tensor_write(t, bias, sizeof bias), VLMOE_OK);
    CHECK_STATUS(vlmoe_tensor_write(proj, out, sizeof out), VLMOE_OK);
    float *by_proj = encode(&e, &in, &rows);
    for (int64_t i = 0; i < rows.n_rows * 16; i++) CHECK_CLOSE(by_v[i], by_proj[i], 1e-4);
    free(by_v);
    free(by_proj);
    test_group_free(&g);
    encoder_free(&e);
}

static bool starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static double largest_grad(const vlm_param *param)
{
    double top = 0.0;
    for (int64_t i = 0; i < vlm_param_elements(param); i++)
        top = fmax(top, fabs((double)((const float *)param->grad)[i]));
    return top;
}

static void check_streams(int64_t n_images, int64_t n_texts, int64_t n_pairs)
{
    encoder e = encoder_make(NULL);
    test_group g = test_group_make(e.config, n_images, n_texts, n_pairs);
    vlmoe_tape *tape = NULL;
    vlm_masked masked;
    double loss;
    CHECK_STATUS(vlmoe_tape_begin(e.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_masked_record(tape, e.model, e.config, &g.group, g.codes, &masked);
    CHECK_STATUS_E(vlmoe_tape_loss(tape, &loss), VLMOE_OK, &e.ctx->error);
    CHECK(isfinite(loss) && loss > 0.0);
    bool vision = n_images + n_pairs > 0, text = n_texts + n_pairs > 0;
    CHECK_INT(masked.model.n_routings,
              (vision ? 1 : 0) + (text ? 2 : 0)); /* blocks 0 and 1 are below vl_from */
    for (int i = 0; i < masked.model.n_routings; i++)
        CHECK_INT(masked.model.routings[i].routing->n_sets, masked.model.routings[i].n_sets);
    CHECK_STATUS_E(vlmoe_tape_backward(tape, 1.0), VLMOE_OK, &e.ctx->error);
    vlmoe_tape_end(tape);
    for (int64_t p = 0; p < e.ctx->n_params; p++) {
        const char *name = e.ctx->params[p]->name;
        double top = largest_grad(e.ctx->params[p]);
        CHECK(isfinite(top));
        if (starts(name, "image_") || starts(name, "patch.") || starts(name, "code_head."))
            CHECK_INT(top > 0.0, vision);
        if (starts(name, "word_") || starts(name, "text_position")) CHECK_INT(top > 0.0, text);
        if (strstr(name, "ffn_vl.")) CHECK_INT(top > 0.0, n_pairs > 0);
    }
    test_group_free(&g);
    encoder_free(&e);
}

TEST(any_stream_may_be_empty)
{
    check_streams(3, 0, 0);
    check_streams(0, 3, 0);
    check_streams(0, 0, 3);
    check_streams(2, 2, 0);
    check_streams(0, 1, 1);
}

TEST(routing_sets_are_streams_and_pairs_leave_them_in_vl_blocks)
{
    encoder e = encoder_make("model.vl_from=1");
    test_group g = test_group_make(e.config, 2, 1, 2);
    vlm_mome_inputs in = test_group_inputs(&g);
    vlmoe_tape *tape = NULL;
    vlm_mome_output out;
    CHECK_STATUS(vlmoe_tape_begin(e.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_mome_encode(tape, e.model, &in, true, &out);
    CHECK_STATUS_E(vlmoe_tape_status(tape), VLMOE_OK, &e.ctx->error);
    int64_t pair_tokens = in.text_offset[2], text_tokens = in.text_offset[3] - pair_tokens;
    CHECK_INT(out.n_routings, 3);
    const vlm_mome_routing *r = out.routings;
    CHECK(r[0].layer->block == 0 && r[0].layer->modality == 't' && r[0].n_sets == 2);
    CHECK_TEXT(r[0].set_name[0], "pairs");
    CHECK_TEXT(r[0].set_name[1], "texts");
    CHECK_INT(r[0].routing->T, pair_tokens + text_tokens);
    CHECK(r[1].layer->block == 1 && r[1].layer->modality == 'v' && r[1].n_sets == 1);
    CHECK_TEXT(r[1].set_name[0], "images");
    CHECK_INT(r[1].routing->T, 2 * (1 + TINY_PATCHES));
    CHECK(r[2].layer->block == 1 && r[2].layer->modality == 't' && r[2].n_sets == 1);
    CHECK_TEXT(r[2].set_name[0], "texts");
    CHECK_INT(r[2].routing->T, text_tokens);
    CHECK_INT(r[1].routing->capacity[0], (2 * 10 * 800 + 3999) / 4000); /* ceil(k T cf / E) */
    CHECK_CLOSE(r[1].routing->sigma, 1.0 / 4.0, 0.0);
    vlmoe_tape_end(tape);
    test_group_free(&g);
    encoder_free(&e);
}

TEST(drop_path_draws_once_per_layer_branch_and_sample)
{
    encoder e = encoder_make("model.drop_path=0.5");
    test_group g = test_group_make(e.config, 2, 2, 2);
    vlm_mome_inputs in = test_group_inputs(&g);
    vlmoe_tape *tape = NULL;
    vlm_mome_output out;
    CHECK_STATUS(vlmoe_tape_begin(e.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_tape_place(tape, 4, 2);
    vlm_mome_encode(tape, e.model, &in, false, &out);
    CHECK_STATUS_E(vlmoe_tape_status(tape), VLMOE_OK, &e.ctx->error);
    int n_dropped = 0;
    for (int i = 0; i < 6; i++) {
        double rate = 0.5 * (double)(i / 2) / 2.0; /* 0, 0.25, 0.5 */
        vlm_rng rng = vlm_rng_at(5, VLM_STREAM_DROP_PATH, 4, 2, (uint64_t)i);
        for (int64_t s = 0; s < 6; s++) { /* images 0 1, pairs 2 3, texts 4 5 */
            float want = vlm_rng_unit(&rng) < rate ? 0.0f : (float)(1.0 / (1.0 - rate));
            n_dropped += want == 0.0f;
            const float *row = out.drop_path + i * out.rows.n_rows;
            for (int64_t r = 0; s < 4 && r < 1 + TINY_PATCHES; r++)
                CHECK(row[s * (1 + TINY_PATCHES) + r] == want);
            for (int32_t t = s >= 2 ? in.text_offset[s - 2] : 0;
                 s >= 2 && t < in.text_offset[s - 1]; t++)
                CHECK(row[out.rows.text_begin + t] == want);
        }
    }
    CHECK(n_dropped > 0);
    vlmoe_tape_end(tape);
    test_group_free(&g);
    encoder_free(&e);
}

static void check_refused(encoder *e, const vlm_mome_inputs *in, const char *part)
{
    vlmoe_tape *tape = NULL;
    vlm_mome_output out;
    CHECK_STATUS(vlmoe_tape_begin(e->ctx, VLMOE_PREDICT, &tape), VLMOE_OK);
    vlm_mome_encode(tape, e->model, in, false, &out);
    CHECK_STATUS(vlmoe_tape_status(tape), VLMOE_E_ARG);
    CHECK(out.hidden == NULL);
    CHECK_HAS(vlmoe_context_error(e->ctx), part);
    vlmoe_tape_end(tape);
}

TEST(inputs_out_of_range_are_refused_by_name)
{
    encoder e = encoder_make(NULL);
    int32_t token[12] = {1, 2, 3}, offset[2] = {0, 3};
    vlm_mome_inputs in = {.n_texts = 1, .token = token, .text_offset = offset};
    check_refused(&e, &(vlm_mome_inputs){0}, "at least one sample");
    check_refused(&e, &(vlm_mome_inputs){.n_images = 1}, "pixels");
    token[1] = TINY_WORDS;
    check_refused(&e, &in, "token 1 of a group is word 23");
    token[1] = -1;
    check_refused(&e, &in, "is word -1");
    token[1] = 0;
    offset[1] = 10;
    check_refused(&e, &in, "text 0 has 10 tokens, expected 1 to 9");
    offset[1] = 0;
    check_refused(&e, &in, "text 0 has 0 tokens");
    encoder_free(&e);
}

/* With all branches silenced the hidden rows are the final norm of the embeddings, which
 * FORMATS.md defines. */
TEST(embeddings_add_up_as_documented)
{
    vlmoe_config *config = test_tiny_config("model.layer_scale=0");
    vlmoe_context *ctx = test_ref_context();
    vlm_mome *model = test_tiny_model(ctx, config);
    test_group g = test_group_make(config, 1, 1, 1);
    vlm_mome_inputs in = test_group_inputs(&g);
    for (int64_t p = 0; p < ctx->n_params; p++)
        if (strstr(ctx->params[p]->name, "proj.weight") ||
            strstr(ctx->params[p]->name, "fc2.weight"))
            memset(ctx->params[p]->tensor.data, 0, vlmoe_tensor_bytes(&ctx->params[p]->tensor));
    const double *word = vlmoe_param_find(ctx, "word_embedding.weight")->data,
                 *text_position = vlmoe_param_find(ctx, "text_position")->data;
    const double *weight = vlmoe_param_find(ctx, "patch.weight")->data,
                 *image_position = vlmoe_param_find(ctx, "image_position")->data;
    const double *cls = vlmoe_param_find(ctx, "image_cls")->data,
                 *mask = vlmoe_param_find(ctx, "image_mask")->data;

    vlmoe_tape *tape = NULL;
    vlm_mome_output out;
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_PREDICT, &tape), VLMOE_OK);
    vlm_mome_encode(tape, model, &in, false, &out);
    CHECK_STATUS_E(vlmoe_tape_status(tape), VLMOE_OK, &ctx->error);
    const double *hidden = out.hidden->data;
    for (int64_t r = 0; r < out.rows.n_rows; r++) {
        double x[16], mean = 0.0, variance = 0.0;
        int64_t picture = r / 5, p = r % 5 - 1, t = r - out.rows.text_begin;
        for (int c = 0; c < 16; c++) {
            if (t >= 0) {
                int64_t begin = t < in.text_offset[1] ? 0 : in.text_offset[1];
                x[c] = word[in.token[t] * 16 + c] + text_position[(t - begin) * 16 + c];
            } else if (p < 0) {
                x[c] = cls[c] + image_position[c];
            } else {
                x[c] = image_position[(1 + p) * 16 + c];
                bool hides = in.patch_mask[picture * 4 + p];
                if (hides) x[c] += mask[c];
                for (int64_t i = 0; !hides && i < 48; i++) { /* channel, row, column */
                    int64_t y = p / 2 * 4 + i % 16 / 4, col = p % 2 * 4 + i % 4;
                    x[c] += weight[c * 48 + i] *
                            ((double)in.pixels[((picture * 8 + y) * 8 + col) * 3 + i / 16] / 255.0 -
                             0.5) /
                            0.5;
                }
            }
            mean += x[c] / 16.0;
        }
        for (int c = 0; c < 16; c++) variance += (x[c] - mean) * (x[c] - mean) / 16.0;
        for (int c = 0; c < 16; c++)
            CHECK_CLOSE(hidden[r * 16 + c], (x[c] - mean) / sqrt(variance + 1e-6), 1e-12);
    }
    vlmoe_tape_end(tape);
    test_group_free(&g);
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}
