/* The devices of this build, each defined in its own folder. Explicit, since constructors are lost in static libraries. */
#ifndef VLM_BACKEND_DEVICES_H
#define VLM_BACKEND_DEVICES_H

#include "backend.h"

extern const vlm_backend vlm_backend_cpu;
extern const vlm_backend vlm_backend_meta;

#endif
