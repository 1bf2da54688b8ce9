/* Weight gradients of a step: written by the first group, added to by later ones, so that accumulators are neither cleared nor read
 * before there is something in them. Those of experts may wait for the end of the step: an expert meets few rows of a group, so adding
 * each group's gradient moves far more memory than the product reads; the rows of several groups wait, and one product per weight sums
 * their gradients in the order of the groups and meets the accumulator once. Bits are those of clearing and adding at once (linear_dw). */
#ifndef VLM_AUTOGRAD_DEFER_H
#define VLM_AUTOGRAD_DEFER_H

#include "tape.h"

typedef struct vlm_deferral vlm_deferral;
typedef struct vlm_deferred vlm_deferred;

/* Begin; experts' gradients may wait in up to `bytes` of device memory, 0 = none may. Nothing may be waiting. On a device without data
 * memory is counted, not taken.  Errors: NOMEM, STATE. */
vlmoe_status vlm_defer_open(vlmoe_context *ctx, size_t bytes);
void vlm_defer_close(vlmoe_context *ctx);
/* Bytes that the parts waiting now take; what one group needs, after its backward. */
size_t vlm_defer_waiting(const vlmoe_context *ctx);
size_t vlm_defer_peak(const vlmoe_context *ctx); /* the most that ever waited, in bytes */

/* Take over dw += dy^T x (and db) of a weight and its bias (or NULL) for the parts of one matrix of rows: added now, or after a copy of the part at
 * the next flush. Experts wait whose rows are few beside them; when there is no more room, what waits is flushed first. Not taken are
 * parameters that this recording uses more than once.  Errors: NOMEM, those of linear_dw. */
typedef struct vlm_defer_want {
    vlm_param *w, *b;                /* b NULL: none */
    const vlmk_linear_dw_args *args; /* type, sizes and parts are read; several parts: p with offset + p and stride n_parts */
} vlm_defer_want;
vlmoe_status vlm_defer_take(vlmoe_tape *tape, const vlm_defer_want *want, bool *taken);
/* Add all that waits to the accumulators, and clear those that nothing was added to since vlmoe_grad_zero. To be called after the last
 * backward of a step and before gradients are read.  Errors: those of linear_dw. */
vlmoe_status vlm_defer_flush(vlmoe_context *ctx);
/* Before something else adds to this parameter's accumulator: what waits first, zeros where nothing was yet.  Errors: as flush. */
vlmoe_status vlm_defer_settle(vlmoe_context *ctx, const vlm_param *param);
/* Gradients begin again: forget what waits. The accumulators owned here need no clearing then: the first to come writes. */
void vlm_defer_restart(vlmoe_context *ctx);
void vlm_defer_restart_param(const vlm_param *param); /* one that is owned here, and its bias with it */
/* This parameter's accumulator is cleared or written here. */
bool vlm_defer_owns(const vlmoe_context *ctx, const vlm_param *param);

#endif
