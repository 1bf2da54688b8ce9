/* Checksums; the only file that knows xxhash. */
#include <xxhash.h>
#include "base_hash.h"

struct vlm_hasher {
    XXH3_state_t *state;
};

uint64_t vlm_hash64(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

vlm_hasher *vlm_hasher_create(void)
{
    vlm_hasher *hasher = vlm_alloc(sizeof *hasher);
    if (!hasher) return NULL;
    hasher->state = XXH3_createState();
    if (!hasher->state || XXH3_64bits_reset(hasher->state) != XXH_OK) {
        vlm_hasher_destroy(hasher);
        return NULL;
    }
    return hasher;
}

void vlm_hasher_put(vlm_hasher *hasher, const void *data, size_t bytes)
{
    if (bytes) XXH3_64bits_update(hasher->state, data, bytes); /* fails only for NULL */
}

uint64_t vlm_hasher_value(const vlm_hasher *hasher)
{
    return XXH3_64bits_digest(hasher->state);
}

void vlm_hasher_destroy(vlm_hasher *hasher)
{
    if (!hasher) return;
    XXH3_freeState(hasher->state);
    vlm_free(hasher);
}
