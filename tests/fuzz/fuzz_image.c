/* Any bytes as a picture: a whole one, or an error with a text and nothing else. A PNG is tried a
 * second time with its checksums made right, or no change would get past them. */
#include <stdlib.h>
#include <string.h>
#include "data_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc(const uint8_t *data, size_t bytes)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < bytes * 8; i++)
        c = (c ^ data[i / 8] >> i % 8) & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    return ~c;
}

static void seal_png(uint8_t *data, size_t size)
{
    for (size_t at = 8; at + 12 <= size && be32(data + at) <= size - at - 12;) {
        uint32_t length = be32(data + at), sum = crc(data + at + 4, (size_t)length + 4);
        for (int i = 0; i < 4; i++) data[at + 8 + length + i] = (uint8_t)(sum >> (24 - 8 * i));
        at += (size_t)length + 12;
    }
}

enum { PIXELS = 1 << 20 };

/* A part, chosen by the file's own bytes, in a workspace that has seen another picture: the same
 * verdict as the whole, and the same pixels. whole NULL = the file is bad. */
static void decode_part(const uint8_t *data, size_t size, const vlm_image *whole)
{
    const vlm_image_options options = {PIXELS, {255, 255, 255}};
    vlm_workspace *workspace = NULL;
    vlm_image_file file;
    uint8_t *pixels = NULL;
    vlm_box part = {0};
    if (vlm_workspace_create(&workspace, NULL)) return;
    vlmoe_status st = VLMOE_OK;
    for (int twice = 0; twice < 2; twice++) {
        vlm_workspace_reset(workspace);
        st = vlm_image_open(workspace, data, size, &options, &file, NULL);
        if (st) break;
        uint32_t draw = crc(data, size < 64 ? size : 64);
        part.x = draw % file.width;
        part.y = (draw >> 8) % file.height;
        part.width = 1 + (draw >> 16) % (file.width - part.x);
        part.height = 1 + (draw >> 24) % (file.height - part.y);
        pixels = vlm_workspace_take(workspace, (size_t)(file.width * file.height), 3);
        st = pixels ? vlm_image_read(&file, &part, pixels, NULL) : VLMOE_E_NOMEM;
    }
    if (!st != (whole != NULL)) abort();
    for (int64_t y = part.y; whole && y < part.y + part.height; y++) {
        const int64_t at = (y * whole->width + part.x) * 3;
        if (memcmp(pixels + at, whole->pixels + at, (size_t)part.width * 3)) abort();
    }
    vlm_workspace_destroy(workspace);
}

static void decode(const uint8_t *data, size_t size)
{
    vlm_image_options options = {PIXELS, {255, 255, 255}};
    vlm_image image = {0};
    vlmoe_error error = {0};
    if (vlm_image_decode(data, size, &options, &image, &error)) {
        if (!error.text[0] || image.pixels) abort();
        decode_part(data, size, NULL);
        return;
    }
    decode_part(data, size, &image);
    int64_t width = 0, height = 0;
    if (vlm_image_probe(data, size, &width, &height, &error)) abort();
    if (width != image.width || height != image.height || width * height > PIXELS) abort();
    unsigned sum = 0; /* touch every pixel */
    for (int64_t i = 0; i < width * height * 3; i++) sum += image.pixels[i];
    if (sum > 255u * 3 * PIXELS) abort();
    uint8_t small[4 * 4 * 3];
    if (vlm_image_fit(&image, VLM_FIT_SQUARE, 4, small, NULL, &error)) abort();
    if (vlm_image_fit(&image, VLM_FIT_CROP, 4, small, NULL, &error)) abort();
    vlm_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    if (vlm_image_sniff(data, size) != VLM_IMAGE_PNG) return 0;
    uint8_t *sealed = malloc(size);
    if (!sealed) return 0;
    memcpy(sealed, data, size);
    seal_png(sealed, size);
    decode(sealed, size);
    free(sealed);
    return 0;
}
