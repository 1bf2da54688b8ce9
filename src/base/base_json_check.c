/* A strict JSON scanner: finds the first thing that is wrong and says on which line. Builds
 * nothing. */
#include <string.h>
#include "base_json.h"
#include "base_json_check.h"

enum { MAX_NUMBER = 60 };

typedef struct scan {
    char *text;
    size_t bytes, at;
    const char *name;
    bool comments;
    vlmoe_error *error;
    char closer[VLM_JSON_MAX_DEPTH]; /* what ends each open array or object */
    int depth;
} scan;

/* The current byte, or -1 at the end. */
static int peek(const scan *s)
{
    return s->at < s->bytes ? (unsigned char)s->text[s->at] : -1;
}

static vlmoe_status fail(scan *s, const char *what)
{
    int line = 1;
    for (size_t i = 0; i < s->at && i < s->bytes; i++) line += s->text[i] == '\n';
    int c = peek(s);
    if (c < 0)
        return vlm_fail(s->error, VLMOE_E_FORMAT, "%s line %d: %s, found the end of the text",
                        s->name, line, what);
    if (c > ' ' && c < 127)
        return vlm_fail(s->error, VLMOE_E_FORMAT, "%s line %d: %s, found '%c'", s->name, line, what,
                        c);
    return vlm_fail(s->error, VLMOE_E_FORMAT, "%s line %d: %s, found byte 0x%02x", s->name, line,
                    what, (unsigned)c);
}

/* At a slash: blank one comment. Newlines stay, so that lines keep their numbers. */
static vlmoe_status blank_comment(scan *s)
{
    char second = s->at + 1 < s->bytes ? s->text[s->at + 1] : '\0';
    if (!s->comments || (second != '/' && second != '*')) return fail(s, "expected JSON");
    size_t start = s->at, end = start + 2;
    if (second == '/') {
        while (end < s->bytes && s->text[end] != '\n') end++;
    } else {
        while (end + 1 < s->bytes && !(s->text[end] == '*' && s->text[end + 1] == '/')) end++;
        if (end + 1 >= s->bytes) return fail(s, "expected an end of this comment");
        end += 2;
    }
    for (size_t i = start; i < end; i++)
        if (s->text[i] != '\n') s->text[i] = ' ';
    s->at = end;
    return VLMOE_OK;
}

static vlmoe_status skip_space(scan *s)
{
    for (;;) {
        int c = peek(s);
        if (c == '/') VLM_TRY(blank_comment(s));
        else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') s->at++;
        else return VLMOE_OK;
    }
}

/* Four hexadecimal digits after "\u"; -1 when they are not. */
static int32_t hex4(const scan *s, size_t at)
{
    int32_t value = 0;
    for (size_t i = at; i < at + 4; i++) {
        int c = i < s->bytes ? s->text[i] : 0;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* At "\". */
static vlmoe_status skip_escape(scan *s)
{
    int c = s->at + 1 < s->bytes ? s->text[s->at + 1] : 0;
    if (c != 'u') {
        if (!c || !strchr("\"\\/bfnrt", c))
            return fail(s, "expected a JSON escape such as \\n or \\u0041");
        s->at += 2;
        return VLMOE_OK;
    }
    int32_t unit = hex4(s, s->at + 2);
    if (unit < 0) return fail(s, "expected four hexadecimal digits after \\u");
    if (unit == 0) return fail(s, "the character \\u0000 is not allowed");
    if (unit >= 0xDC00 && unit <= 0xDFFF)
        return fail(s, "the second half of a surrogate pair without a first");
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        bool paired =
            s->at + 7 < s->bytes && s->text[s->at + 6] == '\\' && s->text[s->at + 7] == 'u';
        int32_t second = paired ? hex4(s, s->at + 8) : -1;
        if (second < 0xDC00 || second > 0xDFFF)
            return fail(s, "the first half of a surrogate pair without a second");
        s->at += 6;
    }
    s->at += 6;
    return VLMOE_OK;
}

/* At the opening quote. */
static vlmoe_status skip_string(scan *s)
{
    s->at++;
    for (;;) {
        int c = peek(s);
        if (c == '"') break;
        if (c < ' ') return fail(s, "expected the closing quote of a string");
        if (c == '\\') {
            VLM_TRY(skip_escape(s));
            continue;
        }
        size_t n = vlm_utf8_length(s->text + s->at, s->bytes - s->at);
        if (n == 0) return fail(s, "expected UTF-8");
        s->at += n;
    }
    s->at++;
    return VLMOE_OK;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static vlmoe_status skip_digits(scan *s)
{
    if (!is_digit(peek(s))) return fail(s, "expected a digit");
    while (is_digit(peek(s))) s->at++;
    return VLMOE_OK;
}

static vlmoe_status skip_number(scan *s)
{
    size_t start = s->at;
    if (peek(s) == '-') s->at++;
    if (peek(s) == '0') s->at++; /* no leading zeros */
    else VLM_TRY(skip_digits(s));
    if (peek(s) == '.') {
        s->at++;
        VLM_TRY(skip_digits(s));
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-') s->at++;
        VLM_TRY(skip_digits(s));
    }
    return s->at - start < MAX_NUMBER ? VLMOE_OK : fail(s, "a number has too many digits");
}

static vlmoe_status skip_word(scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < VLM_COUNT(words); i++) {
        size_t n = strlen(words[i]);
        if (s->bytes - s->at < n || memcmp(s->text + s->at, words[i], n) != 0) continue;
        s->at += n;
        return VLMOE_OK;
    }
    return fail(s, "expected a value");
}

/* A value without parts, or the opening of one with parts. */
static vlmoe_status enter_value(scan *s, bool *opened)
{
    int c = peek(s);
    *opened = c == '{' || c == '[';
    if (c == '"') return skip_string(s);
    if (c == '-' || is_digit(c)) return skip_number(s);
    if (!*opened) return skip_word(s);
    if (s->depth == VLM_JSON_MAX_DEPTH) return fail(s, "nested too deeply");
    s->closer[s->depth++] = c == '{' ? '}' : ']';
    s->at++;
    return VLMOE_OK;
}

/* Inside an object, before a member: "key" and its colon. */
static vlmoe_status skip_key(scan *s)
{
    if (peek(s) != '"') return fail(s, "expected a key in quotes");
    VLM_TRY(skip_string(s));
    VLM_TRY(skip_space(s));
    if (peek(s) != ':') return fail(s, "expected ':' after a key");
    s->at++;
    return skip_space(s);
}

/* After a value: leave what ends here. *more: a comma came, another member follows. */
static vlmoe_status leave_value(scan *s, bool *more)
{
    *more = false;
    while (s->depth > 0) {
        VLM_TRY(skip_space(s));
        char closer = s->closer[s->depth - 1];
        int c = peek(s);
        if (c != ',' && c != closer)
            return fail(s, closer == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
        s->at++;
        if (c == ',') {
            *more = true;
            return VLMOE_OK;
        }
        s->depth--;
    }
    return VLMOE_OK;
}

vlmoe_status vlm_json_check(char *text, size_t bytes, const char *name, bool comments,
                            vlmoe_error *error)
{
    scan s = {.text = text, .bytes = bytes, .name = name, .comments = comments, .error = error};
    bool more = true;
    while (more) {
        VLM_TRY(skip_space(&s));
        if (s.depth > 0 && s.closer[s.depth - 1] == '}') VLM_TRY(skip_key(&s));
        bool opened;
        VLM_TRY(enter_value(&s, &opened));
        if (opened) {
            VLM_TRY(skip_space(&s));
            if (peek(&s) != s.closer[s.depth - 1]) continue; /* its first member */
        }
        VLM_TRY(leave_value(&s, &more));
    }
    VLM_TRY(skip_space(&s));
    return s.at == bytes ? VLMOE_OK : fail(&s, "expected nothing after the value");
}
