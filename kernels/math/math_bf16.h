/* bfloat16 to and from f32 and f64. A bf16 is the upper half of an f32: 8 bits of exponent, 7 of
 * fraction; u = 2^-8. */
#ifndef MATH_BF16_H
#define MATH_BF16_H

#include <stdint.h>
#include <string.h>
#include "math_fn.h"

MATH_FN uint32_t math_f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

MATH_FN float math_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

MATH_FN float math_bf16_to_f32(uint16_t bits)
{
    return math_f32_from_bits((uint32_t)bits << 16);
}

/* To nearest, ties to even; beyond the largest finite value becomes infinity. A NaN keeps its sign
 * and upper payload and becomes quiet, so that rounding can never turn it into an infinity. */
MATH_FN uint16_t math_bf16_from_f32(float value)
{
    uint32_t bits = math_f32_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x0040u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* Up with the probability of the part cut off, else towards zero: the mean over uniform `bits` is the value (as 2^16 equal shares of a
 * bf16's spacing count it). What is not finite is rounded as above. */
MATH_FN uint16_t math_bf16_stochastic(float value, uint16_t random_bits)
{
    uint32_t bits = math_f32_bits(value);
    if ((bits & 0x7f800000u) == 0x7f800000u) return math_bf16_from_f32(value);
    return (uint16_t)((bits + random_bits) >> 16);
}

/* One rounding from f64: the step through f32 rounds to odd (an inexact result gets its last bit
 * set), so it cannot create a false tie (Boldo and Melquiond 2008). */
MATH_FN uint16_t math_bf16_from_f64(double value)
{
    float near = (float)value;
    uint32_t bits = math_f32_bits(near);
    if (value != value || (double)near == value || (bits & 0x7fffffffu) >= 0x7f800000u)
        return math_bf16_from_f32(near);
    double near_size = near < 0.0f ? -(double)near : (double)near;
    double size = value < 0.0 ? -value : value;
    if (near_size > size)
        bits -= 1u; /* truncate towards zero first; bits of a float order as its size */
    return math_bf16_from_f32(math_f32_from_bits(bits | 1u));
}

#endif
