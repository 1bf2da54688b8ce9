/* The inner loops over pixels, once per instruction set: data_pixel_set.c is compiled for each, and
 * the best that this machine has is chosen here. All sets give the same bytes: integers are exact
 * and f32 is neither fused nor reordered. Not here: what the loops are for (data_resize.c,
 * data_colour.c). */
#ifndef VLM_DATA_PIXEL_H
#define VLM_DATA_PIXEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    VLM_PIXEL_ROWS = 16,    /* rows that across() takes at once */
    VLM_PIXEL_PAD = 64,     /* rows between the passes are this long or a multiple, bytes */
    VLM_PIXEL_FRACTION = 22 /* fractional bits of a resize weight */
};

/* Weights of one axis of a resize: output i is the sum over j in [0, count[i]) of weight[i * width +
 * j] * input[first[i] + j], in VLM_PIXEL_FRACTION fixed point. Windows only move forward. */
typedef struct vlm_axis {
    int64_t n;              /* outputs */
    int64_t width;          /* most inputs of an output */
    int32_t *first, *count; /* [n] */
    int32_t *weight;        /* [n, width] */
} vlm_axis;

typedef struct vlm_pixel_set {
    const char *name;
    /* VLM_PIXEL_ROWS rows of pixels [*, 3] to rows of n pixels, out_stride bytes apart, a multiple of
     * VLM_PIXEL_PAD. columns: scratch, VLM_PIXEL_ROWS bytes for each byte of the inputs read,
     * rounded up to VLM_PIXEL_ROWS of them. */
    void (*across)(const vlm_axis *axis, const uint8_t *const *rows, uint8_t *columns, uint8_t *out,
                   int64_t out_stride);
    /* Output i from rows of n bytes, stride bytes apart; rows[0] is input `first` of the axis. */
    void (*down)(const vlm_axis *axis, int64_t i, const uint8_t *rows, int64_t stride, int64_t n,
                 uint8_t *out);
    /* Each of n bytes from towards it by factor, clipped. */
    void (*blend)(uint8_t *bytes, int64_t n, int from, float factor);
    /* Sum of the luma (ITU-R 601, rounded) of n pixels. */
    int64_t (*luma_sum)(const uint8_t *pixels, int64_t n);
    /* Each channel of n pixels from the pixel's luma towards it by factor, clipped. */
    void (*saturate)(uint8_t *pixels, int64_t n, float factor);
    void (*mirror)(uint8_t *row, int64_t n); /* n pixels, in place */
} vlm_pixel_set;

/* "base", "avx2", "avx512"; NULL when this machine or this build lacks it. */
const vlm_pixel_set *vlm_pixel_named(const char *name);
const vlm_pixel_set *vlm_pixel_best(void); /* never NULL */

#endif
