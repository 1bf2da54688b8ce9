/* What no single key can say. */
#include <stdlib.h>
#include <string.h>
#include "base_json.h"
#include "config_table.h"

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

/* ---- tasks ---- */

static bool is_task(const vlmoe_config *c, const char *names)
{
    const size_t n = strlen(c->run.task);
    const char *at = strstr(names, c->run.task);
    return at && (at == names || at[-1] == '|') && (at[n] == 0 || at[n] == '|');
}

#define LABELLED "vqa|nlvr2|classify|nli"
#define TUNED    LABELLED "|retrieval"

/* A key that only some tasks read must not be set in a run of another: it would be passed over. */
static const struct {
    const char *section, *key, *tasks;
} read_by[] = {{"objective", "contrastive_weight", "pretrain"},
               {"task", "init", TUNED},
               {"task", "freeze_moe", TUNED},
               {"task", "layer_decay", TUNED},
               {"task", "head_lr", TUNED},
               {"task", "head_dropout", LABELLED},
               {"task", "label_smoothing", "classify|nlvr2|nli"},
               {"task", "mixup", "classify"},
               {"task", "cutmix", "classify"},
               {"task", "contrastive_weight", "retrieval"},
               {"task", "matching_weight", "retrieval"},
               {"task", "embed_width", "retrieval|pretrain"},
               {"task", "temperature", "retrieval|pretrain"},
               {"task", "negatives", "retrieval|pretrain"},
               {"task", "rerank", "retrieval"},
               {"task", "patience", TUNED},
               {"task", "unlabelled", LABELLED}};

/* Does the value, as JSON text, mean the key's default? */
static bool is_standard(const vlm_key *key, const char *value)
{
    if (key->type != VLM_KEY_INT && key->type != VLM_KEY_REAL) return !strcmp(value, key->standard);
    return strtod(value, NULL) == strtod(key->standard, NULL);
}

static vlmoe_status check_read_by(const vlmoe_config *c, vlmoe_error *error)
{
    vlmoe_status st = VLMOE_OK;
    for (int i = 0; i < VLM_COUNT(read_by) && !st; i++) {
        const vlm_key *key = vlm_key_find(read_by[i].section, read_by[i].key);
        vlm_text value = {0};
        if (is_task(c, read_by[i].tasks)) continue;
        vlm_key_write(key, c, &value);
        if (value.failed) st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory to check a config");
        else if (!is_standard(key, value.data))
            st = vlm_fail(error, VLMOE_E_ARG, "%s.%s = %s is for run.task %s, and run.task is %s",
                          key->section, key->name, value.data, read_by[i].tasks, c->run.task);
        vlm_text_free(&value);
    }
    return st;
}

/* The stream that a task reads must have samples in a group, and no other stream is read. */
static vlmoe_status check_task_stream(const vlmoe_config *c, vlmoe_error *error)
{
    const vlm_cfg_data *d = &c->data;
    const bool has_pairs = is_task(c, "vqa|nlvr2|retrieval"), has_images = is_task(c, "classify");
    const char *stream = has_pairs ? "pairs" : has_images ? "images" : "texts";
    const int64_t per_group = has_pairs    ? d->pairs_per_group
                              : has_images ? d->images_per_group
                                           : d->texts_per_group;
    if (!is_task(c, TUNED) || per_group > 0) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG,
                    "run.task %s reads data.%s, and data.%s_per_group is 0: a group has no sample",
                    c->run.task, stream, stream);
}

static vlmoe_status check_negatives(const vlmoe_config *c, const char *key, vlmoe_error *error)
{
    const bool spans_step = !strcmp(c->task.negatives, "step");
    if (c->data.pairs_per_group > 1 || (spans_step && c->run.groups > 1)) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG,
                    "%s tells a pair from others, and data.pairs_per_group = %lld leaves none: "
                    "take 2 or more%s",
                    key, (long long)c->data.pairs_per_group,
                    spans_step ? ", or run.groups of 2 or more" : "");
}

/* An end after evaluations without a better one needs evaluations. */
static vlmoe_status check_patience(const vlmoe_config *c, vlmoe_error *error)
{
    const vlm_texts *held_out = is_task(c, "classify") ? &c->data.val_images
                                : is_task(c, "nli")    ? &c->data.val_texts
                                                       : &c->data.val_pairs;
    if (!c->task.patience || (c->run.eval_every && held_out->n)) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG,
                    "task.patience = %lld counts evaluations before the run's end, and %s",
                    (long long)c->task.patience,
                    held_out->n ? "run.eval_every = 0 makes none"
                                : "no held-out set of the task is named (data.val_...)");
}

static vlmoe_status check_retrieval(const vlmoe_config *c, vlmoe_error *error)
{
    const vlm_cfg_task *t = &c->task;
    if (t->contrastive_weight == 0 && t->matching_weight == 0)
        return vlm_fail(error, VLMOE_E_ARG,
                        "task.contrastive_weight and task.matching_weight are both 0: retrieval "
                        "has nothing to learn from");
    if (t->contrastive_weight == 0 && strcmp(t->negatives, "group"))
        return vlm_fail(error, VLMOE_E_ARG,
                        "task.negatives = \"%s\" is about the contrastive loss, which "
                        "task.contrastive_weight = 0 turns off",
                        t->negatives);
    VLM_TRY(check_negatives(c, "run.task retrieval", error));
    if (t->matching_weight == 0 || c->data.pairs_per_group > 1) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG,
                    "task.matching_weight = %g reads a picture with a wrong text of its group, and "
                    "data.pairs_per_group = %lld leaves none: take 2 or more, or set it to 0",
                    t->matching_weight, (long long)c->data.pairs_per_group);
}

static vlmoe_status check_task(const vlmoe_config *c, vlmoe_error *error)
{
    VLM_TRY(check_read_by(c, error));
    VLM_TRY(check_task_stream(c, error));
    VLM_TRY(check_patience(c, error));
    if ((c->task.mixup > 0 || c->task.cutmix > 0) && c->data.images_per_group < 2)
        return vlm_fail(error, VLMOE_E_ARG,
                        "task.%s mixes pictures of a group, and data.images_per_group = %lld: "
                        "take 2 or more",
                        c->task.mixup > 0 ? "mixup" : "cutmix",
                        (long long)c->data.images_per_group);
    if (c->objective.contrastive_weight > 0 && c->data.pairs_per_group > 0)
        VLM_TRY(check_negatives(c, "objective.contrastive_weight", error));
    return is_task(c, "retrieval") ? check_retrieval(c, error) : VLMOE_OK;
}

vlmoe_status vlm_config_check(const vlmoe_config *config, vlmoe_error *error)
{
    VLM_TRY(check_model(config, error));
    VLM_TRY(check_moe(config, error));
    VLM_TRY(check_data(config, error));
    return check_task(config, error);
}
