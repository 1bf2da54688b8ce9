/* Losses against classes with scores, and cosines over a temperature, on devices. */
#include <string.h>
#include "compare.h"

static const struct {
    int64_t rows, cols;
} sizes[] = {{0, 5}, {1, 1}, {3, 7}, {63, 65}, {64, 16}, {129, 33}, {5, 3129}, {65, 127}};
static const double smoothings[] = {0.0, 0.1};
enum { MOST_ROWS = 129, MOST_ENTRIES = 3 * MOST_ROWS };

typedef struct class_run {
    kit kit;
    int kind, is_in_place;
    int64_t M, V;
    double smoothing;
    tensor *x, *offset, *label, *score, *weight, *row_loss, *lse, *best, *loss, *dloss, *dx;
} class_run;

/* Rows with none, one, two and three entries in turn, the third of the class of the first; row 1 is
 * all equal, row 2 far from zero. */
static void begin(class_run *p, const char *what, int64_t M, int64_t V)
{
    int32_t offset[MOST_ROWS + 1] = {0}, label[MOST_ENTRIES];
    kit_begin(&p->kit, "%s %s %lld x %lld, smoothing %g", what,
              p->kind == VLMK_CLASS_SOFTMAX ? "softmax" : "sigmoid", (long long)M, (long long)V,
              p->smoothing);
    p->M = M;
    p->V = V;
    p->x = kit_real(&p->kit, "x", M * V, VLMOE_F32, 8.0);
    for (int64_t c = 0; M > 2 && c < V; c++) {
        kit_set(p->x, V + c, 2.5);
        kit_set(p->x, 2 * V + c, 500.0 + kit_get(p->x, WANT, 2 * V + c));
    }
    for (int64_t r = 0; r < M; r++) {
        offset[r + 1] = offset[r] + (int32_t)((r + 1) % 4);
        for (int32_t j = offset[r]; j < offset[r + 1]; j++)
            label[j] = j - offset[r] == 1 ? (int32_t)(V - 1) : (int32_t)(r * 31 % V);
    }
    p->offset = kit_ints(&p->kit, "offset", M + 1, offset);
    p->label = kit_ints(&p->kit, "label", offset[M], label);
    p->score = kit_real(&p->kit, "score", offset[M], VLMOE_F32, 1.0);
    for (int32_t j = 0; j < offset[M]; j++) kit_set(p->score, j, fabs(kit_get(p->score, WANT, j)));
    p->weight = kit_real(&p->kit, "row_weight", M, VLMOE_F32, 1.0);
}

static int call_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    class_run *p = arg;
    vlmk_class_loss_fwd_args a = {.kind = p->kind,
                                  .M = p->M,
                                  .V = p->V,
                                  .smoothing = p->smoothing,
                                  .x = at(p->x, side),
                                  .offset = at(p->offset, side),
                                  .label = at(p->label, side),
                                  .score = at(p->score, side),
                                  .row_weight = at(p->weight, side),
                                  .row_loss = at(p->row_loss, side),
                                  .lse = at(p->lse, side),
                                  .best = at(p->best, side),
                                  .loss = at(p->loss, side)};
    return table->class_loss_fwd(env, &a);
}

static double scores_of(const class_run *p, int64_t r)
{
    const int32_t *offset = at(p->offset, WANT);
    double sum = 0.0;
    for (int32_t j = offset[r]; j < offset[r + 1]; j++) sum += kit_get(p->score, WANT, j);
    return sum;
}

/* lse as in cross_entropy_fwd. A row's loss: softmax takes that error once for each unit of score,
 * sigmoid adds V terms of at most softplus + |t x|, each to a few roundings. loss: a sum of M. */
static void bound_fwd(void *arg)
{
    class_run *p = arg;
    double total = 0.0, size = 0.0;
    for (int64_t r = 0; r < p->M; r++) {
        const double *x = (const double *)at(p->x, WANT) + r * p->V;
        double top = -INFINITY, bottom = INFINITY, terms = 0.0, T = scores_of(p, r);
        for (int64_t c = 0; c < p->V; c++) {
            top = fmax(top, x[c]);
            bottom = fmin(bottom, x[c]);
            terms += fmax(x[c], 0.0) + log1p(exp(-fabs(x[c]))) + T * fabs(x[c]);
        }
        double e = U_F32 * ((double)p->V + 4.0 + (top - bottom));
        if (p->kind == VLMK_CLASS_SOFTMAX)
            kit_error(p->lse)[r] = e + U_F32 * fabs(kit_get(p->lse, WANT, r));
        double row = p->kind == VLMK_CLASS_SOFTMAX ? T * e : U_F32 * terms;
        kit_error(p->row_loss)[r] = row + U_F32 * fabs(kit_get(p->row_loss, WANT, r));
        total += fabs(kit_get(p->weight, WANT, r)) * kit_error(p->row_loss)[r];
        size += fabs(kit_get(p->weight, WANT, r) * kit_get(p->row_loss, WANT, r));
    }
    kit_error(p->loss)[0] = total + ((double)p->M + 1.0) * U_F32 * size;
}

static void run_fwd(int kind, double smoothing, int64_t M, int64_t V)
{
    class_run p = {.kind = kind, .smoothing = smoothing};
    begin(&p, "class_loss_fwd", M, V);
    p.row_loss = kit_output(&p.kit, "row_loss", M, VLMOE_F32, 0);
    p.lse = kit_output(&p.kit, "lse", M, VLMOE_F32, 0);
    p.best = kit_int_output(&p.kit, "best", M);
    p.loss = kit_output(&p.kit, "loss", 1, VLMOE_F32, 0);
    kit_run(&p.kit, call_fwd, bound_fwd, &p);
    kit_end(&p.kit);
}

TEST(compare_class_loss_fwd)
{
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        for (int s = 0; s < COUNT_OF(smoothings); s++)
            run_fwd(VLMK_CLASS_SOFTMAX, smoothings[s], sizes[i].rows, sizes[i].cols);
        run_fwd(VLMK_CLASS_SIGMOID, 0.0, sizes[i].rows, sizes[i].cols);
    }
}

static int call_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    class_run *p = arg;
    vlmk_class_loss_bwd_args a = {.kind = p->kind,
                                  .M = p->M,
                                  .V = p->V,
                                  .smoothing = p->smoothing,
                                  .x = at(p->is_in_place ? p->dx : p->x, side),
                                  .offset = at(p->offset, side),
                                  .label = at(p->label, side),
                                  .score = at(p->score, side),
                                  .row_weight = at(p->weight, side),
                                  .lse = at(p->lse, side),
                                  .dloss = at(p->dloss, side),
                                  .dx = at(p->dx, side)};
    return table->class_loss_bwd(env, &a);
}

/* The exponent's argument is off by u (|x| + |lse|), the sum of scores and three products by a few
 * roundings; then a sum of at most T exp, the spread and the scores, each rounded. */
static void bound_bwd(void *arg)
{
    class_run *p = arg;
    for (int64_t r = 0; r < p->M; r++) {
        double T = scores_of(p, r), lse = kit_get(p->lse, WANT, r),
               factor = fabs(0.75 * kit_get(p->weight, WANT, r));
        for (int64_t c = 0; c < p->V; c++) {
            double x = kit_get(p->x, WANT, r * p->V + c);
            double share = p->kind == VLMK_CLASS_SOFTMAX ? T * exp(x - lse) : 1.0 / (1.0 + exp(-x));
            double relative = p->kind == VLMK_CLASS_SOFTMAX ? fabs(x) + fabs(lse) + 8.0 : 8.0;
            kit_error(p->dx)[r * p->V + c] =
                factor * U_F32 * (relative * share + 6.0 * (T + p->smoothing * T));
        }
    }
}

static void run_bwd(int kind, double smoothing, int which, int is_in_place)
{
    class_run p = {.kind = kind, .smoothing = smoothing, .is_in_place = is_in_place};
    int64_t M = sizes[which].rows, V = sizes[which].cols;
    begin(&p, is_in_place ? "class_loss_bwd in place" : "class_loss_bwd", M, V);
    p.lse = kit_real(&p.kit, "lse", M, VLMOE_F32, 1.0);
    for (int64_t r = 0; r < M; r++)
        kit_set(p.lse, r, ref_log_sum_exp((const double *)at(p.x, WANT) + r * V, V));
    p.dloss = kit_real(&p.kit, "dloss", 1, VLMOE_F32, 1.0);
    kit_set(p.dloss, 0, -0.75);
    if (is_in_place) {
        p.dx = kit_real(&p.kit, "dx", M * V, VLMOE_F32, 1.0);
        for (int64_t i = 0; i < M * V; i++) kit_set(p.dx, i, kit_get(p.x, WANT, i));
        kit_updated(p.dx, 0);
    } else {
        p.dx = kit_output(&p.kit, "dx", M * V, VLMOE_F32, 0);
    }
    kit_run(&p.kit, call_bwd, bound_bwd, &p);
    kit_end(&p.kit);
}

TEST(compare_class_loss_bwd)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int is_in_place = 0; is_in_place < 2; is_in_place++) {
            for (int s = 0; s < COUNT_OF(smoothings); s++)
                run_bwd(VLMK_CLASS_SOFTMAX, smoothings[s], i, is_in_place);
            run_bwd(VLMK_CLASS_SIGMOID, 0.0, i, is_in_place);
        }
}

typedef struct temper_run {
    kit kit;
    int64_t n;
    int is_in_place, accumulate;
    tensor *s, *x, *y, *dy, *dx, *ds;
} temper_run;

static int call_temper_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    temper_run *p = arg;
    vlmk_temper_fwd_args a = {
        .n = p->n, .s = at(p->s, side), .x = at(p->x, side), .y = at(p->y, side)};
    return table->temper_fwd(env, &a);
}

static int call_temper_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    temper_run *p = arg;
    vlmk_temper_bwd_args a = {.n = p->n,
                              .s = at(p->s, side),
                              .x = at(p->x, side),
                              .dy = at(p->is_in_place ? p->dx : p->dy, side),
                              .dx = at(p->dx, side),
                              .ds = at(p->ds, side),
                              .accumulate_ds = p->accumulate};
    return table->temper_bwd(env, &a);
}

static const int64_t counts[] = {0, 1, 7, 4096, 4097, 20011};

/* exp(s) and a product: two roundings beside that of the result. */
static void bound_temper(void *arg)
{
    temper_run *p = arg;
    tensor *out = p->y ? p->y : p->dx;
    for (int64_t i = 0; out && i < out->n; i++)
        kit_error(out)[i] = 2.0 * U_F32 * fabs(kit_get(out, WANT, i));
    double size = 0.0;
    for (int64_t i = 0; p->ds && i < p->n; i++)
        size += exp(0.75) * fabs(kit_get(p->x, WANT, i) * kit_get(p->dy, WANT, i));
    if (p->ds) kit_error(p->ds)[0] = 4.0 * U_F32 * size + U_F32 * fabs(kit_before(p->ds, 0));
}

TEST(compare_temper)
{
    for (int i = 0; i < COUNT_OF(counts); i++)
        for (int variant = 0; variant < 4;
             variant++) { /* forward; backward of both; of x alone, in place; of s alone */
            temper_run p = {.n = counts[i], .accumulate = variant == 1};
            kit_begin(&p.kit, "temper %lld, variant %d", (long long)p.n, variant);
            p.s = kit_real(&p.kit, "s", 1, VLMOE_F32, 1.0);
            kit_set(p.s, 0, 0.75);
            p.x = kit_real(&p.kit, "x", p.n, VLMOE_F32, 1.0);
            if (variant == 0) p.y = kit_output(&p.kit, "y", p.n, VLMOE_F32, 0);
            if (variant == 1 || variant == 3) p.dy = kit_real(&p.kit, "dy", p.n, VLMOE_F32, 1.0);
            if (variant == 1) p.dx = kit_output(&p.kit, "dx", p.n, VLMOE_F32, 0);
            if (variant == 2) p.dx = kit_updated(kit_real(&p.kit, "dx", p.n, VLMOE_F32, 1.0), 0);
            p.is_in_place = variant == 2;
            if (variant == 1 || variant == 3)
                p.ds = kit_updated(kit_real(&p.kit, "ds", 1, VLMOE_F32, 1.0), 0);
            kit_run(&p.kit, variant ? call_temper_bwd : call_temper_fwd, bound_temper, &p);
            kit_end(&p.kit);
        }
}
