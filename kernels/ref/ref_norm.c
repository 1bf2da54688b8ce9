/* Layer norm (Ba et al. 2016) and division of rows by their length. */
#include "ref.h"

int vlmk_ref_layer_norm_fwd(vlmk_env *env, const vlmk_layer_norm_fwd_args *a)
{
    (void)env;
    const double *gain = a->gain, *bias = a->bias;
    double *mean = a->mean, *rstd = a->rstd;
    for (int64_t r = 0; r < a->rows; r++) {
        int64_t first = r * a->cols;
        mean[r] = rstd[r] = 0.0;
        if (a->cols == 0) continue;
        double sum = 0.0, square = 0.0;
        for (int64_t c = 0; c < a->cols; c++) sum += ref_get(a->x, a->x_dtype, first + c);
        mean[r] = sum / (double)a->cols;
        for (int64_t c = 0; c < a->cols; c++) {
            double distance = ref_get(a->x, a->x_dtype, first + c) - mean[r];
            square += distance * distance;
        }
        rstd[r] = 1.0 / sqrt(square / (double)a->cols + a->eps);
        for (int64_t c = 0; c < a->cols; c++) {
            double unit = (ref_get(a->x, a->x_dtype, first + c) - mean[r]) * rstd[r];
            ref_put(a->y, a->y_dtype, first + c, unit * gain[c] + bias[c]);
        }
    }
    return VLMOE_OK;
}

/* With u = (x - mean) rstd and g = dy gain: dx = rstd (g - mean_c(g) - u mean_c(g u)). */
static void layer_norm_dx(const vlmk_layer_norm_bwd_args *a, int64_t r)
{
    const double *gain = a->gain;
    double mean = ((const double *)a->mean)[r], rstd = ((const double *)a->rstd)[r];
    double sum_g = 0.0, sum_gu = 0.0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t c = 0; c < a->cols; c++) {
            int64_t i = r * a->cols + c;
            double g = ref_get(a->dy, a->dy_dtype, i) * gain[c];
            double u = (ref_get(a->x, a->x_dtype, i) - mean) * rstd;
            if (pass == 0) {
                sum_g += g;
                sum_gu += g * u;
            } else {
                double value = rstd * (g - (sum_g + u * sum_gu) / (double)a->cols);
                ref_update(a->dx, a->x_dtype, i, value, a->accumulate_dx);
            }
        }
}

int vlmk_ref_layer_norm_bwd(vlmk_env *env, const vlmk_layer_norm_bwd_args *a)
{
    (void)env;
    const double *mean = a->mean, *rstd = a->rstd;
    for (int64_t r = 0; a->dx && r < a->rows; r++) layer_norm_dx(a, r);
    for (int64_t c = 0; a->dgain && c < a->cols; c++) {
        double sum_gain = 0.0, sum_bias = 0.0;
        for (int64_t r = 0; r < a->rows; r++) {
            int64_t i = r * a->cols + c;
            double dy = ref_get(a->dy, a->dy_dtype, i);
            sum_gain += dy * (ref_get(a->x, a->x_dtype, i) - mean[r]) * rstd[r];
            sum_bias += dy;
        }
        ref_update(a->dgain, VLMOE_F64, c, sum_gain, a->accumulate_params);
        ref_update(a->dbias, VLMOE_F64, c, sum_bias, a->accumulate_params);
    }
    return VLMOE_OK;
}

int vlmk_ref_l2_norm_fwd(vlmk_env *env, const vlmk_l2_norm_fwd_args *a)
{
    (void)env;
    double *norm = a->norm;
    for (int64_t r = 0; r < a->rows; r++) {
        const double *x = (const double *)a->x + r * a->cols;
        double *y = (double *)a->y + r * a->cols;
        double square = 0.0;
        for (int64_t c = 0; c < a->cols; c++) square += x[c] * x[c];
        norm[r] = fmax(sqrt(square), a->eps);
        for (int64_t c = 0; c < a->cols; c++) y[c] = x[c] / norm[r];
    }
    return VLMOE_OK;
}

int vlmk_ref_l2_norm_bwd(vlmk_env *env, const vlmk_l2_norm_bwd_args *a)
{
    (void)env;
    const double *norm = a->norm;
    for (int64_t r = 0; r < a->rows; r++) {
        const double *y = (const double *)a->y + r * a->cols;
        const double *dy = (const double *)a->dy + r * a->cols;
        double *dx = (double *)a->dx + r * a->cols;
        double along = 0.0; /* the part of dy that only changes the length; none where the divisor
                               is the constant eps */
        for (int64_t c = 0; norm[r] > a->eps && c < a->cols; c++) along += y[c] * dy[c];
        for (int64_t c = 0; c < a->cols; c++) dx[c] = (dy[c] - y[c] * along) / norm[r];
    }
    return VLMOE_OK;
}
