/* Every operation's backward against central differences in f64, for every parameter, with every parameter frozen in turn, and
 * summed over two recordings. The cases stand in gradients_part_*.c. */
#include "gradients.h"
#include <math.h>
#include <string.h>
#include "base_rng.h"

static const double STEP = 1e-5, BOUND = 1e-7, SCALE = 1.5;

static double grid(double x)
{
    return floor(x * 4.0 + 0.5) / 4.0;
}

vlmoe_tensor *case_constant(vlmoe_tape *tape, int rank, const int64_t *dim, uint64_t stream)
{
    int64_t count = 0;
    vlm_rng rng = vlm_rng_at(7, VLM_STREAM_TEST, stream, 0, 0);
    CHECK(vlm_shape_count(rank, dim, &count));
    double *host = vlm_tape_host(tape, (size_t)count * sizeof *host);
    for (int64_t i = 0; host && i < count; i++) host[i] = 2.0 * vlm_rng_unit(&rng) - 1.0;
    return host ? vlmoe_input(tape, VLMOE_F64, rank, dim, host) : NULL;
}

const void *case_wide(vlmoe_tape *tape, const double *host, int64_t n)
{
    return vlm_tape_upload(tape, host, (size_t)n * sizeof *host);
}

const int32_t *case_ints(vlmoe_tape *tape, const int32_t *host, int64_t n)
{
    return vlm_tape_upload(tape, host, (size_t)n * sizeof *host);
}

/* A context with the parameters of a case; parameter `frozen` is not trained (-1 = all are). */
typedef struct rig {
    const op_case *c;
    vlmoe_context *ctx;
    vlmoe_tensor *p[MAX_CASE_PARAMS];
    double value[MAX_CASE_PARAMS][256];
} rig;

static rig *rig_open(const op_case *c, int frozen)
{
    rig *r = vlm_alloc(sizeof *r);
    r->c = c;
    r->ctx = test_op_context("ref", VLMOE_F64, 1);
    for (int i = 0; i < c->n_params; i++) {
        char name[] = "p0";
        name[1] = (char)('0' + i);
        const vlm_param spec = {.name = name,
                                .role = VLM_ROLE_MATRIX,
                                .trained = i != frozen,
                                .lr_scale = 1.0,
                                .has_copy = true};
        CHECK_STATUS(vlm_param_add(r->ctx, &spec, c->param[i].rank, c->param[i].dim, &r->p[i]),
                     VLMOE_OK);
        CHECK(vlm_count(r->p[i]) <= 256);
        vlm_rng rng = vlm_rng_at(5, VLM_STREAM_TEST, (uint64_t)i, 0, 0);
        for (int64_t k = 0; k < vlm_count(r->p[i]); k++) {
            double x = c->param[i].centre + 2.0 * vlm_rng_unit(&rng) - 1.0;
            r->value[i][k] = c->on_grid ? grid(x) : x;
        }
    }
    for (int i = 0; i < c->n_params; i++)
        CHECK_STATUS(vlmoe_tensor_write(r->p[i], r->value[i], vlmoe_tensor_bytes(r->p[i])),
                     VLMOE_OK);
    CHECK_STATUS(vlmoe_grad_zero(r->ctx), VLMOE_OK);
    return r;
}

static void rig_close(rig *r)
{
    vlmoe_context_destroy(r->ctx);
    vlm_free(r);
}

static void add_loss(const op_case *c, vlmoe_tape *tape, vlmoe_tensor *y)
{
    if (!y) return;
    if (vlm_count(y) == 1) {
        vlmoe_loss_add(tape, y, 0.7);
        return;
    }
    vlmoe_tensor *target = case_constant(tape, y->rank, y->dim, 99);
    if (!target) return;
    for (int64_t i = 0; c->on_grid && i < vlm_count(target); i++)
        ((double *)target->data)[i] = grid(((double *)target->data)[i]);
    vlmoe_loss_add(tape, vlmoe_mse(tape, y, target), 1.0);
}

static double run(rig *r, case_build build, bool backward)
{
    vlmoe_tape *tape = NULL;
    double loss = NAN;
    CHECK_STATUS(vlmoe_tape_begin(r->ctx, VLMOE_TRAIN, &tape), VLMOE_OK);
    vlm_tape_where(tape, r->c->what);
    add_loss(r->c, tape, build(tape, r->p));
    CHECK_STATUS_E(vlmoe_tape_loss(tape, &loss), VLMOE_OK, &r->ctx->error);
    if (backward) CHECK_STATUS_E(vlmoe_tape_backward(tape, SCALE), VLMOE_OK, &r->ctx->error);
    vlmoe_tape_end(tape);
    CHECK(isfinite(loss));
    return loss;
}

static double difference(rig *r, int i, int64_t k)
{
    double step = r->c->on_grid ? 0.25 : STEP, keep = r->value[i][k], loss[2];
    size_t bytes = vlmoe_tensor_bytes(r->p[i]);
    case_build build = r->c->numeric ? r->c->numeric : r->c->build;
    for (int side = 0; side < 2; side++) {
        r->value[i][k] = keep + (side ? step : -step);
        CHECK_STATUS(vlmoe_tensor_write(r->p[i], r->value[i], bytes), VLMOE_OK);
        loss[side] = run(r, build, false);
    }
    r->value[i][k] = keep;
    CHECK_STATUS(vlmoe_tensor_write(r->p[i], r->value[i], bytes), VLMOE_OK);
    return SCALE * (loss[1] - loss[0]) / (2.0 * step);
}

static void read_grads(rig *r, double grad[MAX_CASE_PARAMS][256], int frozen)
{
    for (int i = 0; i < r->c->n_params; i++)
        if (i != frozen)
            CHECK_STATUS(vlmoe_tensor_read_grad(r->p[i], grad[i], vlmoe_tensor_bytes(r->p[i])),
                         VLMOE_OK);
}

static void compare_frozen(const op_case *c, int frozen, double want[MAX_CASE_PARAMS][256])
{
    static double grad[MAX_CASE_PARAMS][256];
    rig *r = rig_open(c, frozen);
    run(r, c->build, true);
    read_grads(r, grad, frozen);
    for (int i = 0; i < c->n_params; i++)
        if (i != frozen && memcmp(grad[i], want[i], vlmoe_tensor_bytes(r->p[i])) != 0)
            test_fail(__FILE__, __LINE__,
                      "%s, %s: gradient of parameter %d changes when parameter %d is frozen", c->op,
                      c->what, i, frozen);
    rig_close(r);
}

static void check_case(const op_case *c)
{
    static double grad[MAX_CASE_PARAMS][256], twice[MAX_CASE_PARAMS][256];
    rig *r = rig_open(c, -1);
    run(r, c->build, true);
    read_grads(r, grad, -1);
    double largest = 0.0;
    for (int i = 0; i < c->n_params; i++)
        for (int64_t k = 0; k < vlm_count(r->p[i]); k++) {
            double want = difference(r, i, k), bound = BOUND * fmax(1.0, fabs(want));
            largest = fmax(largest, fabs(want));
            if (!(fabs(grad[i][k] - want) <= bound))
                test_fail(__FILE__, __LINE__, "%s, %s: d/dp%d[%lld] is %.12g, expected %.12g",
                          c->op, c->what, i, (long long)k, grad[i][k], want);
        }
    CHECK(largest > 1e-4); /* a case whose gradients vanish tests nothing */
    run(r, c->build, true);
    read_grads(r, twice, -1);
    for (int i = 0; i < c->n_params; i++)
        for (int64_t k = 0; k < vlm_count(r->p[i]); k++)
            if (twice[i][k] != 2.0 * grad[i][k])
                test_fail(__FILE__, __LINE__, "%s, %s: p%d is not summed over recordings", c->op,
                          c->what, i);
    rig_close(r);
    for (int i = 0; i < c->n_params && c->n_params > 1; i++) compare_frozen(c, i, grad);
}

static const op_case *all_cases(int i)
{
    if (i < n_basic_cases) return &basic_cases[i];
    i -= n_basic_cases;
    if (i < n_row_cases) return &row_cases[i];
    i -= n_row_cases;
    if (i < n_router_cases) return &router_cases[i];
    i -= n_router_cases;
    if (i < n_exchange_cases) return &exchange_cases[i];
    i -= n_exchange_cases;
    return i < n_class_cases ? &class_cases[i] : NULL;
}

TEST(every_operation_has_a_gradient_case)
{
    for (int op = 0; op < VLM_OP_COUNT; op++) {
        bool found = !vlm_ops[op].differentiable;
        for (int i = 0; !found && all_cases(i); i++)
            found = strcmp(all_cases(i)->op, vlm_ops[op].name) == 0;
        if (!found)
            test_fail(__FILE__, __LINE__, "operation %s has no gradient case", vlm_ops[op].name);
    }
}

TEST(dense_operations_differentiate)
{
    for (int i = 0; i < n_basic_cases; i++) check_case(&basic_cases[i]);
}

TEST(operations_on_rows_differentiate)
{
    for (int i = 0; i < n_row_cases; i++) check_case(&row_cases[i]);
}

TEST(routing_differentiates)
{
    for (int i = 0; i < n_router_cases; i++) check_case(&router_cases[i]);
}

TEST(exchanges_differentiate)
{
    for (int i = 0; i < n_exchange_cases; i++) check_case(&exchange_cases[i]);
}

TEST(losses_of_classes_and_similarities_differentiate)
{
    for (int i = 0; i < n_class_cases; i++) check_case(&class_cases[i]);
}
