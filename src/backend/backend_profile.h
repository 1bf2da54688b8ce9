/* A device that times another: the same memory and the same kernels, each call a span with its work. Put around an open device and
 * taken off again at any time between calls; numbers are untouched, since the inner device does everything. */
#ifndef VLM_BACKEND_PROFILE_H
#define VLM_BACKEND_PROFILE_H

#include "backend.h"
#include "base_spans.h"

/* *out is a device of the backend *out_backend, which belongs to it. inner and spans are borrowed.  Errors: NOMEM. */
vlmoe_status vlm_profile_device_create(const vlm_backend *inner, vlm_device *inner_device, vlm_spans *spans,
                                       const vlm_backend **out_backend, vlm_device **out, vlmoe_error *error);
/* The wrapping goes, the inner device stays open: take both back from here. */
void vlm_profile_device_unwrap(vlm_device *device, const vlm_backend **inner, vlm_device **inner_device);

#endif
