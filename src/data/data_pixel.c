/* Which compiled set of pixel loops this machine runs. */
#include "data_pixel.h"

#include <string.h>

extern const vlm_pixel_set vlm_pixel_base;

#ifdef VLM_PIXEL_X86
extern const vlm_pixel_set vlm_pixel_avx2, vlm_pixel_avx512;

const vlm_pixel_set *vlm_pixel_best(void)
{
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return &vlm_pixel_avx512;
    return __builtin_cpu_supports("avx2") ? &vlm_pixel_avx2 : &vlm_pixel_base;
}

const vlm_pixel_set *vlm_pixel_named(const char *name)
{
    const vlm_pixel_set *best = vlm_pixel_best();
    if (!strcmp(name, "avx512")) return best == &vlm_pixel_avx512 ? best : NULL;
    if (!strcmp(name, "avx2")) return best == &vlm_pixel_base ? NULL : &vlm_pixel_avx2;
    return strcmp(name, "base") ? NULL : &vlm_pixel_base;
}
#else
const vlm_pixel_set *vlm_pixel_best(void)
{
    return &vlm_pixel_base;
}

const vlm_pixel_set *vlm_pixel_named(const char *name)
{
    return strcmp(name, "base") ? NULL : &vlm_pixel_base;
}
#endif
