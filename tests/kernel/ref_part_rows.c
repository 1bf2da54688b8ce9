/* Reference row movement: adjoint pairs, residual branches, combine and dispatch of expert rows. */
#include "test_ref.h"

enum { N_IN = 4, N_OUT = 6, COLS = 3 };
static const int32_t pick[N_OUT] = {3, -1, 0, 3, 1, 3};

TEST(ref_gather_takes_rows_and_zeros_for_minus_one)
{
    double in[N_IN * COLS], out[N_OUT * COLS];
    fill(in, N_IN * COLS, 1);
    vlmk_gather_rows_args a = {.in_dtype = VLMOE_F64,
                               .out_dtype = VLMOE_F64,
                               .n_out = N_OUT,
                               .n_in = N_IN,
                               .cols = COLS,
                               .in = in,
                               .index = pick,
                               .out = out};
    CHECK_STATUS(vlmk_ref_gather_rows(ref_env(), &a), VLMOE_OK);
    for (int i = 0; i < N_OUT; i++)
        for (int c = 0; c < COLS; c++)
            CHECK(out[i * COLS + c] == (pick[i] < 0 ? 0.0 : in[pick[i] * COLS + c]));
    a.accumulate = 1;
    CHECK_STATUS(vlmk_ref_gather_rows(ref_env(), &a), VLMOE_OK);
    CHECK(out[0] == 2.0 * in[9]);
}

TEST(ref_scatter_adds_rows_of_one_target_and_clears_the_rest)
{
    double in[N_OUT * COLS], out[N_IN * COLS];
    fill(in, N_OUT * COLS, 1);
    fill(out, N_IN * COLS, 2);
    vlmk_scatter_rows_args a = {.in_dtype = VLMOE_F64,
                                .out_dtype = VLMOE_F64,
                                .n_in = N_OUT,
                                .n_out = N_IN,
                                .cols = COLS,
                                .in = in,
                                .index = pick,
                                .out = out};
    CHECK_STATUS(vlmk_ref_scatter_rows(ref_env(), &a), VLMOE_OK);
    for (int c = 0; c < COLS; c++) {
        CHECK(out[0 * COLS + c] == in[2 * COLS + c]);
        CHECK(out[1 * COLS + c] == in[4 * COLS + c]);
        CHECK(out[2 * COLS + c] == 0.0);
        CHECK(out[3 * COLS + c] == in[c] + in[3 * COLS + c] + in[5 * COLS + c]);
    }
}

/* <gather x, y> = <x, scatter y> */
TEST(ref_scatter_is_the_adjoint_of_gather)
{
    double x[N_IN * COLS], y[N_OUT * COLS], gathered[N_OUT * COLS], scattered[N_IN * COLS];
    fill(x, N_IN * COLS, 1);
    fill(y, N_OUT * COLS, 2);
    vlmk_gather_rows_args g = {.in_dtype = VLMOE_F64,
                               .out_dtype = VLMOE_F64,
                               .n_out = N_OUT,
                               .n_in = N_IN,
                               .cols = COLS,
                               .in = x,
                               .index = pick,
                               .out = gathered};
    vlmk_scatter_rows_args s = {.in_dtype = VLMOE_F64,
                                .out_dtype = VLMOE_F64,
                                .n_in = N_OUT,
                                .n_out = N_IN,
                                .cols = COLS,
                                .in = y,
                                .index = pick,
                                .out = scattered};
    CHECK_STATUS(vlmk_ref_gather_rows(ref_env(), &g), VLMOE_OK);
    CHECK_STATUS(vlmk_ref_scatter_rows(ref_env(), &s), VLMOE_OK);
    CHECK_CLOSE(weighted(gathered, y, N_OUT * COLS), weighted(x, scattered, N_IN * COLS), 1e-14);
}

enum { ROWS = 3 };
typedef struct branch {
    double base[ROWS * COLS], y[ROWS * COLS], row[ROWS], col[COLS], out[ROWS * COLS],
        r[ROWS * COLS];
    int is_plain; /* no scales */
} branch;

static double branch_loss(void *arg)
{
    branch *p = arg;
    vlmk_residual_fwd_args a = {.y_dtype = VLMOE_F64,
                                .rows = ROWS,
                                .cols = COLS,
                                .base = p->base,
                                .y = p->y,
                                .row_scale = p->is_plain ? NULL : p->row,
                                .col_scale = p->is_plain ? NULL : p->col,
                                .out = p->out};
    CHECK_STATUS(vlmk_ref_residual_fwd(ref_env(), &a), VLMOE_OK);
    return weighted(p->out, p->r, ROWS * COLS);
}

TEST(ref_residual_gradients_match_differences)
{
    for (int is_plain = 0; is_plain < 2; is_plain++) {
        branch p = {.is_plain = is_plain, .row = {0.0, 1.25, 1.25}};
        double dy[ROWS * COLS], dcol[COLS];
        fill(p.base, ROWS * COLS, 1);
        fill(p.y, ROWS * COLS, 2);
        fill(p.col, COLS, 3);
        fill(p.r, ROWS * COLS, 4);
        vlmk_residual_bwd_args a = {.y_dtype = VLMOE_F64,
                                    .rows = ROWS,
                                    .cols = COLS,
                                    .dout = p.r,
                                    .y = p.y,
                                    .row_scale = is_plain ? NULL : p.row,
                                    .col_scale = is_plain ? NULL : p.col,
                                    .dy = dy,
                                    .dcol_scale = is_plain ? NULL : dcol};
        CHECK_STATUS(vlmk_ref_residual_bwd(ref_env(), &a), VLMOE_OK);
        check_gradient("dy", p.y, ROWS * COLS, dy, branch_loss, &p);
        check_gradient("dbase", p.base, ROWS * COLS, p.r, branch_loss, &p);
        if (!is_plain) check_gradient("dcol_scale", p.col, COLS, dcol, branch_loss, &p);
    }
}

/* Three tokens, two choices each, four of six served. */
enum { T = 3, K = 2 };
static const int32_t slot[T * K] = {2, 0, -1, 1, 3, -1};
typedef struct experts {
    double rows[T * K * COLS], weight[T * K], y[T * COLS], r[T * COLS];
} experts;

static double combine_loss(void *arg)
{
    experts *p = arg;
    vlmk_combine_fwd_args a = {.dtype = VLMOE_F64,
                               .T = T,
                               .K = K,
                               .cols = COLS,
                               .rows = p->rows,
                               .slot = slot,
                               .weight = p->weight,
                               .y = p->y};
    CHECK_STATUS(vlmk_ref_combine_fwd(ref_env(), &a), VLMOE_OK);
    return weighted(p->y, p->r, T * COLS);
}

TEST(ref_combine_weighs_served_choices)
{
    experts p;
    fill(p.rows, T * K * COLS, 1);
    fill(p.weight, T * K, 2);
    combine_loss(&p);
    for (int c = 0; c < COLS; c++) {
        CHECK(p.y[c] == p.weight[0] * p.rows[2 * COLS + c] + p.weight[1] * p.rows[c]);
        CHECK(p.y[COLS + c] == p.weight[3] * p.rows[COLS + c]);
        CHECK(p.y[2 * COLS + c] == p.weight[4] * p.rows[3 * COLS + c]);
    }
}

TEST(ref_combine_gradients_match_differences)
{
    experts p;
    double drows[T * K * COLS] = {0}, dweight[T * K];
    fill(p.rows, T * K * COLS, 1);
    fill(p.weight, T * K, 2);
    fill(p.r, T * COLS, 3);
    vlmk_combine_bwd_args a = {.dtype = VLMOE_F64,
                               .T = T,
                               .K = K,
                               .cols = COLS,
                               .rows = p.rows,
                               .slot = slot,
                               .weight = p.weight,
                               .dy = p.r,
                               .drows = drows,
                               .dweight = dweight};
    CHECK_STATUS(vlmk_ref_combine_bwd(ref_env(), &a), VLMOE_OK);
    check_gradient("drows", p.rows, T * K * COLS, drows, combine_loss, &p);
    check_gradient("dweight", p.weight, T * K, dweight, combine_loss, &p);
}

TEST(ref_dispatch_bwd_adds_the_rows_a_token_was_copied_to)
{
    double drows[T * K * COLS], dx[T * COLS];
    fill(drows, T * K * COLS, 1);
    fill(dx, T * COLS, 2);
    double old = dx[4];
    vlmk_dispatch_bwd_args a = {.dtype = VLMOE_F64,
                                .T = T,
                                .K = K,
                                .cols = COLS,
                                .drows = drows,
                                .slot = slot,
                                .dx = dx,
                                .accumulate = 1};
    CHECK_STATUS(vlmk_ref_dispatch_bwd(ref_env(), &a), VLMOE_OK);
    CHECK(dx[4] == old + drows[COLS + 1]);
    a.accumulate = 0;
    CHECK_STATUS(vlmk_ref_dispatch_bwd(ref_env(), &a), VLMOE_OK);
    for (int c = 0; c < COLS; c++) CHECK(dx[c] == drows[2 * COLS + c] + drows[c]);
}
