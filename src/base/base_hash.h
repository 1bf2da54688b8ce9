/* Checksums: XXH3-64 from libxxhash, seed 0. The only file that knows xxhash is base_hash.c. */
#ifndef VLM_BASE_HASH_H
#define VLM_BASE_HASH_H

#include "base.h"

uint64_t vlm_hash64(const void *data, size_t bytes);
typedef struct vlm_hasher vlm_hasher;
vlm_hasher *vlm_hasher_create(void); /* NULL when out of memory */
void vlm_hasher_put(vlm_hasher *hasher, const void *data, size_t bytes);
uint64_t vlm_hasher_value(const vlm_hasher *hasher);
void vlm_hasher_destroy(vlm_hasher *hasher);

#endif
