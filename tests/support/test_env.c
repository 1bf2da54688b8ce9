#include "test_env.h"
#include <stdlib.h>
#include <string.h>
#include "harness.h"

void test_env_parallel(void *pool, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                       int64_t n_tiles)
{
    if (pool) {
        vlm_team_run(pool, fn, arg, n_tiles);
        return;
    }
    for (int64_t tile = 0; tile < n_tiles; tile++) fn(arg, tile, 0);
}

/* Filled with 0xff, so that reading before writing shows as NaN. */
static void *take_scratch(vlmk_env *env, size_t bytes)
{
    test_env *e = env->device;
    size_t rounded = (bytes + 127) / 64 * 64;
    if (e->n_blocks == TEST_ENV_BLOCKS) return NULL;
    void *block = aligned_alloc(64, rounded);
    if (!block) return NULL;
    memset(block, 0xff, rounded);
    return e->block[e->n_blocks++] = block;
}

void test_env_init(test_env *e, int n_workers)
{
    memset(e, 0, sizeof *e);
    if (n_workers > 1) CHECK_STATUS(vlm_team_create(n_workers, &e->team, NULL), VLMOE_OK);
    e->env = (vlmk_env){.pool = e->team,
                        .n_workers = n_workers,
                        .parallel = test_env_parallel,
                        .scratch = take_scratch,
                        .device = e,
                        .flops = &e->flops};
}

void test_env_reset(test_env *e)
{
    while (e->n_blocks) free(e->block[--e->n_blocks]);
}

void test_env_fini(test_env *e)
{
    test_env_reset(e);
    vlm_team_destroy(e->team);
    memset(e, 0, sizeof *e);
}
