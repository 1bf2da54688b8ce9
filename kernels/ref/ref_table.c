/* The table of the reference device, one pointer per row of kernels.def. */
#include "ref.h"

#define VLMK_KERNEL(name) .name = vlmk_ref_##name,
const vlmk_table vlmk_ref_table = {
#include "kernels.def"
};
#undef VLMK_KERNEL
