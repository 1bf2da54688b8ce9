/* What a kernel needs to be called from a test: a team of threads, scratch that grows, counted
 * flops. */
#ifndef TEST_ENV_H
#define TEST_ENV_H

#include "base_team.h"
#include "vlmk.h"

enum { TEST_ENV_BLOCKS = 64 };
typedef struct test_env {
    vlmk_env env;
    vlm_team *team; /* NULL: one worker, tiles run in turn on the caller */
    void *block[TEST_ENV_BLOCKS];
    int n_blocks;
    double flops;
} test_env;

void test_env_init(test_env *e, int n_workers); /* fails the test when threads are refused */
void test_env_reset(test_env *e);               /* all scratch is freed; call between kernels */
void test_env_fini(test_env *e);

/* A vlmk_env's parallel() over a vlm_team; pool NULL runs in turn on the caller. */
void test_env_parallel(void *pool, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                       int64_t n_tiles);

#endif
