/* A block of memory handed out from both ends: the bottom with mark and rewind, the top for what must outlive a rewind.
 * Works on addresses alone, so it serves device memory and the meta device (base = NULL) too. */
#ifndef VLM_BASE_ARENA_H
#define VLM_BASE_ARENA_H

#include "base.h"

enum { VLM_ARENA_ALIGN = 256 };
typedef struct vlm_arena {
    char *base;      /* NULL on meta: addresses are offsets, never dereferenced */
    size_t capacity; /* bytes */
    size_t bottom;   /* bytes used from the bottom */
    size_t top;      /* bytes used from the top */
    size_t peak;     /* most bytes used at once since init */
} vlm_arena;

/* base should be 256-byte aligned (vlm_alloc is, from 4 KiB up); otherwise the first bytes are lost. Capacity counts in 256s. */
void vlm_arena_init(vlm_arena *arena, void *base, size_t capacity);
/* 256-byte aligned, not cleared; NULL when full. In sanitizer builds a poisoned gap of 64 bytes follows each block.
 * On meta (base NULL) the result is a non-NULL fake address. */
void *vlm_arena_take(vlm_arena *arena, size_t bytes);
void *vlm_arena_take_top(vlm_arena *arena, size_t bytes);
size_t vlm_arena_mark(const vlm_arena *arena);             /* of the bottom */
void vlm_arena_rewind(vlm_arena *arena, size_t mark);
/* Before the memory is given back to the system: its addresses may come again, and must not carry our fences then. */
void vlm_arena_fini(vlm_arena *arena);
void vlm_arena_reset(vlm_arena *arena);                    /* both ends; peak stays */

#endif
