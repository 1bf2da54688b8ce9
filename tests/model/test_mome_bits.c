/* Bits of the encoder's gradients: the same with and without recompute and for any number of threads, and of a group formed whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "context.h"
#include "harness.h"
#include "objective.h"
#include "test_model.h"

/* Gradient slab of one masked step; caller frees. */
static void *step_grads(vlmoe_dtype compute, int n_threads, bool recompute, double *loss,
                        size_t *bytes)
{
    vlmoe_config *config = test_tiny_config("model.dropout=0.1");
    config->run.recompute = recompute;
    vlmoe_context *ctx = test_context("cpu", compute, n_threads);
    vlm_mome *model = test_tiny_model(ctx, config);
    test_group g = test_group_make(config, 3, 4, 5);
    vlmoe_tape *tape = NULL;
    vlm_masked masked;
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_tape_place(tape, 2, 0);
    vlm_masked_record(tape, model, config, &g.group, g.codes, &masked);
    CHECK_STATUS_E(vlmoe_tape_loss(tape, loss), VLMOE_OK, &ctx->error);
    CHECK_STATUS_E(vlmoe_tape_backward(tape, 0.5), VLMOE_OK, &ctx->error);
    vlmoe_tape_end(tape);
    *bytes = (size_t)ctx->n_elements * sizeof(float);
    void *grads = test_param_grads(ctx);
    test_group_free(&g);
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
    return grads;
}

static void compare_steps(vlmoe_dtype compute, int threads_a, bool recompute_a, int threads_b,
                          bool recompute_b)
{
    double loss_a, loss_b;
    size_t bytes_a, bytes_b;
    void *a = step_grads(compute, threads_a, recompute_a, &loss_a, &bytes_a);
    void *b = step_grads(compute, threads_b, recompute_b, &loss_b, &bytes_b);
    CHECK(isfinite(loss_a) && loss_a == loss_b);
    CHECK(bytes_a == bytes_b && memcmp(a, b, bytes_a) == 0);
    free(a);
    free(b);
}

TEST(recompute_changes_no_bit)
{
    compare_steps(VLMOE_F32, 1, false, 1, true);
    compare_steps(VLMOE_BF16, 1, false, 1, true);
}

TEST(threads_change_no_bit)
{
    compare_steps(VLMOE_F32, 1, false, 2, false);
    compare_steps(VLMOE_BF16, 1, false, 2, true);
}

/* Gradients of groups 0 .. n_groups - 1 of a step, one after the other without clearing; or one group's by itself (n_groups = 1, first).
 * Every parameter, so every operation's way to one. Caller frees. */
static float *group_grads(vlmoe_dtype compute, int64_t first, int64_t n_groups, int64_t *n,
                          const char *more)
{
    vlmoe_config *config = test_tiny_config(more);
    vlmoe_context *ctx = test_context("cpu", compute, 1);
    vlm_mome *model = test_tiny_model(ctx, config);
    test_group g = test_group_make(config, 3, 4, 5);
    for (int64_t p = first; p < first + n_groups; p++) {
        vlmoe_tape *tape = NULL;
        vlm_masked masked;
        CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
        vlm_tape_place(tape, 2, p); /* the same samples, other draws */
        vlm_masked_record(tape, model, config, &g.group, g.codes, &masked);
        CHECK_STATUS_E(vlmoe_tape_backward(tape, 1.0), VLMOE_OK, &ctx->error);
        vlmoe_tape_end(tape);
    }
    *n = ctx->n_elements;
    float *grads = test_param_grads(ctx);
    test_group_free(&g);
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
    return grads;
}

/* Else a rank that adds whole gradients of groups would get other bits than one that computes them all. */
TEST(a_groups_gradient_is_formed_whole_and_added_once)
{
    enum { GROUPS = 3 };
    for (int k = 0; k < 4; k++) {
        vlmoe_dtype compute = k % 2 ? VLMOE_BF16 : VLMOE_F32;
        const char *more = k < 2 ? "model.dropout=0.1" : "model.dropout=0.1;run.recompute=true";
        int64_t n = 0;
        float *all = group_grads(compute, 0, GROUPS, &n, more);
        float *sum = calloc((size_t)n, sizeof *sum);
        for (int64_t p = 0; p < GROUPS; p++) {
            float *one = group_grads(compute, p, 1, &n, more);
            for (int64_t i = 0; i < n; i++) sum[i] += one[i];
            free(one);
        }
        CHECK(memcmp(all, sum, (size_t)n * sizeof *sum) == 0);
        free(all);
        free(sum);
    }
}
