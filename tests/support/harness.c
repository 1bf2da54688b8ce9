#define _GNU_SOURCE
#include "harness.h"
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TESTS = 512 };
static struct CMUnitTest tests[MAX_TESTS];
static size_t n_tests;
static char tmp_dir[256];

void test_register(const char *name, test_fn fn)
{
    if (n_tests == MAX_TESTS) abort();
    tests[n_tests++] = (struct CMUnitTest){.name = name, .test_func = fn};
}

void test_fail(const char *file, int line, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s\n", text);
    _fail(file, line);
}

void test_close(double got, double want, double bound, const char *what, const char *file, int line)
{
    if (!(fabs(got - want) <= bound))
        test_fail(file, line, "%s is %.17g, expected %.17g within %.3g (off by %.3g)", what, got,
                  want, bound, fabs(got - want));
}

void test_status(vlmoe_status got, vlmoe_status want, const vlmoe_error *error, const char *what,
                 const char *file, int line)
{
    if (got != want)
        test_fail(file, line, "%s gave %s, expected %s%s%s", what, vlmoe_status_name(got),
                  vlmoe_status_name(want), error ? ": " : "", error ? error->text : "");
}

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *walk)
{
    (void)info, (void)flag, (void)walk;
    return remove(path);
}

static void remove_tmp_dir(void)
{
    nftw(tmp_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_tmp_dir(void)
{
    if (!tmp_dir[0]) {
        const char *root = getenv("TMPDIR");
        snprintf(tmp_dir, sizeof tmp_dir, "%s/vlmoe-test-XXXXXX", root ? root : "/tmp");
        if (!mkdtemp(tmp_dir)) abort();
        atexit(remove_tmp_dir);
    }
    return tmp_dir;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests(slash ? slash + 1 : argv[0], tests, n_tests, NULL, NULL);
}
