/* What objective_task.h promises. Which labels there are is the data's business. */
#include "objective_task.h"
#include <string.h>

/* The samples' labels on the device, and 1 / labelled samples as weight of those that have one. */
static bool upload_targets(vlmoe_tape *tape, const vlm_group *group, int64_t classes, vlm_task *t,
                           vlm_class_targets *out)
{
    int64_t n = t->n, n_entries = group->label_offset ? group->label_offset[n] : 0;
    int32_t *offset = vlm_tape_host(tape, (size_t)(n + 1) * sizeof *offset),
            *label = vlm_tape_host(tape, (size_t)VLM_MAX(n_entries, 1) * sizeof *label);
    double *score = vlm_tape_host(tape, (size_t)VLM_MAX(n_entries, 1) * sizeof *score),
           *weight = vlm_tape_host(tape, (size_t)n * sizeof *weight);
    if (!offset || !label || !score || !weight) return false;
    if (group->label_offset) memcpy(offset, group->label_offset, (size_t)(n + 1) * sizeof *offset);
    for (int64_t i = 0; i < n; i++) t->n_labelled += offset[i + 1] > offset[i];
    for (int64_t i = 0; i < n; i++)
        weight[i] = offset[i + 1] > offset[i] ? 1.0 / (double)t->n_labelled : 0.0;
    for (int64_t j = 0; j < n_entries; j++) {
        label[j] = group->label[j];
        score[j] = (double)group->label_score[j];
        if (label[j] >= 0 && label[j] < classes) continue;
        vlm_poison(tape, VLMOE_E_ARG, "a label is class %d, expected 0 to %lld", label[j],
                   (long long)classes - 1);
        return false;
    }
    out->d_offset = vlm_tape_upload(tape, offset, (size_t)(n + 1) * sizeof *offset);
    out->d_label = vlm_tape_upload(tape, label, (size_t)VLM_MAX(n_entries, 1) * sizeof *label);
    out->d_score = vlm_upload_wide(tape, score, VLM_MAX(n_entries, 1));
    out->d_row_weight = vlm_upload_wide(tape, weight, n);
    return out->d_offset && out->d_label && out->d_score && out->d_row_weight;
}

void vlm_task_record(vlmoe_tape *tape, const vlm_task_parts *parts, const vlm_group *group,
                     vlm_task *out)
{
    const vlm_head *head = parts->head;
    const vlmoe_config *config = parts->config;
    const bool is_vqa = vlm_head_kind_of(head) == VLM_HEAD_VQA,
               smooths = !is_vqa && tape->mode == VLMOE_TRAIN; /* a held-out loss is plain */
    vlm_class_targets targets = {.kind = is_vqa ? VLMK_CLASS_SIGMOID : VLMK_CLASS_SOFTMAX,
                                 .smoothing = smooths ? config->task.label_smoothing : 0.0};
    int64_t n_recompute =
        config->run.recompute ? config->model.layers : config->run.recompute_blocks;
    memset(out, 0, sizeof *out);
    out->inputs = (vlm_mome_inputs){.n_images = group->n_images,
                                    .n_texts = group->n_texts,
                                    .n_pairs = group->n_pairs,
                                    .pixels = group->pixels,
                                    .token = group->token,
                                    .text_offset = group->text_offset};
    out->n = vlm_head_samples(head, &out->inputs);
    vlm_mome_encode(tape, parts->model, &out->inputs, n_recompute, &out->model);
    if (!out->model.hidden || !out->n) return;
    if (!upload_targets(tape, group, vlm_head_classes(head), out, &targets)) return;
    const vlm_encoded encoded = {.inputs = &out->inputs, .model = &out->model};
    out->logits = vlm_head_logits(tape, head, &encoded);
    if (!out->logits) return;
    vlmoe_loss_add(tape, vlm_class_loss(tape, out->logits, &targets, &out->result), 1.0);
}

void vlm_task_release(vlmoe_tape *tape, vlm_task *task)
{
    vlm_tape_release(tape, task->logits);
    vlm_tape_release(tape, task->model.hidden);
}

static double score_of(const vlm_group *group, int64_t i, int32_t class)
{
    double sum = 0.0;
    for (int32_t j = group->label_offset[i]; j < group->label_offset[i + 1]; j++)
        sum += group->label[j] == class ? (double)group->label_score[j] : 0.0;
    return sum;
}

vlmoe_status vlm_task_metrics_read(vlmoe_tape *tape, const vlm_task *task, const vlm_group *group,
                                   vlm_task_metrics *out)
{
    vlmoe_context *ctx = tape->ctx;
    vlm_task_metrics m = {.n = task->n_labelled};
    VLM_TRY(vlmoe_tape_status(tape));
    VLM_TRY(ctx->backend->sync(ctx->device, &ctx->error));
    if (m.n) {
        double *loss = vlm_tape_host(tape, (size_t)task->n * sizeof *loss);
        int32_t *best = vlm_tape_host(tape, (size_t)task->n * sizeof *best);
        if (!loss || !best) return vlmoe_tape_status(tape);
        VLM_TRY(vlm_download_wide(ctx, task->result.d_row_loss, task->n, loss));
        VLM_TRY(ctx->backend->download(ctx->device, best, task->result.d_best,
                                       (size_t)task->n * sizeof *best));
        for (int64_t i = 0; i < task->n; i++) {
            if (group->label_offset[i + 1] == group->label_offset[i]) continue;
            m.loss += loss[i] / (double)m.n;
            m.score += score_of(group, i, best[i]) / (double)m.n;
        }
    }
    *out = m;
    return VLMOE_OK;
}

vlmoe_status vlm_task_logits_read(vlmoe_tape *tape, const vlm_task *task, double *out)
{
    VLM_TRY(vlmoe_tape_status(tape));
    if (!task->n) return VLMOE_OK;
    return vlm_download_wide(tape->ctx, task->logits->data, vlm_count(task->logits), out);
}
