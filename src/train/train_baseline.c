/* Frequencies of held-out targets. */
#include <math.h>
#include "train_baseline.h"
#include "train_group.h"

/* How often each target is hidden, by part; words for the text parts, codes for the others. */
typedef struct counts {
    int64_t n_words, n_codes;
    int64_t *at[VLM_N_PARTS]; /* [n_words] or [n_codes] */
    double square;            /* sum over patches of the normalised patch's mean square */
    int64_t patches;
} counts;

static bool is_text_part(int part)
{
    return part == VLM_PART_TEXT || part == VLM_PART_PAIR_TEXT;
}

static vlmoe_status counts_init(vlmoe_trainer *t, counts *c)
{
    *c = (counts){.n_words = t->spm ? vlm_spm_special(t->spm).n : 0,
                  .n_codes = t->tokeniser ? t->config->tokeniser.codes : 0};
    for (int i = 0; i < VLM_N_PARTS; i++) {
        c->at[i] =
            vlm_alloc_array((size_t)(is_text_part(i) ? c->n_words : c->n_codes), sizeof(int64_t));
        if (!c->at[i]) return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for target counts");
    }
    return VLMOE_OK;
}

static void counts_fini(counts *c)
{
    for (int i = 0; i < VLM_N_PARTS; i++) vlm_free(c->at[i]);
}

static void count_words(const vlm_group *group, counts *c)
{
    int64_t pair_tokens = group->n_pairs ? group->text_offset[group->n_pairs] : 0;
    for (int64_t i = 0; i < group->n_tokens; i++)
        if (group->token_target[i] >= 0)
            c->at[i < pair_tokens ? VLM_PART_PAIR_TEXT : VLM_PART_TEXT][group->token_target[i]]++;
}

static void count_codes(const vlm_group *group, const int32_t *codes, bool hidden_only, counts *c)
{
    int64_t of_images = group->n_images * group->n_patches,
            all = of_images + group->n_pairs * group->n_patches;
    for (int64_t i = 0; i < all; i++)
        if (group->patch_mask[i] || !hidden_only)
            c->at[i < of_images ? VLM_PART_IMAGE : VLM_PART_PAIR_IMAGE][codes[i]]++;
}

/* The tokeniser's target is a patch with its mean removed, divided by its deviation, which is floored at 1e-3 of the pixel range
 * (docs/FORMATS.md): the mean square of that is 1, or less for a flat patch. */
static double patch_square(const uint8_t *picture, int64_t size, int64_t patch, int64_t p)
{
    int64_t side = size / patch, n = 3 * patch * patch;
    double sum = 0.0, square = 0.0;
    for (int64_t y = 0; y < patch; y++) {
        const uint8_t *row = picture + ((p / side * patch + y) * size + p % side * patch) * 3;
        for (int64_t i = 0; i < 3 * patch; i++) {
            sum += row[i] / 255.0;
            square += row[i] / 255.0 * (row[i] / 255.0);
        }
    }
    double variance = fmax(square / (double)n - sum / (double)n * (sum / (double)n), 0.0);
    return variance / fmax(variance, 1e-6);
}

static vlmoe_status count_tokeniser(vlmoe_trainer *t, const vlm_group *group, counts *c)
{
    vlmoe_status st = vlm_tokeniser_codes(t->tokeniser, group->n_images, group->pixels, t->codes);
    if (st) return vlm_fail(&t->error, st, "image tokeniser: %s", vlmoe_context_error(t->ctx));
    int64_t size = group->image_size, patch = t->config->model.patch;
    for (int64_t i = 0; i < group->n_images; i++)
        for (int64_t p = 0; p < group->n_patches; p++)
            c->square += patch_square(group->pixels + i * size * size * 3, size, patch, p);
    c->patches += group->n_images * group->n_patches;
    count_codes(group, t->codes, false, c);
    return VLMOE_OK;
}

static vlmoe_status count_group(vlmoe_trainer *t, const vlm_group *group, counts *c)
{
    if (!t->model) return count_tokeniser(t, group, c);
    VLM_TRY(vlm_group_targets(t, group));
    if (t->spm) count_words(group, c);
    if (t->tokeniser) count_codes(group, t->codes, true, c);
    return VLMOE_OK;
}

static vlm_constant constant_of(const int64_t *count, int64_t n_targets)
{
    vlm_constant out = {.target = -1, .right = NAN, .loss = NAN};
    int64_t most = 0;
    for (int64_t i = 0; i < n_targets; i++) {
        out.n += count[i];
        if (count[i] <= most) continue;
        most = count[i];
        out.target = (int32_t)i;
    }
    if (!out.n) return out;
    out.right = (double)most / (double)out.n;
    out.loss = 0.0;
    for (int64_t i = 0; i < n_targets; i++) {
        double share = (double)count[i] / (double)out.n;
        if (count[i]) out.loss -= share * log(share);
    }
    return out;
}

static void finish(const vlmoe_trainer *t, const counts *c, vlm_baseline *out)
{
    for (int i = 0; i < VLM_N_PARTS; i++) {
        bool is_counted = is_text_part(i) ? c->n_words > 0 : c->n_codes > 0;
        out->part[i] = constant_of(c->at[i], !is_counted || !t->model ? 0
                                             : is_text_part(i)        ? c->n_words
                                                                      : c->n_codes);
    }
    out->reconstruction = out->code_entropy = NAN;
    if (t->model) return;
    out->reconstruction = c->patches ? c->square / (double)c->patches : NAN;
    out->code_entropy = constant_of(c->at[VLM_PART_IMAGE], c->n_codes).loss;
    out->codes = c->n_codes;
    for (int64_t i = 0; i < c->n_codes; i++) out->codes_used += c->at[VLM_PART_IMAGE][i] > 0;
}

static vlmoe_status walk(vlmoe_trainer *t, counts *c, vlm_baseline *out)
{
    VLM_TRY(vlm_source_seek(t->val, 0, &t->error));
    for (;;) {
        const vlm_group *group = NULL;
        VLM_TRY(vlm_source_next(t->val, &group, &t->error));
        if (!group) return VLMOE_OK;
        VLM_TRY(count_group(t, group, c));
        out->samples[0] += group->n_images;
        out->samples[1] += group->n_texts;
        out->samples[2] += group->n_pairs;
    }
}

vlmoe_status vlm_baseline_measure(vlmoe_trainer *t, vlm_baseline *out)
{
    counts c = {0};
    vlm_baseline found = {0};
    t->error = (vlmoe_error){VLMOE_OK, ""};
    if (!t->val)
        return vlm_fail(&t->error, VLMOE_E_STATE,
                        "no held-out data: set data.val_pairs, data.val_texts or data.val_images");
    vlmoe_status st = counts_init(t, &c);
    if (!st) st = walk(t, &c, &found);
    if (!st) {
        finish(t, &c, &found);
        *out = found;
    }
    counts_fini(&c);
    return st;
}
