/* AdamW over the parameters of a context, with clipping by the norm of all gradients. */
#ifndef VLM_OPTIM_ADAMW_H
#define VLM_OPTIM_ADAMW_H

#include "context.h"

typedef struct vlm_adamw_opts {
    double lr, beta1, beta2, eps, weight_decay;
    double clip;       /* largest norm of the scaled gradients; 0 = none */
    double grad_scale; /* times every gradient, before the norm is taken */
} vlm_adamw_opts;

/* One step over every trained parameter: its lr_scale times the rate, decay where it decays. step counts from 1. grad_norm (NULL
 * allowed) is the norm before clipping; 0 on a device without data.
 * Errors: ARG, NUMERIC (a gradient is not finite; nothing changed), NOMEM, DEVICE. */
vlmoe_status vlm_adamw_apply(vlmoe_context *ctx, const vlm_adamw_opts *opts, int64_t step,
                             double *grad_norm);

#endif
