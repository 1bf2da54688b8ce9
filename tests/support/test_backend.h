/* The reference kernels as a device: f64 throughout, one worker. For contexts made with
 * vlm_ctx_create_on. */
#ifndef TEST_BACKEND_H
#define TEST_BACKEND_H

#include "backend.h"

const vlm_backend *test_ref_backend(void);

#endif
