/* Gradient cases: a small graph over parameters whose derivatives are compared with central differences in f64. */
#ifndef TEST_GRADIENTS_H
#define TEST_GRADIENTS_H

#include "harness.h"
#include "op.h"
#include "test_ops.h"

enum { MAX_CASE_PARAMS = 6 };
typedef struct case_param {
    int rank;
    int64_t dim[3];
    double centre; /* values are centre + (-1 .. 1) */
} case_param;

/* build makes the graph over the parameters p and returns its result: one element is the loss (weight 0.7), anything else is held
 * against random targets by mean squared error. NULL after the case has added loss terms by itself. */
typedef vlmoe_tensor *(*case_build)(vlmoe_tape *tape, vlmoe_tensor *const *p);

typedef struct op_case {
    const char *op, *what;
    case_build build;
    case_build
        numeric; /* what to differentiate numerically where the gradient is not the derivative by design; NULL = build */
    bool on_grid; /* values, targets and step are multiples of 1/4, exact in bf16 */
    int n_params;
    case_param param[MAX_CASE_PARAMS];
} op_case;

extern const op_case basic_cases[], row_cases[], router_cases[], exchange_cases[], class_cases[];
extern const int n_basic_cases, n_row_cases, n_router_cases, n_exchange_cases, n_class_cases;

/* Constants of a case: f64 values in (-1, 1) from a stream of their own; small integers to the device. */
vlmoe_tensor *case_constant(vlmoe_tape *tape, int rank, const int64_t *dim, uint64_t stream);
const void *case_wide(vlmoe_tape *tape, const double *host, int64_t n);
const int32_t *case_ints(vlmoe_tape *tape, const int32_t *host, int64_t n);

#endif
