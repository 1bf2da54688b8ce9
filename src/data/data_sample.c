/* Samples by number and pictures by path: what evaluation and prediction read, and the way from a
 * sample to its decoded picture that groups share. */
#include "base_file.h"
#include "data_source.h"

enum { PICTURE_BYTES_MAX = 256 << 20 };

vlmoe_status vlm_sets_get(const vlm_sets *sets, int64_t number, vlm_sample *out, vlmoe_error *error)
{
    if (number < 0 || number >= sets->samples)
        return vlm_fail(error, VLMOE_E_ARG, "%s: no sample %lld, there are %lld", sets->name,
                        (long long)number, (long long)sets->samples);
    int64_t low = 0, high = sets->n_sets; /* first[low] <= number < first[high] */
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (sets->first[middle] <= number) low = middle;
        else high = middle;
    }
    return vlm_shards_get(sets->set[low], number - sets->first[low], out, error);
}

vlmoe_status vlm_picture_open(const vlm_source *source, uint64_t key, const vlm_sample *sample,
                              vlm_workspace *workspace, vlm_picture *out, vlmoe_error *error)
{
    vlm_picture picture = {.key = key, .kept = vlm_cache_get(source->cache, key)};
    vlm_workspace_reset(workspace);
    if (picture.kept) {
        picture.file.workspace = workspace;
        picture.size = (vlm_size){picture.kept->width, picture.kept->height};
        *out = picture;
        return VLMOE_OK;
    }
    if (!sample->image.data) return vlm_fail(error, VLMOE_E_FORMAT, "the sample has no picture");
    VLM_TRY(vlm_image_open(workspace, sample->image.data, sample->image.bytes, &source->decode,
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

static vlmoe_status fit_sample(vlm_source *source, int stream, int64_t i, uint8_t *pixels,
                               vlmoe_error *error)
{
    vlm_workspace *workspace = source->workspaces[source->n_workers];
    const int64_t size = source->image_size;
    vlm_picture picture;
    vlm_image image;
    VLM_TRY(vlm_picture_open(source, vlm_picture_key(stream, i), &source->view, workspace, &picture,
                             error));
    VLM_TRY(vlm_picture_read(source, &picture, NULL, &image, error));
    return vlm_image_resize(&image, (vlm_box){0, 0, image.width, image.height},
                            &(vlm_image){size, size, pixels}, workspace, error);
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
                             .json = (const char *)sample->json.data,
                             .json_bytes = sample->json.bytes};
    if (stream != VLM_IMAGES && sample->n_texts > 0) {
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
    if (!status) status = vlm_image_fit(&image, config->model.image_size, pixels, error);
    if (status) vlm_fail_in(error, "%s", path);
    vlm_image_free(&image);
    vlm_free(data);
    return status;
}
