/* Position tables of another picture size: a grid of vectors, seen as a small picture and resized. */
#ifndef VLM_TRAIN_RESAMPLE_H
#define VLM_TRAIN_RESAMPLE_H

#include "base.h"

/* from [side, side, width] to out [out_side, out_side, width]: bicubic with a = -0.75, centres of cells on centres (align_corners false),
 * edge cells repeated, no low-pass when the grid shrinks: what the field's torch code calls interpolate(mode="bicubic"). Sums in double.
 * Equal sides copy. Errors: NOMEM. */
vlmoe_status vlm_grid_resample(int64_t side, int64_t out_side, int64_t width, const float *from, float *out, vlmoe_error *error);

#endif
