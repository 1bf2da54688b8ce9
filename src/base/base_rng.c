/* Draws by counter. Integers are exact on every machine; vlm_rng_normal goes through the C
 * library's log and cos. */
#include <math.h>
#include "base_rng.h"
#include "math_philox.h"

__extension__ typedef unsigned __int128 wide; /* a 64 by 64 bit product */

static uint32_t low(uint64_t x)
{
    return (uint32_t)x;
}

static uint32_t high(uint64_t x)
{
    return (uint32_t)(x >> 32);
}

/* Fold one 64-bit index into the 128 bits that name a place: two words are the key, two ride in the
 * counter. */
static void fold(uint32_t name[4], uint64_t index)
{
    const uint32_t key[2] = {name[0], name[1]};
    const uint32_t counter[4] = {low(index), high(index), name[2], name[3]};
    math_philox(key, counter, name);
}

static void name_place(uint64_t seed, vlm_stream stream, const uint64_t index[3], uint32_t name[4])
{
    name[0] = low(seed);
    name[1] = high(seed);
    name[2] = (uint32_t)stream;
    name[3] = 0;
    for (int i = 0; i < 3; i++) fold(name, index[i]);
}

vlm_rng vlm_rng_at(uint64_t seed, vlm_stream stream, uint64_t a, uint64_t b, uint64_t c)
{
    uint32_t name[4];
    name_place(seed, stream, (const uint64_t[]){a, b, c}, name);
    /* counter[3] is never 0 here, and always 0 where a kernel uses vlm_rng_key: the two never meet.
     */
    return (vlm_rng){.key = {name[0], name[1]}, .counter = {0, name[2], name[3], (uint32_t)stream}};
}

uint64_t vlm_rng_key(uint64_t seed, vlm_stream stream, uint64_t a, uint64_t b, uint64_t c)
{
    uint32_t name[4];
    name_place(seed, stream, (const uint64_t[]){a, b, c}, name);
    return (uint64_t)name[1] << 32 | name[0];
}

uint32_t vlm_rng_u32(vlm_rng *rng)
{
    if (rng->n_left == 0) {
        math_philox(rng->key, rng->counter, rng->left);
        rng->n_left = 4;
        if (++rng->counter[0] == 0)
            rng->counter[3] += 1u << 16; /* after 2^34 draws; streams are below 2^16 */
    }
    return rng->left[4 - rng->n_left--];
}

static uint64_t draw_u64(vlm_rng *rng)
{
    uint64_t upper = vlm_rng_u32(rng);
    return upper << 32 | vlm_rng_u32(rng);
}

/* Lemire 2019, "Fast random integer generation in an interval": the high word of x*n, redrawing the
 * few x that would bias. */
uint64_t vlm_rng_below(vlm_rng *rng, uint64_t n)
{
    VLM_ASSERT(n >= 1);
    wide product = (wide)draw_u64(rng) * n;
    if ((uint64_t)product < n) {
        uint64_t threshold = -n % n; /* 2^64 mod n */
        while ((uint64_t)product < threshold) product = (wide)draw_u64(rng) * n;
    }
    return (uint64_t)(product >> 64);
}

double vlm_rng_unit(vlm_rng *rng)
{
    return (double)(draw_u64(rng) >> 11) * 0x1p-53;
}

double vlm_rng_normal(vlm_rng *rng)
{
    double radius = sqrt(-2.0 * log(1.0 - vlm_rng_unit(rng))); /* 1 - u is in (0, 1] */
    return radius * cos(6.283185307179586 * vlm_rng_unit(rng));
}

enum { FEISTEL_ROUNDS = 8 };

/* One pass of a balanced Feistel network over 2 * half bits: a bijection whatever the round
 * function is. */
static uint64_t feistel(uint64_t key, int half, uint64_t x)
{
    const uint32_t philox_key[2] = {low(key), high(key)};
    const uint32_t mask = half == 32 ? UINT32_MAX : ((uint32_t)1 << half) - 1;
    uint32_t left = (uint32_t)(x >> half) & mask, right = (uint32_t)x & mask;
    for (uint32_t round = 0; round < FEISTEL_ROUNDS; round++) {
        const uint32_t counter[4] = {right, round, (uint32_t)half, UINT32_MAX};
        uint32_t word[4];
        math_philox(philox_key, counter, word);
        uint32_t next = left ^ (word[0] & mask);
        left = right;
        right = next;
    }
    return (uint64_t)left << half | right;
}

/* Black and Rogaway 2002, cycle walking: step until the value is back in [0, n). The domain is
 * below 4n, so few steps. */
uint64_t vlm_rng_permute(uint64_t key, uint64_t n, uint64_t i)
{
    VLM_ASSERT(i < n);
    int half = 1;
    while (half < 32 && (n - 1) >> (2 * half) != 0) half++;
    do i = feistel(key, half, i);
    while (i >= n);
    return i;
}

double vlm_rng_key_normal(uint64_t key, uint64_t index)
{
    return math_philox_normal(key, index);
}
