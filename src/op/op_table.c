/* One row per operation, from ops.def. A missing piece is a link error. */
#include "op.h"

#define IN(i) VLM_READS(i)
#define OUT   VLM_READS_OUTPUT
#define VLM_OP(op, is_differentiable, read, again, cases)                                          \
    [VLM_OP_##op] = {.name = #op,                                                                  \
                     .differentiable = is_differentiable,                                          \
                     .infer = vlm_##op##_infer,                                                    \
                     .forward = vlm_##op##_forward,                                                \
                     .backward = vlm_##op##_backward,                                              \
                     .remake = again,                                                              \
                     .reads = read},
const vlm_op_def vlm_ops[VLM_OP_COUNT] = {
#include "ops.def"
};
#undef VLM_OP
