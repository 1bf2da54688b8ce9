/* Moved, added and scaled rows on devices: -1 indices, many hits on one row, dropped choices, in
 * place. */
#include <stdlib.h>
#include <string.h>
#include "compare.h"
#include "math_philox.h"

static const struct {
    int64_t rows, cols;
} sizes[] = {{0, 5}, {5, 0}, {1, 1}, {3, 7}, {63, 65}, {64, 16}, {129, 33}, {200, 96}, {70, 300}};
static const int types[] = {VLMOE_F32, VLMOE_BF16};

typedef struct moved {
    kit kit;
    int64_t rows, cols, K;
    int accumulate, is_in_place;
    tensor *index, *in, *out, *base, *y, *row_scale, *col_scale, *dout, *dy, *dcol, *slot, *weight,
        *dweight;
} moved;

static void begin(moved *p, const char *what, int64_t rows, int64_t cols)
{
    memset(p, 0, sizeof *p);
    kit_begin(&p->kit, "%s %lld x %lld", what, (long long)rows, (long long)cols);
    p->rows = rows;
    p->cols = cols;
}

static int32_t draw(uint64_t i, int64_t n)
{
    return (int32_t)floor((double)n * math_philox_unit(77, i));
}

/* One in five is -1; half of the rest hit row 0. Nothing to hit: all -1. */
static tensor *make_index(moved *p, int64_t n, int64_t range)
{
    int32_t index[200];
    for (int64_t i = 0; i < n; i++)
        index[i] = i % 5 == 3 || range == 0 ? -1 : i % 2 ? 0 : draw((uint64_t)i, range);
    return kit_ints(&p->kit, "index", n, index);
}

static tensor *numbers(moved *p, const char *name, int64_t n, int dtype, int is_whole)
{
    return is_whole ? kit_whole(&p->kit, name, n, dtype, 5)
                    : kit_real(&p->kit, name, n, dtype, 1.0);
}

static tensor *result(moved *p, const char *name, int64_t n, int dtype, double terms, int is_whole)
{
    tensor *t = p->accumulate ? kit_updated(numbers(p, name, n, dtype, is_whole), terms + 1.0)
                              : kit_output(&p->kit, name, n, dtype, terms);
    t->is_exact = is_whole;
    return t;
}

static int call_gather(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    moved *p = arg;
    vlmk_gather_rows_args a = {.in_dtype = type_at(p->in, side),
                               .out_dtype = type_at(p->out, side),
                               .n_out = p->rows,
                               .n_in = p->cols ? p->in->n / p->cols : 0,
                               .cols = p->cols,
                               .in = at(p->in, side),
                               .index = at(p->index, side),
                               .out = at(p->out, side),
                               .accumulate = p->accumulate};
    return table->gather_rows(env, &a);
}

static int call_scatter(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    moved *p = arg;
    vlmk_scatter_rows_args a = {.in_dtype = type_at(p->in, side),
                                .out_dtype = type_at(p->out, side),
                                .n_in = p->rows,
                                .n_out = p->cols ? p->out->n / p->cols : 0,
                                .cols = p->cols,
                                .in = at(p->in, side),
                                .index = at(p->index, side),
                                .out = at(p->out, side),
                                .accumulate = p->accumulate};
    return table->scatter_rows(env, &a);
}

/* variant: bit 0 accumulate, bits 1 and 2 the types, bit 3 whole numbers. */
static void run_indexed(int is_scatter, int64_t rows, int64_t cols, int64_t others, int variant)
{
    moved p;
    begin(&p, is_scatter ? "scatter_rows" : "gather_rows", rows, cols);
    int is_whole = variant >> 3 & 1, in_type = types[variant >> 1 & 1],
        out_type = types[variant >> 2 & 1];
    p.accumulate = variant & 1;
    p.kit.uses_size = 1;
    p.index = make_index(&p, rows, others);
    p.in = numbers(&p, "in", (is_scatter ? rows : others) * cols, in_type, is_whole);
    p.out = result(&p, "out", (is_scatter ? others : rows) * cols, out_type,
                   is_scatter ? (double)rows : 1.0, is_whole);
    kit_run(&p.kit, is_scatter ? call_scatter : call_gather, NULL, &p);
    kit_end(&p.kit);
}

TEST(compare_gather_and_scatter_rows)
{
    static const int64_t others[] = {0, 1, 37};
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int o = 0; o < COUNT_OF(others); o++)
            for (int variant = 0; variant < 16; variant++) {
                run_indexed(0, sizes[i].rows, sizes[i].cols, others[o], variant);
                run_indexed(1, sizes[i].rows, sizes[i].cols, others[o], variant);
            }
}

static int call_residual_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    moved *p = arg;
    vlmk_residual_fwd_args a = {.y_dtype = type_at(p->y, side),
                                .rows = p->rows,
                                .cols = p->cols,
                                .base = at(p->is_in_place ? p->out : p->base, side),
                                .y = at(p->y, side),
                                .row_scale = at(p->row_scale, side),
                                .col_scale = at(p->col_scale, side),
                                .out = at(p->out, side)};
    return table->residual_fwd(env, &a);
}

static int call_residual_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    moved *p = arg;
    vlmk_residual_bwd_args a = {.y_dtype = type_at(p->dy, side),
                                .rows = p->rows,
                                .cols = p->cols,
                                .dout = at(p->dout, side),
                                .y = at(p->y, side),
                                .row_scale = at(p->row_scale, side),
                                .col_scale = at(p->col_scale, side),
                                .dy = at(p->dy, side),
                                .dcol_scale = at(p->dcol, side),
                                .accumulate_col_scale = p->accumulate};
    return table->residual_bwd(env, &a);
}

static void add_scales(moved *p, int variant)
{
    if (variant & 1) p->row_scale = kit_whole(&p->kit, "row_scale", p->rows, VLMOE_F32, 1);
    if (variant & 2) p->col_scale = kit_real(&p->kit, "col_scale", p->cols, VLMOE_F32, 1.0);
    p->kit.uses_size = 1;
}

/* variant: bit 0 row scale, bit 1 column scale, bit 2 type, bit 3 in place or accumulated. */
static void run_residual(int64_t rows, int64_t cols, int variant)
{
    moved p;
    int dtype = types[variant >> 2 & 1];
    begin(&p, "residual_fwd", rows, cols);
    p.is_in_place = variant >> 3;
    p.y = kit_real(&p.kit, "y", rows * cols, dtype, 1.0);
    if (p.is_in_place) p.out = kit_updated(kit_real(&p.kit, "out", rows * cols, VLMOE_F32, 1.0), 4);
    else p.base = kit_real(&p.kit, "base", rows * cols, VLMOE_F32, 1.0);
    if (!p.is_in_place) p.out = kit_output(&p.kit, "out", rows * cols, VLMOE_F32, 4);
    add_scales(&p, variant);
    kit_run(&p.kit, call_residual_fwd, NULL, &p);
    kit_end(&p.kit);

    begin(&p, "residual_bwd", rows, cols);
    p.accumulate = variant >> 3;
    p.dout = kit_real(&p.kit, "dout", rows * cols, VLMOE_F32, 1.0);
    p.dy = kit_output(&p.kit, "dy", rows * cols, dtype, 2);
    if (variant & 2) p.y = kit_real(&p.kit, "y", rows * cols, dtype, 1.0);
    if (variant & 2) p.dcol = result(&p, "dcol_scale", cols, VLMOE_F32, (double)rows + 3.0, 0);
    add_scales(&p, variant);
    kit_run(&p.kit, call_residual_bwd, NULL, &p);
    kit_end(&p.kit);
}

TEST(compare_residual)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int variant = 0; variant < 16; variant++)
            run_residual(sizes[i].rows, sizes[i].cols, variant);
}

static int call_combine_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    moved *p = arg;
    vlmk_combine_fwd_args a = {.dtype = type_at(p->in, side),
                               .T = p->rows,
                               .K = p->K,
                               .cols = p->cols,
                               .rows = at(p->in, side),
                               .slot = at(p->slot, side),
                               .weight = at(p->weight, side),
                               .y = at(p->y, side)};
    return table->combine_fwd(env, &a);
}

static int call_combine_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    moved *p = arg;
    vlmk_combine_bwd_args a = {.dtype = type_at(p->in, side),
                               .T = p->rows,
                               .K = p->K,
                               .cols = p->cols,
                               .rows = at(p->in, side),
                               .slot = at(p->slot, side),
                               .weight = at(p->weight, side),
                               .dy = at(p->dy, side),
                               .drows = at(p->out, side),
                               .dweight = at(p->dweight, side)};
    return table->combine_bwd(env, &a);
}

static int call_dispatch_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    moved *p = arg;
    vlmk_dispatch_bwd_args a = {.dtype = type_at(p->in, side),
                                .T = p->rows,
                                .K = p->K,
                                .cols = p->cols,
                                .drows = at(p->in, side),
                                .slot = at(p->slot, side),
                                .dx = at(p->out, side),
                                .accumulate = p->accumulate};
    return table->dispatch_bwd(env, &a);
}

/* Slots are a permutation of [0, T K) read backwards by sevens, every third choice dropped. */
static void begin_experts(moved *p, const char *what, int64_t T, int64_t K, int64_t cols)
{
    begin(p, what, T, cols);
    p->K = K;
    p->kit.uses_size = 1;
    int32_t slot[600];
    int64_t place = T * K;
    for (int64_t start = 0; start < 7; start++)
        for (int64_t i = start; i < T * K; i += 7) slot[i] = (int32_t)--place;
    for (int64_t i = 2; i < T * K; i += 3) slot[i] = -1;
    p->slot = kit_ints(&p->kit, "slot", T * K, slot);
}

static void run_experts(int64_t T, int64_t K, int64_t cols, int dtype, int is_whole)
{
    moved p;
    begin_experts(&p, "combine_fwd", T, K, cols);
    p.in = numbers(&p, "rows", T * K * cols, dtype, is_whole);
    p.weight = numbers(&p, "weight", T * K, VLMOE_F32, is_whole);
    p.y = result(&p, "y", T * cols, dtype, (double)K + 1.0, is_whole);
    kit_run(&p.kit, call_combine_fwd, NULL, &p);
    kit_end(&p.kit);

    begin_experts(&p, "combine_bwd", T, K, cols);
    p.in = numbers(&p, "rows", T * K * cols, dtype, is_whole);
    p.weight = numbers(&p, "weight", T * K, VLMOE_F32, is_whole);
    p.dy = numbers(&p, "dy", T * cols, dtype, is_whole);
    p.out = result(&p, "drows", T * K * cols, dtype, 1.0, is_whole);
    p.dweight = result(&p, "dweight", T * K, VLMOE_F32, (double)cols, is_whole);
    kit_run(&p.kit, call_combine_bwd, NULL, &p);
    kit_end(&p.kit);

    for (int accumulate = 0; accumulate < 2; accumulate++) {
        begin_experts(&p, accumulate ? "dispatch_bwd +=" : "dispatch_bwd", T, K, cols);
        p.accumulate = accumulate;
        p.in = numbers(&p, "drows", T * K * cols, dtype, is_whole);
        p.out = result(&p, "dx", T * cols, dtype, (double)K, is_whole);
        kit_run(&p.kit, call_dispatch_bwd, NULL, &p);
        kit_end(&p.kit);
    }
}

TEST(compare_combine_and_dispatch)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int64_t K = 1; K <= 3; K++)
            for (int t = 0; t < 2; t++)
                for (int is_whole = 0; is_whole < 2; is_whole++)
                    run_experts(sizes[i].rows, K, sizes[i].cols, types[t], is_whole);
}
