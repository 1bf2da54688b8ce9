/* The learning rate of every step: linear warm-up, cosine decay, and the edges between them. */
#include "harness.h"
#include "optim_schedule.h"

TEST(schedule_rises_in_a_line_to_the_peak)
{
    CHECK_CLOSE(vlm_lr_at(0.8, 0.0, 4, 100, 1), 0.2, 1e-15);
    CHECK_CLOSE(vlm_lr_at(0.8, 0.0, 4, 100, 3), 0.6, 1e-15);
    CHECK_CLOSE(vlm_lr_at(0.8, 0.0, 4, 100, 4), 0.8, 0.0);
    CHECK_CLOSE(vlm_lr_at(0.8, 0.5, 4, 100, 1), 0.2, 1e-15); /* the minimum is not the start */
}

TEST(schedule_falls_as_a_cosine_to_the_minimum)
{
    CHECK_CLOSE(vlm_lr_at(1.0, 0.2, 10, 110, 60), 0.6, 1e-15); /* half way */
    CHECK_CLOSE(vlm_lr_at(1.0, 0.2, 10, 110, 35), 0.2 + 0.8 * 0.85355339059327376,
                1e-15); /* (1 + cos(pi / 4)) / 2 */
    CHECK_CLOSE(vlm_lr_at(1.0, 0.2, 10, 110, 110), 0.2, 0.0);
    for (int64_t t = 11; t <= 110; t++)
        CHECK(vlm_lr_at(1.0, 0.2, 10, 110, t) < vlm_lr_at(1.0, 0.2, 10, 110, t - 1));
}

TEST(schedule_without_warm_up_or_without_decay)
{
    CHECK_CLOSE(vlm_lr_at(1.0, 0.0, 0, 2, 1), 0.5, 1e-15);
    CHECK_CLOSE(vlm_lr_at(1.0, 0.0, 0, 1, 1), 0.0, 0.0);
    CHECK_CLOSE(vlm_lr_at(1.0, 0.0, 8, 4, 4), 0.5, 0.0); /* a run that ends inside its warm-up */
}
