/* When the data of activations is given back. The forward pass says what it reads no more (vlm_tape_release), ops.def says what a
 * backward reads; what is cheap to make again is made again when backward comes to it. */
#include <string.h>
#include "autograd_internal.h"

void vlm_tape_give(vlmoe_tape *tape, const void *block)
{
    vlm_heap_give(&tape->ctx->arena, block);
}

static vlmoe_tensor *root_of(vlmoe_tensor *t)
{
    return t->base ? t->base : t;
}

static void give_data(vlmoe_tape *tape, vlmoe_tensor *t)
{
    vlm_tape_give(tape, t->data);
    t->data = NULL;
}

/* A view holds an address of its base's data, which must not move. */
static bool can_remake(const vlmoe_tensor *t)
{
    return t->maker && t->maker->can_remake && !t->has_views &&
           !(t->maker->reads & VLM_READS_OUTPUT);
}

void vlm_tape_release(vlmoe_tape *tape, vlmoe_tensor *t)
{
    if (!tape || tape->status || !t || !t->owns_data || t->is_released) return;
    t->is_released = true;
    if (!t->n_readers || can_remake(t)) give_data(tape, t);
}

void *vlm_tape_reuse(vlmoe_tape *tape, vlmoe_tensor *t)
{
    bool is_last = t->owns_data && t->is_released && t->n_readers == 1;
    void *block = t->data;
    if (!is_last || t->has_views || tape->status) return NULL;
    t->data = NULL;
    return block;
}

static void add_reader(vlmoe_tensor *t)
{
    if (t && !root_of(t)->param) root_of(t)->n_readers++;
}

static void drop_reader(vlmoe_tape *tape, vlmoe_tensor *t)
{
    if (!t || root_of(t)->param) return;
    t = root_of(t);
    t->n_readers--;
    if (!t->n_readers && t->is_released && t->data) give_data(tape, t);
}

void vlm_life_begin(vlmoe_tape *tape, vlm_node *node)
{
    (void)tape;
    for (int i = 0; i < node->n_inputs; i++)
        if (node->reads & VLM_READS(i)) add_reader(node->input[i]);
    if (node->reads & VLM_READS_OUTPUT) add_reader(node->output);
    node->output->maker = node;
}

static vlmoe_status remake(vlmoe_tape *tape, vlmoe_tensor *t)
{
    vlm_node *maker = t->maker;
    VLM_TRY(vlm_life_ensure(tape, maker));
    t->data = vlm_tape_device(tape, vlmoe_tensor_bytes(t));
    return t->data ? maker->op->remake(tape, maker) : tape->status;
}

/* Recursion ends at the first data that is there; a chain of operations that can be remade is two or three long. */
vlmoe_status vlm_life_ensure(vlmoe_tape *tape, const vlm_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        vlmoe_tensor *t = node->input[i];
        if (!(node->reads & VLM_READS(i)) || !t || t->data) continue;
        VLM_TRY(remake(tape, t));
    }
    return VLMOE_OK;
}

void vlm_life_forget(vlmoe_tape *tape, vlm_node *node)
{
    for (int i = 0; i < VLM_MAX_SAVED; i++) {
        vlm_tape_give(tape, node->saved[i]);
        node->saved[i] = NULL;
    }
}

/* The output's gradient has been used, or was handed on whole to an input. */
static void end_gradient(vlmoe_tape *tape, const vlm_node *node)
{
    vlmoe_tensor *output = node->output;
    bool is_handed_on = false;
    if (!output->grad_is_set) return;
    for (int i = 0; i < node->n_inputs; i++)
        if (node->input[i] && root_of(node->input[i])->grad == output->grad) is_handed_on = true;
    if (!is_handed_on) vlm_tape_give(tape, output->grad);
    output->grad = NULL;
    output->grad_is_set = false;
}

void vlm_life_end(vlmoe_tape *tape, vlm_node *node)
{
    vlm_life_forget(tape, node);
    end_gradient(tape, node);
    for (int i = 0; i < node->n_inputs; i++)
        if (node->reads & VLM_READS(i)) drop_reader(tape, node->input[i]);
    if (node->reads & VLM_READS_OUTPUT) drop_reader(tape, node->output);
}
