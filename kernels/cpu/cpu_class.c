/* Losses against classes with scores, and cosines over a learned temperature. Row values in
 * parallel, then their weighted sum in order of rows. In double but for the softmax: these are a
 * few thousand numbers a sample, behind an encoder's millions. */
#include "cpu_kernels.h"

enum { SUM_BLOCK = 4096 };

/* log(1 + exp(x)) */
static double softplus(double x)
{
    return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x)));
}

static int64_t best_of(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t c = 1; c < n; c++)
        if (x[c] > x[best]) best = c;
    return best;
}

/* With L = lse - top: sum over entries of (1 - smoothing) score (L + top - x) + smoothing T
 * (L + mean(top - x)); every bracket is a sum of numbers above 0. */
static double softmax_row(const vlmk_class_loss_fwd_args *a, int64_t r, float top, double above)
{
    const float *x = (const float *)a->x + r * a->V, *score = a->score;
    double sum = 0.0, total = 0.0, below = 0.0;
    for (int64_t j = a->offset[r]; j < a->offset[r + 1]; j++) {
        total += (double)score[j];
        sum += (double)score[j] * (above + ((double)top - (double)x[a->label[j]]));
    }
    if (a->smoothing == 0.0) return sum;
    for (int64_t c = 0; c < a->V; c++) below += (double)top - (double)x[c];
    return (1.0 - a->smoothing) * sum + a->smoothing * total * (above + below / (double)a->V);
}

static double sigmoid_row(const vlmk_class_loss_fwd_args *a, int64_t r)
{
    const float *x = (const float *)a->x + r * a->V, *score = a->score;
    double sum = 0.0;
    for (int64_t c = 0; c < a->V; c++) sum += softplus((double)x[c]);
    for (int64_t j = a->offset[r]; j < a->offset[r + 1]; j++)
        sum -= (double)score[j] * (double)x[a->label[j]];
    return sum;
}

static void class_row_fwd(const vlmk_class_loss_fwd_args *a, int64_t r)
{
    const float *x = (const float *)a->x + r * a->V;
    float *row_loss = (float *)a->row_loss + r, *lse = (float *)a->lse + r;
    *row_loss = *lse = 0.0f;
    a->best[r] = 0;
    if (a->V == 0) return;
    int64_t best = best_of(x, a->V);
    a->best[r] = (int32_t)best;
    if (a->kind == VLMK_CLASS_SIGMOID) {
        *row_loss = (float)sigmoid_row(a, r);
        return;
    }
    double above = log(vf_exp_sum(x, a->V, x[best]));
    *lse = (float)((double)x[best] + above);
    *row_loss = (float)softmax_row(a, r, x[best], above);
}

static void class_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_class_loss_fwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->V), a->M);
    for (int64_t r = rows.first; r < rows.end; r++) class_row_fwd(a, r);
}

int VLMK_CPU(class_loss_fwd)(vlmk_env *env, const vlmk_class_loss_fwd_args *args)
{
    vlmk_class_loss_fwd_args a = *args;
    double loss = 0.0;
    parallel_spans(env, class_fwd_tile, &a, a.M, rows_per_tile(a.V));
    for (int64_t r = 0; r < a.M; r++)
        loss += (double)((const float *)a.row_weight)[r] * (double)((const float *)a.row_loss)[r];
    *(float *)a.loss = (float)loss;
    return VLMOE_OK;
}

/* Every class by what does not depend on labels, then each entry takes its score away. */
static void class_row_bwd(const vlmk_class_loss_bwd_args *a, int64_t r)
{
    const float *x = (const float *)a->x + r * a->V, *score = a->score;
    float *dx = (float *)a->dx + r * a->V, lse = ((const float *)a->lse)[r];
    double total = 0.0, keep = 1.0 - a->smoothing,
           factor = (double)*(const float *)a->dloss * (double)((const float *)a->row_weight)[r];
    for (int64_t j = a->offset[r]; j < a->offset[r + 1]; j++) total += (double)score[j];
    double spread = a->smoothing * total / (double)a->V;
    if (a->kind == VLMK_CLASS_SIGMOID) {
        keep = 1.0;
        for (int64_t c = 0; c < a->V; c++) dx[c] = (float)(factor / (1.0 + exp(-(double)x[c])));
    } else {
#define BODY                                                                                       \
    vf_store(dx + c, VLMOE_F32, n,                                                                 \
             (float)factor *                                                                       \
                 ((float)total * vf_exp(vf_load(x + c, VLMOE_F32, n) - lse) - (float)spread))
        VLMK_FOR_LANES(c, n, a->V, BODY);
#undef BODY
    }
    for (int64_t j = a->offset[r]; j < a->offset[r + 1]; j++)
        dx[a->label[j]] = (float)((double)dx[a->label[j]] - factor * keep * (double)score[j]);
}

static void class_bwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_class_loss_bwd_args *a = arg;
    (void)worker;
    tile_span rows = span_of(tile, rows_per_tile(a->V), a->M);
    for (int64_t r = rows.first; r < rows.end; r++) class_row_bwd(a, r);
}

int VLMK_CPU(class_loss_bwd)(vlmk_env *env, const vlmk_class_loss_bwd_args *args)
{
    vlmk_class_loss_bwd_args a = *args;
    if (a.V > 0) parallel_spans(env, class_bwd_tile, &a, a.M, rows_per_tile(a.V));
    return VLMOE_OK;
}

static void temper_fwd_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_temper_fwd_args *a = arg;
    (void)worker;
    const float *x = a->x, scale = (float)exp((double)*(const float *)a->s);
    tile_span span = span_of(tile, SUM_BLOCK, a->n);
    for (int64_t i = span.first; i < span.end; i++) ((float *)a->y)[i] = scale * x[i];
}

int VLMK_CPU(temper_fwd)(vlmk_env *env, const vlmk_temper_fwd_args *args)
{
    vlmk_temper_fwd_args a = *args;
    parallel_spans(env, temper_fwd_tile, &a, a.n, SUM_BLOCK);
    return VLMOE_OK;
}

typedef struct temper_job {
    const vlmk_temper_bwd_args *a;
    double *partial; /* of each block of SUM_BLOCK: sum of dy x; NULL = not wanted */
} temper_job;

static void temper_bwd_tile(void *arg, int64_t tile, int worker)
{
    const temper_job *job = arg;
    const vlmk_temper_bwd_args *a = job->a;
    (void)worker;
    const float *x = a->x, *dy = a->dy, scale = (float)exp((double)*(const float *)a->s);
    tile_span span = span_of(tile, SUM_BLOCK, a->n);
    double sum = 0.0;
    for (int64_t i = span.first; i < span.end; i++) {
        if (job->partial) sum += (double)dy[i] * (double)x[i];
        if (a->dx) ((float *)a->dx)[i] = scale * dy[i];
    }
    if (job->partial) job->partial[tile] = sum;
}

int VLMK_CPU(temper_bwd)(vlmk_env *env, const vlmk_temper_bwd_args *args)
{
    temper_job job = {.a = args};
    int64_t n_blocks = vlmk_cpu_ceil_div(args->n, SUM_BLOCK);
    if (args->ds) {
        job.partial = env->scratch(env, (size_t)(n_blocks + 1) * sizeof *job.partial);
        if (!job.partial) return VLMOE_E_NOMEM;
    }
    parallel_spans(env, temper_bwd_tile, &job, args->n, SUM_BLOCK);
    if (!args->ds) return VLMOE_OK;
    double sum = 0.0;
    for (int64_t b = 0; b < n_blocks; b++) sum += job.partial[b];
    float *ds = args->ds;
    float whole = (float)(sum * exp((double)*(const float *)args->s));
    *ds = args->accumulate_ds ? *ds + whole : whole;
    return VLMOE_OK;
}
