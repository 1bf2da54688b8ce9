/* Augmentation: Pillow's colour arithmetic, the distribution of crops, and that a key decides all.
 */
#include <math.h>
#include "data_image.h"
#include "golden_file.h"

TEST(colour_changes_equal_pillow_in_every_byte)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_colour.bin");
    int n = 0;
    for (; file.at < file.bytes; n++) {
        int32_t change = golden_int(&file), n_pixels = golden_int(&file);
        double factor = golden_double(&file);
        uint8_t *got = (uint8_t *)golden_take(&file, (size_t)n_pixels * 3);
        const uint8_t *want = golden_take(&file, (size_t)n_pixels * 3);
        switch (change) {
        case 0:
            vlm_colour_brightness(got, n_pixels, (float)factor);
            break;
        case 1:
            vlm_colour_contrast(got, n_pixels, (float)factor);
            break;
        case 2:
            vlm_colour_saturation(got, n_pixels, (float)factor);
            break;
        default:
            vlm_colour_hue(got, n_pixels, factor);
        }
        for (int32_t i = 0; i < n_pixels * 3; i++)
            if (got[i] != want[i])
                test_fail(__FILE__, __LINE__, "change %d by %g: byte %d is %d, Pillow %d", change,
                          factor, i, got[i], want[i]);
    }
    CHECK_INT(n, 20);
    vlm_free(file.data);
}

static vlm_rng rng_of(uint64_t i)
{
    return vlm_rng_at(7, VLM_STREAM_TEST, i, 0, 0);
}

TEST(crop_boxes_lie_inside_and_keep_to_scale_and_ratio)
{
    enum { N = 4000 };
    vlm_augment augment = VLM_AUGMENT_INIT;
    augment.scale_min = 0.2, augment.scale_max = 0.5;
    double sum_share = 0, sum_log_ratio = 0, sum_x = 0;
    for (int i = 0; i < N; i++) {
        vlm_rng rng = rng_of((uint64_t)i);
        vlm_box box = vlm_augment_box(&augment, 400, 400, &rng);
        CHECK(box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1);
        CHECK(box.x + box.width <= 400 && box.y + box.height <= 400);
        double share = (double)(box.width * box.height) / (400.0 * 400.0);
        double ratio = (double)box.width / (double)box.height;
        /* sides are rounded: at most half a pixel each, and they are at least 154 pixels long */
        CHECK(share > 0.2 * (1 - 1.0 / 154) && share < 0.5 * (1 + 1.0 / 154));
        CHECK(ratio > 0.75 * (1 - 1.0 / 154) && ratio < 4.0 / 3.0 * (1 + 1.0 / 154));
        sum_share += share;
        sum_log_ratio += log(ratio);
        sum_x += ((double)box.x + 0.5) / (double)(400 - box.width + 1);
    }
    /* Means of uniform draws: five standard errors, a chance of one in a million; no case is cut
     * off, since 400 * sqrt(0.5 * 4 / 3) < 400. */
    CHECK_CLOSE(sum_share / N, 0.35, 5 * 0.3 / sqrt(12.0 * N));
    CHECK_CLOSE(sum_log_ratio / N, 0.0, 5 * 2 * log(4.0 / 3.0) / sqrt(12.0 * N));
    CHECK_CLOSE(sum_x / N, 0.5, 5 / sqrt(12.0 * N));
}

TEST(crop_of_a_narrow_picture_falls_back_to_its_middle)
{
    vlm_augment augment = VLM_AUGMENT_INIT;
    augment.scale_min = 1.0; /* the whole area in a ratio of 3/4 to 4/3 never fits into 100 x 10 */
    vlm_rng rng = rng_of(0);
    vlm_box box = vlm_augment_box(&augment, 100, 10, &rng);
    CHECK(box.width == 13 && box.height == 10 && box.x == 43 && box.y == 0);
    box = vlm_augment_box(&augment, 10, 100, &rng);
    CHECK(box.width == 10 && box.height == 13 && box.x == 0 && box.y == 43);
    box = vlm_augment_box(&augment, 1, 1, &rng);
    CHECK(box.width == 1 && box.height == 1 && box.x == 0 && box.y == 0);
}

static vlm_image noise_image(int64_t width, int64_t height)
{
    vlm_image image;
    vlm_rng rng = rng_of(99);
    CHECK_STATUS(vlm_image_create(width, height, &image, NULL), VLMOE_OK);
    for (int64_t i = 0; i < width * height * 3; i++) image.pixels[i] = (uint8_t)vlm_rng_u32(&rng);
    return image;
}

TEST(augmentation_is_a_function_of_its_key)
{
    enum { SIZE = 24, BYTES = SIZE * SIZE * 3 };
    vlm_augment augment = VLM_AUGMENT_INIT;
    augment.brightness = augment.contrast = augment.saturation = 0.4;
    augment.hue = 0.1;
    vlm_image image = noise_image(50, 40);
    uint8_t first[BYTES], again[BYTES], other[BYTES];
    vlm_rng a = rng_of(1), b = rng_of(1), c = rng_of(2);
    CHECK_STATUS(
        vlm_image_augment(&image, &augment, &a, &(vlm_image){SIZE, SIZE, first}, NULL, NULL),
        VLMOE_OK);
    CHECK_STATUS(
        vlm_image_augment(&image, &augment, &b, &(vlm_image){SIZE, SIZE, again}, NULL, NULL),
        VLMOE_OK);
    CHECK_STATUS(
        vlm_image_augment(&image, &augment, &c, &(vlm_image){SIZE, SIZE, other}, NULL, NULL),
        VLMOE_OK);
    CHECK(!memcmp(first, again, BYTES));
    CHECK(memcmp(first, other, BYTES));
    vlm_image_free(&image);
}

TEST(augmentation_switched_off_is_the_plain_resize)
{
    enum { SIZE = 16, BYTES = SIZE * SIZE * 3 };
    vlm_augment off = {1, 1, 1.25, 1.25, 0, 0, 0, 0, 0}; /* the picture's own ratio */
    vlm_image image = noise_image(50, 40);
    uint8_t got[BYTES], want[BYTES];
    vlm_rng rng = rng_of(3);
    CHECK_STATUS(vlm_image_augment(&image, &off, &rng, &(vlm_image){SIZE, SIZE, got}, NULL, NULL),
                 VLMOE_OK);
    CHECK_STATUS(vlm_image_fit(&image, VLM_FIT_SQUARE, SIZE, want, NULL, NULL), VLMOE_OK);
    CHECK(!memcmp(got, want, BYTES));
    off.mirror = 1;
    CHECK_STATUS(vlm_image_augment(&image, &off, &rng, &(vlm_image){SIZE, SIZE, got}, NULL, NULL),
                 VLMOE_OK);
    vlm_image_mirror(want, SIZE, SIZE);
    CHECK(!memcmp(got, want, BYTES));
    vlm_image_free(&image);
}

TEST(mirror_happens_as_often_as_asked)
{
    enum { N = 2000 };
    vlm_augment augment = {1, 1, 2, 2, 0.25, 0, 0, 0, 0};
    uint8_t pixels[6] = {0, 0, 0, 255, 255, 255}, out[2 * 2 * 3];
    vlm_image image = {2, 1, pixels};
    int n_mirrored = 0;
    for (int i = 0; i < N; i++) {
        vlm_rng rng = rng_of((uint64_t)i);
        CHECK_STATUS(vlm_image_augment(&image, &augment, &rng, &(vlm_image){2, 2, out}, NULL, NULL),
                     VLMOE_OK);
        n_mirrored += out[0] > out[3];
    }
    CHECK_CLOSE(n_mirrored / (double)N, 0.25, 5 * sqrt(0.25 * 0.75 / N));
}

TEST(jitter_of_strength_zero_changes_nothing_and_others_vary)
{
    vlm_augment augment = VLM_AUGMENT_INIT;
    const uint8_t colour[3] = {200, 40, 90};
    uint8_t pixel[3], first[3] = {0};
    int n_different = 0;
    memcpy(pixel, colour, 3);
    vlm_rng rng = rng_of(5);
    vlm_augment_colour(&augment, pixel, 1, &rng);
    CHECK(!memcmp(pixel, colour, 3));
    augment.brightness = 0.9;
    for (uint64_t i = 0; i < 20; i++) {
        memcpy(pixel, colour, 3);
        rng = rng_of(i);
        vlm_augment_colour(&augment, pixel, 1, &rng);
        CHECK(pixel[0] >= 20 && pixel[1] <= 76 && pixel[2] >= 9); /* factors 0.1 to 1.9 */
        if (i == 0) memcpy(first, pixel, 3);
        n_different += memcmp(first, pixel, 3) != 0;
    }
    CHECK(n_different >= 18);
}

TEST(jitter_comes_in_every_order)
{
    /* Brightness is clipped, so whether saturation came before or after it shows in the result. */
    vlm_augment augment = VLM_AUGMENT_INIT;
    augment.brightness = augment.saturation = 0.9;
    int n_first[2] = {0, 0};
    for (uint64_t i = 0; i < 200; i++) {
        uint8_t got[3] = {250, 40, 90}, forward[3] = {250, 40, 90}, back[3] = {250, 40, 90};
        vlm_rng rng = rng_of(i), copy = rng;
        vlm_augment_colour(&augment, got, 1, &rng);
        int order[4] = {0, 1, 2, 3};
        for (int k = 3; k > 0; k--) {
            int j = (int)vlm_rng_below(&copy, (uint64_t)k + 1), kept = order[k];
            order[k] = order[j];
            order[j] = kept;
        }
        double factor[4];
        for (int k = 0; k < 4; k++) {
            double strength = order[k] % 2 ? 0.0 : 0.9; /* 0 brightness, 2 saturation */
            factor[order[k]] = 1 - strength + 2 * strength * vlm_rng_unit(&copy);
        }
        vlm_colour_brightness(forward, 1, (float)factor[0]);
        vlm_colour_saturation(forward, 1, (float)factor[2]);
        vlm_colour_saturation(back, 1, (float)factor[2]);
        vlm_colour_brightness(back, 1, (float)factor[0]);
        bool is_forward = !memcmp(got, forward, 3), is_back = !memcmp(got, back, 3);
        CHECK(is_forward || is_back);
        if (is_forward != is_back) n_first[is_back]++;
    }
    CHECK(n_first[0] > 10 && n_first[1] > 10);
}

TEST(augment_check_names_the_field)
{
    vlm_augment augment = VLM_AUGMENT_INIT;
    CHECK_STATUS(vlm_augment_check(&augment, NULL), VLMOE_OK);
    struct {
        double *field;
        double value;
        const char *text;
    } cases[] = {{&augment.scale_min, 0, "scale_min is 0"},
                 {&augment.scale_max, 1.5, "scale_max is 1.5"},
                 {&augment.scale_max, 0.1, "scale_max is 0.1"},
                 {&augment.ratio_min, NAN, "ratio_min"},
                 {&augment.ratio_max, 0.5, "ratio_max is 0.5"},
                 {&augment.mirror, -1, "mirror is -1"},
                 {&augment.brightness, INFINITY, "brightness is inf"},
                 {&augment.hue, 0.6, "hue is 0.6"}};
    for (int i = 0; i < VLM_COUNT(cases); i++) {
        double kept = *cases[i].field;
        vlmoe_error error = {0};
        *cases[i].field = cases[i].value;
        CHECK_STATUS(vlm_augment_check(&augment, &error), VLMOE_E_ARG);
        CHECK_HAS(error.text, cases[i].text);
        *cases[i].field = kept;
    }
}
