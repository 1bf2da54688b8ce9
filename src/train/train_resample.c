/* Position tables of another picture size. */
#include "train_resample.h"
#include <math.h>

enum { TAPS = 4 };

/* Which cells of an axis make one cell of the new axis, and how much of each. */
typedef struct taps {
    int64_t at[TAPS];
    double weight[TAPS];
} taps;

/* Keys' cubic convolution kernel (1981) at distance x >= 0. */
static double cubic(double x)
{
    const double a = -0.75;
    if (x <= 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static taps taps_of(int64_t side, int64_t out_side, int64_t i)
{
    taps t;
    const double place = ((double)i + 0.5) * (double)side / (double)out_side - 0.5;
    const int64_t below = (int64_t)floor(place);
    for (int64_t k = 0; k < TAPS; k++) {
        const int64_t cell = below - 1 + k;
        t.weight[k] = cubic(fabs(place - (double)cell));
        t.at[k] = VLM_MAX(0, VLM_MIN(cell, side - 1));
    }
    return t;
}

vlmoe_status vlm_grid_resample(int64_t side, int64_t out_side, int64_t width, const float *from,
                               float *out, vlmoe_error *error)
{
    taps *axis = vlm_alloc_array((size_t)out_side, sizeof *axis);
    if (!axis) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory to resample positions");
    for (int64_t i = 0; i < out_side; i++) axis[i] = taps_of(side, out_side, i);
    for (int64_t cell = 0; cell < out_side * out_side; cell++) {
        const taps *y = &axis[cell / out_side], *x = &axis[cell % out_side];
        for (int64_t c = 0; c < width; c++) {
            double sum = 0.0;
            for (int k = 0; k < TAPS * TAPS; k++) {
                const int64_t row = y->at[k / TAPS], column = x->at[k % TAPS];
                sum += y->weight[k / TAPS] * x->weight[k % TAPS] *
                       (double)from[(row * side + column) * width + c];
            }
            out[cell * width + c] = (float)sum;
        }
    }
    vlm_free(axis);
    return VLMOE_OK;
}
