/* From logits to the likeliest classes. */
#include <math.h>
#include "harness.h"
#include "train_predict.h"

TEST(the_likeliest_classes_come_first_and_equal_ones_in_their_order)
{
    const double logits[] = {0.0, 2.0, -1.0, 2.0, 1.0, 0.5, 2.0};
    vlm_prediction p = {.sample = 9};
    vlm_prediction_make(logits, VLM_COUNT(logits), false, &p);
    const int32_t want[VLM_TOP] = {1, 3, 6, 4, 5};
    CHECK_INT(p.n, VLM_TOP);
    CHECK_INT(p.sample, 9);
    double sum = 0.0;
    for (int i = 0; i < VLM_COUNT(logits); i++) sum += exp(logits[i]);
    for (int i = 0; i < VLM_TOP; i++) {
        CHECK_INT(p.label[i], want[i]);
        CHECK_CLOSE(p.share[i], exp(logits[want[i]]) / sum, 0x1p-24);
    }
}

TEST(answers_of_vqa_have_a_share_each_for_itself)
{
    const double logits[] = {0.0, 800.0, -800.0};
    vlm_prediction p = {0};
    vlm_prediction_make(logits, VLM_COUNT(logits), true, &p);
    CHECK_INT(p.n, 3);
    CHECK_INT(p.label[0], 1);
    CHECK_CLOSE(p.share[0], 1.0, 0.0);
    CHECK_CLOSE(p.share[1], 0.5, 0.0);
    CHECK_CLOSE(p.share[2], 0.0, 0.0);
}

TEST(sure_answers_come_in_the_order_of_their_logits)
{
    const double apart[] = {18.0, 19.0, 30.0, 17.0, 25.0, 0.0},
                 one[] = {-300.0, -250.0, -200.0, -150.0, 100.0};
    vlm_prediction p = {0};
    vlm_prediction_make(apart, VLM_COUNT(apart), true, &p);
    const int32_t want[VLM_TOP] = {2, 4, 1, 0, 3};
    for (int i = 0; i < VLM_TOP; i++) CHECK_INT(p.label[i], want[i]);
    vlm_prediction_make(one, VLM_COUNT(one), false, &p);
    for (int i = 0; i < VLM_TOP; i++) CHECK_INT(p.label[i], 4 - i);
}

TEST(large_logits_stay_finite)
{
    const double logits[] = {1e6, 1e6};
    vlm_prediction p = {0};
    vlm_prediction_make(logits, VLM_COUNT(logits), false, &p);
    CHECK_INT(p.label[0], 0);
    CHECK_CLOSE(p.share[0], 0.5, 0.0);
}
