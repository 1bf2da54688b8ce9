/* From a config to a source's settings: which streams are on, what is hidden in them, how pictures
 * change. Opens nothing. */
#include <string.h>
#include "data_source.h"

static vlm_augment augment_of(const vlm_cfg_data *data)
{
    return (vlm_augment){
        .scale_min = data->crop_min,
        .scale_max = 1.0,
        .ratio_min = data->crop_ratio,
        .ratio_max = 1.0 / data->crop_ratio,
        .mirror = data->flip,
        .brightness = data->jitter,
        .contrast = data->jitter,
        .saturation = data->jitter,
        .hue = data->jitter_hue,
    };
}

/* The image tokeniser learns from all pictures, those of pairs too, and hides nothing. */
static void settle_tokeniser(vlm_sets *sets)
{
    sets[VLM_IMAGES].is_on = sets[VLM_PAIRS].is_on = true;
    sets[VLM_IMAGES].has_pixels = sets[VLM_PAIRS].has_pixels = true;
}

/* What the tasks on labelled sets read. */
typedef struct task_row {
    const char *name;
    int stream, n_pictures;
    bool has_text, has_two_texts, is_labelled, has_shares, is_apart;
} task_row;
static const task_row task_rows[] = {
    {"vqa", VLM_PAIRS, 1, .has_text = true, .is_labelled = true},
    {"nlvr2", VLM_PAIRS, 2, .has_text = true, .is_labelled = true, .has_shares = true},
    {"retrieval", VLM_PAIRS, 1, .has_text = true, .is_apart = true},
    {"classify", VLM_IMAGES, 1, .is_labelled = true, .has_shares = true},
    {"nli", VLM_TEXTS, 0, .has_text = true, .has_two_texts = true, .is_labelled = true,
     .has_shares = true},
};

static const task_row *task_named(const char *name)
{
    for (int i = 0; i < VLM_COUNT(task_rows); i++)
        if (!strcmp(task_rows[i].name, name)) return &task_rows[i];
    return NULL;
}

static void settle_task(vlm_sets *sets, const task_row *task, bool skips)
{
    vlm_sets *own = &sets[task->stream];
    own->is_on = own->is_judged = true;
    own->n_pictures = VLM_MAX(task->n_pictures, 1);
    own->has_pixels = task->n_pictures > 0;
    own->has_text = task->has_text;
    own->has_two_texts = task->has_two_texts;
    own->is_labelled = task->is_labelled;
    own->has_shares = task->has_shares;
    own->is_apart = own->has_concepts = task->is_apart;
    own->skips = skips && task->is_labelled;
}

static void settle_pretrain(vlm_sets *sets, const vlm_cfg_objective *objective)
{
    vlm_sets *images = &sets[VLM_IMAGES], *texts = &sets[VLM_TEXTS], *pairs = &sets[VLM_PAIRS];
    images->is_on = images->has_pixels = images->hides_patches = objective->image_weight > 0.0;
    images->mask_patches = objective->image_mask;
    texts->is_on = texts->has_text = texts->hides_words = objective->text_weight > 0.0;
    texts->mask_words = objective->text_mask;
    pairs->hides_words = objective->pair_text_weight > 0.0;
    pairs->hides_patches = objective->pair_image_weight > 0.0;
    pairs->is_judged = pairs->has_concepts = objective->contrastive_weight > 0.0;
    pairs->is_on = pairs->has_pixels = pairs->has_text =
        pairs->hides_words || pairs->hides_patches || pairs->is_judged;
    pairs->mask_words = objective->pair_text_mask;
    pairs->mask_words_max = objective->pair_text_mask_max;
    pairs->mask_patches = objective->pair_image_mask;
}

/* Which streams are on, and what is taken from them. */
static void settle_sets(vlm_sets *sets, vlm_source_mode mode, const vlmoe_config *config)
{
    static const char *const names[2][VLM_STREAMS] = {
        {"data.images", "data.texts", "data.pairs"},
        {"data.val_images", "data.val_texts", "data.val_pairs"},
    };
    const task_row *task = task_named(config->run.task);
    const bool skips = mode == VLM_SOURCE_TRAIN && !strcmp(config->task.unlabelled, "skip");
    sets[VLM_IMAGES].per_group = config->data.images_per_group;
    sets[VLM_TEXTS].per_group = config->data.texts_per_group;
    sets[VLM_PAIRS].per_group = config->data.pairs_per_group;
    for (int i = 0; i < VLM_STREAMS; i++) sets[i].n_pictures = 1;
    if (task) settle_task(sets, task, skips);
    else if (strcmp(config->run.task, "image_tokeniser") == 0) settle_tokeniser(sets);
    else settle_pretrain(sets, &config->objective);
    for (int i = 0; i < VLM_STREAMS; i++) {
        sets[i].name = names[mode == VLM_SOURCE_EVAL][i];
        sets[i].mix.seed = (uint64_t)config->run.seed;
        sets[i].mix.stream = (uint64_t)i;
        sets[i].is_on = sets[i].is_on && sets[i].per_group > 0;
    }
}

vlm_group_shape vlm_group_shape_of(const vlmoe_config *config)
{
    vlm_sets sets[VLM_STREAMS] = {0};
    const int64_t grid = config->model.image_size / config->model.patch;
    settle_sets(sets, VLM_SOURCE_TRAIN, config);
    vlm_group_shape shape = vlm_sets_shape(sets);
    shape.image_size = config->model.image_size;
    shape.n_patches = grid * grid;
    shape.text_len = config->model.text_len;
    return shape;
}

vlm_fit vlm_source_fit(const vlmoe_config *config)
{
    return strcmp(config->data.eval_fit, "crop") ? VLM_FIT_SQUARE : VLM_FIT_CROP;
}

/* Offsets of texts are 32 bits, and numbers of draws 64. */
static vlmoe_status check_sizes(const vlm_source *source, const vlmoe_config *config,
                                vlmoe_error *error)
{
    const vlm_cfg_data *data = &config->data;
    int64_t n = 0;
    const int64_t copies = source->sets[VLM_PAIRS].n_pictures;
    bool fits =
        vlm_mul_i64(data->texts_per_group + data->pairs_per_group * copies, source->text_len, &n) &&
        n <= INT32_MAX;
    if (!fits)
        return vlm_fail(error, VLMOE_E_ARG,
                        "data.texts_per_group + data.pairs_per_group = %lld texts of "
                        "model.text_len = %lld tokens: more than 2^31 in a group",
                        (long long)(data->texts_per_group + data->pairs_per_group * copies),
                        (long long)source->text_len);
    for (int i = 0; i < VLM_STREAMS; i++) {
        fits = vlm_mul_i64(config->run.steps, source->groups, &n) &&
               vlm_mul_i64(n, source->sets[i].per_group, &n) && n <= INT64_MAX / 2;
        if (!fits)
            return vlm_fail(error, VLMOE_E_ARG,
                            "run.steps * run.groups * %s_per_group is more than 2^62 samples",
                            source->sets[i].name);
    }
    if (data->max_pixels > VLM_IMAGE_PIXELS_MAX)
        return vlm_fail(error, VLMOE_E_ARG,
                        "data.max_pixels is %lld, pictures of at most %d pixels can be decoded",
                        (long long)data->max_pixels, VLM_IMAGE_PIXELS_MAX);
    return VLMOE_OK;
}

vlmoe_status vlm_source_settle(vlm_source *source, const vlmoe_config *config, vlmoe_error *error)
{
    source->seed = (uint64_t)config->run.seed;
    source->groups = config->run.groups;
    source->text_len = config->model.text_len;
    source->image_size = config->model.image_size;
    source->grid = config->model.image_size / config->model.patch;
    source->overlong_is_error = strcmp(config->data.overlong, "error") == 0;
    source->crops = config->data.crop_min < 1.0;
    source->decode = vlm_source_decode_options(config);
    source->augment = augment_of(&config->data);
    source->words = (vlm_text_mask_params){.keep = config->objective.mask_keep,
                                           .random = config->objective.mask_random};
    if (source->spm) {
        vlm_spm_ids ids = vlm_spm_special(source->spm);
        source->words.mask_id = ids.mask;
        source->words.n_ids = ids.n;
    }
    source->block_min = config->objective.block_min;
    source->block_aspect = config->objective.block_aspect;
    source->fit = vlm_source_fit(config);
    source->randaug = (vlm_randaug){(int)config->data.randaug_n, config->data.randaug_magnitude};
    source->mixup = (vlm_mixup){config->task.mixup, config->task.cutmix};
    settle_sets(source->sets, source->mode, config);
    VLM_TRY(check_sizes(source, config, error));
    vlmoe_status status = vlm_augment_check(&source->augment, error);
    if (status) vlm_fail_in(error, "data.crop_min, crop_ratio, flip, jitter, jitter_hue");
    return status;
}
