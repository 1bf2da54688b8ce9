/* The only file that knows stb_image. It decodes what the check functions have let through. */
#include "data_codec.h"

#include <stdlib.h>
#include <string.h>

/* A PNG may inflate to a thousand times its size whatever its header says; no single block of the
 * decoder's may be larger than the largest picture allowed needs (16-bit RGBA). */
enum { BLOCK_MAX = 1000 * 1024 * 1024 };

static void *stb_malloc(size_t bytes)
{
    return bytes > BLOCK_MAX ? NULL : malloc(bytes);
}

static void *stb_realloc(void *block, size_t bytes)
{
    return bytes > BLOCK_MAX ? NULL : realloc(block, bytes);
}

#define STBI_MALLOC(bytes)         stb_malloc(bytes)
#define STBI_REALLOC(block, bytes) stb_realloc(block, bytes)
#define STBI_FREE(block)           free(block)
#define STBI_ASSERT(what)          ((void)0)
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_GIF
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_MAX_DIMENSIONS VLM_IMAGE_SIDE_MAX
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
/* One function is declared there and never defined; gcc says so at the end of the file. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>

static vlmoe_status stb_fail(vlmoe_error *error)
{
    const char *reason = stbi_failure_reason();
    if (!reason) reason = "not decodable";
    if (!strcmp(reason, "outofmem"))
        return vlm_fail(error, VLMOE_E_NOMEM,
                        "no memory to decode it, or it inflates beyond %d MiB", BLOCK_MAX >> 20);
    return vlm_fail(error, VLMOE_E_FORMAT, "damaged (%s)", reason);
}

static vlmoe_status check_bytes(size_t bytes, vlmoe_error *error)
{
    if (bytes <= INT32_MAX) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "a file of %zu bytes; at most 2 GiB are read", bytes);
}

vlmoe_status vlm_stb_probe(const unsigned char *data, size_t bytes, vlm_size *out,
                           vlmoe_error *error)
{
    int width = 0, height = 0, channels = 0;
    VLM_TRY(check_bytes(bytes, error));
    if (!stbi_info_from_memory(data, (int)bytes, &width, &height, &channels))
        return stb_fail(error);
    *out = (vlm_size){width, height};
    return VLMOE_OK;
}

static uint8_t over(unsigned colour, unsigned alpha, unsigned background)
{
    return (uint8_t)((colour * alpha + background * (255 - alpha) + 127) / 255);
}

/* pixels [n, channels], channels = L, LA, RGB or RGBA, not premultiplied -> out [n, 3] */
static void flatten(const uint8_t *pixels, int64_t n, int channels, const uint8_t *background,
                    uint8_t *out)
{
    if (channels == 3) {
        memcpy(out, pixels, (size_t)n * 3);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = pixels + i * channels;
        unsigned alpha = channels % 2 ? 255 : p[channels - 1];
        for (int c = 0; c < 3; c++)
            out[i * 3 + c] = over(p[channels > 2 ? c : 0], alpha, background[c]);
    }
}

vlmoe_status vlm_stb_decode(const unsigned char *data, size_t bytes, const uint8_t *background,
                            vlm_image *out, vlmoe_error *error)
{
    int width = 0, height = 0, channels = 0;
    VLM_TRY(check_bytes(bytes, error));
    uint8_t *pixels = stbi_load_from_memory(data, (int)bytes, &width, &height, &channels, 0);
    if (!pixels) return stb_fail(error);
    vlmoe_status st = VLMOE_OK;
    if (width != out->width || height != out->height)
        st = vlm_fail(error, VLMOE_E_FORMAT, "header says %lld x %lld pixels, there are %d x %d",
                      (long long)out->width, (long long)out->height, width, height);
    else flatten(pixels, out->width * out->height, channels, background, out->pixels);
    stbi_image_free(pixels);
    return st;
}
