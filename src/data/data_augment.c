/* Random crops and the order of random changes. What a colour change does stands in
 * data_colour.c. Every number is drawn from the caller's rng. */
#include "data_image.h"

#include <math.h>

static double between(vlm_rng *rng, double low, double high)
{
    return low + (high - low) * vlm_rng_unit(rng);
}

/* NaN fails every comparison, so it is refused too. */
static vlmoe_status bad(const char *field, double value, const char *range, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_ARG, "augmentation: %s is %g, outside %s", field, value, range);
}

vlmoe_status vlm_augment_check(const vlm_augment *a, vlmoe_error *error)
{
    if (!(a->scale_min > 0 && a->scale_min <= 1))
        return bad("scale_min", a->scale_min, "(0, 1]", error);
    if (!(a->scale_max >= a->scale_min && a->scale_max <= 1))
        return bad("scale_max", a->scale_max, "[scale_min, 1]", error);
    if (!(a->ratio_min >= 0.01 && a->ratio_min <= 100))
        return bad("ratio_min", a->ratio_min, "[0.01, 100]", error);
    if (!(a->ratio_max >= a->ratio_min && a->ratio_max <= 100))
        return bad("ratio_max", a->ratio_max, "[ratio_min, 100]", error);
    if (!(a->mirror >= 0 && a->mirror <= 1)) return bad("mirror", a->mirror, "[0, 1]", error);
    if (!(a->hue >= 0 && a->hue <= 0.5)) return bad("hue", a->hue, "[0, 0.5]", error);
    const char *const names[] = {"brightness", "contrast", "saturation"};
    const double values[] = {a->brightness, a->contrast, a->saturation};
    for (int i = 0; i < VLM_COUNT(values); i++)
        if (!(values[i] >= 0 && values[i] <= 100))
            return bad(names[i], values[i], "[0, 100]", error);
    return VLMOE_OK;
}

/* The largest central box whose ratio is allowed. */
static vlm_box central_box(const vlm_augment *augment, int64_t width, int64_t height)
{
    double ratio = (double)width / (double)height;
    vlm_box box = {0, 0, width, height};
    if (ratio < augment->ratio_min) box.height = (int64_t)rint((double)width / augment->ratio_min);
    if (ratio > augment->ratio_max) box.width = (int64_t)rint((double)height * augment->ratio_max);
    box.width = VLM_MIN(VLM_MAX(box.width, 1), width);
    box.height = VLM_MIN(VLM_MAX(box.height, 1), height);
    box.x = (width - box.width) / 2;
    box.y = (height - box.height) / 2;
    return box;
}

vlm_box vlm_augment_box(const vlm_augment *augment, int64_t width, int64_t height, vlm_rng *rng)
{
    enum { TRIES = 10 };
    double area = (double)width * (double)height;
    double log_min = log(augment->ratio_min), log_max = log(augment->ratio_max);
    for (int i = 0; i < TRIES; i++) {
        double target = area * between(rng, augment->scale_min, augment->scale_max);
        double ratio = exp(between(rng, log_min, log_max));
        int64_t w = (int64_t)rint(sqrt(target * ratio)), h = (int64_t)rint(sqrt(target / ratio));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        int64_t y = (int64_t)vlm_rng_below(rng, (uint64_t)(height - h + 1));
        int64_t x = (int64_t)vlm_rng_below(rng, (uint64_t)(width - w + 1));
        return (vlm_box){x, y, w, h};
    }
    return central_box(augment, width, height);
}

void vlm_augment_colour(const vlm_augment *augment, uint8_t *pixels, int64_t n_pixels, vlm_rng *rng)
{
    static void (*const changes[3])(uint8_t *, int64_t, float) = {
        vlm_colour_brightness, vlm_colour_contrast, vlm_colour_saturation};
    const double strengths[4] = {augment->brightness, augment->contrast, augment->saturation,
                                 augment->hue};
    int order[4] = {0, 1, 2, 3};
    for (int i = 3; i > 0; i--) { /* Fisher-Yates */
        int j = (int)vlm_rng_below(rng, (uint64_t)i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (int i = 0; i < 4; i++) {
        int change = order[i];
        double strength = strengths[change];
        double low = change == 3 ? -strength : VLM_MAX(0.0, 1.0 - strength);
        double drawn = between(rng, low, change == 3 ? strength : 1.0 + strength);
        if (strength <= 0.0) continue; /* drawn all the same: the others' numbers must not move */
        if (change == 3) vlm_colour_hue(pixels, n_pixels, drawn);
        else changes[change](pixels, n_pixels, (float)drawn);
    }
}

vlmoe_status vlm_image_augment(const vlm_image *image, const vlm_augment *augment, vlm_rng *rng,
                               const vlm_image *out, vlm_workspace *workspace, vlmoe_error *error)
{
    VLM_TRY(vlm_augment_check(augment, error));
    vlm_box box = vlm_augment_box(augment, image->width, image->height, rng);
    VLM_TRY(vlm_image_resize(image, box, out, workspace, error));
    if (vlm_rng_unit(rng) < augment->mirror) vlm_image_mirror(out->pixels, out->width, out->height);
    vlm_augment_colour(augment, out->pixels, out->width * out->height, rng);
    return VLMOE_OK;
}
