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

/* What is differentiated, and its forward before anything is moved. */
typedef struct subject {
    vlmoe_config *config;
    vlmoe_context *ctx;
    vlm_mome *model;
    test_group g;
    run base;
} subject;

static void record(const subject *s, bool backward, run *out)
{
    vlmoe_tape *tape = NULL;
    vlm_masked masked;
    CHECK_STATUS(vlmoe_tape_begin(s->ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_tape_place(tape, 3, 1);
    vlm_masked_record(tape, s->model, s->config, &s->g.group, s->g.codes, &masked);
    CHECK_STATUS_E(vlmoe_tape_loss(tape, &out->loss), VLMOE_OK, &s->ctx->error);
    keep_routes(s->ctx, &masked.model, out);
    if (backward) CHECK_STATUS_E(vlmoe_tape_backward(tape, 1.0), VLMOE_OK, &s->ctx->error);
    vlmoe_tape_end(tape);
}

typedef struct tally {
    int checked, skipped;
} tally;

/* Element x of a parameter, moved by h either way. The error of the difference is about
 * h^2 times a third of the third derivative, plus 1e-16 loss / h. */
static void check_element(const subject *s, const char *name, double *x, double got, tally *t)
{
    static run up, down;
    const double h = 1e-5, old = *x;
    *x = old + h;
    record(s, false, &up);
    *x = old - h;
    record(s, false, &down);
    *x = old;
    size_t bytes = (size_t)s->base.n_routes * sizeof *up.route;
    if (memcmp(up.route, s->base.route, bytes) != 0 ||
        memcmp(down.route, s->base.route, bytes) != 0) {
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
    static subject s;
    s.config = test_tiny_config(more);
    s.config->run.recompute = recompute;
    s.ctx = test_ref_context();
    s.model = test_tiny_model(s.ctx, s.config);
    s.g = test_group_make(s.config, 2, 2, 2);
    record(&s, true, &s.base);
    vlm_rng rng = vlm_rng_at(1, VLM_STREAM_TEST, 0, 0, 0);
    tally t = {0};
    for (int64_t p = 0; p < s.ctx->n_params; p++) {
        const vlm_param *param = s.ctx->params[p];
        const double *grad = param->grad;
        int64_t n = vlm_param_elements(param), element[3] = {largest(grad, n)};
        if (grad[element[0]] == 0.0)
            test_fail(__FILE__, __LINE__, "%s has no gradient at all", param->name);
        for (int i = 1; i < 3; i++) element[i] = (int64_t)vlm_rng_below(&rng, (uint64_t)n);
        for (int i = 0; i < 3; i++)
            check_element(&s, param->name, (double *)param->tensor.data + element[i],
                          grad[element[i]], &t);
    }
    CHECK(t.skipped * 10 <= t.checked);
    test_group_free(&s.g);
    vlm_mome_destroy(s.model);
    vlmoe_context_destroy(s.ctx);
    vlmoe_config_destroy(s.config);
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
