/* Contexts for small graphs of operations. */
#ifndef TEST_OPS_H
#define TEST_OPS_H

#include "context.h"

/* device "cpu" or "meta", or "ref" for the judge in f64 (compute is then F64 whatever is asked). Room for 1 MiB of activations. */
vlmoe_context *test_op_context(const char *device, vlmoe_dtype compute, int n_threads);

#endif
