/* Every kernel of every device against the reference; the cases stand in compare_part_*.c, one per
 * family. This file is the kit. */
#include "compare.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "math_philox.h"
#include "test_env.h"

enum { GUARD = 64, GUARD_BYTE = 0xA5 };

static size_t size_of(int dtype)
{
    return dtype == VLMOE_F64 ? 8 : dtype == VLMOE_BF16 ? 2 : dtype == VLMOE_U8 ? 1 : 4;
}

static int is_float(int dtype)
{
    return dtype == VLMOE_F32 || dtype == VLMOE_BF16 || dtype == VLMOE_F64;
}

static double roundoff(int dtype)
{
    return dtype == VLMOE_F64 ? 0x1p-53 : dtype == VLMOE_BF16 ? 0x1p-8 : U_F32;
}

/* n elements, 64-byte aligned, with a guard behind the last. */
static void *take(int64_t n, size_t size)
{
    size_t bytes = (size_t)n * size;
    unsigned char *block = aligned_alloc(64, (bytes + GUARD + 63) / 64 * 64);
    CHECK(block != NULL);
    memset(block, 0, bytes);
    memset(block + bytes, GUARD_BYTE, GUARD);
    return block;
}

void kit_begin(kit *k, const char *format, ...)
{
    va_list args;
    memset(k, 0, sizeof *k);
    k->flops = NAN;
    va_start(args, format);
    vsnprintf(k->label, sizeof k->label, format, args);
    va_end(args);
}

void kit_end(kit *k)
{
    for (int i = 0; i < k->n; i++) {
        tensor *t = &k->tensor[i];
        for (int side = 0; side < N_SIDES; side++) free(t->data[side]);
        free(t->before);
        free(t->after);
        free(t->error);
    }
    k->n = 0;
}

static tensor *add(kit *k, const char *name, int64_t n, int dtype)
{
    CHECK(k->n < KIT_TENSORS);
    tensor *t = &k->tensor[k->n++];
    *t = (tensor){.name = name, .n = n, .dtype = dtype};
    for (int side = 0; side < N_SIDES; side++) t->data[side] = take(n, size_of(type_at(t, side)));
    return t;
}

void *at(const tensor *t, int side)
{
    return t ? t->data[side] : NULL;
}

int type_at(const tensor *t, int side)
{
    return side == GOT || !is_float(t->dtype) ? t->dtype : VLMOE_F64;
}

void kit_set(tensor *t, int64_t i, double value)
{
    ref_put(t->data[GOT], t->dtype, i, value);
    double rounded = ref_get(t->data[GOT], t->dtype, i);
    ref_put(t->data[WANT], VLMOE_F64, i, rounded);
    ref_put(t->data[SIZE], VLMOE_F64, i, fabs(rounded));
}

double kit_get(const tensor *t, int side, int64_t i)
{
    return ref_get(t->data[side], type_at(t, side), i);
}

double kit_before(const tensor *t, int64_t i)
{
    return ref_get(t->before, t->dtype, i);
}

double *kit_error(tensor *t)
{
    if (!t->error) t->error = take(t->n, sizeof(double));
    return t->error;
}

tensor *kit_real(kit *k, const char *name, int64_t n, int dtype, double scale)
{
    tensor *t = add(k, name, n, dtype);
    uint64_t key = 1000 + (uint64_t)k->n;
    for (int64_t i = 0; i < n; i++)
        kit_set(t, i, scale * (2.0 * math_philox_unit(key, (uint64_t)i) - 1.0));
    return t;
}

tensor *kit_whole(kit *k, const char *name, int64_t n, int dtype, int limit)
{
    tensor *t = add(k, name, n, dtype);
    uint64_t key = 2000 + (uint64_t)k->n;
    for (int64_t i = 0; i < n; i++)
        kit_set(t, i, floor((2 * limit + 1) * math_philox_unit(key, (uint64_t)i)) - limit);
    return t;
}

tensor *kit_ints(kit *k, const char *name, int64_t n, const int32_t *value)
{
    tensor *t = add(k, name, n, VLMOE_I32);
    for (int side = 0; n && side < N_SIDES; side++)
        memcpy(t->data[side], value, (size_t)n * sizeof *value);
    return t;
}

tensor *kit_updated(tensor *t, double terms)
{
    t->is_output = 1;
    t->terms = terms;
    t->before = take(t->n, size_of(t->dtype));
    t->after = take(t->n, size_of(t->dtype));
    memcpy(t->before, t->data[GOT], (size_t)t->n * size_of(t->dtype));
    return t;
}

tensor *kit_output(kit *k, const char *name, int64_t n, int dtype, double terms)
{
    tensor *t = add(k, name, n, dtype);
    for (int64_t i = 0; i < n; i++) kit_set(t, i, NAN);
    return kit_updated(t, terms);
}

tensor *kit_int_output(kit *k, const char *name, int64_t n)
{
    tensor *t = add(k, name, n, VLMOE_I32);
    for (int side = 0; side < N_SIDES; side++)
        memset(t->data[side], 0x81, (size_t)n * sizeof(int32_t));
    return kit_updated(t, 0);
}

/* A tensor that is no output keeps its values. */
static void check_input(const kit *k, const tensor *t, const char *where)
{
    for (int64_t i = 0; i < t->n; i++) {
        int is_same = !is_float(t->dtype)
                          ? ((int32_t *)t->data[GOT])[i] == ((int32_t *)t->data[WANT])[i]
                          : kit_get(t, GOT, i) == kit_get(t, WANT, i) ||
                                (isnan(kit_get(t, GOT, i)) && isnan(kit_get(t, WANT, i)));
        if (!is_same)
            test_fail(__FILE__, __LINE__, "%s, %s: input %s[%lld] was changed", k->label, where,
                      t->name, (long long)i);
    }
}

static void check_element(const kit *k, const tensor *t, int64_t i, const char *where)
{
    if (!is_float(t->dtype)) {
        int32_t got = ((int32_t *)t->data[GOT])[i], want = ((int32_t *)t->data[WANT])[i];
        if (got != want)
            test_fail(__FILE__, __LINE__, "%s, %s: %s[%lld] is %d, expected %d", k->label, where,
                      t->name, (long long)i, got, want);
        return;
    }
    double got = kit_get(t, GOT, i), want = kit_get(t, WANT, i), bound = 0.0;
    if (t->is_exact) {
        unsigned char rounded[8];
        ref_put(rounded, t->dtype, 0, want);
        want = ref_get(rounded, t->dtype, 0);
    } else {
        double size = k->uses_size ? kit_get(t, SIZE, i) : 0.0;
        bound = 4.0 * (roundoff(t->dtype) * fabs(want) + t->terms * U_F32 * size +
                       (t->error ? t->error[i] : 0.0)) +
                0x1p-126;
    }
    int fits = got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= bound;
    if (!fits)
        test_fail(__FILE__, __LINE__,
                  "%s, %s: %s[%lld] is %.9g, expected %.9g within %.3g (off by %.3g)", k->label,
                  where, t->name, (long long)i, got, want, bound, fabs(got - want));
}

/* The guard behind each tensor; values with one worker, the same bits with more. */
static void check_tensor(const kit *k, tensor *t, int n_workers, const char *where)
{
    size_t bytes = (size_t)t->n * size_of(t->dtype);
    const unsigned char *data = t->data[GOT];
    for (int g = 0; g < GUARD; g++)
        if (data[bytes + (size_t)g] != GUARD_BYTE)
            test_fail(__FILE__, __LINE__, "%s, %s: %s was written past its end", k->label, where,
                      t->name);
    if (!t->is_output) {
        check_input(k, t, where);
    } else if (n_workers == 1) {
        for (int64_t i = 0; i < t->n; i++) check_element(k, t, i, where);
        memcpy(t->after, data, bytes);
    } else if (memcmp(t->after, data, bytes) != 0) {
        test_fail(__FILE__, __LINE__, "%s, %s: %s has other bits than with 1 worker", k->label,
                  where, t->name);
    }
}

static void run_device(kit *k, int device, int n_workers, kit_call call, void *arg)
{
    char where[80];
    snprintf(where, sizeof where, "%s with %d workers", device_name(device), n_workers);
    for (int i = 0; i < k->n; i++)
        if (k->tensor[i].is_output)
            memcpy(k->tensor[i].data[GOT], k->tensor[i].before,
                   (size_t)k->tensor[i].n * size_of(k->tensor[i].dtype));
    vlmk_env *env = device_env(device, n_workers);
    device_flops();
    int status = call(device_table(device), env, arg, GOT);
    device_done(env);
    double flops = device_flops();
    if (status != VLMOE_OK)
        test_fail(__FILE__, __LINE__, "%s, %s: %s", k->label, where,
                  vlmoe_status_name((vlmoe_status)status));
    if (!isnan(k->flops) && flops != k->flops)
        test_fail(__FILE__, __LINE__, "%s, %s: counted %.0f flops, expected %.0f", k->label, where,
                  flops, k->flops);
    for (int i = 0; i < k->n; i++) check_tensor(k, &k->tensor[i], n_workers, where);
}

void kit_run(kit *k, kit_call call, kit_bound bound, void *arg)
{
    test_env e;
    test_env_init(&e, 1);
    CHECK_STATUS((vlmoe_status)call(&vlmk_ref_table, &e.env, arg, WANT), VLMOE_OK);
    if (!isnan(k->flops)) k->flops = e.flops;
    if (k->uses_size)
        CHECK_STATUS((vlmoe_status)call(&vlmk_ref_table, &e.env, arg, SIZE), VLMOE_OK);
    test_env_fini(&e);
    if (bound) bound(arg);
    for (int device = 0; device < device_count(); device++)
        for (int n_workers = 1; n_workers <= WORKER_COUNTS; n_workers++)
            run_device(k, device, n_workers, call, arg);
}
