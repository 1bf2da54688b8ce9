/* The reference kernels against hand-made values, published values and central differences of
 * themselves; the cases stand in ref_part_*.c, one per family. */
#include "test_ref.h"
#include <string.h>
#include "math_philox.h"
#include "test_env.h"

static test_env shared;

vlmk_env *ref_env(void)
{
    if (!shared.env.parallel) test_env_init(&shared, 1);
    test_env_reset(&shared);
    return &shared.env;
}

double ref_flops(void)
{
    double flops = shared.flops;
    shared.flops = 0.0;
    return flops;
}

__attribute__((destructor)) static void close_shared(void)
{
    if (shared.env.parallel) test_env_fini(&shared);
}

void fill(double *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) x[i] = 2.0 * math_philox_unit(seed, (uint64_t)i) - 1.0;
}

double weighted(const double *y, const double *r, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += y[i] * r[i];
    return sum;
}

void check_gradient(const char *what, double *x, int64_t n, const double *dx,
                    double (*loss)(void *arg), void *arg)
{
    const double h = 1e-5;
    for (int64_t i = 0; i < n; i++) {
        double kept = x[i];
        x[i] = kept + h;
        double above = loss(arg);
        x[i] = kept - h;
        double below = loss(arg);
        x[i] = kept;
        double want = (above - below) / (2.0 * h);
        if (!(fabs(dx[i] - want) <= 1e-7))
            test_fail(__FILE__, __LINE__, "%s[%lld] is %.12g, central difference %.12g", what,
                      (long long)i, dx[i], want);
    }
}

TEST(ref_table_has_no_hole)
{
    void (*entry[sizeof vlmk_ref_table / sizeof(void (*)(void))])(void);
    memcpy(entry, &vlmk_ref_table, sizeof entry);
    for (int64_t i = 0; i < COUNT_OF(entry); i++) CHECK(entry[i] != NULL);
}

TEST(ref_reads_and_writes_every_compute_type)
{
    float f[2] = {0};
    uint16_t b[2] = {0};
    double d[2] = {0};
    ref_put(f, VLMOE_F32, 1, 0.1);
    ref_put(b, VLMOE_BF16, 1, 0.1);
    ref_put(d, VLMOE_F64, 1, 0.1);
    CHECK(ref_get(f, VLMOE_F32, 1) == (double)0.1f);
    CHECK(ref_get(b, VLMOE_BF16, 1) == 0.10009765625); /* 205 * 2^-11 */
    CHECK(ref_get(d, VLMOE_F64, 1) == 0.1);
    CHECK(f[0] == 0.0f && b[0] == 0 && d[0] == 0.0);
    ref_update(d, VLMOE_F64, 1, 0.4, 1);
    CHECK(d[1] == 0.5);
}
