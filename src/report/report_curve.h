/* A number over the steps of a run, in bounded memory however long the run is: at most VLM_CURVE_BUCKETS runs of neighbouring steps,
 * each with its mean, least and greatest value. */
#ifndef VLM_REPORT_CURVE_H
#define VLM_REPORT_CURVE_H

#include "base.h"

enum { VLM_CURVE_BUCKETS = 600 };

typedef struct vlm_curve_bucket {
    int64_t n;                   /* values seen */
    double step, sum, min, max;  /* step: sum of their steps */
} vlm_curve_bucket;

typedef struct vlm_curve {
    int64_t width;             /* steps of a bucket: a power of two; 0 = empty */
    int64_t used;              /* buckets that may hold something */
    vlm_curve_bucket *bucket;  /* [VLM_CURVE_BUCKETS]; NULL = empty */
} vlm_curve;

/* Steps count from 1 and may come in any order. Values that are not finite leave a gap. false = out of memory. */
bool vlm_curve_add(vlm_curve *curve, int64_t step, double value);
void vlm_curve_free(vlm_curve *curve);
int64_t vlm_curve_points(const vlm_curve *curve); /* buckets that hold something */
double vlm_curve_last(const vlm_curve *curve);    /* mean of the last of them; NaN = none */

#endif
