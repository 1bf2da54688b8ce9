/* Recording: a tape's begin and end, its memory, and the one function through which every operation passes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "autograd_internal.h"

vlmoe_status vlmoe_tape_begin(vlmoe_context *ctx, vlmoe_mode mode, vlmoe_tape **out)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    if (ctx->tape)
        return vlm_fail(error, VLMOE_E_STATE,
                        "a recording is open already: end it before the next begins");
    if (mode != VLMOE_TRAIN && mode != VLMOE_PREDICT)
        return vlm_fail(error, VLMOE_E_ARG, "mode %d is neither TRAIN nor PREDICT", (int)mode);
    VLM_TRY(vlm_ctx_build(ctx));
    vlmoe_tape *tape = vlm_stack_take(&ctx->host, sizeof *tape);
    if (!tape) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a recording");
    *tape = (vlmoe_tape){.ctx = ctx, .mode = mode, .recording = mode == VLMOE_TRAIN, .where = ""};
    for (int64_t i = 0; i < ctx->n_params; i++) {
        vlm_param *param = ctx->params[i];
        param->uses = 0;
        param->share = NULL;
        param->share_is_set = false;
    }
    ctx->tape = tape;
    *out = tape;
    return VLMOE_OK;
}

void vlmoe_tape_end(vlmoe_tape *tape)
{
    if (!tape) return;
    vlmoe_context *ctx = tape->ctx;
    ctx->tape = NULL;
    vlm_heap_reset(&ctx->arena);
    vlm_stack_rewind(&ctx->host, (vlm_stack_mark){0}); /* holds the tape itself */
}

vlmoe_status vlmoe_tape_status(const vlmoe_tape *tape)
{
    return tape->status;
}

void vlm_tape_place(vlmoe_tape *tape, int64_t step, int64_t group)
{
    tape->step = step;
    tape->group = group;
}

void vlm_tape_forward_only(vlmoe_tape *tape)
{
    VLM_ASSERT(!tape->last);
    tape->recording = false;
}

void vlm_tape_where(vlmoe_tape *tape, const char *where)
{
    tape->where = where ? where : "";
}

void *vlm_poison(vlmoe_tape *tape, vlmoe_status status, const char *format, ...)
{
    if (!tape || tape->status) return NULL;
    char text[VLMOE_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    vlm_fail(vlm_ctx_error(tape->ctx), status, "%s%s%s", tape->where, tape->where[0] ? ": " : "",
             text);
    tape->status = status;
    return NULL;
}

void *vlm_tape_host(vlmoe_tape *tape, size_t bytes)
{
    if (tape->status) return NULL;
    void *block = vlm_stack_take(&tape->ctx->host, bytes);
    if (!block)
        return vlm_poison(tape, VLMOE_E_NOMEM,
                          "no memory for %zu bytes more of a recording's nodes and lists, which "
                          "have taken %zu at most",
                          bytes, tape->ctx->host.peak);
    return memset(block, 0, bytes);
}

static void *arena_full(vlmoe_tape *tape, size_t bytes)
{
    const vlm_heap *arena = &tape->ctx->arena;
    return vlm_poison(
        tape, VLMOE_E_NOMEM,
        "no room for %zu bytes: %zu of the %zu bytes of one recording (step_bytes) are in use",
        bytes, arena->in_use, arena->capacity);
}

void *vlm_tape_device(vlmoe_tape *tape, size_t bytes)
{
    if (tape->status) return NULL;
    void *block = vlm_heap_take(&tape->ctx->arena, bytes);
    return block ? block : arena_full(tape, bytes);
}

void *vlm_tape_upload(vlmoe_tape *tape, const void *host, size_t bytes)
{
    vlmoe_context *ctx = tape->ctx;
    void *block = vlm_tape_device(tape, bytes);
    if (!block) return NULL;
    vlmoe_status status = ctx->backend->upload(ctx->device, block, host, bytes);
    if (status)
        return vlm_poison(tape, status, "upload of %zu bytes to device %s failed", bytes,
                          ctx->backend->name);
    return block;
}

/* Append to the list of kept results; the cursor is its last entry while recording. */
static void *keep_new(vlmoe_tape *tape, size_t bytes)
{
    struct vlm_kept *kept = vlm_tape_host(tape, sizeof *kept);
    if (!kept) return NULL;
    *kept = (struct vlm_kept){.block = vlm_tape_device(tape, bytes), .bytes = bytes};
    if (!kept->block) return NULL;
    vlm_heap_stay(&tape->ctx->arena, kept->block);
    if (tape->kept_cursor) tape->kept_cursor->next = kept;
    else tape->kept = kept;
    tape->kept_cursor = kept;
    return kept->block;
}

void *vlm_keep(vlmoe_tape *tape, size_t bytes, bool *is_new)
{
    *is_new = !tape->replaying;
    if (tape->status) return NULL;
    if (tape->segment_depth == 0) return vlm_tape_device(tape, bytes);
    if (!tape->replaying) return keep_new(tape, bytes);
    struct vlm_kept *kept = tape->kept_cursor;
    if (!kept || kept->bytes != bytes)
        return vlm_poison(tape, VLMOE_E_INTERNAL,
                          "a segment took another path when it was run again: it asks for %zu kept "
                          "bytes, found %zu",
                          bytes, kept ? kept->bytes : (size_t)0);
    tape->kept_cursor = kept->next;
    return kept->block;
}

vlmoe_tensor *vlm_tensor_new(vlmoe_tape *tape, vlmoe_dtype dtype, int rank, const int64_t *dim)
{
    int64_t count;
    size_t bytes;
    if (tape->status) return NULL;
    if (!vlm_shape_count(rank, dim, &count) ||
        !vlm_mul_size((size_t)count, vlm_dtype_bytes(dtype), &bytes))
        return vlm_poison(tape, VLMOE_E_SHAPE,
                          "a tensor of rank %d has a dimension below 0 or too many elements", rank);
    vlmoe_tensor *t = vlm_tape_host(tape, sizeof *t);
    if (!t) return NULL;
    *t = (vlmoe_tensor){.ctx = tape->ctx, .dtype = dtype, .rank = rank};
    memcpy(t->dim, dim, (size_t)rank * sizeof *dim);
    t->data = vlm_tape_device(tape, bytes);
    t->owns_data = true;
    return t->data ? t : NULL;
}

vlmoe_tensor *vlm_rows_view(vlmoe_tape *tape, vlmoe_tensor *x, int64_t begin, int64_t count)
{
    if (!tape || tape->status || !x) return NULL;
    char shape[VLM_SHAPE_TEXT];
    if (begin < 0 || count < 0 || begin > vlm_rows(x) || count > vlm_rows(x) - begin)
        return vlm_poison(tape, VLMOE_E_SHAPE, "rows %lld to %lld of a tensor %s", (long long)begin,
                          (long long)(begin + count), vlm_shape_text(x, shape));
    vlmoe_tensor *t = vlm_tape_host(tape, sizeof *t);
    if (!t) return NULL;
    *t = (vlmoe_tensor){.ctx = x->ctx, .dtype = x->dtype, .rank = 2, .wants_grad = x->wants_grad};
    t->dim[0] = count;
    t->dim[1] = vlm_cols(x);
    t->data = (char *)x->data + (size_t)(begin * vlm_cols(x)) * vlm_dtype_bytes(x->dtype);
    t->base = x->base ? x->base : x; /* views of views lie on the same base */
    t->base_row = x->base_row + begin;
    t->base->has_views = true;
    return t;
}

vlmoe_tensor *vlm_reshape_view(vlmoe_tape *tape, vlmoe_tensor *x, int64_t rows)
{
    if (!tape || tape->status || !x) return NULL;
    char shape[VLM_SHAPE_TEXT];
    if (rows < 1 || vlm_count(x) % rows != 0 || x->base)
        return vlm_poison(tape, VLMOE_E_SHAPE, "%lld rows of a tensor %s%s", (long long)rows,
                          vlm_shape_text(x, shape), x->base ? ", which is a view" : "");
    vlmoe_tensor *t = vlm_rows_view(tape, x, 0, vlm_rows(x));
    if (!t) return NULL;
    t->dim[0] = rows;
    t->dim[1] = vlm_count(x) / rows;
    return t;
}

bool vlm_keeps_for_backward(const vlmoe_tape *tape, const vlm_node *node)
{
    return tape->recording && node->output->wants_grad;
}

void vlm_node_append(vlmoe_tape *tape, vlm_node *node)
{
    vlm_life_begin(tape, node);
    node->where = tape->where;
    node->previous = tape->last;
    tape->last = node;
}

/* Take over the inputs. False: poisoned. */
static bool set_inputs(vlmoe_tape *tape, vlm_node *node, int n_inputs, vlmoe_tensor *const *inputs,
                       unsigned optional_mask)
{
    VLM_ASSERT(n_inputs <= VLM_MAX_INPUTS);
    node->n_inputs = n_inputs;
    for (int i = 0; i < n_inputs; i++) {
        if (!inputs[i] && !(optional_mask >> i & 1u)) {
            vlm_poison(tape, VLMOE_E_ARG, "%s: input %d is NULL", node->op->name, i);
            return false;
        }
        if (inputs[i] && inputs[i]->ctx != tape->ctx) {
            vlm_poison(tape, VLMOE_E_ARG, "%s: input %d belongs to another context", node->op->name,
                       i);
            return false;
        }
        node->input[i] = inputs[i];
        if (inputs[i] && inputs[i]->wants_grad && tape->mode == VLMOE_TRAIN)
            node->output->wants_grad = true;
    }
    return true;
}

static vlm_node *new_node(vlmoe_tape *tape, const vlm_op_def *op, const void *attr,
                          size_t attr_bytes)
{
    vlm_node *node = vlm_tape_host(tape, sizeof *node);
    vlmoe_tensor *output = vlm_tape_host(tape, sizeof *output);
    void *copy = attr_bytes ? vlm_tape_host(tape, attr_bytes) : NULL;
    if (tape->status) return NULL;
    if (copy) memcpy(copy, attr, attr_bytes);
    output->ctx = tape->ctx;
    *node = (vlm_node){.op = op,
                       .output = output,
                       .attr = copy,
                       .reads = op->reads,
                       .can_remake = op->remake != NULL};
    return node;
}

static vlmoe_status take_output(vlmoe_tape *tape, vlmoe_tensor *output)
{
    int64_t count;
    size_t bytes;
    if (!vlm_shape_count(output->rank, output->dim, &count) ||
        !vlm_mul_size((size_t)count, vlm_dtype_bytes(output->dtype), &bytes))
        return vlm_fail(&tape->ctx->error, VLMOE_E_SHAPE, "the result has too many elements");
    if (output->data) return tape->status; /* some results lie in kept memory already */
    output->data = vlm_tape_device(tape, bytes);
    output->owns_data = true;
    if (!output->data || !tape->is_watched) return tape->status;
    /* rows that an operation leaves undefined must not look like its result */
    return tape->ctx->backend->zero(tape->ctx->device, output->data, bytes);
}

/* The op has told what is wrong; say which op and where. */
static void *op_failed(vlmoe_tape *tape, const vlm_node *node, vlmoe_status status)
{
    if (tape->status) return NULL; /* its text is complete */
    vlm_fail(&tape->ctx->error, status, "gave %s", vlmoe_status_name(status));
    vlm_fail_in(&tape->ctx->error, "%s%s%s", tape->where, tape->where[0] ? ": " : "",
                node->op->name);
    tape->status = status;
    return NULL;
}

const char *vlm_node_place(const vlm_node *node)
{
    for (int i = 0; i < node->n_inputs; i++)
        if (node->input[i] && node->input[i]->param) return node->input[i]->param->name;
    return node->where;
}

/* Shape, memory and values of a node that has its inputs. */
static vlmoe_status run_forward(vlmoe_tape *tape, vlm_node *node)
{
    vlm_spans *spans = tape->ctx->spans;
    node->where = tape->where;
    vlm_span_begin(spans, VLM_SPAN_FORWARD, node->op->name, spans ? vlm_node_place(node) : NULL,
                   -1);
    vlmoe_status status = node->op->infer(tape, node);
    if (!status) status = take_output(tape, node->output);
    if (!status) status = node->op->forward(tape, node);
    vlm_span_end(spans);
    return status ? status : tape->status;
}

vlmoe_tensor *vlm_record(vlmoe_tape *tape, const vlm_op_def *op, int n_inputs,
                         vlmoe_tensor *const *inputs, unsigned optional_mask, const void *attr,
                         size_t attr_bytes)
{
    if (!tape || tape->status) return NULL;
    vlm_ctx_error(tape->ctx);
    vlm_node *node = new_node(tape, op, attr, attr_bytes);
    if (!node || !set_inputs(tape, node, n_inputs, inputs, optional_mask)) return NULL;
    vlmoe_status status = run_forward(tape, node);
    if (status) return op_failed(tape, node, status);
    if (tape->is_watched) vlm_watch(tape, node);
    if (!op->differentiable) node->output->wants_grad = false;
    if (node->has_peers && node->output->wants_grad) tape->n_with_peers++;
    if (node->output->wants_grad)
        for (int i = 0; i < n_inputs; i++) vlm_count_use(tape, inputs[i]);
    if (node->output->wants_grad && tape->recording) vlm_node_append(tape, node);
    else vlm_life_forget(tape, node);
    return node->output;
}
