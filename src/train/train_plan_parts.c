/* The largest group that a config can produce, and the model that will see it. */
#include <string.h>
#include "train_plan.h"
#include "train_plan_parts.h"
#include "train_task.h"

vlmoe_status vlm_plan_check_task(const vlmoe_config *c, vlmoe_error *error)
{
    if (strcmp(c->run.task, "pretrain") && strcmp(c->run.task, "image_tokeniser"))
        return vlm_fail(error, VLMOE_E_UNSUPPORTED,
                        "run.task %s cannot be trained by this version: it has pretrain and "
                        "image_tokeniser",
                        c->run.task);
    if (c->objective.contrastive_weight > 0)
        return vlm_fail(error, VLMOE_E_UNSUPPORTED,
                        "objective.contrastive_weight is %g: this version cannot train with it, "
                        "set it to 0",
                        c->objective.contrastive_weight);
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
}

static vlmoe_status make_models(vlmoe_context *ctx, const vlmoe_config *c, int64_t n_words,
                                vlm_plan_parts *parts)
{
    if (!vlm_config_has_encoder(c)) return vlm_tokeniser_create(ctx, c, true, &parts->tokeniser);
    bool needs_codes = vlm_needs_codes(c);
    VLM_TRY(vlm_mome_create(ctx, c, n_words, needs_codes ? c->tokeniser.codes : 0, &parts->model));
    vlm_task_set_params(c, ctx);
    return needs_codes ? vlm_tokeniser_create(ctx, c, false, &parts->tokeniser) : VLMOE_OK;
}

vlmoe_status vlm_plan_parts_make(vlmoe_context *ctx, const vlmoe_config *config, int64_t n_words,
                                 vlm_plan_parts *out, vlmoe_error *error)
{
    *out = (vlm_plan_parts){0};
    VLM_TRY(vlm_plan_check_task(config, error));
    VLM_TRY(largest_group(config, &out->group, error));
    int64_t pictures = out->group.n_images + out->group.n_pairs;
    out->codes = vlm_alloc_array((size_t)(pictures * out->group.n_patches) + 1, sizeof *out->codes);
    if (!out->codes) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for image codes");
    vlmoe_status st = make_models(ctx, config, n_words, out);
    return st ? vlm_fail(error, st, "%s", vlmoe_context_error(ctx)) : VLMOE_OK;
}

void vlm_plan_parts_free(vlm_plan_parts *parts)
{
    vlm_mome_destroy(parts->model);
    vlm_tokeniser_destroy(parts->tokeniser);
    free_group(&parts->group);
    vlm_free(parts->codes);
    *parts = (vlm_plan_parts){0};
}
