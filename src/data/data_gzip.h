/* Files that may be gzip, read forwards as what is in them. The only file that knows zlib is
 * data_gzip.c. */
#ifndef VLM_DATA_GZIP_H
#define VLM_DATA_GZIP_H

#include "base.h"

typedef struct vlm_gzip vlm_gzip;

/* A file that is not gzip is read as it is. Errors: IO, NOMEM. */
vlmoe_status vlm_gzip_open(const char *path, vlm_gzip **out, vlmoe_error *error);
const char *vlm_gzip_path(const vlm_gzip *file);
void vlm_gzip_close(vlm_gzip *file); /* NULL allowed */

/* Exactly this many bytes, or *is_over when the file ended before the first of them. Errors: FORMAT
 * (it ended in between, or is damaged: its checksum is looked at), IO, NOMEM. */
vlmoe_status vlm_gzip_read(vlm_gzip *file, void *data, size_t bytes, bool *is_over,
                           vlmoe_error *error);

#endif
