/* Tests over cmocka: TEST(name) { CHECK(...); } registers itself; main() stands in harness.c. */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "vlmoe/base.h"

typedef void (*test_fn)(void **state);
void test_register(const char *name, test_fn fn);
void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
void test_close(double got, double want, double bound, const char *what, const char *file, int line);
void test_status(vlmoe_status got, vlmoe_status want, const vlmoe_error *error, const char *what, const char *file, int line);

#define TEST(name)                                                                      \
    static void test_##name(void **state);                                              \
    __attribute__((constructor)) static void register_##name(void)                      \
    {                                                                                   \
        test_register(#name, test_##name);                                              \
    }                                                                                   \
    static void test_##name(__attribute__((unused)) void **state)

#define CHECK(what)                                                          \
    do {                                                                     \
        if (!(what)) test_fail(__FILE__, __LINE__, "not true: %s", #what);   \
    } while (0)
#define CHECK_INT(got, want)                                                                                           \
    do {                                                                                                               \
        int64_t check_g = (int64_t)(got), check_w = (int64_t)(want);                                                   \
        if (check_g != check_w)                                                                                        \
            test_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #got, (long long)check_g, (long long)check_w);  \
    } while (0)
#define CHECK_TEXT(got, want)                                                                                          \
    do {                                                                                                               \
        const char *check_g = (got), *check_w = (want);                                                                \
        if (!check_g || __builtin_strcmp(check_g, check_w) != 0)                                                       \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #got, check_g ? check_g : "(null)", check_w); \
    } while (0)
#define CHECK_HAS(text, part)                                                                                          \
    do {                                                                                                               \
        const char *check_t = (text), *check_p = (part);                                                               \
        if (!check_t || !__builtin_strstr(check_t, check_p))                                                           \
            test_fail(__FILE__, __LINE__, "\"%s\" does not contain \"%s\"", check_t ? check_t : "(null)", check_p);    \
    } while (0)
#define CHECK_CLOSE(got, want, bound) test_close((got), (want), (bound), #got, __FILE__, __LINE__)
#define CHECK_STATUS(call, want) test_status((call), (want), NULL, #call, __FILE__, __LINE__)
#define CHECK_STATUS_E(call, want, error) test_status((call), (want), (error), #call, __FILE__, __LINE__)

/* A fresh empty folder of this test's own, deleted when the program ends; the text is static. */
const char *test_tmp_dir(void);

#endif
