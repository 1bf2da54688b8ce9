/* Pieces of a page: text that cannot break out of it, numbers as people read them, pictures as data. Nothing here knows what a
 * run is. */
#ifndef VLM_REPORT_HTML_H
#define VLM_REPORT_HTML_H

#include "base_json.h" /* vlm_text */

/* Any bytes as text of an element or of a quoted attribute: the five characters of markup are escaped; control characters and what
 * is not UTF-8 become U+FFFD. */
void vlm_html_text(vlm_text *out, const char *text, size_t bytes);
void vlm_html_string(vlm_text *out, const char *text); /* terminated; NULL is nothing */

/* "1 234 567", groups of three behind narrow spaces that do not break. */
void vlm_html_count(vlm_text *out, int64_t value);
/* Three to four significant digits without needless zeros; "1.2e-6" where it is small; a dash for NaN and infinities. */
void vlm_html_number(vlm_text *out, double value);
void vlm_html_percent(vlm_text *out, double share); /* 0.1234 is "12.3 %" */
void vlm_html_seconds(vlm_text *out, double seconds); /* "3 min 20 s" */

/* A picture [height, width, channels], channels 3 or 4, as data:image/png;base64,... Errors: NOMEM. */
vlmoe_status vlm_html_png(vlm_text *out, int64_t width, int64_t height, int channels, const uint8_t *pixels,
                          vlmoe_error *error);

#endif
