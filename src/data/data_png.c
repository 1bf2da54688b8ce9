/* Palettes of PNG (ISO/IEC 15948, 11.2.2 and 11.3.1). */
#include "data_png.h"
#include <string.h>

enum { FIRST_CHUNK = 8, FRAME = 12, DEPTH_AT = 24, COLOUR_AT = 25, GREY = 0, INDEXED = 3 };

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_type(const unsigned char *chunk, const char *type)
{
    return !memcmp(chunk + 4, type, 4);
}

static size_t chunk_bytes(const unsigned char *chunk)
{
    return (size_t)be32(chunk) + FRAME;
}

/* Both chunks stand before the pixels, the palette first; a file may break either rule. */
vlmoe_status vlm_png_palette_read(const unsigned char *data, size_t bytes, vlm_png_palette *out,
                                  vlmoe_error *error)
{
    vlm_png_palette palette = {.scale = 255 / ((1 << data[DEPTH_AT]) - 1)};
    if (data[COLOUR_AT] != INDEXED) {
        *out = (vlm_png_palette){.n = 0};
        return VLMOE_OK;
    }
    for (size_t at = FIRST_CHUNK; at < bytes; at += chunk_bytes(data + at)) {
        const unsigned char *chunk = data + at, *body = chunk + 8;
        uint32_t length = be32(chunk);
        if (is_type(chunk, "PLTE") && (length % 3 || length > 768 || !length))
            return vlm_fail(error, VLMOE_E_FORMAT, "PLTE at byte %zu has %u bytes", at, length);
        if (is_type(chunk, "PLTE")) palette.n = (int)(length / 3);
        for (int i = 0; is_type(chunk, "PLTE") && i < palette.n; i++) {
            memcpy(palette.rgba[i], body + (size_t)3 * (size_t)i, 3);
            palette.rgba[i][3] = 255;
        }
        if (is_type(chunk, "tRNS") && (int64_t)length > palette.n)
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "tRNS at byte %zu has %u colours, the palette before it %d", at, length,
                            palette.n);
        for (uint32_t i = 0; is_type(chunk, "tRNS") && i < length; i++)
            palette.rgba[i][3] = body[i];
        if (is_type(chunk, "IEND")) break;
    }
    if (!palette.n) return vlm_fail(error, VLMOE_E_FORMAT, "its palette is missing");
    *out = palette;
    return VLMOE_OK;
}

size_t vlm_png_as_levels(const unsigned char *data, size_t bytes, unsigned char *copy)
{
    size_t used = FIRST_CHUNK;
    memcpy(copy, data, FIRST_CHUNK);
    for (size_t at = FIRST_CHUNK; at < bytes; at += chunk_bytes(data + at)) {
        const unsigned char *chunk = data + at;
        if (is_type(chunk, "PLTE") || is_type(chunk, "tRNS")) continue;
        memcpy(copy + used, chunk, chunk_bytes(chunk));
        used += chunk_bytes(chunk);
        if (is_type(chunk, "IEND")) break;
    }
    copy[COLOUR_AT] = GREY; /* its checksum is wrong now; it was looked at before */
    return used;
}

static uint8_t over(unsigned colour, unsigned alpha, unsigned background)
{
    return (uint8_t)((colour * alpha + background * (255 - alpha) + 127) / 255);
}

vlmoe_status vlm_png_colour(const vlm_png_palette *palette, const vlm_image_file *file,
                            const uint8_t *levels, uint8_t *pixels, vlmoe_error *error)
{
    for (int64_t i = 0; i < file->width * file->height; i++) {
        int index = levels[i] / palette->scale;
        if (index >= palette->n)
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "pixel %lld of row %lld names colour %d, but the palette has %d",
                            (long long)(i % file->width), (long long)(i / file->width), index,
                            palette->n);
        const uint8_t *colour = palette->rgba[index];
        for (int c = 0; c < 3; c++)
            pixels[i * 3 + c] = over(colour[c], colour[3], file->background[c]);
    }
    return VLMOE_OK;
}
