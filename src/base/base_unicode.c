/* Properties of characters; the only file that knows utf8proc. */
#include <string.h>
#include <utf8proc.h>
#include "base_json.h"
#include "base_unicode.h"

size_t vlm_unicode_read(const char *text, size_t bytes, int32_t *code)
{
    size_t n = vlm_utf8_length(text, bytes);
    if (n == 1) *code = (unsigned char)*text;
    else if (n) utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, code);
    return n;
}

bool vlm_unicode_is_digit(int32_t code)
{
    if (code < 0x80) return code >= '0' && code <= '9';
    return utf8proc_category(code) == UTF8PROC_CATEGORY_ND;
}

bool vlm_unicode_is_word(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

/* By bidirectional class as well as category, so the separators U+001C to U+001F count. */
bool vlm_unicode_is_space(int32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x1F);
    return code == 0x85 || code == 0x2028 || code == 0x2029 ||
           utf8proc_category(code) == UTF8PROC_CATEGORY_ZS;
}

size_t vlm_unicode_lower(int32_t code, char *out)
{
    if (code < 0x80) {
        *out = (char)(code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code);
        return 1;
    }
    if (code == 0x130) { /* the only letter that lowers to two, SpecialCasing.txt */
        memcpy(out, "i\xCC\x87", 3);
        return 3;
    }
    return (size_t)utf8proc_encode_char(utf8proc_tolower(code), (utf8proc_uint8_t *)out);
}
