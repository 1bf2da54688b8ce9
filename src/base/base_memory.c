/* Checked sizes, host memory and the clock. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base.h"

enum { SMALL_ALIGN = 64, LARGE_ALIGN = 256, LARGE_BYTES = 4096 };

bool vlm_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

bool vlm_mul_size(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

size_t vlm_round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) & ~(multiple - 1);
}

void *vlm_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX / 2) return NULL;
    /* Large blocks become arenas, which want 256; small ones would waste it. */
    size_t align = bytes >= LARGE_BYTES ? LARGE_ALIGN : SMALL_ALIGN;
    void *ptr = NULL;
    /* posix_memalign and not aligned_alloc: the size stays exact, so sanitizers see a write one
     * past the end. */
    if (posix_memalign(&ptr, align, bytes ? bytes : 1) != 0) return NULL;
    memset(ptr, 0, bytes ? bytes : 1);
    return ptr;
}

void *vlm_alloc_array(size_t n, size_t s)
{
    size_t bytes;
    return vlm_mul_size(n, s, &bytes) ? vlm_alloc(bytes) : NULL;
}

void vlm_free(void *ptr)
{
    free(ptr);
}

double vlm_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
