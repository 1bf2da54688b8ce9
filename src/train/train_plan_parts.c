/* The largest group that a config can produce, and the model that will see it. */
#include <string.h>
#include "train_plan.h"
#include "train_plan_parts.h"
#include "train_task.h"

enum { MOST_LABELS = 10 }; /* of an example: as many as people who answer a question of VQA */

static vlmoe_status label_group(const vlmoe_config *c, vlm_group *group, vlmoe_error *error)
{
    if (!vlm_config_is_tuned(c)) return VLMOE_OK;
    const vlm_task_info *task = vlm_task_of(c);
    const bool is_retrieval = task->kind == VLM_TASK_RETRIEVAL;
    const int64_t n = vlm_task_examples(c), labels = task->kind == VLM_TASK_VQA ? MOST_LABELS : 1;
    group->n_examples = n;
    group->concept = vlm_alloc_array((size_t)n, sizeof *group->concept);
    group->label_offset = vlm_alloc_array((size_t)n + 1, sizeof *group->label_offset);
    group->label = vlm_alloc_array((size_t)(n * labels), sizeof *group->label);
    group->label_score = vlm_alloc_array((size_t)(n * labels), sizeof *group->label_score);
    if (!group->concept || !group->label_offset || !group->label || !group->label_score)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the largest group of this config");
    for (int64_t i = 0; i <= n && !is_retrieval; i++)
        group->label_offset[i] = (int32_t)(i * labels);
    for (int64_t i = 0; i < n; i++) group->concept[i] = i;
    for (int64_t i = 0; i < n * labels; i++) group->label_score[i] = 1.0f;
    return VLMOE_OK;
}

/* Every text at its longest, masks at their highest share. */
static vlmoe_status largest_group(const vlmoe_config *c, vlm_group *group, vlmoe_error *error)
{
    int64_t side = c->model.image_size, grid = side / c->model.patch;
    *group = (vlm_group){.image_size = side, .n_patches = grid * grid};
    const vlm_group_counts n = vlm_config_group(c);
    group->n_images = n.images;
    group->n_texts = n.texts;
    group->n_pairs = n.pairs;
    int64_t pictures = group->n_images + group->n_pairs, texts = group->n_pairs + group->n_texts;
    group->n_tokens = texts * c->model.text_len;
    group->pixels = vlm_alloc_array((size_t)pictures, (size_t)(side * side * 3));
    group->patch_mask = vlm_alloc_array((size_t)pictures, (size_t)group->n_patches);
    group->token = vlm_alloc_array((size_t)group->n_tokens, sizeof *group->token);
    group->token_target = vlm_alloc_array((size_t)group->n_tokens, sizeof *group->token_target);
    group->text_offset = vlm_alloc_array((size_t)texts + 1, sizeof *group->text_offset);
    if (!group->pixels || !group->patch_mask || !group->token || !group->token_target ||
        !group->text_offset)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the largest group of this config");
    for (int64_t i = 0; i <= texts; i++) group->text_offset[i] = (int32_t)(i * c->model.text_len);
    if (vlm_config_is_tuned(c)) return label_group(c, group, error); /* nothing is hidden */
    const vlm_cfg_objective *o = &c->objective;
    double pair_rate = VLM_MAX(o->pair_text_mask, o->pair_text_mask_max);
    for (int64_t i = 0; i < group->n_tokens; i++) {
        double rate = i < group->n_pairs * c->model.text_len ? pair_rate : o->text_mask;
        int64_t place = i % c->model.text_len;
        bool is_masked = place > 0 &&
                         (double)(place - 1) < rate * (double)(c->model.text_len - 2) + 1.0 &&
                         place < c->model.text_len - 1;
        group->token_target[i] = is_masked ? 0 : -1;
    }
    for (int64_t i = 0; i < pictures * group->n_patches; i++) {
        double rate = i < group->n_images * group->n_patches ? o->image_mask : o->pair_image_mask;
        group->patch_mask[i] =
            (double)(i % group->n_patches) < rate * (double)group->n_patches + 1.0;
    }
    return VLMOE_OK;
}

static void free_group(vlm_group *group)
{
    vlm_free(group->pixels);
    vlm_free(group->patch_mask);
    vlm_free(group->token);
    vlm_free(group->token_target);
    vlm_free(group->text_offset);
    vlm_free(group->label_offset);
    vlm_free(group->label);
    vlm_free(group->label_score);
    vlm_free(group->concept);
}

vlmoe_status vlm_plan_parts_make(vlmoe_context *ctx, const vlmoe_config *config, int64_t n_words,
                                 vlm_plan_parts *out, vlmoe_error *error)
{
    *out = (vlm_plan_parts){0};
    VLM_TRY(vlm_task_check(config, error));
    VLM_TRY(largest_group(config, &out->group, error));
    int64_t pictures = out->group.n_images + out->group.n_pairs, classes = 0;
    out->models.codes =
        vlm_alloc_array((size_t)(pictures * out->group.n_patches) + 1, sizeof(int32_t));
    if (!out->models.codes) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for image codes");
    VLM_TRY(vlm_task_classes(config, &classes, error));
    vlmoe_status st = vlm_models_make(ctx, config, n_words, classes, &out->models);
    return st ? vlm_fail(error, st, "%s", vlmoe_context_error(ctx)) : VLMOE_OK;
}

void vlm_plan_parts_free(vlm_plan_parts *parts)
{
    vlm_models_free(&parts->models);
    free_group(&parts->group);
    *parts = (vlm_plan_parts){0};
}
