/* Photographs come turned: the eight orientations as Pillow shows them, parts of them, and hostile
 * Exif bytes, which must change nothing. */
#include <stdlib.h>
#include "data_image.h"
#include "golden_file.h"

typedef struct stored {
    const unsigned char *file;
    size_t bytes;
    int64_t width, height;
    const uint8_t *pixels;
} stored;

static stored next_stored(golden_file *file)
{
    stored s = {0};
    golden_take(file, 16 + 4); /* name, exact */
    s.bytes = (size_t)golden_int(file);
    s.width = golden_int(file);
    s.height = golden_int(file);
    s.file = golden_take(file, s.bytes);
    s.pixels = golden_take(file, (size_t)(s.width * s.height * 3));
    return s;
}

static stored orientation_of(golden_file *file, int orientation)
{
    stored s = {0};
    file->at = 0;
    for (int i = 1; i <= orientation; i++) s = next_stored(file);
    return s;
}

TEST(exif_orientations_are_shown_like_pillow_shows_them)
{
    /* The bound of two JPEG decoders, as in data/image; neighbours here are 5 to 11 levels apart, so
     * a wrong turn is far above it. */
    enum { JPEG_BOUND = 6 };
    golden_file file = golden_open(TEST_GOLDEN "/data_exif.bin");
    for (int orientation = 1; orientation <= 8; orientation++) {
        stored s = next_stored(&file);
        vlm_image image;
        vlmoe_error error = {0};
        int64_t width = 0, height = 0;
        CHECK_STATUS_E(vlm_image_decode(s.file, s.bytes, NULL, &image, &error), VLMOE_OK, &error);
        CHECK_INT(image.width, s.width);
        CHECK_INT(image.height, s.height);
        for (int64_t i = 0; i < s.width * s.height * 3; i++)
            if (abs(image.pixels[i] - s.pixels[i]) > JPEG_BOUND)
                test_fail(__FILE__, __LINE__, "orientation %d: byte %lld is %d, Pillow %d",
                          orientation, (long long)i, image.pixels[i], s.pixels[i]);
        CHECK_STATUS(vlm_image_probe(s.file, s.bytes, &width, &height, NULL), VLMOE_OK);
        CHECK(width == s.width && height == s.height);
        vlm_image_free(&image);
    }
    CHECK_INT(file.at, file.bytes);
    vlm_free(file.data);
}

static void check_part(const stored *s, const vlm_image *whole, vlm_box part,
                       vlm_workspace *workspace)
{
    vlm_image_file opened;
    uint8_t got[21 * 21 * 3];
    vlm_workspace_reset(workspace);
    CHECK_STATUS(vlm_image_open(workspace, s->file, s->bytes, NULL, &opened, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_image_read(&opened, &part, got, NULL), VLMOE_OK);
    for (int64_t y = part.y; y < part.y + part.height; y++) {
        int64_t at = (y * whole->width + part.x) * 3;
        CHECK(!memcmp(got + at, whole->pixels + at, (size_t)part.width * 3));
    }
}

TEST(exif_turned_parts_equal_the_turned_whole)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_exif.bin");
    vlm_workspace *workspace = NULL;
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    while (file.at < file.bytes) {
        stored s = next_stored(&file);
        vlm_image whole;
        CHECK_STATUS(vlm_image_decode(s.file, s.bytes, NULL, &whole, NULL), VLMOE_OK);
        for (int64_t x = 0; x < s.width; x += 3)
            for (int64_t y = 0; y < s.height; y += 2) {
                check_part(&s, &whole, (vlm_box){x, y, 1, 1}, workspace);
                check_part(&s, &whole, (vlm_box){x, y, s.width - x, s.height - y}, workspace);
                check_part(&s, &whole, (vlm_box){0, 0, x + 1, y + 1}, workspace);
            }
        vlm_image_free(&whole);
    }
    vlm_workspace_destroy(workspace);
    vlm_free(file.data);
}

/* Offsets in a stored file: start marker 2, segment head 4, "Exif" 6, TIFF head 8, count 2, entry of
 * the maker 12, entry of the orientation. */
enum { TIFF = 12, COUNT = TIFF + 8, ENTRY = COUNT + 2 + 12 };

static int64_t width_with(const stored *s, size_t at, const char *bytes, size_t n)
{
    unsigned char *changed = malloc(s->bytes);
    int64_t width = 0, height = 0;
    memcpy(changed, s->file, s->bytes);
    memcpy(changed + at, bytes, n);
    CHECK_STATUS(vlm_image_probe(changed, s->bytes, &width, &height, NULL), VLMOE_OK);
    free(changed);
    return width;
}

TEST(exif_that_makes_no_sense_turns_nothing)
{
    static const struct {
        size_t at, n;
        const char *bytes, *what;
    } cases[] = {
        {ENTRY + 8, 2, "\0\0", "orientation 0"},
        {ENTRY + 8, 2, "\x09\0", "orientation 9"},
        {ENTRY + 8, 2, "\xff\xff", "orientation 65535"},
        {ENTRY + 2, 2, "\x02\0", "a text as orientation"},
        {ENTRY, 2, "\x13\1", "another tag"},
        {COUNT, 2, "\1\0", "orientation behind the last entry"},
        {COUNT, 2, "\0\0", "no entry"},
        {TIFF + 4, 4, "\xff\xff\xff\xff", "a directory far outside"},
        {TIFF + 4, 4, "\x40\0\0\0", "a directory at the very end"},
        {TIFF, 2, "MM", "the other byte order"},
        {TIFF, 4, "II\x2b\0", "BigTIFF"},
        {TIFF - 6, 4, "Exit", "another segment"},
    };
    golden_file file = golden_open(TEST_GOLDEN "/data_exif.bin");
    stored s = orientation_of(&file, 6);
    CHECK_INT(width_with(&s, ENTRY + 8, "\x06\0", 2), 17); /* as it is: turned */
    CHECK_INT(width_with(&s, COUNT, "\xff\xff", 2), 17);   /* more entries than there is room for */
    for (int i = 0; i < VLM_COUNT(cases); i++)
        if (width_with(&s, cases[i].at, cases[i].bytes, cases[i].n) != 21)
            test_fail(__FILE__, __LINE__, "turned in spite of %s", cases[i].what);
    vlm_free(file.data);
}
