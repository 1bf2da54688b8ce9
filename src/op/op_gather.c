/* Rows gathered from tables and added: embeddings, selections of rows, assembled inputs; and rows scattered to sums and means. */
#include <string.h>
#include "op_util.h"

enum { MAX_TABLES = 6 };
typedef struct gather_attr {
    const int32_t *d_index[MAX_TABLES]; /* [n] each */
    int64_t n;
    vlmoe_dtype dtype;
} gather_attr;

vlmoe_status vlm_gather_sum_infer(vlmoe_tape *tape, vlm_node *node)
{
    const gather_attr *attr = node->attr;
    int64_t cols = vlm_cols(node->input[0]);
    for (int i = 0; i < node->n_inputs; i++) {
        const vlmoe_tensor *table = node->input[i];
        VLM_TRY(vlm_need_float(tape, table, "table"));
        if (table->rank < 1 || vlm_cols(table) != cols)
            return VLM_OP_FAIL(tape, VLMOE_E_SHAPE,
                               "table 0 is %s and table %d %s, expected rows of one width",
                               VLM_SHAPE(node->input[0]), i, VLM_SHAPE(table));
    }
    if (attr->n < 0)
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "%lld rows of table %s", (long long)attr->n,
                           VLM_SHAPE(node->input[0]));
    if (!vlm_is_float(tape->ctx, attr->dtype))
        return VLM_OP_FAIL(tape, VLMOE_E_DTYPE, "the result cannot be %s",
                           vlm_dtype_name(attr->dtype));
    vlm_op_output(node, attr->dtype, 2, (const int64_t[]){attr->n, cols});
    return VLMOE_OK;
}

static vlmoe_status gather_all(vlmoe_tape *tape, const vlm_node *node, void *out, vlmoe_dtype dtype)
{
    const gather_attr *attr = node->attr;
    for (int i = 0; i < node->n_inputs; i++) {
        const vlmoe_tensor *table = node->input[i];
        const vlmk_gather_rows_args args = {.in_dtype = table->dtype,
                                            .out_dtype = dtype,
                                            .n_out = attr->n,
                                            .n_in = vlm_rows(table),
                                            .cols = vlm_cols(table),
                                            .in = table->data,
                                            .index = attr->d_index[i],
                                            .out = out,
                                            .accumulate = i > 0};
        VLM_TRY(VLM_KERNEL(tape->ctx, gather_rows, &args));
    }
    return VLMOE_OK;
}

vlmoe_status vlm_gather_sum_forward(vlmoe_tape *tape, vlm_node *node)
{
    vlmoe_tensor *out = node->output;
    vlmoe_dtype wide = tape->ctx->wide;
    if (node->n_inputs == 1 || out->dtype == wide)
        return gather_all(tape, node, out->data, out->dtype);
    /* summed in wide, rounded once */
    void *sum = vlm_tape_device(tape, vlm_wide_bytes(tape, vlm_count(out)));
    if (!sum) return tape->status;
    VLM_TRY(gather_all(tape, node, sum, wide));
    VLM_TRY(vlm_op_convert(tape, vlm_count(out), sum, wide, out->data, out->dtype));
    vlm_tape_give(tape, sum);
    return VLMOE_OK;
}

vlmoe_status vlm_gather_sum_backward(vlmoe_tape *tape, vlm_node *node)
{
    const gather_attr *attr = node->attr;
    for (int i = 0; i < node->n_inputs; i++) {
        vlmoe_tensor *table = node->input[i];
        int accumulate;
        void *dtable = vlm_grad_in(tape, table, &accumulate);
        if (!dtable) continue;
        const vlmk_scatter_rows_args args = {.in_dtype = node->output->dtype,
                                             .out_dtype = table->dtype,
                                             .n_in = attr->n,
                                             .n_out = vlm_rows(table),
                                             .cols = vlm_cols(table),
                                             .in = vlm_grad_of(node->output),
                                             .index = attr->d_index[i],
                                             .out = dtable,
                                             .accumulate = accumulate};
        VLM_TRY(VLM_KERNEL(tape->ctx, scatter_rows, &args));
    }
    return tape->status;
}

vlmoe_tensor *vlm_gather_sum(vlmoe_tape *tape, int n_tables, vlmoe_tensor *const *table,
                             const int32_t *const *d_index, int64_t n, vlmoe_dtype dtype)
{
    if (!tape || tape->status) return NULL;
    if (n_tables < 1 || n_tables > MAX_TABLES)
        return vlm_poison(tape, VLMOE_E_ARG, "gather_sum: %d tables, expected 1 to %d", n_tables,
                          MAX_TABLES);
    gather_attr attr = {.n = n, .dtype = dtype};
    memcpy(attr.d_index, d_index, (size_t)n_tables * sizeof *d_index);
    return vlm_record(tape, &vlm_ops[VLM_OP_gather_sum], n_tables, table, 0, &attr, sizeof attr);
}

vlmoe_tensor *vlmoe_gather(vlmoe_tape *tape, vlmoe_tensor *table, int64_t n, const int32_t *index)
{
    if (!tape || tape->status) return NULL;
    if (!table || n < 0 || (n > 0 && !index))
        return vlm_poison(tape, VLMOE_E_ARG, "gather: table or index is NULL, or n below 0");
    for (int64_t i = 0; i < n; i++)
        if (index[i] < -1 || index[i] >= vlm_rows(table))
            return vlm_poison(tape, VLMOE_E_ARG, "gather: index[%lld] is %d in table %s",
                              (long long)i, index[i], VLM_SHAPE(table));
    int32_t *host = vlm_tape_host(
        tape, (size_t)n * sizeof *host); /* stays until the copy has surely happened */
    if (!host) return NULL;
    if (n) memcpy(host, index, (size_t)n * sizeof *host);
    const int32_t *d_index = vlm_tape_upload(tape, host, (size_t)n * sizeof *host);
    return d_index ? vlm_gather_sum(tape, 1, &table, &d_index, n, table->dtype) : NULL;
}

/* ---- the adjoint as an operation ---- */

typedef struct scatter_attr {
    const int32_t *d_index; /* [rows of x] */
    int64_t n;
    double factor;
} scatter_attr;

vlmoe_status vlm_scatter_sum_infer(vlmoe_tape *tape, vlm_node *node)
{
    const scatter_attr *attr = node->attr;
    VLM_TRY(vlm_need_wide(tape, node->input[0], "x"));
    if (attr->n < 0)
        return VLM_OP_FAIL(tape, VLMOE_E_ARG, "%lld rows from x %s", (long long)attr->n,
                           VLM_SHAPE(node->input[0]));
    vlm_op_output(node, tape->ctx->wide, 2, (const int64_t[]){attr->n, vlm_cols(node->input[0])});
    return VLMOE_OK;
}

/* block *= factor */
static vlmoe_status scale(vlmoe_tape *tape, int64_t n, double factor, void *block)
{
    const vlmk_axpy_args args = {.n = n, .factor = factor, .src = block, .dst = block};
    return factor == 1.0 ? VLMOE_OK : VLM_KERNEL(tape->ctx, axpy, &args);
}

vlmoe_status vlm_scatter_sum_forward(vlmoe_tape *tape, vlm_node *node)
{
    const scatter_attr *attr = node->attr;
    const vlmoe_tensor *x = node->input[0];
    const vlmk_scatter_rows_args args = {.in_dtype = x->dtype,
                                         .out_dtype = x->dtype,
                                         .n_in = vlm_rows(x),
                                         .n_out = attr->n,
                                         .cols = vlm_cols(x),
                                         .in = x->data,
                                         .index = attr->d_index,
                                         .out = node->output->data};
    VLM_TRY(VLM_KERNEL(tape->ctx, scatter_rows, &args));
    return scale(tape, vlm_count(node->output), attr->factor, node->output->data);
}

vlmoe_status vlm_scatter_sum_backward(vlmoe_tape *tape, vlm_node *node)
{
    const scatter_attr *attr = node->attr;
    vlmoe_tensor *x = node->input[0];
    void *dx = vlm_tape_device(tape, vlmoe_tensor_bytes(x));
    if (!dx) return tape->status;
    const vlmk_gather_rows_args args = {.in_dtype = x->dtype,
                                        .out_dtype = x->dtype,
                                        .n_out = vlm_rows(x),
                                        .n_in = attr->n,
                                        .cols = vlm_cols(x),
                                        .in = vlm_grad_of(node->output),
                                        .index = attr->d_index,
                                        .out = dx};
    VLM_TRY(VLM_KERNEL(tape->ctx, gather_rows, &args));
    VLM_TRY(scale(tape, vlm_count(x), attr->factor, dx));
    return vlm_grad_give(tape, x, dx);
}

vlmoe_tensor *vlm_scatter_sum(vlmoe_tape *tape, vlmoe_tensor *x, const int32_t *d_index, int64_t n,
                              double factor)
{
    if (!tape || tape->status) return NULL;
    if (!d_index) return vlm_poison(tape, VLMOE_E_ARG, "scatter_sum: the index is NULL");
    const scatter_attr attr = {.d_index = d_index, .n = n, .factor = factor};
    return vlm_record(tape, &vlm_ops[VLM_OP_scatter_sum], 1, &x, 0, &attr, sizeof attr);
}
