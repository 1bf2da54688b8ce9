/* What no single key can say. */
#include <string.h>
#include "config.h"

static vlmoe_status check_layer_list(const vlm_ints *list, int64_t layers, const char *name,
                                     vlmoe_error *error)
{
    for (int64_t i = 0; i < list->n; i++) {
        if (list->at[i] >= layers)
            return vlm_fail(
                error, VLMOE_E_ARG,
                "moe.%s names block %lld, but model.layers is %lld (blocks count from 0)", name,
                (long long)list->at[i], (long long)layers);
        if (i && list->at[i] <= list->at[i - 1])
            return vlm_fail(error, VLMOE_E_ARG,
                            "moe.%s must ascend without repeats, found %lld after %lld", name,
                            (long long)list->at[i], (long long)list->at[i - 1]);
    }
    return VLMOE_OK;
}

static vlmoe_status check_model(const vlmoe_config *c, vlmoe_error *error)
{
    const vlm_cfg_model *m = &c->model;
    if (m->width % m->heads)
        return vlm_fail(error, VLMOE_E_ARG, "model.heads = %lld does not divide model.width = %lld",
                        (long long)m->heads, (long long)m->width);
    if (m->image_size % m->patch)
        return vlm_fail(error, VLMOE_E_ARG,
                        "model.patch = %lld does not divide model.image_size = %lld",
                        (long long)m->patch, (long long)m->image_size);
    if (m->vl_from > m->layers)
        return vlm_fail(error, VLMOE_E_ARG, "model.vl_from = %lld is past model.layers = %lld",
                        (long long)m->vl_from, (long long)m->layers);
    if (c->tokeniser.width % c->tokeniser.heads)
        return vlm_fail(error, VLMOE_E_ARG,
                        "tokeniser.heads = %lld does not divide tokeniser.width = %lld",
                        (long long)c->tokeniser.heads, (long long)c->tokeniser.width);
    return VLMOE_OK;
}

static vlmoe_status check_moe(const vlmoe_config *c, vlmoe_error *error)
{
    VLM_TRY(check_layer_list(&c->moe.v_layers, c->model.layers, "v_layers", error));
    VLM_TRY(check_layer_list(&c->moe.t_layers, c->model.layers, "t_layers", error));
    bool has_v = c->moe.v_layers.n > 0, has_t = c->moe.t_layers.n > 0;
    if ((has_v && c->moe.k > c->moe.v_experts) || (has_t && c->moe.k > c->moe.t_experts))
        return vlm_fail(error, VLMOE_E_ARG, "moe.k = %lld is more than the %lld experts of a layer",
                        (long long)c->moe.k,
                        (long long)(has_v && c->moe.k > c->moe.v_experts ? c->moe.v_experts
                                                                         : c->moe.t_experts));
    if ((c->moe.v_load > 0 || c->moe.t_load > 0) && c->moe.noise_std == 0 && (has_v || has_t))
        return vlm_fail(error, VLMOE_E_ARG,
                        "the load loss (moe.v_load, moe.t_load) is defined only with router noise: "
                        "set moe.noise_std above 0, or both weights to 0");
    if (!strcmp(c->moe.exchange, "slots") && c->moe.capacity_factor == 0 && (has_v || has_t))
        return vlm_fail(error, VLMOE_E_ARG,
                        "moe.exchange = slots sends as many rows as an expert may take, and "
                        "moe.capacity_factor = 0 sets no limit: give a factor above 0, or set "
                        "moe.exchange = counts");
    return VLMOE_OK;
}

static vlmoe_status check_mix(const vlm_texts *sets, const vlm_reals *mix, const char *name,
                              vlmoe_error *error)
{
    double sum = 0;
    for (int64_t i = 0; i < mix->n; i++) sum += mix->at[i];
    if (mix->n && mix->n != sets->n)
        return vlm_fail(error, VLMOE_E_ARG,
                        "data.%s_mix has %lld weights for the %lld sets of data.%s", name,
                        (long long)mix->n, (long long)sets->n, name);
    if (mix->n && !(sum > 0))
        return vlm_fail(error, VLMOE_E_ARG, "data.%s_mix has no weight above 0", name);
    return VLMOE_OK;
}

static vlmoe_status check_data(const vlmoe_config *c, vlmoe_error *error)
{
    const vlm_cfg_data *d = &c->data;
    VLM_TRY(check_mix(&d->images, &d->images_mix, "images", error));
    VLM_TRY(check_mix(&d->texts, &d->texts_mix, "texts", error));
    VLM_TRY(check_mix(&d->pairs, &d->pairs_mix, "pairs", error));
    if (d->background.n != 3)
        return vlm_fail(error, VLMOE_E_ARG, "data.background must be 3 numbers, found %lld",
                        (long long)d->background.n);
    if (d->pixel_mean.n != 3 || d->pixel_std.n != 3)
        return vlm_fail(error, VLMOE_E_ARG,
                        "data.pixel_mean and data.pixel_std must be 3 numbers each");
    if (c->objective.mask_keep + c->objective.mask_random > 1)
        return vlm_fail(error, VLMOE_E_ARG,
                        "objective.mask_keep + objective.mask_random = %g is more than 1",
                        c->objective.mask_keep + c->objective.mask_random);
    if (c->optim.min_lr > c->optim.lr)
        return vlm_fail(error, VLMOE_E_ARG, "optim.min_lr = %g is above optim.lr = %g",
                        c->optim.min_lr, c->optim.lr);
    return VLMOE_OK;
}

vlmoe_status vlm_config_check(const vlmoe_config *config, vlmoe_error *error)
{
    VLM_TRY(check_model(config, error));
    VLM_TRY(check_moe(config, error));
    return check_data(config, error);
}
