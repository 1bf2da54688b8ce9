/* Antialiased bicubic resampling in 8-bit fixed point, so that a picture gives the same bytes here
 * as through Pillow (whose filter, window, rounding and order of passes this follows): across
 * first, then down; weights of 22 fractional bits; u8 between the passes. */
#include "data_image.h"
#include "data_pixel.h"

#include <math.h>
#include <string.h>

/* Keys' cubic convolution with a = -0.5 (IEEE ASSP 29(6), 1981). */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

/* [low, high): what output i of n_out reads of n_in pixels, of which [start, start + length) become
 * n_out. The window widens when shrinking: no aliasing. */
typedef struct window {
    double centre, stretch;
    int64_t low, high;
} window;

static window window_of(int64_t i, int64_t n_in, int64_t start, double scale)
{
    double stretch = VLM_MAX(scale, 1.0), reach = 2.0 * stretch;
    double centre = (double)start + ((double)i + 0.5) * scale;
    int64_t low = (int64_t)(centre - reach + 0.5), high = (int64_t)(centre + reach + 0.5);
    return (window){centre, stretch, VLM_MAX(low, 0), VLM_MIN(high, n_in)};
}

/* Weights of output i: scratch [width] in double, normalised, then rounded. */
static void axis_fill(vlm_axis *a, int64_t i, const window *w, double *scratch)
{
    const int64_t n = w->high - w->low;
    double sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        scratch[j] = cubic(((double)(j + w->low) - w->centre + 0.5) * (1.0 / w->stretch));
        sum += scratch[j];
    }
    for (int64_t j = 0; j < n; j++) {
        double weight = sum != 0.0 ? scratch[j] / sum : scratch[j];
        weight *= 1 << VLM_PIXEL_FRACTION;
        a->weight[i * a->width + j] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    a->first[i] = (int32_t)w->low;
    a->count[i] = (int32_t)n;
}

/* One side of a resize: of n_in pixels [start, start + length) become n_all, of which n_out from
 * `from` on are wanted. */
typedef struct side {
    int64_t n_in, start, length, n_all, from, n_out;
} side;

static vlmoe_status axis_make(const side *s, vlm_workspace *workspace, vlm_axis *axis,
                              vlmoe_error *error)
{
    const double scale = (double)s->length / (double)s->n_all;
    *axis = (vlm_axis){.n = s->n_out};
    axis->width = (int64_t)ceil(2.0 * VLM_MAX(scale, 1.0)) * 2 + 1;
    const size_t n = (size_t)axis->n, width = (size_t)axis->width;
    double *scratch = vlm_workspace_take(workspace, width, sizeof *scratch);
    axis->first = vlm_workspace_take(workspace, n, sizeof *axis->first);
    axis->count = vlm_workspace_take(workspace, n, sizeof *axis->count);
    axis->weight = vlm_workspace_take(workspace, n * width, sizeof *axis->weight);
    if (!scratch || !axis->first || !axis->count || !axis->weight)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to resize %lld pixels to %lld",
                        (long long)s->length, (long long)axis->n);
    for (int64_t i = 0; i < axis->n; i++) {
        window w = window_of(s->from + i, s->n_in, s->start, scale);
        axis_fill(axis, i, &w, scratch);
    }
    return VLMOE_OK;
}

static vlmoe_status check(const vlm_image *image, vlm_box box, const vlm_image *out,
                          vlmoe_error *error)
{
    const int64_t width = out->width, height = out->height;
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

/* The rows that `down` reads, resized across, stride bytes apart; rows holds them rounded up to
 * VLM_PIXEL_ROWS. */
static void all_across(const vlm_image *image, const vlm_axis *axis, const vlm_axis *down_axis,
                       uint8_t *columns, uint8_t *rows, int64_t stride)
{
    const vlm_pixel_set *loops = vlm_pixel_best();
    const int64_t last_out = down_axis->n - 1, first = down_axis->first[0];
    const int64_t end = down_axis->first[last_out] + down_axis->count[last_out];
    for (int64_t y = first; y < end; y += VLM_PIXEL_ROWS) {
        const uint8_t *from[VLM_PIXEL_ROWS];
        for (int64_t r = 0; r < VLM_PIXEL_ROWS; r++)
            from[r] = image->pixels + VLM_MIN(y + r, end - 1) * image->width * 3;
        loops->across(axis, from, columns, rows + (y - first) * stride, stride);
    }
}

/* out has its size and its pixels' memory. */
static vlmoe_status two_passes(const vlm_image *image, const vlm_axis *across, const vlm_axis *down,
                               vlm_workspace *workspace, const vlm_image *out, vlmoe_error *error)
{
    const int64_t row_bytes = out->width * 3, last = down->n - 1, end = across->n - 1;
    const size_t stride = vlm_round_up((size_t)row_bytes, VLM_PIXEL_PAD);
    const size_t n_rows = (size_t)(down->first[last] + down->count[last] - down->first[0]);
    const size_t n_columns =
        (size_t)(across->first[end] + across->count[end] - across->first[0]) * 3;
    uint8_t *rows = vlm_workspace_take(workspace, vlm_round_up(n_rows, VLM_PIXEL_ROWS), stride);
    uint8_t *columns =
        vlm_workspace_take(workspace, vlm_round_up(n_columns, VLM_PIXEL_ROWS), VLM_PIXEL_ROWS);
    if (!rows || !columns)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to resize to %lld x %lld",
                        (long long)out->width, (long long)out->height);
    all_across(image, across, down, columns, rows, (int64_t)stride);
    for (int64_t y = 0; y < out->height; y++)
        vlm_pixel_best()->down(down, y, rows, (int64_t)stride, row_bytes,
                               out->pixels + y * row_bytes);
    return VLMOE_OK;
}

static vlmoe_status resize_sides(const vlm_image *image, const side *x, const side *y,
                                 const vlm_image *out, vlm_workspace *workspace, vlmoe_error *error)
{
    vlm_axis across, down;
    VLM_TRY(axis_make(x, workspace, &across, error));
    VLM_TRY(axis_make(y, workspace, &down, error));
    return two_passes(image, &across, &down, workspace, out, error);
}

static vlmoe_status resize(const vlm_image *image, const side *x, const side *y,
                           const vlm_image *out, vlm_workspace *workspace, vlmoe_error *error)
{
    if (workspace) return resize_sides(image, x, y, out, workspace, error);
    VLM_TRY(vlm_workspace_create(&workspace, error));
    vlmoe_status st = resize_sides(image, x, y, out, workspace, error);
    vlm_workspace_destroy(workspace);
    return st;
}

vlmoe_status vlm_image_resize(const vlm_image *image, vlm_box box, const vlm_image *out,
                              vlm_workspace *workspace, vlmoe_error *error)
{
    VLM_TRY(check(image, box, out, error));
    const side x = {image->width, box.x, box.width, out->width, 0, out->width};
    const side y = {image->height, box.y, box.height, out->height, 0, out->height};
    return resize(image, &x, &y, out, workspace, error);
}

vlm_box vlm_image_resize_reads(vlm_size picture, vlm_box box, vlm_size out)
{
    const double across = (double)box.width / (double)out.width;
    const double down = (double)box.height / (double)out.height;
    const int64_t left = window_of(0, picture.width, box.x, across).low;
    const int64_t top = window_of(0, picture.height, box.y, down).low;
    return (vlm_box){left, top, window_of(out.width - 1, picture.width, box.x, across).high - left,
                     window_of(out.height - 1, picture.height, box.y, down).high - top};
}

/* The central n_out of what n_in pixels become when `shorter`, the picture's shorter side, becomes
 * `target`. Half a pixel goes to the even corner, as Python's round has it in torchvision's
 * CenterCrop. */
static side central_side(int64_t n_in, int64_t shorter, int64_t target, int64_t n_out)
{
    side s = {n_in, 0, n_in, n_in * target / shorter, 0, n_out};
    s.from = (int64_t)rint((double)(s.n_all - n_out) / 2.0);
    return s;
}

vlmoe_status vlm_image_fit(const vlm_image *image, vlm_fit fit, int64_t size, uint8_t *out,
                           vlm_workspace *workspace, vlmoe_error *error)
{
    const vlm_image square = {size, size, out};
    const int64_t width = image->width, height = image->height, shorter = VLM_MIN(width, height);
    if (fit == VLM_FIT_SQUARE)
        return vlm_image_resize(image, (vlm_box){0, 0, width, height}, &square, workspace, error);
    const int64_t target = size * 8 / 7; /* size / 0.875 */
    const side x = central_side(width, shorter, target, size);
    const side y = central_side(height, shorter, target, size);
    return resize(image, &x, &y, &square, workspace, error);
}

void vlm_image_mirror(uint8_t *pixels, int64_t width, int64_t height)
{
    for (int64_t y = 0; y < height; y++) vlm_pixel_best()->mirror(pixels + y * width * 3, width);
}
