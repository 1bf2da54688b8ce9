/* The part of a step dump that fine-tuning adds: labels, drawn negatives, a second encoding, logits and losses of the task. */
#include "train_dump_parts.h"

typedef struct place {
    vlm_dump *dump;
    vlmoe_trainer *trainer;
    const char *base; /* "group.0" */
} place;

static vlmoe_status put_ints(const place *at, const char *name, int64_t n, const int32_t *values)
{
    if (!values) return VLMOE_OK;
    return vlm_dump_host(at->dump, at->trainer, vlm_format("%s/%s", at->base, name), VLMOE_I32, 1,
                         D(n), values);
}

static vlmoe_status put_loss(const place *at, const char *name, double value)
{
    return vlm_dump_host(at->dump, at->trainer, vlm_format("%s/losses.%s", at->base, name),
                         VLMOE_F64, 1, D(1), &value);
}

static vlmoe_status put_tensor(const place *at, const char *name, const vlmoe_tensor *t)
{
    if (!t) return VLMOE_OK;
    return vlm_dump_device(at->dump, at->trainer, vlm_format("%s/%s", at->base, name), VLMOE_F32, 2,
                           D(vlm_rows(t), vlm_cols(t)), t->data);
}

static vlmoe_status put_total(const place *at, vlmoe_tape *tape)
{
    double total = 0.0;
    VLM_TRY(vlmoe_tape_loss(tape, &total));
    return put_loss(at, "total", total);
}

vlmoe_status vlm_dump_task(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                           const vlm_group *group, const vlm_task *task, const char *base)
{
    const place at = {dump, t, base};
    vlm_task_metrics metrics;
    int64_t n_labels = group->label_offset[task->n];
    VLM_TRY(put_ints(&at, "label_offset", task->n + 1, group->label_offset));
    VLM_TRY(put_ints(&at, "label", n_labels, group->label));
    VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/label_score", base), VLMOE_F32, 1, D(n_labels),
                          group->label_score));
    VLM_TRY(put_tensor(&at, "logits", task->logits));
    VLM_TRY(vlm_task_metrics_read(tape, task, group, &metrics));
    VLM_TRY(put_loss(&at, "loss", metrics.loss));
    return put_total(&at, tape);
}

/* The routes of one more encoding under "group.P/NAME": it drew at the group's number plus `offset`. */
static vlmoe_status put_encoding(const place *at, vlmoe_tape *tape, const vlm_mome_output *model,
                                 const char *name, int64_t offset)
{
    const int64_t step = tape->step, group = tape->group;
    char *base = vlm_format("%s/%s", at->base, name);
    if (!base) return vlm_fail(&at->trainer->error, VLMOE_E_NOMEM, "out of memory for a step dump");
    vlm_tape_place(tape, step, group + offset);
    vlmoe_status st = vlm_dump_encoding(at->dump, at->trainer, tape, model, base);
    vlm_tape_place(tape, step, group);
    vlm_free(base);
    return st;
}

static vlmoe_status put_features(const place *at, const vlm_retrieval *r)
{
    VLM_TRY(vlm_dump_host(at->dump, at->trainer, vlm_format("%s/concept", at->base), VLM_ST_I64, 1,
                          D(r->n), r->concept));
    VLM_TRY(put_tensor(at, "image", r->feature[VLM_SIDE_IMAGE]));
    return put_tensor(at, "text", r->feature[VLM_SIDE_TEXT]);
}

vlmoe_status vlm_dump_contrastive(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                                  const vlm_retrieval *r, const char *base)
{
    const place at = {dump, t, base};
    vlm_retrieval_metrics metrics;
    VLM_TRY(put_features(&at, r));
    VLM_TRY(vlm_retrieval_metrics_read(tape, t->contrast_head, r, &metrics));
    VLM_TRY(put_loss(&at, "contrastive", metrics.contrastive));
    return put_encoding(&at, tape, &r->apart_model, "apart", VLM_CONTRASTIVE_ENCODING);
}

vlmoe_status vlm_dump_retrieval(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                                const vlm_retrieval *r, const char *base)
{
    const place at = {dump, t, base};
    vlm_retrieval_metrics metrics;
    VLM_TRY(put_features(&at, r));
    VLM_TRY(put_ints(&at, "negative_image", r->n, r->negative[VLM_SIDE_IMAGE]));
    VLM_TRY(put_ints(&at, "negative_text", r->n, r->negative[VLM_SIDE_TEXT]));
    VLM_TRY(put_tensor(&at, "logits", r->match_logits));
    VLM_TRY(vlm_retrieval_metrics_read(tape, t->head, r, &metrics));
    if (r->in_group) VLM_TRY(put_loss(&at, "contrastive", metrics.contrastive));
    if (r->match_logits) VLM_TRY(put_loss(&at, "matching", metrics.matching));
    if (r->match_logits)
        VLM_TRY(put_encoding(&at, tape, &r->together_model, "together", VLM_SECOND_ENCODING));
    return put_total(&at, tape);
}
