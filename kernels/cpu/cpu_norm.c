/* Layer norm and division of rows by their length. A row's numbers come from that row alone;
 * sums over rows (dgain, dbias) are formed in blocks of fixed size and the blocks added in
 * order. */
#include "cpu_kernels.h"

enum { ROWS_PER_BLOCK = 64, COLUMN_STRIP = 256 };

VLMK_INLINE void norm_row(const vlmk_layer_norm_fwd_args *a, const int x_dtype, const int y_dtype,
                          int64_t r)
{
    const void *x = at(a->x, x_dtype, r * a->cols);
    const float *gain = a->gain, *bias = a->bias;
    vf sum = {0}, square = {0};
    VLMK_FOR_LANES(c, n, a->cols, sum += load_at(x, x_dtype, c, n));
    float mean = vf_sum(sum) / (float)a->cols;
#define BODY                                                                                       \
    {                                                                                              \
        vf distance = vf_keep(load_at(x, x_dtype, c, n) - mean, n);                                \
        square += distance * distance;                                                             \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
    float rstd = (float)(1.0 / sqrt((double)(vf_sum(square) / (float)a->cols) + a->eps));
#define BODY                                                                                       \
    store_at(a->y, y_dtype, r * a->cols + c, n,                                                    \
             (load_at(x, x_dtype, c, n) - mean) * rstd * vf_load(gain + c, VLMOE_F32, n) +         \
                 vf_load(bias + c, VLMOE_F32, n))
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
    ((float *)a->mean)[r] = mean;
    ((float *)a->rstd)[r] = rstd;
}

static void norm_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_layer_norm_fwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->cols), a->rows);
    VLMK_BY_DTYPES(a->x_dtype, a->y_dtype,
                   for (int64_t r = rows.first; r < rows.end; r++) norm_row(a, X, Y, r));
}

int VLMK_CPU(layer_norm_fwd)(vlmk_env *env, const vlmk_layer_norm_fwd_args *args)
{
    vlmk_layer_norm_fwd_args a = *args;
    if (a.cols > 0) parallel_spans(env, norm_fwd_tile, &a, a.rows, rows_per_tile(a.cols));
    else
        for (int64_t r = 0; r < a.rows; r++) ((float *)a.mean)[r] = ((float *)a.rstd)[r] = 0.0f;
    return VLMOE_OK;
}

typedef struct norm_bwd_job {
    const vlmk_layer_norm_bwd_args *a;
    float *partial; /* [n_blocks, 2, width]: a block's dgain and dbias; NULL = not wanted */
    int64_t n_blocks, width;
} norm_bwd_job;

/* dx of row r. With u = (x - mean) rstd and g = dy gain: dx = rstd (g - mean_c(g) - u mean_c(g
 * u)). */
VLMK_INLINE void norm_row_dx(const vlmk_layer_norm_bwd_args *a, const int x_dtype,
                             const int dy_dtype, int64_t r)
{
    const float *gain = a->gain;
    float mean = ((const float *)a->mean)[r], rstd = ((const float *)a->rstd)[r];
    int64_t first = r * a->cols;
    vf sum_g = {0}, sum_gu = {0};
#define BODY                                                                                       \
    {                                                                                              \
        vf g = load_at(a->dy, dy_dtype, first + c, n) * vf_load(gain + c, VLMOE_F32, n);           \
        sum_g += g;                                                                                \
        sum_gu += g * ((load_at(a->x, x_dtype, first + c, n) - mean) * rstd);                      \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
    float mean_g = vf_sum(sum_g) / (float)a->cols, mean_gu = vf_sum(sum_gu) / (float)a->cols;
#define BODY                                                                                       \
    {                                                                                              \
        vf g = load_at(a->dy, dy_dtype, first + c, n) * vf_load(gain + c, VLMOE_F32, n);           \
        vf u = (load_at(a->x, x_dtype, first + c, n) - mean) * rstd;                               \
        vf dx = rstd * (g - (mean_g + u * mean_gu));                                               \
        if (a->accumulate_dx) dx += load_at(a->dx, x_dtype, first + c, n);                         \
        store_at(a->dx, x_dtype, first + c, n, dx);                                                \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
}

/* Add row r to a block's sums. */
VLMK_INLINE void norm_row_params(const norm_bwd_job *job, const int x_dtype, const int dy_dtype,
                                 int64_t r, float *dgain)
{
    const vlmk_layer_norm_bwd_args *a = job->a;
    float mean = ((const float *)a->mean)[r], rstd = ((const float *)a->rstd)[r],
          *dbias = dgain + job->width;
    int64_t first = r * a->cols;
#define BODY                                                                                       \
    {                                                                                              \
        vf dy = load_at(a->dy, dy_dtype, first + c, n);                                            \
        vf u = (load_at(a->x, x_dtype, first + c, n) - mean) * rstd;                               \
        store_f32(dgain + c, load_f32(dgain + c) + dy * u);                                        \
        store_f32(dbias + c, load_f32(dbias + c) + dy);                                            \
    }
    VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
}

static void norm_bwd_tile(void *arg, int64_t tile, int worker)
{
    const norm_bwd_job *job = arg;
    const vlmk_layer_norm_bwd_args *a = job->a;
    (void)worker;
    tile_span rows = span_of(tile, ROWS_PER_BLOCK, a->rows);
    float *sums = job->partial ? job->partial + tile * 2 * job->width : NULL;
    if (sums) memset(sums, 0, (size_t)(2 * job->width) * sizeof *sums);
#define BODY                                                                                       \
    for (int64_t r = rows.first; r < rows.end; r++) {                                              \
        if (sums) norm_row_params(job, X, Y, r, sums);                                             \
        if (a->dx) norm_row_dx(a, X, Y, r);                                                        \
    }
    VLMK_BY_DTYPES(a->x_dtype, a->dy_dtype, BODY);
#undef BODY
}

/* dgain and dbias of a strip of columns: the blocks in order. */
static void norm_params_tile(void *arg, int64_t tile, int worker)
{
    const norm_bwd_job *job = arg;
    const vlmk_layer_norm_bwd_args *a = job->a;
    (void)worker;
    tile_span columns = span_of(tile, COLUMN_STRIP, a->cols);
    for (int which = 0; which < 2; which++) {
        float *out = which ? a->dbias : a->dgain;
        if (!out) continue;
        for (int64_t c = columns.first; c < columns.end; c++) {
            float sum = 0.0f;
            for (int64_t b = 0; b < job->n_blocks; b++)
                sum += job->partial[(b * 2 + which) * job->width + c];
            out[c] = a->accumulate_params ? out[c] + sum : sum;
        }
    }
}

int VLMK_CPU(layer_norm_bwd)(vlmk_env *env, const vlmk_layer_norm_bwd_args *args)
{
    norm_bwd_job job = {.a = args,
                        .width = vlmk_cpu_round_up(args->cols, VL),
                        .n_blocks = vlmk_cpu_ceil_div(args->rows, ROWS_PER_BLOCK)};
    if (args->cols == 0) return VLMOE_OK;
    if (args->dgain) {
        job.partial = env->scratch(env, (size_t)(job.n_blocks * 2 * job.width) * sizeof(float));
        if (!job.partial) return VLMOE_E_NOMEM;
    }
    parallel_spans(env, norm_bwd_tile, &job, args->rows, ROWS_PER_BLOCK);
    if (job.partial) parallel_spans(env, norm_params_tile, &job, args->cols, COLUMN_STRIP);
    return VLMOE_OK;
}

/* Length in double: the squares of large or small f32 would leave the range of f32. */
static double row_dot(const float *x, const float *y, int64_t cols)
{
    double lane[VL] = {0}, sum = 0.0;
    int64_t c = 0;
    for (; c + VL <= cols; c += VL)
        for (int l = 0; l < VL; l++) lane[l] += (double)x[c + l] * (double)y[c + l];
    for (int l = 0; c < cols; c++, l++) lane[l] += (double)x[c] * (double)y[c];
    for (int l = 0; l < VL; l++) sum += lane[l];
    return sum;
}

static void l2_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_l2_norm_fwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->cols), a->rows);
    for (int64_t r = rows.first; r < rows.end; r++) {
        const float *x = (const float *)a->x + r * a->cols;
        float *y = (float *)a->y + r * a->cols;
        float norm = (float)fmax(sqrt(row_dot(x, x, a->cols)), a->eps);
        VLMK_FOR_LANES(c, n, a->cols,
                       vf_store(y + c, VLMOE_F32, n, vf_load(x + c, VLMOE_F32, n) / norm));
        ((float *)a->norm)[r] = norm;
    }
}

int VLMK_CPU(l2_norm_fwd)(vlmk_env *env, const vlmk_l2_norm_fwd_args *args)
{
    vlmk_l2_norm_fwd_args a = *args;
    parallel_spans(env, l2_fwd_tile, &a, a.rows, rows_per_tile(a.cols));
    return VLMOE_OK;
}

static void l2_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_l2_norm_bwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->cols), a->rows);
    for (int64_t r = rows.first; r < rows.end; r++) {
        const float *y = (const float *)a->y + r * a->cols,
                    *dy = (const float *)a->dy + r * a->cols;
        float *dx = (float *)a->dx + r * a->cols, norm = ((const float *)a->norm)[r];
        /* what of dy only changes the length; nothing where the divisor was the constant eps */
        float along = norm > (float)a->eps ? (float)row_dot(y, dy, a->cols) : 0.0f;
#define BODY                                                                                       \
    vf_store(dx + c, VLMOE_F32, n,                                                                 \
             (vf_load(dy + c, VLMOE_F32, n) - vf_load(y + c, VLMOE_F32, n) * along) / norm)
        VLMK_FOR_LANES(c, n, a->cols, BODY);
#undef BODY
    }
}

int VLMK_CPU(l2_norm_bwd)(vlmk_env *env, const vlmk_l2_norm_bwd_args *args)
{
    vlmk_l2_norm_bwd_args a = *args;
    parallel_spans(env, l2_bwd_tile, &a, a.rows, rows_per_tile(a.cols));
    return VLMOE_OK;
}
