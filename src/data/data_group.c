/* Making one group: drawing its samples, pictures to pixels, texts to tokens, hiding. A pure
 * function of the source's settings and the group's number, so any thread may make any group. Not
 * here: which thread and when (data_prefetch.c). */
#include "data_source.h"

/* What the draws of one sample of a group are named by. */
typedef struct place {
    int64_t step, group;
    int64_t index;  /* among the group's pictures, or among its texts */
    int64_t number; /* the sample's, in its stream */
    int stream;
} place;

/* One group in the making. */
typedef struct group_job {
    const vlm_source *source;
    vlm_workspace *workspace; /* of the thread */
    vlm_group *group;
    const atomic_bool *cancel;
} group_job;

static vlm_rng rng_at(const vlm_source *source, vlm_stream purpose, const place *at)
{
    return vlm_rng_at(source->seed, purpose, (uint64_t)at->step, (uint64_t)at->group,
                      (uint64_t)at->index);
}

/* Evaluation hides the same in a sample whatever group it falls into. c: 0 words, 1 patches. */
static vlm_rng mask_rng(const vlm_source *source, vlm_stream purpose, const place *at)
{
    if (source->mode == VLM_SOURCE_TRAIN) return rng_at(source, purpose, at);
    return vlm_rng_at(source->seed, VLM_STREAM_EVAL, (uint64_t)at->number, (uint64_t)at->stream,
                      purpose == VLM_STREAM_MASK_IMAGE);
}

/* Bounds of the config keep every product here below 2^50. */
size_t vlm_group_bytes(const vlm_group_shape *s, size_t start[6])
{
    const int64_t n_tokens = s->n_texts * s->text_len;
    const int64_t sizes[6] = {
        s->n_pictures * s->image_size * s->image_size * 3,
        s->n_pictures * s->n_patches,
        n_tokens * (int64_t)sizeof(int32_t),
        n_tokens * (int64_t)sizeof(int32_t),
        (s->n_samples + 1) *
            (int64_t)sizeof(int32_t), /* a stream may count texts without having any */
        s->n_samples * (int64_t)sizeof(int64_t),
    };
    size_t at = 0;
    for (int i = 0; i < 6; i++) {
        if (start) start[i] = at;
        at += vlm_round_up((size_t)sizes[i], 64);
    }
    return at;
}

vlmoe_status vlm_group_reserve(const vlm_source *source, vlm_group *group, vlmoe_error *error)
{
    vlm_group_shape shape = {.image_size = source->image_size,
                             .n_patches = source->grid * source->grid,
                             .text_len = source->text_len};
    for (int i = 0; i < VLM_STREAMS; i++) {
        const vlm_sets *sets = &source->sets[i];
        if (!sets->is_on) continue;
        shape.n_samples += sets->per_group;
        if (sets->has_pixels) shape.n_pictures += sets->per_group;
        if (sets->has_text) shape.n_texts += sets->per_group;
    }
    size_t start[6], bytes = vlm_group_bytes(&shape, start);
    char *block = vlm_alloc(bytes);
    if (!block) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a group of %zu bytes", bytes);
    *group = (vlm_group){
        .image_size = source->image_size,
        .n_patches = source->grid * source->grid,
        .pixels = (uint8_t *)block,
        .patch_mask = (uint8_t *)(block + start[1]),
        .token = (int32_t *)(block + start[2]),
        .token_target = (int32_t *)(block + start[3]),
        .text_offset = (int32_t *)(block + start[4]),
        .sample = (int64_t *)(block + start[5]),
    };
    return VLMOE_OK;
}

static int64_t group_count(const vlm_source *source, int stream, int64_t number)
{
    const vlm_sets *sets = &source->sets[stream];
    if (!sets->is_on) return 0;
    if (source->mode == VLM_SOURCE_TRAIN) return sets->per_group;
    int64_t left = sets->n_used - number * sets->per_group;
    return VLM_MAX(0, VLM_MIN(left, sets->per_group));
}

static int64_t draw_sample(const vlm_source *source, int stream, int64_t number, int64_t i)
{
    const vlm_sets *sets = &source->sets[stream];
    int64_t n = number * sets->per_group + i, i_set, i_sample;
    if (source->mode == VLM_SOURCE_EVAL) return n;
    vlm_mix_draw(&sets->mix, n, &i_set, &i_sample);
    return sets->first[i_set] + i_sample;
}

/* Which part of a picture is taken, and which way round. */
typedef struct view {
    vlm_box box;
    bool is_mirrored;
} view;

static view draw_view(const vlm_source *source, vlm_size size, vlm_rng *rng)
{
    view v = {{0, 0, size.width, size.height}, false};
    if (source->mode == VLM_SOURCE_EVAL) return v;
    if (source->crops) v.box = vlm_augment_box(&source->augment, size.width, size.height, rng);
    v.is_mirrored = vlm_rng_unit(rng) < source->augment.mirror;
    return v;
}

/* pixels [image_size, image_size, 3]. The view is drawn before decoding, so that only what the
 * resize reads needs to be decoded. */
static vlmoe_status make_pixels(const group_job *job, const place *at, const vlm_sample *sample,
                                uint8_t *pixels, vlmoe_error *error)
{
    const vlm_source *source = job->source;
    const int64_t size = source->image_size;
    vlm_picture picture;
    vlm_image image;
    vlm_rng rng = rng_at(source, VLM_STREAM_AUGMENT, at);
    VLM_TRY(vlm_picture_open(source, vlm_picture_key(at->stream, at->number), sample,
                             job->workspace, &picture, error));
    const view v = draw_view(source, picture.size, &rng);
    const vlm_box part = vlm_image_resize_reads(picture.size, v.box, (vlm_size){size, size});
    VLM_TRY(vlm_picture_read(source, &picture, &part, &image, error));
    const vlm_image out = {size, size, pixels};
    VLM_TRY(vlm_image_resize(&image, v.box, &out, job->workspace, error));
    if (v.is_mirrored) vlm_image_mirror(pixels, size, size);
    if (source->mode == VLM_SOURCE_TRAIN)
        vlm_augment_colour(&source->augment, pixels, size * size, &rng);
    return VLMOE_OK;
}

static vlmoe_status fill_picture(const group_job *job, const place *at, const vlm_sample *sample,
                                 vlmoe_error *error)
{
    const vlm_source *source = job->source;
    const vlm_sets *sets = &source->sets[at->stream];
    vlm_group *group = job->group;
    const int64_t picture_bytes = group->image_size * group->image_size * 3;
    VLM_TRY(make_pixels(job, at, sample, group->pixels + at->index * picture_bytes, error));
    vlm_rng rng = mask_rng(source, VLM_STREAM_MASK_IMAGE, at);
    vlm_mask_blocks(source->grid, source->grid, sets->hides_patches ? sets->mask_patches : 0.0,
                    source->block_min, source->block_aspect, &rng,
                    group->patch_mask + at->index * group->n_patches);
    return VLMOE_OK;
}

/* Which of several texts of a picture: any in training, the first in evaluation. */
static const vlm_bytes *pick_text(const vlm_source *source, const place *at,
                                  const vlm_sample *sample)
{
    if (source->mode == VLM_SOURCE_EVAL || sample->n_texts < 2) return &sample->texts[0];
    vlm_rng rng = rng_at(source, VLM_STREAM_MIX, at);
    return &sample->texts[vlm_rng_below(&rng, (uint64_t)sample->n_texts)];
}

static void hide_words(const vlm_source *source, const place *at, int64_t n, int32_t *ids,
                       int32_t *target)
{
    const vlm_sets *sets = &source->sets[at->stream];
    vlm_rng rng = mask_rng(source, VLM_STREAM_MASK_TEXT, at);
    vlm_text_mask_params words = source->words;
    words.rate = sets->hides_words ? sets->mask_words : 0.0;
    if (sets->hides_words && sets->mask_words_max > sets->mask_words)
        words.rate += (sets->mask_words_max - sets->mask_words) * vlm_rng_unit(&rng);
    vlm_mask_text(&words, &rng, n, ids, target);
}

static vlmoe_status fill_text(const vlm_source *source, const place *at, const vlm_sample *sample,
                              vlm_group *group, vlmoe_error *error)
{
    int32_t *ids = group->token + group->n_tokens;
    int64_t n = 0, n_all = 0;
    if (sample->n_texts < 1) return vlm_fail(error, VLMOE_E_FORMAT, "the sample has no text");
    const vlm_bytes *text = pick_text(source, at, sample);
    VLM_TRY(vlm_spm_encode(source->spm, (const char *)text->data, text->bytes, source->text_len,
                           ids, &n, &n_all, error));
    if (n_all <= 2) return vlm_fail(error, VLMOE_E_FORMAT, "the text is empty");
    if (n_all > n && source->overlong_is_error)
        return vlm_fail(
            error, VLMOE_E_FORMAT,
            "the text has %lld tokens, model.text_len is %lld and data.overlong is \"error\"",
            (long long)n_all, (long long)source->text_len);
    group->n_cut += n_all > n;
    hide_words(source, at, n, ids, group->token_target + group->n_tokens);
    group->n_tokens += n;
    return VLMOE_OK;
}

static vlmoe_status fill_sample(const group_job *job, const place *picture, const place *text,
                                vlmoe_error *error)
{
    const vlm_sets *sets = &job->source->sets[picture->stream];
    vlm_sample sample;
    VLM_TRY(vlm_sets_get(sets, picture->number, &sample, error));
    vlmoe_status status = VLMOE_OK;
    if (sets->has_pixels) status = fill_picture(job, picture, &sample, error);
    if (!status && sets->has_text)
        status = fill_text(job->source, text, &sample, job->group, error);
    if (status)
        vlm_fail_in(error, "%s: %s, sample %.160s at byte %llu", sets->name, sample.shard,
                    sample.key, (unsigned long long)sample.offset);
    return status;
}

static vlmoe_status fill_stream(const group_job *job, int stream, int64_t number,
                                vlmoe_error *error)
{
    vlm_group *group = job->group;
    /* Pictures are numbered A then B, texts B then C, samples A, B, C (A images, B pairs, C texts).
     */
    const int64_t n = stream == VLM_IMAGES  ? group->n_images
                      : stream == VLM_PAIRS ? group->n_pairs
                                            : group->n_texts;
    const int64_t first_picture = stream == VLM_PAIRS ? group->n_images : 0;
    const int64_t first_text = stream == VLM_TEXTS ? group->n_pairs : 0;
    const int64_t first_sample = stream == VLM_IMAGES  ? 0
                                 : stream == VLM_PAIRS ? group->n_images
                                                       : group->n_images + group->n_pairs;
    for (int64_t i = 0; i < n; i++) {
        if (atomic_load_explicit(job->cancel, memory_order_relaxed)) return VLMOE_E_STATE;
        place picture = {.step = group->step,
                         .group = group->index,
                         .index = first_picture + i,
                         .stream = stream};
        picture.number = draw_sample(job->source, stream, number, i);
        place text = picture;
        text.index = first_text + i;
        group->sample[first_sample + i] = picture.number;
        VLM_TRY(fill_sample(job, &picture, &text, error));
        /* A stream that has no text here still counts: its texts have no tokens. */
        if (stream != VLM_IMAGES) group->text_offset[text.index + 1] = (int32_t)group->n_tokens;
    }
    return VLMOE_OK;
}

vlmoe_status vlm_group_fill(const vlm_source *source, int64_t number, vlm_workspace *workspace,
                            vlm_group *group, const atomic_bool *cancel, vlmoe_error *error)
{
    const group_job job = {source, workspace, group, cancel};
    group->step = number / source->groups;
    group->index = number % source->groups;
    group->n_images = group_count(source, VLM_IMAGES, number);
    group->n_pairs = group_count(source, VLM_PAIRS, number);
    group->n_texts = group_count(source, VLM_TEXTS, number);
    group->n_tokens = 0;
    group->n_cut = 0;
    group->text_offset[0] = 0;
    VLM_TRY(fill_stream(&job, VLM_IMAGES, number, error));
    VLM_TRY(fill_stream(&job, VLM_PAIRS, number, error));
    return fill_stream(&job, VLM_TEXTS, number, error);
}
