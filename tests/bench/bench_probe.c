/* What this machine can do, on command: "fma" and "bf16" (multiply-adds in registers, all cores), "product_f32" and "product_bf16" (best of large
 * products of oneDNN on its own threads), "read" and "triad" (memory). Each answers with one line of GFLOP/s or GB/s.
 * usage: bench_probe [THREADS]      default: the cores this process may use */
#include <dnnl.h>
#include <immintrin.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_team.h"
#include "shared_bench.h"

static const char NAME[] = "bench_probe";
static const double SHORTEST =
    0.05; /* seconds of one measurement: long beside a timer and a context switch */

/* ---- registers ---- */

/* Twelve chains: more than latency times units of any x86 core. Each function does `rounds` rounds and returns the work of one. */
#define CHAINS 12
typedef double (*register_fn)(int64_t rounds, float *sink);

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double fma_512(int64_t rounds, float *sink)
{
    __m512 c[CHAINS], a = _mm512_set1_ps(1.0000001F), b = _mm512_set1_ps(1e-9F);
    for (int i = 0; i < CHAINS; i++) c[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) c[i] = _mm512_fmadd_ps(a, c[i], b);
    for (int i = 0; i < CHAINS; i++) *sink += _mm512_reduce_add_ps(c[i]);
    return CHAINS * 16 * 2.0;
}

__attribute__((target("avx512f,avx512bf16"))) static double dot_bf16_512(int64_t rounds,
                                                                         float *sink)
{
    __m512 c[CHAINS];
    __m512bh a = (__m512bh)_mm512_set1_epi32(0x00010001),
             b = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    for (int i = 0; i < CHAINS; i++) c[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) c[i] = _mm512_dpbf16_ps(c[i], a, b);
    for (int i = 0; i < CHAINS; i++) *sink += _mm512_reduce_add_ps(c[i]);
    return CHAINS * 32 * 2.0;
}

__attribute__((target("avx2,fma"))) static double fma_256(int64_t rounds, float *sink)
{
    __m256 c[CHAINS], a = _mm256_set1_ps(1.0000001F), b = _mm256_set1_ps(1e-9F);
    for (int i = 0; i < CHAINS; i++) c[i] = _mm256_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) c[i] = _mm256_fmadd_ps(a, c[i], b);
    for (int i = 0; i < CHAINS; i++) *sink += _mm256_cvtss_f32(c[i]);
    return CHAINS * 8 * 2.0;
}

static register_fn f32_function(void)
{
    if (__builtin_cpu_supports("avx512f")) return fma_512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? fma_256 : NULL;
}
static register_fn bf16_function(void)
{
    return __builtin_cpu_supports("avx512bf16") ? dot_bf16_512 : NULL;
}
#else
static register_fn f32_function(void)
{
    return NULL;
}
static register_fn bf16_function(void)
{
    return NULL;
}
#endif

typedef struct register_job {
    register_fn fn;
    int64_t rounds;
    double work;
    float sink[64];
} register_job;

static void register_tile(void *arg, int64_t tile, int worker)
{
    register_job *job = arg;
    float sink = 0.0F;
    (void)worker;
    double work = job->fn(job->rounds, &sink);
    job->sink[tile % 64] = sink;
    if (tile == 0) job->work = work;
}

/* GFLOP/s of all workers; 0 where the machine lacks the instructions. */
static double in_registers(vlm_team *team, register_fn fn)
{
    if (!fn) return 0.0;
    int n = vlm_team_size(team);
    register_job job = {.fn = fn, .rounds = 1 << 20};
    for (;;) {
        double begin = vlm_now();
        vlm_team_run(team, register_tile, &job, n);
        double seconds = vlm_now() - begin;
        if (seconds > SHORTEST) return job.work * (double)job.rounds * n / seconds * 1e-9;
        job.rounds *= 2;
    }
}

/* ---- memory ---- */

enum { MEMORY_BYTES = 3 << 27, PIECE = 1 << 16 }; /* beyond any cache; bytes of a tile */
typedef struct memory_job {
    float *at;
    int64_t n;   /* elements of one array */
    float *sums; /* a tile */
} memory_job;

static void read_tile(void *arg, int64_t tile, int worker)
{
    const memory_job *job = arg;
    enum { N = PIECE / (int)sizeof(float), LANES = 64 };
    const float *x = job->at + tile * N;
    float sum[LANES] = {0};
    (void)worker;
    for (int i = 0; i < N; i += LANES)
        for (int j = 0; j < LANES; j++) sum[j] += x[i + j];
    for (int j = 1; j < LANES; j++) sum[0] += sum[j];
    job->sums[tile] = sum[0];
}

static void triad_tile(void *arg, int64_t tile, int worker)
{
    const memory_job *job = arg;
    enum { N = PIECE / (int)sizeof(float) };
    float *a = job->at + tile * N;
    const float *b = a + job->n, *c = b + job->n;
    (void)worker;
    for (int i = 0; i < N; i++) a[i] = b[i] + 3.0F * c[i];
}

/* GB/s: reading all of it, or a = b + 3 c over thirds, the write counted once. */
static double of_memory(vlm_team *team, memory_job *job, bool is_triad)
{
    double best = 0.0;
    int64_t tiles = (is_triad ? MEMORY_BYTES / 3 : MEMORY_BYTES) / PIECE;
    for (int i = 0; i < 3; i++) {
        double begin = vlm_now();
        vlm_team_run(team, is_triad ? triad_tile : read_tile, job, tiles);
        best = VLM_MAX(best, (double)MEMORY_BYTES / (vlm_now() - begin) * 1e-9);
    }
    return best;
}

/* ---- products ---- */

typedef struct product {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[3];
} product;

static const int ROLES[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};

/* n x n x n with operands in whatever layout oneDNN likes best. False: not for this type here. */
static bool product_make(product *p, int64_t n, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {n, n};
    dnnl_memory_desc_t any, out;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t chosen = NULL;
    dnnl_memory_desc_init_by_tag(&any, 2, dims, type, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&out, 2, dims, type, dnnl_ab);
    if (dnnl_matmul_desc_init(&desc, &any, &any, NULL, &out) != dnnl_success) return false;
    if (dnnl_primitive_desc_create(&chosen, &desc, NULL, p->engine, NULL) != dnnl_success)
        return false;
    const dnnl_query_t queries[3] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md};
    bool is_good = dnnl_primitive_create(&p->primitive, chosen) == dnnl_success;
    for (int i = 0; is_good && i < 3; i++) {
        const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(chosen, queries[i], 0);
        is_good =
            dnnl_memory_create(&p->memory[i], md, p->engine, DNNL_MEMORY_ALLOCATE) == dnnl_success;
        void *data = NULL;
        if (is_good && dnnl_memory_get_data_handle(p->memory[i], &data) == dnnl_success)
            memset(data, 0x3c, dnnl_memory_desc_get_size(md)); /* about 0.01 in both types */
    }
    dnnl_primitive_desc_destroy(chosen);
    return is_good;
}

static void product_free(product *p)
{
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    for (int i = 0; i < 3; i++)
        if (p->memory[i]) dnnl_memory_destroy(p->memory[i]);
    p->primitive = NULL;
    memset(p->memory, 0, sizeof p->memory);
}

static double product_seconds(product *p)
{
    dnnl_exec_arg_t args[3];
    for (int i = 0; i < 3; i++) args[i] = (dnnl_exec_arg_t){ROLES[i], p->memory[i]};
    double begin = vlm_now();
    dnnl_primitive_execute(p->primitive, p->stream, 3, args);
    dnnl_stream_wait(p->stream);
    return vlm_now() - begin;
}

/* GFLOP/s, best of sizes and rounds; 0 = not supported. */
static double products(dnnl_data_type_t type)
{
    const int64_t sizes[] = {1024, 1536, 2048};
    product p = {0};
    double best = 0.0;
    if (dnnl_engine_create(&p.engine, dnnl_cpu, 0) != dnnl_success) return 0.0;
    if (dnnl_stream_create(&p.stream, p.engine, dnnl_stream_default_flags) != dnnl_success)
        return 0.0;
    for (int i = 0; i < VLM_COUNT(sizes); i++) {
        double n = (double)sizes[i];
        if (product_make(&p, sizes[i], type))
            for (int round = 0; round < 5; round++)
                best = VLM_MAX(best, 2.0 * n * n * n / product_seconds(&p) * 1e-9);
        product_free(&p);
    }
    dnnl_stream_destroy(p.stream);
    dnnl_engine_destroy(p.engine);
    return best;
}

/* ---- commands ---- */

static double answer(vlm_team *team, memory_job *memory, const char *command)
{
    if (!strcmp(command, "fma")) return in_registers(team, f32_function());
    if (!strcmp(command, "bf16")) return in_registers(team, bf16_function());
    if (!strcmp(command, "product_f32")) return products(dnnl_f32);
    if (!strcmp(command, "product_bf16")) return products(dnnl_bf16);
    if (!strcmp(command, "read")) return of_memory(team, memory, false);
    if (!strcmp(command, "triad")) return of_memory(team, memory, true);
    return -1.0;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : vlm_cores_allowed();
    vlmoe_error error = {VLMOE_OK, ""};
    vlm_team *team = NULL;
    char text[BENCH_LINE];
    memory_job memory = {.at = vlm_alloc(MEMORY_BYTES),
                         .n = MEMORY_BYTES / 3 / (int64_t)sizeof(float),
                         .sums = vlm_alloc((MEMORY_BYTES / PIECE) * sizeof(float))};
    omp_set_num_threads(n);
    if (vlm_team_create(n, &team, &error) || !memory.at || !memory.sums) bench_die(NAME, &error);
    memset(memory.at, 0x3c, MEMORY_BYTES); /* pages that nobody has written are one page of zeros */
    printf("{\"ready\": \"probe\", \"threads\": %d}\n", n);
    for (const char *command; (command = bench_command(text)) && strcmp(command, "quit") != 0;)
        printf("{\"%s\": %.2f}\n", command, answer(team, &memory, command));
    vlm_team_destroy(team);
    vlm_free(memory.at);
    vlm_free(memory.sums);
    return 0;
}
