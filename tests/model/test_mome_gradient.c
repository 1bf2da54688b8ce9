/* The gradient of the whole tiny model in f64 against central differences, with every feature
 * on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "context.h"
#include "base_rng.h"
#include "harness.h"
#include "objective.h"
#include "test_model.h"

enum { MAX_ROUTES = 4096 };

/* One forward, and what its routers decided: a difference across a changed decision means
 * nothing. */
typedef struct run {
    double loss;
    int64_t n_routes;
    int32_t route[MAX_ROUTES];
} run;

static void keep_routes(vlmoe_context *ctx, const vlm_mome_output *model, run *out)
{
    out->n_routes = 0;
    for (int i = 0; i < model->n_routings; i++) {
        const vlm_routing *r = model->routings[i].routing;
        int64_t n = r->T * r->K;
        CHECK(out->n_routes + 2 * n <= MAX_ROUTES);
        CHECK_STATUS(ctx->backend->download(ctx->device, out->route + out->n_routes, r->d_expert,
                                            (size_t)n * 4),
                     VLMOE_OK);
        CHECK_STATUS(ctx->backend->download(ctx->device, out->route + out->n_routes + n, r->d_slot,
                                            (size_t)n * 4),
                     VLMOE_OK);
        out->n_routes += 2 * n;
    }
}

static void record(vlmoe_context *ctx, const vlm_mome *model, const vlmoe_config *config,
                   const test_group *g, bool backward, run *out)
{
    vlmoe_tape *tape = NULL;
    vlm_masked masked;
    CHECK_STATUS(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_tape_place(tape, 3, 1);
    vlm_masked_record(tape, model, config, &g->group, g->codes, &masked);
    CHECK_STATUS_E(vlmoe_tape_loss(tape, &out->loss), VLMOE_OK, &ctx->error);
    keep_routes(ctx, &masked.model, out);
    if (backward) CHECK_STATUS_E(vlmoe_tape_backward(tape, 1.0), VLMOE_OK, &ctx->error);
    vlmoe_tape_end(tape);
}

typedef struct tally {
    int checked, skipped;
} tally;

/* Element i of a parameter, moved by h either way. h 1e-5 leaves an error of about h^2 f''' / 6
 * + 1e-16 f / h. */
static void check_element(vlmoe_context *ctx, const vlm_mome *model, const vlmoe_config *config,
                          const test_group *g, double *x, double got, const char *name,
                          const run *base, tally *t)
{
    static run up, down;
    const double h = 1e-5, old = *x;
    *x = old + h;
    record(ctx, model, config, g, false, &up);
    *x = old - h;
    record(ctx, model, config, g, false, &down);
    *x = old;
    size_t bytes = (size_t)base->n_routes * sizeof *base->route;
    if (memcmp(up.route, base->route, bytes) != 0 || memcmp(down.route, base->route, bytes) != 0) {
        t->skipped++;
        return;
    }
    double want = (up.loss - down.loss) / (2.0 * h);
    t->checked++;
    if (!(fabs(got - want) <= 1e-6 * fmax(1.0, fabs(want))))
        test_fail(__FILE__, __LINE__, "%s: gradient %.12g, central difference %.12g", name, got,
                  want);
}

static int64_t largest(const double *x, int64_t n)
{
    int64_t top = 0;
    for (int64_t i = 1; i < n; i++)
        if (fabs(x[i]) > fabs(x[top])) top = i;
    return top;
}

static void check_model(const char *more, bool recompute)
{
    static run base;
    vlmoe_config *config = test_tiny_config(more);
    config->run.recompute = recompute;
    vlmoe_context *ctx = test_ref_context();
    vlm_mome *model = test_tiny_model(ctx, config);
    test_group g = test_group_make(config, 2, 2, 2);
    record(ctx, model, config, &g, true, &base);
    const double *grads = ctx->grads;
    vlm_rng rng = vlm_rng_at(1, VLM_STREAM_TEST, 0, 0, 0);
    tally t = {0};
    for (int64_t p = 0; p < ctx->n_params; p++) {
        const vlm_param *param = ctx->params[p];
        const double *grad = grads + param->at;
        int64_t n = vlm_param_elements(param);
        CHECK(grad == param->grad);
        if (grad[largest(grad, n)] == 0.0)
            test_fail(__FILE__, __LINE__, "%s has no gradient at all", param->name);
        int64_t element[3] = {largest(grad, n), (int64_t)vlm_rng_below(&rng, (uint64_t)n),
                              (int64_t)vlm_rng_below(&rng, (uint64_t)n)};
        for (int i = 0; i < 3; i++)
            check_element(ctx, model, config, &g, (double *)param->tensor.data + element[i],
                          grad[element[i]], param->name, &base, &t);
    }
    CHECK(t.skipped * 10 <= t.checked);
    test_group_free(&g);
    vlm_mome_destroy(model);
    vlmoe_context_destroy(ctx);
    vlmoe_config_destroy(config);
}

TEST(gradient_of_everything_matches_differences)
{
    check_model(NULL, false);
}

TEST(gradient_through_segments_matches_differences)
{
    check_model("model.dropout=0.2", true);
}

TEST(gradient_of_a_tied_decoder_adds_both_uses)
{
    check_model("model.tied_decoder=true;model.layer_scale=0;moe.renormalise=after;moe.order=token",
                false);
}
