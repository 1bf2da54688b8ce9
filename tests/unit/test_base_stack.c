/* Memory that grows by blocks: nothing moves, a mark is met again across blocks, and equal work asks for memory once. */
#include <string.h>
#include "base_stack.h"
#include "harness.h"

enum { MIB = 1 << 20 };

TEST(what_was_taken_stays_where_it_is_while_blocks_are_added)
{
    enum { N = 40 };
    vlm_stack stack = {0};
    unsigned char *block[N];
    size_t sum = 0;
    for (int i = 0; i < N; i++) {
        const size_t bytes = (size_t)i * 100000 + 1;
        block[i] = vlm_stack_take(&stack, bytes);
        CHECK(block[i] != NULL && (uintptr_t)block[i] % VLM_ARENA_ALIGN == 0);
        memset(block[i], i, bytes);
        sum += bytes;
    }
    CHECK(stack.n > 2 && sum > 64 * MIB && stack.peak >= sum);
    for (int i = 0; i < N; i++)
        for (size_t at = 0; at < (size_t)i * 100000 + 1; at += 5000) CHECK_INT(block[i][at], i);
    vlm_stack_free(&stack);
    CHECK(stack.n == 0);
}

TEST(a_rewind_across_blocks_gives_the_same_addresses_again)
{
    enum { N = 24 };
    vlm_stack stack = {0};
    void *first[N];
    vlm_stack_take(&stack, 1000);
    const vlm_stack_mark mark = vlm_stack_here(&stack);
    for (int i = 0; i < N; i++) first[i] = vlm_stack_take(&stack, MIB / 2);
    const int n = stack.n;
    const size_t peak = stack.peak;
    CHECK(n > 2);
    vlm_stack_rewind(&stack, mark);
    CHECK(vlm_stack_here(&stack).at == mark.at && vlm_stack_here(&stack).bottom == mark.bottom);
    for (int i = 0; i < N; i++) CHECK(vlm_stack_take(&stack, MIB / 2) == first[i]);
    CHECK_INT(stack.n, n);
    CHECK_INT(stack.peak, peak);
    vlm_stack_rewind(&stack, (vlm_stack_mark){0});
    CHECK_INT(vlm_stack_here(&stack).bottom, 0);
    vlm_stack_free(&stack);
}

TEST(what_lies_behind_a_mark_is_told_from_what_lies_before_it)
{
    vlm_stack stack = {0};
    CHECK(!vlm_stack_is_since(&stack, vlm_stack_here(&stack), &stack));
    char *before[2] = {vlm_stack_take(&stack, 100), vlm_stack_take(&stack, 3 * MIB)};
    const vlm_stack_mark mark = vlm_stack_here(&stack);
    char *since[2] = {vlm_stack_take(&stack, 100), vlm_stack_take(&stack, 9 * MIB)};
    CHECK(stack.n >= 3);
    for (int i = 0; i < 2; i++) {
        CHECK(!vlm_stack_is_since(&stack, mark, before[i]));
        CHECK(vlm_stack_is_since(&stack, mark, since[i]));
        CHECK(vlm_stack_is_since(&stack, (vlm_stack_mark){0}, before[i]));
    }
    CHECK(!vlm_stack_is_since(&stack, mark, &stack)); /* memory of others */
    vlm_stack_free(&stack);
}

TEST(without_memory_nothing_changes)
{
    vlm_stack stack = {0};
    CHECK(vlm_stack_take(&stack, SIZE_MAX) == NULL);
    CHECK(stack.n == 0 && stack.peak == 0);
    char *block = vlm_stack_take(&stack, 10);
    const vlm_stack_mark mark = vlm_stack_here(&stack);
    CHECK(vlm_stack_take(&stack, SIZE_MAX - 300) == NULL);
    CHECK(stack.n == 1 && vlm_stack_here(&stack).bottom == mark.bottom);
    CHECK(vlm_stack_is_since(&stack, (vlm_stack_mark){0}, block));
    vlm_stack_free(&stack);
}
