/* Recording and differentiating. */
#ifndef VLMOE_TAPE_H
#define VLMOE_TAPE_H

#include "vlmoe/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlmoe_tape vlmoe_tape; /* one recording: forward, backward, gone */

typedef enum vlmoe_mode {
    VLMOE_TRAIN = 0,  /* noise, dropout and drop path act; backward is possible */
    VLMOE_PREDICT = 1 /* none of them; nothing is kept for backward */
} vlmoe_mode;

/* Start a recording; one may be open per context. End it on every path. */
VLMOE_API vlmoe_status vlmoe_tape_begin(vlmoe_context *ctx, vlmoe_mode mode, vlmoe_tape **out);
VLMOE_API void vlmoe_tape_end(vlmoe_tape *tape); /* NULL allowed; its tensors become invalid */

/* The first failure since begin, or VLMOE_OK. Text: vlmoe_context_error(). */
VLMOE_API vlmoe_status vlmoe_tape_status(const vlmoe_tape *tape);

/* Add weight * scalar to what backward differentiates. scalar holds one element. NULL scalar after a failure is allowed. */
VLMOE_API void vlmoe_loss_add(vlmoe_tape *tape, vlmoe_tensor *scalar, double weight);

/* The sum of all weight * scalar so far. Errors: the tape's own, UNSUPPORTED (meta). */
VLMOE_API vlmoe_status vlmoe_tape_loss(vlmoe_tape *tape, double *out);

/* Add d(scale * loss)/dp to the gradient of every parameter p; each p's share of this tape is formed whole, then added once.
 * Errors: the tape's own, STATE (called twice, or PREDICT mode), DEVICE. */
VLMOE_API vlmoe_status vlmoe_tape_backward(vlmoe_tape *tape, double scale);

#ifdef __cplusplus
}
#endif
#endif
