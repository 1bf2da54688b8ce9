/* Tar headers: POSIX.1-2017 (pax, ustar) and the GNU extensions for long names and large sizes. */
#include "data_tar.h"

#include <stdio.h>
#include <string.h>

/* What extension headers say about the member after them. */
typedef struct override {
    char path[VLM_TAR_PATH_MAX];
    bool has_path, has_size;
    uint64_t size;
} override;

typedef struct header {
    char type;
    uint64_t size;
    char path[VLM_TAR_PATH_MAX];
} header;

static vlmoe_status bad(const vlm_tar *tar, uint64_t offset, const char *what, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_FORMAT, "%s: %s at byte %llu", tar->where, what,
                    (unsigned long long)offset);
}

/* Octal digits up to a blank or zero, or GNU's big-endian binary behind a byte of 0x80. */
static bool number(const unsigned char *field, size_t n, uint64_t *out)
{
    uint64_t value = 0;
    size_t i = 0;
    if (field[0] == 0x80) {
        for (i = 1; i < n; i++) {
            if (value >> 56) return false;
            value = value << 8 | field[i];
        }
        *out = value;
        return true;
    }
    while (i < n && field[i] == ' ') i++;
    size_t from = i;
    for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) value = value * 8 + (field[i] - '0');
    bool ends = i == n || field[i] == ' ' || field[i] == 0;
    *out = value; /* at most 12 digits: no overflow */
    return i > from && ends;
}

static bool is_zero(const unsigned char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (data[i]) return false;
    return true;
}

/* Sum of the header's bytes with the checksum field as blanks. Old writers summed signed bytes. */
static bool checksum_fits(const unsigned char *block)
{
    uint64_t want;
    int64_t plain = 0, as_signed = 0;
    if (!number(block + 148, 8, &want)) return false;
    for (int i = 0; i < VLM_TAR_BLOCK; i++) {
        unsigned char c = i >= 148 && i < 156 ? ' ' : block[i];
        plain += c;
        as_signed += (signed char)c;
    }
    return (int64_t)want == plain || (int64_t)want == as_signed;
}

static void read_path(const unsigned char *block, char *out)
{
    size_t name = strnlen((const char *)block, 100), prefix = 0;
    if (!memcmp(block + 257, "ustar\0", 6)) prefix = strnlen((const char *)block + 345, 155);
    if (prefix) {
        memcpy(out, block + 345, prefix);
        out[prefix++] = '/';
    }
    memcpy(out + prefix, block, name);
    out[prefix + name] = 0;
}

/* Header at tar->at, its size not yet compared with what is left. */
static vlmoe_status read_header(const vlm_tar *tar, header *out, vlmoe_error *error)
{
    if (tar->bytes - tar->at < VLM_TAR_BLOCK)
        return bad(tar, tar->at, "the file is cut: half a header", error);
    const unsigned char *block = tar->data + tar->at;
    if (!checksum_fits(block))
        return bad(tar, tar->at, "not a tar header (its checksum is wrong)", error);
    if (!number(block + 124, 12, &out->size))
        return bad(tar, tar->at, "a member's size is not a number", error);
    out->type = (char)block[156];
    read_path(block, out->path);
    return VLMOE_OK;
}

/* Member data of size bytes after the header at tar->at; moves at to the next header. */
static vlmoe_status take_data(vlm_tar *tar, uint64_t size, const unsigned char **data,
                              vlmoe_error *error)
{
    uint64_t from = tar->at + VLM_TAR_BLOCK, left = tar->bytes - from;
    uint64_t padding = (VLM_TAR_BLOCK - size % VLM_TAR_BLOCK) % VLM_TAR_BLOCK;
    if (size > left || padding > left - size)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: the file is cut: the member at byte %llu has %llu bytes, %llu are "
                        "left",
                        tar->where, (unsigned long long)tar->at, (unsigned long long)size,
                        (unsigned long long)left);
    *data = tar->data + from;
    tar->at = from + size + padding;
    return VLMOE_OK;
}

static vlmoe_status set_path(const vlm_tar *tar, const unsigned char *text, size_t bytes,
                             override *out, vlmoe_error *error)
{
    if (bytes >= VLM_TAR_PATH_MAX || memchr(text, 0, bytes))
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: a member's path of %zu bytes before byte %llu; at most %d, none zero",
                        tar->where, bytes, (unsigned long long)tar->at, VLM_TAR_PATH_MAX - 1);
    memcpy(out->path, text, bytes);
    out->path[bytes] = 0;
    out->has_path = true;
    return VLMOE_OK;
}

/* One record "LENGTH KEY=VALUE\n" of text [bytes]; *used is its length. */
static vlmoe_status pax_record(const vlm_tar *tar, const unsigned char *text, size_t bytes,
                               override *out, size_t *used, vlmoe_error *error)
{
    uint64_t length = 0;
    size_t i = 0;
    for (; i < bytes && i < 9 && text[i] >= '0' && text[i] <= '9'; i++)
        length = length * 10 + (text[i] - '0');
    if (i == 0 || i >= bytes || text[i] != ' ' || length > bytes || length < i + 3 ||
        text[length - 1] != '\n')
        return bad(tar, tar->at, "a broken pax record before the header", error);
    const unsigned char *key = text + i + 1, *end = text + length - 1;
    const unsigned char *equals = memchr(key, '=', (size_t)(end - key));
    if (!equals) return bad(tar, tar->at, "a pax record without '=' before the header", error);
    const unsigned char *value = equals + 1;
    size_t key_bytes = (size_t)(equals - key), value_bytes = (size_t)(end - value);
    *used = (size_t)length;
    if (key_bytes == 4 && !memcmp(key, "path", 4))
        return set_path(tar, value, value_bytes, out, error);
    if (key_bytes == 4 && !memcmp(key, "size", 4)) {
        out->has_size = value_bytes > 0 && value_bytes < 19;
        out->size = 0;
        for (size_t k = 0; k < value_bytes && out->has_size; k++) {
            out->has_size = value[k] >= '0' && value[k] <= '9';
            out->size = out->size * 10 + (value[k] - (unsigned)'0');
        }
        if (!out->has_size) return bad(tar, tar->at, "a pax size is no number before", error);
    }
    return VLMOE_OK;
}

static vlmoe_status extension(const vlm_tar *tar, char type, const unsigned char *data,
                              uint64_t size, override *out, vlmoe_error *error)
{
    if (type == 'L') return set_path(tar, data, strnlen((const char *)data, size), out, error);
    size_t used = 0;
    for (uint64_t i = 0; type == 'x' && i < size; i += used)
        VLM_TRY(pax_record(tar, data + i, (size_t)(size - i), out, &used, error));
    return VLMOE_OK; /* g (for all members) and K (link targets) say nothing of use */
}

/* Whether the archive ends at tar->at. Anything but zeros behind the marker would be lost samples:
 * two archives joined by cat, say. */
static vlmoe_status at_end(const vlm_tar *tar, bool *end, vlmoe_error *error)
{
    uint64_t left = tar->bytes - tar->at;
    *end = false;
    if (tar->is_part) {
        *end = left == 0;
        return VLMOE_OK;
    }
    if (left == 0) return bad(tar, tar->at, "the file is cut: no end marker", error);
    if (left < VLM_TAR_BLOCK || !is_zero(tar->data + tar->at, VLM_TAR_BLOCK)) return VLMOE_OK;
    if (left < 2 * VLM_TAR_BLOCK)
        return bad(tar, tar->at, "the file is cut: half an end marker", error);
    if (!is_zero(tar->data + tar->at, (size_t)left))
        return bad(tar, tar->at, "there is data behind the end marker", error);
    *end = true;
    return VLMOE_OK;
}

vlmoe_status vlm_tar_next(vlm_tar *tar, vlm_tar_member *out, bool *found, vlmoe_error *error)
{
    override over = {.has_path = false};
    uint64_t offset = tar->at;
    for (;;) {
        bool end = false;
        VLM_TRY(at_end(tar, &end, error));
        if (end && tar->at != offset)
            return bad(tar, offset, "an extension header without its member", error);
        *found = !end;
        if (end) return VLMOE_OK;
        header head;
        VLM_TRY(read_header(tar, &head, error));
        bool is_extension = head.type && strchr("xgLK", head.type);
        bool is_file = head.type == '0' || head.type == 0 || head.type == '7';
        bool has_data = !(head.type >= '1' && head.type <= '6');
        if (head.type == 'S')
            return vlm_fail(error, VLMOE_E_UNSUPPORTED, "%s: sparse member at byte %llu",
                            tar->where, (unsigned long long)tar->at);
        const unsigned char *data = NULL;
        uint64_t size = !has_data ? 0 : over.has_size && !is_extension ? over.size : head.size;
        VLM_TRY(take_data(tar, size, &data, error));
        if (is_extension) {
            VLM_TRY(extension(tar, head.type, data, size, &over, error));
        } else if (is_file) {
            memcpy(out->path, over.has_path ? over.path : head.path, VLM_TAR_PATH_MAX);
            out->offset = offset;
            out->data = data;
            out->bytes = (size_t)size;
            return VLMOE_OK;
        } else {
            over = (override){.has_path = false};
            offset = tar->at;
        }
    }
}

bool vlm_tar_header(const char *path, uint64_t bytes, unsigned char *block)
{
    size_t length = strlen(path);
    if (length > VLM_TAR_NAME_MAX || bytes >> 33) return false;
    char text[16];
    memset(block, 0, VLM_TAR_BLOCK);
    memcpy(block, path, length);
    memcpy(block + 100, "0000644", 8); /* mode */
    memcpy(block + 108, "0000000", 8); /* user */
    memcpy(block + 116, "0000000", 8); /* group */
    snprintf(text, sizeof text, "%011llo", (unsigned long long)bytes);
    memcpy(block + 124, text, 12);
    memcpy(block + 136, "00000000000", 12); /* time */
    block[156] = '0';
    memcpy(block + 257, "ustar\00000", 8);
    unsigned sum = 8 * ' ';
    for (int i = 0; i < VLM_TAR_BLOCK; i++) sum += block[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(block + 148, text, 7);
    block[155] = ' ';
    return true;
}
