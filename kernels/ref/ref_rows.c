/* Whole rows moved, added and scaled: gather, scatter, residual branches, combine and dispatch of
 * expert rows. */
#include "ref.h"

int vlmk_ref_gather_rows(vlmk_env *env, const vlmk_gather_rows_args *a)
{
    (void)env;
    for (int64_t i = 0; i < a->n_out; i++)
        for (int64_t c = 0; c < a->cols; c++) {
            int64_t from = a->index[i];
            double value = from < 0 ? 0.0 : ref_get(a->in, a->in_dtype, from * a->cols + c);
            ref_update(a->out, a->out_dtype, i * a->cols + c, value, a->accumulate);
        }
    return VLMOE_OK;
}

int vlmk_ref_scatter_rows(vlmk_env *env, const vlmk_scatter_rows_args *a)
{
    (void)env;
    for (int64_t j = 0; j < a->n_out; j++)
        for (int64_t c = 0; c < a->cols; c++) {
            double sum = 0.0;
            for (int64_t i = 0; i < a->n_in; i++)
                if (a->index[i] == j) sum += ref_get(a->in, a->in_dtype, i * a->cols + c);
            ref_update(a->out, a->out_dtype, j * a->cols + c, sum, a->accumulate);
        }
    return VLMOE_OK;
}

int vlmk_ref_residual_fwd(vlmk_env *env, const vlmk_residual_fwd_args *a)
{
    (void)env;
    const double *base = a->base;
    double *out = a->out;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t c = 0; c < a->cols; c++) {
            int64_t i = r * a->cols + c;
            out[i] = base[i] + ref_or(a->row_scale, r, 1.0) * ref_or(a->col_scale, c, 1.0) *
                                   ref_get(a->y, a->y_dtype, i);
        }
    return VLMOE_OK;
}

int vlmk_ref_residual_bwd(vlmk_env *env, const vlmk_residual_bwd_args *a)
{
    (void)env;
    const double *dout = a->dout;
    for (int64_t c = 0; c < a->cols; c++) {
        double sum = 0.0;
        for (int64_t r = 0; r < a->rows; r++) {
            int64_t i = r * a->cols + c;
            double row = ref_or(a->row_scale, r, 1.0);
            if (a->dcol_scale) sum += row * ref_get(a->y, a->y_dtype, i) * dout[i];
            ref_put(a->dy, a->y_dtype, i, row * ref_or(a->col_scale, c, 1.0) * dout[i]);
        }
        if (a->dcol_scale) ref_update(a->dcol_scale, VLMOE_F64, c, sum, a->accumulate_col_scale);
    }
    return VLMOE_OK;
}

int vlmk_ref_combine_fwd(vlmk_env *env, const vlmk_combine_fwd_args *a)
{
    (void)env;
    const double *weight = a->weight;
    for (int64_t t = 0; t < a->T; t++)
        for (int64_t c = 0; c < a->cols; c++) {
            double sum = 0.0;
            for (int64_t k = 0; k < a->K; k++) {
                int64_t row = a->slot[t * a->K + k];
                if (row >= 0)
                    sum += weight[t * a->K + k] * ref_get(a->rows, a->dtype, row * a->cols + c);
            }
            ref_put(a->y, a->dtype, t * a->cols + c, sum);
        }
    return VLMOE_OK;
}

int vlmk_ref_combine_bwd(vlmk_env *env, const vlmk_combine_bwd_args *a)
{
    (void)env;
    const double *weight = a->weight;
    double *dweight = a->dweight;
    for (int64_t t = 0; t < a->T; t++)
        for (int64_t k = 0; k < a->K; k++) {
            int64_t row = a->slot[t * a->K + k];
            double sum = 0.0;
            for (int64_t c = 0; row >= 0 && c < a->cols; c++) {
                double dy = ref_get(a->dy, a->dtype, t * a->cols + c);
                sum += dy * ref_get(a->rows, a->dtype, row * a->cols + c);
                ref_put(a->drows, a->dtype, row * a->cols + c, weight[t * a->K + k] * dy);
            }
            dweight[t * a->K + k] = sum;
        }
    return VLMOE_OK;
}

int vlmk_ref_dispatch_bwd(vlmk_env *env, const vlmk_dispatch_bwd_args *a)
{
    (void)env;
    for (int64_t t = 0; t < a->T; t++)
        for (int64_t c = 0; c < a->cols; c++) {
            double sum = 0.0;
            for (int64_t k = 0; k < a->K; k++) {
                int64_t row = a->slot[t * a->K + k];
                if (row >= 0) sum += ref_get(a->drows, a->dtype, row * a->cols + c);
            }
            ref_update(a->dx, a->dtype, t * a->cols + c, sum, a->accumulate);
        }
    return VLMOE_OK;
}
