/* Where gradients lie. Activations: the step arena, from the first write on. Parameters: the accumulator over groups, or this tape's
 * share of it while several nodes differentiate into the same parameter, so that a share is formed whole and added once. Where experts
 * have rows of several groups at once, those of other ranks, each group has a share of its own, added in the order of groups. */
#include "autograd_defer.h"
#include "autograd_internal.h"

void vlm_count_use(const vlmoe_tape *tape, const vlmoe_tensor *t)
{
    if (!t || !t->wants_grad || tape->replaying) return;
    vlm_param *param = t->base ? t->base->param : t->param;
    if (param) param->uses++;
}

vlmoe_status vlm_share_flush(vlmoe_tape *tape, vlm_param *param)
{
    if (!param->share_is_set) return VLMOE_OK;
    param->share_is_set = false;
    VLM_TRY(vlm_defer_settle(tape->ctx, param));
    for (int64_t part = 0; part < param->n_shares; part++) {
        const size_t at = (size_t)part * vlmoe_tensor_bytes(&param->tensor);
        const vlmk_axpy_args args = {.n = vlm_param_elements(param),
                                     .factor = 1.0,
                                     .src = (const char *)param->share + at,
                                     .dst = param->grad,
                                     .accumulate = 1};
        VLM_TRY(VLM_KERNEL(tape->ctx, axpy, &args));
    }
    vlm_tape_give(tape, param->share);
    param->share = NULL;
    return VLMOE_OK;
}

/* While a segment is run again: a tensor from before that. Its gradient must not lie in memory that the replay gives back. */
static bool outlives_replay(const vlmoe_tape *tape, const vlmoe_tensor *t)
{
    return tape->replaying && !vlm_stack_is_since(&tape->ctx->host, tape->replay_floor, t);
}

static void *take_gradient(vlmoe_tape *tape, size_t bytes, bool stays)
{
    void *block = vlm_tape_device(tape, bytes);
    if (block && stays) vlm_heap_stay(&tape->ctx->arena, block);
    return block;
}

static vlmoe_status clear(vlmoe_tape *tape, void *block, size_t bytes)
{
    vlmoe_status status = tape->ctx->backend->zero(tape->ctx->device, block, bytes);
    if (status)
        vlm_poison(tape, status, "clearing %zu bytes on device %s failed", bytes,
                   tape->ctx->backend->name);
    return status;
}

/* What will be written of a gradient: all of it, or some rows, and the rest must be zero; by how many groups, each apart. */
typedef struct extent {
    bool whole;
    int64_t n_parts;
} extent;

static void *param_grad(vlmoe_tape *tape, vlm_param *param, extent what, int *accumulate)
{
    *accumulate = 1;
    if (param->uses <= 1) return vlm_defer_settle(tape->ctx, param) ? NULL : param->grad;
    size_t bytes = (size_t)what.n_parts * vlmoe_tensor_bytes(&param->tensor);
    if (param->share && param->n_shares != what.n_parts)
        return vlm_poison(tape, VLMOE_E_INTERNAL, "gradients of %s come from %lld and %lld groups",
                          param->name, (long long)param->n_shares, (long long)what.n_parts);
    param->n_shares = what.n_parts;
    if (!param->share) param->share = take_gradient(tape, bytes, tape->replaying);
    if (!param->share) return NULL;
    if (param->share_is_set) return param->share;
    param->share_is_set = true;
    if (what.whole) *accumulate = 0;
    else if (clear(tape, param->share, bytes)) return NULL;
    return param->share;
}

static void *activation_grad(vlmoe_tape *tape, vlmoe_tensor *t, bool whole, int *accumulate)
{
    *accumulate = 1;
    if (t->grad_is_set) return t->grad;
    size_t bytes = vlmoe_tensor_bytes(t);
    t->grad = take_gradient(tape, bytes, outlives_replay(tape, t));
    if (!t->grad) return NULL;
    t->grad_is_set = true;
    if (whole) *accumulate = 0;
    else if (clear(tape, t->grad, bytes)) return NULL;
    return t->grad;
}

void *vlm_grad_in(vlmoe_tape *tape, vlmoe_tensor *t, int *accumulate)
{
    *accumulate = 0;
    if (!t || !t->wants_grad || tape->status) return NULL;
    vlmoe_tensor *root = t->base ? t->base : t;
    bool whole = !t->base;
    const extent what = {.whole = whole, .n_parts = 1};
    char *grad = root->param ? param_grad(tape, root->param, what, accumulate)
                             : activation_grad(tape, root, whole, accumulate);
    if (!grad) return NULL;
    return grad + (size_t)(t->base_row * vlm_cols(t)) * vlm_dtype_bytes(root->dtype);
}

void *vlm_grad_in_parts(vlmoe_tape *tape, vlmoe_tensor *t, int64_t n_parts, int *accumulate,
                        size_t *next)
{
    *next = 0;
    if (n_parts <= 1 || !t || !t->wants_grad || tape->status || !t->param || t->param->uses <= 1)
        return vlm_grad_in(tape, t, accumulate);
    const extent what = {.whole = true, .n_parts = n_parts};
    *next = vlmoe_tensor_bytes(t);
    return param_grad(tape, t->param, what, accumulate);
}

const void *vlm_grad_of(const vlmoe_tensor *t)
{
    return t->grad_is_set ? t->grad : NULL;
}

static vlmoe_status convert(vlmoe_context *ctx, int64_t n, const void *src, vlmoe_dtype src_dtype,
                            void *dst, vlmoe_dtype dst_dtype)
{
    const vlmk_convert_args args = {
        .n = n, .src_dtype = src_dtype, .dst_dtype = dst_dtype, .src = src, .dst = dst};
    return VLM_KERNEL(ctx, convert, &args);
}

/* dst += block where one of them is not wide: summed in wide, rounded once. */
static vlmoe_status add_narrow(vlmoe_tape *tape, int64_t n, const void *block, vlmoe_dtype dtype,
                               void *dst, vlmoe_dtype dst_dtype)
{
    vlmoe_context *ctx = tape->ctx;
    size_t bytes = (size_t)n * vlm_dtype_bytes(ctx->wide);
    void *sum = vlm_tape_device(tape, bytes), *term = vlm_tape_device(tape, bytes);
    if (!sum || !term) return tape->status;
    VLM_TRY(convert(ctx, n, dst, dst_dtype, sum, ctx->wide));
    VLM_TRY(convert(ctx, n, block, dtype, term, ctx->wide));
    const vlmk_axpy_args args = {.n = n, .factor = 1.0, .src = term, .dst = sum, .accumulate = 1};
    VLM_TRY(VLM_KERNEL(ctx, axpy, &args));
    VLM_TRY(convert(ctx, n, sum, ctx->wide, dst, dst_dtype));
    vlm_tape_give(tape, term);
    vlm_tape_give(tape, sum);
    return VLMOE_OK;
}

vlmoe_status vlm_grad_add(vlmoe_tape *tape, vlmoe_tensor *t, const void *block, vlmoe_dtype dtype)
{
    int accumulate;
    void *dst = vlm_grad_in(tape, t, &accumulate);
    if (!dst) return tape->status;
    int64_t n = vlm_count(t);
    if (!accumulate) return convert(tape->ctx, n, block, dtype, dst, t->dtype);
    if (t->dtype != tape->ctx->wide || dtype != tape->ctx->wide)
        return add_narrow(tape, n, block, dtype, dst, t->dtype);
    const vlmk_axpy_args args = {.n = n, .factor = 1.0, .src = block, .dst = dst, .accumulate = 1};
    return VLM_KERNEL(tape->ctx, axpy, &args);
}

vlmoe_status vlm_grad_give(vlmoe_tape *tape, vlmoe_tensor *t, void *block)
{
    if (tape->status) return tape->status;
    bool wants = t && t->wants_grad;
    if (wants && !t->base && !t->param && !t->grad_is_set) {
        if (outlives_replay(tape, t)) vlm_heap_stay(&tape->ctx->arena, block);
        t->grad = block;
        t->grad_is_set = true;
        return VLMOE_OK;
    }
    if (wants) VLM_TRY(vlm_grad_add(tape, t, block, t->dtype));
    const vlm_node *node = tape->differentiated;
    bool is_outputs = node && node->output->grad == block; /* ends with its node */
    if (!is_outputs) vlm_tape_give(tape, block);
    return VLMOE_OK;
}
