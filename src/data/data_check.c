/* Headers and structure of the formats that stb_image decodes without noticing missing or damaged
 * data. No pixels are made here. */
#include "data_codec.h"

#include <string.h>

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t le16(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le32(const unsigned char *p)
{
    return le16(p) | le16(p + 2) << 16;
}

/* ---- PNG (ISO/IEC 15948) ---- */

/* CRC-32 by bytes; the table is 256 entries made per picture, which costs a microsecond. */
static void crc_table(uint32_t *table)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
}

static uint32_t crc_of(const uint32_t *table, const unsigned char *data, size_t bytes)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < bytes; i++) c = table[(c ^ data[i]) & 255] ^ c >> 8;
    return ~c;
}

/* Bits of a pixel, 0 when colour type and depth do not go together. */
static uint32_t png_pixel_bits(unsigned depth, unsigned colour)
{
    static const uint8_t channels[7] = {1, 0, 3, 1, 2, 0, 4};
    if (colour > 6 || !channels[colour]) return 0;
    bool small = depth == 1 || depth == 2 || depth == 4;
    if (depth != 8 && !(depth == 16 && colour != 3) && !(small && (colour == 0 || colour == 3)))
        return 0;
    return depth * channels[colour];
}

/* body [13] of IHDR -> the least bytes that its pixels inflate to */
static vlmoe_status png_header(const unsigned char *body, uint64_t *raw_bytes, vlmoe_error *error)
{
    uint32_t width = be32(body), height = be32(body + 4);
    uint32_t bits = png_pixel_bits(body[8], body[9]);
    if (!bits || body[10] || body[11] || body[12] > 1)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "header asks for depth %u, colour type %u, compression %u, filter %u, "
                        "interlace %u; there is no such PNG",
                        body[8], body[9], body[10], body[11], body[12]);
    *raw_bytes = ((uint64_t)width * bits + 7) / 8 * height; /* sides <= 65535, seen by the probe */
    return VLMOE_OK;
}

vlmoe_status vlm_png_probe(const unsigned char *data, size_t bytes, vlm_size *out,
                           vlmoe_error *error)
{
    if (bytes < 33 || memcmp(data + 12, "IHDR", 4))
        return vlm_fail(error, VLMOE_E_FORMAT, "its IHDR is not whole at byte 8");
    *out = (vlm_size){be32(data + 16), be32(data + 20)};
    return VLMOE_OK;
}

vlmoe_status vlm_png_check(const unsigned char *data, size_t bytes, vlmoe_error *error)
{
    uint32_t table[256];
    crc_table(table);
    uint64_t raw_bytes = 0, packed_bytes = 0;
    for (size_t at = 8;;) {
        if (bytes - at < 12)
            return vlm_fail(error, VLMOE_E_FORMAT, "the file ends at byte %zu, before its IEND",
                            bytes);
        uint32_t length = be32(data + at);
        const unsigned char *type = data + at + 4, *body = data + at + 8;
        if (length > bytes - at - 12)
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "chunk at byte %zu says %u bytes, the file has %zu left", at, length,
                            bytes - at - 12);
        if (crc_of(table, type, (size_t)length + 4) != be32(body + length))
            return vlm_fail(error, VLMOE_E_FORMAT, "checksum of the chunk at byte %zu is wrong",
                            at);
        bool is_header = !memcmp(type, "IHDR", 4);
        if (is_header != (at == 8) || (is_header && length != 13))
            return vlm_fail(error, VLMOE_E_FORMAT, "IHDR is missing or out of place at byte %zu",
                            at);
        if (is_header) VLM_TRY(png_header(body, &raw_bytes, error));
        if (!memcmp(type, "IDAT", 4)) packed_bytes += length;
        if (!memcmp(type, "IEND", 4)) break;
        at += (size_t)length + 12;
    }
    if (raw_bytes / 1032 > packed_bytes) /* deflate packs at most 1032 to 1 (RFC 1951) */
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%llu bytes of data cannot hold the %llu bytes of pixels the header says",
                        (unsigned long long)packed_bytes, (unsigned long long)raw_bytes);
    return VLMOE_OK;
}

/* ---- GIF (CompuServe, 1990) ---- */

static vlmoe_status gif_cut(size_t bytes, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_FORMAT, "the file ends at byte %zu, inside its first frame",
                    bytes);
}

/* Past a chain of sub-blocks; false: the file ends before the chain does. */
static bool gif_skip_blocks(const unsigned char *data, size_t bytes, size_t *at)
{
    while (*at < bytes) {
        size_t length = data[*at];
        *at += length + 1;
        if (!length) return true;
    }
    return false;
}

/* Bits of the LZW stream, over the borders of sub-blocks. */
typedef struct gif_bits {
    const unsigned char *data;
    size_t at, block_end; /* next byte; end of the present sub-block */
    uint32_t held;
    int n_held;
} gif_bits;

/* -1: the chain is over. The chain was walked before, so no length is looked at again. */
static int gif_code(gif_bits *in, int width)
{
    while (in->n_held < width) {
        if (in->at == in->block_end) {
            if (!in->data[in->at]) return -1;
            in->block_end = in->at + 1 + in->data[in->at];
            in->at++;
        }
        in->held |= (uint32_t)in->data[in->at++] << in->n_held;
        in->n_held += 8;
    }
    int code = (int)(in->held & ((1u << width) - 1));
    in->held >>= width;
    in->n_held -= width;
    return code;
}

/* How many pixels the stream makes, counted up to want: an LZW decoder that keeps only the lengths
 * of its strings. at is the first sub-block, root_bits 1..11. */
static uint64_t gif_pixels(const unsigned char *data, size_t at, int root_bits, uint64_t want)
{
    uint16_t length[4096];
    gif_bits in = {data, at, at, 0, 0};
    const int clear = 1 << root_bits;
    int n = clear + 2, width = root_bits + 1, last = -1;
    uint64_t made = 0;
    for (int i = 0; i < clear; i++) length[i] = 1;
    while (made < want) {
        int code = gif_code(&in, width);
        if (code < 0 || code == clear + 1) break;
        if (code == clear) {
            n = clear + 2, width = root_bits + 1, last = -1;
            continue;
        }
        if (last >= 0 && n < 4096) {
            length[n] = (uint16_t)(length[last] + 1);
            n++;
        }
        if (code >= n) break;
        made += length[code];
        last = code;
        if (n == 1 << width && width < 12) width++;
    }
    return made;
}

/* at is the image descriptor. */
static vlmoe_status gif_frame(const unsigned char *data, size_t bytes, size_t at,
                              vlmoe_error *error)
{
    if (bytes - at < 11) return gif_cut(bytes, error);
    uint64_t want = (uint64_t)le16(data + at + 5) * le16(data + at + 7);
    unsigned flags = data[at + 9];
    at += 10;
    if (flags & 0x80) at += (size_t)3 << ((flags & 7) + 1);
    if (at >= bytes) return gif_cut(bytes, error);
    int root_bits = data[at++];
    if (root_bits < 1 || root_bits > 11)
        return vlm_fail(error, VLMOE_E_FORMAT, "code size %d at byte %zu, outside 1..11", root_bits,
                        at - 1);
    size_t end = at;
    if (!gif_skip_blocks(data, bytes, &end)) return gif_cut(bytes, error);
    uint64_t made = gif_pixels(data, at, root_bits, want);
    if (made < want)
        return vlm_fail(error, VLMOE_E_FORMAT, "first frame has %llu of its %llu pixels",
                        (unsigned long long)made, (unsigned long long)want);
    return VLMOE_OK;
}

vlmoe_status vlm_gif_probe(const unsigned char *data, size_t bytes, vlm_size *out,
                           vlmoe_error *error)
{
    if (bytes < 13) return gif_cut(bytes, error);
    *out = (vlm_size){le16(data + 6), le16(data + 8)};
    return VLMOE_OK;
}

/* The header was seen by the probe. */
vlmoe_status vlm_gif_check(const unsigned char *data, size_t bytes, vlmoe_error *error)
{
    enum { EXTENSION = 0x21, FRAME = 0x2c };
    size_t at = 13;
    if (data[10] & 0x80) at += (size_t)3 << ((data[10] & 7) + 1);
    while (at < bytes) {
        if (data[at] == FRAME) return gif_frame(data, bytes, at, error);
        if (data[at] != EXTENSION)
            return vlm_fail(error, VLMOE_E_FORMAT, "unknown block 0x%02x at byte %zu", data[at],
                            at);
        at += 2;
        if (!gif_skip_blocks(data, bytes, &at)) break;
    }
    return gif_cut(bytes, error);
}

/* ---- BMP ---- */

enum { BMP_OLD_HEADER = 12 }; /* size of OS/2's, with 16-bit sides */

vlmoe_status vlm_bmp_probe(const unsigned char *data, size_t bytes, vlm_size *out,
                           vlmoe_error *error)
{
    if (bytes < 30) return vlm_fail(error, VLMOE_E_FORMAT, "the file ends inside its header");
    if (le32(data + 14) == BMP_OLD_HEADER) {
        *out = (vlm_size){le16(data + 18), le16(data + 20)};
        return VLMOE_OK;
    }
    int64_t rows = (int32_t)le32(data + 22); /* negative = stored from the top */
    *out = (vlm_size){(int32_t)le32(data + 18), rows < 0 ? -rows : rows};
    return VLMOE_OK;
}

/* Every pixel of a picture with a palette must name a colour of it: stb_image would show what lay on
 * the stack. Rows from offset on are complete, but for the last one's padding. */
static vlmoe_status bmp_colours(const unsigned char *data, vlm_size size, uint64_t offset,
                                uint64_t bits, vlmoe_error *error)
{
    const bool is_old = le32(data + 14) == BMP_OLD_HEADER;
    const uint64_t head = 14 + (uint64_t)le32(data + 14), width = (uint64_t)size.width;
    const uint64_t n = offset > head ? (offset - head) / (is_old ? 3 : 4) : 0;
    if (bits > 8 || n >= 1u << bits) return VLMOE_OK;
    for (uint64_t y = 0; y < (uint64_t)size.height; y++)
        for (uint64_t x = 0; x < width; x++) {
            const uint64_t bit = x * bits,
                           at = offset + y * ((width * bits + 31) / 32 * 4) + bit / 8;
            const unsigned colour = data[at] >> (8 - bits - bit % 8) & ((1u << bits) - 1);
            if (colour >= n)
                return vlm_fail(error, VLMOE_E_FORMAT,
                                "byte %llu names colour %u, but the palette has %llu",
                                (unsigned long long)at, colour, (unsigned long long)n);
        }
    return VLMOE_OK;
}

vlmoe_status vlm_bmp_check(const unsigned char *data, size_t bytes, vlmoe_error *error)
{
    vlm_size size = {0, 0};
    VLM_TRY(vlm_bmp_probe(data, bytes, &size, error));
    uint64_t width = (uint64_t)size.width, height = (uint64_t)size.height;
    uint64_t offset = le32(data + 10);
    uint64_t bits = le16(data + (le32(data + 14) == BMP_OLD_HEADER ? 24 : 28));
    /* Rows are padded to 4 bytes; some writers leave out the last padding. */
    uint64_t end = offset + (width * bits + 31) / 32 * 4 * (height - 1) + (width * bits + 7) / 8;
    if (end > bytes)
        return vlm_fail(error, VLMOE_E_FORMAT, "pixels end at byte %llu, the file at %zu",
                        (unsigned long long)end, bytes);
    if (bits != 1 && bits != 4 && bits != 8) return VLMOE_OK; /* no palette, or nothing to read */
    return bmp_colours(data, size, offset, bits, error);
}

/* ---- Binary PGM and PPM (netpbm) ---- */

/* A number after blanks and comments; false: there is none. */
static bool pnm_number(const unsigned char *data, size_t bytes, size_t *at, uint64_t *out)
{
    while (*at < bytes && (data[*at] == '#' || data[*at] <= ' ')) {
        if (data[*at] == '#')
            while (*at < bytes && data[*at] != '\n' && data[*at] != '\r') ++*at;
        else ++*at;
    }
    uint64_t value = 0;
    size_t from = *at;
    while (*at < bytes && data[*at] >= '0' && data[*at] <= '9' && value <= VLM_IMAGE_SIDE_MAX)
        value = value * 10 + (data[(*at)++] - '0');
    *out = value;
    return *at > from;
}

/* *at = the first byte of pixels; *top = the largest value of a sample */
static vlmoe_status pnm_header(const unsigned char *data, size_t bytes, vlm_size *size,
                               uint64_t *top, size_t *at, vlmoe_error *error)
{
    uint64_t width = 0, height = 0;
    *at = 2;
    if (!pnm_number(data, bytes, at, &width) || !pnm_number(data, bytes, at, &height) ||
        !pnm_number(data, bytes, at, top) || *top < 1 || *top > 65535)
        return vlm_fail(error, VLMOE_E_FORMAT, "no width, height and maximum in its header");
    ++*at; /* one blank */
    *size = (vlm_size){(int64_t)width, (int64_t)height};
    return VLMOE_OK;
}

vlmoe_status vlm_pnm_probe(const unsigned char *data, size_t bytes, vlm_size *out,
                           vlmoe_error *error)
{
    uint64_t top = 0;
    size_t at = 0;
    return pnm_header(data, bytes, out, &top, &at, error);
}

vlmoe_status vlm_pnm_check(const unsigned char *data, size_t bytes, vlmoe_error *error)
{
    vlm_size size = {0, 0};
    uint64_t top = 0;
    size_t at = 0;
    VLM_TRY(pnm_header(data, bytes, &size, &top, &at, error));
    uint64_t sample_bytes = (data[1] == '6' ? 3 : 1) * (top > 255 ? 2 : 1);
    uint64_t end = at + (uint64_t)size.width * (uint64_t)size.height * sample_bytes;
    if (end > bytes)
        return vlm_fail(error, VLMOE_E_FORMAT, "pixels end at byte %llu, the file at %zu",
                        (unsigned long long)end, bytes);
    return VLMOE_OK;
}
