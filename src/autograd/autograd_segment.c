/* Segments: parts of a recording of which only the input is kept, run again when backward comes to them. Decisions that must not be
 * made twice are read back through vlm_keep. */
#include <string.h>
#include "autograd_internal.h"

typedef struct segment_attr {
    vlm_segment_fn fn;
    const void *arg;
    int64_t step, group;
    struct vlm_kept
        *before; /* last kept result of the recording before this segment, NULL = none */
    int first_term, end_term;
    bool terms_want_grad;
} segment_attr;

bool vlm_segment_has_terms(const vlm_node *node)
{
    return ((const segment_attr *)node->attr)->terms_want_grad;
}

/* The input as a leaf of the replay: shares x's data, and its gradient as far as there is one. Parameters and views stay themselves:
 * their gradients lie elsewhere anyway. */
static vlmoe_tensor *leaf_of(vlmoe_tape *tape, vlmoe_tensor *x)
{
    if (x->param || x->base) return x;
    vlmoe_tensor *leaf = vlm_tape_host(tape, sizeof *leaf);
    if (!leaf) return NULL;
    *leaf = *x;
    leaf->owns_data = false; /* x's own life goes on outside */
    leaf->maker = NULL;
    return leaf;
}

/* Bring the leaf's gradient home before the replay's memory is given back. */
static void return_gradient(vlmoe_tape *tape, vlmoe_tensor *x, const vlmoe_tensor *leaf)
{
    if (leaf == x || !leaf->grad_is_set) return;
    vlm_heap_stay(&tape->ctx->arena, leaf->grad);
    x->grad = leaf->grad;
    x->grad_is_set = true;
}

/* Record the segment again over leaf, seed its result, differentiate. */
static vlmoe_status replay(vlmoe_tape *tape, const vlm_node *node, vlmoe_tensor *leaf,
                           void *doutput)
{
    const segment_attr *attr = node->attr;
    tape->last = NULL;
    tape->kept_cursor = attr->before ? attr->before->next : tape->kept;
    tape->n_terms_seen = attr->first_term;
    vlmoe_tensor *y = attr->fn(tape, attr->arg, leaf);
    if (tape->status) return tape->status;
    if (!y || tape->n_terms_seen != attr->end_term) {
        vlm_poison(tape, VLMOE_E_INTERNAL,
                   "a segment made %d loss terms, and %d when it was run again",
                   attr->end_term - attr->first_term, tape->n_terms_seen - attr->first_term);
        return tape->status;
    }
    if (doutput) VLM_TRY(vlm_grad_give(tape, y, doutput));
    return vlm_walk(tape);
}

static vlmoe_status segment_backward(vlmoe_tape *tape, vlm_node *node)
{
    vlmoe_context *ctx = tape->ctx;
    const segment_attr *attr = node->attr;
    vlmoe_tensor *x = node->input[0], *output = node->output;
    const vlmoe_tape outer = *tape;
    void *doutput = output->grad_is_set ? output->grad : NULL;
    uint64_t clock = ctx->arena.clock;
    output->grad = NULL; /* the replay's result takes it over */
    output->grad_is_set = false;

    tape->step = attr->step;
    tape->group = attr->group;
    tape->segment_depth = 1;
    tape->replaying = true;
    tape->replay_floor = vlm_stack_here(&ctx->host);
    vlmoe_tensor *leaf = leaf_of(tape, x);
    if (!leaf) return tape->status;
    VLM_TRY(replay(tape, node, leaf, doutput));
    return_gradient(tape, x, leaf);
    vlm_heap_give_since(&ctx->arena, clock);

    vlmoe_status status = tape->status;
    *tape = outer;
    tape->status = status;
    return status;
}

static vlmoe_status not_recorded(vlmoe_tape *tape, vlm_node *node)
{
    (void)node;
    return vlm_fail(&tape->ctx->error, VLMOE_E_INTERNAL,
                    "a segment is not recorded as an operation");
}

const vlm_op_def vlm_segment_op = {.name = "segment",
                                   .differentiable = 1,
                                   .infer = not_recorded,
                                   .forward = not_recorded,
                                   .backward = segment_backward};

/* The result in a block that outlives the run: its own, or a copy where it shares that of another tensor. */
static vlmoe_tensor *lasting_result(vlmoe_tape *tape, const vlmoe_tensor *x, vlmoe_tensor *y)
{
    vlmoe_context *ctx = tape->ctx;
    vlmoe_tensor *out = y;
    if (y == x || !y->owns_data) {
        out = vlm_tensor_new(tape, y->dtype, y->rank, y->dim);
        if (!out) return NULL;
        vlmoe_status status =
            ctx->backend->copy(ctx->device, out->data, y->data, vlmoe_tensor_bytes(y));
        if (status)
            return vlm_poison(tape, status, "keeping a segment's result failed on device %s",
                              ctx->backend->name);
        out->wants_grad = y->wants_grad;
    }
    vlm_heap_stay(&ctx->arena, out->data);
    return out;
}

/* Run fn with nothing kept but its result. */
static vlmoe_tensor *first_run(vlmoe_tape *tape, vlm_segment_fn fn, const void *arg,
                               vlmoe_tensor *x)
{
    vlmoe_context *ctx = tape->ctx;
    char want[VLM_SHAPE_TEXT], got[VLM_SHAPE_TEXT];
    uint64_t clock = ctx->arena.clock;
    tape->segment_depth = 1;
    tape->recording = false;
    vlmoe_tensor *y = fn(tape, arg, x);
    tape->recording = true;
    tape->segment_depth = 0;
    if (tape->status) return NULL;
    if (!y) return vlm_poison(tape, VLMOE_E_ARG, "a segment gave no result");
    if (y->dtype != x->dtype || y->rank != x->rank ||
        memcmp(y->dim, x->dim, (size_t)x->rank * sizeof *x->dim) != 0)
        return vlm_poison(tape, VLMOE_E_SHAPE,
                          "a segment made %s of %s from %s of %s, expected no change",
                          vlm_shape_text(y, got), vlm_dtype_name(y->dtype), vlm_shape_text(x, want),
                          vlm_dtype_name(x->dtype));
    vlmoe_tensor *out = lasting_result(tape, x, y);
    if (out) vlm_heap_give_since(&ctx->arena, clock);
    return out;
}

vlmoe_tensor *vlm_segment(vlmoe_tape *tape, bool enabled, vlm_segment_fn fn, const void *arg,
                          vlmoe_tensor *x)
{
    if (!tape || tape->status) return NULL;
    if (!x) return vlm_poison(tape, VLMOE_E_ARG, "segment: its input is NULL");
    if (!enabled || tape->mode == VLMOE_PREDICT) return fn(tape, arg, x);
    if (tape->segment_depth)
        return vlm_poison(tape, VLMOE_E_STATE, "segment: segments do not nest");
    if (!tape->recording) return fn(tape, arg, x); /* no backward will come */
    vlm_node *node = vlm_tape_host(tape, sizeof *node);
    segment_attr *attr = vlm_tape_host(tape, sizeof *attr);
    if (!node || !attr) return NULL;
    *attr = (segment_attr){.fn = fn,
                           .arg = arg,
                           .step = tape->step,
                           .group = tape->group,
                           .before = tape->kept_cursor,
                           .first_term = tape->n_terms};
    int n_with_peers = tape->n_with_peers;
    vlmoe_tensor *out = first_run(tape, fn, arg, x);
    if (!out) return NULL;
    attr->end_term = tape->n_terms;
    bool has_peers = tape->n_with_peers > n_with_peers;
    for (int i = attr->first_term; i < attr->end_term; i++)
        attr->terms_want_grad |= tape->terms[i].scalar->wants_grad;
    if (!out->wants_grad && !attr->terms_want_grad && !has_peers) return out;
    *node = (vlm_node){.op = &vlm_segment_op,
                       .n_inputs = 1,
                       .input = {x},
                       .output = out,
                       .attr = attr,
                       .reads = VLM_READS(0),
                       .has_peers = has_peers};
    vlm_node_append(tape, node);
    return out;
}
