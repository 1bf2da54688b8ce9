/* Warm-up, then cosine. Source: Loshchilov and Hutter 2017, eq. 5, without restarts. */
#include <math.h>
#include "optim_schedule.h"

double vlm_lr_at(double peak, double minimum, int64_t warmup, int64_t steps, int64_t t)
{
    const double pi = 3.14159265358979323846;
    if (t <= warmup) return peak * (double)t / (double)warmup;
    if (t >= steps) return minimum;
    return minimum + (peak - minimum) * 0.5 *
                         (1.0 + cos(pi * (double)(t - warmup) / (double)(steps - warmup)));
}
