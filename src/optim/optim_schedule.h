/* Learning rate of a step. */
#ifndef VLM_OPTIM_SCHEDULE_H
#define VLM_OPTIM_SCHEDULE_H

#include <stdint.h>

/* lr(t) = peak t / warmup for t = 1 .. warmup, then min + (peak - min) (1 + cos(pi (t - warmup) / (steps - warmup))) / 2. t counts from 1. */
double vlm_lr_at(double peak, double minimum, int64_t warmup, int64_t steps, int64_t t);

#endif
