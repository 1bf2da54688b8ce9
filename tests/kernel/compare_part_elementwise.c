/* Elementwise kernels and the optimiser on devices, at lengths around vector widths and tiles. */
#include <float.h>
#include <string.h>
#include "compare.h"
#include "math_act.h"
#include "math_bf16.h"

static const int64_t lengths[] = {0,   1,   15,   16,   17,   63,   64,    65,
                                  127, 129, 1000, 4095, 4096, 4097, 16385, 33000};
static const int types[] = {VLMOE_F32, VLMOE_BF16};

typedef struct run {
    kit kit;
    int64_t n;
    int act, accumulate, is_in_place;
    double factor;
    uint64_t key;
    tensor *x, *dy, *out, *param, *grad, *m, *v, *copy;
} run;

static void begin(run *p, const char *what, int64_t n)
{
    memset(p, 0, sizeof *p);
    kit_begin(&p->kit, "%s of %lld", what, (long long)n);
    p->n = n;
}

static int call_convert(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    run *p = arg;
    vlmk_convert_args a = {.n = p->n,
                           .src_dtype = type_at(p->x, side),
                           .dst_dtype = type_at(p->out, side),
                           .src = at(p->x, side),
                           .dst = at(p->out, side)};
    return table->convert(env, &a);
}

/* Exact ties of bf16, both ways, and numbers next to them, among random ones. */
TEST(compare_convert_rounds_exactly)
{
    static const int all[] = {VLMOE_F32, VLMOE_BF16, VLMOE_F64};
    static const double special[] = {1.0 + 0x1p-8,  1.0 + 0x3p-8,
                                     -1.0 - 0x1p-8, 1.0 + 0x1p-8 + 0x1p-23,
                                     0x1p-130,      1.0 + 0x1p-8 + 0x1p-40,
                                     -0.0,          INFINITY,
                                     -INFINITY,     FLT_MAX,
                                     NAN,           1e-300};
    for (int i = 0; i < COUNT_OF(lengths); i++)
        for (int pair = 0; pair < 9; pair++) {
            run p;
            begin(&p, "convert", lengths[i]);
            p.x = kit_real(&p.kit, "src", p.n, all[pair / 3], 1.0);
            for (int64_t s = 0; s < COUNT_OF(special) && s < p.n; s++)
                kit_set(p.x, p.n - 1 - s, special[s]);
            p.out = kit_output(&p.kit, "dst", p.n, all[pair % 3], 0);
            p.out->is_exact = 1;
            kit_run(&p.kit, call_convert, NULL, &p);
            kit_end(&p.kit);
        }
}

static int call_axpy(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    run *p = arg;
    vlmk_axpy_args a = {.n = p->n,
                        .factor = side == SIZE ? fabs(p->factor) : p->factor,
                        .src = at(p->x, side),
                        .dst = at(p->out, side),
                        .accumulate = p->accumulate};
    return table->axpy(env, &a);
}

/* Three roundings: the factor's to f32, the product, the sum. */
TEST(compare_axpy)
{
    for (int i = 0; i < COUNT_OF(lengths); i++)
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            run p;
            begin(&p, "axpy", lengths[i]);
            p.kit.uses_size = 1;
            p.factor = -0.3;
            p.accumulate = accumulate;
            p.x = kit_real(&p.kit, "src", p.n, VLMOE_F32, 1.0);
            p.out = accumulate ? kit_updated(kit_real(&p.kit, "dst", p.n, VLMOE_F32, 1.0), 3)
                               : kit_output(&p.kit, "dst", p.n, VLMOE_F32, 3);
            kit_run(&p.kit, call_axpy, NULL, &p);
            kit_end(&p.kit);
        }
}

static int call_act_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    run *p = arg;
    vlmk_act_fwd_args a = {.dtype = type_at(p->x, side),
                           .act = p->act,
                           .n = p->n,
                           .pre = at(p->x, side),
                           .y = at(p->out, side)};
    return table->act_fwd(env, &a);
}

/* For a result in bf16 the normal distribution's two functions need not be better than this, relative
 * to themselves (and 1 - Phi to itself). */
static double gelu_error(const run *p)
{
    return p->out->dtype == VLMOE_BF16 ? 0x1p-11 : 0.0;
}

/* GELU as x / 2 + x erf / 2 is two terms of together |x|; tanh is a quotient with four relative
 * roundings. */
static void bound_act_fwd(void *arg)
{
    run *p = arg;
    double *error = kit_error(p->out);
    for (int64_t i = 0; i < p->n; i++) {
        double x = fabs(kit_get(p->x, WANT, i)), y = fabs(kit_get(p->out, WANT, i));
        error[i] = U_F32 * (p->act == VLMK_ACT_GELU   ? 2.0 * x
                            : p->act == VLMK_ACT_TANH ? 4.0 * y
                                                      : 0.0);
        if (p->act == VLMK_ACT_GELU) error[i] += gelu_error(p) * y;
    }
}

TEST(compare_act_fwd)
{
    for (int i = 0; i < COUNT_OF(lengths); i++)
        for (int variant = 0; variant < 6; variant++) {
            run p;
            begin(&p, "act_fwd", lengths[i]);
            p.act = variant % 3;
            int dtype = types[variant / 3];
            p.x = kit_real(&p.kit, "pre", p.n, dtype, 6.0);
            for (int64_t s = 0; s < 8 && s < p.n; s++) kit_set(p.x, s, (double)(s - 4) * 10.0);
            p.out = kit_output(&p.kit, "y", p.n, dtype, 0);
            kit_run(&p.kit, call_act_fwd, bound_act_fwd, &p);
            kit_end(&p.kit);
        }
}

static int call_act_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    run *p = arg;
    vlmk_act_bwd_args a = {.dtype = type_at(p->x, side),
                           .act = p->act,
                           .n = p->n,
                           .pre = at(p->x, side),
                           .dy = at(p->is_in_place ? p->out : p->dy, side),
                           .dpre = at(p->out, side)};
    return table->act_bwd(env, &a);
}

/* GELU's slope is 1/2 + erf/2 + x phi: three terms; exp(-x^2/2) adds its argument's rounding, x^2/2
 * of a term. tanh's is 1 - y^2: two terms, y with four roundings. */
static void bound_act_bwd(void *arg)
{
    run *p = arg;
    double *error = kit_error(p->out);
    for (int64_t i = 0; i < p->n; i++) {
        double x = kit_get(p->x, WANT, i),
               dy = fabs(p->is_in_place ? kit_before(p->out, i) : kit_get(p->dy, WANT, i));
        double phi = 0.3989422804014327 * exp(-0.5 * x * x), y = tanh(x);
        double gelu = 3.0 * (1.0 + fabs(x) * phi * (1.0 + 0.5 * x * x)),
               two_terms = 2.0 * (1.0 + y * y) + 8.0 * y * y;
        error[i] = U_F32 * dy *
                   (p->act == VLMK_ACT_GELU   ? gelu
                    : p->act == VLMK_ACT_TANH ? two_terms
                                              : 1.0);
        if (p->act == VLMK_ACT_GELU)
            error[i] += gelu_error(p) * dy * (math_normal_cdf(x) + fabs(x) * phi);
    }
}

TEST(compare_act_bwd)
{
    for (int i = 0; i < COUNT_OF(lengths); i++)
        for (int variant = 0; variant < 12; variant++) {
            run p;
            begin(&p, variant % 3 == VLMK_ACT_GELU ? "act_bwd gelu" : "act_bwd", lengths[i]);
            p.act = variant % 3;
            p.is_in_place = variant / 6;
            int dtype = types[variant / 3 % 2];
            p.x = kit_real(&p.kit, "pre", p.n, dtype, 6.0);
            for (int64_t s = 0; s < 8 && s < p.n; s++) kit_set(p.x, s, (double)(s - 4) * 10.0);
            if (!p.is_in_place) p.dy = kit_real(&p.kit, "dy", p.n, dtype, 1.0);
            p.out = p.is_in_place ? kit_updated(kit_real(&p.kit, "dpre", p.n, dtype, 1.0), 0)
                                  : kit_output(&p.kit, "dpre", p.n, dtype, 0);
            kit_run(&p.kit, call_act_bwd, bound_act_bwd, &p);
            kit_end(&p.kit);
        }
}

/* GELU and its slope of every finite bf16, as bf16: half a unit in the last place of the result, and
 * 2^-11 of each term, without the factor that other comparisons leave to sums. */
TEST(compare_gelu_of_every_bf16)
{
    enum { N = 1 << 16 };
    static uint16_t x[N], dy[N], y[N], slope[N];
    for (int i = 0; i < N; i++) {
        x[i] = (i & 0x7f80) == 0x7f80 ? 0 : (uint16_t)i;
        dy[i] = 0x3f80; /* 1 */
    }
    vlmk_act_fwd_args fwd = {.dtype = VLMOE_BF16, .act = VLMK_ACT_GELU, .n = N, .pre = x, .y = y};
    vlmk_act_bwd_args bwd = {
        .dtype = VLMOE_BF16, .act = VLMK_ACT_GELU, .n = N, .pre = x, .dy = dy, .dpre = slope};
    for (int d = 0; d < device_count(); d++) {
        vlmk_env *env = device_env(d, 1);
        CHECK_STATUS(device_table(d)->act_fwd(env, &fwd), VLMOE_OK);
        CHECK_STATUS(device_table(d)->act_bwd(env, &bwd), VLMOE_OK);
        device_done(env);
        for (int i = 0; i < N; i++) {
            double v = (double)math_bf16_to_f32(x[i]), want = math_gelu(v);
            CHECK_CLOSE((double)math_bf16_to_f32(y[i]), want,
                        (0x1p-8 + 0x1.1p-11) * fabs(want) + (double)FLT_MIN);
            want = math_gelu_slope(v);
            CHECK_CLOSE((double)math_bf16_to_f32(slope[i]), want,
                        0x1p-8 * fabs(want) +
                            0x1.1p-11 * (math_normal_cdf(v) + fabs(v) * math_normal_pdf(v)) +
                            (double)FLT_MIN);
        }
    }
}

static int call_dropout(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    run *p = arg;
    vlmk_dropout_args a = {.dtype = type_at(p->out, side),
                           .n = p->n,
                           .p = p->factor,
                           .key = p->key,
                           .x = at(p->is_in_place ? p->out : p->x, side),
                           .y = at(p->out, side)};
    return table->dropout(env, &a);
}

/* The mask is exact, so a dropped element is 0 = want exactly; a kept one has the factor's rounding
 * and the product's. */
TEST(compare_dropout)
{
    static const double ps[] = {0.0, 0.1, 0.5, 0.999};
    for (int i = 0; i < COUNT_OF(lengths); i++)
        for (int variant = 0; variant < 16; variant++) {
            run p;
            begin(&p, "dropout", lengths[i]);
            p.factor = ps[variant / 4];
            p.key = 0x123456789abcdef0u + (uint64_t)variant;
            p.is_in_place = variant / 2 % 2;
            p.kit.uses_size = 1;
            int dtype = types[variant % 2];
            if (!p.is_in_place) p.x = kit_real(&p.kit, "x", p.n, dtype, 1.0);
            p.out = p.is_in_place ? kit_updated(kit_real(&p.kit, "y", p.n, dtype, 1.0), 3)
                                  : kit_output(&p.kit, "y", p.n, dtype, 3);
            kit_run(&p.kit, call_dropout, NULL, &p);
            kit_end(&p.kit);
        }
}

static int call_adamw(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    run *p = arg;
    vlmk_adamw_args a = {.n = p->n,
                         .param = at(p->param, side),
                         .grad = at(p->grad, side),
                         .m = at(p->m, side),
                         .v = at(p->v, side),
                         .copy = at(p->copy, side),
                         .copy_dtype = p->copy ? type_at(p->copy, side) : 0,
                         .moment_dtype = type_at(p->m, side),
                         .key = p->key,
                         .lr = 0.01,
                         .beta1 = 0.9,
                         .beta2 = 0.98,
                         .eps = 1e-6,
                         .decay = 0.05,
                         .correction1 = 0.271,
                         .correction2 = 0.0588,
                         .grad_scale = 0.7};
    return table->adamw(env, &a);
}

/* m: two products, each with a rounded coefficient, and a sum: 4 roundings of b1 |m| + (1-b1)|g|; v
 * the same, relative, with g twice. The step lr/c1 m / (sqrt(v)/sqrt(c2) + eps): m's error, half of
 * v's, ten roundings. */
static void bound_adamw(void *arg)
{
    run *p = arg;
    double *e_param = kit_error(p->param), *e_m = kit_error(p->m), *e_v = kit_error(p->v);
    double *e_copy = p->copy ? kit_error(p->copy) : NULL;
    for (int64_t i = 0; i < p->n; i++) {
        double g = 0.7 * fabs(kit_get(p->grad, WANT, i)), v = kit_get(p->v, WANT, i);
        double m_size = 0.9 * fabs(kit_before(p->m, i)) + 0.1 * g;
        double scale = 0.01 / 0.271 / (sqrt(v / 0.0588) + 1e-6);
        e_m[i] = 5.0 * U_F32 * m_size;
        e_v[i] = 7.0 * U_F32 * v;
        double step = scale * (e_m[i] + (0.5 * 7.0 + 10.0) * U_F32 * fabs(kit_get(p->m, WANT, i)));
        e_param[i] = step + 3.0 * U_F32 * fabs(kit_before(p->param, i));
        if (e_copy) e_copy[i] = e_param[i];
    }
}

TEST(compare_adamw)
{
    for (int i = 0; i < COUNT_OF(lengths); i++)
        for (int variant = 0; variant < 4; variant++) {
            int copies = variant % 2, moments = variant < 2 ? VLMOE_F32 : VLMOE_BF16;
            run p;
            begin(&p, "adamw", lengths[i]);
            p.key = 0x123456789abcdef0u;
            p.grad = kit_real(&p.kit, "grad", p.n, VLMOE_F32, 1.0);
            p.param = kit_updated(kit_real(&p.kit, "param", p.n, VLMOE_F32, 1.0), 0);
            p.m = kit_real(&p.kit, "m", p.n, moments, 0.3);
            p.v = kit_real(&p.kit, "v", p.n, moments, 0.3);
            for (int64_t s = 0; s < p.n; s++)
                kit_set(p.v, s, s % 9 == 8 ? 0.0 : fabs(kit_get(p.v, WANT, s)));
            for (int64_t s = 8; s < p.n; s += 18)
                kit_set(p.grad, s, 0.0); /* v stays 0: the divisor is eps */
            for (int64_t s = 8; s < p.n; s += 18) kit_set(p.m, s, 0.0);
            kit_updated(p.m, 0);
            kit_updated(p.v, 0);
            if (copies) p.copy = kit_output(&p.kit, "copy", p.n, VLMOE_BF16, 0);
            kit_run(&p.kit, call_adamw, bound_adamw, &p);
            kit_end(&p.kit);
        }
}

static int call_square_sum(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    run *p = arg;
    vlmk_square_sum_args a = {.n = p->n, .x = at(p->x, side), .partial = at(p->out, side)};
    return table->square_sum(env, &a);
}

/* Squares of f32 are exact in f64 and 4,096 of them add with 2^-41 at worst; whole numbers add
 * exactly. */
static void bound_square_sum(void *arg)
{
    run *p = arg;
    for (int64_t b = 0; b < p->out->n; b++)
        kit_error(p->out)[b] = 4096.0 * 0x1p-53 * kit_get(p->out, WANT, b);
}

TEST(compare_square_sum)
{
    for (int i = 0; i < COUNT_OF(lengths); i++)
        for (int is_whole = 0; is_whole < 2; is_whole++) {
            run p;
            begin(&p, "square_sum", lengths[i]);
            p.x = is_whole ? kit_whole(&p.kit, "x", p.n, VLMOE_F32, 9)
                           : kit_real(&p.kit, "x", p.n, VLMOE_F32, 1.0);
            p.out = kit_output(&p.kit, "partial", (p.n + 4095) / 4096, VLMOE_F64, 0);
            p.out->is_exact = is_whole;
            kit_run(&p.kit, call_square_sum, bound_square_sum, &p);
            kit_end(&p.kit);
        }
}
