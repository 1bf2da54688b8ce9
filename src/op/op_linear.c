/* Linear layers, plain and one per group of rows, with the activation fused in; and an activation by itself. */
#include <string.h>
#include "autograd_defer.h"
#include "op_util.h"

static vlmoe_status check_weight(vlmoe_tape *tape, const vlm_node *node, int64_t n_groups)
{
    const vlmoe_tensor *x = node->input[0], *w = node->input[1], *b = node->input[2];
    int grouped = n_groups > 0;
    if (x->rank < 1 || w->rank != 2 + grouped || vlm_cols(w) != vlm_cols(x) ||
        (grouped && w->dim[0] != n_groups))
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE,
                           "x is %s and w %s, expected w of %s with the in of x", VLM_SHAPE(x),
                           VLM_SHAPE(w), grouped ? "[groups, out, in]" : "[out, in]");
    if (!b) return VLMOE_OK;
    VLM_TRY(vlm_need_wide(tape, b, "b"));
    bool fits = grouped ? b->rank == 2 && !memcmp(b->dim, w->dim, 2 * sizeof *b->dim)
                        : vlm_count(b) == w->dim[0]; /* [3, D] is a qkv bias */
    if (!fits)
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "w is %s and b %s, expected b of %s", VLM_SHAPE(w),
                           VLM_SHAPE(b), grouped ? "[groups, out]" : "[out]");
    return VLMOE_OK;
}

static bool is_param(const vlmoe_tensor *t)
{
    return t->param || (t->base && t->base->param);
}

vlmoe_status vlm_linear_infer(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_linear_opts *opts = node->attr;
    const vlmoe_tensor *x = node->input[0], *w = node->input[1];
    VLM_TRY(vlm_need_float(tape, x, "x"));
    VLM_TRY(check_weight(tape, node, opts->n_groups));
    if ((unsigned)opts->act > VLMOE_ACT_TANH)
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "activation %d is unknown", (int)opts->act);
    if (!vlm_op_values(w, x->dtype))
        return VLM_OP_FAIL(tape, VLMOE_E_DTYPE, "x %s is %s, and w %s has no values of that type",
                           VLM_SHAPE(x), vlm_dtype_name(x->dtype), VLM_SHAPE(w));
    if (!is_param(w)) VLM_TRY(vlm_need_wide(tape, w, "w, an activation,")); /* as its gradient is */
    if (opts->out_dtype != x->dtype && opts->out_dtype != tape->ctx->wide)
        return VLM_OP_FAIL(tape, VLMOE_E_DTYPE, "x is %s and the result %s, expected %s or %s",
                           vlm_dtype_name(x->dtype), vlm_dtype_name(opts->out_dtype),
                           vlm_dtype_name(x->dtype), vlm_dtype_name(tape->ctx->wide));
    vlm_op_output_like(node, opts->out_dtype, x);
    node->output->dim[x->rank - 1] = w->dim[w->rank - 2];
    return VLMOE_OK;
}

vlmoe_status vlm_linear_forward(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_linear_opts *opts = node->attr;
    const vlmoe_tensor *x = node->input[0], *w = node->input[1], *b = node->input[2],
                       *y = node->output;
    if (opts->act && vlm_keeps_for_backward(tape, node)) {
        node->saved[0] = vlm_tape_device(tape, (size_t)vlm_count(y) * vlm_dtype_bytes(x->dtype));
        if (!node->saved[0]) return tape->status;
    }
    node->can_remake = node->saved[0] && y->dtype == x->dtype;
    if (!is_param(w)) node->reads |= VLM_READS(1); /* which might be given back before */
    const vlmk_linear_fwd_args args = {.dtype = x->dtype,
                                       .y_dtype = y->dtype,
                                       .act = opts->act,
                                       .M = vlm_rows(x),
                                       .N = vlm_cols(y),
                                       .K = vlm_cols(x),
                                       .G = VLM_MAX(opts->n_groups, 1),
                                       .offset = opts->d_offset,
                                       .x = x->data,
                                       .w = vlm_op_values(w, x->dtype),
                                       .bias = b ? b->data : NULL,
                                       .pre = node->saved[0],
                                       .y = y->data};
    return VLM_KERNEL(tape->ctx, linear_fwd, &args);
}

vlmoe_status vlm_linear_remake(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_linear_opts *opts = node->attr;
    const vlmoe_tensor *y = node->output;
    const vlmk_act_fwd_args args = {.dtype = y->dtype,
                                    .act = opts->act,
                                    .n = vlm_count(y),
                                    .pre = node->saved[0],
                                    .y = y->data};
    return VLM_KERNEL(tape->ctx, act_fwd, &args);
}

/* The gradient before the activation, in x's type: in the block of the output's gradient where types agree, else in a new one. */
static void *gradient_before_act(vlmoe_tape *tape, const vlm_node *node)
{
    const vlm_linear_opts *opts = node->attr;
    const vlmoe_tensor *x = node->input[0], *y = node->output;
    int64_t n = vlm_count(y);
    void *dy = y->grad;
    if (y->dtype != x->dtype) {
        dy = vlm_tape_device(tape, (size_t)n * vlm_dtype_bytes(x->dtype));
        if (!dy || vlm_op_convert(tape, n, y->grad, y->dtype, dy, x->dtype)) return NULL;
    }
    if (!opts->act) return dy;
    const vlmk_act_bwd_args args = {
        .dtype = x->dtype, .act = opts->act, .n = n, .pre = node->saved[0], .dy = dy, .dpre = dy};
    return VLM_KERNEL(tape->ctx, act_bwd, &args) ? NULL : dy;
}

/* dw and db share the kernel's accumulate: two calls where they differ. */
static vlmoe_status run_dw(vlmoe_tape *tape, vlmk_linear_dw_args args, int add_w, int add_b)
{
    void *db = args.db;
    args.accumulate = add_w;
    if (args.dw && db && add_w != add_b) {
        args.db = NULL;
        VLM_TRY(VLM_KERNEL(tape->ctx, linear_dw, &args));
        args.dw = NULL;
        args.db = db;
    }
    if (!args.dw && !args.db) return VLMOE_OK;
    if (!args.dw) args.accumulate = add_b;
    return VLM_KERNEL(tape->ctx, linear_dw, &args);
}

/* dw and db, by the step's own bookkeeping where these are parameters of one use, else to where their gradients lie. */
static vlmoe_status weight_gradients(vlmoe_tape *tape, const vlm_node *node,
                                     const vlmk_linear_dw_args *args)
{
    vlmoe_tensor *w = node->input[1], *b = node->input[2];
    bool b_wants = b && b->wants_grad, taken = false;
    const vlm_defer_want want = {.w = w->param, .b = b_wants ? b->param : NULL, .args = args};
    if (w->wants_grad && (!b_wants || b->param)) VLM_TRY(vlm_defer_take(tape, &want, &taken));
    if (taken) return VLMOE_OK;
    vlmk_linear_dw_args direct = *args;
    int add_w, add_b;
    size_t next_w, next_b;
    direct.dw = vlm_grad_in_parts(tape, w, args->n_parts, &add_w, &next_w);
    direct.db = vlm_grad_in_parts(tape, b, args->n_parts, &add_b, &next_b);
    if (tape->status) return tape->status;
    if (!next_w && !next_b) return run_dw(tape, direct, add_w, add_b);
    direct.n_parts = 1;
    for (int64_t p = 0; p < args->n_parts; p++) {
        direct.part = &args->part[p];
        VLM_TRY(run_dw(tape, direct, add_w, add_b));
        if (direct.dw) direct.dw = (char *)direct.dw + next_w;
        if (direct.db) direct.db = (char *)direct.db + next_b;
        add_w = next_w ? add_w : 1; /* one memory for all: added to from its second group on */
        add_b = next_b ? add_b : 1;
    }
    return VLMOE_OK;
}

/* Gradients of w and b from dy: one part of rows, or the parts that opts tells. */
static vlmoe_status linear_dw(vlmoe_tape *tape, const vlm_node *node, const void *dy)
{
    const vlm_linear_opts *opts = node->attr;
    const vlmoe_tensor *x = node->input[0];
    int64_t n_parts = VLM_MAX(opts->n_parts, 1);
    vlmk_dw_part one = {.M = vlm_rows(x), .offset = opts->d_offset, .x = x->data, .dy = dy};
    vlmk_dw_part *part = &one;
    if (n_parts > 1) part = vlm_tape_host(tape, (size_t)n_parts * sizeof *part);
    if (!part) return tape->status;
    for (int64_t p = 0; n_parts > 1 && p < n_parts; p++) {
        part[p] = one;
        part[p].offset = opts->d_run_offset + p;
        part[p].stride = n_parts;
    }
    const vlmk_linear_dw_args args = {.dtype = x->dtype,
                                      .N = vlm_cols(node->output),
                                      .K = vlm_cols(x),
                                      .G = VLM_MAX(opts->n_groups, 1),
                                      .n_parts = n_parts,
                                      .part = part};
    return weight_gradients(tape, node, &args);
}

vlmoe_status vlm_linear_backward(vlmoe_tape *tape, vlm_node *node)
{
    const vlm_linear_opts *opts = node->attr;
    vlmoe_tensor *x = node->input[0], *w = node->input[1];
    int64_t M = vlm_rows(x), N = vlm_cols(node->output), K = vlm_cols(x),
            G = VLM_MAX(opts->n_groups, 1);
    int add_x;
    void *dx = vlm_grad_in(tape, x, &add_x), *dy = gradient_before_act(tape, node);
    if (!dy) return tape->status ? tape->status : tape->ctx->error.status;
    if (dx) {
        const vlmk_linear_dx_args args = {.dtype = x->dtype,
                                          .dx_dtype = x->dtype,
                                          .M = M,
                                          .N = N,
                                          .K = K,
                                          .G = G,
                                          .offset = opts->d_offset,
                                          .dy = dy,
                                          .w = vlm_op_values(w, x->dtype),
                                          .dx = dx,
                                          .accumulate = add_x};
        VLM_TRY(VLM_KERNEL(tape->ctx, linear_dx, &args));
    }
    VLM_TRY(linear_dw(tape, node, dy));
    if (dy != node->output->grad) vlm_tape_give(tape, dy);
    return VLMOE_OK;
}

vlmoe_tensor *vlm_linear(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *w, vlmoe_tensor *b,
                         const vlm_linear_opts *opts)
{
    vlmoe_tensor *const inputs[] = {x, w, b};
    return vlm_record(tape, &vlm_ops[VLM_OP_linear], 3, inputs, 1u << 2, opts, sizeof *opts);
}

vlmoe_tensor *vlmoe_linear(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *w, vlmoe_tensor *b,
                           vlmoe_act act)
{
    if (!b)
        return vlm_poison(tape, VLMOE_E_ARG,
                          "linear: b is NULL; vlmoe_linear_no_bias goes without one");
    return vlm_linear(tape, x, w, b,
                      &(vlm_linear_opts){.act = act, .out_dtype = x ? x->dtype : VLMOE_F32});
}

vlmoe_tensor *vlmoe_linear_no_bias(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *w,
                                   vlmoe_act act)
{
    return vlm_linear(tape, x, w, NULL,
                      &(vlm_linear_opts){.act = act, .out_dtype = x ? x->dtype : VLMOE_F32});
}

/* ---- act ---- */

typedef struct act_attr {
    vlmoe_act act;
} act_attr;

vlmoe_status vlm_act_infer(vlmoe_tape *tape, vlm_node *node)
{
    const act_attr *attr = node->attr;
    VLM_TRY(vlm_need_float(tape, node->input[0], "x"));
    if (attr->act != VLMOE_ACT_GELU && attr->act != VLMOE_ACT_TANH)
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "activation %d is unknown", (int)attr->act);
    vlm_op_output_like(node, node->input[0]->dtype, node->input[0]);
    return VLMOE_OK;
}

vlmoe_status vlm_act_forward(vlmoe_tape *tape, vlm_node *node)
{
    const act_attr *attr = node->attr;
    const vlmoe_tensor *x = node->input[0];
    const vlmk_act_fwd_args args = {.dtype = x->dtype,
                                    .act = attr->act,
                                    .n = vlm_count(x),
                                    .pre = x->data,
                                    .y = node->output->data};
    return VLM_KERNEL(tape->ctx, act_fwd, &args);
}

vlmoe_status vlm_act_backward(vlmoe_tape *tape, vlm_node *node)
{
    const act_attr *attr = node->attr;
    vlmoe_tensor *x = node->input[0];
    void *dy = node->output->grad; /* nobody reads it after this node: becomes dx in place */
    const vlmk_act_bwd_args args = {.dtype = x->dtype,
                                    .act = attr->act,
                                    .n = vlm_count(x),
                                    .pre = x->data,
                                    .dy = dy,
                                    .dpre = dy};
    VLM_TRY(VLM_KERNEL(tape->ctx, act_bwd, &args));
    return vlm_grad_give(tape, x, dy);
}

vlmoe_tensor *vlm_act(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_act act)
{
    if (!tape || tape->status) return NULL;
    if (act == VLMOE_ACT_NONE) return x ? x : vlm_poison(tape, VLMOE_E_ARG, "act: x is NULL");
    return vlm_record(tape, &vlm_ops[VLM_OP_act], 1, &x, 0, &(act_attr){.act = act},
                      sizeof(act_attr));
}
