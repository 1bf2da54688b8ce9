/* The index beside a shard, NAME.tar.idx: where each sample starts, so that opening a set reads no
 * tar. Layout, little-endian (docs/FORMATS has it too):
 *     0  8 bytes  "VLMSHIDX"
 *     8  u32      version, 1
 *    12  u32      0
 *    16  u64      bytes of the tar
 *    24  u64      XXH3-64 of the tar
 *    32  u64      n, samples
 *    40  u64[n+1] offset of each sample's first header, and of the end marker
 *    ..  u64      XXH3-64 of everything before it */
#ifndef VLM_DATA_INDEX_H
#define VLM_DATA_INDEX_H

#include "base.h"

typedef struct vlm_index {
    uint64_t tar_bytes, tar_hash;
    int64_t n_samples;
    uint64_t *offsets; /* [n_samples + 1], owned */
} vlm_index;

void vlm_index_free(vlm_index *index); /* zeroes *index */

/* Append one offset; room doubles. n_samples counts all offsets until the caller takes the last one
 * as the end. Errors: NOMEM. */
vlmoe_status vlm_index_add(vlm_index *index, uint64_t offset, vlmoe_error *error);

/* The index of a tar; *found = false where there is none. Errors: IO, NOMEM, VERSION, FORMAT
 * (damaged, or made for a tar of another size: both sizes are named). */
vlmoe_status vlm_index_read(const char *tar_path, uint64_t tar_bytes, vlm_index *out, bool *found,
                            vlmoe_error *error);
vlmoe_status vlm_index_write(const char *tar_path, const vlm_index *index, vlmoe_error *error);

#endif
