/* Antialiased bicubic resampling in 8-bit fixed point, so that a picture gives the same bytes here
 * as through Pillow (whose filter, window, rounding and order of passes this follows): across
 * first, then down; weights of 22 fractional bits; u8 between the passes. */
#include "data_image.h"

#include <math.h>
#include <string.h>

enum { FRACTION_BITS = 32 - 8 - 2 };

/* Weights of one axis: output i is the sum over j in [0, count[i]) of weight[i * width + j] *
 * input[first[i] + j]. */
typedef struct axis {
    int width;
    int32_t *first, *count; /* [n_out] */
    int32_t *weight;        /* [n_out, width] */
} axis;

/* Keys' cubic convolution with a = -0.5 (IEEE ASSP 29(6), 1981). */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static void axis_free(axis *a)
{
    vlm_free(a->first);
    vlm_free(a->count);
    vlm_free(a->weight);
}

/* Weights of output i: scratch [width] in double, normalised, then rounded. */
static void axis_fill(axis *a, int64_t i, int64_t n_in, double start, double scale, double *scratch)
{
    double stretch = VLM_MAX(scale, 1.0); /* the window widens when shrinking: no aliasing */
    double reach = 2.0 * stretch, centre = start + ((double)i + 0.5) * scale, sum = 0.0;
    int64_t low = (int64_t)(centre - reach + 0.5), high = (int64_t)(centre + reach + 0.5);
    low = VLM_MAX(low, 0);
    high = VLM_MIN(high, n_in);
    for (int64_t j = 0; j < high - low; j++) {
        scratch[j] = cubic(((double)(j + low) - centre + 0.5) * (1.0 / stretch));
        sum += scratch[j];
    }
    for (int64_t j = 0; j < high - low; j++) {
        double w = sum != 0.0 ? scratch[j] / sum : scratch[j];
        w *= 1 << FRACTION_BITS;
        a->weight[i * a->width + j] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    a->first[i] = (int32_t)low;
    a->count[i] = (int32_t)(high - low);
}

/* n_in pixels, of which [start, start + length) become n_out. */
static vlmoe_status axis_make(int64_t n_in, int64_t start, int64_t length, int64_t n_out, axis *out,
                              vlmoe_error *error)
{
    double scale = (double)length / (double)n_out;
    axis a = {.width = (int)ceil(2.0 * VLM_MAX(scale, 1.0)) * 2 + 1};
    double *scratch = vlm_alloc_array((size_t)a.width, sizeof *scratch);
    a.first = vlm_alloc_array((size_t)n_out, sizeof *a.first);
    a.count = vlm_alloc_array((size_t)n_out, sizeof *a.count);
    a.weight = vlm_alloc_array((size_t)n_out * (size_t)a.width, sizeof *a.weight);
    if (!scratch || !a.first || !a.count || !a.weight) {
        vlm_free(scratch);
        axis_free(&a);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to resize %lld pixels to %lld",
                        (long long)length, (long long)n_out);
    }
    for (int64_t i = 0; i < n_out; i++) axis_fill(&a, i, n_in, (double)start, scale, scratch);
    vlm_free(scratch);
    *out = a;
    return VLMOE_OK;
}

static uint8_t to_byte(int32_t sum)
{
    int32_t v = sum >> FRACTION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row of pixels [*, 3] to n_out pixels. */
static void row_across(const axis *a, const uint8_t *in, int64_t n_out, uint8_t *out)
{
    for (int64_t i = 0; i < n_out; i++) {
        const int32_t *w = a->weight + i * a->width;
        const uint8_t *p = in + (int64_t)a->first[i] * 3;
        int32_t r = 1 << (FRACTION_BITS - 1), g = r, b = r;
        for (int32_t j = 0; j < a->count[i]; j++, p += 3) {
            r += w[j] * p[0];
            g += w[j] * p[1];
            b += w[j] * p[2];
        }
        out[i * 3] = to_byte(r);
        out[i * 3 + 1] = to_byte(g);
        out[i * 3 + 2] = to_byte(b);
    }
}

/* Output row i from rows of n bytes. sums [n] is scratch. */
static void row_down(const axis *a, int64_t i, const uint8_t *rows, int64_t n, int32_t *sums,
                     uint8_t *out)
{
    for (int64_t x = 0; x < n; x++) sums[x] = 1 << (FRACTION_BITS - 1);
    for (int32_t j = 0; j < a->count[i]; j++) {
        const uint8_t *in = rows + (a->first[i] + j) * n;
        int32_t w = a->weight[i * a->width + j];
        for (int64_t x = 0; x < n; x++) sums[x] += w * in[x];
    }
    for (int64_t x = 0; x < n; x++) out[x] = to_byte(sums[x]);
}

static vlmoe_status check(const vlm_image *image, vlm_box box, int64_t width, int64_t height,
                          vlmoe_error *error)
{
    bool inside = box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1 &&
                  box.x <= image->width && box.y <= image->height &&
                  box.width <= image->width - box.x && box.height <= image->height - box.y;
    if (!inside)
        return vlm_fail(error, VLMOE_E_ARG,
                        "box at (%lld, %lld) of %lld x %lld is not inside a picture of %lld x %lld",
                        (long long)box.x, (long long)box.y, (long long)box.width,
                        (long long)box.height, (long long)image->width, (long long)image->height);
    if (width < 1 || height < 1 || width > VLM_IMAGE_SIDE_MAX || height > VLM_IMAGE_SIDE_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "resize to %lld x %lld; a side is 1..%d pixels",
                        (long long)width, (long long)height, VLM_IMAGE_SIDE_MAX);
    return VLMOE_OK;
}

/* out has its size and its pixels' memory. Counts the rows of down from the first needed one. */
static vlmoe_status two_passes(const vlm_image *image, const axis *across, axis *down,
                               const vlm_image *out, vlmoe_error *error)
{
    int64_t row_bytes = out->width * 3, first = down->first[0]; /* windows only move downwards */
    int64_t n_rows = down->first[out->height - 1] + down->count[out->height - 1] - first;
    uint8_t *rows = vlm_alloc_array((size_t)n_rows, (size_t)row_bytes);
    int32_t *sums = vlm_alloc_array((size_t)row_bytes, sizeof *sums);
    vlmoe_status st = VLMOE_OK;
    if (!rows || !sums) {
        st = vlm_fail(error, VLMOE_E_NOMEM, "no memory to resize to %lld x %lld",
                      (long long)out->width, (long long)out->height);
        goto done;
    }
    for (int64_t y = 0; y < n_rows; y++)
        row_across(across, image->pixels + (first + y) * image->width * 3, out->width,
                   rows + y * row_bytes);
    for (int64_t y = 0; y < out->height; y++) {
        down->first[y] -= (int32_t)first;
        row_down(down, y, rows, row_bytes, sums, out->pixels + y * row_bytes);
    }
done:
    vlm_free(rows);
    vlm_free(sums);
    return st;
}

vlmoe_status vlm_image_resize(const vlm_image *image, vlm_box box, int64_t width, int64_t height,
                              uint8_t *out, vlmoe_error *error)
{
    VLM_TRY(check(image, box, width, height, error));
    axis across, down;
    VLM_TRY(axis_make(image->width, box.x, box.width, width, &across, error));
    vlmoe_status st = axis_make(image->height, box.y, box.height, height, &down, error);
    if (!st) {
        st = two_passes(image, &across, &down, &(vlm_image){width, height, out}, error);
        axis_free(&down);
    }
    axis_free(&across);
    return st;
}

vlmoe_status vlm_image_fit(const vlm_image *image, int64_t size, uint8_t *out, vlmoe_error *error)
{
    return vlm_image_resize(image, (vlm_box){0, 0, image->width, image->height}, size, size, out,
                            error);
}

void vlm_image_mirror(uint8_t *pixels, int64_t width, int64_t height)
{
    for (int64_t y = 0; y < height; y++) {
        uint8_t *left = pixels + y * width * 3, *right = left + (width - 1) * 3;
        for (; left < right; left += 3, right -= 3) {
            uint8_t kept[3];
            memcpy(kept, left, 3);
            memcpy(left, right, 3);
            memcpy(right, kept, 3);
        }
    }
}
