/* Losses, nearest codes and patches on devices. */
#include <string.h>
#include "compare.h"

static const struct {
    int64_t rows, cols;
} sizes[] = {{0, 5}, {1, 1}, {3, 7}, {63, 65}, {64, 16}, {129, 33}, {5, 1027}, {65, 127}};
static const int types[] = {VLMOE_F32, VLMOE_BF16};

typedef struct loss_run {
    kit kit;
    int64_t M, C;
    double dloss_value;
    int is_in_place;
    tensor *x, *label, *target, *weight, *nll, *lse, *correct, *loss, *dloss, *dx, *code, *index;
} loss_run;

static void begin(loss_run *p, const char *what, int64_t M, int64_t C)
{
    memset(p, 0, sizeof *p);
    kit_begin(&p->kit, "%s %lld x %lld", what, (long long)M, (long long)C);
    p->M = M;
    p->C = C;
}

/* Every fourth row is skipped; row 1 is all equal, row 2 far from zero; the target of row 1 is the
 * first of the equals. */
static void add_rows(loss_run *p)
{
    int32_t label[129];
    p->x = kit_real(&p->kit, "logits", p->M * p->C, VLMOE_F32, 8.0);
    for (int64_t r = 0; r < p->M; r++) label[r] = r % 4 == 3 ? -1 : (int32_t)(r * 31 % p->C);
    if (p->M > 2) label[1] = 0;
    for (int64_t c = 0; p->M > 2 && c < p->C; c++) {
        kit_set(p->x, p->C + c, 2.5);
        kit_set(p->x, 2 * p->C + c, 500.0 + kit_get(p->x, WANT, 2 * p->C + c));
    }
    p->label = kit_ints(&p->kit, "target", p->M, label);
    p->weight = kit_real(&p->kit, "row_weight", p->M, VLMOE_F32, 1.0);
}

static int call_cross_entropy_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    loss_run *p = arg;
    vlmk_cross_entropy_fwd_args a = {.M = p->M,
                                     .V = p->C,
                                     .logits = at(p->x, side),
                                     .target = at(p->label, side),
                                     .row_weight = at(p->weight, side),
                                     .nll = at(p->nll, side),
                                     .lse = at(p->lse, side),
                                     .correct = at(p->correct, side),
                                     .loss = at(p->loss, side)};
    return table->cross_entropy_fwd(env, &a);
}

/* lse = top + log(sum of V exponentials): V relative roundings in the sum, an exponent's argument
 * off by u (top - x), one rounding at the end. nll: one more difference. loss: a sum of M. */
static void bound_cross_entropy_fwd(void *arg)
{
    loss_run *p = arg;
    double total = 0.0, size = 0.0;
    for (int64_t r = 0; r < p->M; r++) {
        const double *x = (const double *)at(p->x, WANT) + r * p->C;
        double top = -INFINITY, bottom = INFINITY, lse = kit_get(p->lse, WANT, r),
               nll = kit_get(p->nll, WANT, r);
        for (int64_t c = 0; c < p->C; c++) {
            top = fmax(top, x[c]);
            bottom = fmin(bottom, x[c]);
        }
        double e = U_F32 * ((double)p->C + 4.0 + (top - bottom) + fabs(lse));
        kit_error(p->lse)[r] = e;
        kit_error(p->nll)[r] = ((int32_t *)at(p->label, WANT))[r] < 0 ? 0.0 : e + U_F32 * fabs(nll);
        total += fabs(kit_get(p->weight, WANT, r)) * kit_error(p->nll)[r];
        size += fabs(kit_get(p->weight, WANT, r) * nll);
    }
    kit_error(p->loss)[0] = total + ((double)p->M + 1.0) * U_F32 * size;
}

TEST(compare_cross_entropy_fwd)
{
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        loss_run p;
        begin(&p, "cross_entropy_fwd", sizes[i].rows, sizes[i].cols);
        add_rows(&p);
        p.nll = kit_output(&p.kit, "nll", p.M, VLMOE_F32, 0);
        p.lse = kit_output(&p.kit, "lse", p.M, VLMOE_F32, 0);
        p.correct = kit_int_output(&p.kit, "correct", p.M);
        p.loss = kit_output(&p.kit, "loss", 1, VLMOE_F32, 0);
        kit_run(&p.kit, call_cross_entropy_fwd, bound_cross_entropy_fwd, &p);
        kit_end(&p.kit);
    }
}

static int call_cross_entropy_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    loss_run *p = arg;
    vlmk_cross_entropy_bwd_args a = {.M = p->M,
                                     .V = p->C,
                                     .out_dtype = type_at(p->dx, side),
                                     .logits = at(p->is_in_place ? p->dx : p->x, side),
                                     .target = at(p->label, side),
                                     .row_weight = at(p->weight, side),
                                     .lse = at(p->lse, side),
                                     .dloss = at(p->dloss, side),
                                     .dlogits = at(p->dx, side)};
    return table->cross_entropy_bwd(env, &a);
}

/* softmax = exp(x - lse): its argument is off by u (|x| + |lse|); then a difference and two
 * products. */
static void bound_cross_entropy_bwd(void *arg)
{
    loss_run *p = arg;
    for (int64_t i = 0; i < p->M * p->C; i++) {
        int64_t r = i / p->C;
        int32_t label = ((int32_t *)at(p->label, WANT))[r];
        double x = kit_get(p->x, WANT, i), lse = kit_get(p->lse, WANT, r), share = exp(x - lse);
        double factor = label < 0 ? 0.0 : fabs(p->dloss_value * kit_get(p->weight, WANT, r));
        double size = share * (fabs(x) + fabs(lse) + 8.0) + (i % p->C == label ? 4.0 : 0.0);
        kit_error(p->dx)[i] = U_F32 * factor * size;
    }
}

static void run_cross_entropy_bwd(int64_t M, int64_t V, int out_dtype, int is_in_place)
{
    loss_run p;
    begin(&p, is_in_place ? "cross_entropy_bwd in place" : "cross_entropy_bwd", M, V);
    add_rows(&p);
    p.is_in_place = is_in_place;
    p.lse = kit_real(&p.kit, "lse", M, VLMOE_F32, 1.0);
    for (int64_t r = 0; r < M; r++)
        kit_set(p.lse, r, ref_log_sum_exp((const double *)at(p.x, WANT) + r * V, V));
    p.dloss = kit_real(&p.kit, "dloss", 1, VLMOE_F32, 1.0);
    p.dloss_value = -0.75;
    kit_set(p.dloss, 0, p.dloss_value);
    if (is_in_place) {
        p.dx = kit_real(&p.kit, "dlogits", M * V, out_dtype, 1.0);
        for (int64_t i = 0; i < M * V; i++) kit_set(p.dx, i, kit_get(p.x, WANT, i));
        kit_updated(p.dx, 0);
    } else {
        p.dx = kit_output(&p.kit, "dlogits", M * V, out_dtype, 0);
    }
    kit_run(&p.kit, call_cross_entropy_bwd, bound_cross_entropy_bwd, &p);
    kit_end(&p.kit);
}

TEST(compare_cross_entropy_bwd)
{
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        for (int t = 0; t < 2; t++)
            run_cross_entropy_bwd(sizes[i].rows, sizes[i].cols, types[t], 0);
        run_cross_entropy_bwd(sizes[i].rows, sizes[i].cols, VLMOE_F32, 1);
    }
}

static int call_mse_fwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    loss_run *p = arg;
    vlmk_mse_fwd_args a = {.M = p->M,
                           .C = p->C,
                           .x = at(p->x, side),
                           .target = at(p->target, side),
                           .row_weight = at(p->weight, side),
                           .row_loss = at(p->nll, side),
                           .loss = at(p->loss, side)};
    return table->mse_fwd(env, &a);
}

static int call_mse_bwd(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    loss_run *p = arg;
    vlmk_mse_bwd_args a = {.M = p->M,
                           .C = p->C,
                           .x = at(p->x, side),
                           .target = at(p->target, side),
                           .row_weight = at(p->weight, side),
                           .dloss = at(p->dloss, side),
                           .dx = at(p->dx, side)};
    return table->mse_bwd(env, &a);
}

/* A difference is rounded once, so a row's loss is relative: C terms and four roundings. loss: a
 * sum of M. dx: five roundings. */
static void bound_mse(void *arg)
{
    loss_run *p = arg;
    double size = 0.0, relative = ((double)p->C + 4.0) * U_F32;
    for (int64_t r = 0; p->nll && r < p->M; r++) {
        kit_error(p->nll)[r] = relative * kit_get(p->nll, WANT, r);
        size += fabs(kit_get(p->nll, WANT, r) * kit_get(p->weight, WANT, r));
    }
    if (p->loss) kit_error(p->loss)[0] = (relative + ((double)p->M + 1.0) * U_F32) * size;
    for (int64_t i = 0; p->dx && i < p->dx->n; i++)
        kit_error(p->dx)[i] = 5.0 * U_F32 * fabs(kit_get(p->dx, WANT, i));
}

TEST(compare_mse)
{
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int is_bwd = 0; is_bwd < 2; is_bwd++) {
            loss_run p;
            begin(&p, is_bwd ? "mse_bwd" : "mse_fwd", sizes[i].rows, sizes[i].cols);
            p.x = kit_real(&p.kit, "x", p.M * p.C, VLMOE_F32, 1.0);
            p.target = kit_real(&p.kit, "target", p.M * p.C, VLMOE_F32, 1.0);
            p.weight = kit_real(&p.kit, "row_weight", p.M, VLMOE_F32, 1.0);
            p.dloss = kit_real(&p.kit, "dloss", 1, VLMOE_F32, 1.0);
            if (is_bwd) p.dx = kit_output(&p.kit, "dx", p.M * p.C, VLMOE_F32, 0);
            else p.nll = kit_output(&p.kit, "row_loss", p.M, VLMOE_F32, 0);
            if (!is_bwd) p.loss = kit_output(&p.kit, "loss", 1, VLMOE_F32, 0);
            kit_run(&p.kit, is_bwd ? call_mse_bwd : call_mse_fwd, bound_mse, &p);
            kit_end(&p.kit);
        }
}

static int call_vq(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    loss_run *p = arg;
    vlmk_vq_assign_args a = {.M = p->M,
                             .n_codes = p->code->n / (p->C ? p->C : 1),
                             .C = p->C,
                             .z = at(p->x, side),
                             .code = at(p->code, side),
                             .index = at(p->index, side)};
    return table->vq_assign(env, &a);
}

/* Whole numbers: many exact ties, and the index must be equal. Products below 2^24, so no order of
 * adding differs. */
TEST(compare_vq_assign_is_exact_with_ties)
{
    static const int64_t codes[] = {1, 2, 63, 65, 530};
    for (int i = 0; i < COUNT_OF(sizes); i++)
        for (int n = 0; n < COUNT_OF(codes); n++) {
            loss_run p;
            begin(&p, "vq_assign", sizes[i].rows, sizes[i].cols);
            p.x = kit_whole(&p.kit, "z", p.M * p.C, VLMOE_F32, 1);
            p.code = kit_whole(&p.kit, "code", codes[n] * p.C, VLMOE_F32, 1);
            p.index = kit_int_output(&p.kit, "index", p.M);
            kit_run(&p.kit, call_vq, NULL, &p);
            kit_end(&p.kit);
        }
}

typedef struct patch_run {
    kit kit;
    int64_t B, height, width, patch;
    uint8_t pixels[2 * 48 * 32 * 3];
    tensor *out;
} patch_run;

static const double mean[3] = {0.485, 0.456, 0.406}, deviation[3] = {0.229, 0.224, 0.225};

static int call_patchify(const vlmk_table *table, vlmk_env *env, void *arg, int side)
{
    patch_run *p = arg;
    vlmk_patchify_args a = {.out_dtype = type_at(p->out, side),
                            .B = p->B,
                            .height = p->height,
                            .width = p->width,
                            .patch = p->patch,
                            .pixels = p->pixels,
                            .out = at(p->out, side)};
    memcpy(a.mean, mean, sizeof mean);
    memcpy(a.deviation, deviation, sizeof deviation);
    return table->patchify(env, &a);
}

/* Terms pixel / 255 and mean, both below 1, over deviation: three roundings of each. */
static void bound_patchify(void *arg)
{
    patch_run *p = arg;
    for (int64_t i = 0; i < p->out->n; i++)
        kit_error(p->out)[i] = 3.0 * U_F32 * (1.0 + 0.485) / 0.224;
}

TEST(compare_patchify)
{
    static const struct {
        int64_t B, height, width, patch;
    } images[] = {{0, 16, 16, 16}, {1, 16, 16, 16}, {2, 48, 32, 16}, {2, 21, 14, 7}, {1, 3, 4, 1}};
    for (int i = 0; i < COUNT_OF(images); i++)
        for (int t = 0; t < 2; t++) {
            static patch_run p;
            memset(&p, 0, sizeof p);
            kit_begin(&p.kit, "patchify case %d", i);
            p.B = images[i].B, p.height = images[i].height, p.width = images[i].width,
            p.patch = images[i].patch;
            for (int b = 0; b < COUNT_OF(p.pixels); b++) p.pixels[b] = (uint8_t)(b * 37 + b / 256);
            p.out = kit_output(&p.kit, "out", p.B * p.height * p.width * 3, types[t], 0);
            kit_run(&p.kit, call_patchify, bound_patchify, &p);
            kit_end(&p.kit);
        }
}
