/* Resampling: byte-equal to Pillow, and what follows from its definition. */
#include "data_image.h"
#include "golden_file.h"

TEST(resize_equals_pillow_in_every_byte)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_resize.bin");
    int n = 0;
    for (; file.at < file.bytes; n++) {
        int32_t v[8];
        for (int i = 0; i < 8; i++) v[i] = golden_int(&file);
        size_t in_bytes = (size_t)(v[0] * v[1] * 3), out_bytes = (size_t)(v[6] * v[7] * 3);
        vlm_image image = {v[0], v[1], (uint8_t *)golden_take(&file, in_bytes)};
        const uint8_t *want = golden_take(&file, out_bytes);
        uint8_t *got = vlm_alloc(out_bytes);
        vlmoe_error error = {0};
        vlm_box box = {v[2], v[3], v[4], v[5]};
        CHECK_STATUS_E(vlm_image_resize(&image, box, &(vlm_image){v[6], v[7], got}, NULL, &error),
                       VLMOE_OK, &error);
        for (size_t i = 0; i < out_bytes; i++)
            if (got[i] != want[i])
                test_fail(__FILE__, __LINE__, "case %d (%dx%d to %dx%d): byte %zu is %d, Pillow %d",
                          n, v[4], v[5], v[6], v[7], i, got[i], want[i]);
        vlm_free(got);
    }
    CHECK_INT(n, 12);
    vlm_free(file.data);
}

TEST(crop_fit_equals_pillows_resize_and_crop_in_every_byte)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_fit.bin");
    int n = 0;
    for (; file.at < file.bytes; n++) {
        const int32_t width = golden_int(&file), height = golden_int(&file);
        const int32_t size = golden_int(&file), bytes = size * size * 3;
        uint8_t out[64 * 64 * 3];
        vlm_image image = {width, height,
                           (uint8_t *)golden_take(&file, (size_t)(width * height * 3))};
        const uint8_t *want = golden_take(&file, (size_t)bytes);
        CHECK_STATUS(vlm_image_fit(&image, VLM_FIT_CROP, size, out, NULL, NULL), VLMOE_OK);
        for (int32_t i = 0; i < bytes; i++)
            if (out[i] != want[i])
                test_fail(__FILE__, __LINE__, "%d x %d to %d: byte %d is %d, Pillow %d", width,
                          height, size, i, out[i], want[i]);
    }
    CHECK_INT(n, 8);
    vlm_free(file.data);
}

TEST(resize_keeps_a_plain_colour)
{
    vlm_image image;
    CHECK_STATUS(vlm_image_create(37, 19, &image, NULL), VLMOE_OK);
    for (int64_t i = 0; i < 37 * 19; i++) memcpy(image.pixels + i * 3, "\xff\x07\x80", 3);
    uint8_t out[48 * 48 * 3];
    for (int64_t size = 1; size <= 48; size++) {
        CHECK_STATUS(vlm_image_fit(&image, VLM_FIT_SQUARE, size, out, NULL, NULL), VLMOE_OK);
        for (int64_t i = 0; i < size * size; i++) CHECK(!memcmp(out + i * 3, "\xff\x07\x80", 3));
    }
    vlm_image_free(&image);
}

TEST(resize_refuses_boxes_and_sizes_outside)
{
    vlm_image image;
    uint8_t out[3];
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_image_create(5, 4, &image, NULL), VLMOE_OK);
    const vlm_box boxes[] = {{-1, 0, 2, 2},
                             {0, 0, 6, 4},
                             {4, 0, 2, 1},
                             {0, 0, 0, 1},
                             {0, 5, 1, 1},
                             {0, 3, 1, 2},
                             {INT64_MAX, 0, INT64_MAX, 1}};
    for (int i = 0; i < VLM_COUNT(boxes); i++)
        CHECK_STATUS(vlm_image_resize(&image, boxes[i], &(vlm_image){1, 1, out}, NULL, NULL),
                     VLMOE_E_ARG);
    CHECK_STATUS(vlm_image_fit(&image, VLM_FIT_SQUARE, 0, out, NULL, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "resize to 0 x 0");
    CHECK_STATUS(vlm_image_fit(&image, VLM_FIT_SQUARE, 65536, out, NULL, NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_image_create(0, 4, &image, NULL), VLMOE_E_ARG);
    vlm_image_free(&image);
}

TEST(mirror_twice_is_nothing_and_once_turns_rows)
{
    uint8_t row[2 * 3 * 3], kept[sizeof row];
    for (size_t i = 0; i < sizeof row; i++) kept[i] = row[i] = (uint8_t)i;
    vlm_image_mirror(row, 3, 2);
    const uint8_t want[] = {6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11};
    CHECK(!memcmp(row, want, sizeof row));
    vlm_image_mirror(row, 3, 2);
    CHECK(!memcmp(row, kept, sizeof row));
}
