/* Masked pretraining: words of texts and pairs, image codes of images and pairs (VL-MoE, section
 * 3.1). Which positions are hidden is the data's business, who is right is decided here. */
#include <string.h>
#include "objective.h"

const char *const vlm_part_names[VLM_N_PARTS] = {"text", "image", "pair_text", "pair_image"};

/* A list of rows for one head while it is being filled. */
typedef struct rows {
    int64_t n;
    int32_t *row, *target, *part;
} rows;

static bool rows_init(vlmoe_tape *tape, int64_t capacity, rows *r)
{
    r->n = 0;
    capacity = VLM_MAX(capacity, 1);
    r->row = vlm_tape_host(tape, (size_t)capacity * sizeof *r->row);
    r->target = vlm_tape_host(tape, (size_t)capacity * sizeof *r->target);
    r->part = vlm_tape_host(tape, (size_t)capacity * sizeof *r->part);
    return r->row && r->target && r->part;
}

static void rows_put(rows *r, int64_t row, int32_t target, int part)
{
    r->row[r->n] = (int32_t)row;
    r->target[r->n] = target;
    r->part[r->n++] = part;
}

static double part_weight(const vlmoe_config *config, int part)
{
    const vlm_cfg_objective *o = &config->objective;
    switch (part) {
    case VLM_PART_TEXT:
        return o->text_weight;
    case VLM_PART_IMAGE:
        return o->image_weight;
    case VLM_PART_PAIR_TEXT:
        return o->pair_text_weight;
    default:
        return o->pair_image_weight;
    }
}

/* Hidden words, pair texts then texts. Parts with weight 0 are off: their rows never reach the
 * head. */
static bool list_words(vlmoe_tape *tape, const vlmoe_config *config, const vlm_group *group,
                       vlm_masked *out)
{
    rows r;
    if (!rows_init(tape, group->n_tokens, &r)) return false;
    int64_t pair_tokens = group->n_pairs ? group->text_offset[group->n_pairs] : 0;
    for (int64_t t = 0; t < group->n_tokens; t++) {
        int part = t < pair_tokens ? VLM_PART_PAIR_TEXT : VLM_PART_TEXT;
        if (group->token_target[t] < 0 || part_weight(config, part) <= 0.0) continue;
        rows_put(&r, out->model.rows.text_begin + t, group->token_target[t], part);
    }
    out->n_words = r.n;
    out->word_row = r.row;
    out->word_target = r.target;
    out->word_part = r.part;
    return true;
}

/* Hidden patches, images then pairs. */
static bool list_codes(vlmoe_tape *tape, const vlmoe_config *config, const vlm_group *group,
                       const int32_t *codes, vlm_masked *out)
{
    rows r;
    int64_t P = group->n_patches, n_pictures = group->n_images + group->n_pairs;
    if (!rows_init(tape, n_pictures * P, &r)) return false;
    for (int64_t i = 0; group->patch_mask && i < n_pictures * P; i++) {
        int part = i < group->n_images * P ? VLM_PART_IMAGE : VLM_PART_PAIR_IMAGE;
        if (!group->patch_mask[i] || part_weight(config, part) <= 0.0) continue;
        if (!codes) {
            vlm_poison(tape, VLMOE_E_ARG,
                       "patches of a group are masked, but there are no image codes to predict; "
                       "set data.image_tokeniser, or "
                       "objective.image_weight and pair_image_weight to 0");
            return false;
        }
        rows_put(&r, i / P * (1 + P) + 1 + i % P, codes[i], part);
    }
    out->n_codes = r.n;
    out->code_row = r.row;
    out->code_target = r.target;
    out->code_part = r.part;
    return true;
}

/* Weighted cross-entropy of one head's rows; each part weighs weight / its rows. NULL after
 * poisoning. */
typedef struct head {
    const char *what;
    int64_t n;
    const int32_t *row, *target, *part;
    vlmoe_tensor *(*run)(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x);
} head;

static void *upload_weights(vlmoe_tape *tape, const vlmoe_config *config, const head *h)
{
    int64_t n[VLM_N_PARTS] = {0};
    double *weight = vlm_tape_host(tape, (size_t)h->n * sizeof *weight);
    if (!weight) return NULL;
    for (int64_t i = 0; i < h->n; i++) n[h->part[i]]++;
    for (int64_t i = 0; i < h->n; i++)
        weight[i] = part_weight(config, h->part[i]) / (double)n[h->part[i]];
    return vlm_upload_wide(tape, weight, h->n);
}

static bool check_targets(vlmoe_tape *tape, const head *h, int64_t classes)
{
    for (int64_t i = 0; i < h->n; i++) {
        if (h->target[i] >= 0 && h->target[i] < classes) continue;
        vlm_poison(tape, VLMOE_E_ARG, "a target of the %s head is %d, expected 0 to %lld", h->what,
                   h->target[i], (long long)classes - 1);
        return false;
    }
    return true;
}

static vlmoe_tensor *record_head(vlmoe_tape *tape, const vlm_mome *model,
                                 const vlmoe_config *config, const head *h, vlmoe_tensor *hidden,
                                 vlm_ce_result *result)
{
    const int32_t *d_row = vlm_tape_upload(tape, h->row, (size_t)h->n * sizeof *h->row);
    const int32_t *d_target = vlm_tape_upload(tape, h->target, (size_t)h->n * sizeof *h->target);
    void *d_weight = upload_weights(tape, config, h);
    if (!d_row || !d_target || !d_weight) return NULL;
    vlmoe_tensor *x = vlm_gather_sum(tape, 1, &hidden, &d_row, h->n, tape->ctx->compute);
    vlmoe_tensor *logits = h->run(tape, model, x);
    vlm_tape_release(tape, x);
    if (!logits || !check_targets(tape, h, vlm_cols(logits))) return NULL;
    vlmoe_loss_add(tape, vlm_cross_entropy_rows(tape, logits, d_target, d_weight, result), 1.0);
    return logits;
}

void vlm_masked_record(vlmoe_tape *tape, const vlm_mome *model, const vlmoe_config *config,
                       const vlm_group *group, const int32_t *codes, vlm_masked *out)
{
    memset(out, 0, sizeof *out);
    vlm_mome_inputs inputs = {.n_images = group->n_images,
                              .n_texts = group->n_texts,
                              .n_pairs = group->n_pairs,
                              .pixels = group->pixels,
                              .patch_mask = group->patch_mask,
                              .token = group->token,
                              .text_offset = group->text_offset};
    int64_t n_recompute =
        config->run.recompute ? config->model.layers : config->run.recompute_blocks;
    vlm_mome_encode(tape, model, &inputs, n_recompute, &out->model);
    if (!out->model.hidden) return;
    if (!list_words(tape, config, group, out) || !list_codes(tape, config, group, codes, out))
        return;
    head words = {"word",           out->n_words,   out->word_row,
                  out->word_target, out->word_part, vlm_mome_word_logits};
    head image = {"image code",     out->n_codes,   out->code_row,
                  out->code_target, out->code_part, vlm_mome_code_logits};
    if (words.n)
        out->word_logits = record_head(tape, model, config, &words, out->model.hidden, &out->word);
    if (image.n)
        out->code_logits = record_head(tape, model, config, &image, out->model.hidden, &out->code);
}

void vlm_masked_release(vlmoe_tape *tape, vlm_masked *masked)
{
    vlm_tape_release(tape, masked->word_logits);
    vlm_tape_release(tape, masked->code_logits);
    vlm_tape_release(tape, masked->model.hidden);
}

/* Sums of one head's rows into their parts. */
static vlmoe_status add_metrics(vlmoe_tape *tape, int64_t n, const int32_t *part,
                                const vlm_ce_result *result, vlm_part_metrics *out)
{
    if (!n) return VLMOE_OK;
    vlmoe_context *ctx = tape->ctx;
    double *nll = vlm_tape_host(tape, (size_t)n * sizeof *nll);
    int32_t *correct = vlm_tape_host(tape, (size_t)n * sizeof *correct);
    if (!nll || !correct) return vlmoe_tape_status(tape);
    VLM_TRY(vlm_download_wide(ctx, result->d_nll, n, nll));
    VLM_TRY(ctx->backend->download(ctx->device, correct, result->d_correct,
                                   (size_t)n * sizeof *correct));
    for (int64_t i = 0; i < n; i++) {
        out->n[part[i]]++;
        out->loss[part[i]] += nll[i];
        out->correct[part[i]] += correct[i];
    }
    return VLMOE_OK;
}

vlmoe_status vlm_masked_metrics(vlmoe_tape *tape, const vlm_masked *masked, vlm_part_metrics *out)
{
    vlm_part_metrics sums = {0};
    VLM_TRY(vlmoe_tape_status(tape));
    VLM_TRY(tape->ctx->backend->sync(tape->ctx->device, &tape->ctx->error));
    VLM_TRY(add_metrics(tape, masked->n_words, masked->word_part, &masked->word, &sums));
    VLM_TRY(add_metrics(tape, masked->n_codes, masked->code_part, &masked->code, &sums));
    for (int p = 0; p < VLM_N_PARTS; p++) {
        if (!sums.n[p]) continue;
        sums.loss[p] /= (double)sums.n[p];
        sums.correct[p] /= (double)sums.n[p];
    }
    *out = sums;
    return VLMOE_OK;
}
