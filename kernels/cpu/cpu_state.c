/* The state a device owns for the CPU kernels: scratch blocks that grow on demand, and the
 * products' cache. */
#include <stdlib.h>
#include "cpu_state.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { MAX_BLOCKS = 32, SMALLEST_BLOCK = 1 << 16 };

typedef struct scratch_block {
    char *base;
    size_t bytes, used;
} scratch_block;

struct vlmk_cpu_state {
    scratch_block block[MAX_BLOCKS]; /* the last one is being filled */
    int n_blocks;
    size_t peak; /* bytes */
    vlmk_cpu_products *products;
};

static int add_block(vlmk_cpu_state *state, size_t bytes)
{
    if (state->n_blocks == MAX_BLOCKS) return 0;
    char *base = aligned_alloc(VLMK_CPU_LINE, bytes);
    if (!base) return 0;
    POISON(base, bytes);
    state->block[state->n_blocks++] = (scratch_block){.base = base, .bytes = bytes};
    return 1;
}

static void drop_blocks(vlmk_cpu_state *state)
{
    for (int i = 0; i < state->n_blocks; i++) {
        UNPOISON(state->block[i].base, state->block[i].bytes);
        free(state->block[i].base);
    }
    state->n_blocks = 0;
}

vlmk_cpu_state *vlmk_cpu_state_create(int n_workers)
{
    if (n_workers < 1) return NULL;
    vlmk_cpu_state *state = calloc(1, sizeof *state);
    if (!state) return NULL;
    state->products = vlmk_cpu_products_create(n_workers);
    if (!state->products) {
        free(state);
        return NULL;
    }
    return state;
}

void vlmk_cpu_state_destroy(vlmk_cpu_state *state)
{
    if (!state) return;
    drop_blocks(state);
    vlmk_cpu_products_destroy(state->products);
    free(state);
}

vlmk_cpu_products *vlmk_cpu_products_of(vlmk_cpu_state *state)
{
    return state->products;
}

void vlmk_cpu_env_init(vlmk_env *env, vlmk_cpu_state *state, void *pool, int n_workers,
                       void (*parallel)(void *pool, void (*fn)(void *arg, int64_t tile, int worker),
                                        void *arg, int64_t n_tiles))
{
    *env = (vlmk_env){.pool = pool,
                      .n_workers = n_workers,
                      .parallel = parallel,
                      .scratch = vlmk_cpu_scratch,
                      .device = state};
}

size_t vlmk_cpu_scratch_bytes(const vlmk_cpu_state *state)
{
    size_t sum = 0;
    for (int i = 0; i < state->n_blocks; i++) sum += state->block[i].bytes;
    return sum;
}

size_t vlmk_cpu_scratch_peak(const vlmk_cpu_state *state)
{
    return state->peak;
}

void vlmk_cpu_scratch_reserve(vlmk_cpu_state *state, size_t bytes)
{
    size_t size = (size_t)vlmk_cpu_round_up((int64_t)bytes, VLMK_CPU_LINE);
    if (bytes > SIZE_MAX / 4 || vlmk_cpu_scratch_bytes(state) >= size) return;
    drop_blocks(state);
    (void)add_block(state, size);
}

void vlmk_cpu_env_dry(vlmk_env *env)
{
    vlmk_cpu_state *state = env->device;
    env->is_dry = 1;
    vlmk_cpu_products_dry(state->products);
}

int64_t vlmk_cpu_products_made(const vlmk_cpu_state *state)
{
    return vlmk_cpu_products_count(state->products);
}

/* A new block is at least as large as all before it, so a call makes few of them. */
void *vlmk_cpu_scratch(vlmk_env *env, size_t bytes)
{
    vlmk_cpu_state *state = env->device;
    if (bytes > SIZE_MAX / 4) return NULL;
    size_t need = (size_t)vlmk_cpu_round_up((int64_t)bytes, VLMK_CPU_LINE) +
                  VLMK_CPU_LINE; /* a gap of a line between pieces */
    scratch_block *last = state->n_blocks ? &state->block[state->n_blocks - 1] : NULL;
    if (!last || last->bytes - last->used < need) {
        size_t held = vlmk_cpu_scratch_bytes(state), size = held > need ? held : need;
        if (size < SMALLEST_BLOCK) size = SMALLEST_BLOCK;
        if (!add_block(state, size) && !add_block(state, need)) return NULL;
        last = &state->block[state->n_blocks - 1];
    }
    void *taken = last->base + last->used;
    last->used += need;
    UNPOISON(taken, bytes);
    return taken;
}

/* Nothing is in use any more: several blocks become one that holds what the call took, so memory
 * follows the largest call. */
void vlmk_cpu_call_done(vlmk_env *env)
{
    vlmk_cpu_state *state = env->device;
    size_t used = 0;
    for (int i = 0; i < state->n_blocks; i++) used += state->block[i].used;
    if (used > state->peak) state->peak = used;
    if (state->n_blocks > 1) {
        drop_blocks(state);
        (void)add_block(state, used); /* refused: the next call tries again and reports it */
    }
    if (state->n_blocks) {
        state->block[0].used = 0;
        POISON(state->block[0].base, state->block[0].bytes);
    }
}

void *vlmk_cpu_worker_scratch(vlmk_env *env, size_t bytes, size_t *stride)
{
    /* One line more than needed: shares of a power of two would meet in the same cache sets. */
    *stride = (size_t)vlmk_cpu_round_up((int64_t)bytes, VLMK_CPU_LINE) + VLMK_CPU_LINE;
    if (*stride > SIZE_MAX / 8 / (size_t)env->n_workers) return NULL;
    return env->scratch(env, *stride * (size_t)env->n_workers);
}

void vlmk_cpu_parallel(vlmk_env *env, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                       int64_t n_tiles)
{
    if (n_tiles <= 0 || env->is_dry) return;
    if (env->parallel && n_tiles > 1) {
        env->parallel(env->pool, fn, arg, n_tiles);
        return;
    }
    for (int64_t tile = 0; tile < n_tiles; tile++) fn(arg, tile, 0);
}

vlmk_cpu_mm *vlmk_cpu_mm_get(vlmk_env *env, vlmk_cpu_mm_shape shape)
{
    vlmk_cpu_state *state = env->device;
    return vlmk_cpu_products_get(state->products, shape);
}

const char *vlmk_cpu_dnnl_impl(vlmk_cpu_state *state, int64_t m, int64_t n, int64_t k, int dtype)
{
    vlmk_cpu_mm_shape shape = {
        .m = m, .n = vlmk_cpu_round_up(n, 64), .k = vlmk_cpu_round_up(k, 32), .dtype = dtype};
    vlmk_cpu_mm *mm = vlmk_cpu_products_get(state->products, shape);
    return mm ? vlmk_cpu_mm_impl(mm) : NULL;
}
