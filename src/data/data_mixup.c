/* Drawing and applying mixtures of a group. */
#include "data_mixup.h"

#include <math.h>
#include <string.h>

enum { WHOLE = 65536 };

/* ---- Drawing ---- */

/* Logarithm of a draw of Gamma(shape, 1). Below 1 by way of shape + 1 (their section 6). */
static double log_gamma(double shape, vlm_rng *rng)
{
    const double boost = shape < 1.0 ? log(1.0 - vlm_rng_unit(rng)) / shape : 0.0;
    const double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        const double x = vlm_rng_normal(rng), t = 1.0 + c * x, v = t * t * t;
        const double u = 1.0 - vlm_rng_unit(rng);
        if (t > 0.0 && log(u) < 0.5 * x * x + d - d * v + d * log(v)) return log(d * v) + boost;
    }
}

double vlm_beta(double a, vlm_rng *rng)
{
    const double x = log_gamma(a, rng), y = log_gamma(a, rng);
    return 1.0 / (1.0 + exp(y - x));
}

/* A box of about 1 - lambda of the area, cut off at the edges. */
static vlm_box draw_box(double lambda, int64_t size, vlm_rng *rng)
{
    const int64_t half = (int64_t)((double)size * sqrt(1.0 - lambda)) / 2;
    const int64_t y = (int64_t)vlm_rng_below(rng, (uint64_t)size);
    const int64_t x = (int64_t)vlm_rng_below(rng, (uint64_t)size);
    const int64_t left = VLM_MAX(x - half, 0), top = VLM_MAX(y - half, 0);
    return (vlm_box){left, top, VLM_MIN(x + half, size) - left, VLM_MIN(y + half, size) - top};
}

vlm_mixture vlm_mixture_draw(const vlm_mixup *params, int64_t size, vlm_rng *rng)
{
    vlm_mixture m = {.is_cut = vlm_rng_unit(rng) < 0.5};
    if (params->mixup <= 0.0 || params->cutmix <= 0.0) m.is_cut = params->cutmix > 0.0;
    const double lambda = vlm_beta(m.is_cut ? params->cutmix : params->mixup, rng);
    if (m.is_cut) {
        m.box = draw_box(lambda, size, rng);
        m.keep = 1.0 - (double)(m.box.width * m.box.height) / (double)(size * size);
    } else {
        m.blend = (int32_t)rint(lambda * WHOLE);
        m.keep = (double)m.blend / WHOLE; /* what the pixels really got */
    }
    return m;
}

/* ---- Pixels ---- */

/* Both at once, in integers and rounded: the same bytes with any instruction set. */
static void blend(uint8_t *a, uint8_t *b, int64_t n, int32_t keep)
{
    for (int64_t i = 0; i < n; i++) {
        const int32_t p = a[i], q = b[i];
        a[i] = (uint8_t)((p * keep + q * (WHOLE - keep) + WHOLE / 2) / WHOLE);
        b[i] = (uint8_t)((q * keep + p * (WHOLE - keep) + WHOLE / 2) / WHOLE);
    }
}

static void swap_box(uint8_t *a, uint8_t *b, int64_t size, const vlm_box *box)
{
    for (int64_t y = box->y; y < box->y + box->height; y++)
        for (int64_t i = (y * size + box->x) * 3; i < (y * size + box->x + box->width) * 3; i++) {
            const uint8_t kept = a[i];
            a[i] = b[i];
            b[i] = kept;
        }
}

static void mix_pixels(const vlm_mixture *m, vlm_group *group)
{
    const int64_t n = group->n_examples, size = group->image_size, bytes = size * size * 3;
    for (int64_t i = 0; i < n / 2; i++) {
        uint8_t *a = group->pixels + i * bytes, *b = group->pixels + (n - 1 - i) * bytes;
        if (m->is_cut) swap_box(a, b, size, &m->box);
        else blend(a, b, bytes, m->blend);
    }
}

/* ---- Labels ---- */

typedef struct label_list {
    int32_t *offset, *label; /* [n + 1], [most] */
    float *score;
} label_list;

/* Labels of example i of `from` with a share are added to what `to` has from `begin` on. */
static void add_shares(const label_list *from, int64_t i, double share, int32_t begin,
                       label_list *to, int32_t *end)
{
    for (int32_t k = from->offset[i]; k < from->offset[i + 1] && share > 0.0; k++) {
        int32_t at = begin;
        while (at < *end && to->label[at] != from->label[k]) at++;
        if (at == *end) {
            to->label[at] = from->label[k];
            to->score[at] = 0.0f;
            (*end)++;
        }
        to->score[at] += (float)(share * (double)from->score[k]);
    }
}

static vlmoe_status mix_labels(const vlm_mixture *m, vlm_group *group, vlm_workspace *workspace,
                               vlmoe_error *error)
{
    const int64_t n = group->n_examples, n_labels = group->label_offset[n];
    label_list to = {group->label_offset, group->label, group->label_score};
    label_list from = {vlm_workspace_take(workspace, (size_t)n + 1, sizeof *from.offset),
                       vlm_workspace_take(workspace, (size_t)n_labels, sizeof *from.label),
                       vlm_workspace_take(workspace, (size_t)n_labels, sizeof *from.score)};
    if (!from.offset || !from.label || !from.score)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to mix %lld labels", (long long)n_labels);
    memcpy(from.offset, to.offset, ((size_t)n + 1) * sizeof *from.offset);
    memcpy(from.label, to.label, (size_t)n_labels * sizeof *from.label);
    memcpy(from.score, to.score, (size_t)n_labels * sizeof *from.score);
    for (int64_t i = 0; i < n; i++) {
        int32_t end = to.offset[i];
        add_shares(&from, i, m->keep, to.offset[i], &to, &end);
        add_shares(&from, n - 1 - i, 1.0 - m->keep, to.offset[i], &to, &end);
        to.offset[i + 1] = end;
    }
    return VLMOE_OK;
}

vlmoe_status vlm_mixture_apply(const vlm_mixture *mixture, vlm_group *group,
                               vlm_workspace *workspace, vlmoe_error *error)
{
    VLM_ASSERT(group->n_examples == group->n_images);
    mix_pixels(mixture, group);
    return mix_labels(mixture, group, workspace, error);
}
