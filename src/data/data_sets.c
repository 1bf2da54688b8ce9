/* The folders of one stream: samples and their pictures by number, labels.txt, and which samples
 * have labels. Not here: the order of samples (data_mix.c). */
#include <string.h>
#include "base_file.h"
#include "data_source.h"

/* ---- Opening ---- */

static vlmoe_status reserve(vlm_sets *sets, int64_t n, vlmoe_error *error)
{
    sets->set = vlm_alloc_array((size_t)n, sizeof *sets->set);
    sets->pictures = vlm_alloc_array((size_t)n, sizeof *sets->pictures);
    sets->labelled = vlm_alloc_array((size_t)n, sizeof *sets->labelled);
    sets->n_labelled = vlm_alloc_array((size_t)n, sizeof *sets->n_labelled);
    sets->first = vlm_alloc_array((size_t)n + 1, sizeof *sets->first);
    sets->first_picture = vlm_alloc_array((size_t)n + 1, sizeof *sets->first_picture);
    return sets->set && sets->pictures && sets->labelled && sets->n_labelled && sets->first &&
                   sets->first_picture
               ? VLMOE_OK
               : vlm_fail(error, VLMOE_E_NOMEM, "no memory for %lld sets", (long long)n);
}

/* The folder pictures/ of a set, where there is one. */
static vlmoe_status open_pictures(vlm_sets *sets, int64_t i, const char *folder, vlmoe_error *error)
{
    sets->first_picture[i + 1] = sets->first_picture[i];
    if (!sets->has_pixels || !vlm_path_is_dir(folder)) return VLMOE_OK;
    char *path = vlm_path_join(folder, "pictures");
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    const char *paths[] = {path};
    vlmoe_status st =
        vlm_path_is_dir(path) ? vlm_shards_open(paths, 1, &sets->pictures[i], error) : VLMOE_OK;
    vlm_free(path);
    if (!st && sets->pictures[i]) sets->first_picture[i + 1] += vlm_shards_count(sets->pictures[i]);
    return st;
}

/* All sets have the classes of the first. */
static vlmoe_status read_classes(vlm_sets *sets, const vlm_texts *folders, int64_t i,
                                 vlmoe_error *error)
{
    char *first = vlm_path_join(folders->at[0], "labels.txt");
    char *path = vlm_path_join(folders->at[i], "labels.txt");
    vlm_classes classes = {0};
    vlmoe_status st = !first || !path ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path")
                                      : vlm_classes_read(path, &classes, error);
    if (!st && i) st = vlm_classes_compare(&sets->classes, first, &classes, path, error);
    if (!st && !i) sets->classes = classes;
    else vlm_classes_free(&classes);
    vlm_free(first);
    vlm_free(path);
    return st;
}

/* Which samples of set i have labels: reads each one's json. */
static vlmoe_status find_labelled(vlm_sets *sets, int64_t i, vlmoe_error *error)
{
    const int64_t n = vlm_shards_count(sets->set[i]);
    if (n > INT32_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "%lld samples, at most 2^31 of which some are skipped",
                        (long long)n);
    sets->labelled[i] = vlm_alloc_array((size_t)n, sizeof *sets->labelled[i]);
    if (!sets->labelled[i])
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the numbers of %lld samples",
                        (long long)n);
    for (int64_t k = 0; k < n; k++) {
        vlm_sample sample;
        vlm_sample_facts facts;
        VLM_TRY(vlm_shards_get(sets->set[i], k, &sample, error));
        vlmoe_status st = vlm_sample_facts_read(sample.json, sets->classes.n, &facts, error);
        if (st) {
            vlm_fail_in(error, "%s, sample %.160s at byte %llu", sample.shard, sample.key,
                        (unsigned long long)sample.offset);
            return st;
        }
        if (facts.n_labels) sets->labelled[i][sets->n_labelled[i]++] = (int32_t)k;
    }
    return VLMOE_OK;
}

static vlmoe_status open_set(vlm_sets *sets, const vlm_texts *folders, int64_t i,
                             vlmoe_error *error)
{
    const char *folder = folders->at[i];
    VLM_TRY(vlm_shards_open(&folder, 1, &sets->set[i], error));
    sets->n_sets = i + 1;
    const int64_t count = vlm_shards_count(sets->set[i]);
    if (count == 0) return vlm_fail(error, VLMOE_E_ARG, "%s holds no samples", folder);
    sets->first[i + 1] = sets->first[i] + count;
    VLM_TRY(open_pictures(sets, i, folder, error));
    if (sets->is_labelled) VLM_TRY(read_classes(sets, folders, i, error));
    if (!sets->skips) return VLMOE_OK;
    VLM_TRY(find_labelled(sets, i, error));
    return sets->n_labelled[i]
               ? VLMOE_OK
               : vlm_fail(error, VLMOE_E_ARG, "%s: none of its %lld samples has a label", folder,
                          (long long)count);
}

vlmoe_status vlm_sets_open(vlm_sets *sets, const vlm_texts *folders, vlmoe_error *error)
{
    vlmoe_status status = reserve(sets, folders->n, error);
    for (int64_t i = 0; i < folders->n && !status; i++) status = open_set(sets, folders, i, error);
    if (status) {
        vlm_fail_in(error, "%s", sets->name);
        return status;
    }
    sets->samples = sets->first[sets->n_sets];
    return VLMOE_OK;
}

void vlm_sets_close(vlm_sets *sets)
{
    for (int64_t i = 0; i < sets->n_sets; i++) {
        vlm_shards_close(sets->set[i]);
        vlm_shards_close(sets->pictures[i]);
        vlm_free(sets->labelled[i]);
    }
    vlm_free(sets->set);
    vlm_free(sets->pictures);
    vlm_free(sets->labelled);
    vlm_free(sets->n_labelled);
    vlm_free(sets->first);
    vlm_free(sets->first_picture);
    vlm_classes_free(&sets->classes);
    vlm_mix_fini(&sets->mix);
}

int64_t vlm_sets_size(const vlm_sets *sets, int64_t i)
{
    return sets->skips ? sets->n_labelled[i] : sets->first[i + 1] - sets->first[i];
}

/* ---- Asking ---- */

/* The set of sample `number`: first[i] <= number < first[i + 1]. */
static int64_t set_of(const vlm_sets *sets, int64_t number)
{
    int64_t low = 0, high = sets->n_sets;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (sets->first[middle] <= number) low = middle;
        else high = middle;
    }
    return low;
}

vlmoe_status vlm_sets_get(const vlm_sets *sets, int64_t number, vlm_sample *out, vlmoe_error *error)
{
    if (number < 0 || number >= sets->samples)
        return vlm_fail(error, VLMOE_E_ARG, "%s: no sample %lld, there are %lld", sets->name,
                        (long long)number, (long long)sets->samples);
    const int64_t i = set_of(sets, number);
    return vlm_shards_get(sets->set[i], number - sets->first[i], out, error);
}

vlmoe_status vlm_sets_facts(const vlm_sets *sets, const vlm_sample *sample, vlm_sample_facts *out,
                            vlmoe_error *error)
{
    const bool names_pictures = sets->has_pixels && !sample->image.data;
    *out = (vlm_sample_facts){0};
    if (!sets->is_labelled && !names_pictures) return VLMOE_OK;
    return vlm_sample_facts_read(sample->json, sets->classes.n, out, error);
}

static uint64_t picture_key(int stream, int64_t number, bool is_shared)
{
    return ((uint64_t)number * VLM_STREAMS + (uint64_t)stream) * 2 + is_shared;
}

static vlmoe_status other_pictures(int found, const vlm_sets *sets, vlmoe_error *error)
{
    if (!found) return vlm_fail(error, VLMOE_E_FORMAT, "the sample has no picture");
    return vlm_fail(error, VLMOE_E_FORMAT, "the sample has %d picture%s, and this task reads %d",
                    found, found == 1 ? "" : "s", sets->n_pictures);
}

static vlmoe_status shared_picture(const vlm_sets *sets, const vlm_sample_at *at, int which,
                                   vlm_picture_file *out, vlmoe_error *error)
{
    const int64_t i = set_of(sets, at->number), n = at->facts->picture[which];
    const int64_t count = sets->first_picture[i + 1] - sets->first_picture[i];
    vlm_sample picture;
    if (!sets->pictures[i])
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "its json names picture %lld, but its set has no folder pictures/",
                        (long long)n);
    if (n >= count)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "its json names picture %lld, but pictures/ of its set holds %lld",
                        (long long)n, (long long)count);
    VLM_TRY(vlm_shards_get(sets->pictures[i], n, &picture, error));
    if (!picture.image.data)
        return vlm_fail(error, VLMOE_E_FORMAT, "picture %lld, sample %.160s of %s, holds no image",
                        (long long)n, picture.key, picture.shard);
    *out =
        (vlm_picture_file){picture.image, picture_key(at->stream, sets->first_picture[i] + n, true),
                           picture.shard, picture.offset};
    return VLMOE_OK;
}

vlmoe_status vlm_sets_picture(const vlm_sets *sets, const vlm_sample_at *at, int which,
                              vlm_picture_file *out, vlmoe_error *error)
{
    const vlm_sample *sample = at->sample;
    const int own = sample->image2.data ? 2 : sample->image.data ? 1 : 0;
    const int found = own ? own : at->facts->n_pictures;
    const bool has_more = sets->is_labelled && found > sets->n_pictures; /* would be passed over */
    if (which >= found || has_more) return other_pictures(found, sets, error);
    if (!own) return shared_picture(sets, at, which, out, error);
    *out = (vlm_picture_file){
        .file = which ? sample->image2 : sample->image,
        .key = picture_key(at->stream, at->number * VLM_SAMPLE_PICTURES_MAX + which, false)};
    return VLMOE_OK;
}
