/* Reference losses: hand-made values, argmax ties, skipped rows, gradients; nearest codes. */
#include "test_ref.h"

TEST(ref_cross_entropy_matches_hand_made_rows)
{
    /* row 0: two equal largest, target the second; row 1: skipped; row 2: softmax 1/8, 2/8, 5/8 */
    const double logits[] = {1, 1, 0, 9, 9, 9, 0, log(2.0), log(5.0)}, row_weight[] = {1, 100, 0.5};
    const int32_t target[] = {1, -1, 2};
    double nll[3], lse[3], loss;
    int32_t correct[3];
    vlmk_cross_entropy_fwd_args a = {.M = 3,
                                     .V = 3,
                                     .logits = logits,
                                     .target = target,
                                     .row_weight = row_weight,
                                     .nll = nll,
                                     .lse = lse,
                                     .correct = correct,
                                     .loss = &loss};
    CHECK_STATUS(vlmk_ref_cross_entropy_fwd(ref_env(), &a), VLMOE_OK);
    CHECK_CLOSE(nll[0], log(2.0 + exp(-1.0)), 1e-15);
    CHECK(nll[1] == 0.0);
    CHECK_CLOSE(nll[2], log(8.0 / 5.0), 1e-15);
    CHECK_CLOSE(lse[2], log(8.0), 1e-15);
    CHECK_INT(correct[0], 0); /* the first of equals is index 0 */
    CHECK_INT(correct[1], 0);
    CHECK_INT(correct[2], 1);
    CHECK_CLOSE(loss, log(2.0 + exp(-1.0)) + 0.5 * log(1.6), 1e-15);
}

TEST(ref_cross_entropy_does_not_overflow)
{
    const double logits[] = {1000, 999}, row_weight[] = {1};
    const int32_t target[] = {1};
    double nll, lse, loss;
    int32_t correct;
    vlmk_cross_entropy_fwd_args a = {.M = 1,
                                     .V = 2,
                                     .logits = logits,
                                     .target = target,
                                     .row_weight = row_weight,
                                     .nll = &nll,
                                     .lse = &lse,
                                     .correct = &correct,
                                     .loss = &loss};
    CHECK_STATUS(vlmk_ref_cross_entropy_fwd(ref_env(), &a), VLMOE_OK);
    CHECK_CLOSE(nll, 1.0 + log(1.0 + exp(-1.0)), 1e-12);
}

enum { M = 4, V = 5 };
typedef struct rows {
    double x[M * V], target[M * V], weight[M], nll[M], lse[M], loss;
    int32_t label[M], correct[M];
} rows;

static rows make_rows(void)
{
    rows p = {.label = {0, 4, -1, 2}};
    fill(p.x, M * V, 1);
    fill(p.target, M * V, 2);
    fill(p.weight, M, 3);
    return p;
}

static double cross_entropy_loss(void *arg)
{
    rows *p = arg;
    vlmk_cross_entropy_fwd_args a = {.M = M,
                                     .V = V,
                                     .logits = p->x,
                                     .target = p->label,
                                     .row_weight = p->weight,
                                     .nll = p->nll,
                                     .lse = p->lse,
                                     .correct = p->correct,
                                     .loss = &p->loss};
    CHECK_STATUS(vlmk_ref_cross_entropy_fwd(ref_env(), &a), VLMOE_OK);
    return 1.7 * p->loss;
}

static double mse_loss(void *arg)
{
    rows *p = arg;
    vlmk_mse_fwd_args a = {.M = M,
                           .C = V,
                           .x = p->x,
                           .target = p->target,
                           .row_weight = p->weight,
                           .row_loss = p->nll,
                           .loss = &p->loss};
    CHECK_STATUS(vlmk_ref_mse_fwd(ref_env(), &a), VLMOE_OK);
    return 1.7 * p->loss;
}

TEST(ref_loss_gradients_match_differences)
{
    const double dloss = 1.7;
    double dx[M * V];
    rows p = make_rows();
    cross_entropy_loss(&p);
    vlmk_cross_entropy_bwd_args a = {.M = M,
                                     .V = V,
                                     .out_dtype = VLMOE_F64,
                                     .logits = p.x,
                                     .target = p.label,
                                     .row_weight = p.weight,
                                     .lse = p.lse,
                                     .dloss = &dloss,
                                     .dlogits = dx};
    CHECK_STATUS(vlmk_ref_cross_entropy_bwd(ref_env(), &a), VLMOE_OK);
    check_gradient("dlogits", p.x, M * V, dx, cross_entropy_loss, &p);

    vlmk_mse_bwd_args b = {.M = M,
                           .C = V,
                           .x = p.x,
                           .target = p.target,
                           .row_weight = p.weight,
                           .dloss = &dloss,
                           .dx = dx};
    CHECK_STATUS(vlmk_ref_mse_bwd(ref_env(), &b), VLMOE_OK);
    check_gradient("dx", p.x, M * V, dx, mse_loss, &p);
}

TEST(ref_mse_is_the_mean_of_a_row)
{
    const double x[] = {1, 2, 3, 4}, target[] = {0, 0, 3, 8}, weight[] = {1, 10};
    double row_loss[2], loss;
    vlmk_mse_fwd_args a = {.M = 2,
                           .C = 2,
                           .x = x,
                           .target = target,
                           .row_weight = weight,
                           .row_loss = row_loss,
                           .loss = &loss};
    CHECK_STATUS(vlmk_ref_mse_fwd(ref_env(), &a), VLMOE_OK);
    CHECK(row_loss[0] == 2.5 && row_loss[1] == 8.0 && loss == 82.5);
}

TEST(ref_losses_of_no_rows_are_zero)
{
    double loss = 5.0;
    vlmk_cross_entropy_fwd_args a = {.V = 3, .loss = &loss};
    CHECK_STATUS(vlmk_ref_cross_entropy_fwd(ref_env(), &a), VLMOE_OK);
    CHECK(loss == 0.0);
    loss = 5.0;
    vlmk_mse_fwd_args b = {.C = 3, .loss = &loss};
    CHECK_STATUS(vlmk_ref_mse_fwd(ref_env(), &b), VLMOE_OK);
    CHECK(loss == 0.0);
}

TEST(ref_vq_takes_the_largest_dot_product_and_the_first_of_equals)
{
    const double z[] = {1, 0, 0, -1}, code[] = {0, 1, 0.6, 0.8, 1, 0, 1, 0};
    int32_t index[2];
    vlmk_vq_assign_args a = {.M = 2, .n_codes = 4, .C = 2, .z = z, .code = code, .index = index};
    CHECK_STATUS(vlmk_ref_vq_assign(ref_env(), &a), VLMOE_OK);
    CHECK_INT(index[0], 2);
    CHECK_INT(index[1], 2); /* products -1, -0.8, 0, 0 */
}
