/* The image tokeniser: parameters, losses and their gradients, the code book's start, moving
 * averages and new starts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base_rng.h"
#include "context.h"
#include "harness.h"
#include "model_tokeniser.h"
#include "test_model.h"
#include "vlmoe/ops.h"

enum {
    PICTURES = 4,
    BYTES = PICTURES * 8 * 8 * 3,
    ROWS = PICTURES * TINY_PATCHES,
    CODES = 7,
    C = 5
};

typedef struct fixture {
    vlmoe_config *config;
    vlmoe_context *ctx;
    vlm_tokeniser *model;
    uint8_t pixels[BYTES];
} fixture;

static void fixture_init(fixture *f, const char *more, bool on_ref)
{
    vlm_rng rng = vlm_rng_at(3, VLM_STREAM_TEST, 0, 0, 0);
    f->config = test_tiny_config(more);
    f->ctx = on_ref ? test_ref_context() : test_context("cpu", VLMOE_F32, 1);
    CHECK_STATUS_E(vlm_tokeniser_create(f->ctx, f->config, true, &f->model), VLMOE_OK,
                   &f->ctx->error);
    CHECK_STATUS_E(vlm_ctx_init_params(f->ctx), VLMOE_OK, &f->ctx->error);
    for (int i = 0; i < BYTES; i++) f->pixels[i] = (uint8_t)vlm_rng_below(&rng, 256);
}

static void fixture_fini(fixture *f)
{
    vlm_tokeniser_destroy(f->model);
    vlmoe_context_destroy(f->ctx);
    vlmoe_config_destroy(f->config);
}

static void start(fixture *f)
{
    CHECK_STATUS_E(vlm_tokeniser_start(f->model, PICTURES, f->pixels), VLMOE_OK, &f->ctx->error);
}

/* One forward and backward; gradients are left in the context. */
typedef struct losses {
    double total, reconstruction, commitment;
} losses;

static losses step(fixture *f, bool backward, bool collect)
{
    losses l;
    vlmoe_tape *tape = NULL;
    vlm_tokeniser_losses out;
    CHECK_STATUS(vlmoe_tape_begin(f->ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_tokeniser_loss(tape, f->model, PICTURES, f->pixels, &out);
    CHECK_STATUS_E(vlmoe_tape_loss(tape, &l.total), VLMOE_OK, &f->ctx->error);
    if (f->ctx->wide == VLMOE_F64) {
        l.reconstruction = *(double *)out.reconstruction->data;
        l.commitment = *(double *)out.commitment->data;
    } else {
        l.reconstruction = (double)*(float *)out.reconstruction->data;
        l.commitment = (double)*(float *)out.commitment->data;
    }
    if (collect) CHECK_STATUS_E(vlm_tokeniser_collect(tape, f->model), VLMOE_OK, &f->ctx->error);
    if (backward) CHECK_STATUS_E(vlmoe_tape_backward(tape, 1.0), VLMOE_OK, &f->ctx->error);
    vlmoe_tape_end(tape);
    return l;
}

TEST(tokeniser_parameters_are_those_of_the_formats_page)
{
    static const char *const names[] = {"patch.weight",
                                        "patch.bias",
                                        "position",
                                        "encoder.0.norm1.weight",
                                        "encoder.0.norm1.bias",
                                        "encoder.0.attention.qkv.weight",
                                        "encoder.0.attention.qkv.bias",
                                        "encoder.0.attention.proj.weight",
                                        "encoder.0.attention.proj.bias",
                                        "encoder.0.norm2.weight",
                                        "encoder.0.norm2.bias",
                                        "encoder.0.ffn.fc1.weight",
                                        "encoder.0.ffn.fc1.bias",
                                        "encoder.0.ffn.fc2.weight",
                                        "encoder.0.ffn.fc2.bias",
                                        "encoder.1.norm1.weight"};
    static const char *const later[] = {"encoder_norm.weight",    "to_code.fc1.weight",
                                        "to_code.fc2.weight",     "from_code.weight",
                                        "decoder.0.ffn.fc2.bias", "decoder_norm.bias",
                                        "to_target.fc1.bias",     "to_target.fc2.weight"};
    fixture f;
    fixture_init(&f, NULL, false);
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        CHECK_TEXT(f.ctx->params[i]->name, names[i]);
    for (int i = 0; i < (int)(sizeof later / sizeof *later); i++)
        CHECK(vlmoe_param_find(f.ctx, later[i]) != NULL);
    CHECK_INT(f.ctx->n_params, 3 + 3 * 12 + 2 + 4 + 2 + 2 + 4);
    CHECK_INT(vlmoe_tensor_dim(vlmoe_param_find(f.ctx, "to_code.fc2.weight"), 0), C);
    CHECK_INT(vlmoe_tensor_dim(vlmoe_param_find(f.ctx, "to_target.fc2.weight"), 0), 48);
    vlm_tokeniser *frozen = NULL;
    vlmoe_context *other = test_context("cpu", VLMOE_F32, 1);
    CHECK_STATUS(vlm_tokeniser_create(other, f.config, false, &frozen), VLMOE_OK);
    CHECK_TEXT(other->params[0]->name, "image_tokeniser.patch.weight");
    CHECK(!other->params[0]->trained);
    vlm_tokeniser_destroy(frozen);
    vlmoe_context_destroy(other);
    fixture_fini(&f);
}

TEST(nothing_runs_before_the_code_book_has_values)
{
    fixture f;
    int32_t codes[ROWS];
    vlmoe_tape *tape = NULL;
    vlm_tokeniser_losses out;
    fixture_init(&f, NULL, false);
    CHECK_STATUS(vlm_tokeniser_codes(f.model, PICTURES, f.pixels, codes), VLMOE_E_STATE);
    CHECK_STATUS(vlmoe_tape_begin(f.ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_tokeniser_loss(tape, f.model, PICTURES, f.pixels, &out);
    CHECK_STATUS(vlmoe_tape_status(tape), VLMOE_E_STATE);
    CHECK_HAS(vlmoe_context_error(f.ctx), "start it or load it");
    vlmoe_tape_end(tape);
    fixture_fini(&f);
}

/* Numeric derivative of one of the losses; the codes are chosen by features, so a change of
 * choice is skipped by the caller. */
static losses moved(fixture *f, double *x, double by, int32_t *codes)
{
    double old = *x;
    *x = old + by;
    losses l = step(f, false, false);
    CHECK_STATUS(vlm_tokeniser_codes(f->model, PICTURES, f->pixels, codes), VLMOE_OK);
    *x = old;
    return l;
}

/* After the code the loss is differentiable as it stands. Before it the gradient is (straight
 * through) + commitment: the difference between two weights of the commitment is its own
 * gradient, which is a true one. */
TEST(gradients_match_differences_on_both_sides_of_the_code)
{
    static fixture with, without;
    fixture_init(&with, "tokeniser.commitment=3", true);
    fixture_init(&without, "tokeniser.commitment=0", true);
    start(&with);
    start(&without);
    step(&with, true, false);
    step(&without, true, false);
    const double *grad_with = with.ctx->grads, *grad_without = without.ctx->grads, h = 1e-5;
    int32_t before[ROWS], up_codes[ROWS], down_codes[ROWS];
    CHECK_STATUS(vlm_tokeniser_codes(with.model, PICTURES, with.pixels, before), VLMOE_OK);
    int n_checked = 0, n_skipped = 0;
    bool after_code = false;
    for (int64_t p = 0; p < with.ctx->n_params; p++) {
        const vlm_param *param = with.ctx->params[p];
        after_code = after_code || strcmp(param->name, "from_code.weight") == 0;
        if (strcmp(param->name, "position") == 0) continue; /* used on both sides */
        for (int64_t i = 0; i < vlm_param_elements(param); i += 1 + vlm_param_elements(param) / 2) {
            double *x = (double *)param->tensor.data + i;
            losses up = moved(&with, x, h, up_codes), down = moved(&with, x, -h, down_codes);
            if (memcmp(up_codes, before, sizeof before) != 0 ||
                memcmp(down_codes, before, sizeof before) != 0) {
                n_skipped++;
                continue;
            }
            n_checked++;
            double want = after_code ? (up.total - down.total) / (2 * h)
                                     : 3.0 * (up.commitment - down.commitment) / (2 * h);
            double got =
                grad_with[param->at + i] - (after_code ? 0.0 : grad_without[param->at + i]);
            if (!(fabs(got - want) <= 1e-6 * fmax(1.0, fabs(want))))
                test_fail(__FILE__, __LINE__, "%s: gradient %.12g, central difference %.12g",
                          param->name, got, want);
        }
    }
    CHECK(n_skipped * 10 <= n_checked);
    fixture_fini(&with);
    fixture_fini(&without);
}

/* mean over rows and values of (output - own normalised pixels)^2, by hand from what decode
 * gives. */
TEST(reconstruction_is_measured_against_each_patch_with_its_mean_and_deviation_removed)
{
    fixture f;
    int32_t codes[ROWS];
    float out[ROWS * 48];
    double sum = 0.0;
    fixture_init(&f, NULL, true);
    memset(f.pixels, 200, 8 * 8 * 3); /* a flat picture: its targets are zeros */
    start(&f);
    losses l = step(&f, false, false);
    CHECK_STATUS(vlm_tokeniser_codes(f.model, PICTURES, f.pixels, codes), VLMOE_OK);
    CHECK_STATUS(vlm_tokeniser_decode(f.model, PICTURES, codes, out), VLMOE_OK);
    for (int r = 0; r < ROWS; r++) {
        double x[48], mean = 0.0, variance = 0.0;
        for (int i = 0; i < 48; i++) {
            int y = r % 4 / 2 * 4 + i % 16 / 4, col = r % 2 * 4 + i % 4;
            x[i] = f.pixels[((r / 4 * 8 + y) * 8 + col) * 3 + i / 16] / 255.0;
            mean += x[i] / 48.0;
        }
        for (int i = 0; i < 48; i++) variance += (x[i] - mean) * (x[i] - mean) / 48.0;
        for (int i = 0; i < 48; i++) {
            double target = (x[i] - mean) / fmax(sqrt(variance), 1e-3);
            if (r < 4) CHECK(fabs(target) < 1e-9);
            sum += ((double)out[r * 48 + i] - target) * ((double)out[r * 48 + i] - target) /
                   (48.0 * ROWS);
        }
    }
    CHECK_CLOSE(l.reconstruction, sum, 1e-6 * sum); /* decode gives f32 */
    CHECK_CLOSE(l.total, l.reconstruction + l.commitment, 1e-13);
    fixture_fini(&f);
}

TEST(start_gives_unit_codes_that_serve_every_feature_and_repeats)
{
    static fixture a, b;
    fixture_init(&a, NULL, false);
    fixture_init(&b, NULL, false);
    start(&a);
    start(&b);
    vlm_codebook_state x, y;
    CHECK_STATUS(vlm_tokeniser_state(a.model, &x), VLMOE_OK);
    CHECK_STATUS(vlm_tokeniser_state(b.model, &y), VLMOE_OK);
    CHECK(x.started && x.codes == CODES && x.code_dim == C);
    CHECK(memcmp(x.code, y.code, sizeof(float) * CODES * C) == 0 &&
          memcmp(x.count, y.count, sizeof(float) * CODES) == 0);
    double n = 0.0;
    int32_t codes[ROWS];
    CHECK_STATUS(vlm_tokeniser_codes(a.model, PICTURES, a.pixels, codes), VLMOE_OK);
    for (int k = 0; k < CODES; k++) {
        double square = 0.0, uses = 0.0;
        for (int c = 0; c < C; c++) square += (double)x.code[k * C + c] * (double)x.code[k * C + c];
        for (int r = 0; r < ROWS; r++) uses += codes[r] == k;
        CHECK_CLOSE(square, 1.0, 1e-6);
        CHECK(uses == (double)x.count[k]);
        n += uses;
    }
    CHECK(n == ROWS);
    fixture_fini(&a);
    fixture_fini(&b);
}

TEST(codes_of_a_picture_do_not_depend_on_its_neighbours)
{
    fixture f;
    int32_t all[ROWS], one[TINY_PATCHES];
    fixture_init(&f, NULL, false);
    start(&f);
    CHECK_STATUS(vlm_tokeniser_codes(f.model, PICTURES, f.pixels, all), VLMOE_OK);
    for (int i = 0; i < PICTURES; i++) {
        CHECK_STATUS(vlm_tokeniser_codes(f.model, 1, f.pixels + i * 192, one), VLMOE_OK);
        CHECK(memcmp(one, all + i * TINY_PATCHES, sizeof one) == 0);
    }
    fixture_fini(&f);
}

/* A code book written by hand: code 1 equals code 0, to which ties go, so no feature chooses it
 * and it is dead; the others follow the moving average. */
TEST(update_moves_averages_and_gives_dead_codes_a_feature)
{
    fixture f;
    fixture_init(&f, "tokeniser.ema=0.75;tokeniser.revive_below=0.2", false);
    start(&f);
    vlm_codebook_state s;
    CHECK_STATUS(vlm_tokeniser_state(f.model, &s), VLMOE_OK);
    float count[CODES], sum[CODES * C], code[CODES * C];
    int32_t codes[ROWS];
    memcpy(code, s.code, sizeof code);
    memcpy(code + C, code, C * sizeof *code);
    for (int k = 0; k < CODES; k++) count[k] = k == 1 ? 0.0f : 2.0f;
    for (int i = 0; i < CODES * C; i++) sum[i] = count[i / C] * code[i];
    CHECK_STATUS(
        vlm_tokeniser_state_set(f.model, &(vlm_codebook_state){CODES, C, code, count, sum, true}),
        VLMOE_OK);
    CHECK_STATUS(vlm_tokeniser_codes(f.model, PICTURES, f.pixels, codes), VLMOE_OK);
    step(&f, false, true);
    CHECK_STATUS_E(vlm_tokeniser_update(f.model, 1), VLMOE_OK, &f.ctx->error);

    double want[CODES], mean = 0.0;
    for (int k = 0; k < CODES; k++) {
        want[k] = 0.75 * (double)count[k];
        for (int r = 0; r < ROWS; r++) want[k] += 0.25 * (codes[r] == k);
        mean += want[k] / CODES;
    }
    CHECK(want[1] == 0.0);
    for (int k = 0; k < CODES; k++) {
        double square = 0.0, dot = 0.0, norm = 0.0;
        CHECK_CLOSE(s.count[k], fmax(want[k], 0.2 * mean), 1e-6);
        for (int c = 0; c < C; c++) {
            square += (double)s.code[k * C + c] * (double)s.code[k * C + c];
            dot += (double)s.code[k * C + c] * (double)s.sum[k * C + c];
            norm += (double)s.sum[k * C + c] * (double)s.sum[k * C + c];
        }
        CHECK_CLOSE(square, 1.0, 1e-6);
        CHECK_CLOSE(dot, sqrt(norm), 1e-6 * sqrt(norm)); /* code = sum / |sum| */
    }
    CHECK_CLOSE(vlm_tokeniser_usage(f.model), 6.0 / 7.0, 1e-12);
    fixture_fini(&f);
}

TEST(a_code_book_of_another_shape_is_refused)
{
    fixture f;
    float x[64] = {0};
    fixture_init(&f, NULL, false);
    CHECK_STATUS(
        vlm_tokeniser_state_set(f.model, &(vlm_codebook_state){CODES + 1, C, x, x, x, true}),
        VLMOE_E_SHAPE);
    CHECK_HAS(vlmoe_context_error(f.ctx), "8 codes of width 5");
    fixture_fini(&f);
}

/* Predicting each patch's mean leaves an error of 1, the targets' deviation: codes must halve it. */
TEST(training_learns_to_draw_its_pictures)
{
    fixture f;
    vlmoe_adamw_params adam = VLMOE_ADAMW_PARAMS;
    losses l = {0};
    fixture_init(&f, "model.init_std=0.1;tokeniser.codes=32", false);
    start(&f);
    adam.lr = 5e-3;
    for (int64_t i = 1; i <= 150; i++) {
        l = step(&f, true, true);
        CHECK_STATUS(vlmoe_adamw_step(f.ctx, &adam, i, NULL), VLMOE_OK);
        CHECK_STATUS(vlmoe_grad_zero(f.ctx), VLMOE_OK);
        CHECK_STATUS(vlm_tokeniser_update(f.model, i), VLMOE_OK);
    }
    CHECK(l.reconstruction < 0.5);
    CHECK(l.commitment < 0.1);
    fixture_fini(&f);
}
