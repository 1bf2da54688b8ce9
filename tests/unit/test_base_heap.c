/* Heaps: best fit, merging, peaks, equal addresses on memory and without, exhaustion. */
#include <string.h>
#include "base_heap.h"
#include "harness.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum { BYTES = 1 << 20 };

typedef struct fixture {
    char *memory;
    vlm_heap heap;
} fixture;

static fixture open_heap(void)
{
    fixture f = {.memory = vlm_alloc(BYTES)};
    CHECK_STATUS(vlm_heap_init(&f.heap, f.memory, BYTES), VLMOE_OK);
    return f;
}

static void close_heap(fixture *f)
{
    vlm_heap_fini(&f->heap);
    vlm_free(f->memory);
}

TEST(what_is_given_back_is_taken_again_by_best_fit)
{
    fixture f = open_heap();
    void *block[5];
    static const size_t bytes[5] = {4000, 100, 2000, 100, 3000};
    for (int i = 0; i < 5; i++) block[i] = vlm_heap_take(&f.heap, bytes[i]);
    size_t peak = f.heap.peak;
    vlm_heap_give(&f.heap, block[0]);
    vlm_heap_give(&f.heap, block[2]);
    CHECK(vlm_heap_take(&f.heap, 1900) ==
          block[2]); /* the smaller hole, though the other is lower */
    CHECK(vlm_heap_take(&f.heap, 1900) == block[0]);
    CHECK_INT(f.heap.peak, peak);
    vlm_heap_reset(&f.heap);
    CHECK(vlm_heap_take(&f.heap, 10) == block[0]);
    close_heap(&f);
}

TEST(neighbours_merge_whatever_the_order_they_come_back_in)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int o = 0; o < 6; o++) {
        fixture f = open_heap();
        void *block[3];
        for (int i = 0; i < 3; i++) block[i] = vlm_heap_take(&f.heap, 1000);
        void *last = vlm_heap_take(&f.heap, 1);
        size_t peak = f.heap.peak;
        for (int i = 0; i < 3; i++) vlm_heap_give(&f.heap, block[orders[o][i]]);
        CHECK_INT(f.heap.n_free, 1);
        CHECK(vlm_heap_take(&f.heap, 3000) == block[0]);
        CHECK_INT(f.heap.peak, peak);
        vlm_heap_give(&f.heap, block[0]);
        vlm_heap_give(&f.heap, last);
        CHECK_INT(f.heap.end + f.heap.in_use + (size_t)f.heap.n_free + f.heap.n_live, 0);
        close_heap(&f);
    }
}

/* Thousands of blocks in an order drawn by a small generator, against a list; contents prove that no two overlap. */
TEST(random_takes_and_gives_never_overlap_and_are_the_same_without_memory)
{
    enum { MOST = 3000, ROUNDS = 20000 };
    static char *block[MOST];
    static void *shadow[MOST];
    static size_t bytes[MOST];
    static unsigned char mark[MOST];
    fixture f = open_heap();
    vlm_heap meta;
    uint32_t draw = 1;
    CHECK_STATUS(vlm_heap_init(&meta, NULL, f.heap.capacity), VLMOE_OK);
    const char *base = f.heap.base;
    memset(block, 0, sizeof block);
    for (int r = 0; r < ROUNDS; r++) {
        draw = draw * 1664525u + 1013904223u;
        int i = (int)(draw >> 8) % MOST;
        if (block[i]) {
            for (size_t b = 0; b < bytes[i]; b++) CHECK((unsigned char)block[i][b] == mark[i]);
            vlm_heap_give(&f.heap, block[i]);
            vlm_heap_give(&meta, shadow[i]);
            block[i] = NULL;
            continue;
        }
        bytes[i] = 1 + (draw >> 20) % 900;
        mark[i] = (unsigned char)r;
        block[i] = vlm_heap_take(&f.heap, bytes[i]);
        shadow[i] = vlm_heap_take(&meta, bytes[i]);
        CHECK((block[i] == NULL) == (shadow[i] == NULL));
        if (!block[i]) continue;
        CHECK_INT((uintptr_t)block[i] % VLM_HEAP_ALIGN, 0);
        CHECK_INT(block[i] - base, (int64_t)((uintptr_t)shadow[i] - ((uintptr_t)1 << 20)));
        memset(block[i], mark[i], bytes[i]);
    }
    CHECK(f.heap.n_live > 500);
    CHECK_INT(f.heap.peak, meta.peak);
    vlm_heap_fini(&meta);
    close_heap(&f);
}

TEST(give_since_frees_what_came_later_but_what_stays)
{
    fixture f = open_heap();
    void *before = vlm_heap_take(&f.heap, 300);
    uint64_t clock = f.heap.clock;
    void *kept = NULL;
    for (int i = 0; i < 5000; i++) {
        void *block = vlm_heap_take(&f.heap, 1);
        if (i == 1234) kept = block;
        if (!block) break;
    }
    vlm_heap_stay(&f.heap, kept);
    vlm_heap_give_since(&f.heap, clock);
    CHECK_INT(f.heap.n_live, 2);
    vlm_heap_give(&f.heap, kept);
    vlm_heap_give(&f.heap, before);
    CHECK_INT(f.heap.in_use, 0);
    close_heap(&f);
}

TEST(a_full_heap_gives_null_and_is_unchanged)
{
    fixture f = open_heap();
    CHECK(vlm_heap_take(&f.heap, BYTES + 1) == NULL);
    CHECK(vlm_heap_take(&f.heap, SIZE_MAX) == NULL);
    CHECK(vlm_heap_take(&f.heap, SIZE_MAX - 100) == NULL);
    CHECK_INT(f.heap.in_use + f.heap.peak + f.heap.n_live, 0);
    CHECK(vlm_heap_take(&f.heap, BYTES - 512) != NULL);
    CHECK(vlm_heap_take(&f.heap, 1024) == NULL);
    close_heap(&f);
}

#ifdef __SANITIZE_ADDRESS__
TEST(what_is_free_is_poisoned)
{
    fixture f = open_heap();
    char *a = vlm_heap_take(&f.heap, 500), *b = vlm_heap_take(&f.heap, 500);
    CHECK(!__asan_region_is_poisoned(a, 500) && __asan_address_is_poisoned(a + 500));
    vlm_heap_give(&f.heap, a);
    CHECK(__asan_address_is_poisoned(a) && __asan_address_is_poisoned(a + 499));
    CHECK(!__asan_region_is_poisoned(b, 500));
    close_heap(&f);
}
#endif
