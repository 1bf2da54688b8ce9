/* Products on devices: all sizes, groups and types; whole numbers exactly; rows independent of M;
 * sums added once. */
#include <stdio.h>
#include <string.h>
#include "compare.h"

typedef struct shape {
    int64_t M, N, K, G;
    int32_t offset[9]; /* [G + 1]; all zero with G = 1: NULL */
} shape;

static const shape shapes[] = {
    {0, 5, 7, 1, {0}},
    {5, 0, 7, 1, {0}},
    {5, 7, 0, 1, {0}},
    {1, 1, 1, 1, {0}},
    {3, 129, 19, 1, {0}},
    {63, 65, 17, 1, {0}},
    {64, 64, 64, 1, {0}},
    {65, 63, 16, 1, {0}},
    {127, 33, 31, 1, {0}},
    {129, 128, 48, 1, {0}},
    {7, 12, 96, 1, {0, 4}},                /* one group, three rows past it */
    {130, 33, 20, 4, {0, 0, 65, 65, 128}}, /* empty first and third group, two rows past the last */
    {10, 9, 5, 3, {0, 0, 0, 0}},           /* nothing but empty groups */
    {70, 64, 32, 8, {0, 1, 2, 3, 4, 5, 6, 7, 70}}, /* groups of one row */
    {0, 6, 6, 2, {0, 0, 0}},
};
/* Beyond every tile: long sums, many columns, many rows. */
static const shape large_shapes[] = {
    {30, 300, 1100, 1, {0}},
    {30, 1100, 300, 1, {0}},
    {1100, 40, 70, 1, {0}},
    {600, 140, 270, 2, {0, 530, 600}},
};
static const int types[] = {VLMOE_F32, VLMOE_BF16};

typedef struct product {
    kit kit;
    shape s;
    int dtype, act, accumulate;
    tensor *offset, *x, *w, *bias, *pre, *y, *dy, *dx, *dw, *db;
} product;

static void begin(product *p, const char *what, const shape *s, int dtype, int is_whole)
{
    memset(p, 0, sizeof *p);
    p->s = *s;
    p->dtype = dtype;
    kit_begin(&p->kit, "%s%s M %lld N %lld K %lld G %lld %s", what,
              is_whole ? ", whole numbers," : "", (long long)s->M, (long long)s->N, (long long)s->K,
              (long long)s->G, dtype == VLMOE_F32 ? "f32" : "bf16");
    p->kit.uses_size = 1;
    p->kit.flops = 0.0;
    if (s->G > 1 || s->offset[1]) p->offset = kit_ints(&p->kit, "offset", s->G + 1, s->offset);
}

/* Whole numbers stay below 2^24 in every sum, so any order gives the same f32. */
static tensor *input(product *p, const char *name, int64_t n, int dtype, int is_whole)
{
    return is_whole ? kit_whole(&p->kit, name, n, dtype, 3)
                    : kit_real(&p->kit, name, n, dtype, 1.0);
}

static tensor *output(product *p, const char *name, int64_t n, int dtype, double terms,
                      int is_whole)
{
    tensor *t = p->accumulate ? kit_updated(input(p, name, n, dtype, is_whole), terms + 1.0)
                              : kit_output(&p->kit, name, n, dtype, terms);
    t->is_exact = is_whole;
    return t;
}

static int call_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    product *p = arg;
    vlmk_linear_fwd_args a = {.dtype = type_at(p->x, side),
                              .y_dtype = type_at(p->y, side),
                              .act = p->act,
                              .M = p->s.M,
                              .N = p->s.N,
                              .K = p->s.K,
                              .G = p->s.G,
                              .offset = at(p->offset, side),
                              .x = at(p->x, side),
                              .w = at(p->w, side),
                              .bias = at(p->bias, side),
                              .pre = at(p->pre, side),
                              .y = at(p->y, side)};
    if (side == SIZE) a.act = VLMK_ACT_NONE; /* the size of the sum inside */
    return table->linear_fwd(env, &a);
}

/* The sum's error passes through a slope of at most 1.13 (GELU) or 1 (tanh): part of terms. The
 * function's own: GELU as x / 2 + x erf / 2 is two terms of together |x|; tanh is a quotient with
 * four relative roundings. */
static void bound_fwd(void *arg)
{
    product *p = arg;
    if (p->act == VLMK_ACT_NONE) return;
    double *error = kit_error(p->y);
    memcpy(at(p->pre, SIZE), at(p->y, SIZE), (size_t)p->y->n * sizeof(double));
    int64_t rows = p->offset ? p->s.offset[p->s.G] : p->s.M;
    p->y->terms *= 1.13;
    for (int64_t i = 0; i < rows * p->s.N; i++)
        error[i] = U_F32 * (p->act == VLMK_ACT_GELU ? 2.0 * fabs(kit_get(p->pre, WANT, i))
                                                    : 4.0 * fabs(kit_get(p->y, WANT, i)));
}

static void run_fwd(const shape *s, int dtype, int y_dtype, int act, int is_whole)
{
    product p;
    begin(&p,
          act == VLMK_ACT_GELU   ? "linear_fwd gelu"
          : act == VLMK_ACT_TANH ? "linear_fwd tanh"
                                 : "linear_fwd",
          s, dtype, is_whole);
    p.act = act;
    p.x = input(&p, "x", s->M * s->K, dtype, is_whole);
    p.w = input(&p, "w", s->G * s->N * s->K, dtype, is_whole);
    if (s->K > 0 && s->N % 2) p.bias = input(&p, "bias", s->G * s->N, VLMOE_F32, is_whole);
    if (act != VLMK_ACT_NONE)
        p.pre = output(&p, "pre", s->M * s->N, dtype, (double)s->K + 1.0, is_whole);
    p.y = output(&p, "y", s->M * s->N, y_dtype, (double)s->K + 1.0, is_whole);
    kit_run(&p.kit, call_fwd, bound_fwd, &p);
    kit_end(&p.kit);
}

TEST(compare_linear_fwd)
{
    for (int i = 0; i < COUNT_OF(shapes); i++)
        for (int t = 0; t < 2; t++) {
            for (int act = VLMK_ACT_NONE; act <= VLMK_ACT_TANH; act++)
                run_fwd(&shapes[i], types[t], types[t], act, 0);
            run_fwd(&shapes[i], types[t], VLMOE_F32, i % 3, 0);
            run_fwd(&shapes[i], types[t], types[t], VLMK_ACT_NONE, 1);
        }
    for (int i = 0; i < 3; i++)
        for (int is_whole = 0; is_whole < 2; is_whole++)
            run_fwd(&large_shapes[i], types[is_whole], VLMOE_F32, 0, is_whole);
}

static int call_dx(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    product *p = arg;
    vlmk_linear_dx_args a = {.dtype = type_at(p->dy, side),
                             .dx_dtype = type_at(p->dx, side),
                             .M = p->s.M,
                             .N = p->s.N,
                             .K = p->s.K,
                             .G = p->s.G,
                             .offset = at(p->offset, side),
                             .dy = at(p->dy, side),
                             .w = at(p->w, side),
                             .dx = at(p->dx, side),
                             .accumulate = p->accumulate};
    return table->linear_dx(env, &a);
}

static void run_dx(const shape *s, int dtype, int dx_dtype, int accumulate, int is_whole)
{
    product p;
    begin(&p, accumulate ? "linear_dx +=" : "linear_dx", s, dtype, is_whole);
    p.accumulate = accumulate;
    p.dy = input(&p, "dy", s->M * s->N, dtype, is_whole);
    p.w = input(&p, "w", s->G * s->N * s->K, dtype, is_whole);
    p.dx = output(&p, "dx", s->M * s->K, dx_dtype, (double)s->N, is_whole);
    kit_run(&p.kit, call_dx, NULL, &p);
    kit_end(&p.kit);
}

TEST(compare_linear_dx)
{
    for (int i = 0; i < COUNT_OF(shapes); i++)
        for (int t = 0; t < 2; t++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                run_dx(&shapes[i], types[t], types[t], accumulate, 0);
                run_dx(&shapes[i], types[t], types[t], accumulate, 1);
                run_dx(&shapes[i], types[t], VLMOE_F32, accumulate, i % 2);
            }
    for (int i = 0; i < 3; i++)
        for (int is_whole = 0; is_whole < 2; is_whole++)
            run_dx(&large_shapes[i], types[!is_whole], VLMOE_F32, i % 2, is_whole);
}

static int call_dw(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    product *p = arg;
    vlmk_dw_part a_part = {
        .M = p->s.M, .offset = at(p->offset, side), .x = at(p->x, side), .dy = at(p->dy, side)};
    vlmk_linear_dw_args a = {.dtype = type_at(p->x, side),
                             .N = p->s.N,
                             .K = p->s.K,
                             .G = p->s.G,
                             .n_parts = 1,
                             .part = &a_part,
                             .dw = at(p->dw, side),
                             .db = at(p->db, side),
                             .accumulate = p->accumulate};
    return table->linear_dw(env, &a);
}

static void run_dw(const shape *s, int dtype, int accumulate, int is_whole, int wants_db)
{
    product p;
    begin(&p, accumulate ? "linear_dw +=" : "linear_dw", s, dtype, is_whole);
    p.accumulate = accumulate;
    p.x = input(&p, "x", s->M * s->K, dtype, is_whole);
    p.dy = input(&p, "dy", s->M * s->N, dtype, is_whole);
    p.dw = output(&p, "dw", s->G * s->N * s->K, VLMOE_F32, (double)s->M, is_whole);
    if (wants_db) p.db = output(&p, "db", s->G * s->N, VLMOE_F32, (double)s->M, is_whole);
    kit_run(&p.kit, call_dw, NULL, &p);
    kit_end(&p.kit);
}

TEST(compare_linear_dw)
{
    for (int i = 0; i < COUNT_OF(shapes); i++)
        for (int t = 0; t < 2; t++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                run_dw(&shapes[i], types[t], accumulate, 0, 1);
                run_dw(&shapes[i], types[t], accumulate, 1, i % 2);
            }
    for (int i = 2; i < 4; i++)
        for (int t = 0; t < 2; t++) run_dw(&large_shapes[i], types[t], i % 2, t, 1);
}

/* Bytes of `rows` rows of y = x w^T + b (or of dx = dy w), for rows first .. first + rows - 1 of
 * the inputs of p, in a call of its own. */
static void row_bits(product *p, int device, int64_t first, int64_t rows, int is_dx, float *out)
{
    size_t size = p->dtype == VLMOE_BF16 ? 2 : 4;
    int64_t cols = is_dx ? p->s.N : p->s.K;
    static _Alignas(64) unsigned char part[130 * 96 * 4];
    const unsigned char *from = at(is_dx ? p->dy : p->x, GOT);
    memcpy(part, from + (size_t)(first * cols) * size, (size_t)(rows * cols) * size);
    vlmk_env *env = device_env(device, 2);
    vlmk_linear_fwd_args f = {.dtype = p->dtype,
                              .y_dtype = VLMOE_F32,
                              .M = rows,
                              .N = p->s.N,
                              .K = p->s.K,
                              .G = 1,
                              .x = part,
                              .w = at(p->w, GOT),
                              .bias = at(p->bias, GOT),
                              .y = out};
    vlmk_linear_dx_args d = {.dtype = p->dtype,
                             .dx_dtype = VLMOE_F32,
                             .M = rows,
                             .N = p->s.N,
                             .K = p->s.K,
                             .G = 1,
                             .dy = part,
                             .w = at(p->w, GOT),
                             .dx = out};
    int status = is_dx ? device_table(device)->linear_dx(env, &d)
                       : device_table(device)->linear_fwd(env, &f);
    device_done(env);
    CHECK_INT(status, VLMOE_OK);
}

TEST(compare_linear_rows_do_not_depend_on_m_or_place)
{
    static const struct {
        int64_t first, rows;
    } parts[] = {{0, 1}, {0, 64}, {1, 63}, {5, 65}, {129, 1}, {64, 66}, {100, 7}};
    static float whole[130 * 96], part[130 * 96];
    const shape s = {130, 72, 80, 1, {0}};
    for (int device = 0; device < device_count(); device++)
        for (int t = 0; t < 2; t++)
            for (int is_dx = 0; is_dx < 2; is_dx++) {
                product p;
                begin(&p, "rows alone", &s, types[t], 0);
                p.x = input(&p, "x", s.M * s.K, types[t], 0);
                p.dy = input(&p, "dy", s.M * s.N, types[t], 0);
                p.w = input(&p, "w", s.N * s.K, types[t], 0);
                p.bias = input(&p, "bias", s.N, VLMOE_F32, 0);
                int64_t cols = is_dx ? s.K : s.N;
                row_bits(&p, device, 0, s.M, is_dx, whole);
                for (int i = 0; i < COUNT_OF(parts); i++) {
                    row_bits(&p, device, parts[i].first, parts[i].rows, is_dx, part);
                    size_t bytes = (size_t)(parts[i].rows * cols) * sizeof(float);
                    if (memcmp(part, whole + parts[i].first * cols, bytes) != 0)
                        test_fail(
                            __FILE__, __LINE__,
                            "%s: rows %lld.. of %s (%s) differ when %lld rows are computed alone",
                            device_name(device), (long long)parts[i].first, is_dx ? "dx" : "y",
                            t ? "bf16" : "f32", (long long)parts[i].rows);
                }
                kit_end(&p.kit);
            }
}

/* accumulate = 1 is one f32 addition of what accumulate = 0 writes. */
TEST(compare_linear_dw_adds_the_whole_product_once)
{
    const shape s = {130, 33, 20, 4, {0, 0, 65, 65, 128}};
    for (int device = 0; device < device_count(); device++)
        for (int t = 0; t < 2; t++) {
            float bits[2][4 * 33 * 20], db[2][4 * 33];
            product p;
            begin(&p, "added once", &s, types[t], 0);
            p.x = input(&p, "x", s.M * s.K, types[t], 0);
            p.dy = input(&p, "dy", s.M * s.N, types[t], 0);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                for (int i = 0; i < COUNT_OF(bits[0]); i++)
                    bits[accumulate][i] = 0.1f * (float)(i % 17);
                for (int i = 0; i < COUNT_OF(db[0]); i++)
                    db[accumulate][i] = 0.1f * (float)(i % 17);
                vlmk_dw_part a_part = {
                    .M = s.M, .offset = s.offset, .x = at(p.x, GOT), .dy = at(p.dy, GOT)};
                vlmk_linear_dw_args a = {.dtype = types[t],
                                         .N = s.N,
                                         .K = s.K,
                                         .G = s.G,
                                         .n_parts = 1,
                                         .part = &a_part,
                                         .dw = bits[accumulate],
                                         .db = db[accumulate],
                                         .accumulate = accumulate};
                vlmk_env *env = device_env(device, 2);
                CHECK_INT(device_table(device)->linear_dw(env, &a), VLMOE_OK);
                device_done(env);
            }
            for (int i = 0; i < COUNT_OF(bits[0]); i++)
                CHECK(bits[1][i] == 0.1f * (float)(i % 17) + bits[0][i]);
            for (int i = 0; i < COUNT_OF(db[0]); i++)
                CHECK(db[1][i] == 0.1f * (float)(i % 17) + db[0][i]);
            kit_end(&p.kit);
        }
}

/* Parts in one call are as many calls that add: bit for bit, whatever a part's rows, and from zero. */
TEST(compare_linear_dw_parts_are_calls_in_order)
{
    enum { N = 72, K = 1100, G = 3, PARTS = 3 };
    const shape s = {700, N, K, G, {0}};
    static const int32_t offset[PARTS][G + 1] = {
        {0, 0, 65, 98}, {0, 530, 530, 531}, {0, 7, 40, 700}}; /* a group without rows; chunks */
    static float bits[2][G * N * K], db[2][G * N];
    for (int device = 0; device < device_count(); device++)
        for (int t = 0; t < 2; t++) {
            product p;
            vlmk_dw_part part[PARTS];
            begin(&p, "parts", &s, types[t], 0);
            p.x = input(&p, "x", s.M * K, types[t], 0);
            p.dy = input(&p, "dy", s.M * N, types[t], 0);
            for (int i = 0; i < PARTS; i++)
                part[i] = (vlmk_dw_part){
                    .M = s.M, .offset = offset[i], .x = at(p.x, GOT), .dy = at(p.dy, GOT)};
            memset(bits, 0, sizeof bits);
            memset(db, 0, sizeof db);
            for (int i = 0; i < PARTS + 1; i++) {
                int all = i == PARTS;
                vlmk_linear_dw_args a = {.dtype = types[t],
                                         .N = N,
                                         .K = K,
                                         .G = G,
                                         .n_parts = all ? PARTS : 1,
                                         .part = all ? part : &part[i],
                                         .dw = bits[all],
                                         .db = db[all],
                                         .accumulate = !all};
                vlmk_env *env = device_env(device, 2);
                CHECK_INT(device_table(device)->linear_dw(env, &a), VLMOE_OK);
                device_done(env);
            }
            if (memcmp(bits[0], bits[1], sizeof bits[0]) || memcmp(db[0], db[1], sizeof db[0]))
                test_fail(__FILE__, __LINE__, "%s, %s: parts in one call give other bits",
                          device_name(device), t ? "bf16" : "f32");
            kit_end(&p.kit);
        }
}

/* Parts of one matrix, its rows ordered by (group, part), give what each part's rows in a matrix of their own give. */
enum { S_N = 40, S_K = 70, S_G = 3, S_PARTS = 4, S_ROWS = 200 };
static const int32_t strided_rows[S_G][S_PARTS] = {
    {0, 65, 3, 0}, {0, 0, 0, 0}, {1, 0, 40, 17}}; /* empty parts, an empty group */

typedef struct strided_case {
    int32_t offset[S_G * S_PARTS + 1];
    vlmk_dw_part strided[S_PARTS], dense[S_PARTS];
    int32_t dense_offset[S_PARTS][S_G + 1];
    _Alignas(64) unsigned char x[S_PARTS][S_ROWS * S_K * 8];
    unsigned char dy[S_PARTS][S_ROWS * S_N * 8];
} strided_case;

static void make_strided(strided_case *c, const void *x, const void *dy, size_t size)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < S_G * S_PARTS; i++)
        c->offset[i + 1] = c->offset[i] + strided_rows[i / S_PARTS][i % S_PARTS];
    for (int p = 0; p < S_PARTS; p++) {
        int32_t row = 0;
        for (int g = 0; g < S_G; g++) {
            size_t from = (size_t)c->offset[g * S_PARTS + p], to = (size_t)row,
                   rows = (size_t)strided_rows[g][p];
            memcpy(c->x[p] + to * S_K * size, (const char *)x + from * S_K * size,
                   rows * S_K * size);
            memcpy(c->dy[p] + to * S_N * size, (const char *)dy + from * S_N * size,
                   rows * S_N * size);
            row += strided_rows[g][p];
            c->dense_offset[p][g + 1] = row;
        }
        c->strided[p] = (vlmk_dw_part){
            .M = S_ROWS, .stride = S_PARTS, .offset = c->offset + p, .x = x, .dy = dy};
        c->dense[p] =
            (vlmk_dw_part){.M = row, .offset = c->dense_offset[p], .x = c->x[p], .dy = c->dy[p]};
    }
}

static void check_strided(const vlmk_table *table, vlmk_env *env, const strided_case *c, int dtype)
{
    static _Alignas(64) unsigned char dw[2][S_G * S_N * S_K * 8], db[2][S_G * S_N * 8];
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        for (int is_dense = 0; is_dense < 2; is_dense++) {
            vlmk_linear_dw_args a = {.dtype = dtype,
                                     .N = S_N,
                                     .K = S_K,
                                     .G = S_G,
                                     .n_parts = S_PARTS,
                                     .part = is_dense ? c->dense : c->strided,
                                     .dw = dw[is_dense],
                                     .db = db[is_dense],
                                     .accumulate = accumulate};
            if (!accumulate) memset(dw[is_dense], 0xff, sizeof dw[0]);
            CHECK_INT(table->linear_dw(env, &a), VLMOE_OK);
            device_done(env);
        }
        CHECK(memcmp(dw[0], dw[1], sizeof dw[0]) == 0);
        CHECK(memcmp(db[0], db[1], sizeof db[0]) == 0);
    }
}

TEST(compare_linear_dw_parts_of_one_matrix)
{
    static strided_case c;
    const shape s = {S_ROWS, S_N, S_K, S_G, {0}};
    for (int t = 0; t < 2; t++) {
        product p;
        begin(&p, "strided parts", &s, types[t], 0);
        p.x = input(&p, "x", S_ROWS * S_K, types[t], 0);
        p.dy = input(&p, "dy", S_ROWS * S_N, types[t], 0);
        make_strided(&c, at(p.x, GOT), at(p.dy, GOT), types[t] == VLMOE_BF16 ? 2 : 4);
        for (int device = 0; device < device_count(); device++)
            check_strided(device_table(device), device_env(device, 2), &c, types[t]);
        make_strided(&c, at(p.x, WANT), at(p.dy, WANT), sizeof(double));
        check_strided(&vlmk_ref_table, device_env(0, 1), &c, VLMOE_F64);
        kit_end(&p.kit);
    }
}

/* An expert's gradient is the same bits whether its weights are alone in the call or among others'. */
TEST(compare_linear_dw_of_one_expert_alone)
{
    enum { N = 130, K = 1100, G = 3 };
    const shape s = {640, N, K, G, {0, 530, 530, 640}};
    static float dw[2][G * N * K], db[2][G * N];
    for (int device = 0; device < device_count(); device++)
        for (int t = 0; t < 2; t++) {
            product p;
            begin(&p, "one expert", &s, types[t], 0);
            p.x = input(&p, "x", s.M * K, types[t], 0);
            p.dy = input(&p, "dy", s.M * N, types[t], 0);
            memset(dw, 0xff, sizeof dw);
            for (int g = -1; g < G; g++) {
                const vlmk_dw_part part = {.M = s.M,
                                           .offset = s.offset + (g < 0 ? 0 : g),
                                           .x = at(p.x, GOT),
                                           .dy = at(p.dy, GOT)};
                vlmk_linear_dw_args a = {.dtype = types[t],
                                         .N = N,
                                         .K = K,
                                         .G = g < 0 ? G : 1,
                                         .n_parts = 1,
                                         .part = &part,
                                         .dw = g < 0 ? dw[0] : dw[1] + g * N * K,
                                         .db = g < 0 ? db[0] : db[1] + g * N};
                CHECK_INT(device_table(device)->linear_dw(device_env(device, 2), &a), VLMOE_OK);
                device_done(device_env(device, 2));
            }
            CHECK(memcmp(dw[0], dw[1], sizeof dw[0]) == 0);
            CHECK(memcmp(db[0], db[1], sizeof db[0]) == 0);
            kit_end(&p.kit);
        }
}
