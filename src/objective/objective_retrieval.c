/* Recording of one group of retrieval, and what is reported of it. The whole step's contrastive loss: objective_contrastive.c. */
#include "objective_retrieval.h"
#include <math.h>
#include <string.h>
#include "base_rng.h"
#include "objective_contrastive.h"

static int64_t recomputed(const vlmoe_config *config)
{
    return config->run.recompute ? config->model.layers : config->run.recompute_blocks;
}

/* Each sample its own concept. */
static const int64_t *own_concepts(vlmoe_tape *tape, int64_t n)
{
    int64_t *concept = vlm_tape_host(tape, (size_t)VLM_MAX(n, 1) * sizeof *concept);
    for (int64_t i = 0; concept && i < n; i++) concept[i] = i;
    return concept;
}

/* Encode apart, and features of both sides. */
static bool record_features(vlmoe_tape *tape, const vlm_task_parts *parts, const vlm_group *group,
                            vlm_retrieval *out)
{
    memset(out, 0, sizeof *out);
    if (group->n_pairs || group->n_images != group->n_texts) {
        vlm_poison(tape, VLMOE_E_ARG,
                   "a group of retrieval has %lld images, %lld texts and %lld pairs, expected as "
                   "many images as texts and no pairs",
                   (long long)group->n_images, (long long)group->n_texts,
                   (long long)group->n_pairs);
        return false;
    }
    out->n = group->n_texts;
    out->concept = group->concept ? group->concept : own_concepts(tape, out->n);
    out->apart = (vlm_mome_inputs){.n_images = group->n_images,
                                   .n_texts = group->n_texts,
                                   .pixels = group->pixels,
                                   .token = group->token,
                                   .text_offset = group->text_offset};
    vlm_mome_encode(tape, parts->model, &out->apart, recomputed(parts->config), &out->apart_model);
    const vlm_encoded encoded = {.inputs = &out->apart, .model = &out->apart_model};
    for (int side = 0; side < 2; side++) {
        out->feature[side] = vlm_head_features(tape, parts->head, &encoded, (vlm_side)side);
        if (!out->feature[side]) return false;
    }
    vlm_tape_release(tape, out->apart_model.hidden);
    return true;
}

/* Both directions against the group's own pairs. */
static void record_in_group(vlmoe_tape *tape, const vlmoe_config *config, vlm_retrieval *out)
{
    vlm_class_targets targets;
    double weight = 0.5 * config->task.contrastive_weight;
    if (!vlm_contrastive_targets(tape, out->n, out->n, out->concept, &targets)) return;
    out->in_group = true;
    for (int side = 0; side < 2; side++)
        vlmoe_loss_add(
            tape, vlm_class_loss(tape, out->similarity[side], &targets, &out->contrastive[side]),
            weight);
}

/* ---- negatives ---- */

/* A sample whose concept differs from that of row i, drawn in proportion to exp(similarity); -1 where there is none. */
static int32_t draw_negative(const double *similarity, const int64_t *concept, int64_t n, int64_t i,
                             double unit)
{
    double top = -INFINITY, total = 0.0;
    int32_t last = -1;
    for (int64_t j = 0; j < n; j++)
        if (concept[j] != concept[i]) top = fmax(top, similarity[j]);
    for (int64_t j = 0; j < n; j++)
        if (concept[j] != concept[i]) total += exp(similarity[j] - top);
    double left = unit * total;
    for (int64_t j = 0; j < n; j++) {
        if (concept[j] == concept[i]) continue;
        last = (int32_t)j; /* also where rounding has left a little at the end */
        left -= exp(similarity[j] - top);
        if (left < 0.0) break;
    }
    return last;
}

/* negative[side of the drawn]: rows of the other side draw. */
static bool draw_negatives(vlmoe_tape *tape, vlm_retrieval *out)
{
    vlmoe_context *ctx = tape->ctx;
    int64_t n = out->n;
    double *similarity = vlm_tape_host(tape, (size_t)(n * n) * sizeof *similarity);
    if (!similarity) return false;
    for (int side = 0; side < 2; side++) {
        int32_t *negative = vlm_tape_host(tape, (size_t)n * sizeof *negative);
        if (!negative) return false;
        out->negative[1 - side] = negative;
        for (int64_t i = 0; i < n; i++) negative[i] = (int32_t)((i + 1) % n);
        if (!ctx->backend->has_data) continue;
        vlmoe_status status =
            vlm_download_wide(ctx, out->similarity[side]->data, n * n, similarity);
        if (status) return vlm_poison(tape, status, "similarities cannot be read"), false;
        for (int64_t i = 0; i < n; i++) {
            vlm_rng rng = vlm_rng_at(ctx->seed, VLM_STREAM_NEGATIVE, (uint64_t)tape->step,
                                     (uint64_t)tape->group, 2 * (uint64_t)i + (uint64_t)side);
            negative[i] = draw_negative(similarity + i * n, out->concept, n, i, vlm_rng_unit(&rng));
        }
    }
    return true;
}

/* ---- matching ---- */

/* 3 n pairs: (text i, picture i); (text i, a negative picture); (a negative text, picture i). Pictures stay where they are, tokens are
 * copied. A missing negative is the sample itself, and weighs nothing. */
static bool plan_pairs(vlmoe_tape *tape, vlm_retrieval *out)
{
    const vlm_mome_inputs *apart = &out->apart;
    int64_t n = out->n;
    int32_t *picture = vlm_tape_host(tape, (size_t)(3 * n) * sizeof *picture),
            *text = vlm_tape_host(tape, (size_t)(3 * n) * sizeof *text),
            *offset = vlm_tape_host(tape, (size_t)(3 * n + 1) * sizeof *offset);
    out->match_weight = vlm_tape_host(tape, (size_t)(3 * n) * sizeof *out->match_weight);
    if (!picture || !text || !offset || !out->match_weight) return false;
    for (int64_t i = 0; i < n; i++) {
        int32_t other[2] = {out->negative[VLM_SIDE_IMAGE][i], out->negative[VLM_SIDE_TEXT][i]},
                self = (int32_t)i;
        picture[i] = text[i] = text[n + i] = picture[2 * n + i] = self;
        picture[n + i] = other[0] < 0 ? self : other[0];
        text[2 * n + i] = other[1] < 0 ? self : other[1];
        out->match_weight[i] = 1.0;
        for (int k = 0; k < 2; k++) out->match_weight[(k + 1) * n + i] = other[k] < 0 ? 0.0 : 1.0;
        out->n_matched += 1 + (other[0] >= 0) + (other[1] >= 0);
    }
    for (int64_t i = 0; i < 3 * n; i++) {
        out->match_weight[i] /= (double)out->n_matched;
        offset[i + 1] = offset[i] + apart->text_offset[text[i] + 1] - apart->text_offset[text[i]];
    }
    int32_t *token = vlm_tape_host(tape, (size_t)VLM_MAX(offset[3 * n], 1) * sizeof *token);
    if (!token) return false;
    for (int64_t i = 0; i < 3 * n; i++)
        memcpy(token + offset[i], apart->token + apart->text_offset[text[i]],
               (size_t)(offset[i + 1] - offset[i]) * sizeof *token);
    out->together = (vlm_mome_inputs){.n_pairs = 3 * n,
                                      .pixels = apart->pixels,
                                      .picture = picture,
                                      .n_distinct = n,
                                      .token = token,
                                      .text_offset = offset};
    return true;
}

static void record_matching(vlmoe_tape *tape, const vlm_task_parts *parts, vlm_retrieval *out)
{
    int64_t n = out->n, step = tape->step, group = tape->group;
    if (!draw_negatives(tape, out) || !plan_pairs(tape, out)) return;
    vlm_tape_place(tape, step, group + VLM_SECOND_ENCODING);
    vlm_mome_encode(tape, parts->model, &out->together, recomputed(parts->config),
                    &out->together_model);
    vlm_tape_place(tape, step, group);
    if (!out->together_model.hidden) return;
    int32_t *target = vlm_tape_host(tape, (size_t)(3 * n) * sizeof *target);
    if (!target) return;
    for (int64_t i = 0; i < n; i++) target[i] = 1;
    const vlm_encoded encoded = {.inputs = &out->together, .model = &out->together_model};
    const int32_t *d_target = vlm_tape_upload(tape, target, (size_t)(3 * n) * sizeof *target);
    const void *d_weight = vlm_upload_wide(tape, out->match_weight, 3 * n);
    out->match_logits = vlm_head_logits(tape, parts->head, &encoded);
    if (!out->match_logits || !d_target || !d_weight) return;
    vlmoe_loss_add(tape,
                   vlm_cross_entropy_rows(tape, out->match_logits, d_target, d_weight, &out->match),
                   parts->config->task.matching_weight);
}

void vlm_retrieval_record(vlmoe_tape *tape, const vlm_task_parts *parts, const vlm_group *group,
                          const vlm_contrastive_part *part, vlm_retrieval *out)
{
    const vlm_cfg_task *task = &parts->config->task;
    if (!record_features(tape, parts, group, out) || !out->n) return;
    bool in_group = !part && task->contrastive_weight > 0.0;
    if (in_group || task->matching_weight > 0.0)
        for (int side = 0; side < 2; side++)
            out->similarity[side] =
                vlm_head_similarity(tape, parts->head, out->feature[side], out->feature[1 - side]);
    if (in_group) record_in_group(tape, parts->config, out);
    if (part) vlm_contrastive_inject(tape, parts->head, part, out->feature);
    if (vlmoe_tape_status(tape) == VLMOE_OK && task->matching_weight > 0.0)
        record_matching(tape, parts, out);
}

void vlm_retrieval_release(vlmoe_tape *tape, vlm_retrieval *retrieval)
{
    for (int side = 0; side < 2; side++) {
        vlm_tape_release(tape, retrieval->similarity[side]);
        vlm_tape_release(tape, retrieval->feature[side]);
    }
    vlm_tape_release(tape, retrieval->match_logits);
    vlm_tape_release(tape, retrieval->together_model.hidden);
}

vlmoe_status vlm_contrastive_features(vlmoe_tape *tape, const vlm_task_parts *parts,
                                      const vlm_group *group, double *const feature[2])
{
    vlm_retrieval recorded;
    vlm_tape_forward_only(tape);
    if (!record_features(tape, parts, group, &recorded)) return vlmoe_tape_status(tape);
    VLM_TRY(vlmoe_tape_status(tape));
    for (int side = 0; side < 2 && tape->ctx->backend->has_data; side++)
        VLM_TRY(vlm_download_wide(tape->ctx, recorded.feature[side]->data,
                                  vlm_count(recorded.feature[side]), feature[side]));
    return VLMOE_OK;
}

/* ---- metrics ---- */

static vlmoe_status read_contrastive(vlmoe_tape *tape, const vlm_retrieval *r,
                                     vlm_retrieval_metrics *m)
{
    for (int side = 0; side < 2 && r->in_group; side++) {
        double loss;
        const vlm_contrastive_rows rows = {&r->contrastive[side], r->concept, r->n, 1};
        VLM_TRY(vlm_contrastive_read(tape, &rows, &loss, &m->recall[side]));
        m->contrastive += 0.5 * loss;
    }
    return VLMOE_OK;
}

static vlmoe_status read_matching(vlmoe_tape *tape, const vlm_retrieval *r,
                                  vlm_retrieval_metrics *m)
{
    vlmoe_context *ctx = tape->ctx;
    if (!r->match_logits) return VLMOE_OK;
    double *nll = vlm_tape_host(tape, (size_t)(3 * r->n) * sizeof *nll);
    int32_t *correct = vlm_tape_host(tape, (size_t)(3 * r->n) * sizeof *correct);
    if (!nll || !correct) return vlmoe_tape_status(tape);
    VLM_TRY(vlm_download_wide(ctx, r->match.d_nll, 3 * r->n, nll));
    VLM_TRY(ctx->backend->download(ctx->device, correct, r->match.d_correct,
                                   (size_t)(3 * r->n) * sizeof *correct));
    m->n_matched = r->n_matched;
    for (int64_t i = 0; i < 3 * r->n; i++) {
        m->matching += r->match_weight[i] * nll[i];
        m->match_correct += r->match_weight[i] * correct[i];
    }
    return VLMOE_OK;
}

vlmoe_status vlm_retrieval_metrics_read(vlmoe_tape *tape, const vlm_head *head,
                                        const vlm_retrieval *retrieval, vlm_retrieval_metrics *out)
{
    vlm_retrieval_metrics m = {.n = retrieval->n};
    double log_scale = 0.0;
    VLM_TRY(vlmoe_tape_status(tape));
    VLM_TRY(tape->ctx->backend->sync(tape->ctx->device, &tape->ctx->error));
    VLM_TRY(read_contrastive(tape, retrieval, &m));
    VLM_TRY(read_matching(tape, retrieval, &m));
    VLM_TRY(vlm_download_wide(tape->ctx, vlm_head_log_scale(head)->data, 1, &log_scale));
    m.temperature = exp(-log_scale);
    *out = m;
    return VLMOE_OK;
}
