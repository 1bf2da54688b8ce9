/* One group through the model and its objective, whatever the task. */
#include "train_record.h"
#include <string.h>
#include "train_plan.h"

static vlm_head_kind head_of(const vlmoe_config *config)
{
    for (int i = 0; i < VLM_N_HEADS; i++)
        if (!strcmp(vlm_head_names[i], config->run.task)) return (vlm_head_kind)i;
    return VLM_N_HEADS;
}

vlmoe_status vlm_models_make(vlmoe_context *ctx, const vlmoe_config *c, int64_t n_words,
                             int64_t classes, vlm_models *m)
{
    const bool needs_codes = vlm_needs_codes(c);
    if (!vlm_config_has_encoder(c)) return vlm_tokeniser_create(ctx, c, true, &m->tokeniser);
    VLM_TRY(vlm_mome_create(ctx, c, n_words, needs_codes ? c->tokeniser.codes : 0, &m->model));
    if (needs_codes) VLM_TRY(vlm_tokeniser_create(ctx, c, false, &m->tokeniser));
    if (!vlm_config_is_tuned(c)) return VLMOE_OK;
    const vlm_head_spec spec = vlm_head_spec_of(c, head_of(c), classes);
    VLM_TRY(vlm_head_create(ctx, &spec, &m->head));
    vlm_task_set_params(c, ctx);
    return VLMOE_OK;
}

void vlm_models_free(vlm_models *m)
{
    vlm_head_destroy(m->head);
    vlm_mome_destroy(m->model);
    vlm_tokeniser_destroy(m->tokeniser);
    vlm_free(m->codes);
    *m = (vlm_models){0};
}

void vlm_recording_make(vlmoe_tape *tape, const vlm_models *m, const vlmoe_config *config,
                        const vlm_group *group, const vlm_contrastive_part *part,
                        vlm_recording *out)
{
    const vlm_task_parts parts = {.model = m->model, .head = m->head, .config = config};
    *out = (vlm_recording){0};
    if (!m->model) {
        vlm_tokeniser_loss(tape, m->tokeniser, group->n_images, group->pixels, &out->losses);
    } else if (!m->head) {
        vlm_masked_record(tape, m->model, config, group, m->codes, &out->masked);
        out->model = &out->masked.model;
    } else if (vlm_head_kind_of(m->head) == VLM_HEAD_RETRIEVAL) {
        vlm_retrieval_record(tape, &parts, group, part, &out->retrieval);
        out->model = &out->retrieval.apart_model;
    } else {
        vlm_task_record(tape, &parts, group, &out->task);
        out->model = &out->task.model;
    }
}

void vlm_recording_release(vlmoe_tape *tape, vlm_recording *r)
{
    if (r->model == &r->masked.model) vlm_masked_release(tape, &r->masked);
    if (r->model == &r->task.model) vlm_task_release(tape, &r->task);
    if (r->model == &r->retrieval.apart_model) vlm_retrieval_release(tape, &r->retrieval);
}
