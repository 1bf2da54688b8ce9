/* Rows of a labelled set to a folder of shards: DIR/NNNNN.tar, DIR/labels.txt where there are
 * classes, and DIR/pictures/NNNNN.tar where rows share pictures, each picture once in the order of
 * first use. Either all of it appears or nothing. */
#ifndef VLM_DATA_PACK_H
#define VLM_DATA_PACK_H

#include "data_image.h"
#include "data_rows.h"

typedef struct vlm_pack_options {
    const char *in;  /* what the rows come from, for messages */
    const char *out; /* NULL: only look, pictures only at whether they are there */
    bool has_pictures; /* false: pictures are not looked for; with out NULL alone */
    vlm_shard_options shards;
    vlm_image_options limits;
    int64_t skip;  /* rows to pass over, from the first */
    int64_t limit; /* rows to pack at most */
} vlm_pack_options;

typedef struct vlm_pack_result {
    int64_t n_pictures; /* in pictures/, or that would be there */
    int64_t n_shared;   /* uses of them */
} vlm_pack_result;

/* Walks all rows. A picture is stored as it is, after it was decoded once. Errors: as vlm_rows_next,
 * FORMAT (no row was left to pack), ARG (out holds a set already), IO, NOMEM. */
vlmoe_status vlm_pack(vlm_rows *rows, vlm_ledger *ledger, const vlm_pack_options *options,
                      vlm_pack_result *out, vlmoe_error *error);

#endif
