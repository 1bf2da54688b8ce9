/* Prototypes of one instruction set's kernels, and the loops over tiles they share. Every grid
 * is a function of shapes alone. */
#ifndef VLMK_CPU_KERNELS_H
#define VLMK_CPU_KERNELS_H

#include "cpu_state.h"
#include "cpu_vec.h"

#define VLMK_KERNEL(name) int VLMK_CPU(name)(vlmk_env * env, const vlmk_##name##_args *args);
#include "kernels.def"
#undef VLMK_KERNEL

/* Does this table multiply bf16 by bf16? If not, operands are widened to f32 while they are
 * packed. Defined in cpu_linear_dw.c. */
int VLMK_CPU(has_bf16_products)(vlmk_env *env);

enum {
    TILE_ELEMENTS = 16384
}; /* of an elementwise tile: large beside a tile's overhead, small beside a core's cache */

/* Rows per tile of a kernel that walks rows of `cols` elements. */
static inline int64_t rows_per_tile(int64_t cols)
{
    int64_t rows = TILE_ELEMENTS / (cols > 0 ? cols : 1);
    return rows > 0 ? rows : 1;
}

/* Compile `call` once per dtype: inside it D (or X and Y) is a constant, so loads and stores
 * have no test in their loop. */
#define VLMK_BY_DTYPE(dtype, call)                                                                 \
    do {                                                                                           \
        if ((dtype) == VLMOE_BF16) {                                                               \
            enum { D = VLMOE_BF16 };                                                               \
            call;                                                                                  \
        } else {                                                                                   \
            enum { D = VLMOE_F32 };                                                                \
            call;                                                                                  \
        }                                                                                          \
    } while (0)
#define VLMK_BY_DTYPES(x_dtype, y_dtype, call)                                                     \
    do {                                                                                           \
        if ((x_dtype) == VLMOE_BF16) {                                                             \
            enum { X = VLMOE_BF16 };                                                               \
            VLMK_BY_DTYPE(y_dtype, enum {Y = D}; call);                                            \
        } else {                                                                                   \
            enum { X = VLMOE_F32 };                                                                \
            VLMK_BY_DTYPE(y_dtype, enum {Y = D}; call);                                            \
        }                                                                                          \
    } while (0)

/* First and end of tile's share of `count` things in parts of `part`. */
typedef struct tile_span {
    int64_t first, end;
} tile_span;
static inline tile_span span_of(int64_t tile, int64_t part, int64_t count)
{
    tile_span span = {tile * part, (tile + 1) * part};
    if (span.end > count) span.end = count;
    return span;
}

/* fn over spans of `part` of `count` things. */
static inline void parallel_spans(vlmk_env *env, void (*fn)(void *, int64_t, int), void *arg,
                                  int64_t count, int64_t part)
{
    vlmk_cpu_parallel(env, fn, arg, count > 0 ? vlmk_cpu_ceil_div(count, part) : 0);
}

static inline void count_flops(vlmk_env *env, double multiply_adds)
{
    if (env->flops) *env->flops += 2.0 * multiply_adds;
}

#endif
