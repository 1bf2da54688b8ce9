/* What the CPU kernels promise beyond agreeing with the reference on small shapes: tiles of
 * large products fit together, primitives serve several threads at once, memory settles after
 * the first calls. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"
#include "base_team.h"
#include "math_bf16.h"
#include "../../kernels/cpu/cpu.h"

static const char *const isa_names[] = {"base", "avx2", "avx512", "avx512_bf16"};
enum { N_ISA = 4, WORKERS = 2 };

static void run_team(void *pool, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                     int64_t n_tiles)
{
    vlm_team_run(pool, fn, arg, n_tiles);
}

/* Whole numbers in -2 .. 2: sums of a few thousand products are exact in f32, in any order. */
static int whole(uint64_t i)
{
    return (int)((i * 0x9E3779B97F4A7C15u >> 40) % 5) - 2;
}

typedef struct whole_tensor {
    int dtype;
    uint64_t seed;
    void *data;
} whole_tensor;

static whole_tensor make(int64_t n, int dtype, uint64_t seed)
{
    whole_tensor t = {dtype, seed, NULL};
    size_t size = dtype == VLMOE_BF16 ? 2 : 4;
    t.data = aligned_alloc(64, ((size_t)n * size + 63) / 64 * 64 + 64);
    CHECK(t.data != NULL);
    for (int64_t i = 0; i < n; i++) {
        float value = (float)whole((uint64_t)i + seed);
        if (dtype == VLMOE_BF16) ((uint16_t *)t.data)[i] = math_bf16_from_f32(value);
        else ((float *)t.data)[i] = value;
    }
    return t;
}

static int value_at(const whole_tensor *t, int64_t i)
{
    return whole((uint64_t)i + t->seed);
}

typedef struct product_shape {
    int64_t M, N, K, G;
    int32_t offset[5];
} product_shape;

/* Shapes that cross every tile: rows 64, 256, 512 and 1024, columns 128 and 256, K beyond one
 * panel, tails of 1. */
static const product_shape shapes[] = {
    {577, 300, 770, 1, {0}},
    {1100, 65, 130, 2, {3, 1060, 1100}},
    {140, 513, 1040, 4, {0, 1, 1, 66, 139}},
};

typedef struct products {
    const product_shape *s;
    whole_tensor x, w, dy;
    float *y, *dx, *dw, *db;
} products;

static int group_of(const product_shape *s, int64_t m)
{
    for (int g = 0; g < s->G; g++)
        if (s->G == 1 || (m >= s->offset[g] && m < s->offset[g + 1])) return g;
    return -1;
}

static void check_y_and_dx(const products *p, int64_t m, int64_t n, int64_t k, const char *isa)
{
    const product_shape *s = p->s;
    int64_t g = group_of(s, m), y = 0, dx = 0;
    if (g < 0) return;
    for (int64_t j = 0; j < s->K; j++)
        y += value_at(&p->x, m * s->K + j) * value_at(&p->w, (g * s->N + n) * s->K + j);
    for (int64_t j = 0; j < s->N; j++)
        dx += value_at(&p->dy, m * s->N + j) * value_at(&p->w, (g * s->N + j) * s->K + k);
    if (p->y[m * s->N + n] != (float)y)
        test_fail(__FILE__, __LINE__, "%s: y[%lld, %lld]", isa, (long long)m, (long long)n);
    if (p->dx[m * s->K + k] != (float)dx)
        test_fail(__FILE__, __LINE__, "%s: dx[%lld, %lld]", isa, (long long)m, (long long)k);
}

static void check_dw(const products *p, int64_t g, int64_t n, int64_t k, const char *isa)
{
    const product_shape *s = p->s;
    int64_t first = s->G == 1 ? 0 : s->offset[g], end = s->G == 1 ? s->M : s->offset[g + 1], dw = 0,
            db = 0;
    for (int64_t m = first; m < end; m++) {
        dw += value_at(&p->dy, m * s->N + n) * value_at(&p->x, m * s->K + k);
        db += value_at(&p->dy, m * s->N + n);
    }
    if (p->dw[(g * s->N + n) * s->K + k] != (float)dw)
        test_fail(__FILE__, __LINE__, "%s: dw[%lld, %lld, %lld]", isa, (long long)g, (long long)n,
                  (long long)k);
    if (p->db[g * s->N + n] != (float)db)
        test_fail(__FILE__, __LINE__, "%s: db[%lld, %lld]", isa, (long long)g, (long long)n);
}

/* All three products, then elements spread over the whole output and the last of each. */
static void check_products(const char *isa, vlmk_env *env, const product_shape *s, int dtype)
{
    const vlmk_table *table = vlmk_cpu_named(isa);
    products p = {.s = s,
                  .x = make(s->M * s->K, dtype, 1),
                  .w = make(s->G * s->N * s->K, dtype, 77),
                  .dy = make(s->M * s->N, dtype, 9999)};
    const int32_t *offset = s->G > 1 ? s->offset : NULL;
    p.y = malloc((size_t)(s->M * s->N) * sizeof(float));
    p.dx = malloc((size_t)(s->M * s->K) * sizeof(float));
    p.dw = malloc((size_t)(s->G * s->N * s->K) * sizeof(float));
    p.db = malloc((size_t)(s->G * s->N) * sizeof(float));
    vlmk_linear_fwd_args fwd = {.dtype = dtype,
                                .y_dtype = VLMOE_F32,
                                .M = s->M,
                                .N = s->N,
                                .K = s->K,
                                .G = s->G,
                                .offset = offset,
                                .x = p.x.data,
                                .w = p.w.data,
                                .y = p.y};
    vlmk_linear_dx_args dx = {.dtype = dtype,
                              .dx_dtype = VLMOE_F32,
                              .M = s->M,
                              .N = s->N,
                              .K = s->K,
                              .G = s->G,
                              .offset = offset,
                              .dy = p.dy.data,
                              .w = p.w.data,
                              .dx = p.dx};
    vlmk_dw_part dw_part = {.M = s->M, .offset = offset, .x = p.x.data, .dy = p.dy.data};
    vlmk_linear_dw_args dw = {.dtype = dtype,
                              .N = s->N,
                              .K = s->K,
                              .G = s->G,
                              .n_parts = 1,
                              .part = &dw_part,
                              .dw = p.dw,
                              .db = p.db};
    CHECK_INT(table->linear_fwd(env, &fwd), VLMOE_OK);
    vlmk_cpu_call_done(env);
    CHECK_INT(table->linear_dx(env, &dx), VLMOE_OK);
    vlmk_cpu_call_done(env);
    CHECK_INT(table->linear_dw(env, &dw), VLMOE_OK);
    vlmk_cpu_call_done(env);
    for (int64_t m = 0; m < s->M; m++)
        check_y_and_dx(&p, m, (m * 37 + 11) % s->N, (m * 101 + 7) % s->K, isa);
    for (int64_t n = 0; n < s->N; n++)
        check_y_and_dx(&p, s->M - 1 - n % 3, n, s->K - 1 - n % 2, isa);
    for (int64_t g = 0; g < s->G; g++)
        for (int64_t n = 0; n < s->N; n++) check_dw(&p, g, n, (n * 13 + g) % s->K, isa);
    check_dw(&p, s->G - 1, s->N - 1, s->K - 1, isa);
    void *all[] = {p.x.data, p.w.data, p.dy.data, p.y, p.dx, p.dw, p.db};
    for (int i = 0; i < 7; i++) free(all[i]);
}

TEST(cpu_large_products_of_whole_numbers_are_exact)
{
    vlm_team *team = NULL;
    CHECK_STATUS(vlm_team_create(WORKERS, &team, NULL), VLMOE_OK);
    vlmk_cpu_state *cpu = vlmk_cpu_state_create(WORKERS);
    vlmk_env env;
    vlmk_cpu_env_init(&env, cpu, team, WORKERS, run_team);
    for (int i = 0; i < N_ISA; i++)
        for (int s = 0; vlmk_cpu_named(isa_names[i]) && s < 3; s++) {
            check_products(isa_names[i], &env, &shapes[s], VLMOE_F32);
            check_products(isa_names[i], &env, &shapes[s], VLMOE_BF16);
        }
    vlmk_cpu_state_destroy(cpu);
    vlm_team_destroy(team);
}

/* A reference implementation inside oneDNN would be right and a hundred times too slow, and
 * nobody would notice. */
TEST(cpu_products_use_no_reference_implementation_of_onednn)
{
    vlmk_cpu_state *cpu = vlmk_cpu_state_create(1);
    CHECK(strchr(vlmk_cpu_dnnl_version(), '.') != NULL);
    if (vlmk_cpu_named("avx512")) {
        const char *f32 = vlmk_cpu_dnnl_impl(cpu, 64, 256, 768, VLMOE_F32);
        CHECK(f32 != NULL && strstr(f32, "ref") == NULL);
    }
    if (vlmk_cpu_named("avx512_bf16")) {
        const char *bf16 = vlmk_cpu_dnnl_impl(cpu, 64, 256, 768, VLMOE_BF16);
        CHECK(bf16 != NULL && strstr(bf16, "ref") == NULL);
    }
    vlmk_cpu_state_destroy(cpu);
}

TEST(cpu_scratch_settles_after_the_first_call)
{
    vlmk_cpu_state *cpu = vlmk_cpu_state_create(1);
    vlmk_env env;
    vlmk_cpu_env_init(&env, cpu, NULL, 1, NULL);
    size_t held = 0;
    for (int call = 0; call < 4; call++) {
        char *first = vlmk_cpu_scratch(&env, 100), *second = vlmk_cpu_scratch(&env, 5000000),
             *third = vlmk_cpu_scratch(&env, 1);
        CHECK(first && second && third);
        CHECK((uintptr_t)first % 64 == 0 && (uintptr_t)second % 64 == 0 &&
              (uintptr_t)third % 64 == 0);
        memset(first, 1, 100);
        memset(second, 2, 5000000);
        *third = 3;
        CHECK(first[99] == 1 && second[0] == 2 &&
              second[4999999] == 2); /* no piece overlaps another */
        vlmk_cpu_call_done(&env);
        if (call == 0) held = vlmk_cpu_scratch_bytes(cpu);
        CHECK(vlmk_cpu_scratch_bytes(cpu) == held);
    }
    CHECK(vlmk_cpu_scratch(&env, SIZE_MAX / 2) == NULL);
    vlmk_cpu_state_destroy(cpu);
    vlmk_cpu_state_destroy(NULL);
    CHECK(vlmk_cpu_state_create(0) == NULL);
}

TEST(cpu_select_takes_the_last_set_that_runs_here)
{
    const char *best = NULL;
    const vlmk_table *table = vlmk_cpu_select(&best);
    int seen = 0;
    for (int i = 0; i < N_ISA; i++) {
        if (strcmp(isa_names[i], best) == 0) seen = 1;
        else if (seen) CHECK(vlmk_cpu_named(isa_names[i]) == NULL);
    }
    CHECK(seen && table == vlmk_cpu_named(best));
    CHECK(vlmk_cpu_named("avx3") == NULL);
}

/* factor * src + dst with one rounding is 2^-24 here; with two it is 0, since the product rounds to
 * minus dst. */
TEST(cpu_sets_with_fused_multiply_add_use_it)
{
    float src[64], dst[64];
    for (int i = 0; i < N_ISA; i++) {
        const vlmk_table *table = vlmk_cpu_named(isa_names[i]);
        if (!table || i == 0) continue;
        vlmk_cpu_state *own = vlmk_cpu_state_create(1);
        vlmk_env env;
        vlmk_cpu_env_init(&env, own, NULL, 1, NULL);
        for (int e = 0; e < 64; e++) {
            src[e] = 1.0f + 0x1p-12f;
            dst[e] = -(1.0f + 0x1p-11f);
        }
        vlmk_axpy_args a = {
            .n = 64, .factor = 1.0 + 0x1p-12, .src = src, .dst = dst, .accumulate = 1};
        CHECK_STATUS(table->axpy(&env, &a), VLMOE_OK);
        for (int e = 0; e < 64; e++) CHECK(dst[e] == 0x1p-24f);
        vlmk_cpu_state_destroy(own);
    }
}

/* Scores near 1e16, as a diverging run has: lse rounds to multiples of 1e9, so that p = exp(score -
 * lse) could be any power of e. It is held at 1, and numbers stay finite. */
TEST(cpu_attention_of_huge_scores_is_finite)
{
    enum { N = 20, D = 16 };
    static const int32_t offset[] = {0, N};
    int32_t row[N];
    float in[4][N * D], out[4][N * D], lse[N];
    for (int i = 0; i < N; i++) row[i] = i;
    for (int i = 0; i < 4 * N * D; i++)
        in[i / (N * D)][i % (N * D)] = (float)sin(1.0 + i) * (i < N * D ? 1e16f : 1.0f);
    for (int i = 0; i < N_ISA; i++) {
        const vlmk_table *table = vlmk_cpu_named(isa_names[i]);
        if (!table) continue;
        vlmk_cpu_state *own = vlmk_cpu_state_create(1);
        vlmk_env env;
        vlmk_cpu_env_init(&env, own, NULL, 1, NULL);
        vlmk_attention_args a = {.dtype = VLMOE_F32,
                                 .H = 1,
                                 .H_kv = 1,
                                 .head_dim = D,
                                 .q_stride = D,
                                 .kv_stride = D,
                                 .out_stride = D,
                                 .n_seq = 1,
                                 .q_offset = offset,
                                 .q_row = row,
                                 .kv_offset = offset,
                                 .kv_row = row,
                                 .max_q = N,
                                 .max_kv = N,
                                 .scale = 0.3,
                                 .q = in[0],
                                 .k = in[1],
                                 .v = in[2],
                                 .dout = in[3],
                                 .out = out[0],
                                 .dq = out[1],
                                 .dk = out[2],
                                 .dv = out[3],
                                 .lse = lse};
        CHECK_STATUS(table->attention_fwd(&env, &a), VLMOE_OK);
        CHECK_STATUS(table->attention_bwd(&env, &a), VLMOE_OK);
        for (int e = 0; e < 4 * N * D; e++) CHECK(isfinite(out[e / (N * D)][e % (N * D)]));
        vlmk_cpu_state_destroy(own);
    }
}
