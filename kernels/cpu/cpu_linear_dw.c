/* linear_dw: dw = dy^T x per group, and db, summed over parts. Rows are cut in chunks; each chunk of
 * dy is transposed and each chunk of x packed once, padded with zero rows, so that every product is
 * dense. A tile of dw forms the product of a part's chunks in f32 scratch, adds the parts in order
 * there, and meets memory once: with experts of few rows it is that traffic, not the products, that
 * takes the time, so their tiles are whole rows of dw where they fit. */
#include "cpu_kernels.h"
#include "cpu_pack.h"

enum {
    CHUNK = 512,
    ROW_PAD = 16,
    FEW_ROWS = 128,
    STRIP_COLUMNS = 256,
    SHARED_TILE_N = 128, /* of one weight that many rows meet: operands that stay in cache */
    SHARED_TILE_K = 256,
    EXPERT_TILE_N = 64, /* of many weights: long runs of memory */
    EXPERT_TILE_K = 1024
};

typedef struct row_chunk {
    int64_t part, first, rows, padded;
    int64_t place; /* padded rows of all chunks before it */
} row_chunk;

typedef struct dw_job {
    const vlmk_linear_dw_args *args;
    int mm_dtype;
    int64_t tile_n, tile_k, n_chunks, n_tiles_n, n_tiles_k, block;
    row_chunk *chunk;
    int64_t *part_chunk; /* [G * n_parts + 1] chunks of group g, part p at g * n_parts + p */
    char *dy_t;          /* chunk at place * N: [N, padded] */
    char *x_packed;      /* chunk at place * k_all: tiles of tile_k columns, each packed */
    int64_t k_all;       /* K rounded up */
    char *worker_base;   /* per worker: a part's product, the sum of parts */
    size_t worker_stride;
    /* last tile of n, last tile of k, add, padded rows / ROW_PAD */
    vlmk_cpu_mm *mm[2][2][2][CHUNK / ROW_PAD + 1];
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

static int64_t stride_of(const vlmk_dw_part *p)
{
    return p->stride ? p->stride : 1;
}
static int64_t group_first(const vlmk_dw_part *p, int64_t g)
{
    return p->offset ? p->offset[g * stride_of(p)] : 0;
}
static int64_t group_end(const vlmk_dw_part *p, int64_t g)
{
    return p->offset ? p->offset[g * stride_of(p) + 1] : p->M;
}

/* Widths of tile t of `count` things in tiles of `part`. */
static int64_t width_of(int64_t t, int64_t part, int64_t count)
{
    int64_t left = count - t * part;
    return left < part ? left : part;
}

/* Rows of a chunk with zeros after them: a multiple of what packed b holds together along k
 * (cpu_dnnl.c), in fine steps where they are a large part of the work, in coarse ones where each
 * further size is a further primitive. */
static int64_t pad_rows(const dw_job *job, int64_t rows)
{
    int64_t step = job->mm_dtype == VLMOE_BF16 ? 2 * ROW_PAD : ROW_PAD;
    return vlmk_cpu_round_up(rows, rows <= FEW_ROWS ? step : 4 * ROW_PAD);
}

/* Their number when chunk is NULL. */
static int64_t cut_chunks(const dw_job *job, row_chunk *chunk, int64_t *part_chunk)
{
    const vlmk_linear_dw_args *a = job->args;
    int64_t n = 0, place = 0;
    for (int64_t i = 0; i < a->G * a->n_parts; i++) {
        int64_t part = i % a->n_parts, g = i / a->n_parts, end = group_end(&a->part[part], g);
        if (part_chunk) part_chunk[i] = n;
        for (int64_t r = group_first(&a->part[part], g); r < end; r += CHUNK, n++) {
            if (!chunk) continue;
            int64_t rows = end - r < CHUNK ? end - r : CHUNK;
            chunk[n] = (row_chunk){.part = part,
                                   .first = r,
                                   .rows = rows,
                                   .padded = pad_rows(job, rows),
                                   .place = place};
            place += chunk[n].padded;
        }
    }
    if (part_chunk) part_chunk[a->G * a->n_parts] = n;
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
    const vlmk_dw_part *from = &a->part[chunk->part];
    int64_t strip = tile % prepare_tiles(job), n_strips = vlmk_cpu_ceil_div(a->N, STRIP_COLUMNS);
    size_t bytes = dtype_bytes(job->mm_dtype);
    vlmk_cpu_pack p = {.src_dtype = a->dtype,
                       .dst_dtype = job->mm_dtype,
                       .k = chunk->rows,
                       .k_pad = chunk->padded};
    if (strip < n_strips) {
        int64_t first = strip * STRIP_COLUMNS;
        p.src = at(from->dy, a->dtype, chunk->first * a->N + first);
        p.ld = a->N;
        p.n = width_of(strip, STRIP_COLUMNS, a->N);
        p.dst = job->dy_t + (size_t)(chunk->place * a->N + first * chunk->padded) * bytes;
        vlmk_cpu_pack_transpose(&p);
        return;
    }
    int64_t first = (strip - n_strips) * job->tile_k;
    p.src = at(from->x, a->dtype, chunk->first * a->K + first);
    p.ld = a->K;
    p.n = width_of(strip - n_strips, job->tile_k, a->K);
    p.n_pad = vlmk_cpu_round_up(p.n, PACK_N);
    p.block = job->block ? job->block : p.n_pad;
    p.dst = job->x_packed + (size_t)(chunk->place * job->k_all + first * chunk->padded) * bytes;
    vlmk_cpu_pack_from_columns(&p);
}

/* Where a tile of dw stands. */
typedef struct dw_place {
    int64_t g, first_n, first_k, rows, columns;
    int64_t ld; /* of the tile in scratch */
    float *dw;
} dw_place;

static dw_place place_of(const dw_job *job, int64_t tile)
{
    const vlmk_linear_dw_args *a = job->args;
    int64_t tn = tile % job->n_tiles_n, tk = tile / job->n_tiles_n % job->n_tiles_k;
    dw_place p = {.g = tile / job->n_tiles_n / job->n_tiles_k,
                  .first_n = tn * job->tile_n,
                  .first_k = tk * job->tile_k,
                  .rows = width_of(tn, job->tile_n, a->N),
                  .columns = width_of(tk, job->tile_k, a->K)};
    p.ld = vlmk_cpu_round_up(p.columns, PACK_N);
    p.dw = (float *)a->dw + (p.g * a->N + p.first_n) * a->K + p.first_k;
    return p;
}

/* to = base + add; base NULL: 0. The last +0 is for zeros: a sum that starts at +0 has no negative
 * one, and base may have skipped that start. */
typedef struct sum_rows {
    float *to;
    const float *base, *add;
    int64_t to_ld, base_ld, add_ld;
    int64_t rows, columns;
    int past_cache; /* written once and read much later: do not fetch the line */
} sum_rows;

VLMK_INLINE void store_sum(float *to, vf sum, int64_t n, int past_cache)
{
#if VLMK_VECTOR_BYTES == 64
    if (past_cache && n == VL) {
        _mm512_stream_ps(to, (__m512)sum);
        return;
    }
#endif
    (void)past_cache;
    vf_store(to, VLMOE_F32, n, sum);
}

static void add_rows(const sum_rows *s)
{
    for (int64_t r = 0; r < s->rows; r++) {
        float *to = s->to + r * s->to_ld;
        const float *base = s->base ? s->base + r * s->base_ld : NULL;
        const float *add = s->add + r * s->add_ld;
        int past_cache = s->past_cache && (uintptr_t)to % VLMK_VECTOR_BYTES == 0;
#define BODY                                                                                       \
    store_sum(to + c,                                                                              \
              (base ? vf_load(base + c, VLMOE_F32, n) : vf_set(0.0f)) +                            \
                  vf_load(add + c, VLMOE_F32, n) + 0.0f,                                           \
              n, past_cache)
        VLMK_FOR_LANES(c, n, s->columns, BODY);
#undef BODY
    }
#if VLMK_VECTOR_BYTES == 64
    if (s->past_cache)
        _mm_sfence(); /* the team's signal of a done tile does not order these stores */
#endif
}

/* The product of one part's chunks begin .. end-1 into result. */
typedef struct product_span {
    int64_t begin, end; /* chunks */
    int adds;           /* to what is in result */
} product_span;

static int part_product(const dw_job *job, const dw_place *p, int worker, product_span span,
                        float *result)
{
    size_t bytes = dtype_bytes(job->mm_dtype);
    for (int64_t c = span.begin; c < span.end; c++) {
        const row_chunk *chunk = &job->chunk[c];
        vlmk_cpu_mm *mm = job->mm[p->rows < job->tile_n][p->columns < job->tile_k]
                                 [span.adds || c > span.begin][chunk->padded / ROW_PAD];
        const char *dy =
            job->dy_t + (size_t)(chunk->place * job->args->N + p->first_n * chunk->padded) * bytes;
        const char *x = job->x_packed +
                        (size_t)(chunk->place * job->k_all + p->first_k * chunk->padded) * bytes;
        int status = vlmk_cpu_mm_run(mm, worker, dy, x, result);
        if (status) return status;
    }
    return VLMOE_OK;
}

static void no_rows(const dw_job *job, const dw_place *p)
{
    for (int64_t r = 0; !job->args->accumulate && r < p->rows; r++)
        memset(p->dw + r * job->args->K, 0, (size_t)p->columns * sizeof *p->dw);
}

static void dw_tile(void *arg, int64_t tile, int worker)
{
    dw_job *job = arg;
    const vlmk_linear_dw_args *a = job->args;
    dw_place p = place_of(job, tile);
    const int64_t *chunk = job->part_chunk + p.g * a->n_parts;
    float *result = (float *)(void *)(job->worker_base + (size_t)worker * job->worker_stride);
    float *sum = result + job->tile_n * vlmk_cpu_round_up(job->tile_k, PACK_N);
    int64_t last = a->n_parts - 1;
    while (last >= 0 && chunk[last] == chunk[last + 1]) last--;
    if (last < 0) no_rows(job, &p);
    sum_rows s = {.base = a->accumulate ? p.dw : NULL,
                  .base_ld = a->K,
                  .add = result,
                  .add_ld = p.ld,
                  .rows = p.rows,
                  .columns = p.columns};
    for (int64_t i = 0, is_first = 1; i <= last; i++) {
        if (chunk[i] == chunk[i + 1]) continue;
        /* What need not be added to memory goes straight to the sum: a first part as it is, a later
         * one by the product's own addition, done while its result is in registers. */
        int is_last = i == last, begins = is_first && !a->accumulate && !is_last,
            adds = !is_first && !is_last && chunk[i] + 1 == chunk[i + 1];
        product_span span = {chunk[i], chunk[i + 1], adds};
        int status = part_product(job, &p, worker, span, begins || adds ? sum : result);
        if (status) {
            __atomic_store_n(&job->failed, status, __ATOMIC_RELAXED);
            return;
        }
        s.to = is_last ? p.dw : sum;
        s.to_ld = is_last ? a->K : p.ld;
        s.past_cache = is_last && !a->accumulate && a->G > 1;
        if (!begins && !adds) add_rows(&s);
        s.base = sum;
        s.base_ld = p.ld;
        is_first = 0;
    }
}

/* Column sums of dy for STRIP_COLUMNS columns of one group: rows in order, then parts. */
static void db_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_linear_dw_args *a = ((const dw_job *)arg)->args;
    (void)worker;
    int64_t n_strips = vlmk_cpu_ceil_div(a->N, STRIP_COLUMNS);
    int64_t g = tile / n_strips, first = tile % n_strips * STRIP_COLUMNS,
            columns = width_of(tile % n_strips, STRIP_COLUMNS, a->N);
    float *db = (float *)a->db + g * a->N + first;
    for (int64_t c = 0; !a->accumulate && c < columns; c++) db[c] = 0.0f;
    for (int64_t i = 0; i < a->n_parts; i++) {
        const vlmk_dw_part *from = &a->part[i];
        float sum[STRIP_COLUMNS] = {0};
        for (int64_t r = group_first(from, g); r < group_end(from, g); r++) {
#define BODY                                                                                       \
    vf_store(sum + c, VLMOE_F32, VL,                                                               \
             load_f32(sum + c) + load_at(from->dy, a->dtype, r * a->N + first + c, n))
            VLMK_FOR_LANES(c, n, columns, BODY);
#undef BODY
        }
        for (int64_t c = 0; c < columns; c++) db[c] += sum[c];
    }
}

static int find_product(vlmk_env *env, dw_job *job, int last_n, int last_k, int64_t padded)
{
    const vlmk_linear_dw_args *a = job->args;
    for (int add = 0; add < 2; add++) {
        vlmk_cpu_mm **slot = &job->mm[last_n][last_k][add][padded / ROW_PAD];
        int64_t rows = last_n ? a->N % job->tile_n : job->tile_n,
                columns = last_k ? a->K % job->tile_k : job->tile_k;
        *slot = vlmk_cpu_mm_get(env, (vlmk_cpu_mm_shape){.m = rows,
                                                         .n = vlmk_cpu_round_up(columns, PACK_N),
                                                         .k = padded,
                                                         .dtype = job->mm_dtype,
                                                         .add = add});
        if (!*slot) return VLMOE_E_NOMEM;
        job->block = vlmk_cpu_mm_block(*slot) == PACK_N ? PACK_N : 0;
    }
    return VLMOE_OK;
}

/* Every primitive that any split of rows will ever ask for, so that later steps make none. */
static int find_products(vlmk_env *env, dw_job *job)
{
    const vlmk_linear_dw_args *a = job->args;
    for (int last = 0; last < 4; last++) {
        int last_n = last / 2, last_k = last % 2;
        int exists_n = last_n ? a->N % job->tile_n != 0 : a->N >= job->tile_n;
        int exists_k = last_k ? a->K % job->tile_k != 0 : a->K >= job->tile_k;
        if (!exists_n || !exists_k) continue;
        for (int64_t rows = 1; rows <= CHUNK; rows = pad_rows(job, rows) + 1) {
            int status = find_product(env, job, last_n, last_k, pad_rows(job, rows));
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
    /* by what the weights are, not by how many: one expert alone gets the bits it has among others */
    int is_experts = a->n_parts > 0 && a->part->offset;
    job->tile_n = is_experts ? EXPERT_TILE_N : SHARED_TILE_N;
    job->tile_k = is_experts ? EXPERT_TILE_K : SHARED_TILE_K;
    job->n_tiles_n = vlmk_cpu_ceil_div(a->N, job->tile_n);
    job->n_tiles_k = vlmk_cpu_ceil_div(a->K, job->tile_k);
    job->k_all = vlmk_cpu_round_up(a->K, PACK_N);
    job->n_chunks = cut_chunks(job, NULL, NULL);
    job->chunk = env->scratch(env, (size_t)(job->n_chunks + 1) * sizeof *job->chunk);
    job->part_chunk = env->scratch(env, (size_t)(a->G * a->n_parts + 1) * sizeof *job->part_chunk);
    if (!job->chunk || !job->part_chunk) return VLMOE_E_NOMEM;
    cut_chunks(job, job->chunk, job->part_chunk);
    int status = find_products(env, job);
    if (status) return status;
    const row_chunk *last = job->n_chunks ? &job->chunk[job->n_chunks - 1] : NULL;
    int64_t padded = last ? last->place + last->padded : 0;
    size_t bytes = dtype_bytes(job->mm_dtype);
    size_t tile = (size_t)(job->tile_n * vlmk_cpu_round_up(job->tile_k, PACK_N)) * sizeof(float);
    job->dy_t = env->scratch(env, (size_t)(padded * a->N) * bytes);
    job->x_packed = env->scratch(env, (size_t)(padded * job->k_all) * bytes);
    job->worker_base =
        vlmk_cpu_worker_scratch(env, (a->n_parts > 1 ? 2 : 1) * tile, &job->worker_stride);
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
        for (int64_t c = 0; c < job.n_chunks; c++)
            count_flops(env, (double)job.chunk[c].rows * (double)args->N * (double)args->K);
    }
    if (args->db)
        vlmk_cpu_parallel(env, db_tile, &job, args->G * vlmk_cpu_ceil_div(args->N, STRIP_COLUMNS));
    return job.failed;
}
