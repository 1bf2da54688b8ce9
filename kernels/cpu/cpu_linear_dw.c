/* linear_dw: dw = dy^T x per group, and db. Rows are cut in chunks; each chunk of dy is
 * transposed and each chunk of x packed once, padded with zero rows to a multiple of 32, so that
 * every product is dense. A tile of dw sums its group's chunks in order in f32 scratch and is
 * then added to memory once. */
#include "cpu_kernels.h"
#include "cpu_pack.h"

enum { CHUNK = 512, TILE_N = 128, TILE_K = 256, STRIP_COLUMNS = 256 };

typedef struct row_chunk {
    int64_t first, rows, padded;
    int64_t place; /* padded rows of all chunks before it */
} row_chunk;

typedef struct dw_job {
    const vlmk_linear_dw_args *args;
    int mm_dtype;
    int64_t n_chunks, n_tiles_n, n_tiles_k, block;
    row_chunk *chunk;
    int64_t *group_chunk; /* [G + 1] chunks of group g */
    char *dy_t;           /* chunk at place * N: [N, padded] */
    char *x_packed;       /* chunk at place * k_all: tiles of TILE_K columns, each packed */
    int64_t k_all;        /* K rounded up */
    char *worker_base;
    size_t worker_stride;
    /* last tile of n, last tile of k, add, padded rows / 32 */
    vlmk_cpu_mm *mm[2][2][2][CHUNK / PACK_K + 1];
    int failed;
} dw_job;

int VLMK_CPU(has_bf16_products)(vlmk_env *env)
{
#if defined(__AVX512BF16__)
    return vlmk_cpu_mm_get(
               env, (vlmk_cpu_mm_shape){.m = 64, .n = PACK_N, .k = PACK_K, .dtype = VLMOE_BF16}) !=
           NULL;
#else
    (void)env;
    return 0;
#endif
}

static int64_t group_first(const vlmk_linear_dw_args *a, int64_t g)
{
    return a->offset ? a->offset[g] : 0;
}
static int64_t group_end(const vlmk_linear_dw_args *a, int64_t g)
{
    return a->offset ? a->offset[g + 1] : a->M;
}

/* Widths of tile t of `count` things in tiles of `part`. */
static int64_t width_of(int64_t t, int64_t part, int64_t count)
{
    int64_t left = count - t * part;
    return left < part ? left : part;
}

static int64_t cut_chunks(const vlmk_linear_dw_args *a, row_chunk *chunk, int64_t *group_chunk)
{
    int64_t n = 0, place = 0;
    for (int64_t g = 0; g < a->G; g++) {
        int64_t end = group_end(a, g);
        if (group_chunk) group_chunk[g] = n;
        for (int64_t r = group_first(a, g); r < end; r += CHUNK, n++) {
            if (!chunk) continue;
            int64_t rows = end - r < CHUNK ? end - r : CHUNK,
                    padded = vlmk_cpu_round_up(rows, PACK_K);
            chunk[n] = (row_chunk){.first = r, .rows = rows, .padded = padded, .place = place};
            place += padded;
        }
    }
    if (group_chunk) group_chunk[a->G] = n;
    return n;
}

/* Tiles per chunk: strips of columns of dy to transpose, then tiles of columns of x to pack. */
static int64_t prepare_tiles(const dw_job *job)
{
    return vlmk_cpu_ceil_div(job->args->N, STRIP_COLUMNS) + job->n_tiles_k;
}

static void prepare_tile(void *arg, int64_t tile, int worker)
{
    const dw_job *job = arg;
    const vlmk_linear_dw_args *a = job->args;
    (void)worker;
    const row_chunk *chunk = &job->chunk[tile / prepare_tiles(job)];
    int64_t part = tile % prepare_tiles(job), n_strips = vlmk_cpu_ceil_div(a->N, STRIP_COLUMNS);
    size_t bytes = dtype_bytes(job->mm_dtype);
    vlmk_cpu_pack p = {.src_dtype = a->dtype,
                       .dst_dtype = job->mm_dtype,
                       .k = chunk->rows,
                       .k_pad = chunk->padded};
    if (part < n_strips) {
        int64_t first = part * STRIP_COLUMNS;
        p.src = at(a->dy, a->dtype, chunk->first * a->N + first);
        p.ld = a->N;
        p.n = width_of(part, STRIP_COLUMNS, a->N);
        p.dst = job->dy_t + (size_t)(chunk->place * a->N + first * chunk->padded) * bytes;
        vlmk_cpu_pack_transpose(&p);
        return;
    }
    int64_t first = (part - n_strips) * TILE_K;
    p.src = at(a->x, a->dtype, chunk->first * a->K + first);
    p.ld = a->K;
    p.n = width_of(part - n_strips, TILE_K, a->K);
    p.n_pad = vlmk_cpu_round_up(p.n, PACK_N);
    p.block = job->block ? job->block : p.n_pad;
    p.dst = job->x_packed + (size_t)(chunk->place * job->k_all + first * chunk->padded) * bytes;
    vlmk_cpu_pack_from_columns(&p);
}

/* Rows of `result` (ld floats apart) to, or onto, a tile of dw. */
static void put_tile(const dw_job *job, float *dw, const float *result, int64_t rows,
                     int64_t columns)
{
    int64_t ld = vlmk_cpu_round_up(columns, PACK_N), K = job->args->K;
    for (int64_t r = 0; r < rows; r++) {
        float *out = dw + r * K;
        const float *in = result + r * ld;
#define BODY                                                                                       \
    vf_store(out + c, VLMOE_F32, n,                                                                \
             job->args->accumulate                                                                 \
                 ? vf_load(out + c, VLMOE_F32, n) + vf_load(in + c, VLMOE_F32, n)                  \
                 : vf_load(in + c, VLMOE_F32, n))
        VLMK_FOR_LANES(c, n, columns, BODY);
#undef BODY
    }
}

static void dw_tile(void *arg, int64_t tile, int worker)
{
    dw_job *job = arg;
    const vlmk_linear_dw_args *a = job->args;
    int64_t tn = tile % job->n_tiles_n, tk = tile / job->n_tiles_n % job->n_tiles_k,
            g = tile / job->n_tiles_n / job->n_tiles_k;
    int64_t first_n = tn * TILE_N, first_k = tk * TILE_K;
    int64_t rows = width_of(tn, TILE_N, a->N), columns = width_of(tk, TILE_K, a->K);
    float *result = (float *)(void *)(job->worker_base + (size_t)worker * job->worker_stride);
    float *dw = (float *)a->dw + (g * a->N + first_n) * a->K + first_k;
    int64_t begin = job->group_chunk[g], end = job->group_chunk[g + 1];
    if (begin == end) {
        for (int64_t r = 0; !a->accumulate && r < rows; r++)
            memset(dw + r * a->K, 0, (size_t)columns * sizeof *dw);
        return;
    }
    size_t bytes = dtype_bytes(job->mm_dtype);
    for (int64_t c = begin; c < end; c++) {
        const row_chunk *chunk = &job->chunk[c];
        vlmk_cpu_mm *mm =
            job->mm[rows < TILE_N][columns < TILE_K][c > begin][chunk->padded / PACK_K];
        int status = vlmk_cpu_mm_run(
            mm, worker, job->dy_t + (size_t)(chunk->place * a->N + first_n * chunk->padded) * bytes,
            job->x_packed + (size_t)(chunk->place * job->k_all + first_k * chunk->padded) * bytes,
            result);
        if (status) {
            __atomic_store_n(&job->failed, status, __ATOMIC_RELAXED);
            return;
        }
    }
    put_tile(job, dw, result, rows, columns);
}

/* Column sums of dy, rows in order, for STRIP_COLUMNS columns of one group. */
static void db_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_linear_dw_args *a = ((const dw_job *)arg)->args;
    (void)worker;
    int64_t n_strips = vlmk_cpu_ceil_div(a->N, STRIP_COLUMNS);
    int64_t g = tile / n_strips, first = tile % n_strips * STRIP_COLUMNS,
            columns = width_of(tile % n_strips, STRIP_COLUMNS, a->N);
    float sum[STRIP_COLUMNS] = {0};
    for (int64_t r = group_first(a, g); r < group_end(a, g); r++) {
#define BODY                                                                                       \
    vf_store(sum + c, VLMOE_F32, VL,                                                               \
             load_f32(sum + c) + load_at(a->dy, a->dtype, r * a->N + first + c, n))
        VLMK_FOR_LANES(c, n, columns, BODY);
#undef BODY
    }
    float *db = (float *)a->db + g * a->N + first;
    for (int64_t c = 0; c < columns; c++) db[c] = a->accumulate ? db[c] + sum[c] : sum[c];
}

static int find_product(vlmk_env *env, dw_job *job, int last_n, int last_k, int add, int64_t padded)
{
    const vlmk_linear_dw_args *a = job->args;
    vlmk_cpu_mm **slot = &job->mm[last_n][last_k][add][padded / PACK_K];
    int64_t rows = last_n ? a->N % TILE_N : TILE_N, columns = last_k ? a->K % TILE_K : TILE_K;
    *slot = vlmk_cpu_mm_get(env, (vlmk_cpu_mm_shape){.m = rows,
                                                     .n = vlmk_cpu_round_up(columns, PACK_N),
                                                     .k = padded,
                                                     .dtype = job->mm_dtype,
                                                     .add = add});
    if (!*slot) return VLMOE_E_NOMEM;
    job->block = vlmk_cpu_mm_block(*slot) == PACK_N ? PACK_N : 0;
    return VLMOE_OK;
}

/* Every primitive that any split of rows will ever ask for, so that later steps make none. */
static int find_products(vlmk_env *env, dw_job *job)
{
    const vlmk_linear_dw_args *a = job->args;
    for (int last = 0; last < 4; last++) {
        int last_n = last / 2, last_k = last % 2;
        int exists_n = last_n ? a->N % TILE_N != 0 : a->N >= TILE_N;
        int exists_k = last_k ? a->K % TILE_K != 0 : a->K >= TILE_K;
        if (!exists_n || !exists_k) continue;
        for (int64_t padded = PACK_K; padded <= CHUNK; padded += PACK_K)
            for (int add = 0; add < 2; add++) {
                int status = find_product(env, job, last_n, last_k, add, padded);
                if (status) return status;
            }
    }
    return VLMOE_OK;
}

static int plan(vlmk_env *env, dw_job *job)
{
    const vlmk_linear_dw_args *a = job->args;
    int is_bf16 = a->dtype == VLMOE_BF16 && VLMK_CPU(has_bf16_products)(env);
    job->mm_dtype = is_bf16 ? VLMOE_BF16 : VLMOE_F32;
    job->n_tiles_n = vlmk_cpu_ceil_div(a->N, TILE_N);
    job->n_tiles_k = vlmk_cpu_ceil_div(a->K, TILE_K);
    job->k_all = vlmk_cpu_round_up(a->K, PACK_N);
    job->n_chunks = cut_chunks(a, NULL, NULL);
    job->chunk = env->scratch(env, (size_t)(job->n_chunks + 1) * sizeof *job->chunk);
    job->group_chunk = env->scratch(env, (size_t)(a->G + 1) * sizeof *job->group_chunk);
    if (!job->chunk || !job->group_chunk) return VLMOE_E_NOMEM;
    cut_chunks(a, job->chunk, job->group_chunk);
    int status = find_products(env, job);
    if (status) return status;
    int64_t padded =
        job->n_chunks ? job->chunk[job->n_chunks - 1].place + job->chunk[job->n_chunks - 1].padded
                      : 0;
    size_t bytes = dtype_bytes(job->mm_dtype);
    job->dy_t = env->scratch(env, (size_t)(padded * a->N) * bytes);
    job->x_packed = env->scratch(env, (size_t)(padded * job->k_all) * bytes);
    job->worker_base =
        vlmk_cpu_worker_scratch(env, TILE_N * TILE_K * sizeof(float), &job->worker_stride);
    return job->dy_t && job->x_packed && job->worker_base ? VLMOE_OK : VLMOE_E_NOMEM;
}

int VLMK_CPU(linear_dw)(vlmk_env *env, const vlmk_linear_dw_args *args)
{
    dw_job job = {.args = args};
    if (args->dw && args->N > 0 && args->K > 0) {
        int status = plan(env, &job);
        if (status) return status;
        vlmk_cpu_parallel(env, prepare_tile, &job, job.n_chunks * prepare_tiles(&job));
        vlmk_cpu_parallel(env, dw_tile, &job, args->G * job.n_tiles_n * job.n_tiles_k);
        for (int64_t g = 0; g < args->G; g++)
            count_flops(env, (double)(group_end(args, g) - group_first(args, g)) * (double)args->N *
                                 (double)args->K);
    }
    if (args->db)
        vlmk_cpu_parallel(env, db_tile, &job, args->G * vlmk_cpu_ceil_div(args->N, STRIP_COLUMNS));
    return job.failed;
}
