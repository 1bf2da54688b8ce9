/* Growing text, its JSON pieces, and the shape of UTF-8. */
#include <math.h>
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_json.h"

/* Make room for `more` bytes and a terminator. */
static bool grow(vlm_text *text, size_t more)
{
    if (text->failed) return false;
    if (text->data && more < text->capacity - text->bytes) return true;
    size_t capacity = 0;
    char *data = NULL;
    if (more < SIZE_MAX / 4 && text->bytes < SIZE_MAX / 4) {
        capacity = VLM_MAX(2 * text->capacity, text->bytes + more + 1);
        capacity = VLM_MAX(capacity, (size_t)64);
        data = vlm_alloc(capacity);
    }
    if (!data) {
        text->failed = true;
        return false;
    }
    if (text->bytes) memcpy(data, text->data, text->bytes);
    vlm_free(text->data);
    text->data = data;
    text->capacity = capacity;
    return true;
}

void vlm_text_clear(vlm_text *text, size_t room)
{
    text->bytes = 0;
    if (grow(text, room)) text->data[0] = '\0';
}

void vlm_text_append(vlm_text *text, const char *data, size_t bytes)
{
    if (!grow(text, bytes)) return;
    if (bytes) memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
    text->data[text->bytes] = '\0';
}

void vlm_text_put(vlm_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !grow(text, (size_t)n)) {
        text->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(text->data + text->bytes, (size_t)n + 1, format, args);
    va_end(args);
    text->bytes += (size_t)n;
}

size_t vlm_utf8_mark(const char *text, size_t bytes)
{
    return bytes >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
}

/* RFC 3629: the second byte's range keeps out overlong forms, surrogates and what is above
 * U+10FFFF. */
size_t vlm_utf8_length(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    if (bytes == 0) return 0;
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xC2 && p[0] <= 0xDF   ? 2
               : p[0] >= 0xE0 && p[0] <= 0xEF ? 3
               : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                              : 0;
    if (n == 0 || n > bytes) return 0;
    unsigned low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return n;
}

void vlm_text_json_string(vlm_text *text, const char *value, size_t bytes)
{
    vlm_text_append(text, "\"", 1);
    for (size_t at = 0; at < bytes;) {
        unsigned char c = (unsigned char)value[at];
        size_t n = vlm_utf8_length(value + at, bytes - at);
        if (n == 0) {
            vlm_text_append(text, "\xEF\xBF\xBD", 3); /* U+FFFD */
            at++;
            continue;
        }
        if (c == '"' || c == '\\') vlm_text_append(text, (const char[]){'\\', (char)c}, 2);
        else if (c == '\n') vlm_text_append(text, "\\n", 2);
        else if (c == '\t') vlm_text_append(text, "\\t", 2);
        else if (c == '\r') vlm_text_append(text, "\\r", 2);
        else if (c < 0x20 || c == 0x7F) vlm_text_put(text, "\\u%04x", c);
        else vlm_text_append(text, value + at, n);
        at += n;
    }
    vlm_text_append(text, "\"", 1);
}

void vlm_text_json_number(vlm_text *text, double value)
{
    char digits[40];
    if (!isfinite(value)) {
        vlm_text_append(text, "null", 4);
        return;
    }
    if (value == floor(value) && fabs(value) < 1e15) {
        vlm_text_put(text, "%.0f", value);
        return;
    }
    /* Any decimal of up to 15 digits survives a normal double, and %g drops trailing zeros;
     * subnormals have fewer digits. */
    for (int precision = fabs(value) < DBL_MIN ? 1 : DBL_DIG; precision <= DBL_DECIMAL_DIG;
         precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) break;
    }
    for (char *c = digits; *c; c++)
        if (!strchr("0123456789+-e", *c)) *c = '.'; /* the locale may have another point */
    vlm_text_append(text, digits, strlen(digits));
}

void vlm_text_free(vlm_text *text)
{
    vlm_free(text->data);
    *text = (vlm_text){0};
}
