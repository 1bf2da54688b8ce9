/* Samples by number and pictures by path: what evaluation and prediction read, and the way from a
 * sample to its decoded picture that groups share. */
#include "base_file.h"
#include "data_source.h"

enum { PICTURE_BYTES_MAX = 256 << 20 };

vlmoe_status vlm_picture_open(const vlm_source *source, const vlm_picture_file *file,
                              vlm_workspace *workspace, vlm_picture *out, vlmoe_error *error)
{
    vlm_picture picture = {.key = file->key, .kept = vlm_cache_get(source->cache, file->key)};
    vlm_workspace_reset(workspace);
    if (picture.kept) {
        picture.file.workspace = workspace;
        picture.size = (vlm_size){picture.kept->width, picture.kept->height};
        *out = picture;
        return VLMOE_OK;
    }
    VLM_TRY(vlm_image_open(workspace, file->file.data, file->file.bytes, &source->decode,
                           &picture.file, error));
    picture.size = (vlm_size){picture.file.width, picture.file.height};
    *out = picture;
    return VLMOE_OK;
}

/* Decode into memory of its own, which the cache takes over. */
static vlmoe_status read_and_keep(const vlm_source *source, const vlm_picture *picture,
                                  const vlm_image **out, vlmoe_error *error)
{
    vlm_image own = {0};
    VLM_TRY(vlm_image_create(picture->size.width, picture->size.height, &own, error));
    vlmoe_status status = vlm_image_read(&picture->file, NULL, own.pixels, error);
    if (!status) *out = vlm_cache_keep(source->cache, picture->key, &own);
    vlm_image_free(&own);
    return status;
}

vlmoe_status vlm_picture_read(const vlm_source *source, const vlm_picture *picture,
                              const vlm_box *part, vlm_image *out, vlmoe_error *error)
{
    const vlm_image *kept = picture->kept;
    const vlm_size size = picture->size;
    vlm_picture again = *picture;
    if (!kept && vlm_cache_has_room(source->cache, size.width, size.height)) {
        VLM_TRY(read_and_keep(source, picture, &kept, error));
        if (!kept) /* another thread was faster: the room is gone, or the picture there by now */
            VLM_TRY(vlm_image_open(picture->file.workspace, picture->file.data, picture->file.bytes,
                                   &source->decode, &again.file, error));
    }
    if (kept) {
        *out = *kept;
        return VLMOE_OK;
    }
    uint8_t *pixels =
        vlm_workspace_take(picture->file.workspace, (size_t)(size.width * size.height), 3);
    if (!pixels)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a picture of %lld x %lld pixels",
                        (long long)size.width, (long long)size.height);
    VLM_TRY(vlm_image_read(&again.file, part, pixels, error));
    *out = (vlm_image){size.width, size.height, pixels};
    return VLMOE_OK;
}

static vlmoe_status fit_picture(vlm_source *source, const vlm_picture_file *file, uint8_t *pixels,
                                vlmoe_error *error)
{
    vlm_workspace *workspace = source->workspaces[source->n_workers];
    vlm_picture picture;
    vlm_image image;
    vlmoe_status status = vlm_picture_open(source, file, workspace, &picture, error);
    if (!status) status = vlm_picture_read(source, &picture, NULL, &image, error);
    if (!status)
        status = vlm_image_fit(&image, source->fit, source->image_size, pixels, workspace, error);
    if (status && file->shard)
        vlm_fail_in(error, "its picture at byte %llu of %s", (unsigned long long)file->offset,
                    file->shard);
    return status;
}

/* All pictures of source->view, which is sample i of a stream. */
static vlmoe_status fit_sample(vlm_source *source, int stream, int64_t i, uint8_t *pixels,
                               vlmoe_error *error)
{
    const vlm_sets *sets = &source->sets[stream];
    const int64_t bytes = source->image_size * source->image_size * 3;
    vlm_sample_facts facts;
    VLM_TRY(vlm_sets_facts(sets, &source->view, &facts, error));
    const vlm_sample_at at = {stream, i, &source->view, &facts};
    for (int which = 0; which < sets->n_pictures; which++) {
        vlm_picture_file file;
        VLM_TRY(vlm_sets_picture(sets, &at, which, &file, error));
        VLM_TRY(fit_picture(source, &file, pixels + which * bytes, error));
    }
    return VLMOE_OK;
}

vlmoe_status vlm_source_sample(vlm_source *source, int stream, int64_t i, uint8_t *pixels,
                               vlm_sample_view *out, vlmoe_error *error)
{
    if (stream < 0 || stream >= VLM_STREAMS || !source->sets[stream].is_on)
        return vlm_fail(error, VLMOE_E_ARG, "no stream %d in this source", stream);
    const vlm_sets *sets = &source->sets[stream];
    vlm_sample *sample = &source->view;
    VLM_TRY(vlm_sets_get(sets, i, sample, error));
    if (pixels && stream != VLM_TEXTS) {
        vlmoe_status status = fit_sample(source, stream, i, pixels, error);
        if (status) {
            vlm_fail_in(error, "%s: %s, sample %.160s at byte %llu", sets->name, sample->shard,
                        sample->key, (unsigned long long)sample->offset);
            return status;
        }
    }
    *out = (vlm_sample_view){.key = sample->key,
                             .texts = sample->texts,
                             .json = (const char *)sample->json.data,
                             .json_bytes = sample->json.bytes};
    if (stream != VLM_IMAGES && sample->n_texts > 0) {
        out->n_texts = sample->n_texts;
        out->text = (const char *)sample->texts[0].data;
        out->text_bytes = sample->texts[0].bytes;
    }
    return VLMOE_OK;
}

vlm_image_options vlm_source_decode_options(const vlmoe_config *config)
{
    vlm_image_options options = {.max_pixels = config->data.max_pixels};
    for (int i = 0; i < 3; i++) options.background[i] = (uint8_t)config->data.background.at[i];
    return options;
}

vlmoe_status vlm_picture_load(const vlmoe_config *config, const char *path, uint8_t *pixels,
                              vlmoe_error *error)
{
    char *data = NULL;
    size_t bytes = 0;
    vlm_image image = {0};
    const vlm_image_options options = vlm_source_decode_options(config);
    VLM_TRY(vlm_file_read(path, PICTURE_BYTES_MAX, &data, &bytes, error));
    vlmoe_status status = vlm_image_decode(data, bytes, &options, &image, error);
    if (!status)
        status = vlm_image_fit(&image, vlm_source_fit(config), config->model.image_size, pixels,
                               NULL, error);
    if (status) vlm_fail_in(error, "%s", path);
    vlm_image_free(&image);
    vlm_free(data);
    return status;
}
