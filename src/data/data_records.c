/* A scanner that finds where JSON values end without holding more than one of them. What lies
 * inside an element is judged by vlm_json_parse; outside only the structure is looked at. */
#include "data_records.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base_json_check.h"
#include "data_stream.h"

enum { BESIDE_MAX = 16, KEYS_NAMED = 8 };

struct vlm_records {
    vlm_stream stream;
    char *list; /* NULL = lines */
    bool in_object;
    bool has_list; /* the list's key was seen */
    bool in_list;
    bool is_done;
    int64_t n;           /* elements so far */
    uint64_t offset;     /* of the last */
    size_t start, bytes; /* of the last, in the window */
    vlm_json *doc;       /* the last */
    int n_beside;
    int n_members;
    struct {
        char *key, *text; /* text NULL: no string */
    } beside[BESIDE_MAX];
};

static uint64_t here(const vlm_records *r)
{
    return r->stream.base + r->stream.at;
}

/* What was expected at this byte, and what is there. */
static vlmoe_status fail_here(vlm_records *r, const char *what, vlmoe_error *error)
{
    const vlm_stream *s = &r->stream;
    const unsigned long long at = here(r);
    if (s->at == s->end)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s byte %llu: %s, found the end of the file",
                        s->path, at, what);
    const unsigned char c = (unsigned char)s->data[s->at];
    if (c > ' ' && c < 127)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s byte %llu: %s, found '%c'", s->path, at, what,
                        c);
    return vlm_fail(error, VLMOE_E_FORMAT, "%s byte %llu: %s, found byte 0x%02x", s->path, at, what,
                    c);
}

vlmoe_status vlm_records_fail(const vlm_records *r, vlmoe_error *error, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return vlm_fail(error, VLMOE_E_FORMAT, "%s byte %llu: %s", r->stream.path,
                    (unsigned long long)r->offset, text);
}

/* ---- Bytes ---- */

/* The byte at 'at', or -1 at the end of the file. */
static vlmoe_status peek(vlm_records *r, int *out, vlmoe_error *error)
{
    vlm_stream *s = &r->stream;
    while (s->at == s->end && !s->is_over) VLM_TRY(vlm_stream_fill(s, error));
    *out = s->at < s->end ? (unsigned char)s->data[s->at] : -1;
    return VLMOE_OK;
}

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static vlmoe_status skip_space(vlm_records *r, int *next, vlmoe_error *error)
{
    for (;;) {
        VLM_TRY(peek(r, next, error));
        if (!is_space(*next)) return VLMOE_OK;
        r->stream.keep = ++r->stream.at;
    }
}

static vlmoe_status expect(vlm_records *r, char wanted, const char *what, vlmoe_error *error)
{
    int c = 0;
    VLM_TRY(skip_space(r, &c, error));
    if (c != wanted) return fail_here(r, what, error);
    r->stream.keep = ++r->stream.at;
    return VLMOE_OK;
}

/* ---- Values ---- */

typedef struct nest {
    char closer[VLM_JSON_MAX_DEPTH]; /* what ends each open array or object */
    int depth;
    bool in_string, after_backslash;
} nest;

/* One more byte of a value. *is_end: it is the value's last (of an array, object or string). */
static vlmoe_status step(vlm_records *r, nest *n, char c, bool *is_end, vlmoe_error *error)
{
    if (n->in_string) {
        if (n->after_backslash) n->after_backslash = false;
        else if (c == '\\') n->after_backslash = true;
        else if (c == '"') n->in_string = false;
        *is_end = !n->in_string && !n->depth;
        return VLMOE_OK;
    }
    if (c == '"') n->in_string = true;
    if (c == '[' || c == '{') {
        if (n->depth == VLM_JSON_MAX_DEPTH)
            return fail_here(r, "nested too deeply: expected at most 64 levels", error);
        n->closer[n->depth++] = c == '[' ? ']' : '}';
    }
    if (c == ']' || c == '}') {
        if (n->closer[n->depth - 1] != c) return fail_here(r, "expected the other bracket", error);
        *is_end = --n->depth == 0;
    }
    return VLMOE_OK;
}

static bool is_scalar_end(int c)
{
    return c < 0 || is_space(c) || c == ',' || c == ']' || c == '}';
}

/* From a value's first byte to behind its last. What was passed stays in the window from keep on if
 * is_kept. */
static vlmoe_status pass_value(vlm_records *r, bool is_kept, vlmoe_error *error)
{
    vlm_stream *s = &r->stream;
    nest n = {.depth = 0};
    int c = 0;
    VLM_TRY(peek(r, &c, error));
    const bool is_scalar = c != '"' && c != '[' && c != '{';
    if (is_scalar && is_scalar_end(c)) return fail_here(r, "expected a value", error);
    for (bool is_end = false; !is_end;) {
        if (!is_kept) s->keep = s->at;
        VLM_TRY(peek(r, &c, error));
        if (is_scalar && is_scalar_end(c)) return VLMOE_OK;
        if (c < 0)
            return fail_here(
                r, n.in_string ? "expected the end of a string" : "expected the end of a value",
                error);
        if (is_scalar) {
            s->at++;
            continue;
        }
        while (s->at < s->end && !is_end) {
            VLM_TRY(step(r, &n, s->data[s->at], &is_end, error));
            s->at++;
        }
    }
    return VLMOE_OK;
}

static void drop(vlm_records *r)
{
    vlm_json_free(r->doc);
    r->doc = NULL;
}

/* bytes of the window from 'start' on as r->doc. */
static vlmoe_status parse(vlm_records *r, size_t start, size_t bytes, vlmoe_error *error)
{
    vlm_stream *s = &r->stream;
    r->start = start;
    r->bytes = bytes;
    r->offset = s->base + start;
    drop(r);
    vlmoe_status st =
        vlm_json_parse(s->data + start, bytes, "what begins there", false, &r->doc, error);
    if (st) vlm_fail_in(error, "%s byte %llu", s->path, (unsigned long long)r->offset);
    return st;
}

/* The value at 'at', held and parsed. */
static vlmoe_status read_value(vlm_records *r, vlmoe_error *error)
{
    int c = 0;
    VLM_TRY(skip_space(r, &c, error));
    r->stream.keep = r->stream.at;
    VLM_TRY(pass_value(r, true, error));
    return parse(r, r->stream.keep, r->stream.at - r->stream.keep, error);
}

/* ---- Members of the object ---- */

/* Key and colon; the value is next. *key lies in r->doc. */
static vlmoe_status read_key(vlm_records *r, const char **key, vlmoe_error *error)
{
    int c = 0;
    VLM_TRY(skip_space(r, &c, error));
    if (c != '"') return fail_here(r, "expected a key", error);
    VLM_TRY(read_value(r, error));
    *key = vlm_json_text(vlm_json_root(r->doc));
    r->n_members++;
    return expect(r, ':', "expected ':' after a key", error);
}

/* A member beside the list: strings are kept, all else is passed. */
static vlmoe_status pass_member(vlm_records *r, const char *key, vlmoe_error *error)
{
    char *copy = NULL;
    int c = 0;
    if (r->n_beside < BESIDE_MAX) {
        copy = vlm_strdup(key);
        if (!copy) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", r->stream.path);
        r->beside[r->n_beside++].key = copy;
    }
    VLM_TRY(skip_space(r, &c, error));
    if (c != '"' || !copy) return pass_value(r, false, error);
    VLM_TRY(read_value(r, error));
    char *text = vlm_strdup(vlm_json_text(vlm_json_root(r->doc)));
    if (!text) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", r->stream.path);
    r->beside[r->n_beside - 1].text = text;
    return VLMOE_OK;
}

/* ", " or the end of what the closer ends. */
static vlmoe_status after_value(vlm_records *r, char closer, bool *is_end, vlmoe_error *error)
{
    int c = 0;
    VLM_TRY(skip_space(r, &c, error));
    if (c != ',' && c != closer)
        return fail_here(r, closer == ']' ? "expected ',' or ']'" : "expected ',' or '}'", error);
    r->stream.keep = ++r->stream.at;
    *is_end = c == closer;
    return VLMOE_OK;
}

static vlmoe_status expect_end(vlm_records *r, vlmoe_error *error)
{
    int c = 0;
    VLM_TRY(skip_space(r, &c, error));
    if (c >= 0) return fail_here(r, "expected the end of the file", error);
    r->is_done = true;
    return VLMOE_OK;
}

static vlmoe_status no_list(const vlm_records *r, vlmoe_error *error)
{
    char names[200] = "";
    size_t used = 0;
    for (int i = 0; i < r->n_beside && i < KEYS_NAMED && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s\"%.20s\"", i ? ", " : "",
                                 r->beside[i].key);
    return vlm_fail(error, VLMOE_E_FORMAT, "%s: no member \"%s\"; there is %s%s", r->stream.path,
                    r->list, r->n_beside ? names : "nothing",
                    r->n_members > KEYS_NAMED ? " ..." : "");
}

static vlmoe_status begin_list(vlm_records *r, vlmoe_error *error)
{
    int c = 0;
    VLM_TRY(expect(r, '[', "expected '[' of a list", error));
    if (r->has_list)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s byte %llu: the member \"%s\" is there twice",
                        r->stream.path, (unsigned long long)here(r) - 1, r->list);
    r->has_list = r->in_list = true;
    VLM_TRY(skip_space(r, &c, error));
    return VLMOE_OK;
}

/* From behind '{' or a member's value to the inside of the list, or to the end of the file. */
static vlmoe_status walk_members(vlm_records *r, bool is_first, vlmoe_error *error)
{
    int c = 0;
    bool is_end = false;
    VLM_TRY(skip_space(r, &c, error));
    if (is_first && c == '}') VLM_TRY(after_value(r, '}', &is_end, error));
    else if (!is_first) VLM_TRY(after_value(r, '}', &is_end, error));
    while (!is_end) {
        const char *key = NULL;
        VLM_TRY(read_key(r, &key, error));
        if (!strcmp(key, r->list)) return begin_list(r, error);
        VLM_TRY(pass_member(r, key, error));
        VLM_TRY(after_value(r, '}', &is_end, error));
    }
    if (!r->has_list) return no_list(r, error);
    return expect_end(r, error);
}

/* ---- From outside ---- */

static vlmoe_status begin(vlm_records *r, vlmoe_error *error)
{
    VLM_TRY(vlm_stream_skip_mark(&r->stream, error));
    if (!r->list) return VLMOE_OK;
    if (!r->list[0]) return begin_list(r, error);
    r->in_object = true;
    VLM_TRY(expect(r, '{', "expected '{' of an object", error));
    return walk_members(r, true, error);
}

vlmoe_status vlm_records_open(const char *path, const char *list, size_t chunk, vlm_records **out,
                              vlmoe_error *error)
{
    vlm_records *r = vlm_alloc(sizeof *r);
    if (r && list) r->list = vlm_strdup(list);
    vlmoe_status st = VLMOE_OK;
    if (!r || (list && !r->list)) st = vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", path);
    if (!st) st = vlm_stream_open(path, chunk, &r->stream, error);
    if (!st) st = begin(r, error);
    if (st) vlm_records_close(r);
    else *out = r;
    return st;
}

void vlm_records_close(vlm_records *r)
{
    if (!r) return;
    drop(r);
    for (int i = 0; i < r->n_beside; i++) {
        vlm_free(r->beside[i].key);
        vlm_free(r->beside[i].text);
    }
    vlm_stream_close(&r->stream);
    vlm_free(r->list);
    vlm_free(r);
}

static bool is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!is_space((unsigned char)text[i])) return false;
    return true;
}

static vlmoe_status next_line(vlm_records *r, const vlm_value **out, vlmoe_error *error)
{
    for (;;) {
        char *line = NULL;
        size_t bytes = 0;
        VLM_TRY(vlm_stream_line(&r->stream, &line, &bytes, error));
        *out = NULL;
        if (!line) return VLMOE_OK;
        if (is_blank(line, bytes)) continue;
        VLM_TRY(parse(r, (size_t)(line - r->stream.data), bytes, error));
        r->n++;
        *out = vlm_json_root(r->doc);
        return VLMOE_OK;
    }
}

/* Behind the list's ']'. */
static vlmoe_status end_list(vlm_records *r, vlmoe_error *error)
{
    r->in_list = false;
    return r->in_object ? walk_members(r, false, error) : expect_end(r, error);
}

vlmoe_status vlm_records_next(vlm_records *r, const vlm_value **out, vlmoe_error *error)
{
    int c = 0;
    *out = NULL;
    if (!r->list) return next_line(r, out, error);
    drop(r);
    if (r->is_done) return VLMOE_OK;
    VLM_TRY(skip_space(r, &c, error));
    bool is_end = false;
    if (r->n || c == ']') VLM_TRY(after_value(r, ']', &is_end, error));
    if (is_end) return end_list(r, error);
    VLM_TRY(read_value(r, error));
    r->n++;
    *out = vlm_json_root(r->doc);
    return VLMOE_OK;
}

uint64_t vlm_records_offset(const vlm_records *r)
{
    return r->offset;
}

int64_t vlm_records_count(const vlm_records *r)
{
    return r->n;
}

void vlm_records_text(const vlm_records *r, const char **text, size_t *bytes)
{
    *text = r->stream.data + r->start;
    *bytes = r->bytes;
}

vlmoe_status vlm_records_jump(vlm_records *r, uint64_t offset, const vlm_value **out,
                              vlmoe_error *error)
{
    VLM_TRY(vlm_stream_seek(&r->stream, offset, error));
    VLM_TRY(read_value(r, error));
    *out = vlm_json_root(r->doc);
    return VLMOE_OK;
}

const char *vlm_records_beside(const vlm_records *r, const char *key)
{
    for (int i = 0; i < r->n_beside; i++)
        if (!strcmp(r->beside[i].key, key)) return r->beside[i].text;
    return NULL;
}
