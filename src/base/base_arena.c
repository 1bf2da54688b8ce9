/* Arenas over a block of memory that someone else owns. Nothing here reads or writes the block. */
#include "base_arena.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { GAP = 64 };
static void poison(const vlm_arena *arena, size_t offset, size_t bytes)
{
    if (arena->base) ASAN_POISON_MEMORY_REGION(arena->base + offset, bytes);
}
static void unpoison(const vlm_arena *arena, size_t offset, size_t bytes)
{
    if (arena->base) ASAN_UNPOISON_MEMORY_REGION(arena->base + offset, bytes);
}
#else
enum { GAP = 0 };
static void poison(const vlm_arena *arena, size_t offset, size_t bytes)
{
    (void)arena, (void)offset, (void)bytes;
}
static void unpoison(const vlm_arena *arena, size_t offset, size_t bytes)
{
    (void)arena, (void)offset, (void)bytes;
}
#endif

/* Where a meta arena pretends to lie: aligned, not NULL, far from anything mapped low. */
static const uintptr_t META_BASE = (uintptr_t)1 << 20;

void vlm_arena_init(vlm_arena *arena, void *base, size_t capacity)
{
    *arena = (vlm_arena){.base = base, .capacity = capacity};
    if (base) {
        size_t skip = -(uintptr_t)base & (VLM_ARENA_ALIGN - 1);
        skip = VLM_MIN(skip, capacity);
        arena->base += skip;
        arena->capacity -= skip;
    }
    /* Whole units only: then what fits does not depend on where the block lies, and a dry run on
     * meta tells the truth. */
    arena->capacity &= ~(size_t)(VLM_ARENA_ALIGN - 1);
}

/* Bytes that a block takes from the arena; false when it does not fit. */
static bool room_for(const vlm_arena *arena, size_t bytes, size_t *out)
{
    size_t left = arena->capacity - arena->bottom - arena->top;
    if (bytes > left) return false;
    size_t need = vlm_round_up(bytes + GAP, VLM_ARENA_ALIGN);
    if (need > left || need < bytes) return false;
    *out = need;
    return true;
}

static void *address(const vlm_arena *arena, size_t offset)
{
    if (arena->base) return arena->base + offset;
    return (void *)(META_BASE + offset);
}

/* Open a block and close what follows it. Memory that was never handed out stays as it is: an arena may be a reserve of many
 * gigabytes, whose shadow alone would cost seconds. */
static void fence(const vlm_arena *arena, size_t offset, size_t bytes, size_t need)
{
    unpoison(arena, offset, bytes);
    poison(arena, offset + bytes, need - bytes);
}

static void note_peak(vlm_arena *arena)
{
    arena->peak = VLM_MAX(arena->peak, arena->bottom + arena->top);
}

void *vlm_arena_take(vlm_arena *arena, size_t bytes)
{
    size_t need;
    if (!room_for(arena, bytes, &need)) return NULL;
    size_t offset = arena->bottom;
    arena->bottom += need;
    note_peak(arena);
    fence(arena, offset, bytes, need);
    return address(arena, offset);
}

void *vlm_arena_take_top(vlm_arena *arena, size_t bytes)
{
    size_t need;
    if (!room_for(arena, bytes, &need)) return NULL;
    arena->top += need;
    note_peak(arena);
    size_t offset = arena->capacity - arena->top;
    fence(arena, offset, bytes, need);
    return address(arena, offset);
}

size_t vlm_arena_mark(const vlm_arena *arena)
{
    return arena->bottom;
}

void vlm_arena_rewind(vlm_arena *arena, size_t mark)
{
    VLM_ASSERT(mark <= arena->bottom);
    poison(arena, mark, arena->bottom - mark);
    arena->bottom = mark;
}

void vlm_arena_reset(vlm_arena *arena)
{
    poison(arena, 0, arena->bottom);
    poison(arena, arena->capacity - arena->top, arena->top);
    arena->bottom = 0;
    arena->top = 0;
}

void vlm_arena_fini(vlm_arena *arena)
{
    unpoison(arena, 0, arena->peak); /* neither end ever went further than the peak of both */
    unpoison(arena, arena->capacity - arena->peak, arena->peak);
    *arena = (vlm_arena){0};
}
