/* Nearest code of each vector, by largest dot product: blocks of vectors against all codes
 * through the small product, the best of each row kept. */
#include "cpu_kernels.h"
#include "cpu_micro.h"

enum { VECTOR_BLOCK = 8 * MICRO_ROWS, CODE_BLOCK = 512 };

typedef struct vq_job {
    const vlmk_vq_assign_args *a;
    int64_t codes_pad, c_pad;
    float *codes_t; /* [c_pad, codes_pad]: codes transposed, padding zero */
    char *worker_base;
    size_t worker_stride;
} vq_job;

static void transpose_tile(void *arg, int64_t tile, int worker)
{
    const vq_job *job = arg;
    const vlmk_vq_assign_args *a = job->a;
    (void)worker;
    tile_span codes = span_of(tile, CODE_BLOCK, job->codes_pad);
    for (int64_t i = codes.first; i < codes.end; i += VL)
        for (int64_t c = 0; c < job->c_pad; c += VL) {
            vu square[VL];
            for (int r = 0; r < VL; r++) {
                int64_t n = a->C - c < VL ? a->C - c : VL;
                square[r] =
                    i + r < a->n_codes
                        ? (vu)vf_load((const float *)a->code + (i + r) * a->C + c, VLMOE_F32, n)
                        : (vu){0};
            }
            vu_transpose(square);
            for (int r = 0; r < VL; r++)
                store_f32(job->codes_t + (c + r) * job->codes_pad + i, (vf)square[r]);
        }
}

/* The first of the largest of n scores, if it beats *best. */
static void take_best(const float *score, int64_t n, int64_t first_code, float *best,
                      int32_t *index)
{
    vf top = vf_set(-INFINITY);
    int64_t j = 0;
    for (; j + VL <= n; j += VL) top = vf_max(top, load_f32(score + j));
    float largest = vf_top(top);
    for (; j < n; j++)
        if (score[j] > largest) largest = score[j];
    if (!(largest > *best)) return;
    *best = largest;
    for (j = 0; score[j] != largest; j++) continue;
    *index = (int32_t)(first_code + j);
}

static void assign_tile(void *arg, int64_t tile, int worker)
{
    const vq_job *job = arg;
    const vlmk_vq_assign_args *a = job->a;
    tile_span rows = span_of(tile, VECTOR_BLOCK, a->M);
    int64_t n = rows.end - rows.first;
    float *z = (float *)(void *)(job->worker_base + (size_t)worker * job->worker_stride),
          *score = z + VECTOR_BLOCK * job->c_pad;
    float best[VECTOR_BLOCK];
    memset(z, 0, (size_t)(VECTOR_BLOCK * job->c_pad) * sizeof *z);
    for (int64_t r = 0; r < n; r++) {
        memcpy(z + r * job->c_pad, (const float *)a->z + (rows.first + r) * a->C,
               (size_t)a->C * sizeof *z);
        best[r] = -INFINITY;
        a->index[rows.first + r] = 0;
    }
    for (int64_t first = 0; first < a->n_codes; first += CODE_BLOCK) {
        int64_t count = a->n_codes - first < CODE_BLOCK ? a->n_codes - first : CODE_BLOCK;
        micro_operands o = {.a = z,
                            .a_row = job->c_pad,
                            .a_column = 1,
                            .b = job->codes_t + first,
                            .ldb = job->codes_pad,
                            .c = score,
                            .ldc = CODE_BLOCK};
        micro_product(&o, n, count, a->C);
        for (int64_t r = 0; r < n; r++)
            take_best(score + r * CODE_BLOCK, count, first, &best[r], &a->index[rows.first + r]);
    }
}

int VLMK_CPU(vq_assign)(vlmk_env *env, const vlmk_vq_assign_args *args)
{
    vq_job job = {.a = args,
                  .codes_pad = vlmk_cpu_round_up(args->n_codes, VL),
                  .c_pad = vlmk_cpu_round_up(args->C, VL)};
    job.codes_t = env->scratch(env, (size_t)(job.codes_pad * job.c_pad) * sizeof(float));
    job.worker_base = vlmk_cpu_worker_scratch(
        env, (size_t)(VECTOR_BLOCK * (job.c_pad + CODE_BLOCK)) * sizeof(float), &job.worker_stride);
    if (!job.codes_t || !job.worker_base) return VLMOE_E_NOMEM;
    parallel_spans(env, transpose_tile, &job, job.codes_pad, CODE_BLOCK);
    parallel_spans(env, assign_tile, &job, args->M, VECTOR_BLOCK);
    count_flops(env, (double)args->M * (double)args->n_codes * (double)args->C);
    return VLMOE_OK;
}
