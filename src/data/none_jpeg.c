/* JPEG where libjpeg is missing: stb_image, after a walk over the markers to the end of the image.
 * stb_image fills what a cut file lacks with grey, and leaves its arrays for code tables that are too
 * long or were never given; fuzz/image found both. Twin of data_jpeg.c, half as fast. */
#include "data_codec.h"

enum {
    MARKER_SOF2 = 0xc2, /* progressive */
    MARKER_DHT = 0xc4,
    MARKER_RST0 = 0xd0,
    MARKER_RST7 = 0xd7,
    MARKER_EOI = 0xd9,
    MARKER_SOS = 0xda
};

/* What the segments so far have said. */
typedef struct state {
    bool is_progressive;
    bool has_table[2][4]; /* [0 = DC, 1 = AC][name] */
} state;

/* Code tables in the body of a segment: a byte of class and name, 16 counts, the symbols, at most
 * 256 (ITU-T T.81, B.2.4.2). */
static bool take_tables(state *s, const unsigned char *body, size_t bytes)
{
    size_t at = 0;
    while (at + 17 <= bytes) {
        size_t n_symbols = 0;
        for (int i = 1; i <= 16; i++) n_symbols += body[at + i];
        if (n_symbols > 256 || body[at] >> 4 > 1 || (body[at] & 15) > 3) return false;
        s->has_table[body[at] >> 4][body[at] & 15] = true;
        at += 17 + n_symbols;
    }
    return at == bytes;
}

/* Does a start of scan name only tables that were given? (B.2.3) */
static bool scan_has_tables(const state *s, const unsigned char *body, size_t bytes)
{
    size_t n = bytes ? body[0] : 0;
    if (n < 1 || n > 4 || bytes != 4 + 2 * n) return false;
    bool is_first_band = body[1 + 2 * n] == 0; /* a progressive scan is DC alone or AC alone */
    for (size_t i = 0; i < n; i++) {
        unsigned dc = body[2 + 2 * i] >> 4, ac = body[2 + 2 * i] & 15;
        bool needs_dc = !s->is_progressive || is_first_band;
        bool needs_ac = !s->is_progressive || !is_first_band;
        if (dc > 3 || ac > 3) return false;
        if ((needs_dc && !s->has_table[0][dc]) || (needs_ac && !s->has_table[1][ac])) return false;
    }
    return true;
}

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
    state s = {.is_progressive = false};
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
        if (length > bytes - at - 2) break;
        const unsigned char *body = data + at + 4;
        if (marker == MARKER_SOF2) s.is_progressive = true;
        if (marker == MARKER_DHT && !take_tables(&s, body, length - 2))
            return vlm_fail(error, VLMOE_E_FORMAT, "impossible code table at byte %zu", at);
        if (marker == MARKER_SOS && !scan_has_tables(&s, body, length - 2))
            return vlm_fail(error, VLMOE_E_FORMAT, "scan without its code tables at byte %zu", at);
        at += 2 + length;
        if (marker == MARKER_SOS) at = skip_scan(data, bytes, at);
    }
    return vlm_fail(error, VLMOE_E_FORMAT, "the file ends at byte %zu, before its end marker",
                    bytes);
}

vlmoe_status vlm_jpeg_open(vlm_workspace *workspace, const unsigned char *data, size_t bytes,
                           vlm_size *out, vlmoe_error *error)
{
    (void)workspace;
    VLM_TRY(walk(data, bytes, error)); /* stb_image reads code tables on its way to the size */
    return vlm_stb_probe(data, bytes, out, error);
}

vlmoe_status vlm_jpeg_read(const vlm_image_file *file, const vlm_box *part, uint8_t *pixels,
                           vlmoe_error *error)
{
    (void)part;
    return vlm_stb_read(file, pixels, error);
}
