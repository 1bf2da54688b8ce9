/* Which way up a photograph is: the orientation that a camera wrote into the Exif segment of a JPEG
 * (CIPA DC-008, 4.6.4; TIFF 6.0, section 2). Files are hostile; what cannot be read is no
 * orientation, never an error, since the pixels do not depend on it. */
#include "data_codec.h"

#include <string.h>

enum {
    MARKER_APP1 = 0xe1,
    MARKER_EOI = 0xd9,
    MARKER_SOS = 0xda,
    TAG_ORIENTATION = 0x0112,
    TYPE_SHORT = 3,
    ENTRY_BYTES = 12
};

/* A TIFF file in memory. */
typedef struct tiff {
    const unsigned char *data;
    size_t bytes;
    bool is_big; /* byte order */
} tiff;

/* n bytes at a place that is inside. */
static uint32_t number_at(const tiff *t, size_t at, int n)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v = v << 8 | t->data[at + (size_t)(t->is_big ? i : n - 1 - i)];
    return v;
}

/* 1 to 8; 1 when there is none or it says nothing. */
static int find_in_tiff(const unsigned char *data, size_t bytes)
{
    tiff t = {data, bytes, false};
    if (bytes < 8) return 1;
    if (!memcmp(data, "MM\0\x2a", 4)) t.is_big = true;
    else if (memcmp(data, "II\x2a\0", 4)) return 1;
    const size_t start = number_at(&t, 4, 4); /* of the first directory: a count and its entries */
    if (start > bytes || bytes - start < 2) return 1;
    const size_t n = number_at(&t, start, 2), n_inside = (bytes - start - 2) / ENTRY_BYTES;
    for (size_t i = 0; i < VLM_MIN(n, n_inside); i++) {
        const size_t at = start + 2 + i * ENTRY_BYTES; /* tag, type, count, value */
        if (number_at(&t, at, 2) != TAG_ORIENTATION) continue;
        const uint32_t value = number_at(&t, at + 8, 2);
        bool is_valid = number_at(&t, at + 2, 2) == TYPE_SHORT && value >= 1 && value <= 8;
        return is_valid ? (int)value : 1;
    }
    return 1;
}

int vlm_exif_orientation(const unsigned char *data, size_t bytes)
{
    size_t at = 2; /* after the start-of-image marker */
    while (at + 4 <= bytes && data[at] == 0xff) {
        const unsigned marker = data[at + 1];
        const size_t length = (size_t)data[at + 2] << 8 | data[at + 3], body = at + 4;
        if (marker == 0xff) { /* a fill byte */
            at++;
            continue;
        }
        if (marker == MARKER_SOS || marker == MARKER_EOI) break;
        if (length < 2 || length > bytes - at - 2) break;
        if (marker == MARKER_APP1 && length >= 8 && !memcmp(data + body, "Exif\0", 5))
            return find_in_tiff(data + body + 6, length - 8);
        at += 2 + length;
    }
    return 1;
}

/* ---- Turning. A shown pixel (x, y) is the stored one (a, b) = (x, y), or (y, x) from orientation 5
 * on, counted from the right in 2, 3, 7, 8 and from below in 3, 4, 6, 7. ---- */

static bool swaps(int orientation)
{
    return orientation >= 5;
}

static bool flips_x(int orientation)
{
    return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}

static bool flips_y(int orientation)
{
    return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

vlm_size vlm_exif_stored_size(int orientation, vlm_size shown)
{
    return swaps(orientation) ? (vlm_size){shown.height, shown.width} : shown;
}

vlm_box vlm_exif_stored_box(int orientation, vlm_size stored, vlm_box shown)
{
    vlm_box box = shown;
    if (swaps(orientation)) box = (vlm_box){shown.y, shown.x, shown.height, shown.width};
    if (flips_x(orientation)) box.x = stored.width - box.x - box.width;
    if (flips_y(orientation)) box.y = stored.height - box.y - box.height;
    return box;
}

void vlm_exif_turn(int orientation, const vlm_image *stored, vlm_box part, vlm_image *shown)
{
    const int64_t row = stored->width * 3;
    int64_t step_a = flips_x(orientation) ? -3 : 3, step_b = flips_y(orientation) ? -row : row;
    const int64_t start =
        (step_a < 0 ? row - 3 : 0) + (step_b < 0 ? (stored->height - 1) * row : 0);
    const int64_t step_x = swaps(orientation) ? step_b : step_a;
    const int64_t step_y = swaps(orientation) ? step_a : step_b;
    for (int64_t y = part.y; y < part.y + part.height; y++) {
        const uint8_t *from = stored->pixels + start + y * step_y + part.x * step_x;
        uint8_t *to = shown->pixels + (y * shown->width + part.x) * 3;
        for (int64_t x = 0; x < part.width; x++, from += step_x, to += 3)
            for (int c = 0; c < 3; c++) to[c] = from[c];
    }
}
