/* Arenas: alignment, both ends, rewinding, and the same answers on meta as on memory. */
#include <string.h>
#include "base_arena.h"
#include "harness.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

TEST(blocks_from_both_ends_are_aligned_and_apart)
{
    enum { BYTES = 1 << 16 };
    char *memory = vlm_alloc(BYTES);
    vlm_arena arena;
    vlm_arena_init(&arena, memory, BYTES);
    char *a = vlm_arena_take(&arena, 1), *b = vlm_arena_take(&arena, 1000),
         *t = vlm_arena_take_top(&arena, 300);
    CHECK(a && b && t);
    CHECK_INT((uintptr_t)a % 256 + (uintptr_t)b % 256 + (uintptr_t)t % 256, 0);
    CHECK(a + 1 <= b && b + 1000 <= t && t + 300 <= memory + BYTES);
    memset(a, 1, 1);
    memset(b, 2, 1000);
    memset(t, 3, 300);
    CHECK(a[0] == 1 && b[999] == 2);
    vlm_arena_reset(&arena);
    vlm_free(memory);
}

TEST(a_rewind_gives_the_same_address_again_and_leaves_the_top)
{
    char *memory = vlm_alloc(8192);
    vlm_arena arena;
    vlm_arena_init(&arena, memory, 8192);
    vlm_arena_take(&arena, 100);
    char *top = vlm_arena_take_top(&arena, 10);
    *top = 7;
    size_t mark = vlm_arena_mark(&arena);
    void *first = vlm_arena_take(&arena, 2000);
    size_t peak = arena.peak;
    vlm_arena_rewind(&arena, mark);
    CHECK(vlm_arena_take(&arena, 500) == first);
    CHECK_INT(*top, 7);
    CHECK_INT(arena.peak, peak);
    vlm_arena_reset(&arena);
    CHECK_INT(arena.bottom + arena.top, 0);
    CHECK_INT(arena.peak, peak);
    CHECK(vlm_arena_take_top(&arena, 10) == top);
    vlm_free(memory);
}

TEST(a_full_arena_gives_null_and_is_unchanged)
{
    char *memory = vlm_alloc(8192);
    vlm_arena arena;
    vlm_arena_init(&arena, memory, 8192);
    CHECK(vlm_arena_take(&arena, 8193) == NULL);
    CHECK(vlm_arena_take(&arena, SIZE_MAX) == NULL);
    CHECK(vlm_arena_take_top(&arena, SIZE_MAX - 100) == NULL);
    CHECK_INT(arena.bottom + arena.top + arena.peak, 0);
    CHECK(vlm_arena_take(&arena, 4000) && vlm_arena_take_top(&arena, 4000));
    CHECK(vlm_arena_take(&arena, 100) == NULL && vlm_arena_take_top(&arena, 100) == NULL);
    vlm_free(memory);
}

/* The law behind the dry run: what meta says is needed is enough for real, and equal. */
TEST(the_peak_on_meta_is_the_capacity_that_memory_needs)
{
    vlm_arena meta, real;
    vlm_arena_init(&meta, NULL, SIZE_MAX / 2);
    static const size_t sizes[] = {1, 255, 256, 257, 4096, 33, 0, 7000};
    for (int i = 0; i < VLM_COUNT(sizes); i++) {
        void *p =
            i % 3 == 1 ? vlm_arena_take_top(&meta, sizes[i]) : vlm_arena_take(&meta, sizes[i]);
        CHECK(p != NULL && (uintptr_t)p % 256 == 0);
    }
    char *memory = vlm_alloc(meta.peak);
    vlm_arena_init(&real, memory, meta.peak);
    for (int i = 0; i < VLM_COUNT(sizes); i++)
        CHECK((i % 3 == 1 ? vlm_arena_take_top(&real, sizes[i])
                          : vlm_arena_take(&real, sizes[i])) != NULL);
    CHECK_INT(real.peak, meta.peak);
    CHECK(vlm_arena_take(&real, 1) == NULL);
    vlm_free(memory);
}

TEST(a_block_that_is_not_aligned_loses_its_first_bytes)
{
    char *memory = vlm_alloc(4096);
    vlm_arena arena;
    vlm_arena_init(&arena, memory + 10, 4000);
    CHECK_INT(arena.capacity, 3584); /* 4000 - 246, in whole 256s */
    char *p = vlm_arena_take(&arena, 3500);
    CHECK(p == memory + 256);
    vlm_free(memory);
}

TEST(sanitizers_see_gaps_and_rewound_blocks)
{
#ifdef __SANITIZE_ADDRESS__
    char *memory = vlm_alloc(8192);
    vlm_arena arena;
    vlm_arena_init(&arena, memory, 8192);
    char *a = vlm_arena_take(&arena, 256);
    vlm_arena_take(&arena, 256);
    CHECK(!__asan_region_is_poisoned(a, 256));
    CHECK(__asan_address_is_poisoned(a + 256));
    size_t mark = vlm_arena_mark(&arena);
    char *b = vlm_arena_take(&arena, 10);
    CHECK(!__asan_address_is_poisoned(b + 9) && __asan_address_is_poisoned(b + 10));
    vlm_arena_rewind(&arena, mark);
    CHECK(__asan_address_is_poisoned(b));
    vlm_arena_take_top(&arena, 10);
    vlm_arena_fini(&arena);
    CHECK(!__asan_region_is_poisoned(memory, 8192)); /* the next owner of these addresses */
    vlm_free(memory);
#endif
}
