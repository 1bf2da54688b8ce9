/* Making one group: drawing its samples, pictures to pixels, texts to tokens, hiding. A pure
 * function of the source's settings and the group's number, so any thread may make any group. Not
 * here: which thread and when (data_prefetch.c). */
#include <math.h>
#include <string.h>
#include "base_hash.h"
#include "data_source.h"

/* What the draws of one sample of a group are named by. */
typedef struct place {
    int64_t step, group;
    int64_t index;   /* among the group's pictures, or among its texts */
    int64_t number;  /* the sample's, in its stream */
    int64_t example; /* among the stream's samples in the group */
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

/* ---- Memory ---- */

/* Bounds of the config keep every product here below 2^50. */
size_t vlm_group_bytes(const vlm_group_shape *s, size_t start[VLM_GROUP_ARRAYS])
{
    const int64_t n_tokens = s->n_texts * s->text_len,
                  n_offsets = s->n_examples ? s->n_examples + 1 : 0;
    const int64_t sizes[VLM_GROUP_ARRAYS] = {
        s->n_pictures * s->image_size * s->image_size * 3,
        s->n_pictures * s->n_patches,
        n_tokens * (int64_t)sizeof(int32_t),
        n_tokens * (int64_t)sizeof(int32_t),
        (s->n_samples + 1) *
            (int64_t)sizeof(int32_t), /* a stream may count texts without having any */
        s->n_samples * (int64_t)sizeof(int64_t),
        n_offsets * (int64_t)sizeof(int32_t),
        s->n_labels * (int64_t)sizeof(int32_t),
        s->n_labels * (int64_t)sizeof(float),
        s->n_examples * (int64_t)sizeof(int64_t),
    };
    size_t at = 0;
    for (int i = 0; i < VLM_GROUP_ARRAYS; i++) {
        if (start) start[i] = at;
        at += vlm_round_up((size_t)sizes[i], 64);
    }
    return at;
}

vlm_group_shape vlm_sets_shape(const vlm_sets sets[VLM_STREAMS])
{
    vlm_group_shape shape = {0};
    for (int i = 0; i < VLM_STREAMS; i++) {
        if (!sets[i].is_on) continue;
        const int64_t n = sets[i].per_group, rows = n * sets[i].n_pictures;
        shape.n_samples += sets[i].is_apart ? 2 * n : rows;
        if (sets[i].has_pixels) shape.n_pictures += rows;
        if (sets[i].has_text) shape.n_texts += rows;
        if (!sets[i].is_judged) continue;
        shape.n_examples += n;
        if (sets[i].is_labelled) shape.n_labels += 2 * n * VLM_LABELS_MAX; /* two may be mixed */
    }
    return shape;
}

vlmoe_status vlm_group_reserve(const vlm_source *source, vlm_group *group, vlmoe_error *error)
{
    vlm_group_shape shape = vlm_sets_shape(source->sets);
    shape.image_size = source->image_size;
    shape.n_patches = source->grid * source->grid;
    shape.text_len = source->text_len;
    size_t start[VLM_GROUP_ARRAYS], bytes = vlm_group_bytes(&shape, start);
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
    if (shape.n_examples) {
        group->label_offset = (int32_t *)(block + start[6]);
        group->label = (int32_t *)(block + start[7]);
        group->label_score = (float *)(block + start[8]);
        group->concept = (int64_t *)(block + start[9]);
    }
    return VLMOE_OK;
}

/* ---- Which samples ---- */

/* Samples of a stream in group `number`. */
static int64_t sample_count(const vlm_source *source, int stream, int64_t number)
{
    const vlm_sets *sets = &source->sets[stream];
    if (!sets->is_on) return 0;
    if (source->mode == VLM_SOURCE_TRAIN) return sets->per_group;
    int64_t left = sets->n_used - number * sets->per_group;
    return VLM_MAX(0, VLM_MIN(left, sets->per_group));
}

/* Counts of a group's streams, and of what is judged. */
static void count(const vlm_source *source, int64_t number, vlm_group *group)
{
    const vlm_sets *pairs = &source->sets[VLM_PAIRS];
    const int64_t n_pairs = sample_count(source, VLM_PAIRS, number);
    group->n_images = sample_count(source, VLM_IMAGES, number);
    group->n_texts = sample_count(source, VLM_TEXTS, number);
    group->n_pairs = pairs->is_apart ? 0 : n_pairs * pairs->n_pictures;
    if (pairs->is_apart) group->n_images = group->n_texts = n_pairs;
    group->n_examples = 0;
    for (int i = 0; i < VLM_STREAMS; i++)
        if (source->sets[i].is_judged) group->n_examples += sample_count(source, i, number);
}

static int64_t draw_sample(const vlm_source *source, int stream, int64_t number, int64_t i)
{
    const vlm_sets *sets = &source->sets[stream];
    int64_t n = number * sets->per_group + i, i_set, i_sample;
    if (source->mode == VLM_SOURCE_EVAL) return n;
    vlm_mix_draw(&sets->mix, n, &i_set, &i_sample);
    return sets->first[i_set] + (sets->skips ? sets->labelled[i_set][i_sample] : i_sample);
}

/* ---- Pictures ---- */

/* A sample as it is read. */
typedef struct sample_facts {
    vlm_sample sample;
    vlm_sample_facts facts;
} sample_facts;

/* Which part of a picture is taken, and which way round. */
typedef struct view {
    vlm_box box;
    bool is_mirrored;
} view;

static view draw_view(const vlm_source *source, vlm_size size, vlm_rng *rng)
{
    view v = {{0, 0, size.width, size.height}, false};
    if (source->crops) v.box = vlm_augment_box(&source->augment, size.width, size.height, rng);
    v.is_mirrored = vlm_rng_unit(rng) < source->augment.mirror;
    return v;
}

/* pixels [image_size, image_size, 3]. The view is drawn before decoding, so that only what the
 * resize reads needs to be decoded. */
static vlmoe_status make_pixels(const group_job *job, const place *at, const vlm_picture_file *file,
                                uint8_t *pixels, vlmoe_error *error)
{
    const vlm_source *source = job->source;
    const int64_t size = source->image_size;
    vlm_picture picture;
    vlm_image image;
    VLM_TRY(vlm_picture_open(source, file, job->workspace, &picture, error));
    if (source->mode == VLM_SOURCE_EVAL) {
        VLM_TRY(vlm_picture_read(source, &picture, NULL, &image, error));
        return vlm_image_fit(&image, source->fit, size, pixels, job->workspace, error);
    }
    vlm_rng rng = rng_at(source, VLM_STREAM_AUGMENT, at);
    const view v = draw_view(source, picture.size, &rng);
    const vlm_box part = vlm_image_resize_reads(picture.size, v.box, (vlm_size){size, size});
    VLM_TRY(vlm_picture_read(source, &picture, &part, &image, error));
    const vlm_image out = {size, size, pixels};
    VLM_TRY(vlm_image_resize(&image, v.box, &out, job->workspace, error));
    if (v.is_mirrored) vlm_image_mirror(pixels, size, size);
    vlm_rng drawn = rng_at(source, VLM_STREAM_RANDAUG, at);
    VLM_TRY(vlm_randaug_apply(&source->randaug, &out, &drawn, job->workspace, error));
    vlm_augment_colour(&source->augment, pixels, size * size, &rng);
    return VLMOE_OK;
}

/* Picture `which` of a sample becomes picture at->index of the group. */
static vlmoe_status fill_picture(const group_job *job, const place *at, const sample_facts *read,
                                 int which, vlmoe_error *error)
{
    const vlm_source *source = job->source;
    const vlm_sets *sets = &source->sets[at->stream];
    vlm_group *group = job->group;
    const int64_t picture_bytes = group->image_size * group->image_size * 3;
    const vlm_sample_at of = {at->stream, at->number, &read->sample, &read->facts};
    vlm_picture_file file;
    VLM_TRY(vlm_sets_picture(sets, &of, which, &file, error));
    vlmoe_status status =
        make_pixels(job, at, &file, group->pixels + at->index * picture_bytes, error);
    if (status) {
        if (file.shard)
            vlm_fail_in(error, "its picture at byte %llu of %s", (unsigned long long)file.offset,
                        file.shard);
        return status;
    }
    vlm_rng rng = mask_rng(source, VLM_STREAM_MASK_IMAGE, at);
    vlm_mask_blocks(source->grid, source->grid, sets->hides_patches ? sets->mask_patches : 0.0,
                    source->block_min, source->block_aspect, &rng,
                    group->patch_mask + at->index * group->n_patches);
    return VLMOE_OK;
}

/* ---- Texts ---- */

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

/* The sample's text to tokens behind those of the group. */
static vlmoe_status encode(const vlm_source *source, const place *at, const vlm_sample *sample,
                           vlm_group *group, int64_t *n, vlmoe_error *error)
{
    const bool has_two = source->sets[at->stream].has_two_texts;
    const vlm_bytes *text = pick_text(source, at, sample);
    int32_t *ids = group->token + group->n_tokens;
    const int64_t limit = source->text_len;
    int64_t n_all = 0;
    if (has_two)
        VLM_TRY(vlm_spm_encode_pair(source->spm, sample->texts, limit, ids, n, &n_all, error));
    else
        VLM_TRY(vlm_spm_encode(source->spm, (const char *)text->data, text->bytes, limit, ids, n,
                               &n_all, error));
    if (n_all <= (has_two ? 3 : 2)) return vlm_fail(error, VLMOE_E_FORMAT, "the text is empty");
    if (n_all > *n && source->overlong_is_error)
        return vlm_fail(
            error, VLMOE_E_FORMAT,
            "the text has %lld tokens, model.text_len is %lld and data.overlong is \"error\"",
            (long long)n_all, (long long)limit);
    group->n_cut += n_all > *n;
    return VLMOE_OK;
}

/* Without white space and control characters at its ends. */
static vlm_bytes trimmed(const vlm_bytes *text)
{
    size_t first = 0, end = text->bytes;
    while (first < end && text->data[first] <= ' ') first++;
    while (end > first && text->data[end - 1] <= ' ') end--;
    return (vlm_bytes){text->data + first, end - first};
}

int64_t vlm_caption_number(const vlm_bytes *text)
{
    const vlm_bytes words = trimmed(text);
    return (int64_t)vlm_hash64(words.data, words.bytes);
}

static vlmoe_status fill_text(const vlm_source *source, const place *at, const vlm_sample *sample,
                              vlm_group *group, vlmoe_error *error)
{
    const vlm_sets *sets = &source->sets[at->stream];
    int64_t n = 0;
    if (sample->n_texts < 1) return vlm_fail(error, VLMOE_E_FORMAT, "the sample has no text");
    if (sets->has_two_texts && sample->n_texts != 2)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "the sample has %d text%s, and this task reads two: premise and hypothesis",
                        sample->n_texts, sample->n_texts == 1 ? "" : "s");
    for (int i = 0; sets->has_two_texts && i < 2; i++)
        if (!trimmed(&sample->texts[i]).bytes)
            return vlm_fail(error, VLMOE_E_FORMAT, "text %d of its two is empty", i + 1);
    VLM_TRY(encode(source, at, sample, group, &n, error));
    hide_words(source, at, n, group->token + group->n_tokens,
               group->token_target + group->n_tokens);
    group->n_tokens += n;
    group->text_offset[at->index + 1] = (int32_t)group->n_tokens;
    if (!sets->has_concepts) return VLMOE_OK;
    group->concept[at->example] = vlm_caption_number(pick_text(source, at, sample));
    return VLMOE_OK;
}

/* Text at is the one before it once more. */
static void repeat_text(vlm_group *group, int64_t at)
{
    const int32_t from = group->text_offset[at - 1], n = group->text_offset[at] - from;
    memcpy(group->token + group->n_tokens, group->token + from, (size_t)n * sizeof *group->token);
    memcpy(group->token_target + group->n_tokens, group->token_target + from,
           (size_t)n * sizeof *group->token_target);
    group->n_tokens += n;
    group->text_offset[at + 1] = (int32_t)group->n_tokens;
}

/* ---- Labels ---- */

static vlmoe_status check_labels(const vlm_source *source, const vlm_sets *sets,
                                 const vlm_sample_facts *facts, vlmoe_error *error)
{
    double sum = 0.0;
    for (int i = 0; i < facts->n_labels; i++) sum += (double)facts->score[i];
    if (!facts->n_labels && source->mode == VLM_SOURCE_TRAIN)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "the sample has no label with a score above 0; task.unlabelled = skip "
                        "leaves such samples out");
    if (facts->n_labels && sets->has_shares && !(fabs(sum - 1.0) <= 1e-3))
        return vlm_fail(error, VLMOE_E_FORMAT, "the scores of its labels add up to %g, not 1", sum);
    return VLMOE_OK;
}

static vlmoe_status fill_labels(const vlm_source *source, const place *at,
                                const vlm_sample_facts *facts, vlm_group *group, vlmoe_error *error)
{
    const vlm_sets *sets = &source->sets[at->stream];
    int32_t *end = &group->label_offset[at->example + 1];
    *end = group->label_offset[at->example];
    if (!sets->is_labelled) return VLMOE_OK;
    VLM_TRY(check_labels(source, sets, facts, error));
    for (int i = 0; i < facts->n_labels; i++, (*end)++) {
        group->label[*end] = facts->label[i];
        group->label_score[*end] = facts->score[i];
    }
    return VLMOE_OK;
}

/* ---- The group ---- */

/* picture, text: where the sample's first of each goes. */
static vlmoe_status fill_parts(const group_job *job, const place *picture, const place *text,
                               const sample_facts *read, vlmoe_error *error)
{
    const vlm_sets *sets = &job->source->sets[picture->stream];
    for (int i = 0; sets->has_pixels && i < sets->n_pictures; i++) {
        place at = *picture;
        at.index += i;
        VLM_TRY(fill_picture(job, &at, read, i, error));
    }
    if (sets->has_text) VLM_TRY(fill_text(job->source, text, &read->sample, job->group, error));
    for (int i = 1; sets->has_text && i < sets->n_pictures; i++)
        repeat_text(job->group, text->index + i);
    return sets->is_judged ? fill_labels(job->source, text, &read->facts, job->group, error)
                           : VLMOE_OK;
}

static vlmoe_status fill_sample(const group_job *job, const place *picture, const place *text,
                                vlmoe_error *error)
{
    const vlm_sets *sets = &job->source->sets[picture->stream];
    sample_facts read;
    VLM_TRY(vlm_sets_get(sets, picture->number, &read.sample, error));
    vlmoe_status status = vlm_sets_facts(sets, &read.sample, &read.facts, error);
    if (!status) status = fill_parts(job, picture, text, &read, error);
    if (status)
        vlm_fail_in(error, "%s: %s, sample %.160s at byte %llu", sets->name, read.sample.shard,
                    read.sample.key, (unsigned long long)read.sample.offset);
    return status;
}

/* Where the rows of a stream begin in a group. Pictures are numbered A then B, texts B then C,
 * samples A, B, C (A images, B pairs, C texts). */
typedef struct rows {
    int64_t picture, text, sample, sample_of_text;
} rows;

static rows rows_of(const vlm_source *source, int stream, const vlm_group *group)
{
    const int64_t a = group->n_images, b = group->n_pairs;
    if (stream == VLM_IMAGES) return (rows){0, 0, 0, -1};
    if (stream == VLM_TEXTS) return (rows){0, b, a + b, -1};
    return source->sets[VLM_PAIRS].is_apart ? (rows){0, 0, 0, a} : (rows){a, 0, a, -1};
}

static vlmoe_status fill_stream(const group_job *job, int stream, int64_t number,
                                vlmoe_error *error)
{
    vlm_group *group = job->group;
    const int copies = job->source->sets[stream].n_pictures;
    const int64_t n = sample_count(job->source, stream, number);
    const rows first = rows_of(job->source, stream, group);
    for (int64_t i = 0; i < n; i++) {
        if (atomic_load_explicit(job->cancel, memory_order_relaxed)) return VLMOE_E_STATE;
        place picture = {.step = group->step,
                         .group = group->index,
                         .index = first.picture + i * copies,
                         .example = i,
                         .stream = stream};
        picture.number = draw_sample(job->source, stream, number, i);
        place text = picture;
        text.index = first.text + i * copies;
        for (int c = 0; c < copies; c++)
            group->sample[first.sample + i * copies + c] = picture.number;
        if (first.sample_of_text >= 0) group->sample[first.sample_of_text + i] = picture.number;
        /* A stream that has no text here still counts: its texts have no tokens. */
        for (int c = 0; c < copies && stream != VLM_IMAGES; c++)
            group->text_offset[text.index + c + 1] = (int32_t)group->n_tokens;
        VLM_TRY(fill_sample(job, &picture, &text, error));
    }
    return VLMOE_OK;
}

/* Only classify has either on (the config's check), so examples are images. */
static vlmoe_status mix_examples(const group_job *job, vlmoe_error *error)
{
    const vlm_source *source = job->source;
    vlm_group *group = job->group;
    if (source->mode == VLM_SOURCE_EVAL) return VLMOE_OK;
    if (source->mixup.mixup <= 0.0 && source->mixup.cutmix <= 0.0) return VLMOE_OK;
    vlm_rng rng = vlm_rng_at(source->seed, VLM_STREAM_MIXUP, (uint64_t)group->step,
                             (uint64_t)group->index, 0);
    const vlm_mixture mixture = vlm_mixture_draw(&source->mixup, source->image_size, &rng);
    vlm_workspace_reset(job->workspace);
    return vlm_mixture_apply(&mixture, group, job->workspace, error);
}

vlmoe_status vlm_group_fill(const vlm_source *source, int64_t number, vlm_workspace *workspace,
                            vlm_group *group, const atomic_bool *cancel, vlmoe_error *error)
{
    const group_job job = {source, workspace, group, cancel};
    group->step = number / source->groups;
    group->index = number % source->groups;
    count(source, number, group);
    group->n_tokens = 0;
    group->n_cut = 0;
    group->text_offset[0] = 0;
    if (group->n_examples) {
        group->label_offset[0] = 0;
        memset(group->concept, 0, (size_t)group->n_examples * sizeof *group->concept);
    }
    VLM_TRY(fill_stream(&job, VLM_IMAGES, number, error));
    VLM_TRY(fill_stream(&job, VLM_PAIRS, number, error));
    VLM_TRY(fill_stream(&job, VLM_TEXTS, number, error));
    return mix_examples(&job, error);
}
