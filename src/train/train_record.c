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
    if (!vlm_config_is_tuned(c)) {
        if (c->objective.contrastive_weight <= 0.0) return VLMOE_OK;
        const vlm_head_spec features = vlm_head_spec_of(c, VLM_HEAD_RETRIEVAL, 0);
        VLM_TRY(vlm_head_create(ctx, &features, &m->contrast));
        vlm_task_set_params(c, ctx);
        return VLMOE_OK;
    }
    const vlm_head_spec spec = vlm_head_spec_of(c, head_of(c), classes);
    VLM_TRY(vlm_head_create(ctx, &spec, &m->head));
    vlm_task_set_params(c, ctx);
    return VLMOE_OK;
}

void vlm_models_free(vlm_models *m)
{
    vlm_head_destroy(m->head);
    vlm_head_destroy(m->contrast);
    vlm_mome_destroy(m->model);
    vlm_tokeniser_destroy(m->tokeniser);
    vlm_free(m->codes);
    *m = (vlm_models){0};
}

/* The pairs of a masked group once more, their pictures and texts apart and nothing hidden, with draws of their own. */
static void record_contrastive(vlmoe_tape *tape, const vlm_models *m, const vlmoe_config *config,
                               const vlm_group *group, vlm_retrieval *out)
{
    const int64_t n = group->n_pairs, n_tokens = n ? group->text_offset[n] : 0,
                  picture = group->image_size * group->image_size * 3, place = tape->group;
    vlmoe_config own = *config; /* lists and texts stay the caller's */
    own.task.contrastive_weight = config->objective.contrastive_weight;
    own.task.matching_weight = 0.0;
    const vlm_task_parts parts = {.model = m->model, .head = m->contrast, .config = &own};
    int32_t *token = vlm_tape_host(tape, (size_t)VLM_MAX(n_tokens, 1) * sizeof *token);
    if (!n || !token) return;
    for (int64_t t = 0; t < n_tokens; t++)
        token[t] = group->token_target[t] < 0 ? group->token[t] : group->token_target[t];
    const vlm_group apart = {.n_images = n,
                             .n_texts = n,
                             .image_size = group->image_size,
                             .n_patches = group->n_patches,
                             .pixels = group->pixels + group->n_images * picture,
                             .n_tokens = n_tokens,
                             .token = token,
                             .text_offset = group->text_offset,
                             .concept = group->concept};
    vlm_tape_place(tape, tape->step, place + VLM_CONTRASTIVE_ENCODING);
    vlm_retrieval_record(tape, &parts, &apart, NULL, out);
    vlm_tape_place(tape, tape->step, place);
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
        if (m->contrast) record_contrastive(tape, m, config, group, &out->retrieval);
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
    if (r->retrieval.n) vlm_retrieval_release(tape, &r->retrieval);
}
