/* Writing shards: where one is cut, what its members are called, and that a folder never shows half
 * a set. */
#include "data_shard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "data_image.h"
#include "data_index.h"
#include "data_tar.h"

enum { KEY_MAX = 80, SHARDS_MAX = 100000 }; /* names have five digits, in order */

struct vlm_shard_writer {
    char *dir;
    vlm_shard_options options;
    vlm_writer *file; /* the open shard, NULL between shards */
    vlm_index index;  /* of the open shard; n_samples counts offsets */
    int64_t n_shards; /* begun */
    int64_t n_samples;
    char last_key[KEY_MAX + 1];
};

/* 00012.tar.part, 00012.tar.idx and this one's .tmp-...: ours, and without 00012.tar of a writer that
 * was killed. */
static bool is_left_over(const char *name)
{
    static const char tmp[] = ".tar.idx.tmp-"; /* vlm_file_replace's */
    return strspn(name, "0123456789") == 5 &&
           (!strcmp(name + 5, ".tar.part") || !strcmp(name + 5, ".tar.idx") ||
            !strncmp(name + 5, tmp, sizeof tmp - 1));
}

static vlmoe_status take_away(const char *dir, const char *name, vlmoe_error *error)
{
    char *path = vlm_path_join(dir, name);
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    vlmoe_status st = vlm_dir_remove(path, error);
    vlm_free(path);
    return st;
}

static vlmoe_status check_dir(const char *dir, vlmoe_error *error)
{
    char **names = NULL;
    size_t n = 0;
    VLM_TRY(vlm_dir_make(dir, error));
    VLM_TRY(vlm_dir_list(dir, &names, &n, error));
    vlmoe_status st = VLMOE_OK;
    for (size_t i = 0; i < n && !st; i++) {
        if (vlm_path_ends_in(names[i], ".tar"))
            st = vlm_fail(error, VLMOE_E_ARG, "%s holds %s already; a set needs a folder without",
                          dir, names[i]);
    }
    for (size_t i = 0; i < n && !st; i++)
        if (is_left_over(names[i])) st = take_away(dir, names[i], error);
    vlm_names_free(names, n);
    return st;
}

vlmoe_status vlm_shard_writer_open(const char *dir, const vlm_shard_options *options,
                                   vlm_shard_writer **out, vlmoe_error *error)
{
    static const vlm_shard_options defaults = VLM_SHARD_OPTIONS_INIT;
    if (!options) options = &defaults;
    if (options->shard_bytes < 1 || options->shard_samples < 1)
        return vlm_fail(error, VLMOE_E_ARG, "shards of %llu bytes and %lld samples",
                        (unsigned long long)options->shard_bytes,
                        (long long)options->shard_samples);
    VLM_TRY(check_dir(dir, error));
    vlm_shard_writer *writer = vlm_alloc(sizeof *writer);
    if (writer) writer->dir = vlm_strdup(dir);
    if (!writer || !writer->dir) {
        vlm_free(writer);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a shard writer");
    }
    writer->options = *options;
    *out = writer;
    return VLMOE_OK;
}

/* ---- Shards ---- */

static char *shard_path(const vlm_shard_writer *writer, int64_t i_shard, const char *suffix)
{
    return vlm_format("%s/%05lld.tar%s", writer->dir, (long long)i_shard, suffix);
}

static vlmoe_status begin_shard(vlm_shard_writer *writer, vlmoe_error *error)
{
    if (writer->n_shards == SHARDS_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "more than %d shards; make them larger", SHARDS_MAX);
    char *path = shard_path(writer, writer->n_shards, ".part");
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    vlmoe_status st = vlm_writer_open(path, &writer->file, error);
    vlm_free(path);
    if (!st) writer->n_shards++;
    return st;
}

/* End marker, sync, index. The tar keeps its ".part" until the whole set is there. */
static vlmoe_status end_shard(vlm_shard_writer *writer, vlmoe_error *error)
{
    static const unsigned char zeros[2 * VLM_TAR_BLOCK];
    vlm_index *index = &writer->index;
    VLM_TRY(vlm_index_add(index, vlm_writer_bytes(writer->file), error));
    index->n_samples--;
    vlm_writer_put(writer->file, zeros, sizeof zeros);
    index->tar_bytes = vlm_writer_bytes(writer->file);
    index->tar_hash = vlm_writer_hash(writer->file);
    vlm_writer *file = writer->file;
    writer->file = NULL;
    VLM_TRY(vlm_writer_close(file, error));
    char *path = shard_path(writer, writer->n_shards - 1, "");
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    vlmoe_status st = vlm_index_write(path, index, error);
    vlm_free(path);
    vlm_index_free(index);
    return st;
}

/* ---- Samples ---- */

static uint64_t member_bytes(size_t bytes)
{
    return VLM_TAR_BLOCK + vlm_round_up(bytes, VLM_TAR_BLOCK);
}

static uint64_t sample_bytes(const vlm_sample *sample)
{
    uint64_t total = 0;
    if (sample->image.data) total += member_bytes(sample->image.bytes);
    if (sample->image2.data) total += member_bytes(sample->image2.bytes);
    if (sample->json.data) total += member_bytes(sample->json.bytes);
    for (int i = 0; i < sample->n_texts; i++) total += member_bytes(sample->texts[i].bytes);
    return total;
}

/* Would this key come back as it is? */
static vlmoe_status check_key(const vlm_shard_writer *writer, const char *key, vlmoe_error *error)
{
    const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;
    if (strlen(key) > KEY_MAX || !name[0] || strchr(name, '.') || key[0] == '/')
        return vlm_fail(error, VLMOE_E_ARG,
                        "key \"%s\": at most %d bytes, relative, and no dot in its last part", key,
                        KEY_MAX);
    if (writer->n_samples && !strcmp(key, writer->last_key))
        return vlm_fail(error, VLMOE_E_ARG, "key \"%s\" twice in a row would make one sample", key);
    return VLMOE_OK;
}

static vlmoe_status put_member(vlm_shard_writer *writer, const char *extension, vlm_bytes bytes,
                               vlmoe_error *error)
{
    static const unsigned char zeros[VLM_TAR_BLOCK];
    unsigned char header[VLM_TAR_BLOCK];
    char path[VLM_TAR_NAME_MAX + 1];
    int n = snprintf(path, sizeof path, "%s.%s", writer->last_key, extension);
    if (n >= (int)sizeof path || !vlm_tar_header(path, bytes.bytes, header))
        return vlm_fail(error, VLMOE_E_ARG, "member %s of %zu bytes does not fit a tar", path,
                        bytes.bytes);
    vlm_writer_put(writer->file, header, sizeof header);
    vlm_writer_put(writer->file, bytes.data, bytes.bytes);
    vlm_writer_put(writer->file, zeros, vlm_round_up(bytes.bytes, VLM_TAR_BLOCK) - bytes.bytes);
    return VLMOE_OK;
}

static vlmoe_status put_members(vlm_shard_writer *writer, const vlm_sample *sample,
                                vlmoe_error *error)
{
    const vlm_bytes *images[] = {&sample->image, &sample->image2};
    for (int i = 0; i < 2; i++) {
        if (!images[i]->data) continue;
        const char *kind =
            vlm_image_kind_extension(vlm_image_sniff(images[i]->data, images[i]->bytes));
        char extension[16];
        if (sample->image2.data) snprintf(extension, sizeof extension, "img%d.%s", i, kind);
        else snprintf(extension, sizeof extension, "%s", kind);
        VLM_TRY(put_member(writer, extension, *images[i], error));
    }
    for (int i = 0; i < sample->n_texts; i++) {
        char extension[16] = "txt";
        if (i) snprintf(extension, sizeof extension, "%d.txt", i);
        VLM_TRY(put_member(writer, extension, sample->texts[i], error));
    }
    if (sample->json.data) VLM_TRY(put_member(writer, "json", sample->json, error));
    return VLMOE_OK;
}

/* What can be said before anything is written. */
static vlmoe_status check_sample(const vlm_shard_writer *writer, const vlm_sample *sample,
                                 vlmoe_error *error)
{
    const vlm_bytes *image = &sample->image, *second = &sample->image2;
    if (!image->data && !sample->json.data && !sample->n_texts)
        return vlm_fail(error, VLMOE_E_ARG, "a sample with nothing in it");
    if (sample->n_texts < 0 || sample->n_texts > VLM_SAMPLE_TEXTS_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "a sample of %d texts; at most %d", sample->n_texts,
                        VLM_SAMPLE_TEXTS_MAX);
    if (second->data && !image->data)
        return vlm_fail(error, VLMOE_E_ARG, "a sample with a second image but no first");
    if ((image->data && vlm_image_sniff(image->data, image->bytes) == VLM_IMAGE_UNKNOWN) ||
        (second->data && vlm_image_sniff(second->data, second->bytes) == VLM_IMAGE_UNKNOWN))
        return vlm_fail(error, VLMOE_E_ARG, "an image of unknown kind");
    return sample->key[0] ? check_key(writer, sample->key, error) : VLMOE_OK;
}

vlmoe_status vlm_shard_writer_put(vlm_shard_writer *writer, const vlm_sample *sample,
                                  vlmoe_error *error)
{
    VLM_TRY(check_sample(writer, sample, error));
    uint64_t end = sample_bytes(sample) + 2 * VLM_TAR_BLOCK;
    if (writer->file) end += vlm_writer_bytes(writer->file);
    if (writer->file && (end > writer->options.shard_bytes ||
                         writer->index.n_samples == writer->options.shard_samples))
        VLM_TRY(end_shard(writer, error));
    if (!writer->file) VLM_TRY(begin_shard(writer, error));
    VLM_TRY(vlm_index_add(&writer->index, vlm_writer_bytes(writer->file), error));
    if (sample->key[0])
        memcpy(writer->last_key, sample->key, strlen(sample->key) + 1); /* checked above */
    else
        snprintf(writer->last_key, sizeof writer->last_key, "%09lld", (long long)writer->n_samples);
    VLM_TRY(put_members(writer, sample, error));
    writer->n_samples++;
    return VLMOE_OK;
}

int64_t vlm_shard_writer_count(const vlm_shard_writer *writer)
{
    return writer->n_samples;
}

/* ---- The end ---- */

static vlmoe_status rename_all(const vlm_shard_writer *writer, vlmoe_error *error)
{
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < writer->n_shards && !st; i++) {
        char *part = shard_path(writer, i, ".part"), *whole = shard_path(writer, i, "");
        if (!part || !whole) st = vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
        else if (rename(part, whole)) st = vlm_fail_errno(error, "rename", part);
        vlm_free(part);
        vlm_free(whole);
    }
    return st ? st : vlm_dir_sync(writer->dir, error);
}

static void destroy(vlm_shard_writer *writer)
{
    vlm_index_free(&writer->index);
    vlm_free(writer->dir);
    vlm_free(writer);
}

void vlm_shard_writer_abandon(vlm_shard_writer *writer)
{
    static const char *const suffixes[] = {".part", "", ".idx"};
    if (!writer) return;
    if (writer->file) vlm_writer_abandon(writer->file);
    for (int64_t i = 0; i < writer->n_shards; i++)
        for (int k = 0; k < VLM_COUNT(suffixes); k++) {
            char *path = shard_path(writer, i, suffixes[k]);
            if (path) remove(path); /* best effort: there is a failure already */
            vlm_free(path);
        }
    destroy(writer);
}

vlmoe_status vlm_shard_writer_close(vlm_shard_writer *writer, vlmoe_error *error)
{
    if (!writer) return VLMOE_OK;
    vlmoe_status st = writer->file ? end_shard(writer, error) : VLMOE_OK;
    if (!st) st = rename_all(writer, error);
    if (st) vlm_shard_writer_abandon(writer);
    else destroy(writer);
    return st;
}
