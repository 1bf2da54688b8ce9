/* Activations and their derivatives, exact up to libm: GELU(x) = x Phi(x) (Hendrycks and Gimpel
 * 2016), tanh. */
#ifndef MATH_ACT_H
#define MATH_ACT_H

#include <math.h>
#include "math_fn.h"

#define MATH_SQRT_HALF    0.70710678118654752440
#define MATH_INV_SQRT_2PI 0.39894228040143267794

/* Phi, the normal distribution function; erfc keeps the relative accuracy of the left tail. */
MATH_FN double math_normal_cdf(double x)
{
    return 0.5 * erfc(-x * MATH_SQRT_HALF);
}

MATH_FN double math_normal_pdf(double x)
{
    return MATH_INV_SQRT_2PI * exp(-0.5 * x * x);
}

MATH_FN double math_gelu(double x)
{
    return x * math_normal_cdf(x);
}

/* (x Phi)' = Phi + x phi */
MATH_FN double math_gelu_slope(double x)
{
    return math_normal_cdf(x) + x * math_normal_pdf(x);
}

MATH_FN double math_tanh_slope(double x)
{
    double y = tanh(x);
    return 1.0 - y * y;
}

MATH_FN float math_gelu_f(float x)
{
    return x * (0.5f * erfcf(-x * (float)MATH_SQRT_HALF));
}

MATH_FN float math_gelu_slope_f(float x)
{
    float cdf = 0.5f * erfcf(-x * (float)MATH_SQRT_HALF);
    return cdf + x * ((float)MATH_INV_SQRT_2PI * expf(-0.5f * x * x));
}

MATH_FN float math_tanh_slope_f(float x)
{
    float y = tanhf(x);
    return 1.0f - y * y;
}

#endif
