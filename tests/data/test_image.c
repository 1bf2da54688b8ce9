/* Decoding: right pixels for every kind of file, and an error for every damaged one. */
#include <stdlib.h>
#include "data_image.h"
#include "golden_file.h"

typedef struct stored {
    char name[17];
    bool exact;
    const unsigned char *file;
    size_t bytes;
    int64_t width, height;
    const uint8_t *pixels;
} stored;

static stored next_stored(golden_file *file)
{
    stored s = {{0}, 0, NULL, 0, 0, 0, NULL};
    memcpy(s.name, golden_take(file, 16), 16);
    s.exact = golden_int(file);
    s.bytes = (size_t)golden_int(file);
    s.width = golden_int(file);
    s.height = golden_int(file);
    s.file = golden_take(file, s.bytes);
    s.pixels = golden_take(file, (size_t)(s.width * s.height * 3));
    return s;
}

static stored find(golden_file *file, const char *name)
{
    for (file->at = 0; file->at < file->bytes;) {
        stored s = next_stored(file);
        if (!strcmp(s.name, name)) return s;
    }
    test_fail(__FILE__, __LINE__, "no stored picture %s", name);
    return (stored){{0}, 0, NULL, 0, 0, 0, NULL};
}

TEST(image_decodes_every_kind_like_pillow)
{
    /* Two JPEG decoders may each be one level off per component (IEEE 1180); chroma enters a
     * channel with up to 1.772: 2 * (1 + 1.772), and one more for rounding. */
    enum { JPEG_BOUND = 6 };
    golden_file file = golden_open(TEST_GOLDEN "/data_image.bin");
    int n = 0;
    for (; file.at < file.bytes; n++) {
        stored s = next_stored(&file);
        vlm_image image;
        vlmoe_error error = {0};
        CHECK_STATUS_E(vlm_image_decode(s.file, s.bytes, NULL, &image, &error), VLMOE_OK, &error);
        CHECK_INT(image.width, s.width);
        CHECK_INT(image.height, s.height);
        int worst = 0;
        for (int64_t i = 0; i < s.width * s.height * 3; i++)
            worst = VLM_MAX(worst, abs(image.pixels[i] - s.pixels[i]));
        if (worst > (s.exact ? 0 : JPEG_BOUND))
            test_fail(__FILE__, __LINE__, "%s: off by %d levels", s.name, worst);
        int64_t width = 0, height = 0;
        CHECK_STATUS(vlm_image_probe(s.file, s.bytes, &width, &height, NULL), VLMOE_OK);
        CHECK(width == s.width && height == s.height);
        vlm_image_free(&image);
        CHECK(!image.pixels);
    }
    CHECK_INT(n, 18);
    vlm_free(file.data);
}

/* Nothing after the pixels is needed: GIF's trailer, and the padding of a BMP's last row. */
static size_t spare_bytes(const stored *s)
{
    if (!strcmp(s->name, "gif")) return 1;
    return strncmp(s->name, "bmp", 3) ? 0 : 3;
}

TEST(image_cut_at_any_byte_is_an_error)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_image.bin");
    while (file.at < file.bytes) {
        stored s = next_stored(&file);
        for (size_t n = 0; n < s.bytes - spare_bytes(&s); n++) {
            /* An own block of n bytes, so that a sanitizer sees a read behind it. */
            unsigned char *cut = malloc(n ? n : 1);
            memcpy(cut, s.file, n);
            vlm_image image = {0};
            vlmoe_error error = {0};
            vlmoe_status st = vlm_image_decode(cut, n, NULL, &image, &error);
            if (st != VLMOE_E_FORMAT)
                test_fail(__FILE__, __LINE__, "%s cut at %zu of %zu: %s", s.name, n, s.bytes,
                          vlmoe_status_name(st));
            CHECK(!image.pixels && error.text[0]);
            free(cut);
        }
    }
    vlm_free(file.data);
}

TEST(image_png_with_any_flipped_bit_is_an_error)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_image.bin");
    stored s = find(&file, "png-RGB");
    unsigned char *damaged = malloc(s.bytes);
    for (size_t i = 0; i < s.bytes * 8; i += 3) {
        memcpy(damaged, s.file, s.bytes);
        damaged[i / 8] ^= (unsigned char)(1 << i % 8);
        vlm_image image = {0};
        CHECK_STATUS(vlm_image_decode(damaged, s.bytes, NULL, &image, NULL), VLMOE_E_FORMAT);
    }
    free(damaged);
    vlm_free(file.data);
}

/* CRC-32 (ISO/IEC 15948, annex D) of a chunk's type and body, written behind it. */
static size_t put_chunk(unsigned char *to, const char *type, const void *body, size_t bytes)
{
    uint32_t crc = UINT32_MAX;
    const size_t n = bytes;
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(n >> (24 - 8 * i));
    memcpy(to + 4, type, 4);
    memcpy(to + 8, body, bytes);
    for (size_t i = 4; i < 8 + bytes; i++) {
        crc ^= to[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    for (int i = 0; i < 4; i++) to[8 + bytes + (size_t)i] = (unsigned char)(~crc >> (24 - 8 * i));
    return bytes + 12;
}

/* One row of four 2-bit indices 0, 1, 2, index: a palette of three colours, the first transparent. */
static size_t indexed_png(unsigned index, unsigned char *out)
{
    static const unsigned char header[13] = {0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 0, 0, 0};
    static const unsigned char colours[9] = {9, 9, 9, 10, 20, 30, 200, 100, 50};
    /* zlib around one stored block of a filter byte and the row; nobody looks at the Adler-32 */
    unsigned char data[13] = {0x78, 1, 1, 2, 0, 0xfd, 0xff, 0, (unsigned char)(0x18 | index)};
    memcpy(out, "\x89PNG\r\n\x1a\n", 8);
    size_t at = 8;
    at += put_chunk(out + at, "IHDR", header, sizeof header);
    at += put_chunk(out + at, "PLTE", colours, sizeof colours);
    at += put_chunk(out + at, "tRNS", "", 1);
    at += put_chunk(out + at, "IDAT", data, sizeof data);
    return at + put_chunk(out + at, "IEND", "", 0);
}

TEST(image_of_indices_has_its_palette_s_colours_on_the_background)
{
    unsigned char file[256];
    static const uint8_t expected[12] = {255, 255, 255, 10, 20, 30, 200, 100, 50, 10, 20, 30};
    vlm_image image = {0};
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_image_decode(file, indexed_png(1, file), NULL, &image, &error), VLMOE_OK,
                   &error);
    CHECK(!memcmp(image.pixels, expected, sizeof expected));
    vlm_image_free(&image);
    CHECK_STATUS(vlm_image_decode(file, indexed_png(3, file), NULL, &image, &error),
                 VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "pixel 3 of row 0 names colour 3, but the palette has 3");
}

TEST(image_of_colours_that_its_palette_lacks_is_an_error)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_image.bin");
    stored s = find(&file, "bmp-P");
    vlm_image image = {0};
    vlmoe_error error = {0};
    unsigned char *lie = malloc(s.bytes);
    CHECK(s.bytes > 62);
    memcpy(lie, s.file, s.bytes);
    lie[10] = 62, lie[11] = 0; /* pixels begin behind two colours, says the header */
    CHECK_STATUS(vlm_image_decode(lie, s.bytes, NULL, &image, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "but the palette has 2");
    free(lie);
    vlm_free(file.data);
}

static uint32_t crc(const unsigned char *data, size_t bytes)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < bytes * 8; i++)
        c = (c ^ data[i / 8] >> i % 8) & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    return ~c;
}

static void put_be32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* A stored PNG whose header says another size, with the checksum that belongs to it. */
static void check_lie(uint32_t width, uint32_t height, const char *text)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_image.bin");
    stored s = find(&file, "png-RGB");
    unsigned char *lie = malloc(s.bytes);
    memcpy(lie, s.file, s.bytes);
    put_be32(lie + 16, width);
    put_be32(lie + 20, height);
    put_be32(lie + 29, crc(lie + 12, 17));
    vlm_image image = {0};
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_image_decode(lie, s.bytes, NULL, &image, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, text);
    free(lie);
    vlm_free(file.data);
}

TEST(image_that_lies_about_its_size_is_an_error)
{
    check_lie(13, 8, "PNG picture: damaged (not enough pixels)");
    check_lie(8000, 8000, "cannot hold the 192000000 bytes");
    check_lie(20000, 20000, "20000 x 20000 = 400000000 pixels, more than the limit of 67108864");
    check_lie(70000, 1, "a side is 1..65535");
    check_lie(0, 7, "0 x 7");
    check_lie(0xffffffffu, 0xffffffffu, "4294967295 x 4294967295");
}

TEST(image_limits_and_background_come_from_the_options)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_image.bin");
    stored s = find(&file, "png-LA");
    vlm_image_options options = VLM_IMAGE_OPTIONS_INIT;
    vlm_image image = {0};
    vlmoe_error error = {0};
    options.max_pixels = 13 * 7 - 1;
    CHECK_STATUS(vlm_image_decode(s.file, s.bytes, &options, &image, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "13 x 7 = 91 pixels, more than the limit of 90");
    options.max_pixels = 0;
    CHECK_STATUS(vlm_image_decode(s.file, s.bytes, &options, &image, NULL), VLMOE_E_ARG);

    options = (vlm_image_options){13 * 7, {0, 255, 0}};
    vlm_image white = {0};
    CHECK_STATUS(vlm_image_decode(s.file, s.bytes, &options, &image, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_image_decode(s.file, s.bytes, NULL, &white, NULL), VLMOE_OK);
    /* L over black and over white differ by 255 - alpha; green is white's level here. */
    for (int64_t i = 0; i < 13 * 7; i++) {
        CHECK(image.pixels[i * 3 + 1] == white.pixels[i * 3 + 1]);
        CHECK(image.pixels[i * 3] == image.pixels[i * 3 + 2]);
        CHECK(image.pixels[i * 3] <= white.pixels[i * 3]);
    }
    vlm_image_free(&image);
    vlm_image_free(&white);
    vlm_free(file.data);
}

TEST(image_kind_is_told_by_its_first_bytes)
{
    const unsigned char webp[] = "RIFF\x10\0\0\0WEBPVP8 ";
    vlm_image image = {0};
    vlmoe_error error = {0};
    CHECK_INT(vlm_image_sniff(webp, 16), VLM_IMAGE_WEBP);
    CHECK_STATUS(vlm_image_decode(webp, 16, NULL, &image, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "WebP");
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_image_decode("hello, world", 12, NULL, &image, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "not a picture: 12 bytes");
    CHECK_STATUS(vlm_image_decode(NULL, 0, NULL, &image, NULL), VLMOE_E_FORMAT);
    CHECK_INT(vlm_image_sniff("\xff\xd8\xff", 3), VLM_IMAGE_JPEG);
    CHECK_INT(vlm_image_sniff("\xff\xd8", 2), VLM_IMAGE_UNKNOWN);
    CHECK_TEXT(vlm_image_kind_name(VLM_IMAGE_GIF), "GIF");
    CHECK_TEXT(vlm_image_kind_extension((vlm_image_kind)99), "bin");
}
