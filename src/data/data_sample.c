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

vlmoe_status vlm_source_picture(const vlm_source *source, uint64_t key, const vlm_sample *sample,
                                vlm_image *own, const vlm_image **out, vlmoe_error *error)
{
    *out = vlm_cache_get(source->cache, key);
    if (*out) return VLMOE_OK;
    if (!sample->image.data) return vlm_fail(error, VLMOE_E_FORMAT, "the sample has no picture");
    VLM_TRY(vlm_image_decode(sample->image.data, sample->image.bytes, &source->decode, own, error));
    *out = vlm_cache_keep(source->cache, key, own);
    if (!*out) *out = own;
    return VLMOE_OK;
}

static vlmoe_status fit_sample(vlm_source *source, int stream, int64_t i, uint8_t *pixels,
                               vlmoe_error *error)
{
    vlm_image own = {0};
    const vlm_image *image = NULL;
    vlmoe_status status =
        vlm_source_picture(source, vlm_picture_key(stream, i), &source->view, &own, &image, error);
    if (!status) status = vlm_image_fit(image, source->image_size, pixels, error);
    vlm_image_free(&own);
    return status;
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
