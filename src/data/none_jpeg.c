/* JPEG where libjpeg is missing: stb_image, after a walk to the end-of-image marker, because
 * stb_image fills what a cut file lacks with grey. Twin of data_jpeg.c, half as fast. */
#include "data_codec.h"

enum { MARKER_EOI = 0xd9, MARKER_SOS = 0xda, MARKER_RST0 = 0xd0, MARKER_RST7 = 0xd7 };

/* Past the coded data that follows a start-of-scan segment, at the next real marker. */
static size_t skip_scan(const unsigned char *data, size_t bytes, size_t at)
{
    for (; at + 1 < bytes; at++) {
        unsigned next = data[at + 1];
        bool is_data = data[at] != 0xff || next == 0 || next == 0xff ||
                       (next >= MARKER_RST0 && next <= MARKER_RST7);
        if (!is_data) return at;
    }
    return bytes;
}

static vlmoe_status walk(const unsigned char *data, size_t bytes, vlmoe_error *error)
{
    size_t at = 2; /* after the start-of-image marker */
    while (at + 1 < bytes) {
        if (data[at] != 0xff || data[at + 1] == 0xff) { /* fill bytes, stray bytes */
            at++;
            continue;
        }
        unsigned marker = data[at + 1];
        if (marker == MARKER_EOI) return VLMOE_OK;
        if (at + 4 > bytes) break;
        size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
        if (length < 2)
            return vlm_fail(error, VLMOE_E_FORMAT, "segment of length %zu at byte %zu", length, at);
        at += 2 + length;
        if (marker == MARKER_SOS && at < bytes) at = skip_scan(data, bytes, at);
    }
    return vlm_fail(error, VLMOE_E_FORMAT, "the file ends at byte %zu, before its end marker",
                    bytes);
}

vlmoe_status vlm_jpeg_probe(const unsigned char *data, size_t bytes, vlm_size *out,
                            vlmoe_error *error)
{
    return vlm_stb_probe(data, bytes, out, error);
}

vlmoe_status vlm_jpeg_decode(const unsigned char *data, size_t bytes, vlm_image *out,
                             vlmoe_error *error)
{
    const uint8_t unused[3] = {0}; /* a JPEG is never transparent */
    VLM_TRY(walk(data, bytes, error));
    return vlm_stb_decode(data, bytes, unused, out, error);
}
