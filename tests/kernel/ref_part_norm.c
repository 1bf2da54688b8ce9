/* Reference norms: a hand-made value and every gradient. */
#include "test_ref.h"

TEST(ref_layer_norm_uses_the_population_deviation)
{
    const double x[] = {1, 2, 3, 4}, gain[] = {1, 1, 1, 2}, bias[] = {0, 0, 0, 10};
    double y[4], mean[1], rstd[1];
    vlmk_layer_norm_fwd_args a = {.x_dtype = VLMOE_F64,
                                  .y_dtype = VLMOE_F64,
                                  .rows = 1,
                                  .cols = 4,
                                  .x = x,
                                  .gain = gain,
                                  .bias = bias,
                                  .y = y,
                                  .mean = mean,
                                  .rstd = rstd,
                                  .eps = 0.75};
    CHECK_STATUS(vlmk_ref_layer_norm_fwd(ref_env(), &a), VLMOE_OK);
    CHECK(mean[0] == 2.5);
    CHECK_CLOSE(rstd[0], 1.0 / sqrt(2.0), 1e-15); /* variance 1.25 + eps 0.75 */
    CHECK_CLOSE(y[0], -1.5 / sqrt(2.0), 1e-15);
    CHECK_CLOSE(y[3], 2.0 * 1.5 / sqrt(2.0) + 10.0, 1e-14);
}

enum { ROWS = 3, COLS = 5 };
typedef struct norm_case {
    double x[ROWS * COLS], gain[COLS], bias[COLS], y[ROWS * COLS], mean[ROWS], rstd[ROWS],
        r[ROWS * COLS];
} norm_case;

static double layer_norm_loss(void *arg)
{
    norm_case *p = arg;
    vlmk_layer_norm_fwd_args a = {.x_dtype = VLMOE_F64,
                                  .y_dtype = VLMOE_F64,
                                  .rows = ROWS,
                                  .cols = COLS,
                                  .x = p->x,
                                  .gain = p->gain,
                                  .bias = p->bias,
                                  .y = p->y,
                                  .mean = p->mean,
                                  .rstd = p->rstd,
                                  .eps = 1e-2};
    CHECK_STATUS(vlmk_ref_layer_norm_fwd(ref_env(), &a), VLMOE_OK);
    return weighted(p->y, p->r, ROWS * COLS);
}

TEST(ref_layer_norm_gradients_match_differences)
{
    norm_case p;
    double dx[ROWS * COLS], dgain[COLS], dbias[COLS];
    fill(p.x, ROWS * COLS, 1);
    fill(p.gain, COLS, 2);
    fill(p.bias, COLS, 3);
    fill(p.r, ROWS * COLS, 4);
    layer_norm_loss(&p);
    vlmk_layer_norm_bwd_args a = {.x_dtype = VLMOE_F64,
                                  .dy_dtype = VLMOE_F64,
                                  .rows = ROWS,
                                  .cols = COLS,
                                  .x = p.x,
                                  .gain = p.gain,
                                  .mean = p.mean,
                                  .rstd = p.rstd,
                                  .dy = p.r,
                                  .dx = dx,
                                  .dgain = dgain,
                                  .dbias = dbias};
    CHECK_STATUS(vlmk_ref_layer_norm_bwd(ref_env(), &a), VLMOE_OK);
    check_gradient("dx", p.x, ROWS * COLS, dx, layer_norm_loss, &p);
    check_gradient("dgain", p.gain, COLS, dgain, layer_norm_loss, &p);
    check_gradient("dbias", p.bias, COLS, dbias, layer_norm_loss, &p);

    double twice[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++) twice[i] = dx[i];
    a.dx = twice;
    a.accumulate_dx = 1;
    a.dgain = NULL;
    CHECK_STATUS(vlmk_ref_layer_norm_bwd(ref_env(), &a), VLMOE_OK);
    for (int i = 0; i < ROWS * COLS; i++) CHECK(twice[i] == 2.0 * dx[i]);
}

TEST(ref_layer_norm_of_an_empty_row_is_zero)
{
    double mean[2] = {5, 5}, rstd[2] = {5, 5};
    vlmk_layer_norm_fwd_args a = {.x_dtype = VLMOE_F64,
                                  .y_dtype = VLMOE_F64,
                                  .rows = 2,
                                  .cols = 0,
                                  .mean = mean,
                                  .rstd = rstd,
                                  .eps = 1e-5};
    CHECK_STATUS(vlmk_ref_layer_norm_fwd(ref_env(), &a), VLMOE_OK);
    CHECK(mean[0] == 0.0 && mean[1] == 0.0 && rstd[0] == 0.0 && rstd[1] == 0.0);
}

static double l2_loss(void *arg)
{
    norm_case *p = arg;
    vlmk_l2_norm_fwd_args a = {
        .rows = ROWS, .cols = COLS, .x = p->x, .y = p->y, .norm = p->mean, .eps = 0.1};
    CHECK_STATUS(vlmk_ref_l2_norm_fwd(ref_env(), &a), VLMOE_OK);
    return weighted(p->y, p->r, ROWS * COLS);
}

/* Row 2 is shorter than eps, where the divisor is constant. */
TEST(ref_l2_norm_gradient_matches_differences_on_both_sides_of_eps)
{
    norm_case p;
    double dx[ROWS * COLS];
    fill(p.x, ROWS * COLS, 5);
    fill(p.r, ROWS * COLS, 6);
    for (int c = 0; c < COLS; c++) p.x[2 * COLS + c] *= 0.01;
    l2_loss(&p);
    CHECK(p.mean[0] > 0.5 && p.mean[2] == 0.1);
    CHECK_CLOSE(weighted(p.y, p.y, COLS), 1.0, 1e-14);
    vlmk_l2_norm_bwd_args a = {
        .rows = ROWS, .cols = COLS, .y = p.y, .norm = p.mean, .dy = p.r, .dx = dx, .eps = 0.1};
    CHECK_STATUS(vlmk_ref_l2_norm_bwd(ref_env(), &a), VLMOE_OK);
    check_gradient("dx", p.x, ROWS * COLS, dx, l2_loss, &p);
}
