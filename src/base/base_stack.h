/* Host memory that is handed out upwards and given back down to a mark. It grows by blocks of its own, which never move and are kept for the next
 * time, so that equal work asks the system for memory once. Not here: memory of devices (base_arena.h, base_heap.h). */
#ifndef VLM_BASE_STACK_H
#define VLM_BASE_STACK_H

#include "base_arena.h"

enum { VLM_STACK_BLOCKS = 40 }; /* each is as large as all before it together, or larger: more than an address can count */
typedef struct vlm_stack { /* starts zeroed */
    vlm_arena block[VLM_STACK_BLOCKS];
    void *memory[VLM_STACK_BLOCKS]; /* of the blocks; n of them */
    int n, at;                      /* blocks from at + 1 on are empty */
    size_t peak;                    /* most bytes handed out at once */
} vlm_stack;

typedef struct vlm_stack_mark {
    int at;
    size_t bottom;
} vlm_stack_mark;

void vlm_stack_free(vlm_stack *stack);
/* 256-byte aligned, not cleared; NULL when the system has no more, and then nothing has changed. */
void *vlm_stack_take(vlm_stack *stack, size_t bytes);
vlm_stack_mark vlm_stack_here(const vlm_stack *stack);
void vlm_stack_rewind(vlm_stack *stack, vlm_stack_mark mark); /* a zeroed mark: all of it */
/* Whether an address lies in what was taken after the mark. */
bool vlm_stack_is_since(const vlm_stack *stack, vlm_stack_mark mark, const void *address);

#endif
