/* Retrieval: against PyTorch in one pass and in two, negatives, equal bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "test_heads.h"

static const char RETRIEVAL[] = "task.contrastive_weight=0.7;task.matching_weight=1.3";

TEST(retrieval_agrees_with_pytorch)
{
    static samples s;
    static const int64_t concept[] = {5, 9, 5, 7};
    /* what make_tasks.py was told; other draws of the same stream would need another file */
    static const int32_t negative[2][4] = {{3, 3, 1, 0}, {3, 3, 1, 1}};
    char more[200];
    double loss;
    vlm_retrieval out;
    vlm_retrieval_metrics metrics;
    snprintf(more, sizeof more, "%s;%s", NO_DRAWS, RETRIEVAL);
    rig r = rig_make(test_ref_context(), VLM_HEAD_RETRIEVAL, more);
    fill_params(r.ctx);
    fill_samples(&s, 4, 0, 4, 0);
    set_concepts(&s, concept);
    CHECK_STATUS(vlmoe_grad_zero(r.ctx), VLMOE_OK);
    rig_begin(&r, VLMOE_TRAIN, 0, 0);
    vlm_retrieval_record(r.tape, &r.parts, &s.group, NULL, &out);
    CHECK_STATUS_E(vlmoe_tape_loss(r.tape, &loss), VLMOE_OK, &r.ctx->error);
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < 4; i++) CHECK_INT(out.negative[side][i], negative[side][i]);
    CHECK_STATUS(vlm_retrieval_metrics_read(r.tape, r.head, &out, &metrics), VLMOE_OK);
    FILE *file = golden_open("retrieval");
    check_loss(file, loss);
    check_values(file, "image", out.feature[VLM_SIDE_IMAGE]->data, 4 * EMBED);
    check_values(file, "text", out.feature[VLM_SIDE_TEXT]->data, 4 * EMBED);
    check_values(file, "contrastive", &metrics.contrastive, 1);
    check_values(file, "similarity", out.similarity[VLM_SIDE_IMAGE]->data, 16);
    check_values(file, "matching", &metrics.matching, 1);
    check_values(file, "logits", out.match_logits->data, 24);
    vlm_retrieval_release(r.tape, &out);
    CHECK_STATUS_E(vlmoe_tape_backward(r.tape, 1.0), VLMOE_OK, &r.ctx->error);
    check_grads(file, r.ctx);
    fclose(file);
    vlmoe_tape_end(r.tape);
    rig_free(&r);
}

/* Two groups of three, in two passes: one contrastive loss over all six. */
TEST(a_step_in_two_passes_agrees_with_pytorch)
{
    static samples s[2];
    static const int64_t concept[] = {5, 9, 5, 7, 9, 1};
    enum { N = 3, WIDE = N * EMBED };
    double feature[2][2 * WIDE], slope[2][2 * WIDE], loss[2], contrastive[2], recall[2][2],
        total = 0.0;
    char more[200];
    snprintf(more, sizeof more, "%s;task.contrastive_weight=0.7;task.matching_weight=0", NO_DRAWS);
    rig r = rig_make(test_ref_context(), VLM_HEAD_RETRIEVAL, more);
    fill_params(r.ctx);
    for (int g = 0; g < 2; g++) {
        fill_samples(&s[g], N, 0, N, g);
        set_concepts(&s[g], concept + N * g);
        rig_begin(&r, VLMOE_TRAIN, 0, g);
        double *const out[2] = {feature[0] + g * WIDE, feature[1] + g * WIDE};
        CHECK_STATUS_E(vlm_contrastive_features(r.tape, &r.parts, &s[g].group, out), VLMOE_OK,
                       &r.ctx->error);
        vlmoe_tape_end(r.tape);
    }
    const vlm_contrastive_set set = {.n_groups = 2,
                                     .n = N,
                                     .feature = {feature[0], feature[1]},
                                     .concept = concept,
                                     .weight = 0.7};
    vlm_contrastive_solution solution = {.slope = {slope[0], slope[1]},
                                         .loss = loss,
                                         .contrastive = contrastive,
                                         .recall = {recall[0], recall[1]}};
    CHECK_STATUS_E(vlm_contrastive_solve(r.ctx, r.head, &set, &solution), VLMOE_OK, &r.ctx->error);
    CHECK_STATUS(vlmoe_grad_zero(r.ctx), VLMOE_OK);
    for (int g = 0; g < 2; g++) {
        vlm_retrieval out;
        double group_loss;
        const vlm_contrastive_part part = {
            .feature = {feature[0] + g * WIDE, feature[1] + g * WIDE},
            .slope = {slope[0] + g * WIDE, slope[1] + g * WIDE},
            .log_scale_slope = g == 0 ? solution.log_scale_slope : 0.0,
            .loss = loss[g]};
        rig_begin(&r, VLMOE_TRAIN, 0, g);
        vlm_retrieval_record(r.tape, &r.parts, &s[g].group, &part, &out);
        CHECK_STATUS_E(vlmoe_tape_loss(r.tape, &group_loss), VLMOE_OK, &r.ctx->error);
        for (int side = 0; side < 2; side++)
            CHECK(!memcmp(out.feature[side]->data, part.feature[side], WIDE * sizeof(double)));
        total += group_loss;
        vlm_retrieval_release(r.tape, &out);
        CHECK_STATUS_E(vlmoe_tape_backward(r.tape, 1.0), VLMOE_OK, &r.ctx->error);
        vlmoe_tape_end(r.tape);
    }
    FILE *file = golden_open("step");
    check_loss(file, total);
    check_values(file, "contrastive", contrastive, 2);
    check_grads(file, r.ctx);
    fclose(file);
    rig_free(&r);
}

/* Over many places, each candidate is drawn as often as exp(similarity) says, and none of its own concept is. */
TEST(negatives_are_drawn_in_proportion_to_similarity)
{
    enum { N = 4, TIMES = 400 };
    static samples s;
    static const int64_t concept[N] = {1, 1, 2, 3};
    int count[2][N][N] = {0};
    double share[2][N][N] = {0};
    rig r = rig_make(test_context("cpu", VLMOE_F32, 1), VLM_HEAD_RETRIEVAL, RETRIEVAL);
    fill_samples(&s, N, 0, N, 0);
    set_concepts(&s, concept);
    for (int step = 0; step < TIMES; step++) {
        vlm_retrieval out;
        rig_begin(&r, VLMOE_PREDICT, step, 3);
        vlm_retrieval_record(r.tape, &r.parts, &s.group, NULL, &out);
        CHECK_STATUS_E(vlmoe_tape_status(r.tape), VLMOE_OK, &r.ctx->error);
        for (int side = 0; side < 2; side++) {
            const float *similarity = out.similarity[side]->data;
            for (int i = 0; i < N; i++) {
                double total = 0.0;
                count[side][i][out.negative[1 - side][i]]++;
                for (int j = 0; j < N; j++)
                    if (concept[i] != concept[j]) total += exp((double)similarity[i * N + j]);
                for (int j = 0; j < N; j++)
                share[side][i][j] =
                    concept[i] != concept[j] ? exp((double)similarity[i * N + j]) / total : 0.0;
            }
        }
        vlmoe_tape_end(r.tape);
    }
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double p = share[side][i][j]; /* binomial, five deviations */
                CHECK_CLOSE(count[side][i][j], TIMES * p, 5.0 * sqrt(TIMES * p * (1.0 - p)));
            }
    rig_free(&r);
}

/* Both samples have one concept: each is right, there is nothing to tell it from. */
TEST(a_group_of_one_concept_has_no_negatives)
{
    static samples s;
    static const int64_t concept[] = {4, 4};
    vlm_retrieval out;
    vlm_retrieval_metrics metrics;
    rig r = rig_make(test_ref_context(), VLM_HEAD_RETRIEVAL, RETRIEVAL);
    fill_samples(&s, 2, 0, 2, 0);
    set_concepts(&s, concept);
    rig_begin(&r, VLMOE_TRAIN, 0, 0);
    vlm_retrieval_record(r.tape, &r.parts, &s.group, NULL, &out);
    CHECK_STATUS_E(vlm_retrieval_metrics_read(r.tape, r.head, &out, &metrics), VLMOE_OK,
                   &r.ctx->error);
    CHECK_INT(metrics.n_matched, 2);
    CHECK(metrics.recall[0] == 1.0 && metrics.recall[1] == 1.0);
    CHECK_CLOSE(metrics.temperature, 0.07, 1e-15);
    for (int i = 2; i < 6; i++) CHECK(out.match_weight[i] == 0.0);
    CHECK_STATUS_E(vlmoe_tape_backward(r.tape, 1.0), VLMOE_OK, &r.ctx->error);
    vlmoe_tape_end(r.tape);
    rig_free(&r);
}

/* All parameter gradients of one step of retrieval with noise, drop path and dropout. */
static void *retrieval_grads(int n_threads, const char *more, size_t *bytes)
{
    static samples s;
    vlm_retrieval out;
    char text[200];
    snprintf(text, sizeof text, "%s;%s", RETRIEVAL, more);
    rig r = rig_make(test_context("cpu", VLMOE_BF16, n_threads), VLM_HEAD_RETRIEVAL, text);
    fill_samples(&s, 4, 0, 4, 0);
    CHECK_STATUS(vlmoe_grad_zero(r.ctx), VLMOE_OK);
    rig_begin(&r, VLMOE_TRAIN, 3, 1);
    vlm_retrieval_record(r.tape, &r.parts, &s.group, NULL, &out);
    vlm_retrieval_release(r.tape, &out);
    CHECK_STATUS_E(vlmoe_tape_backward(r.tape, 1.0), VLMOE_OK, &r.ctx->error);
    vlmoe_tape_end(r.tape);
    void *grads = test_param_grads(r.ctx);
    *bytes = (size_t)r.ctx->n_elements * sizeof(float);
    rig_free(&r);
    return grads;
}

TEST(gradients_of_two_encodings_are_the_same_bits_with_recompute_and_threads)
{
    size_t bytes[3];
    void *plain = retrieval_grads(1, "model.dropout=0.1", &bytes[0]),
         *again = retrieval_grads(1, "model.dropout=0.1;run.recompute=true", &bytes[1]),
         *threads = retrieval_grads(3, "model.dropout=0.1", &bytes[2]);
    CHECK(bytes[0] == bytes[1] && bytes[0] == bytes[2]);
    CHECK(memcmp(plain, again, bytes[0]) == 0);
    CHECK(memcmp(plain, threads, bytes[0]) == 0);
    free(plain);
    free(again);
    free(threads);
}
