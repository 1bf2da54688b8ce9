/* The strict grammar of RFC 8259, checked before any parser sees the text. */
#ifndef VLM_BASE_JSON_CHECK_H
#define VLM_BASE_JSON_CHECK_H

#include "base.h"

enum { VLM_JSON_MAX_DEPTH = 64 };

/* Check text and, when comments is set, overwrite comments with spaces. After success the text is
 * one JSON value in valid UTF-8, without the character U+0000, nested at most VLM_JSON_MAX_DEPTH
 * deep, numbers shorter than 60 characters. Errors: FORMAT with "NAME line N: ...". */
vlmoe_status vlm_json_check(char *text, size_t bytes, const char *name, bool comments,
                            vlmoe_error *error);

#endif
