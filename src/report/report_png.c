/* Pictures inside a page. The only file that knows stb_image_write. */
#include <stdlib.h>
#include <string.h>
#include "report_html.h"

#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
/* One more byte: a picture of no width asks for none. */
#define STBIW_MALLOC(bytes)        malloc((size_t)(bytes) + 1)
#define STBIW_REALLOC(from, bytes) realloc(from, bytes)
#define STBIW_FREE(from)           free(from)
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include <stb/stb_image_write.h>

enum {
    SIDE_MAX = 16384
}; /* far above what a page shows, far below what stb's int arithmetic bears */

static void put_base64(vlm_text *out, const unsigned char *data, size_t bytes)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        unsigned word = (unsigned)data[i] << 16;
        if (left > 1) word |= (unsigned)data[i + 1] << 8;
        if (left > 2) word |= data[i + 2];
        const char four[4] = {digit[word >> 18], digit[word >> 12 & 63],
                              left > 1 ? digit[word >> 6 & 63] : '=',
                              left > 2 ? digit[word & 63] : '='};
        vlm_text_append(out, four, sizeof four);
    }
}

vlmoe_status vlm_html_png(vlm_text *out, int64_t width, int64_t height, int channels,
                          const uint8_t *pixels, vlmoe_error *error)
{
    int bytes = 0;
    if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX ||
        (channels != 3 && channels != 4))
        return vlm_fail(error, VLMOE_E_ARG, "a picture of %lld x %lld x %d cannot be in a page",
                        (long long)width, (long long)height, channels);
    unsigned char *png = stbi_write_png_to_mem(pixels, (int)width * channels, (int)width,
                                               (int)height, channels, &bytes);
    if (!png) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a picture of the page");
    vlm_text_put(out, "data:image/png;base64,");
    put_base64(out, png, (size_t)bytes);
    free(png);
    return VLMOE_OK;
}
