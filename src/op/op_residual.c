/* Sums along the residual stream: branches with drop path and layer scale, plain addition, dropout. */
#include <math.h>
#include "base_rng.h"
#include "op_util.h"

/* ---- residual: inputs base, y of each part, col_scale (may be absent) ---- */

typedef struct residual_attr {
    int n_parts;
    vlm_residual_part part[VLM_MAX_PARTS]; /* by ascending begin */
} residual_attr;

static const vlmoe_tensor *col_scale_of(const vlm_node *node)
{
    return node->input[node->n_inputs - 1];
}

vlmoe_status vlm_residual_infer(vlmoe_tape *tape, vlm_node *node)
{
    const residual_attr *attr = node->attr;
    const vlmoe_tensor *base = node->input[0], *col_scale = col_scale_of(node);
    int64_t end = 0;
    VLM_TRY(vlm_need_wide(tape, base, "base"));
    for (int i = 0; i < attr->n_parts; i++) {
        const vlmoe_tensor *y = node->input[1 + i];
        int64_t begin = attr->part[i].begin;
        VLM_TRY(vlm_need_float(tape, y, "y"));
        if (vlm_cols(y) != vlm_cols(base) || begin < end || vlm_rows(y) > vlm_rows(base) - begin)
            return VLM_OP_FAIL(tape, VLMOE_E_SHAPE,
                               "base is %s and part %d, from row %lld, %s: expected equal columns "
                               "and rows that fit, not yet used",
                               VLM_SHAPE(base), i, (long long)begin, VLM_SHAPE(y));
        end = begin + vlm_rows(y);
    }
    if (col_scale) VLM_TRY(vlm_need_vector(tape, col_scale, vlm_cols(base), "col_scale"));
    vlm_op_output_like(node, base->dtype, base);
    return VLMOE_OK;
}

/* The place of wide row `row` in a matrix, or of element `row` in a vector (cols = 1). */
static void *wide_row(const vlmoe_tape *tape, const void *data, int64_t row, int64_t cols)
{
    return data ? (char *)data + vlm_wide_bytes(tape, row * cols) : NULL;
}

vlmoe_status vlm_residual_forward(vlmoe_tape *tape, vlm_node *node)
{
    const residual_attr *attr = node->attr;
    const vlmoe_tensor *base = node->input[0], *col_scale = col_scale_of(node);
    int64_t cols = vlm_cols(base), done = 0;
    node->reads = 0; /* col_scale's gradient alone needs the parts */
    for (int i = 0; i < attr->n_parts && col_scale; i++) node->reads |= VLM_READS(1 + i);
    for (int i = 0; i <= attr->n_parts; i++) {
        int64_t begin = i < attr->n_parts ? attr->part[i].begin : vlm_rows(base);
        void *gap = wide_row(tape, node->output->data, done, cols);
        VLM_TRY(vlm_op_copy(tape, gap, wide_row(tape, base->data, done, cols),
                            vlm_wide_bytes(tape, (begin - done) * cols)));
        if (i == attr->n_parts) break;
        const vlmoe_tensor *y = node->input[1 + i];
        const vlmk_residual_fwd_args args = {
            .y_dtype = y->dtype,
            .rows = vlm_rows(y),
            .cols = cols,
            .base = wide_row(tape, base->data, begin, cols),
            .y = y->data,
            .row_scale = wide_row(tape, attr->part[i].d_row_scale, begin, 1),
            .col_scale = col_scale ? col_scale->data : NULL,
            .out = wide_row(tape, node->output->data, begin, cols)};
        VLM_TRY(VLM_KERNEL(tape->ctx, residual_fwd, &args));
        done = begin + vlm_rows(y);
    }
    return VLMOE_OK;
}

/* dy of part i; dcol_scale NULL = not wanted. */
static vlmoe_status part_backward(vlmoe_tape *tape, vlm_node *node, int i, void *dcol_scale)
{
    const residual_attr *attr = node->attr;
    vlmoe_tensor *y = node->input[1 + i];
    const vlmoe_tensor *col_scale = col_scale_of(node);
    int64_t begin = attr->part[i].begin, cols = vlm_cols(y);
    if (!y->wants_grad && !dcol_scale) return VLMOE_OK;
    void *dy = vlm_tape_device(tape, vlmoe_tensor_bytes(y));
    if (!dy) return tape->status;
    const vlmk_residual_bwd_args args = {
        .y_dtype = y->dtype,
        .rows = vlm_rows(y),
        .cols = cols,
        .dout = wide_row(tape, vlm_grad_of(node->output), begin, cols),
        .y = y->data,
        .row_scale = wide_row(tape, attr->part[i].d_row_scale, begin, 1),
        .col_scale = col_scale ? col_scale->data : NULL,
        .dy = dy,
        .dcol_scale = dcol_scale,
        .accumulate_col_scale = i > 0};
    VLM_TRY(VLM_KERNEL(tape->ctx, residual_bwd, &args));
    return vlm_grad_give(tape, y, dy);
}

vlmoe_status vlm_residual_backward(vlmoe_tape *tape, vlm_node *node)
{
    const residual_attr *attr = node->attr;
    vlmoe_tensor *col_scale = node->input[node->n_inputs - 1];
    void *dcol_scale = NULL; /* formed whole over the parts before it is added anywhere */
    if (col_scale && col_scale->wants_grad && attr->n_parts > 0) {
        dcol_scale = vlm_tape_device(tape, vlmoe_tensor_bytes(col_scale));
        if (!dcol_scale) return tape->status;
    }
    for (int i = 0; i < attr->n_parts; i++) VLM_TRY(part_backward(tape, node, i, dcol_scale));
    if (dcol_scale) VLM_TRY(vlm_grad_give(tape, col_scale, dcol_scale));
    return vlm_grad_give(tape, node->input[0],
                         node->output->grad); /* last: from here on others add into this block */
}

vlmoe_tensor *vlm_residual(vlmoe_tape *tape, vlmoe_tensor *base, int n_parts,
                           const vlm_residual_part *parts, vlmoe_tensor *col_scale)
{
    if (!tape || tape->status) return NULL;
    if (n_parts < 0 || n_parts > VLM_MAX_PARTS)
        return vlm_poison(tape, VLMOE_E_ARG, "residual: %d parts, expected 0 to %d", n_parts,
                          VLM_MAX_PARTS);
    residual_attr attr = {.n_parts = n_parts};
    vlmoe_tensor *inputs[VLM_MAX_PARTS + 2] = {base};
    for (int i = 0; i < n_parts; i++) { /* insertion by begin */
        int at = i;
        for (; at > 0 && attr.part[at - 1].begin > parts[i].begin; at--)
            attr.part[at] = attr.part[at - 1];
        attr.part[at] = parts[i];
    }
    for (int i = 0; i < n_parts; i++) inputs[1 + i] = attr.part[i].y;
    inputs[1 + n_parts] = col_scale;
    return vlm_record(tape, &vlm_ops[VLM_OP_residual], n_parts + 2, inputs, 1u << (n_parts + 1),
                      &attr, sizeof attr);
}

/* One factor per row: 0 or 1 / (1 - p), equal for rows of one sample. NULL: poisoned. */
static void *drop_path_scales(vlmoe_tape *tape, int64_t rows, double p, const int32_t *sample,
                              uint64_t site)
{
    double *scale = vlm_tape_host(tape, (size_t)(2 * rows) * sizeof *scale), *draw = scale + rows;
    if (!scale) return NULL;
    vlm_rng rng = vlm_rng_at(tape->ctx->seed, VLM_STREAM_DROP_PATH, (uint64_t)tape->step,
                             (uint64_t)tape->group, site);
    for (int64_t i = 0; i < rows; i++) draw[i] = vlm_rng_unit(&rng);
    for (int64_t r = 0; r < rows; r++) {
        if (sample[r] < 0 || sample[r] >= rows)
            return vlm_poison(tape, VLMOE_E_ARG,
                              "add_drop_path: sample[%lld] is %d, expected 0 to %lld", (long long)r,
                              sample[r], (long long)rows - 1);
        scale[r] = draw[sample[r]] >= p ? 1.0 / (1.0 - p) : 0.0;
    }
    return vlm_op_upload_wide(tape, scale, rows);
}

vlmoe_tensor *vlmoe_add_drop_path(vlmoe_tape *tape, vlmoe_tensor *base, vlmoe_tensor *y, double p,
                                  const int32_t *sample, uint64_t site)
{
    if (!tape || tape->status) return NULL;
    if (!base || !y || !(p >= 0.0 && p < 1.0))
        return vlm_poison(tape, VLMOE_E_ARG,
                          "add_drop_path: base or y is NULL, or p = %g is not in [0, 1)", p);
    if (!vlm_same_shape(base, y))
        return vlm_poison(tape, VLMOE_E_SHAPE,
                          "add_drop_path: base is %s and y %s, expected one shape", VLM_SHAPE(base),
                          VLM_SHAPE(y));
    vlm_residual_part part = {.y = y};
    if (p > 0.0 && tape->mode == VLMOE_TRAIN) {
        if (!sample) return vlm_poison(tape, VLMOE_E_ARG, "add_drop_path: sample is NULL");
        part.d_row_scale = drop_path_scales(tape, vlm_rows(base), p, sample, site);
    }
    return vlm_residual(tape, base, 1, &part, NULL);
}

/* ---- add ---- */

vlmoe_status vlm_add_infer(vlmoe_tape *tape, vlm_node *node)
{
    const vlmoe_tensor *a = node->input[0], *b = node->input[1];
    VLM_TRY(vlm_need_wide(tape, a, "a"));
    VLM_TRY(vlm_need_wide(tape, b, "b"));
    if (!vlm_same_shape(a, b))
        return VLM_OP_FAIL(tape, VLMOE_E_SHAPE, "a is %s and b %s, expected one shape",
                           VLM_SHAPE(a), VLM_SHAPE(b));
    vlm_op_output_like(node, a->dtype, a);
    return VLMOE_OK;
}

vlmoe_status vlm_add_forward(vlmoe_tape *tape, vlm_node *node)
{
    const vlmoe_tensor *a = node->input[0], *b = node->input[1];
    VLM_TRY(vlm_op_copy(tape, node->output->data, a->data, vlmoe_tensor_bytes(a)));
    const vlmk_axpy_args args = {.n = vlm_count(b),
                                 .factor = 1.0,
                                 .src = b->data,
                                 .dst = node->output->data,
                                 .accumulate = 1};
    return VLM_KERNEL(tape->ctx, axpy, &args);
}

vlmoe_status vlm_add_backward(vlmoe_tape *tape, vlm_node *node)
{
    VLM_TRY(vlm_grad_add(tape, node->input[0], vlm_grad_of(node->output), node->output->dtype));
    return vlm_grad_give(tape, node->input[1], node->output->grad);
}

vlmoe_tensor *vlmoe_add(vlmoe_tape *tape, vlmoe_tensor *a, vlmoe_tensor *b)
{
    vlmoe_tensor *const inputs[] = {a, b};
    return vlm_record(tape, &vlm_ops[VLM_OP_add], 2, inputs, 0, NULL, 0);
}

/* ---- dropout ---- */

typedef struct dropout_attr {
    double p;
    uint64_t key;
} dropout_attr;

vlmoe_status vlm_dropout_infer(vlmoe_tape *tape, vlm_node *node)
{
    VLM_TRY(vlm_need_float(tape, node->input[0], "x"));
    vlm_op_output_like(node, node->input[0]->dtype, node->input[0]);
    return VLMOE_OK;
}

static vlmoe_status run_dropout(vlmoe_tape *tape, const vlm_node *node, const void *x, void *y)
{
    const dropout_attr *attr = node->attr;
    const vlmk_dropout_args args = {.dtype = node->output->dtype,
                                    .n = vlm_count(node->output),
                                    .p = attr->p,
                                    .key = attr->key,
                                    .x = x,
                                    .y = y};
    return VLM_KERNEL(tape->ctx, dropout, &args);
}

vlmoe_status vlm_dropout_forward(vlmoe_tape *tape, vlm_node *node)
{
    return run_dropout(tape, node, node->input[0]->data, node->output->data);
}

vlmoe_status vlm_dropout_backward(vlmoe_tape *tape, vlm_node *node)
{
    void *dy = node->output->grad; /* nobody reads it after this node: becomes dx in place */
    VLM_TRY(run_dropout(tape, node, dy, dy));
    return vlm_grad_give(tape, node->input[0], dy);
}

vlmoe_tensor *vlmoe_dropout(vlmoe_tape *tape, vlmoe_tensor *x, double p, uint64_t site)
{
    if (!tape || tape->status) return NULL;
    if (!(p >= 0.0 && p < 1.0))
        return vlm_poison(tape, VLMOE_E_ARG, "dropout: p is %g, expected 0 <= p < 1", p);
    if (x && (p == 0.0 || tape->mode == VLMOE_PREDICT)) return x;
    const dropout_attr attr = {.p = p,
                               .key =
                                   vlm_rng_key(tape->ctx->seed, VLM_STREAM_DROPOUT,
                                               (uint64_t)tape->step, (uint64_t)tape->group, site)};
    return vlm_record(tape, &vlm_ops[VLM_OP_dropout], 1, &x, 0, &attr, sizeof attr);
}
