/* Masked pretraining: what is summed, reported and refused; telemetry of routing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "context.h"
#include "harness.h"
#include "objective.h"
#include "test_model.h"
#include "vlmoe/ops.h"

typedef struct fixture {
    vlmoe_config *config;
    vlmoe_context *ctx;
    vlm_mome *model;
    test_group g;
    vlmoe_tape *tape;
    vlm_masked masked;
} fixture;

static fixture fixture_make(const char *more, int64_t n_images, int64_t n_texts, int64_t n_pairs)
{
    fixture f = {.config = test_tiny_config(more)};
    f.ctx = test_ref_context();
    f.model = test_tiny_model(f.ctx, f.config);
    f.g = test_group_make(f.config, n_images, n_texts, n_pairs);
    CHECK_STATUS(vlmoe_tape_begin(f.ctx, VLMOE_TRAIN, &f.tape), VLMOE_OK);
    return f;
}

static void fixture_record(fixture *f)
{
    vlm_masked_record(f->tape, f->model, f->config, &f->g.group, f->g.codes, &f->masked);
    CHECK_STATUS_E(vlmoe_tape_status(f->tape), VLMOE_OK, &f->ctx->error);
}

static void fixture_free(fixture *f)
{
    vlmoe_tape_end(f->tape);
    test_group_free(&f->g);
    vlm_mome_destroy(f->model);
    vlmoe_context_destroy(f->ctx);
    vlmoe_config_destroy(f->config);
}

/* -log softmax(logits)[target], and whether target is the argmax (lowest of equals). */
static double nll_of(const double *logits, int64_t n, int64_t target, bool *right)
{
    double sum = 0.0;
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += exp(logits[i] - logits[target]);
        if (logits[i] > logits[best]) best = i;
    }
    *right = best == target;
    return log(sum);
}

/* Part by part from the group itself and the recorded logits. */
static void expected_metrics(const fixture *f, vlm_part_metrics *out)
{
    const vlm_group *g = &f->g.group;
    const double *words = f->masked.word_logits ? f->masked.word_logits->data : NULL;
    const double *codes = f->masked.code_logits ? f->masked.code_logits->data : NULL;
    bool right;
    memset(out, 0, sizeof *out);
    for (int64_t t = 0; t < g->n_tokens; t++) {
        if (g->token_target[t] < 0) continue;
        int part = t < g->text_offset[g->n_pairs] ? VLM_PART_PAIR_TEXT : VLM_PART_TEXT;
        out->n[part]++;
        out->loss[part] += nll_of(words, TINY_WORDS, g->token_target[t], &right);
        out->correct[part] += right;
        words += TINY_WORDS;
    }
    for (int64_t i = 0; i < (g->n_images + g->n_pairs) * g->n_patches; i++) {
        if (!g->patch_mask[i]) continue;
        int part = i < g->n_images * g->n_patches ? VLM_PART_IMAGE : VLM_PART_PAIR_IMAGE;
        out->n[part]++;
        out->loss[part] += nll_of(codes, TINY_CODES, f->g.codes[i], &right);
        out->correct[part] += right;
        codes += TINY_CODES;
    }
    for (int p = 0; p < VLM_N_PARTS; p++) {
        out->loss[p] /= out->n[p] ? (double)out->n[p] : 1.0;
        out->correct[p] /= out->n[p] ? (double)out->n[p] : 1.0;
    }
}

static double balance_losses(fixture *f)
{
    double sum = 0.0;
    for (int i = 0; i < f->masked.model.n_routings; i++) {
        const vlm_mome_routing *r = &f->masked.model.routings[i];
        const double *losses = r->routing->d_losses;
        for (int64_t s = 0; s < r->n_sets; s++)
            for (int j = 0; j < VLMK_N_LOSSES; j++)
                sum += r->layer->policy.weight[j] * losses[s * VLMK_N_LOSSES + j] / r->n_sets;
    }
    return sum;
}

TEST(loss_is_the_weighted_sum_of_part_means_and_balance_losses)
{
    fixture f = fixture_make("objective.text_weight=2;objective.image_weight=0.5;"
                             "objective.pair_text_weight=3;objective.pair_image_weight=0.25",
                             3, 2, 4);
    const double weight[VLM_N_PARTS] = {2.0, 0.5, 3.0, 0.25};
    vlm_part_metrics got, want;
    double loss, sum = 0.0;
    fixture_record(&f);
    expected_metrics(&f, &want);
    CHECK_STATUS(vlm_masked_metrics(f.tape, &f.masked, &got), VLMOE_OK);
    for (int p = 0; p < VLM_N_PARTS; p++) {
        CHECK(want.n[p] > 0);
        CHECK_INT(got.n[p], want.n[p]);
        CHECK_CLOSE(got.loss[p], want.loss[p], 1e-12);
        CHECK_CLOSE(got.correct[p], want.correct[p], 1e-15);
        sum += weight[p] * want.loss[p];
    }
    CHECK_STATUS(vlmoe_tape_loss(f.tape, &loss), VLMOE_OK);
    CHECK_CLOSE(loss, sum + balance_losses(&f), 1e-12);
    fixture_free(&f);
}

TEST(a_part_with_weight_0_or_without_rows_counts_nothing)
{
    fixture f = fixture_make("objective.pair_image_weight=0;objective.text_weight=0", 0, 2, 2);
    vlm_part_metrics got;
    fixture_record(&f);
    CHECK_STATUS(vlm_masked_metrics(f.tape, &f.masked, &got), VLMOE_OK);
    for (int p = 0; p < VLM_N_PARTS; p++) {
        CHECK_INT(got.n[p] > 0, p == VLM_PART_PAIR_TEXT);
        if (p != VLM_PART_PAIR_TEXT) CHECK(got.loss[p] == 0.0 && got.correct[p] == 0.0);
    }
    CHECK(f.masked.code_logits == NULL && f.masked.n_codes == 0);
    fixture_free(&f);
}

TEST(a_group_without_masked_positions_has_balance_losses_only)
{
    fixture f = fixture_make(NULL, 1, 1, 1);
    vlm_part_metrics got;
    double loss;
    for (int64_t t = 0; t < f.g.group.n_tokens; t++) f.g.group.token_target[t] = -1;
    memset(f.g.group.patch_mask, 0, 2 * TINY_PATCHES);
    vlm_masked_record(f.tape, f.model, f.config, &f.g.group, NULL, &f.masked); /* no codes needed */
    CHECK_STATUS(vlm_masked_metrics(f.tape, &f.masked, &got), VLMOE_OK);
    for (int p = 0; p < VLM_N_PARTS; p++) CHECK(got.n[p] == 0 && got.loss[p] == 0.0);
    CHECK_STATUS(vlmoe_tape_loss(f.tape, &loss), VLMOE_OK);
    CHECK_CLOSE(loss, balance_losses(&f), 1e-13);
    fixture_free(&f);
}

static void check_refused(fixture *f, const int32_t *codes, const char *part)
{
    vlm_masked_record(f->tape, f->model, f->config, &f->g.group, codes, &f->masked);
    CHECK_STATUS(vlmoe_tape_status(f->tape), VLMOE_E_ARG);
    CHECK_HAS(vlmoe_context_error(f->ctx), part);
    fixture_free(f);
}

TEST(missing_codes_and_targets_out_of_range_are_refused)
{
    fixture f = fixture_make(NULL, 1, 0, 0);
    check_refused(&f, NULL, "data.image_tokeniser");
    f = fixture_make(NULL, 1, 0, 0);
    for (int i = 0; i < TINY_PATCHES; i++) f.g.codes[i] = TINY_CODES;
    check_refused(&f, f.g.codes, "a target of the image code head is 7, expected 0 to 6");
    f = fixture_make(NULL, 0, 1, 0);
    f.g.group.token_target[1] = TINY_WORDS;
    check_refused(&f, NULL, "a target of the word head is 23");
}

TEST(route_statistics_agree_with_the_decisions)
{
    fixture f = fixture_make(NULL, 3, 2, 4);
    vlm_route_stats *stats;
    int n;
    fixture_record(&f);
    CHECK_STATUS_E(vlm_route_stats_read(f.tape, &f.masked.model, &n, &stats), VLMOE_OK,
                   &f.ctx->error);
    CHECK_INT(n, 3);
    for (int i = 0; i < n; i++) {
        const vlm_route_stats *s = &stats[i];
        const vlm_routing *r = f.masked.model.routings[i].routing;
        int64_t load[8] = {0}, dropped = 0, empty = 0;
        double entropy = 0.0, square = 0.0, importance = 0.0;
        for (int64_t j = 0; j < r->T * r->K; j++) {
            load[r->d_expert[j]]++;
            dropped += r->d_slot[j] < 0;
        }
        for (int64_t j = 0; j < r->T * r->E; j++) {
            double p = ((const double *)r->d_clean)[j];
            entropy -= p * log(p) / (double)r->T;
        }
        double mean = (double)(r->T * r->K) / (double)r->E;
        for (int64_t e = 0; e < r->E; e++) {
            CHECK_INT(s->load[e], load[e]);
            square += ((double)load[e] - mean) * ((double)load[e] - mean) / (double)r->E;
            empty += load[e] == 0;
        }
        for (int64_t k = 0; k < r->n_sets; k++)
            importance += ((const double *)r->d_losses)[k * VLMK_N_LOSSES] / (double)r->n_sets;
        CHECK_INT(s->tokens, r->T);
        CHECK_INT(s->n_sets, 2);
        CHECK_INT(s->empty, empty);
        CHECK(dropped > 0); /* capacity factor 0.8 */
        CHECK_CLOSE(s->dropped, (double)dropped / (double)(r->T * r->K), 1e-15);
        CHECK_CLOSE(s->load_cv, sqrt(square) / mean, 1e-12);
        CHECK_CLOSE(s->entropy, entropy, 1e-12);
        CHECK_CLOSE(s->losses[VLMK_LOSS_IMPORTANCE], importance, 1e-15);
    }
    fixture_free(&f);
}

/* Eight samples, random targets: a model that learns at all can know them by heart. */
TEST(eight_samples_are_learnt_by_heart)
{
    vlmoe_config *config =
        test_tiny_config("model.drop_path=0;model.init_std=0.1;moe.capacity_factor=2");
    vlmoe_context *ctx = test_context("cpu", VLMOE_F32, 1);
    vlm_mome *model = test_tiny_model(ctx, config);
    test_group g = test_group_make(config, 3, 2, 3);
    vlmoe_adamw_params adam = VLMOE_ADAMW_PARAMS;
    vlm_part_metrics m = {0};
    adam.lr = 1e-2;
    adam.clip = 1.0;
    for (int64_t step = 1; step <= 120; step++) {
        vlmoe_tape *tape = NULL;
        vlm_masked masked;
        CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
        vlm_tape_place(tape, step, 0);
        vlm_masked_record(tape, model, config, &g.group, g.codes, &masked);
        CHECK_STATUS_E(vlm_masked_metrics(tape, &masked, &m), VLMOE_OK, &ctx->error);
        CHECK_STATUS(vlmoe_tape_backward(tape, 1.0), VLMOE_OK);
        vlmoe_tape_end(tape);
        CHECK_STATUS(vlmoe_adamw_step(ctx, &adam, step, NULL), VLMOE_OK);
        CHECK_STATUS(vlmoe_grad_zero(ctx), VLMOE_OK);
    }
    for (int p = 0; p < VLM_N_PARTS; p++) {
        CHECK(m.n[p] > 0 && m.correct[p] == 1.0);
        CHECK(m.loss[p] < 0.1);
    }
    test_group_free(&g);
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}
