/* Streams of values folded into buckets. */
#include <math.h>
#include "report_curve.h"

/* Neighbours become one, so that the same buckets cover twice the steps. */
static void fold(vlm_curve *c)
{
    for (int64_t i = 0; i < VLM_CURVE_BUCKETS; i++) {
        vlm_curve_bucket joined = {0};
        for (int64_t k = 2 * i; k < 2 * i + 2 && k < VLM_CURVE_BUCKETS; k++) {
            const vlm_curve_bucket *b = &c->bucket[k];
            if (!b->n) continue;
            joined.min = joined.n ? fmin(joined.min, b->min) : b->min;
            joined.max = joined.n ? fmax(joined.max, b->max) : b->max;
            joined.n += b->n;
            joined.step += b->step;
            joined.sum += b->sum;
        }
        c->bucket[i] = joined;
    }
    c->width *= 2;
    c->used = (c->used + 1) / 2;
}

bool vlm_curve_add(vlm_curve *c, int64_t step, double value)
{
    if (!isfinite(value) || step < 1) return true;
    if (!c->bucket) {
        c->bucket = vlm_alloc_array(VLM_CURVE_BUCKETS, sizeof *c->bucket);
        if (!c->bucket) return false;
        c->width = 1;
    }
    while ((step - 1) / c->width >= VLM_CURVE_BUCKETS) fold(c);
    int64_t at = (step - 1) / c->width;
    vlm_curve_bucket *b = &c->bucket[at];
    b->min = b->n ? fmin(b->min, value) : value;
    b->max = b->n ? fmax(b->max, value) : value;
    b->n++;
    b->step += (double)step;
    b->sum += value;
    c->used = VLM_MAX(c->used, at + 1);
    return true;
}

void vlm_curve_free(vlm_curve *c)
{
    vlm_free(c->bucket);
    *c = (vlm_curve){0};
}

int64_t vlm_curve_points(const vlm_curve *c)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->used; i++) n += c->bucket[i].n > 0;
    return n;
}

double vlm_curve_last(const vlm_curve *c)
{
    for (int64_t i = c->used - 1; i >= 0; i--)
        if (c->bucket[i].n) return c->bucket[i].sum / (double)c->bucket[i].n;
    return NAN;
}
