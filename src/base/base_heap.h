/* Blocks of a memory that someone else owns, taken and given back in any order: best fit over free runs that merge with their
 * neighbours. Equal sequences of calls give equal addresses, on memory and without (meta). Nothing here reads or writes the memory. */
#ifndef VLM_BASE_HEAP_H
#define VLM_BASE_HEAP_H

#include "base.h"

enum { VLM_HEAP_ALIGN = 256 };
typedef struct vlm_heap_run { size_t offset, bytes; } vlm_heap_run;
typedef struct vlm_heap_block {
    size_t place;   /* offset / VLM_HEAP_ALIGN + 1; 0 = no block */
    size_t bytes;   /* rounded up */
    uint64_t clock; /* count of takes before it */
    bool stays;     /* survives vlm_heap_give_since */
} vlm_heap_block;

typedef struct vlm_heap {
    char *base;             /* NULL on meta: addresses are offsets, never dereferenced */
    size_t capacity;        /* bytes */
    size_t in_use;          /* bytes of live blocks */
    size_t end;             /* bytes up to the end of the highest live block */
    size_t peak;            /* largest end since init: what the memory behind it must hold */
    size_t peak_in_use;     /* largest in_use since init */
    uint64_t clock;
    vlm_heap_run *free;     /* [n_free] below end, by offset, never adjacent */
    int64_t n_free, free_capacity;
    vlm_heap_block *live;   /* hash table [live_capacity] by place */
    size_t n_live, live_capacity;
} vlm_heap;

/* As vlm_arena_init. Errors: NOMEM (for the lists, not for blocks). */
vlmoe_status vlm_heap_init(vlm_heap *heap, void *base, size_t capacity);
void vlm_heap_fini(vlm_heap *heap); /* before the memory is given back to the system; a zeroed heap is allowed */
/* 256-byte aligned, not cleared; NULL when nothing fits. In sanitizer builds what is free is poisoned, with a gap of 64 bytes after
 * each block. */
void *vlm_heap_take(vlm_heap *heap, size_t bytes);
void vlm_heap_give(vlm_heap *heap, const void *block); /* NULL allowed; else a live block */
/* Every block taken since the clock stood at `clock`, but for those that stay. */
void vlm_heap_give_since(vlm_heap *heap, uint64_t clock);
void vlm_heap_stay(vlm_heap *heap, const void *block);
void vlm_heap_reset(vlm_heap *heap); /* all blocks; peaks stay */

#endif
