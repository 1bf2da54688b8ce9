/* What a character is: digit, word, white space, its lower case. The only file that knows utf8proc is base_unicode.c.
 * Not here: whether text is UTF-8 (vlm_utf8_length of base_json.h) and normal forms. */
#ifndef VLM_BASE_UNICODE_H
#define VLM_BASE_UNICODE_H

#include "base.h"

/* The character at text and its bytes, 1 to 4; 0 when there is none or it is not valid UTF-8 (*code untouched). */
size_t vlm_unicode_read(const char *text, size_t bytes, int32_t *code);

bool vlm_unicode_is_digit(int32_t code); /* category Nd: what \d finds in Python's re         */
bool vlm_unicode_is_word(int32_t code);  /* a letter or a number of any kind                  */
bool vlm_unicode_is_space(int32_t code); /* what str.split() and str.strip() of Python cut at */

/* Lower case as str.lower() of Python has it, into at most VLM_UNICODE_LOWER_BYTES bytes; returns how many. One rule of
 * Unicode that looks at a character's neighbours is left out: a capital sigma that ends a word becomes the sigma of its inside. */
enum { VLM_UNICODE_LOWER_BYTES = 4 };
size_t vlm_unicode_lower(int32_t code, char *out);

#endif
