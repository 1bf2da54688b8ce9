/* Philox4x32-10: ten rounds that turn (key, counter) into four random words, no state (Salmon,
 * Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Constants and
 * known answers as published with it. */
#ifndef MATH_PHILOX_H
#define MATH_PHILOX_H

#include <math.h>
#include <stdint.h>
#include "math_fn.h"

MATH_FN void math_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0;
        uint64_t b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; /* Weyl steps: golden ratio and sqrt(3) - 1 */
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The words of element `index` under a 64-bit key: any element can be drawn by itself. */
MATH_FN void math_philox_at(uint64_t key, uint64_t index, uint32_t out[4])
{
    const uint32_t key_words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), 0, 0};
    math_philox(key_words, counter, out);
}

/* 32 bits for each of many elements, one Philox call for four: in runs of 32 elements, call c of 8 serves elements c, 8 + c, 16 + c and
 * 24 + c, so that vectors of calls give vectors of neighbours. */
MATH_FN uint32_t math_philox_word(uint64_t key, uint64_t i)
{
    uint32_t word[4];
    math_philox_at(key, i / 32 * 8 + i % 8, word);
    return word[i / 8 % 4];
}

/* 64 random bits to [0, 1) in steps of 2^-53; exact on every machine. */
MATH_FN double math_unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

MATH_FN double math_philox_unit(uint64_t key, uint64_t index)
{
    uint32_t word[4];
    math_philox_at(key, index, word);
    return math_unit((uint64_t)word[1] << 32 | word[0]);
}

/* Two words to a standard normal (Box and Muller 1958). The radius uses (0, 1], so its logarithm is
 * finite: |z| <= 6.66. */
MATH_FN double math_normal(uint32_t radius_word, uint32_t angle_word)
{
    double radius = sqrt(-2.0 * log(((double)radius_word + 1.0) * 0x1p-32));
    return radius * cos(6.283185307179586476925 * ((double)angle_word * 0x1p-32));
}

/* In double everywhere, rounded by the caller, so that devices agree as far as their log and cos
 * do. */
MATH_FN double math_philox_normal(uint64_t key, uint64_t index)
{
    uint32_t word[4];
    math_philox_at(key, index, word);
    return math_normal(word[0], word[1]);
}

#endif
