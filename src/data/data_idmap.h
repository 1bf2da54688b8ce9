/* From names to numbers, many millions of them: a name is known by its XXH3-64 alone, so two of a
 * million names are taken for one with a chance of 3e-8. */
#ifndef VLM_DATA_IDMAP_H
#define VLM_DATA_IDMAP_H

#include "base.h"

typedef struct vlm_idmap_slot {
    uint64_t key; /* 0 = free */
    int64_t value;
} vlm_idmap_slot;

typedef struct vlm_idmap { /* starts zeroed */
    vlm_idmap_slot *slots;
    size_t room; /* a power of two, or 0 */
    size_t n;
} vlm_idmap;

void vlm_idmap_free(vlm_idmap *map);

/* The value of a name, borrowed until the next add; NULL = not there. */
int64_t *vlm_idmap_find(const vlm_idmap *map, const char *name, size_t bytes);

/* The value of a name that is there or is put in with this value; *is_new says which. Errors: NOMEM. */
vlmoe_status vlm_idmap_add(vlm_idmap *map, const char *name, size_t bytes, int64_t value,
                           int64_t **out, bool *is_new, vlmoe_error *error);

#endif
