/* Operations of RandAugment. Orders of additions and roundings are Pillow's, so that a recipe tuned
 * with it keeps its meaning. */
#include "data_randaug.h"

#include <math.h>
#include <string.h>

enum { FILL = 128 };

/* ---- Levels ---- */

/* The table of each channel that maps its values. */
static void map_levels(const vlm_image *image, uint8_t table[3][256])
{
    for (int64_t i = 0; i < image->width * image->height; i++)
        for (int c = 0; c < 3; c++) image->pixels[3 * i + c] = table[c][image->pixels[3 * i + c]];
}

static void count_levels(const vlm_image *image, int64_t count[3][256])
{
    memset(count, 0, 3 * sizeof *count);
    for (int64_t i = 0; i < image->width * image->height; i++)
        for (int c = 0; c < 3; c++) count[c][image->pixels[3 * i + c]]++;
}

static uint8_t clip_level(int64_t value)
{
    return (uint8_t)VLM_MAX(0, VLM_MIN(255, value));
}

/* Each channel's lowest value to 0 and highest to 255. */
static void autocontrast(const vlm_image *image)
{
    int64_t count[3][256];
    uint8_t table[3][256];
    count_levels(image, count);
    for (int c = 0; c < 3; c++) {
        int low = 0, high = 255;
        while (low < 255 && !count[c][low]) low++;
        while (high > 0 && !count[c][high]) high--;
        const double scale = high > low ? 255.0 / (double)(high - low) : 1.0;
        const double offset = high > low ? -low * scale : 0.0;
        for (int i = 0; i < 256; i++)
            table[c][i] = clip_level((int64_t)((double)i * scale + offset));
    }
    map_levels(image, table);
}

/* Each channel so that its values are about equally frequent. */
static void equalize(const vlm_image *image)
{
    int64_t count[3][256];
    uint8_t table[3][256];
    count_levels(image, count);
    for (int c = 0; c < 3; c++) {
        int last = 255;
        while (last > 0 && !count[c][last]) last--;
        const int64_t step = (image->width * image->height - count[c][last]) / 255;
        int64_t n = step / 2;
        for (int i = 0; i < 256; i++) {
            table[c][i] = step ? clip_level(n / step) : (uint8_t)i;
            n += count[c][i];
        }
    }
    map_levels(image, table);
}

/* ---- Neighbours ---- */

/* Three neighbours across. */
static int three(const uint8_t *at)
{
    return at[-3] + at[0] + at[3];
}

/* Away from the picture smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, whose border is the picture's own. */
static void sharpen(const vlm_image *image, const uint8_t *from, float factor)
{
    const int64_t row = image->width * 3;
    for (int64_t y = 1; y < image->height - 1; y++) {
        const uint8_t *here = from + y * row, *above = here - row, *below = here + row;
        uint8_t *out = image->pixels + y * row;
        for (int64_t i = 3; i < row - 3; i++) {
            const unsigned sum =
                (unsigned)(4 * here[i] + three(above + i) + three(here + i) + three(below + i));
            const int smooth = (uint16_t)(2 * sum + 13) / 26; /* no thirteenth lies half way */
            const int value = (int)((float)smooth + factor * (float)(here[i] - smooth));
            out[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
    }
}

/* ---- Places ---- */

/* The pixel at (x, y) comes from (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]); centres of pixels
 * lie at halves. */
typedef struct affine {
    double m[6];
} affine;

static int64_t clip_index(int64_t i, int64_t n)
{
    return VLM_MAX(0, VLM_MIN(i, n - 1));
}

static int64_t floor_of(double x) /* quicker than a call on the oldest instruction set */
{
    const int64_t i = (int64_t)x;
    return i - (x < (double)i);
}

/* from at (x, y), inside, between pixels. */
static void read_between(const uint8_t *from, vlm_size size, double x, double y, uint8_t *out)
{
    const int64_t left = floor_of(x - 0.5), top = floor_of(y - 0.5);
    const double dx = x - 0.5 - (double)left, dy = y - 0.5 - (double)top;
    const int64_t x0 = clip_index(left, size.width) * 3;
    const int64_t x1 = clip_index(left + 1, size.width) * 3;
    const uint8_t *row0 = from + clip_index(top, size.height) * size.width * 3;
    const uint8_t *row1 = from + clip_index(top + 1, size.height) * size.width * 3;
    for (int c = 0; c < 3; c++) {
        const double above = row0[x0 + c] + (row0[x1 + c] - row0[x0 + c]) * dx;
        const double below = row1[x0 + c] + (row1[x1 + c] - row1[x0 + c]) * dx;
        out[c] = (uint8_t)(above + (below - above) * dy);
    }
}

static void transform(const vlm_image *image, const uint8_t *from, const affine *a)
{
    const vlm_size size = {image->width, image->height};
    uint8_t *out = image->pixels;
    for (int64_t y = 0; y < size.height; y++)
        for (int64_t x = 0; x < size.width; x++, out += 3) {
            const double x_out = (double)x + 0.5, y_out = (double)y + 0.5;
            const double x_in = a->m[0] * x_out + a->m[1] * y_out + a->m[2];
            const double y_in = a->m[3] * x_out + a->m[4] * y_out + a->m[5];
            if (x_in >= 0.0 && x_in < (double)size.width && y_in >= 0.0 &&
                y_in < (double)size.height)
                read_between(from, size, x_in, y_in, out);
            else memset(out, FILL, 3);
        }
}

static affine affine_of(vlm_randaug_op op, double strength, const vlm_image *image)
{
    const double shear = 0.3 * strength, shift = 10.0 * strength;
    const double angle = 30.0 * strength * 3.14159265358979323846 / 180.0;
    const double c = cos(angle), s = sin(angle);
    const double x = (double)image->width / 2.0, y = (double)image->height / 2.0;
    switch (op) {
    case VLM_RANDAUG_SHEAR_X:
        return (affine){{1, shear, 0, 0, 1, 0}};
    case VLM_RANDAUG_SHEAR_Y:
        return (affine){{1, 0, 0, shear, 1, 0}};
    case VLM_RANDAUG_TRANSLATE_X:
        return (affine){{1, 0, shift, 0, 1, 0}};
    case VLM_RANDAUG_TRANSLATE_Y:
        return (affine){{1, 0, 0, 0, 1, shift}};
    default:
        return (affine){{c, s, x - x * c - y * s, -s, c, y + x * s - y * c}};
    }
}

/* ---- Together ---- */

vlmoe_status vlm_randaug_one(vlm_randaug_op op, double magnitude, bool is_turned,
                             const vlm_image *image, vlm_workspace *workspace, vlmoe_error *error)
{
    const double strength = magnitude / 10.0;
    const float factor = (float)(0.1 + 1.8 * strength);
    const int64_t n = image->width * image->height;
    if (op == VLM_RANDAUG_AUTOCONTRAST) autocontrast(image);
    if (op == VLM_RANDAUG_EQUALIZE) equalize(image);
    if (op == VLM_RANDAUG_BRIGHTNESS) vlm_colour_brightness(image->pixels, n, factor);
    if (op < VLM_RANDAUG_SHARPNESS) return VLMOE_OK;
    uint8_t *from = vlm_workspace_take(workspace, (size_t)n, 3);
    if (!from)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to change a picture of %lld x %lld pixels",
                        (long long)image->width, (long long)image->height);
    memcpy(from, image->pixels, (size_t)n * 3);
    if (op == VLM_RANDAUG_SHARPNESS) {
        sharpen(image, from, factor);
        return VLMOE_OK;
    }
    const affine a = affine_of(op, is_turned ? -strength : strength, image);
    transform(image, from, &a);
    return VLMOE_OK;
}

vlmoe_status vlm_randaug_apply(const vlm_randaug *params, const vlm_image *image, vlm_rng *rng,
                               vlm_workspace *workspace, vlmoe_error *error)
{
    for (int i = 0; i < params->n; i++) {
        const vlm_randaug_op op = (vlm_randaug_op)vlm_rng_below(rng, VLM_RANDAUG_OPS);
        const bool is_done = vlm_rng_unit(rng) < 0.5, is_turned = vlm_rng_unit(rng) < 0.5;
        if (is_done)
            VLM_TRY(vlm_randaug_one(op, params->magnitude, is_turned, image, workspace, error));
    }
    return VLMOE_OK;
}
