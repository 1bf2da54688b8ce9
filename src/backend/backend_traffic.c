/* Bytes a kernel call moves at least: one line a row of kernels.def, after the shapes and types of vlmk.h. */
#include "backend_traffic.h"
#include "tensor.h"

enum { INDEX = 4 };

static double size_of(int dtype)
{
    return (double)vlm_dtype_bytes((vlmoe_dtype)dtype);
}

/* 1 where an optional operand is there, and the factor of an output that is read before it is written. */
static double given(const void *ptr)
{
    return ptr ? 1.0 : 0.0;
}

static double rewritten(int accumulate)
{
    return accumulate ? 2.0 : 1.0;
}

/* a: the arguments, w: bytes of the wide type. */
#define TRAFFIC(name, bytes)                                                                       \
    double vlm_traffic_##name(const vlmk_##name##_args *a, double w)                               \
    {                                                                                              \
        (void)w;                                                                                   \
        return bytes;                                                                              \
    }
#define N_OF(x, y) ((double)(x) * (double)(y))

TRAFFIC(convert, (double)a->n *(size_of(a->src_dtype) + size_of(a->dst_dtype)))
TRAFFIC(axpy, (double)a->n *w *(1.0 + rewritten(a->accumulate)))

TRAFFIC(linear_fwd,
        N_OF(a->M, a->K) * size_of(a->dtype) + (double)a->G * N_OF(a->N, a->K) * size_of(a->dtype) +
            given(a->bias) * N_OF(a->G, a->N) * w +
            N_OF(a->M, a->N) * (size_of(a->y_dtype) + given(a->pre) * size_of(a->dtype)))
TRAFFIC(linear_dx, N_OF(a->M, a->N) * size_of(a->dtype) +
                       (double)a->G * N_OF(a->N, a->K) * size_of(a->dtype) +
                       N_OF(a->M, a->K) * size_of(a->dx_dtype) * rewritten(a->accumulate))
static double dw_rows(const vlmk_linear_dw_args *a)
{
    int64_t rows = 0;
    for (int64_t i = 0; i < a->n_parts; i++)
        rows +=
            a->part[i].M / VLM_MAX(a->part[i].stride, 1); /* parts of one matrix share its rows */
    return (double)rows;
}
TRAFFIC(linear_dw, dw_rows(a) * (given(a->dw) * (double)a->K + (double)a->N) * size_of(a->dtype) +
                       (given(a->dw) * N_OF(a->N, a->K) + given(a->db) * (double)a->N) *
                           (double)a->G * w * rewritten(a->accumulate))
TRAFFIC(act_fwd, 2.0 * (double)a->n * size_of(a->dtype))
TRAFFIC(act_bwd, 3.0 * (double)a->n * size_of(a->dtype))

TRAFFIC(layer_norm_fwd, N_OF(a->rows, a->cols) * (size_of(a->x_dtype) + size_of(a->y_dtype)) +
                            2.0 * (double)(a->rows + a->cols) * w)
TRAFFIC(layer_norm_bwd,
        N_OF(a->rows, a->cols) *
                (size_of(a->x_dtype) * (1.0 + given(a->dx) * rewritten(a->accumulate_dx)) +
                 size_of(a->dy_dtype)) +
            2.0 * (double)(a->rows + a->cols) * w)

/* Each sequence as the longest: q, k, v, out, and backward dout, dq, dk, dv; the scores stay in caches. */
static double attention_bytes(const vlmk_attention_args *a, double w)
{
    double q = (double)a->n_seq * N_OF(a->max_q, a->H * a->head_dim),
           kv = (double)a->n_seq * N_OF(a->max_kv, a->H_kv * a->head_dim);
    double passes = a->dq ? 2.0 : 1.0;
    return passes * 2.0 * (q + kv) * size_of(a->dtype) +
           (double)a->n_seq * N_OF(a->max_q, a->H) * w;
}
TRAFFIC(attention_fwd, attention_bytes(a, w))
TRAFFIC(attention_bwd, attention_bytes(a, w))

TRAFFIC(gather_rows, N_OF(a->n_out, a->cols) * (size_of(a->in_dtype) +
                                                size_of(a->out_dtype) * rewritten(a->accumulate)) +
                         (double)a->n_out * INDEX)
TRAFFIC(scatter_rows,
        N_OF(a->n_in, a->cols) * size_of(a->in_dtype) +
            N_OF(a->n_out, a->cols) * size_of(a->out_dtype) * rewritten(a->accumulate) +
            (double)a->n_in * INDEX)
TRAFFIC(residual_fwd, N_OF(a->rows, a->cols) * (2.0 * w + size_of(a->y_dtype)))
TRAFFIC(residual_bwd,
        N_OF(a->rows, a->cols) * (w + size_of(a->y_dtype) * (1.0 + given(a->dcol_scale))))
TRAFFIC(dropout, 2.0 * (double)a->n * size_of(a->dtype))

TRAFFIC(cross_entropy_fwd, N_OF(a->M, a->V) * w)
TRAFFIC(cross_entropy_bwd, N_OF(a->M, a->V) * (w + size_of(a->out_dtype)))
TRAFFIC(class_loss_fwd, N_OF(a->M, a->V) * w)
TRAFFIC(class_loss_bwd, 2.0 * N_OF(a->M, a->V) * w)
TRAFFIC(temper_fwd, 2.0 * (double)a->n * w)
TRAFFIC(temper_bwd, (double)a->n *w *(1.0 + given(a->dx) + given(a->ds)))
TRAFFIC(mse_fwd, 2.0 * N_OF(a->M, a->C) * w)
TRAFFIC(mse_bwd, 3.0 * N_OF(a->M, a->C) * w)
TRAFFIC(l2_norm_fwd, 2.0 * N_OF(a->rows, a->cols) * w)
TRAFFIC(l2_norm_bwd, 3.0 * N_OF(a->rows, a->cols) * w)
TRAFFIC(vq_assign, (N_OF(a->M, a->C) + N_OF(a->n_codes, a->C)) * w + (double)a->M * INDEX)
TRAFFIC(patchify, (double)a->B *N_OF(a->height, a->width) * 3.0 * (1.0 + size_of(a->out_dtype)))

TRAFFIC(router_select, 4.0 * N_OF(a->T, a->E) * w + N_OF(a->T, a->K) * INDEX)
TRAFFIC(router_assign, 3.0 * N_OF(a->T, a->K) * INDEX + (double)a->T * w)
TRAFFIC(router_weights, 2.0 * N_OF(a->T, a->K) * (w + INDEX))
TRAFFIC(router_weights_bwd, N_OF(a->T, a->E) * w * (1.0 + rewritten(a->accumulate)) +
                                N_OF(a->T, a->K) * (w + 2.0 * INDEX))
TRAFFIC(router_losses_fwd, 3.0 * N_OF(a->T, a->E) * w + N_OF(a->T, a->K) * INDEX)
TRAFFIC(router_losses_bwd,
        N_OF(a->T, a->E) * w * (3.0 + rewritten(a->accumulate)) + N_OF(a->T, a->K) * INDEX)
TRAFFIC(combine_fwd, N_OF(a->T, a->cols) * (double)(a->K + 1) * size_of(a->dtype) +
                         N_OF(a->T, a->K) * (w + INDEX))
TRAFFIC(combine_bwd, N_OF(a->T, a->cols) * (double)(2 * a->K + 1) * size_of(a->dtype) +
                         N_OF(a->T, a->K) * (2.0 * w + INDEX))
TRAFFIC(dispatch_bwd,
        N_OF(a->T, a->cols) * ((double)a->K + rewritten(a->accumulate)) * size_of(a->dtype) +
            N_OF(a->T, a->K) * INDEX)
TRAFFIC(exchange_plan, ((double)(a->n_arrival + a->n_expert) + 2.0 * N_OF(a->R, a->E + 1)) * INDEX)

TRAFFIC(adamw, (double)a->n *(7.0 * w + given(a->copy) * size_of(a->copy_dtype)))
TRAFFIC(square_sum, (double)a->n *w)
