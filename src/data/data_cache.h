/* Decoded pictures kept in memory up to a number of bytes. What is in it never changes a result,
 * only its cost. Thread-safe. */
#ifndef VLM_DATA_CACHE_H
#define VLM_DATA_CACHE_H

#include "data_image.h"

typedef struct vlm_cache vlm_cache;

vlmoe_status vlm_cache_create(size_t max_bytes, vlm_cache **out, vlmoe_error *error);
void vlm_cache_destroy(vlm_cache *cache); /* NULL allowed */

/* The picture of a key, or NULL. It stays where it is until destroy: nothing is ever thrown out.
 * cache NULL = an empty one. */
const vlm_image *vlm_cache_get(vlm_cache *cache, uint64_t key);

/* Take the picture over and return its place, or return NULL and leave it to the caller when it
 * does not fit or is there already. cache NULL = nothing fits. */
const vlm_image *vlm_cache_keep(vlm_cache *cache, uint64_t key, vlm_image *image);

/* Whether a picture of that size would fit now. cache NULL = no. */
bool vlm_cache_has_room(vlm_cache *cache, int64_t width, int64_t height);

size_t vlm_cache_bytes(vlm_cache *cache); /* used, its own entries counted; never above max_bytes */

#endif
