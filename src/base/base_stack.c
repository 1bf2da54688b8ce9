/* A list of arenas, filled one after the other. */
#include "base_stack.h"
#include <stdlib.h>

/* Address space: pages are the system's until they are written. */
static const size_t FIRST_BYTES = (size_t)1 << 20;

void vlm_stack_free(vlm_stack *stack)
{
    for (int i = 0; i < stack->n; i++) {
        vlm_arena_fini(&stack->block[i]);
        free(stack->memory[i]);
    }
    *stack = (vlm_stack){0};
}

/* One more block, with room for this many bytes at least, as the present one. */
static bool grow(vlm_stack *stack, size_t bytes)
{
    size_t capacity = FIRST_BYTES;
    for (int i = 0; i < stack->n; i++) capacity += stack->block[i].capacity;
    if (bytes > SIZE_MAX / 4 || stack->n == VLM_STACK_BLOCKS) return false;
    /* one unit for the alignment of the block, one for a fence */
    capacity = VLM_MAX(capacity, vlm_round_up(bytes, VLM_ARENA_ALIGN)) + 2 * VLM_ARENA_ALIGN;
    void *memory = malloc(capacity);
    if (!memory) return false;
    stack->at = stack->n++;
    stack->memory[stack->at] = memory;
    vlm_arena_init(&stack->block[stack->at], memory, capacity);
    return true;
}

static size_t used(const vlm_stack *stack)
{
    size_t sum = 0;
    for (int i = 0; i <= stack->at && i < stack->n; i++) sum += stack->block[i].bottom;
    return sum;
}

/* A block that is too small for what is asked is passed over, and stays empty until a rewind. */
void *vlm_stack_take(vlm_stack *stack, size_t bytes)
{
    void *out = NULL;
    int at = stack->at;
    for (; at < stack->n && !out; at++) out = vlm_arena_take(&stack->block[at], bytes);
    if (out) {
        stack->at = at - 1;
    } else {
        if (!grow(stack, bytes)) return NULL;
        out = vlm_arena_take(&stack->block[stack->at], bytes);
    }
    stack->peak = VLM_MAX(stack->peak, used(stack));
    return out;
}

vlm_stack_mark vlm_stack_here(const vlm_stack *stack)
{
    return (vlm_stack_mark){stack->at, stack->n ? stack->block[stack->at].bottom : 0};
}

void vlm_stack_rewind(vlm_stack *stack, vlm_stack_mark mark)
{
    for (int i = mark.at; i <= stack->at && i < stack->n; i++)
        vlm_arena_rewind(&stack->block[i], i == mark.at ? mark.bottom : 0);
    stack->at = mark.at;
}

bool vlm_stack_is_since(const vlm_stack *stack, vlm_stack_mark mark, const void *address)
{
    for (int i = mark.at; i < stack->n; i++) {
        const uintptr_t first = (uintptr_t)stack->block[i].base, at = (uintptr_t)address;
        if (at < first || at >= first + stack->block[i].bottom) continue;
        return i > mark.at || at - first >= mark.bottom;
    }
    return false;
}
