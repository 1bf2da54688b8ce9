/* Read before each source of src/ by clang-tidy alone: tells its analyzer, which sees one file at a time, that these
 * answer a failure. Without it every walk goes on after one. */
#include "base.h"
#define vlm_fail(error, status, ...) ((vlm_fail)((error), (status), __VA_ARGS__), (status))
#define vlm_fail_errno(error, verb, path) ((vlm_fail_errno)((error), (verb), (path)), VLMOE_E_IO)
