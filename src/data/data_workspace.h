/* What one thread needs to turn files into pixels, kept from picture to picture, so that after the
 * first few nothing is allocated. One thread at a time. Not here: decoding (data_image.h). */
#ifndef VLM_DATA_WORKSPACE_H
#define VLM_DATA_WORKSPACE_H

#include "base.h"

typedef struct vlm_workspace vlm_workspace;

/* Errors: NOMEM. */
vlmoe_status vlm_workspace_create(vlm_workspace **out, vlmoe_error *error);
void vlm_workspace_destroy(vlm_workspace *workspace); /* NULL allowed */

/* 64-byte aligned, not cleared, valid until the next reset; NULL when out of memory. n * bytes is
 * checked. */
void *vlm_workspace_take(vlm_workspace *workspace, size_t n, size_t bytes);
void vlm_workspace_reset(vlm_workspace *workspace); /* everything taken is free again */

/* A decoder's own state, which outlives resets; destroyed with the workspace by its drop. The slot
 * belongs to data_jpeg.c alone. */
typedef struct vlm_workspace_slot {
    void *state; /* NULL = none yet */
    void (*drop)(void *state);
} vlm_workspace_slot;
vlm_workspace_slot *vlm_workspace_decoder(vlm_workspace *workspace);

#endif
