/* bf16 moments: rounding is without bias, its draws are those of the definition on every instruction set, whatever the number of
 * workers, and slow averages follow their value where rounding to nearest would stand still. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"
#include "base_team.h"
#include "math_bf16.h"
#include "math_philox.h"
#include "../../kernels/cpu/cpu.h"

static const char *const isa_names[] = {"base", "avx2", "avx512", "avx512_bf16"};
enum { N_ISA = 4 };

/* Over all 2^16 draws each value is met exactly on average: its low half counts how many of them round up. */
TEST(stochastic_rounding_has_exactly_the_mean_of_its_value)
{
    static const float values[] = {1.0f,    1.00390625f, 3.14159265f, -2.71828183f, 1e-30f,
                                   -7e-41f, 65504.0f,    0.1f,        -0.0f,        1.9999999f};
    for (int i = 0; i < 10; i++) {
        double sum = 0.0;
        for (uint32_t bits = 0; bits < 65536; bits++)
            sum += (double)math_bf16_to_f32(math_bf16_stochastic(values[i], (uint16_t)bits));
        CHECK(sum / 65536.0 == (double)values[i]);
    }
    CHECK(isinf(math_bf16_to_f32(math_bf16_stochastic(INFINITY, 65535))));
    CHECK(isnan(math_bf16_to_f32(math_bf16_stochastic(NAN, 65535))));
}

/* Each draw moves up by one spacing with probability p: five standard errors of N draws. */
TEST(the_words_of_a_key_round_without_bias)
{
    enum { N = 1 << 16 };
    const float value = 1.0f + 0x1p-7f * 0.3f;
    for (int half = 0; half < 2; half++) {
        double up = 0.0, p = 0.3;
        for (uint64_t i = 0; i < N; i++) {
            uint32_t word = math_philox_word(99, i) >> (16 * half);
            up += math_bf16_to_f32(math_bf16_stochastic(value, (uint16_t)word)) > 1.0f;
        }
        CHECK_CLOSE(up / N, p, 5.0 * sqrt(p * (1.0 - p) / N) + 0x1p-16);
    }
}

static void run_team(void *pool, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                     int64_t n_tiles)
{
    vlm_team_run(pool, fn, arg, n_tiles);
}

static void call(const char *isa, int workers, const vlmk_adamw_args *args)
{
    vlm_team *team = NULL;
    vlmk_env env;
    vlmk_cpu_state *state = vlmk_cpu_state_create(workers);
    CHECK(state != NULL);
    CHECK_STATUS(vlm_team_create(workers, &team, NULL), VLMOE_OK);
    vlmk_cpu_env_init(&env, state, team, workers, run_team);
    CHECK_STATUS(vlmk_cpu_named(isa)->adamw(&env, args), VLMOE_OK);
    vlm_team_destroy(team);
    vlmk_cpu_state_destroy(state);
}

/* Coefficients that make m the gradient and v its square, exactly: what is stored is then the definition of the rounding. */
TEST(every_instruction_set_rounds_by_the_words_of_the_definition)
{
    enum { N = 40007 };
    float *grad = calloc(N, sizeof *grad), *param = calloc(N, sizeof *param);
    uint16_t *m = calloc(N, sizeof *m), *v = calloc(N, sizeof *v);
    for (int i = 0; i < N; i++) grad[i] = sinf((float)i) * ldexpf(1.0f, i % 40 - 20);
    for (int s = 0; s < 2 * N_ISA; s++) {
        const char *isa = isa_names[s / 2];
        if (!vlmk_cpu_named(isa)) continue;
        memset(m, 0, N * sizeof *m);
        memset(v, 0, N * sizeof *v);
        vlmk_adamw_args args = {.n = N,
                                .param = param,
                                .grad = grad,
                                .m = m,
                                .v = v,
                                .moment_dtype = VLMOE_BF16,
                                .key = 0xfedcba9876543210u,
                                .eps = 1.0,
                                .correction1 = 1.0,
                                .correction2 = 1.0,
                                .grad_scale = 1.0};
        call(isa, 1 + s % 2, &args);
        for (int i = 0; i < N; i++) {
            uint32_t word = math_philox_word(args.key, (uint64_t)i);
            CHECK_INT(m[i], math_bf16_stochastic(grad[i], (uint16_t)word));
            CHECK_INT(v[i], math_bf16_stochastic(grad[i] * grad[i], (uint16_t)(word >> 16)));
        }
    }
    free(grad);
    free(param);
    free(m);
    free(v);
}

/* A tensor in two pieces, the second as another rank would hold it, gives the bits of one call; so does one without `first`, but others. */
TEST(a_piece_gives_the_bits_of_the_whole)
{
    enum { N = 3 * VLMK_NORM_BLOCK + 77, CUT = 2 * VLMK_NORM_BLOCK };
    static float grad[N], param[3][N];
    static uint16_t m[3][N], v[3][N];
    for (int i = 0; i < N; i++) grad[i] = sinf((float)i);
    for (int s = 0; s < N_ISA; s++) {
        if (!vlmk_cpu_named(isa_names[s])) continue;
        memset(param, 0, sizeof param);
        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        for (int k = 0; k < 5; k++) { /* whole; two pieces; two pieces that both begin at 0 */
            int to = (k + 1) / 2, is_second = k == 2 || k == 4, at = is_second ? CUT : 0;
            vlmk_adamw_args args = {.n = k == 0      ? N
                                         : is_second ? N - CUT
                                                     : CUT,
                                    .first = k == 2 ? CUT : 0,
                                    .param = param[to] + at,
                                    .grad = grad + at,
                                    .m = m[to] + at,
                                    .v = v[to] + at,
                                    .moment_dtype = VLMOE_BF16,
                                    .key = 77,
                                    .lr = 0.1,
                                    .beta1 = 0.9,
                                    .beta2 = 0.99,
                                    .eps = 1e-6,
                                    .correction1 = 0.1,
                                    .correction2 = 0.01,
                                    .grad_scale = 1.0};
            call(isa_names[s], 1, &args);
        }
        CHECK(memcmp(param[0], param[1], sizeof param[0]) == 0);
        CHECK(memcmp(m[0], m[1], sizeof m[0]) == 0 && memcmp(v[0], v[1], sizeof v[0]) == 0);
        CHECK(memcmp(m[0], m[2], sizeof m[0]) != 0);
    }
}

/* Under a constant gradient v tends to g^2 = 1 by a thousandth of what is left a step; a bf16 near 1 is 2^-8 to 2^-7 wide, so rounding to
 * nearest stops at v = 1/3, where a step is half a spacing. Rounded stochastically, one v is off by at most (spacing / 2) /
 * sqrt(1 - 0.999^2) = 0.09 in deviation; the mean of N of them by 0.09 / sqrt(N), of which five are allowed. */
TEST(slow_averages_follow_where_rounding_to_nearest_stands_still)
{
    enum { N = 4096, STEPS = 3000 };
    static float grad[N], param[N];
    static uint16_t m[N], v[N];
    double sum = 0.0, want = 1.0 - pow(0.999, STEPS);
    float nearest = 0.0f;
    const char *isa = "base";
    for (int i = 3; i >= 0 && !strcmp(isa, "base"); i--)
        if (vlmk_cpu_named(isa_names[i])) isa = isa_names[i];
    vlmk_cpu_state *cpu = vlmk_cpu_state_create(1);
    vlmk_env env;
    vlmk_cpu_env_init(&env, cpu, NULL, 1, NULL);
    for (int i = 0; i < N; i++) grad[i] = 1.0f;
    for (int t = 1; t <= STEPS; t++) {
        vlmk_adamw_args args = {.n = N,
                                .param = param,
                                .grad = grad,
                                .m = m,
                                .v = v,
                                .moment_dtype = VLMOE_BF16,
                                .key = (uint64_t)t,
                                .lr = 1e-3,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .correction1 = 1.0 - pow(0.9, t),
                                .correction2 = 1.0 - pow(0.999, t),
                                .grad_scale = 1.0};
        CHECK_STATUS(vlmk_cpu_named(isa)->adamw(&env, &args), VLMOE_OK);
        nearest = math_bf16_to_f32(math_bf16_from_f32(0.999f * nearest + 0.001f));
    }
    for (int i = 0; i < N; i++) sum += (double)math_bf16_to_f32(v[i]);
    CHECK_CLOSE(sum / N, want, 5.0 * 0.09 / sqrt(N));
    CHECK(nearest < 0.5 * want);
    vlmk_cpu_state_destroy(cpu);
}
