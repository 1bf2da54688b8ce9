/* linear_fwd and linear_dx: rows times a packed weight, in tiles of (group, rows, columns), with
 * bias, activation and stores done while a tile is in cache.
 *
 * A tile owns n_tile columns of a range of a group's rows. Its weight columns are packed in the
 * tile (ranges of 1,024 rows), or before all tiles where there is one large group (ranges of 256
 * that share them), and used by strips of 64 rows, the last of 1 .. 63. A row's bits depend on
 * neither the strip's size nor its place as long as one implementation computes them. So a short
 * strip takes rows of what follows (or zeros) to a multiple of 8, which leaves eight products a
 * layer, all made when the layer is first met; for a few rows oneDNN may choose another
 * implementation (without AMX, say), and such a strip takes more. */
#include "cpu_kernels.h"
#include "cpu_pack.h"

enum {
    STRIP = 64,
    STEP = 8,
    N_SIZES = STRIP / STEP,
    MOST_COLUMNS = 256,
    PACKED_BYTES = 768 << 10,
    SHARED_RANGE = 256,
    OWN_RANGE = 1024
};

typedef struct row_range {
    int64_t group, first, rows;
} row_range;

typedef struct product_job {
    /* the call */
    int dtype, y_dtype, act, accumulate;
    int from_columns; /* w of a group is [n_red, n_out] (dx), else [n_out, n_red] (fwd) */
    int64_t M, n_out, n_red, G;
    const int32_t *offset;
    const void *a; /* [M, n_red] */
    const void *w;
    const float *bias; /* [G, n_out] or NULL */
    void *pre, *y;     /* [M, n_out] */
    /* the plan */
    int mm_dtype; /* F32 where this instruction set has no bf16 product */
    int64_t k_pad, n_tile, n_tiles, n_ranges, block;
    row_range *range;
    void *staged;      /* [M, k_pad] copy of a where a itself will not do, else NULL */
    char *packed;      /* all columns packed, else NULL: each tile packs its own */
    char *worker_base; /* per worker: result f32, a short strip's rows, packed columns */
    size_t worker_stride;
    vlmk_cpu_mm *mm[2][N_SIZES]; /* by full or last tile of columns, and (rows - 1) / STEP */
    int64_t mm_rows[2][N_SIZES]; /* rows that product has */
    int failed;                  /* status of a product that failed on some worker */
} product_job;

static int64_t columns_of(const product_job *job, int64_t tile)
{
    int64_t left = job->n_out - tile * job->n_tile;
    return left < job->n_tile ? left : job->n_tile;
}

static void pack_columns(const product_job *job, int64_t group, int64_t tile, void *dst)
{
    int64_t first = tile * job->n_tile, n = columns_of(job, tile);
    int64_t origin =
        group * job->n_out * job->n_red + (job->from_columns ? first : first * job->n_red);
    vlmk_cpu_pack p = {.src_dtype = job->dtype,
                       .dst_dtype = job->mm_dtype,
                       .src = at(job->w, job->dtype, origin),
                       .ld = job->from_columns ? job->n_out : job->n_red,
                       .n = n,
                       .k = job->n_red,
                       .n_pad = vlmk_cpu_round_up(n, PACK_N),
                       .k_pad = job->k_pad,
                       .dst = dst};
    p.block = job->block ? job->block : p.n_pad;
    if (job->from_columns) vlmk_cpu_pack_from_columns(&p);
    else vlmk_cpu_pack_from_rows(&p);
}

static size_t packed_bytes(const product_job *job)
{
    return (size_t)(vlmk_cpu_round_up(job->n_tile, PACK_N) * job->k_pad) *
           dtype_bytes(job->mm_dtype);
}

static void pack_tile(void *arg, int64_t tile, int worker)
{
    const product_job *job = arg;
    (void)worker;
    pack_columns(job, 0, tile, job->packed + (size_t)tile * packed_bytes(job));
}

static void stage_tile(void *arg, int64_t tile, int worker)
{
    const product_job *job = arg;
    (void)worker;
    tile_span rows = span_of(tile, STRIP, job->M);
    vlmk_cpu_pack p = {.src_dtype = job->dtype,
                       .dst_dtype = job->mm_dtype,
                       .src = at(job->a, job->dtype, rows.first * job->n_red),
                       .ld = job->n_red,
                       .n = rows.end - rows.first,
                       .k = job->n_red,
                       .k_pad = job->k_pad,
                       .dst = at_mut(job->staged, job->mm_dtype, rows.first * job->k_pad)};
    vlmk_cpu_pack_copy(&p);
}

/* One row of a strip's result. */
typedef struct result_row {
    const float *sum, *bias; /* [columns]; bias may be NULL */
    int64_t place;           /* element of y and pre it begins at */
    int64_t columns;
} result_row;

/* Bias, activation, stores. */
VLMK_INLINE void finish_row(const product_job *job, result_row row, const int act,
                            const int y_dtype)
{
#define BODY                                                                                       \
    {                                                                                              \
        vf v = vf_load(row.sum + c, VLMOE_F32, n);                                                 \
        if (row.bias) v += vf_load(row.bias + c, VLMOE_F32, n);                                    \
        if (act != VLMK_ACT_NONE && job->pre) store_at(job->pre, job->dtype, row.place + c, n, v); \
        if (act == VLMK_ACT_GELU) v = vf_gelu_as(v, y_dtype);                                      \
        if (act == VLMK_ACT_TANH) v = vf_tanh(v);                                                  \
        if (act == VLMK_ACT_NONE && job->accumulate)                                               \
            v += load_at(job->y, y_dtype, row.place + c, n);                                       \
        store_at(job->y, y_dtype, row.place + c, n, v);                                            \
    }
    VLMK_FOR_LANES(c, n, row.columns, BODY);
#undef BODY
}

#define FINISH(name, act, y_dtype)                                                                 \
    static void name(const product_job *job, result_row row)                                       \
    {                                                                                              \
        finish_row(job, row, act, y_dtype);                                                        \
    }
FINISH(finish_f32, VLMK_ACT_NONE, VLMOE_F32)
FINISH(finish_bf16, VLMK_ACT_NONE, VLMOE_BF16)
FINISH(finish_gelu_f32, VLMK_ACT_GELU, VLMOE_F32)
FINISH(finish_gelu_bf16, VLMK_ACT_GELU, VLMOE_BF16)
FINISH(finish_tanh_f32, VLMK_ACT_TANH, VLMOE_F32)
FINISH(finish_tanh_bf16, VLMK_ACT_TANH, VLMOE_BF16)

static void finish_strip(const product_job *job, const float *result, int64_t row, int64_t rows,
                         int64_t tile, int64_t group)
{
    static void (*const finish[3][2])(const product_job *, result_row) = {
        [VLMK_ACT_NONE] = {finish_f32, finish_bf16},
        [VLMK_ACT_GELU] = {finish_gelu_f32, finish_gelu_bf16},
        [VLMK_ACT_TANH] = {finish_tanh_f32, finish_tanh_bf16},
    };
    int64_t first = tile * job->n_tile;
    result_row out = {.columns = columns_of(job, tile)};
    out.bias = job->bias ? job->bias + group * job->n_out + first : NULL;
    for (int64_t r = 0; r < rows; r++) {
        out.sum = result + r * vlmk_cpu_round_up(out.columns, PACK_N);
        out.place = (row + r) * job->n_out + first;
        finish[job->act][job->y_dtype == VLMOE_BF16](job, out);
    }
}

static size_t result_bytes(const product_job *job)
{
    return (size_t)(STRIP * vlmk_cpu_round_up(job->n_tile, PACK_N)) * sizeof(float);
}
static size_t short_bytes(const product_job *job)
{
    return (size_t)(STRIP * job->k_pad) * dtype_bytes(job->mm_dtype);
}

/* Rows of a strip as its product takes them: in place, with what follows, or copied with zero rows
 * after them where the matrix ends. */
static const void *strip_rows(const product_job *job, int64_t row, int64_t rows, int64_t mm_rows,
                              char *spare)
{
    const void *a = at(job->staged ? job->staged : job->a, job->mm_dtype, row * job->k_pad);
    if (row + mm_rows <= job->M) return a;
    size_t row_bytes = (size_t)job->k_pad * dtype_bytes(job->mm_dtype);
    memcpy(spare, a, (size_t)rows * row_bytes);
    memset(spare + (size_t)rows * row_bytes, 0, (size_t)(mm_rows - rows) * row_bytes);
    return spare;
}

static void product_tile(void *arg, int64_t tile, int worker)
{
    product_job *job = arg;
    const row_range *range = &job->range[tile / job->n_tiles];
    int64_t column_tile = tile % job->n_tiles;
    char *own = job->worker_base + (size_t)worker * job->worker_stride;
    float *result = (float *)(void *)own;
    char *spare = own + result_bytes(job), *packed = spare + short_bytes(job);
    if (job->packed) packed = job->packed + (size_t)column_tile * packed_bytes(job);
    else pack_columns(job, range->group, column_tile, packed);
    int is_last = columns_of(job, column_tile) < job->n_tile;
    for (int64_t r = 0; r < range->rows; r += STRIP) {
        int64_t row = range->first + r, rows = range->rows - r < STRIP ? range->rows - r : STRIP;
        int64_t size = (rows - 1) / STEP;
        const void *a = strip_rows(job, row, rows, job->mm_rows[is_last][size], spare);
        int status = vlmk_cpu_mm_run(job->mm[is_last][size], worker, a, packed, result);
        if (status) __atomic_store_n(&job->failed, status, __ATOMIC_RELAXED);
        else finish_strip(job, result, row, rows, column_tile, range->group);
    }
}

static int64_t group_first(const product_job *job, int64_t g)
{
    return job->offset ? job->offset[g] : 0;
}
static int64_t group_rows(const product_job *job, int64_t g)
{
    return job->offset ? job->offset[g + 1] - job->offset[g] : job->M;
}

/* Cut the groups' rows into ranges; the number of ranges without storing them when range is
 * NULL. */
static int64_t cut_rows(const product_job *job, int64_t most, row_range *range)
{
    int64_t n = 0;
    for (int64_t g = 0; g < job->G; g++) {
        int64_t first = group_first(job, g), rows = group_rows(job, g);
        for (int64_t r = 0; r < rows; r += most, n++)
            if (range) range[n] = (row_range){g, first + r, rows - r < most ? rows - r : most};
    }
    return n;
}

/* The product of strips of (size + 1) STEP rows: the first with so many or more that the full strip's
 * implementation computes. */
static int find_product(vlmk_env *env, product_job *job, int is_last, int size)
{
    int64_t columns = is_last ? columns_of(job, job->n_tiles - 1) : job->n_tile;
    vlmk_cpu_mm_shape shape = {.m = STRIP,
                               .n = vlmk_cpu_round_up(columns, PACK_N),
                               .k = job->k_pad,
                               .dtype = job->mm_dtype};
    vlmk_cpu_mm *full = vlmk_cpu_mm_get(env, shape), *mm = full;
    for (shape.m = (size + 1) * STEP; full && shape.m < STRIP; shape.m += STEP) {
        mm = vlmk_cpu_mm_get(env, shape);
        if (!mm || strcmp(vlmk_cpu_mm_impl(mm), vlmk_cpu_mm_impl(full)) == 0) break;
    }
    if (shape.m >= STRIP) mm = full;
    if (!mm) return VLMOE_E_NOMEM;
    job->mm[is_last][size] = mm;
    job->mm_rows[is_last][size] = shape.m;
    job->block =
        vlmk_cpu_mm_block(mm) == PACK_N ? PACK_N : 0; /* 0: one block, as wide as the tile */
    return VLMOE_OK;
}

/* Every primitive that any split of rows will ever ask for, so that later steps make none. */
static int find_products(vlmk_env *env, product_job *job)
{
    int has_full = job->n_out >= job->n_tile, has_last = job->n_out % job->n_tile != 0;
    for (int size = 0; size < N_SIZES; size++) {
        int status = has_full ? find_product(env, job, 0, size) : VLMOE_OK;
        if (!status && has_last) status = find_product(env, job, 1, size);
        if (status) return status;
    }
    return VLMOE_OK;
}

static int plan(vlmk_env *env, product_job *job)
{
    int is_bf16 = job->dtype == VLMOE_BF16 && VLMK_CPU(has_bf16_products)(env);
    job->mm_dtype = is_bf16 ? VLMOE_BF16 : VLMOE_F32;
    job->k_pad = vlmk_cpu_round_up(job->n_red > 0 ? job->n_red : 1, PACK_K);
    int64_t fitting =
        PACKED_BYTES / (job->k_pad * (int64_t)dtype_bytes(job->mm_dtype)) / PACK_N * PACK_N;
    job->n_tile = fitting < PACK_N ? PACK_N : fitting > MOST_COLUMNS ? MOST_COLUMNS : fitting;
    job->n_tiles = vlmk_cpu_ceil_div(job->n_out, job->n_tile);
    int is_shared = job->G == 1 && group_rows(job, 0) > SHARED_RANGE;
    int64_t most = is_shared ? SHARED_RANGE : OWN_RANGE;
    job->n_ranges = cut_rows(job, most, NULL);
    job->range = env->scratch(env, (size_t)job->n_ranges * sizeof *job->range);
    if (!job->range) return VLMOE_E_NOMEM;
    cut_rows(job, most, job->range);
    int status = find_products(env, job);
    if (status) return status;

    if (job->k_pad != job->n_red || job->mm_dtype != job->dtype) {
        job->staged = env->scratch(env, (size_t)(job->M * job->k_pad) * dtype_bytes(job->mm_dtype));
        if (!job->staged) return VLMOE_E_NOMEM;
    }
    if (is_shared) {
        job->packed = env->scratch(env, (size_t)job->n_tiles * packed_bytes(job));
        if (!job->packed) return VLMOE_E_NOMEM;
    }
    size_t own_bytes = result_bytes(job) + short_bytes(job) + (is_shared ? 0 : packed_bytes(job));
    job->worker_base = vlmk_cpu_worker_scratch(env, own_bytes, &job->worker_stride);
    return job->worker_base ? VLMOE_OK : VLMOE_E_NOMEM;
}

static int run(vlmk_env *env, product_job *job)
{
    int64_t rows = 0;
    for (int64_t g = 0; g < job->G; g++) rows += group_rows(job, g);
    if (rows == 0 || job->n_out == 0) return VLMOE_OK;
    int status = plan(env, job);
    if (status) return status;
    if (job->staged) parallel_spans(env, stage_tile, job, job->M, STRIP);
    if (job->packed) vlmk_cpu_parallel(env, pack_tile, job, job->n_tiles);
    vlmk_cpu_parallel(env, product_tile, job, job->n_ranges * job->n_tiles);
    count_flops(env, (double)rows * (double)job->n_out * (double)job->n_red);
    return job->failed;
}

int VLMK_CPU(linear_fwd)(vlmk_env *env, const vlmk_linear_fwd_args *args)
{
    product_job job = {.dtype = args->dtype,
                       .y_dtype = args->y_dtype,
                       .act = args->act,
                       .M = args->M,
                       .n_out = args->N,
                       .n_red = args->K,
                       .G = args->G,
                       .offset = args->offset,
                       .a = args->x,
                       .w = args->w,
                       .bias = args->bias,
                       .pre = args->pre,
                       .y = args->y};
    return run(env, &job);
}

int VLMK_CPU(linear_dx)(vlmk_env *env, const vlmk_linear_dx_args *args)
{
    product_job job = {.dtype = args->dtype,
                       .y_dtype = args->dx_dtype,
                       .accumulate = args->accumulate,
                       .from_columns = 1,
                       .M = args->M,
                       .n_out = args->K,
                       .n_red = args->N,
                       .G = args->G,
                       .offset = args->offset,
                       .a = args->dy,
                       .w = args->w,
                       .y = args->dx};
    return run(env, &job);
}
