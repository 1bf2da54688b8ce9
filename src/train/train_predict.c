/* What a task says of samples: the numbers beside its loss, and the classes it finds likeliest. */
#include "train_predict.h"
#include <math.h>

/* Retrieval, and pretraining that may have a contrastive part. */
static bool has_contrast(const vlm_task_info *task)
{
    return task->kind == VLM_TASK_RETRIEVAL || task->kind == VLM_TASK_PRETRAIN;
}

const char *vlm_measure_name(const vlm_task_info *task, int i)
{
    static const char *const retrieval[] = {"contrastive_loss", "image_to_text", "text_to_image",
                                            "matching_loss",    "matching",      "temperature"};
    static const char *const classes[] = {"task_loss", "score"};
    if (has_contrast(task)) return i < VLM_COUNT(retrieval) ? retrieval[i] : NULL;
    return task->is_tuned && i < VLM_COUNT(classes) ? classes[i] : NULL;
}

bool vlm_measure_is_share(const vlm_task_info *task, int i)
{
    return has_contrast(task) ? i == 1 || i == 2 || i == 4 : i == 1;
}

static void put(vlm_measures *m, int i, double mean, int64_t n)
{
    m->sum[i] = mean * (double)n;
    m->n[i] = (double)n;
}

vlmoe_status vlm_measures_read(vlmoe_tape *tape, const vlm_models *models,
                               const vlm_recording *recording, const vlm_group *group,
                               vlm_measures *out)
{
    vlm_measures m = {0};
    const vlm_head *head = models->head ? models->head : models->contrast;
    if (vlm_head_kind_of(head) == VLM_HEAD_RETRIEVAL) {
        vlm_retrieval_metrics r;
        VLM_TRY(vlm_retrieval_metrics_read(tape, head, &recording->retrieval, &r));
        const int64_t in_group = recording->retrieval.in_group ? r.n : 0;
        put(&m, 0, r.contrastive, in_group);
        put(&m, 1, r.recall[VLM_SIDE_IMAGE], in_group);
        put(&m, 2, r.recall[VLM_SIDE_TEXT], in_group);
        put(&m, 3, r.matching, r.n_matched);
        put(&m, 4, r.match_correct, r.n_matched);
        put(&m, 5, r.temperature, 1);
    } else {
        vlm_task_metrics t;
        VLM_TRY(vlm_task_metrics_read(tape, &recording->task, group, &t));
        put(&m, 0, t.loss, t.n);
        put(&m, 1, t.score, t.n);
    }
    *out = m;
    return VLMOE_OK;
}

vlm_shares vlm_shares_of(const double *logits, int64_t classes, bool is_apart)
{
    vlm_shares shares = {.most = logits[0], .is_apart = is_apart};
    for (int64_t c = 1; c < classes; c++) shares.most = VLM_MAX(shares.most, logits[c]);
    for (int64_t c = 0; c < classes; c++) shares.sum += exp(logits[c] - shares.most);
    return shares;
}

double vlm_share(const vlm_shares *s, double logit)
{
    return s->is_apart ? 1.0 / (1.0 + exp(-logit)) : exp(logit - s->most) / s->sum;
}

/* By logits, not by shares: those of sure answers round to 1. */
void vlm_prediction_make(const double *logits, int64_t classes, bool is_apart, vlm_prediction *out)
{
    const vlm_shares shares = vlm_shares_of(logits, classes, is_apart);
    out->n = 0;
    for (int64_t c = 0; c < classes; c++) {
        if (out->n == VLM_TOP && !(logits[c] > logits[out->label[VLM_TOP - 1]])) continue;
        int at = out->n < VLM_TOP ? out->n++ : VLM_TOP - 1;
        for (; at > 0 && logits[out->label[at - 1]] < logits[c]; at--)
            out->label[at] = out->label[at - 1];
        out->label[at] = (int32_t)c;
    }
    for (int i = 0; i < out->n; i++)
        out->share[i] = (float)vlm_share(&shares, logits[out->label[i]]);
}

vlmoe_status vlm_predictions_read(vlmoe_tape *tape, const vlm_models *models,
                                  const vlm_recording *recording, const vlm_group *group,
                                  int64_t *n, vlm_prediction **out)
{
    const int64_t classes = vlm_head_classes(models->head), count = recording->task.n;
    const int64_t per_sample = vlm_head_kind_of(models->head) == VLM_HEAD_NLVR2 ? 2 : 1;
    const bool is_apart = vlm_head_kind_of(models->head) == VLM_HEAD_VQA;
    const size_t room = (size_t)VLM_MAX(count, 1);
    double *logits = vlm_tape_host(tape, room * (size_t)classes * sizeof *logits);
    vlm_prediction *p = vlm_tape_host(tape, room * sizeof *p);
    if (!logits || !p) return vlmoe_tape_status(tape);
    VLM_TRY(vlm_task_logits_read(tape, &recording->task, logits));
    for (int64_t i = 0; i < count; i++) {
        p[i] = (vlm_prediction){.sample = group->sample[i * per_sample]};
        vlm_prediction_make(logits + i * classes, classes, is_apart, &p[i]);
    }
    *n = count;
    *out = p;
    return VLMOE_OK;
}
