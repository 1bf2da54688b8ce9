/* Weight gradients of experts that wait for the end of a step. An expert meets few rows of a group, so adding each group's gradient
 * to the accumulator moves far more memory than the product reads; here the rows of several groups wait, and one product per weight
 * sums their gradients in the order of the groups and meets the accumulator once. Bits are those of adding at once (linear_dw). */
#ifndef VLM_AUTOGRAD_DEFER_H
#define VLM_AUTOGRAD_DEFER_H

#include "tape.h"

typedef struct vlm_deferral vlm_deferral;
typedef struct vlm_deferred vlm_deferred;

/* Let gradients wait in up to `bytes` of device memory; 0 ends it. Nothing may be waiting. On a device without data nothing is taken,
 * only counted.  Errors: NOMEM, STATE. */
vlmoe_status vlm_defer_open(vlmoe_context *ctx, size_t bytes);
void vlm_defer_close(vlmoe_context *ctx);
/* Bytes that the parts waiting now take; what one group needs, after its backward. */
size_t vlm_defer_waiting(const vlmoe_context *ctx);
size_t vlm_defer_peak(const vlmoe_context *ctx); /* the most that ever waited, in bytes */

/* Take over dw += dy^T x (and db) of a weight (and its bias, or NULL) for one part of rows, copying the part: *taken when it will happen
 * at the next flush; else the caller does it now. Only weights of experts whose rows are few beside them wait; when there is no more
 * room, what waits is flushed first.  Errors: NOMEM, those of linear_dw. */
typedef struct vlm_defer_want {
    vlm_param *w, *b;                /* b NULL: none */
    const vlmk_linear_dw_args *args; /* its one part, type and sizes are read */
} vlm_defer_want;
vlmoe_status vlm_defer_take(vlmoe_tape *tape, const vlm_defer_want *want, bool *taken);
/* Add all that waits to the accumulators, and clear those that nothing was added to since vlmoe_grad_zero. To be called after the last
 * backward of a step and before gradients are read.  Errors: those of linear_dw. */
vlmoe_status vlm_defer_flush(vlmoe_context *ctx);
/* Gradients begin again: forget what waits. The accumulators of weights that wait need no clearing then: their first flush writes. */
void vlm_defer_restart(vlmoe_context *ctx);
/* This parameter's accumulator is cleared or written by the flush. */
bool vlm_defer_owns(const vlmoe_context *ctx, const vlm_param *param);

#endif
