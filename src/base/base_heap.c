/* Blocks taken and given back in any order. Two lists on the host: free runs below the highest block, by offset; live blocks, hashed
 * by offset. Both grow in the first steps of a run and then stay. */
#include "base_heap.h"
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { GAP = 64 };
static void poison(const vlm_heap *heap, size_t offset, size_t bytes)
{
    if (heap->base) ASAN_POISON_MEMORY_REGION(heap->base + offset, bytes);
}
static void unpoison(const vlm_heap *heap, size_t offset, size_t bytes)
{
    if (heap->base) ASAN_UNPOISON_MEMORY_REGION(heap->base + offset, bytes);
}
#else
enum { GAP = 0 };
static void poison(const vlm_heap *heap, size_t offset, size_t bytes)
{
    (void)heap, (void)offset, (void)bytes;
}
static void unpoison(const vlm_heap *heap, size_t offset, size_t bytes)
{
    (void)heap, (void)offset, (void)bytes;
}
#endif

enum { FIRST_RUNS = 1024, FIRST_BLOCKS = 2048 };

/* Where a heap without memory pretends to lie: aligned, not NULL, far from anything mapped low. */
static const uintptr_t META_BASE = (uintptr_t)1 << 20;

vlmoe_status vlm_heap_init(vlm_heap *heap, void *base, size_t capacity)
{
    *heap = (vlm_heap){.base = base, .capacity = capacity};
    if (base) {
        size_t skip = -(uintptr_t)base & (VLM_HEAP_ALIGN - 1);
        skip = VLM_MIN(skip, capacity);
        heap->base += skip;
        heap->capacity -= skip;
    }
    heap->capacity &= ~(size_t)(VLM_HEAP_ALIGN - 1);
    heap->free = vlm_alloc_array(FIRST_RUNS, sizeof *heap->free);
    heap->live = vlm_alloc_array(FIRST_BLOCKS, sizeof *heap->live);
    if (!heap->free || !heap->live) {
        vlm_heap_fini(heap);
        return VLMOE_E_NOMEM;
    }
    heap->free_capacity = FIRST_RUNS;
    heap->live_capacity = FIRST_BLOCKS;
    return VLMOE_OK;
}

void vlm_heap_fini(vlm_heap *heap)
{
    unpoison(heap, 0, heap->peak);
    vlm_free(heap->free);
    vlm_free(heap->live);
    *heap = (vlm_heap){0};
}

/* ---- live blocks ---- */

static size_t slot_of(const vlm_heap *heap, size_t place)
{
    return (size_t)(((uint64_t)place * 0x9E3779B97F4A7C15u) >> 20) & (heap->live_capacity - 1);
}

static size_t slot_after(const vlm_heap *heap, size_t slot)
{
    return (slot + 1) & (heap->live_capacity - 1);
}

static vlm_heap_block *find(const vlm_heap *heap, size_t place)
{
    size_t slot = slot_of(heap, place);
    while (heap->live[slot].place && heap->live[slot].place != place) slot = slot_after(heap, slot);
    return &heap->live[slot];
}

static bool grow_live(vlm_heap *heap)
{
    vlm_heap_block *old = heap->live;
    size_t n = heap->live_capacity;
    if (2 * (heap->n_live + 1) <= n) return true;
    vlm_heap_block *more = vlm_alloc_array(2 * n, sizeof *more);
    if (!more) return false;
    heap->live = more;
    heap->live_capacity = 2 * n;
    for (size_t i = 0; i < n; i++)
        if (old[i].place) *find(heap, old[i].place) = old[i];
    vlm_free(old);
    return true;
}

/* Entries after the hole that would not be found any more move into it (Knuth, volume 3, 6.4, algorithm R). */
static void forget(vlm_heap *heap, vlm_heap_block *block)
{
    size_t hole = (size_t)(block - heap->live), mask = heap->live_capacity - 1;
    for (size_t i = slot_after(heap, hole); heap->live[i].place; i = slot_after(heap, i)) {
        size_t home = slot_of(heap, heap->live[i].place);
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        heap->live[hole] = heap->live[i];
        hole = i;
    }
    heap->live[hole] = (vlm_heap_block){0};
    heap->n_live--;
}

/* ---- free runs ---- */

/* Each free run is followed by a live block, so there are never more runs than blocks: room for those is room enough. */
static bool grow_free(vlm_heap *heap)
{
    if ((int64_t)heap->n_live + 2 < heap->free_capacity) return true;
    vlm_heap_run *more = vlm_alloc_array((size_t)(2 * heap->free_capacity), sizeof *more);
    if (!more) return false;
    memcpy(more, heap->free, (size_t)heap->n_free * sizeof *more);
    vlm_free(heap->free);
    heap->free = more;
    heap->free_capacity *= 2;
    return true;
}

static void remove_run(vlm_heap *heap, int64_t i)
{
    heap->n_free--;
    memmove(&heap->free[i], &heap->free[i + 1], (size_t)(heap->n_free - i) * sizeof *heap->free);
}

/* The smallest run that holds `bytes`, the lowest of equals; -1 = none. */
static int64_t best_run(const vlm_heap *heap, size_t bytes)
{
    int64_t best = -1;
    for (int64_t i = 0; i < heap->n_free; i++)
        if (heap->free[i].bytes >= bytes &&
            (best < 0 || heap->free[i].bytes < heap->free[best].bytes))
            best = i;
    return best;
}

static void put_run(vlm_heap *heap, size_t offset, size_t bytes)
{
    int64_t low = 0, high = heap->n_free;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (heap->free[middle].offset < offset) low = middle + 1;
        else high = middle;
    }
    bool joins_next = low < heap->n_free && offset + bytes == heap->free[low].offset;
    bool joins_last = low > 0 && heap->free[low - 1].offset + heap->free[low - 1].bytes == offset;
    if (joins_last) {
        heap->free[low - 1].bytes += bytes + (joins_next ? heap->free[low].bytes : 0);
        if (joins_next) remove_run(heap, low);
    } else if (joins_next) {
        heap->free[low].offset = offset;
        heap->free[low].bytes += bytes;
    } else {
        memmove(&heap->free[low + 1], &heap->free[low],
                (size_t)(heap->n_free - low) * sizeof *heap->free);
        heap->free[low] = (vlm_heap_run){offset, bytes};
        heap->n_free++;
    }
    vlm_heap_run *last = heap->n_free ? &heap->free[heap->n_free - 1] : NULL;
    if (!last || last->offset + last->bytes != heap->end) return;
    heap->end = last->offset; /* nothing lives above it */
    heap->n_free--;
}

/* ---- both ---- */

static size_t offset_of(const vlm_heap *heap, const void *block)
{
    return heap->base ? (size_t)((const char *)block - heap->base)
                      : (size_t)((uintptr_t)block - META_BASE);
}

void *vlm_heap_take(vlm_heap *heap, size_t bytes)
{
    size_t need = vlm_round_up(VLM_MAX(bytes, 1) + GAP, VLM_HEAP_ALIGN), offset;
    if (need < bytes || !grow_live(heap) || !grow_free(heap)) return NULL;
    int64_t i = best_run(heap, need);
    if (i >= 0) {
        offset = heap->free[i].offset;
        heap->free[i].offset += need;
        heap->free[i].bytes -= need;
        if (!heap->free[i].bytes) remove_run(heap, i);
    } else {
        if (need > heap->capacity || heap->end > heap->capacity - need) return NULL;
        offset = heap->end;
        heap->end += need;
    }
    *find(heap, offset / VLM_HEAP_ALIGN + 1) = (vlm_heap_block){
        .place = offset / VLM_HEAP_ALIGN + 1, .bytes = need, .clock = heap->clock++};
    heap->n_live++;
    heap->in_use += need;
    heap->peak = VLM_MAX(heap->peak, heap->end);
    heap->peak_in_use = VLM_MAX(heap->peak_in_use, heap->in_use);
    unpoison(heap, offset, bytes);
    poison(heap, offset + bytes, need - bytes);
    return heap->base ? heap->base + offset : (void *)(META_BASE + offset);
}

static void give(vlm_heap *heap, vlm_heap_block *block)
{
    size_t offset = (block->place - 1) * VLM_HEAP_ALIGN, bytes = block->bytes;
    poison(heap, offset, bytes);
    heap->in_use -= bytes;
    forget(heap, block);
    put_run(heap, offset, bytes);
}

void vlm_heap_give(vlm_heap *heap, const void *block)
{
    if (!block) return;
    vlm_heap_block *live = find(heap, offset_of(heap, block) / VLM_HEAP_ALIGN + 1);
    VLM_ASSERT(live->place);
    if (live->place) give(heap, live);
}

void vlm_heap_give_since(vlm_heap *heap, uint64_t clock)
{
    for (size_t i = 0; i < heap->live_capacity; i++)
        while (heap->live[i].place && heap->live[i].clock >= clock && !heap->live[i].stays)
            give(heap, &heap->live[i]); /* another entry may move here */
}

void vlm_heap_stay(vlm_heap *heap, const void *block)
{
    vlm_heap_block *live = find(heap, offset_of(heap, block) / VLM_HEAP_ALIGN + 1);
    VLM_ASSERT(live->place);
    live->stays = true;
}

void vlm_heap_reset(vlm_heap *heap)
{
    poison(heap, 0, heap->peak);
    memset(heap->live, 0, heap->live_capacity * sizeof *heap->live);
    heap->n_live = 0;
    heap->n_free = 0;
    heap->in_use = heap->end = 0;
    heap->clock = 0;
}
