/* Retrieval with a trained model: encoding. What is made of it: train_recall.c. */
#include "train_retrieve.h"
#include <math.h>
#include <string.h>
#include "train_group.h"

static vlmoe_status begin(vlmoe_trainer *t, const vlm_mome_inputs *in, vlmoe_tape **tape,
                          vlm_mome_output *model)
{
    vlmoe_status st = vlmoe_tape_begin(t->ctx, VLMOE_PREDICT, tape);
    if (st) return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    vlm_mome_encode(*tape, t->model, in, 0, model);
    return VLMOE_OK;
}

static vlmoe_status read_wide(vlmoe_tape *tape, const vlmoe_tensor *x, float *out)
{
    VLM_TRY(vlmoe_tape_status(tape));
    if (!x) return VLMOE_E_INTERNAL;
    const int64_t n = vlm_count(x);
    double *wide = vlm_tape_host(tape, (size_t)VLM_MAX(n, 1) * sizeof *wide);
    if (!wide) return vlmoe_tape_status(tape);
    VLM_TRY(vlm_download_wide(tape->ctx, x->data, n, wide));
    for (int64_t i = 0; i < n; i++) out[i] = (float)wide[i];
    return VLMOE_OK;
}

static vlmoe_status end(vlmoe_trainer *t, vlmoe_tape *tape, vlmoe_status st)
{
    if (st) vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    vlmoe_tape_end(tape);
    return st;
}

vlmoe_status vlm_features_encode(vlmoe_trainer *t, const vlm_mome_inputs *in, float *image,
                                 float *text)
{
    vlmoe_tape *tape = NULL;
    vlm_mome_output model;
    const vlm_encoded encoded = {.inputs = in, .model = &model};
    VLM_TRY(begin(t, in, &tape, &model));
    vlmoe_status st = vlmoe_tape_status(tape);
    if (!st && in->n_images)
        st = read_wide(tape, vlm_head_features(tape, t->head, &encoded, VLM_SIDE_IMAGE), image);
    if (!st && in->n_texts)
        st = read_wide(tape, vlm_head_features(tape, t->head, &encoded, VLM_SIDE_TEXT), text);
    return end(t, tape, st);
}

vlmoe_status vlm_matches_encode(vlmoe_trainer *t, const vlm_mome_inputs *in, float *out)
{
    vlmoe_tape *tape = NULL;
    vlm_mome_output model;
    const vlm_encoded encoded = {.inputs = in, .model = &model};
    VLM_TRY(begin(t, in, &tape, &model));
    float *logits = vlm_tape_host(tape, (size_t)VLM_MAX(2 * in->n_pairs, 1) * sizeof *logits);
    vlmoe_status st = vlmoe_tape_status(tape);
    if (!st) st = read_wide(tape, vlm_head_logits(tape, t->head, &encoded), logits);
    for (int64_t i = 0; i < in->n_pairs && !st; i++) out[i] = logits[2 * i + 1] - logits[2 * i];
    return end(t, tape, st);
}

vlmoe_status vlm_retrieval_scale(vlmoe_trainer *t, double *out)
{
    double log_scale = 0.0;
    vlmoe_status st = vlm_download_wide(t->ctx, vlm_head_log_scale(t->head)->data, 1, &log_scale);
    *out = exp(log_scale);
    return st ? vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx)) : VLMOE_OK;
}
