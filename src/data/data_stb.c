/* The only file that knows stb_image. It decodes what the check functions have let through. */
#include "data_png.h"

#include <stdlib.h>
#include <string.h>

/* A PNG may inflate to a thousand times its size whatever its header says; no single block of the
 * decoder's may be larger than the largest picture allowed needs (16-bit RGBA). */
enum { BLOCK_MAX = 1000 * 1024 * 1024 };

/* stb_image asks for memory without saying for whom, so the workspace of the call that is running on
 * this thread is told here; NULL outside vlm_stb_read. */
static _Thread_local vlm_workspace *memory;

/* Cleared, because stb_image copies bytes that nobody wrote when a file uses the distance codes 30
 * and 31, which do not exist (RFC 1951, 3.2.6): such a file must give the same pixels every time. */
static void *stb_malloc(size_t bytes)
{
    if (bytes > BLOCK_MAX) return NULL;
    if (!memory) return calloc(1, bytes);
    void *block = vlm_workspace_take(memory, 1, bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

static void *stb_realloc(void *block, size_t before, size_t bytes)
{
    void *more = stb_malloc(bytes);
    if (!more) return NULL;
    if (block) memcpy(more, block, VLM_MIN(before, bytes));
    if (!memory) free(block);
    return more;
}

static void stb_free(void *block)
{
    if (!memory) free(block);
}

#define STBI_MALLOC(bytes)                       stb_malloc(bytes)
#define STBI_REALLOC_SIZED(block, before, bytes) stb_realloc(block, before, bytes)
#define STBI_FREE(block)                         stb_free(block)
#define STBI_ASSERT(what)                        ((void)0)
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
/* gcc 12 does not see that its memory reader sets these before they are read. */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
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

/* What stb_image makes of a file; channels 0 before: as many as there are. */
typedef struct decoded {
    uint8_t *pixels; /* [height, width, channels] */
    int channels;
} decoded;

static vlmoe_status load(const unsigned char *data, size_t bytes, const vlm_image_file *file,
                         decoded *out, vlmoe_error *error)
{
    int width = 0, height = 0, found = 0;
    out->pixels = stbi_load_from_memory(data, (int)bytes, &width, &height, &found, out->channels);
    if (!out->pixels) return stb_fail(error);
    if (!out->channels) out->channels = found;
    if (width == file->width && height == file->height) return VLMOE_OK;
    stbi_image_free(out->pixels);
    return vlm_fail(error, VLMOE_E_FORMAT, "header says %lld x %lld pixels, there are %d x %d",
                    (long long)file->width, (long long)file->height, width, height);
}

static vlmoe_status read_indexed(const vlm_image_file *file, const vlm_png_palette *palette,
                                 uint8_t *pixels, vlmoe_error *error)
{
    decoded levels = {.channels = 1};
    unsigned char *copy = stb_malloc(file->bytes);
    if (!copy) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to decode it");
    size_t bytes = vlm_png_as_levels(file->data, file->bytes, copy);
    vlmoe_status st = load(copy, bytes, file, &levels, error);
    stb_free(copy);
    if (st) return st;
    st = vlm_png_colour(palette, file, levels.pixels, pixels, error);
    stbi_image_free(levels.pixels);
    return st;
}

static bool is_png(const vlm_image_file *file)
{
    return file->bytes > 33 && !memcmp(file->data, "\x89PNG", 4);
}

static vlmoe_status read_file(const vlm_image_file *file, uint8_t *pixels, vlmoe_error *error)
{
    decoded found = {.channels = 0};
    vlm_png_palette palette = {.n = 0};
    VLM_TRY(check_bytes(file->bytes, error));
    if (is_png(file)) VLM_TRY(vlm_png_palette_read(file->data, file->bytes, &palette, error));
    if (palette.n) return read_indexed(file, &palette, pixels, error);
    VLM_TRY(load(file->data, file->bytes, file, &found, error));
    /* Its memory is the workspace's while there is one, else the heap's; stb_free knows. */
    flatten(found.pixels, file->width * file->height, found.channels, file->background, pixels);
    stbi_image_free(found.pixels);
    return VLMOE_OK; // NOLINT(clang-analyzer-unix.Malloc)
}

vlmoe_status vlm_stb_read(const vlm_image_file *file, uint8_t *pixels, vlmoe_error *error)
{
    memory = file->workspace;
    vlmoe_status st = read_file(file, pixels, error);
    memory = NULL;
    return st;
}
