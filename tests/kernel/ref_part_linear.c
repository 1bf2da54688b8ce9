/* Reference products: a hand-made value, groups, and every gradient. */
#include <string.h>
#include "test_ref.h"

TEST(ref_linear_multiplies_by_the_transposed_weight)
{
    const double x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 0, -1, 2, 1, 0},
                 bias[] = {10, 20}; /* [2,3], [2,3], [2] */
    double y[4];
    vlmk_linear_fwd_args a = {.dtype = VLMOE_F64,
                              .y_dtype = VLMOE_F64,
                              .M = 2,
                              .N = 2,
                              .K = 3,
                              .G = 1,
                              .x = x,
                              .w = w,
                              .bias = bias,
                              .y = y};
    ref_flops();
    CHECK_STATUS(vlmk_ref_linear_fwd(ref_env(), &a), VLMOE_OK);
    const double want[] = {8, 24, 8, 33};
    for (int i = 0; i < 4; i++) CHECK(y[i] == want[i]);
    CHECK(ref_flops() == 24.0);
}

/* Three groups, the middle one empty, and one row past the last group. */
enum { M = 6, N = 4, K = 3, G = 3 };
static const int32_t offset[G + 1] = {0, 2, 2, 5};
typedef struct product {
    double x[M * K], w[G * N * K], bias[G * N], pre[M * N], y[M * N], r[M * N];
    int act;
} product;

static void forward(product *p)
{
    vlmk_linear_fwd_args a = {.dtype = VLMOE_F64,
                              .y_dtype = VLMOE_F64,
                              .act = p->act,
                              .M = M,
                              .N = N,
                              .K = K,
                              .G = G,
                              .offset = offset,
                              .x = p->x,
                              .w = p->w,
                              .bias = p->bias,
                              .pre = p->pre,
                              .y = p->y};
    CHECK_STATUS(vlmk_ref_linear_fwd(ref_env(), &a), VLMOE_OK);
}

static double product_loss(void *arg)
{
    product *p = arg;
    forward(p);
    return weighted(p->y, p->r, M * N);
}

static product make_product(int act)
{
    product p = {.act = act};
    fill(p.x, M * K, 1);
    fill(p.w, G * N * K, 2);
    fill(p.bias, G * N, 3);
    fill(p.r, M * N, 4);
    return p;
}

TEST(ref_linear_leaves_rows_past_the_last_group_alone)
{
    product p = make_product(VLMK_ACT_NONE);
    for (int i = 0; i < M * N; i++) p.y[i] = 777.0;
    forward(&p);
    for (int n = 0; n < N; n++) {
        CHECK(p.y[5 * N + n] == 777.0);
        double sum = p.bias[2 * N + n]; /* row 2 is the first of group 2, group 1 is empty */
        for (int k = 0; k < K; k++) sum += p.x[2 * K + k] * p.w[(2 * N + n) * K + k];
        CHECK(p.y[2 * N + n] == sum);
    }
}

TEST(ref_linear_gradients_match_differences)
{
    for (int act = VLMK_ACT_NONE; act <= VLMK_ACT_TANH; act++) {
        product p = make_product(act);
        double dpre[M * N], dx[M * K] = {0}, dw[G * N * K], db[G * N];
        forward(&p);
        memcpy(dpre, p.r, sizeof dpre);
        vlmk_act_bwd_args ab = {
            .dtype = VLMOE_F64, .act = act, .n = 5 * N, .pre = p.pre, .dy = dpre, .dpre = dpre};
        vlmk_linear_dx_args xb = {.dtype = VLMOE_F64,
                                  .dx_dtype = VLMOE_F64,
                                  .M = M,
                                  .N = N,
                                  .K = K,
                                  .G = G,
                                  .offset = offset,
                                  .dy = dpre,
                                  .w = p.w,
                                  .dx = dx};
        vlmk_dw_part wb_part = {.M = M, .offset = offset, .x = p.x, .dy = dpre};
        vlmk_linear_dw_args wb = {.dtype = VLMOE_F64,
                                  .N = N,
                                  .K = K,
                                  .G = G,
                                  .n_parts = 1,
                                  .part = &wb_part,
                                  .dw = dw,
                                  .db = db};
        CHECK_STATUS(vlmk_ref_act_bwd(ref_env(), &ab), VLMOE_OK);
        CHECK_STATUS(vlmk_ref_linear_dx(ref_env(), &xb), VLMOE_OK);
        CHECK_STATUS(vlmk_ref_linear_dw(ref_env(), &wb), VLMOE_OK);
        memset(p.r + 5 * N, 0, N * sizeof(double)); /* the row of no group has no say */
        check_gradient("dx", p.x, M * K, dx, product_loss, &p);
        check_gradient("dw", p.w, G * N * K, dw, product_loss, &p);
        check_gradient("db", p.bias, G * N, db, product_loss, &p);
    }
}

TEST(ref_act_fwd_is_the_activation_of_a_product)
{
    for (int act = VLMK_ACT_NONE; act <= VLMK_ACT_TANH; act++) {
        product p = make_product(act);
        double again[5 * N];
        forward(&p);
        const double *pre = act == VLMK_ACT_NONE ? p.y : p.pre;
        vlmk_act_fwd_args args = {
            .dtype = VLMOE_F64, .act = act, .n = 5 * N, .pre = pre, .y = again};
        CHECK_STATUS(vlmk_ref_act_fwd(ref_env(), &args), VLMOE_OK);
        for (int i = 0; i < 5 * N; i++) CHECK(again[i] == p.y[i]);
    }
}

TEST(ref_linear_accumulates_by_adding_the_whole_product)
{
    product p = make_product(VLMK_ACT_NONE);
    double once[G * N * K], twice[G * N * K], db[G * N], dx[M * K] = {0}, dx_twice[M * K];
    vlmk_dw_part wb_part = {.M = M, .offset = offset, .x = p.x, .dy = p.r};
    vlmk_linear_dw_args wb = {.dtype = VLMOE_F64,
                              .N = N,
                              .K = K,
                              .G = G,
                              .n_parts = 1,
                              .part = &wb_part,
                              .dw = once,
                              .db = db};
    CHECK_STATUS(vlmk_ref_linear_dw(ref_env(), &wb), VLMOE_OK);
    memcpy(twice, once, sizeof twice);
    wb.dw = twice;
    wb.db = NULL;
    wb.accumulate = 1;
    CHECK_STATUS(vlmk_ref_linear_dw(ref_env(), &wb), VLMOE_OK);
    for (int i = 0; i < G * N * K; i++) CHECK(twice[i] == 2.0 * once[i]);
    for (int i = N * K; i < 2 * N * K; i++) CHECK(once[i] == 0.0);

    vlmk_linear_dx_args xb = {.dtype = VLMOE_F64,
                              .dx_dtype = VLMOE_F64,
                              .M = M,
                              .N = N,
                              .K = K,
                              .G = G,
                              .offset = offset,
                              .dy = p.r,
                              .w = p.w,
                              .dx = dx};
    CHECK_STATUS(vlmk_ref_linear_dx(ref_env(), &xb), VLMOE_OK);
    memcpy(dx_twice, dx, sizeof dx);
    xb.dx = dx_twice;
    xb.accumulate = 1;
    CHECK_STATUS(vlmk_ref_linear_dx(ref_env(), &xb), VLMOE_OK);
    for (int i = 0; i < 5 * K; i++) CHECK(dx_twice[i] == 2.0 * dx[i]);
}
