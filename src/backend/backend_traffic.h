/* The least memory traffic of each kernel call: every operand that it must read or write, once. Rows of grouped products count as if all
 * were used, since the split lies on the device; memory that a cache holds between calls counts too. For rates in a profile. */
#ifndef VLM_BACKEND_TRAFFIC_H
#define VLM_BACKEND_TRAFFIC_H

#include "vlmk.h"

/* Bytes; wide_bytes is the size of the device's wide type. */
#define VLMK_KERNEL(name) double vlm_traffic_##name(const vlmk_##name##_args *args, double wide_bytes);
#include "kernels.def"
#undef VLMK_KERNEL

#endif
