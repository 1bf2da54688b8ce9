/* What the kernels of every instruction set share: worker scratch and oneDNN's products. Inside
 * kernels/cpu only. */
#ifndef VLMK_CPU_STATE_H
#define VLMK_CPU_STATE_H

#include "cpu.h"

enum { VLMK_CPU_LINE = 64 }; /* bytes every block and every worker's share is aligned to */

static inline int64_t vlmk_cpu_round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}
static inline int64_t vlmk_cpu_ceil_div(int64_t n, int64_t part)
{
    return (n + part - 1) / part;
}

/* n_workers shares of `bytes` each; share w begins at base + w * *stride. NULL = out of memory. */
void *vlmk_cpu_worker_scratch(vlmk_env *env, size_t bytes, size_t *stride);
/* fn for each tile, on env's team or in order when it has none. */
void vlmk_cpu_parallel(vlmk_env *env, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                       int64_t n_tiles);

/* One product c[m, n] = a[m, k] b (add = 0) or c += a b (add = 1), c dense f32, a dense of dtype
 * (F32 or BF16). b is packed in blocks of vlmk_cpu_mm_block() columns (cpu_pack.h). n is a
 * multiple of 64, k of 32. */
typedef struct vlmk_cpu_mm_shape {
    int64_t m, n, k;
    int dtype;
    int add;
} vlmk_cpu_mm_shape;
typedef struct vlmk_cpu_mm vlmk_cpu_mm;

/* Main thread only: found in the state's cache or made. NULL: out of memory, or no fast
 * implementation for this dtype here. */
vlmk_cpu_mm *vlmk_cpu_mm_get(vlmk_env *env, vlmk_cpu_mm_shape shape);
int64_t vlmk_cpu_mm_block(const vlmk_cpu_mm *mm);
const char *vlmk_cpu_mm_impl(const vlmk_cpu_mm *mm);
/* Any worker, each with its own number: workers share the primitive but neither scratchpad nor
 * stream. 0 or a vlmoe_status. */
int vlmk_cpu_mm_run(vlmk_cpu_mm *mm, int worker, const void *a, const void *b, float *c);

/* The part of the state that cpu_dnnl.c owns. */
typedef struct vlmk_cpu_products vlmk_cpu_products;
vlmk_cpu_products *vlmk_cpu_products_create(int n_workers);
void vlmk_cpu_products_destroy(vlmk_cpu_products *products); /* NULL allowed */
vlmk_cpu_products *vlmk_cpu_products_of(vlmk_cpu_state *state);
void vlmk_cpu_products_dry(vlmk_cpu_products *products); /* shapes are listed, no primitive is made */
int64_t vlmk_cpu_products_count(const vlmk_cpu_products *products);
vlmk_cpu_mm *vlmk_cpu_products_get(vlmk_cpu_products *products, vlmk_cpu_mm_shape shape);

#endif
