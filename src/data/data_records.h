/* JSON values out of a file of any size, one at a time: lines of JSON, the elements of an array, or
 * the elements of one member of an object ("questions", "annotations", "images"). Memory is that of
 * the longest element. Not here: what the values mean. */
#ifndef VLM_DATA_RECORDS_H
#define VLM_DATA_RECORDS_H

#include "base_json.h"

typedef struct vlm_records vlm_records;

/* list NULL: JSON Lines, blank lines passed over. "": the file is an array. Otherwise the file is
 * an object, and list is the name of its member that is walked; other members are passed over,
 * wherever they stand, by their brackets and strings alone. chunk: bytes read at once, 0 = a good
 * size. Errors: IO, NOMEM, FORMAT (no such member: those that are there are named). */
vlmoe_status vlm_records_open(const char *path, const char *list, size_t chunk, vlm_records **out,
                              vlmoe_error *error);
void vlm_records_close(vlm_records *records); /* NULL allowed */

/* The next element, strictly checked (vlm_json_parse), borrowed until the next call; *out = NULL at
 * the end, when the rest of the file was seen to be whole. Errors: FORMAT (a cut file, another
 * member of the same name, an element over 64 MiB; the text names file and byte), IO, NOMEM. */
vlmoe_status vlm_records_next(vlm_records *records, const vlm_value **out, vlmoe_error *error);

uint64_t vlm_records_offset(const vlm_records *records); /* byte at which the last element begins */
int64_t vlm_records_count(const vlm_records *records);   /* elements so far */

/* The last element as it stands in the file; *text is not terminated. */
void vlm_records_text(const vlm_records *records, const char **text, size_t *bytes);

/* The element at a byte that vlm_records_offset gave earlier. From then on only jumps are allowed.
 * Errors: as next. */
vlmoe_status vlm_records_jump(vlm_records *records, uint64_t offset, const vlm_value **out,
                              vlmoe_error *error);

/* A member of the object beside the list, if it is a string and was passed already; else NULL. */
const char *vlm_records_beside(const vlm_records *records, const char *key);

/* "FILE byte N: MESSAGE" about the last element; returns FORMAT. */
vlmoe_status vlm_records_fail(const vlm_records *records, vlmoe_error *error, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));

#endif
