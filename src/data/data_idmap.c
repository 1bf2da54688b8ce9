/* Open addressing with linear probing, at most half full. */
#include "data_idmap.h"

#include "base_hash.h"

enum { FIRST_ROOM = 1024 };

void vlm_idmap_free(vlm_idmap *map)
{
    vlm_free(map->slots);
    *map = (vlm_idmap){0};
}

static uint64_t key_of(const char *name, size_t bytes)
{
    const uint64_t key = vlm_hash64(name, bytes);
    return key ? key : 1;
}

/* Where the key is or would be; there is a free slot. */
static vlm_idmap_slot *slot_of(const vlm_idmap *map, uint64_t key)
{
    size_t i = (size_t)key & (map->room - 1);
    while (map->slots[i].key && map->slots[i].key != key) i = (i + 1) & (map->room - 1);
    return &map->slots[i];
}

int64_t *vlm_idmap_find(const vlm_idmap *map, const char *name, size_t bytes)
{
    if (!map->room) return NULL;
    vlm_idmap_slot *slot = slot_of(map, key_of(name, bytes));
    return slot->key ? &slot->value : NULL;
}

static vlmoe_status grow(vlm_idmap *map, vlmoe_error *error)
{
    vlm_idmap more = {.room = map->room ? 2 * map->room : FIRST_ROOM, .n = map->n};
    more.slots = vlm_alloc_array(more.room, sizeof *more.slots);
    if (!more.slots)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a table of %zu names", more.room);
    for (size_t i = 0; i < map->room; i++)
        if (map->slots[i].key) *slot_of(&more, map->slots[i].key) = map->slots[i];
    vlm_free(map->slots);
    *map = more;
    return VLMOE_OK;
}

vlmoe_status vlm_idmap_add(vlm_idmap *map, const char *name, size_t bytes, int64_t value,
                           int64_t **out, bool *is_new, vlmoe_error *error)
{
    if (2 * map->n >= map->room) VLM_TRY(grow(map, error));
    vlm_idmap_slot *slot = slot_of(map, key_of(name, bytes));
    *is_new = !slot->key;
    if (*is_new) {
        *slot = (vlm_idmap_slot){key_of(name, bytes), value};
        map->n++;
    }
    if (out) *out = &slot->value;
    return VLMOE_OK;
}
