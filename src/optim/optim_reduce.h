/* Gradients of a step across its groups and ranks, and values after it. A trainer's step:
 *
 *     vlm_ctx_join or vlm_ctx_groups                    once, before parameters are in memory
 *     vlmoe_grad_zero
 *     for each micro-step: one group's forward, vlmoe_tape_backward, vlm_reduce_micro_step
 *     vlm_reduce_finish
 *     vlmoe_adamw_step    norm, clipping and update of what this rank owns; then values travel to all who compute with them
 *
 * On one rank nothing travels. Every rank makes all these calls, also in a step that fails elsewhere: a rank that fails says so by
 * vlm_comm_abort, and the others' next call returns COMM. */
#ifndef VLM_OPTIM_REDUCE_H
#define VLM_OPTIM_REDUCE_H

#include "context.h"

/* After a micro-step's backward: this rank's group, and with ranks those of all others, are added to the sums over groups, in the order
 * of groups. Collective.  Errors: those of kernels and of comm.h, NOMEM. */
vlmoe_status vlm_reduce_micro_step(vlmoe_context *ctx);
/* After the last micro-step: what waits (autograd_defer.h) is added.  Errors: those of kernels; STATE: groups are missing. */
vlmoe_status vlm_reduce_finish(vlmoe_context *ctx);
/* After owners have changed values (vlmoe_adamw_step calls it itself): to all who compute with them. Collective.  Errors: as above. */
vlmoe_status vlm_reduce_share_values(vlmoe_context *ctx);

/* What vlm_reduce_micro_step and vlm_reduce_share_values send from this rank to others, in bytes. Also where nobody is there to call. */
typedef struct vlm_reduce_bytes {
    size_t gradients, values;
} vlm_reduce_bytes;
vlm_reduce_bytes vlm_reduce_sent(const vlmoe_context *ctx);

/* Sums of squares of blocks of what this rank owns, mine, become those of all trained pieces, in the order of ctx->pieces. out [total].
 * Collective.  Errors: those of comm.h. */
vlmoe_status vlm_reduce_share_blocks(vlmoe_context *ctx, const double *mine, int64_t n_mine, double *out);

#endif
