/* Loss terms, the seeds they make, and the walk over the nodes in reverse. */
#include <math.h>
#include <string.h>
#include "autograd_internal.h"

/* Room for one more term; the list lies in host memory of the tape. */
static bool grow_terms(vlmoe_tape *tape)
{
    if (tape->n_terms < tape->capacity_terms) return true;
    int capacity = tape->capacity_terms ? 2 * tape->capacity_terms : 16;
    vlm_loss_term *terms = vlm_tape_host(tape, (size_t)capacity * sizeof *terms);
    if (!terms) return false;
    if (tape->n_terms) memcpy(terms, tape->terms, (size_t)tape->n_terms * sizeof *terms);
    tape->terms = terms;
    tape->capacity_terms = capacity;
    return true;
}

/* A copy of a segment's scalar that stays when the segment's memory is given back. */
static vlmoe_tensor *lasting_copy(vlmoe_tape *tape, const vlmoe_tensor *scalar)
{
    vlmoe_context *ctx = tape->ctx;
    vlmoe_tensor *copy = vlm_tape_host(tape, sizeof *copy);
    bool is_new;
    void *block = vlm_keep(tape, vlmoe_tensor_bytes(scalar), &is_new);
    if (!copy || !block) return NULL;
    *copy = *scalar;
    copy->base = NULL;
    copy->base_row = 0;
    copy->param = NULL;
    copy->data = block;
    vlmoe_status status =
        ctx->backend->copy(ctx->device, block, scalar->data, vlmoe_tensor_bytes(scalar));
    if (status)
        return vlm_poison(tape, status, "keeping a loss term failed on device %s",
                          ctx->backend->name);
    return copy;
}

/* The same term again, in a segment's replay: its gradient starts here. */
static void seed_replayed(vlmoe_tape *tape, vlmoe_tensor *scalar, double weight)
{
    bool is_new;
    (void)vlm_keep(tape, vlmoe_tensor_bytes(scalar), &is_new); /* passes over the kept copy */
    if (tape->n_terms_seen >= tape->n_terms) {
        vlm_poison(tape, VLMOE_E_INTERNAL, "a segment added more loss terms when it was run again");
        return;
    }
    tape->n_terms_seen++;
    vlmoe_status status = vlm_seed(tape, scalar, weight);
    if (status) vlm_poison(tape, status, "seeding a loss term failed");
}

void vlmoe_loss_add(vlmoe_tape *tape, vlmoe_tensor *scalar, double weight)
{
    char shape[VLM_SHAPE_TEXT];
    if (!tape || tape->status) return;
    if (!scalar) {
        vlm_poison(tape, VLMOE_E_ARG, "loss_add: the term is NULL");
        return;
    }
    if (vlm_count(scalar) != 1 || scalar->dtype != tape->ctx->wide) {
        vlm_poison(tape, VLMOE_E_SHAPE, "loss_add: a term is one element of %s, not %s of %s",
                   vlm_dtype_name(tape->ctx->wide), vlm_shape_text(scalar, shape),
                   vlm_dtype_name(scalar->dtype));
        return;
    }
    if (!isfinite(weight)) {
        vlm_poison(tape, VLMOE_E_ARG, "loss_add: weight is %g", weight);
        return;
    }
    if (tape->replaying) {
        seed_replayed(tape, scalar, weight);
        return;
    }
    bool in_segment = tape->segment_depth > 0;
    if (tape->mode == VLMOE_TRAIN) vlm_count_use(tape, scalar);
    vlmoe_tensor *term = in_segment ? lasting_copy(tape, scalar) : scalar;
    if (!term || !grow_terms(tape)) return;
    tape->terms[tape->n_terms++] =
        (vlm_loss_term){.scalar = term, .weight = weight, .in_segment = in_segment};
}

static double get_wide(const void *value, vlmoe_dtype wide)
{
    return wide == VLMOE_F64 ? *(const double *)value : (double)*(const float *)value;
}

vlmoe_status vlmoe_tape_loss(vlmoe_tape *tape, double *out)
{
    vlmoe_context *ctx = tape->ctx;
    if (tape->status) return tape->status;
    vlmoe_error *error = vlm_ctx_error(ctx);
    double sum = 0.0, value = 0.0;
    for (int i = 0; i < tape->n_terms; i++) {
        VLM_TRY(vlm_ctx_download(ctx, &value, tape->terms[i].scalar->data,
                                 vlm_dtype_bytes(ctx->wide), error));
        sum += tape->terms[i].weight * get_wide(&value, ctx->wide);
    }
    if (!ctx->backend->has_data)
        return vlm_fail(error, VLMOE_E_UNSUPPORTED, "device %s has no data, so no loss",
                        ctx->backend->name);
    *out = sum;
    return VLMOE_OK;
}

vlmoe_status vlm_seed(vlmoe_tape *tape, vlmoe_tensor *scalar, double weight)
{
    vlmoe_context *ctx = tape->ctx;
    if (!scalar->wants_grad) return VLMOE_OK;
    double *value =
        vlm_tape_host(tape, sizeof *value); /* stays until the copy has surely happened */
    if (!value) return tape->status;
    if (ctx->wide == VLMOE_F64) *value = tape->scale * weight;
    else *(float *)value = (float)(tape->scale * weight);
    const void *block = vlm_tape_upload(tape, value, vlm_dtype_bytes(ctx->wide));
    if (!block) return tape->status;
    VLM_TRY(vlm_grad_add(tape, scalar, block, ctx->wide));
    vlm_tape_give(tape, block);
    return VLMOE_OK;
}

static vlmoe_status run_backward(vlmoe_tape *tape, vlm_node *node)
{
    tape->where = node->where;
    tape->differentiated = node;
    vlm_ctx_error(tape->ctx);
    vlm_spans *spans = tape->ctx->spans;
    const vlm_spans_mark outside = vlm_spans_here(spans);
    vlm_span_begin(spans, VLM_SPAN_BACKWARD, node->op->name, spans ? vlm_node_place(node) : NULL,
                   -1);
    vlmoe_status status = vlm_life_ensure(tape, node);
    if (!status) status = node->op->backward(tape, node);
    vlm_spans_end_to(spans, outside); /* a segment that failed has left spans open */
    if (tape->status) return tape->status;
    if (!status) return VLMOE_OK;
    vlm_fail(&tape->ctx->error, status, "gave %s", vlmoe_status_name(status));
    vlm_fail_in(&tape->ctx->error, "%s%sbackward of %s", node->where, node->where[0] ? ": " : "",
                node->op->name);
    tape->status = status;
    return status;
}

vlmoe_status vlm_walk(vlmoe_tape *tape)
{
    for (vlm_node *node = tape->last; node; node = node->previous) {
        bool is_called = node->output->grad_is_set || node->has_peers ||
                         (node->op == &vlm_segment_op && vlm_segment_has_terms(node));
        if (is_called) VLM_TRY(run_backward(tape, node));
        vlm_life_end(tape, node);
    }
    return VLMOE_OK;
}

static vlmoe_status differentiate(vlmoe_tape *tape)
{
    vlmoe_context *ctx = tape->ctx;
    for (int i = 0; i < tape->n_terms; i++)
        if (!tape->terms[i].in_segment)
            VLM_TRY(vlm_seed(tape, tape->terms[i].scalar, tape->terms[i].weight));
    VLM_TRY(vlm_walk(tape));
    for (int64_t i = 0; i < ctx->n_params; i++) VLM_TRY(vlm_share_flush(tape, ctx->params[i]));
    return ctx->backend->sync(ctx->device, &ctx->error);
}

vlmoe_status vlmoe_tape_backward(vlmoe_tape *tape, double scale)
{
    if (tape->status) return tape->status;
    vlmoe_error *error = vlm_ctx_error(tape->ctx);
    if (tape->mode != VLMOE_TRAIN)
        return vlm_fail(error, VLMOE_E_STATE,
                        "backward of a recording in PREDICT mode, which keeps nothing for it");
    if (!tape->recording)
        return vlm_fail(
            error, VLMOE_E_STATE,
            "backward of a recording that keeps nothing for it (vlm_tape_forward_only)");
    if (tape->did_backward)
        return vlm_fail(error, VLMOE_E_STATE, "backward was called already on this recording");
    tape->did_backward = true;
    tape->scale = scale;
    vlmoe_status status = differentiate(tape);
    if (status && !tape->status) {
        vlm_fail(&tape->ctx->error, status, "backward gave %s", vlmoe_status_name(status));
        tape->status = status;
    }
    return tape->status;
}
