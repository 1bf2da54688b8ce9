/* One number in, one number out: conversion, axpy, slopes of activations, dropout, pixels to
 * patches. */
#include "math_act.h"
#include "math_philox.h"
#include "ref.h"

int vlmk_ref_convert(vlmk_env *env, const vlmk_convert_args *a)
{
    (void)env;
    for (int64_t i = 0; i < a->n; i++)
        ref_put(a->dst, a->dst_dtype, i, ref_get(a->src, a->src_dtype, i));
    return VLMOE_OK;
}

int vlmk_ref_axpy(vlmk_env *env, const vlmk_axpy_args *a)
{
    (void)env;
    const double *src = a->src;
    for (int64_t i = 0; i < a->n; i++)
        ref_update(a->dst, VLMOE_F64, i, a->factor * src[i], a->accumulate);
    return VLMOE_OK;
}

static double slope(int act, double x)
{
    switch (act) {
    case VLMK_ACT_GELU:
        return math_gelu_slope(x);
    case VLMK_ACT_TANH:
        return math_tanh_slope(x);
    default:
        return 1.0;
    }
}

int vlmk_ref_act_fwd(vlmk_env *env, const vlmk_act_fwd_args *a)
{
    (void)env;
    for (int64_t i = 0; i < a->n; i++) {
        double x = ref_get(a->pre, a->dtype, i);
        double y = a->act == VLMK_ACT_GELU ? math_gelu(x) : a->act == VLMK_ACT_TANH ? tanh(x) : x;
        ref_put(a->y, a->dtype, i, y);
    }
    return VLMOE_OK;
}

int vlmk_ref_act_bwd(vlmk_env *env, const vlmk_act_bwd_args *a)
{
    (void)env;
    for (int64_t i = 0; i < a->n; i++) {
        double value = ref_get(a->dy, a->dtype, i) * slope(a->act, ref_get(a->pre, a->dtype, i));
        ref_put(a->dpre, a->dtype, i, value);
    }
    return VLMOE_OK;
}

int vlmk_ref_dropout(vlmk_env *env, const vlmk_dropout_args *a)
{
    (void)env;
    for (int64_t i = 0; i < a->n; i++) {
        int kept = math_philox_unit(a->key, (uint64_t)i) >= a->p;
        ref_put(a->y, a->dtype, i, kept ? ref_get(a->x, a->dtype, i) / (1.0 - a->p) : 0.0);
    }
    return VLMOE_OK;
}

/* One patch: its pixels start at `corner`, a row of pixels is 3 * width bytes. */
static void patch_vector(const vlmk_patchify_args *a, const uint8_t *corner, int64_t first)
{
    for (int64_t c = 0; c < 3; c++)
        for (int64_t y = 0; y < a->patch; y++)
            for (int64_t x = 0; x < a->patch; x++) {
                double pixel = corner[(y * a->width + x) * 3 + c] / 255.0;
                int64_t place = first + (c * a->patch + y) * a->patch + x;
                ref_put(a->out, a->out_dtype, place, (pixel - a->mean[c]) / a->deviation[c]);
            }
}

int vlmk_ref_patchify(vlmk_env *env, const vlmk_patchify_args *a)
{
    (void)env;
    if (a->patch < 1) return VLMOE_OK;
    int64_t down = a->height / a->patch, across = a->width / a->patch;
    int64_t length = 3 * a->patch * a->patch;
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t py = 0; py < down; py++)
            for (int64_t px = 0; px < across; px++) {
                int64_t corner = ((b * a->height + py * a->patch) * a->width + px * a->patch) * 3;
                patch_vector(a, a->pixels + corner, ((b * down + py) * across + px) * length);
            }
    return VLMOE_OK;
}
