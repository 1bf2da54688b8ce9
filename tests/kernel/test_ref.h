/* What the tests of the reference kernels share: its environment, reproducible numbers, central
 * differences. */
#ifndef TEST_REF_H
#define TEST_REF_H

#include "harness.h"
#include "ref.h"

#define COUNT_OF(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))

vlmk_env *ref_env(void); /* one per program; its scratch is freed at every call of ref_env */
double ref_flops(void);  /* counted since the last call of ref_flops */

/* Numbers in [-1, 1), equal for equal seeds. */
void fill(double *x, int64_t n, uint64_t seed);

/* sum_i y[i] r[i]: a scalar of a tensor, whose gradient with respect to y is r. */
double weighted(const double *y, const double *r, int64_t n);

/* dx[i] against central differences of loss over x[i], h = 1e-5, bound 1e-7. x is left as it was.
 */
void check_gradient(const char *what, double *x, int64_t n, const double *dx,
                    double (*loss)(void *arg), void *arg);

#endif
