/* What the task of a config says about its groups. */
#include "config_task.h"
#include <string.h>

static bool is(const vlmoe_config *c, const char *task)
{
    return !strcmp(c->run.task, task);
}

bool vlm_config_has_encoder(const vlmoe_config *c)
{
    return !is(c, "image_tokeniser");
}

bool vlm_config_is_tuned(const vlmoe_config *c)
{
    return vlm_config_has_encoder(c) && !is(c, "pretrain");
}

static vlm_group_counts pretrain_group(const vlmoe_config *c)
{
    const vlm_cfg_objective *o = &c->objective;
    const bool has_pairs =
        o->pair_text_weight > 0 || o->pair_image_weight > 0 || o->contrastive_weight > 0;
    return (vlm_group_counts){.images = o->image_weight > 0 ? c->data.images_per_group : 0,
                              .texts = o->text_weight > 0 ? c->data.texts_per_group : 0,
                              .pairs = has_pairs ? c->data.pairs_per_group : 0};
}

vlm_group_counts vlm_config_group(const vlmoe_config *c)
{
    const vlm_cfg_data *d = &c->data;
    if (is(c, "pretrain")) return pretrain_group(c);
    if (is(c, "vqa")) return (vlm_group_counts){.pairs = d->pairs_per_group};
    if (is(c, "nlvr2")) return (vlm_group_counts){.pairs = 2 * d->pairs_per_group};
    if (is(c, "nli")) return (vlm_group_counts){.texts = d->texts_per_group};
    if (is(c, "retrieval"))
        return (vlm_group_counts){.images = d->pairs_per_group, .texts = d->pairs_per_group};
    return (vlm_group_counts){.images = d->images_per_group};
}

int64_t vlm_config_most_pairs(const vlmoe_config *c)
{
    return is(c, "retrieval") ? 3 * c->data.pairs_per_group : vlm_config_group(c).pairs;
}
