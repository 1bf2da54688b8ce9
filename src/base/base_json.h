/* JSON access; the only file that knows cJSON is base_json.c. Values belong to the document. */
#ifndef VLM_BASE_JSON_H
#define VLM_BASE_JSON_H

#include "base.h"

typedef struct vlm_json vlm_json;                  /* an owned document            */
typedef struct cJSON vlm_value;                    /* one value inside a document  */

typedef enum vlm_json_kind { VLM_JSON_NULL, VLM_JSON_BOOL, VLM_JSON_NUMBER, VLM_JSON_STRING, VLM_JSON_ARRAY, VLM_JSON_OBJECT } vlm_json_kind;
const char *vlm_json_kind_name(vlm_json_kind kind); /* "a number", for messages */

/* Parse text (comments // and slash-star allowed when comments is set; trailing rubbish and duplicate keys are errors).
 * name is used in messages: "NAME line 3: expected ',' ...". Errors: FORMAT, NOMEM. */
vlmoe_status vlm_json_parse(const char *text, size_t bytes, const char *name, bool comments, vlm_json **out, vlmoe_error *error);
void vlm_json_free(vlm_json *doc); /* NULL allowed */
const vlm_value *vlm_json_root(const vlm_json *doc);

vlm_json_kind vlm_json_kind_of(const vlm_value *value);
const vlm_value *vlm_json_get(const vlm_value *object, const char *key); /* NULL: no such key, or not an object; case matters */
int64_t vlm_json_size(const vlm_value *value);                           /* members of an array or object, else 0 */
const vlm_value *vlm_json_first(const vlm_value *value);                 /* walk: first, then next */
const vlm_value *vlm_json_next(const vlm_value *value);
const char *vlm_json_key(const vlm_value *value);                        /* key of a member of an object, else NULL */
bool vlm_json_bool(const vlm_value *value);
double vlm_json_number(const vlm_value *value);
bool vlm_json_int(const vlm_value *value, int64_t *out);                 /* false: not a whole number within +-2^53, exclusive */
const char *vlm_json_text(const vlm_value *value);                       /* NULL: not a string */

/* Writing: text grows; numbers are the shortest that read back equal; order is the caller's. */
typedef struct vlm_text {
    char *data; /* terminated; NULL before the first put */
    size_t bytes, capacity;
    bool failed; /* out of memory; sticky */
} vlm_text;
void vlm_text_put(vlm_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void vlm_text_append(vlm_text *text, const char *data, size_t bytes);
void vlm_text_json_string(vlm_text *text, const char *value, size_t bytes); /* with quotes and escapes; invalid UTF-8 becomes U+FFFD */
void vlm_text_json_number(vlm_text *text, double value);                    /* NaN and infinities become null */
void vlm_text_clear(vlm_text *text, size_t room); /* empty, and with room for this many bytes: to be filled again without growing */
void vlm_text_free(vlm_text *text);

/* Bytes of the UTF-8 character at text, 1 to 4; 0 when there is none or it is not valid (RFC 3629). */
size_t vlm_utf8_length(const char *text, size_t bytes);
/* Bytes of the byte order mark that text begins with, 3 or 0. Some editors write it; it is no part of the text. */
size_t vlm_utf8_mark(const char *text, size_t bytes);

#endif
