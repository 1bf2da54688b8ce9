/* Whole rows moved, added and scaled: gather, scatter, residual branches, combine and dispatch
 * of expert rows. */
#include "cpu_kernels.h"

enum { ROWS_PER_BLOCK = 64, COLUMN_STRIP = 256 };

VLMK_INLINE void put(void *out, const int dtype, int64_t i, int64_t n, vf value, int accumulate)
{
    store_at(out, dtype, i, n, accumulate ? load_at(out, dtype, i, n) + value : value);
}

VLMK_INLINE void gather_row(const vlmk_gather_rows_args *a, const int in_dtype, const int out_dtype,
                            int64_t r)
{
    int64_t from = a->index[r];
    if (from < 0) {
        if (!a->accumulate)
            memset(at_mut(a->out, out_dtype, r * a->cols), 0,
                   (size_t)a->cols * dtype_bytes(out_dtype));
        return;
    }
    VLMK_FOR_LANES(c, n, a->cols,
                   put(a->out, out_dtype, r * a->cols + c, n,
                       load_at(a->in, in_dtype, from * a->cols + c, n), a->accumulate));
}

static void gather_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_gather_rows_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->cols), a->n_out);
    VLMK_BY_DTYPES(a->in_dtype, a->out_dtype,
                   for (int64_t r = rows.first; r < rows.end; r++) gather_row(a, X, Y, r));
}

int VLMK_CPU(gather_rows)(vlmk_env *env, const vlmk_gather_rows_args *args)
{
    vlmk_gather_rows_args a = *args;
    parallel_spans(env, gather_tile, &a, a.n_out, rows_per_tile(a.cols));
    return VLMOE_OK;
}

/* Rows of the input sorted by target, stable: target j gets row[start[j]] .. row[start[j+1]-1],
 * ascending. */
typedef struct scatter_job {
    const vlmk_scatter_rows_args *a;
    int64_t *start; /* [n_out + 1] */
    int32_t *row;   /* [n_in] */
} scatter_job;

static void sort_by_target(const scatter_job *job)
{
    const vlmk_scatter_rows_args *a = job->a;
    int64_t sum = 0;
    memset(job->start, 0, (size_t)(a->n_out + 1) * sizeof *job->start);
    for (int64_t i = 0; i < a->n_in; i++)
        if (a->index[i] >= 0) job->start[a->index[i]]++;
    for (int64_t j = 0; j <= a->n_out; j++) {
        int64_t count = job->start[j];
        job->start[j] = sum;
        sum += count;
    }
    for (int64_t i = 0; i < a->n_in; i++) /* moves each start to its end ... */
        if (a->index[i] >= 0) job->row[job->start[a->index[i]]++] = (int32_t)i;
    for (int64_t j = a->n_out; j > 0; j--)
        job->start[j] = job->start[j - 1]; /* ... which is the next one's start */
    job->start[0] = 0;
}

VLMK_INLINE void scatter_row(const scatter_job *job, const int in_dtype, const int out_dtype,
                             int64_t j)
{
    const vlmk_scatter_rows_args *a = job->a;
    int64_t begin = job->start[j], end = job->start[j + 1];
    if (begin == end && a->accumulate) return;
#define BODY                                                                                       \
    {                                                                                              \
        vf sum = {0};                                                                              \
        for (int64_t i = begin; i < end; i++)                                                      \
            sum += load_at(a->in, in_dtype, job->row[i] * a->cols + c, n);                         \
        put(a->out, out_dtype, j * a->cols + c, n, sum, a->accumulate);                            \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
}

static void scatter_tile(void *arg, int64_t tile, int worker)
{
    const scatter_job *job = arg;
    const vlmk_scatter_rows_args *a = job->a;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->cols), a->n_out);
    VLMK_BY_DTYPES(a->in_dtype, a->out_dtype,
                   for (int64_t j = rows.first; j < rows.end; j++) scatter_row(job, X, Y, j));
}

int VLMK_CPU(scatter_rows)(vlmk_env *env, const vlmk_scatter_rows_args *args)
{
    scatter_job job = {.a = args};
    if (args->n_out == 0 || args->cols == 0) return VLMOE_OK;
    job.start = env->scratch(env, (size_t)(args->n_out + 1) * sizeof *job.start);
    job.row = env->scratch(env, (size_t)args->n_in * sizeof *job.row);
    if (!job.start || !job.row) return VLMOE_E_NOMEM;
    sort_by_target(&job);
    parallel_spans(env, scatter_tile, &job, args->n_out, rows_per_tile(args->cols));
    return VLMOE_OK;
}

VLMK_INLINE void residual_row(const vlmk_residual_fwd_args *a, const int y_dtype, int64_t r)
{
    const float *col_scale = a->col_scale, *base = (const float *)a->base + r * a->cols;
    float *out = (float *)a->out + r * a->cols;
    float row = a->row_scale ? ((const float *)a->row_scale)[r] : 1.0f;
#define BODY                                                                                       \
    {                                                                                              \
        vf scale = col_scale ? row * vf_load(col_scale + c, VLMOE_F32, n) : vf_set(row);           \
        vf y = load_at(a->y, y_dtype, r * a->cols + c, n);                                         \
        vf_store(out + c, VLMOE_F32, n, vf_load(base + c, VLMOE_F32, n) + scale * y);              \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
}

static void residual_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_residual_fwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->cols), a->rows);
    VLMK_BY_DTYPE(a->y_dtype,
                  for (int64_t r = rows.first; r < rows.end; r++) residual_row(a, D, r));
}

int VLMK_CPU(residual_fwd)(vlmk_env *env, const vlmk_residual_fwd_args *args)
{
    vlmk_residual_fwd_args a = *args;
    parallel_spans(env, residual_fwd_tile, &a, a.rows, rows_per_tile(a.cols));
    return VLMOE_OK;
}

typedef struct residual_bwd_job {
    const vlmk_residual_bwd_args *a;
    float *partial; /* [n_blocks, width]: a block of rows' share of dcol_scale; NULL = not wanted */
    int64_t n_blocks, width;
} residual_bwd_job;

VLMK_INLINE void residual_row_bwd(const residual_bwd_job *job, const int y_dtype, int64_t r,
                                  float *sum)
{
    const vlmk_residual_bwd_args *a = job->a;
    const float *col_scale = a->col_scale, *dout = (const float *)a->dout + r * a->cols;
    float row = a->row_scale ? ((const float *)a->row_scale)[r] : 1.0f;
#define BODY                                                                                       \
    {                                                                                              \
        vf g = row * vf_load(dout + c, VLMOE_F32, n);                                              \
        if (sum)                                                                                   \
            store_f32(sum + c,                                                                     \
                      load_f32(sum + c) + g * load_at(a->y, y_dtype, r * a->cols + c, n));         \
        store_at(a->dy, y_dtype, r * a->cols + c, n,                                               \
                 col_scale ? g * vf_load(col_scale + c, VLMOE_F32, n) : g);                        \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
}

static void residual_bwd_tile(void *arg, int64_t tile, int worker)
{
    const residual_bwd_job *job = arg;
    (void)worker;
    tile_span rows = span_of(tile, ROWS_PER_BLOCK, job->a->rows);
    float *sum = job->partial ? job->partial + tile * job->width : NULL;
    if (sum) memset(sum, 0, (size_t)job->width * sizeof *sum);
    VLMK_BY_DTYPE(job->a->y_dtype,
                  for (int64_t r = rows.first; r < rows.end; r++) residual_row_bwd(job, D, r, sum));
}

static void col_scale_tile(void *arg, int64_t tile, int worker)
{
    const residual_bwd_job *job = arg;
    (void)worker;
    tile_span columns = span_of(tile, COLUMN_STRIP, job->a->cols);
    float *out = job->a->dcol_scale;
    for (int64_t c = columns.first; c < columns.end; c++) {
        float sum = 0.0f;
        for (int64_t b = 0; b < job->n_blocks; b++) sum += job->partial[b * job->width + c];
        out[c] = job->a->accumulate_col_scale ? out[c] + sum : sum;
    }
}

int VLMK_CPU(residual_bwd)(vlmk_env *env, const vlmk_residual_bwd_args *args)
{
    residual_bwd_job job = {.a = args,
                            .width = vlmk_cpu_round_up(args->cols, VL),
                            .n_blocks = vlmk_cpu_ceil_div(args->rows, ROWS_PER_BLOCK)};
    if (args->dcol_scale) {
        job.partial = env->scratch(env, (size_t)(job.n_blocks * job.width) * sizeof(float));
        if (!job.partial) return VLMOE_E_NOMEM;
    }
    parallel_spans(env, residual_bwd_tile, &job, args->rows, ROWS_PER_BLOCK);
    if (job.partial) parallel_spans(env, col_scale_tile, &job, args->cols, COLUMN_STRIP);
    return VLMOE_OK;
}

VLMK_INLINE void combine_row(const vlmk_combine_fwd_args *a, const int dtype, int64_t t)
{
    const int32_t *slot = a->slot + t * a->K;
    const float *weight = (const float *)a->weight + t * a->K;
#define BODY                                                                                       \
    {                                                                                              \
        vf sum = {0};                                                                              \
        for (int64_t k = 0; k < a->K; k++)                                                         \
            if (slot[k] >= 0)                                                                      \
                sum += weight[k] * load_at(a->rows, dtype, slot[k] * a->cols + c, n);              \
        store_at(a->y, dtype, t * a->cols + c, n, sum);                                            \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
}

static void combine_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_combine_fwd_args *a = arg;
    (void)worker;
    tile_span tokens = span_of(tile, rows_per_tile(a->cols), a->T);
    VLMK_BY_DTYPE(a->dtype,
                  for (int64_t t = tokens.first; t < tokens.end; t++) combine_row(a, D, t));
}

int VLMK_CPU(combine_fwd)(vlmk_env *env, const vlmk_combine_fwd_args *args)
{
    vlmk_combine_fwd_args a = *args;
    parallel_spans(env, combine_fwd_tile, &a, a.T, rows_per_tile(a.cols));
    return VLMOE_OK;
}

/* One choice: its row's gradient and its weight's. */
VLMK_INLINE void combine_choice_bwd(const vlmk_combine_bwd_args *a, const int dtype, int64_t t,
                                    int64_t k)
{
    int64_t row = a->slot[t * a->K + k];
    float weight = ((const float *)a->weight)[t * a->K + k];
    vf sum = {0};
#define BODY                                                                                       \
    {                                                                                              \
        vf dy = load_at(a->dy, dtype, t * a->cols + c, n);                                         \
        sum += dy * load_at(a->rows, dtype, row * a->cols + c, n);                                 \
        store_at(a->drows, dtype, row * a->cols + c, n, weight * dy);                              \
    }
    if (row >= 0) VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
    ((float *)a->dweight)[t * a->K + k] = vf_sum(sum);
}

static void combine_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_combine_bwd_args *a = arg;
    (void)worker;
    tile_span tokens = span_of(tile, rows_per_tile(a->cols), a->T);
#define BODY                                                                                       \
    for (int64_t t = tokens.first; t < tokens.end; t++)                                            \
        for (int64_t k = 0; k < a->K; k++) combine_choice_bwd(a, D, t, k)
    VLMK_BY_DTYPE(a->dtype, BODY);
#undef BODY
}

int VLMK_CPU(combine_bwd)(vlmk_env *env, const vlmk_combine_bwd_args *args)
{
    vlmk_combine_bwd_args a = *args;
    parallel_spans(env, combine_bwd_tile, &a, a.T, rows_per_tile(a.cols));
    return VLMOE_OK;
}

VLMK_INLINE void dispatch_row_bwd(const vlmk_dispatch_bwd_args *a, const int dtype, int64_t t)
{
    const int32_t *slot = a->slot + t * a->K;
#define BODY                                                                                       \
    {                                                                                              \
        vf sum = {0};                                                                              \
        for (int64_t k = 0; k < a->K; k++)                                                         \
            if (slot[k] >= 0) sum += load_at(a->drows, dtype, slot[k] * a->cols + c, n);           \
        put(a->dx, dtype, t * a->cols + c, n, sum, a->accumulate);                                 \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
}

static void dispatch_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_dispatch_bwd_args *a = arg;
    (void)worker;
    tile_span tokens = span_of(tile, rows_per_tile(a->cols), a->T);
    VLMK_BY_DTYPE(a->dtype,
                  for (int64_t t = tokens.first; t < tokens.end; t++) dispatch_row_bwd(a, D, t));
}

int VLMK_CPU(dispatch_bwd)(vlmk_env *env, const vlmk_dispatch_bwd_args *args)
{
    vlmk_dispatch_bwd_args a = *args;
    parallel_spans(env, dispatch_bwd_tile, &a, a.T, rows_per_tile(a.cols));
    return VLMOE_OK;
}
