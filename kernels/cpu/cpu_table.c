/* The kernel table of one instruction set. A kernel without a definition is a link error here. */
#include "cpu_kernels.h"

extern const vlmk_table VLMK_CPU(table);
#define VLMK_KERNEL(name) .name = VLMK_CPU(name),
const vlmk_table VLMK_CPU(table) = {
#include "kernels.def"
};
#undef VLMK_KERNEL
