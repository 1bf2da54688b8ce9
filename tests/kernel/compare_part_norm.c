/* Norms on devices. The bounds follow the formulas' own steps; rows with a mean far above their
 * deviation show one-pass variances. */
#include <string.h>
#include "compare.h"

static const struct {
    int64_t rows, cols;
} sizes[] = {{0, 5},   {5, 0},    {1, 1},   {3, 7},    {64, 16},
             {63, 65}, {65, 127}, {2, 768}, {129, 64}, {5, 1025}};
static const int types[] = {VLMOE_F32, VLMOE_BF16};

typedef struct norm {
    kit kit;
    int64_t rows, cols;
    double eps;
    int accumulate;
    tensor *x, *gain, *bias, *y, *mean, *rstd, *dy, *dx, *dgain, *dbias;
} norm;

static void begin(norm *p, const char *what, int64_t rows, int64_t cols)
{
    memset(p, 0, sizeof *p);
    kit_begin(&p->kit, "%s %lld x %lld", what, (long long)rows, (long long)cols);
    p->rows = rows;
    p->cols = cols;
    p->eps = 1e-5;
}

/* Row 1 is all equal, row 2 lies far from zero. */
static void shape_rows(tensor *x, int64_t rows, int64_t cols)
{
    for (int64_t c = 0; rows > 2 && c < cols; c++) {
        kit_set(x, cols + c, 0.37);
        kit_set(x, 2 * cols + c, 100.0 + kit_get(x, WANT, 2 * cols + c));
    }
}

static int call_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    norm *p = arg;
    vlmk_layer_norm_fwd_args a = {.x_dtype = type_at(p->x, side),
                                  .y_dtype = type_at(p->y, side),
                                  .rows = p->rows,
                                  .cols = p->cols,
                                  .x = at(p->x, side),
                                  .gain = at(p->gain, side),
                                  .bias = at(p->bias, side),
                                  .y = at(p->y, side),
                                  .mean = at(p->mean, side),
                                  .rstd = at(p->rstd, side),
                                  .eps = p->eps};
    return table->layer_norm_fwd(env, &a);
}

/* mean: a sum of cols. x - mean: one rounding and the mean's error. variance: a sum of cols
 * squares, each with twice that error. rstd: half the variance's relative error and four roundings.
 * y: both, and three roundings. */
static void bound_fwd(void *arg)
{
    norm *p = arg;
    double n = (double)p->cols;
    double *e_mean = kit_error(p->mean), *e_rstd = kit_error(p->rstd), *e_y = kit_error(p->y);
    for (int64_t r = 0; p->cols && r < p->rows; r++) {
        double mean = kit_get(p->mean, WANT, r), rstd = kit_get(p->rstd, WANT, r), size = 0.0,
               e_variance = 0.0;
        for (int64_t c = 0; c < p->cols; c++)
            size += fabs(kit_get(p->x, WANT, r * p->cols + c)) / n;
        e_mean[r] = n * U_F32 * size;
        for (int64_t c = 0; c < p->cols; c++) {
            double distance = fabs(kit_get(p->x, WANT, r * p->cols + c) - mean),
                   step = U_F32 * distance + e_mean[r];
            e_variance +=
                (2.0 * distance * step + step * step + n * U_F32 * distance * distance) / n;
        }
        e_rstd[r] = rstd * (0.5 * e_variance * rstd * rstd + 4.0 * U_F32);
        for (int64_t c = 0; c < p->cols; c++) {
            double distance = fabs(kit_get(p->x, WANT, r * p->cols + c) - mean),
                   gain = fabs(kit_get(p->gain, WANT, c));
            e_y[r * p->cols + c] =
                gain * ((U_F32 * distance + e_mean[r]) * rstd + distance * e_rstd[r]) +
                3.0 * U_F32 * (gain * distance * rstd + fabs(kit_get(p->bias, WANT, c)));
        }
    }
}

TEST(compare_layer_norm_fwd)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int t = 0; t < 4; t++) {
            norm p;
            begin(&p, "layer_norm_fwd", sizes[i].rows, sizes[i].cols);
            p.x = kit_real(&p.kit, "x", p.rows * p.cols, types[t % 2], 1.0);
            shape_rows(p.x, p.rows, p.cols);
            p.gain = kit_real(&p.kit, "gain", p.cols, VLMOE_F32, 1.0);
            p.bias = kit_real(&p.kit, "bias", p.cols, VLMOE_F32, 1.0);
            p.y = kit_output(&p.kit, "y", p.rows * p.cols, types[t / 2], 0);
            p.mean = kit_output(&p.kit, "mean", p.rows, VLMOE_F32, 0);
            p.rstd = kit_output(&p.kit, "rstd", p.rows, VLMOE_F32, 0);
            kit_run(&p.kit, call_fwd, bound_fwd, &p);
            kit_end(&p.kit);
        }
}

static int call_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    norm *p = arg;
    vlmk_layer_norm_bwd_args a = {.x_dtype = type_at(p->x, side),
                                  .dy_dtype = type_at(p->dy, side),
                                  .rows = p->rows,
                                  .cols = p->cols,
                                  .x = at(p->x, side),
                                  .gain = at(p->gain, side),
                                  .mean = at(p->mean, side),
                                  .rstd = at(p->rstd, side),
                                  .dy = at(p->dy, side),
                                  .dx = at(p->dx, side),
                                  .dgain = at(p->dgain, side),
                                  .dbias = at(p->dbias, side),
                                  .accumulate_dx = p->accumulate,
                                  .accumulate_params = p->accumulate};
    return table->layer_norm_bwd(env, &a);
}

/* Mean and rstd are given, so u = (x - mean) rstd has two roundings. dx = rstd (g - mean_c(g) - u
 * mean_c(g u)): sums of cols. dgain and dbias: sums of rows. Four more roundings for the products
 * of a term, one for adding. */
static void bound_bwd(void *arg)
{
    norm *p = arg;
    double n = (double)p->cols + 6.0, rows = (double)p->rows + 5.0, old = p->accumulate ? 1.0 : 0.0;
    double *e_dx = p->dx ? kit_error(p->dx) : NULL, *e_gain = p->dgain ? kit_error(p->dgain) : NULL;
    for (int64_t r = 0; r < p->rows; r++) {
        double mean = kit_get(p->mean, WANT, r), rstd = fabs(kit_get(p->rstd, WANT, r)),
               g_size = 0.0, gu_size = 0.0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t c = 0; c < p->cols; c++) {
                int64_t i = r * p->cols + c;
                double dy = fabs(kit_get(p->dy, WANT, i)), g = dy * fabs(kit_get(p->gain, WANT, c));
                double u = fabs(kit_get(p->x, WANT, i) - mean) * rstd;
                if (pass == 0) {
                    g_size += g / (double)p->cols;
                    gu_size += g * u / (double)p->cols;
                    if (e_gain) e_gain[c] += rows * U_F32 * dy * u + old * U_F32;
                    if (e_gain) kit_error(p->dbias)[c] += rows * U_F32 * dy + old * U_F32;
                } else if (e_dx) {
                    e_dx[i] = n * U_F32 * rstd * (g + g_size + u * gu_size) + old * U_F32;
                }
            }
    }
}

static void run_bwd(int64_t rows, int64_t cols, const int *type, int accumulate, int wanted)
{
    norm p;
    begin(&p, accumulate ? "layer_norm_bwd +=" : "layer_norm_bwd", rows, cols);
    p.accumulate = accumulate;
    p.x = kit_real(&p.kit, "x", rows * cols, type[0], 1.0);
    shape_rows(p.x, rows, cols);
    p.gain = kit_real(&p.kit, "gain", cols, VLMOE_F32, 1.0);
    p.mean = kit_real(&p.kit, "mean", rows, VLMOE_F32, 0.2);
    p.rstd = kit_real(&p.kit, "rstd", rows, VLMOE_F32, 2.0);
    if (rows > 2) kit_set(p.mean, 2, 100.0);
    p.dy = kit_real(&p.kit, "dy", rows * cols, type[1], 1.0);
    if (wanted & 1)
        p.dx = accumulate ? kit_updated(kit_real(&p.kit, "dx", rows * cols, type[0], 1.0), 0)
                          : kit_output(&p.kit, "dx", rows * cols, type[0], 0);
    if (wanted & 2) {
        p.dgain = accumulate ? kit_updated(kit_real(&p.kit, "dgain", cols, VLMOE_F32, 1.0), 0)
                             : kit_output(&p.kit, "dgain", cols, VLMOE_F32, 0);
        p.dbias = accumulate ? kit_updated(kit_real(&p.kit, "dbias", cols, VLMOE_F32, 1.0), 0)
                             : kit_output(&p.kit, "dbias", cols, VLMOE_F32, 0);
    }
    kit_run(&p.kit, call_bwd, bound_bwd, &p);
    kit_end(&p.kit);
}

TEST(compare_layer_norm_bwd)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int t = 0; t < 4; t++) {
            const int type[2] = {types[t % 2], types[t / 2]};
            run_bwd(sizes[i].rows, sizes[i].cols, type, 0, 3);
            run_bwd(sizes[i].rows, sizes[i].cols, type, 1, 3);
            run_bwd(sizes[i].rows, sizes[i].cols, type, t % 2, 1 + i % 2);
        }
}

static int call_l2_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    norm *p = arg;
    vlmk_l2_norm_fwd_args a = {.rows = p->rows,
                               .cols = p->cols,
                               .x = at(p->x, side),
                               .y = at(p->y, side),
                               .norm = at(p->mean, side),
                               .eps = p->eps};
    return table->l2_norm_fwd(env, &a);
}

/* A sum of cols squares, a root and a quotient, all relative. */
static void bound_l2_fwd(void *arg)
{
    norm *p = arg;
    double relative = U_F32 * (0.5 * (double)p->cols + 3.0);
    for (int64_t r = 0; r < p->rows; r++)
        kit_error(p->mean)[r] = relative * kit_get(p->mean, WANT, r);
    for (int64_t i = 0; i < p->rows * p->cols; i++)
        kit_error(p->y)[i] = relative * fabs(kit_get(p->y, WANT, i));
}

static int call_l2_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    norm *p = arg;
    vlmk_l2_norm_bwd_args a = {.rows = p->rows,
                               .cols = p->cols,
                               .y = at(p->y, side),
                               .norm = at(p->mean, side),
                               .dy = at(p->dy, side),
                               .dx = at(p->dx, side),
                               .eps = p->eps};
    return table->l2_norm_bwd(env, &a);
}

static void bound_l2_bwd(void *arg)
{
    norm *p = arg;
    for (int64_t r = 0; r < p->rows; r++) {
        double along = 0.0, length = kit_get(p->mean, WANT, r);
        int64_t first = r * p->cols;
        for (int64_t i = first; i < first + p->cols; i++)
            along += fabs(kit_get(p->y, WANT, i) * kit_get(p->dy, WANT, i));
        for (int64_t i = first; i < first + p->cols; i++) {
            double size = fabs(kit_get(p->dy, WANT, i)) + fabs(kit_get(p->y, WANT, i)) * along;
            kit_error(p->dx)[i] = U_F32 * ((double)p->cols + 4.0) * size / length;
        }
    }
}

/* Row 0 is zero and row 1 shorter than eps: both are divided by eps. */
TEST(compare_l2_norm)
{
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        norm p;
        begin(&p, "l2_norm_fwd", sizes[i].rows, sizes[i].cols);
        p.x = kit_real(&p.kit, "x", p.rows * p.cols, VLMOE_F32, 1.0);
        for (int64_t c = 0; p.rows > 1 && c < p.cols; c++) kit_set(p.x, c, 0.0);
        for (int64_t c = 0; p.rows > 1 && c < p.cols; c++) kit_set(p.x, p.cols + c, 1e-9);
        p.y = kit_output(&p.kit, "y", p.rows * p.cols, VLMOE_F32, 0);
        p.mean = kit_output(&p.kit, "norm", p.rows, VLMOE_F32, 0);
        kit_run(&p.kit, call_l2_fwd, bound_l2_fwd, &p);
        kit_end(&p.kit);

        begin(&p, "l2_norm_bwd", sizes[i].rows, sizes[i].cols);
        p.eps = 0.5; /* exact in f32: a norm equal to eps is on eps's side on every device */
        p.y = kit_real(&p.kit, "y", p.rows * p.cols, VLMOE_F32, 1.0);
        p.mean = kit_real(&p.kit, "norm", p.rows, VLMOE_F32, 1.0);
        for (int64_t r = 0; r < p.rows; r++)
            kit_set(p.mean, r, r % 3 == 1 ? 0.5 : 0.75 + kit_get(p.mean, SIZE, r));
        p.dy = kit_real(&p.kit, "dy", p.rows * p.cols, VLMOE_F32, 1.0);
        p.dx = kit_output(&p.kit, "dx", p.rows * p.cols, VLMOE_F32, 0);
        kit_run(&p.kit, call_l2_bwd, bound_l2_bwd, &p);
        kit_end(&p.kit);
    }
}
