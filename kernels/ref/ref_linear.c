/* Grouped matrix products: y = act(x w^T + b), dx = dy w, dw = dy^T x. */
#include "math_act.h"
#include "ref.h"

static int64_t group_first(const int32_t *offset, int64_t g)
{
    return offset ? offset[g] : 0;
}

static int64_t group_end(const int32_t *offset, int64_t g, int64_t M)
{
    return offset ? offset[g + 1] : M;
}

static double activate(int act, double x)
{
    switch (act) {
    case VLMK_ACT_GELU:
        return math_gelu(x);
    case VLMK_ACT_TANH:
        return tanh(x);
    default:
        return x;
    }
}

static void fwd_row(const vlmk_linear_fwd_args *a, int64_t g, int64_t m)
{
    for (int64_t n = 0; n < a->N; n++) {
        double sum = ref_or(a->bias, g * a->N + n, 0.0);
        for (int64_t k = 0; k < a->K; k++)
            sum += ref_get(a->x, a->dtype, m * a->K + k) *
                   ref_get(a->w, a->dtype, (g * a->N + n) * a->K + k);
        if (a->pre && a->act != VLMK_ACT_NONE) ref_put(a->pre, a->dtype, m * a->N + n, sum);
        ref_put(a->y, a->y_dtype, m * a->N + n, activate(a->act, sum));
    }
}

int vlmk_ref_linear_fwd(vlmk_env *env, const vlmk_linear_fwd_args *a)
{
    for (int64_t g = 0; g < a->G; g++) {
        int64_t first = group_first(a->offset, g), end = group_end(a->offset, g, a->M);
        for (int64_t m = first; m < end; m++) fwd_row(a, g, m);
        ref_count_flops(env, (double)(end - first) * (double)a->N * (double)a->K);
    }
    return VLMOE_OK;
}

static void dx_row(const vlmk_linear_dx_args *a, int64_t g, int64_t m)
{
    for (int64_t k = 0; k < a->K; k++) {
        double sum = 0.0;
        for (int64_t n = 0; n < a->N; n++)
            sum += ref_get(a->dy, a->dtype, m * a->N + n) *
                   ref_get(a->w, a->dtype, (g * a->N + n) * a->K + k);
        ref_update(a->dx, a->dx_dtype, m * a->K + k, sum, a->accumulate);
    }
}

int vlmk_ref_linear_dx(vlmk_env *env, const vlmk_linear_dx_args *a)
{
    for (int64_t g = 0; g < a->G; g++) {
        int64_t first = group_first(a->offset, g), end = group_end(a->offset, g, a->M);
        for (int64_t m = first; m < end; m++) dx_row(a, g, m);
        ref_count_flops(env, (double)(end - first) * (double)a->N * (double)a->K);
    }
    return VLMOE_OK;
}

/* Where a part's rows of group g begin and end. */
static int64_t part_first(const vlmk_dw_part *part, int64_t g)
{
    return part->offset ? part->offset[g * (part->stride ? part->stride : 1)] : 0;
}

static int64_t part_end(const vlmk_dw_part *part, int64_t g)
{
    return part->offset ? part->offset[g * (part->stride ? part->stride : 1) + 1] : part->M;
}

/* Output n of group g: its row of dw and its db, of one part. */
static void dw_row(const vlmk_linear_dw_args *a, const vlmk_dw_part *part, int64_t g, int64_t n,
                   int accumulate)
{
    int64_t first = part_first(part, g), end = part_end(part, g);
    for (int64_t k = 0; a->dw && k < a->K; k++) {
        double sum = 0.0;
        for (int64_t m = first; m < end; m++)
            sum += ref_get(part->dy, a->dtype, m * a->N + n) *
                   ref_get(part->x, a->dtype, m * a->K + k);
        ref_update(a->dw, VLMOE_F64, (g * a->N + n) * a->K + k, sum, accumulate);
    }
    if (!a->db) return;
    double sum = 0.0;
    for (int64_t m = first; m < end; m++) sum += ref_get(part->dy, a->dtype, m * a->N + n);
    ref_update(a->db, VLMOE_F64, g * a->N + n, sum, accumulate);
}

int vlmk_ref_linear_dw(vlmk_env *env, const vlmk_linear_dw_args *a)
{
    for (int64_t i = 0; i < a->n_parts; i++)
        for (int64_t g = 0; g < a->G; g++) {
            const vlmk_dw_part *part = &a->part[i];
            for (int64_t n = 0; n < a->N; n++) dw_row(a, part, g, n, a->accumulate || i > 0);
            int64_t rows = part_end(part, g) - part_first(part, g);
            if (a->dw) ref_count_flops(env, (double)rows * (double)a->N * (double)a->K);
        }
    return VLMOE_OK;
}
