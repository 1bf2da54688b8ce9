/* The tar format, as far as data sets need it: ustar, pax path and size, GNU long names; reading in
 * memory, and ustar headers for writing. Not here: what members mean (data_shard.h). */
#ifndef VLM_DATA_TAR_H
#define VLM_DATA_TAR_H

#include "base.h"

enum { VLM_TAR_BLOCK = 512, VLM_TAR_PATH_MAX = 1024, VLM_TAR_NAME_MAX = 100 };

/* A walk over data [bytes], the whole archive or a part that begins and ends between members. */
typedef struct vlm_tar {
    const unsigned char *data;
    size_t bytes;
    uint64_t at;       /* next header */
    bool is_part;      /* ends at bytes instead of at two blocks of zeros */
    const char *where; /* the file, for messages */
} vlm_tar;

typedef struct vlm_tar_member {
    char path[VLM_TAR_PATH_MAX]; /* terminated */
    uint64_t offset;             /* of the first header that belongs to it */
    const unsigned char *data;   /* borrowed */
    size_t bytes;
} vlm_tar_member;

/* The next ordinary file; folders, links and devices are passed over. *found = false at the end; at
 * is then the end marker. Errors: FORMAT, UNSUPPORTED (sparse files); both name file and offset. */
vlmoe_status vlm_tar_next(vlm_tar *tar, vlm_tar_member *out, bool *found, vlmoe_error *error);

/* header [512] of an ordinary file with fixed owner, mode 0644 and time 0. path is at most
 * VLM_TAR_NAME_MAX bytes and bytes below 8 GiB, else false. */
bool vlm_tar_header(const char *path, uint64_t bytes, unsigned char *header);

#endif
