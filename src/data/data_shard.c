/* Reading samples from shards: which tar, where in it, which member is what. */
#include "data_shard.h"

#include <string.h>
#include <strings.h>
#include "base_file.h"
#include "base_hash.h"
#include "data_index.h"
#include "data_tar.h"

typedef struct shard {
    char *path;
    vlm_map map;
    vlm_index index; /* scanned, where there is no file of it: tar_hash is 0 then */
    bool has_index;
    int64_t first; /* number of its first sample */
} shard;

struct vlm_shards {
    shard *shards; /* [n_shards] */
    int64_t n_shards, n_samples;
};

/* ---- Members ---- */

/* Length of a path's key, 0 when it has none: no dot, or a name that begins with one. */
static size_t key_length(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strchr(name, '.');
    return dot && dot > name ? (size_t)(dot - path) : 0;
}

static bool has_extension(const char *path, const char *const *extensions)
{
    const char *last = strrchr(path, '.') + 1; /* a member with a key has a dot */
    for (; *extensions; extensions++)
        if (!strcasecmp(last, *extensions)) return true;
    return false;
}

static vlmoe_status add_member(vlm_sample *sample, const vlm_tar_member *member, vlmoe_error *error)
{
    static const char *const images[] = {"jpg", "jpeg", "png", "gif",  "bmp",
                                         "ppm", "pgm",  "pnm", "webp", NULL};
    static const char *const texts[] = {"txt", NULL}, *const jsons[] = {"json", NULL};
    vlm_bytes bytes = {member->data, member->bytes};
    if (has_extension(member->path, images) && !sample->image2.data) {
        *(sample->image.data ? &sample->image2 : &sample->image) = bytes;
    } else if (has_extension(member->path, texts)) {
        if (sample->n_texts == VLM_SAMPLE_TEXTS_MAX)
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "%s: sample \"%s\" at byte %llu has over %d texts", sample->shard,
                            sample->key, (unsigned long long)sample->offset, VLM_SAMPLE_TEXTS_MAX);
        sample->texts[sample->n_texts++] = bytes;
    } else if (has_extension(member->path, jsons) && !sample->json.data) {
        sample->json = bytes;
    } else {
        sample->n_others++;
    }
    return VLMOE_OK;
}

/* ---- Opening ---- */

/* Offsets of all samples by walking the tar. */
static vlmoe_status scan(const shard *s, vlm_index *out, vlmoe_error *error)
{
    vlm_tar tar = {s->map.data, s->map.bytes, 0, false, s->path};
    vlm_index index = {.tar_bytes = s->map.bytes};
    char key[VLM_TAR_PATH_MAX] = "";
    vlmoe_status st = VLMOE_OK;
    for (bool found = true; found && !st;) {
        vlm_tar_member member;
        st = vlm_tar_next(&tar, &member, &found, error);
        size_t length = !st && found ? key_length(member.path) : 0;
        if (!length || (strlen(key) == length && !memcmp(key, member.path, length))) continue;
        memcpy(key, member.path, length);
        key[length] = 0;
        st = vlm_index_add(&index, member.offset, error);
    }
    if (!st) st = vlm_index_add(&index, tar.at, error); /* the end, counted so far as a sample */
    if (st) {
        vlm_index_free(&index);
        return st;
    }
    index.n_samples--;
    *out = index;
    return VLMOE_OK;
}

/* s->path is set; what is opened here is closed by vlm_shards_close. */
static vlmoe_status open_shard(shard *s, vlmoe_error *error)
{
    VLM_TRY(vlm_map_open(s->path, &s->map, error));
    VLM_TRY(vlm_index_read(s->path, s->map.bytes, &s->index, &s->has_index, error));
    return s->has_index ? VLMOE_OK : scan(s, &s->index, error);
}

/* Room for n more paths. */
static vlmoe_status grow(vlm_shards *set, int64_t n, vlmoe_error *error)
{
    shard *more = vlm_alloc_array((size_t)(set->n_shards + n), sizeof *more);
    if (!more) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a list of shards");
    if (set->n_shards) memcpy(more, set->shards, (size_t)set->n_shards * sizeof *more);
    vlm_free(set->shards);
    set->shards = more;
    return VLMOE_OK;
}

/* Take a path into the list; it is freed with the set. NULL = there was no memory for it. */
static vlmoe_status add_path(vlm_shards *set, char *path, vlmoe_error *error)
{
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    set->shards[set->n_shards++].path = path;
    return VLMOE_OK;
}

/* One tar, or all tars of a folder. */
static vlmoe_status list(vlm_shards *set, const char *path, vlmoe_error *error)
{
    if (!vlm_path_is_dir(path)) {
        VLM_TRY(grow(set, 1, error));
        return add_path(set, vlm_strdup(path), error);
    }
    char **names = NULL;
    size_t n = 0;
    VLM_TRY(vlm_dir_list(path, &names, &n, error));
    vlmoe_status st = grow(set, (int64_t)n, error);
    int64_t before = set->n_shards;
    for (size_t i = 0; i < n && !st; i++) {
        if (vlm_path_ends_in(names[i], ".tar.part")) /* the tars beside it are some of a set's */
            st = vlm_fail(error, VLMOE_E_FORMAT,
                          "%s holds %s: what wrote it did not come to its end; pack it again", path,
                          names[i]);
        if (vlm_path_ends_in(names[i], ".tar"))
            st = add_path(set, vlm_path_join(path, names[i]), error);
    }
    vlm_names_free(names, n);
    if (!st && set->n_shards == before)
        st = vlm_fail(error, VLMOE_E_ARG, "%s: no *.tar in this folder", path);
    return st;
}

vlmoe_status vlm_shards_open(const char *const *paths, int64_t n_paths, vlm_shards **out,
                             vlmoe_error *error)
{
    if (n_paths < 1) return vlm_fail(error, VLMOE_E_ARG, "no shards named");
    vlm_shards *set = vlm_alloc(sizeof *set);
    if (!set) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a set of shards");
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < n_paths && !st; i++) st = list(set, paths[i], error);
    for (int64_t i = 0; i < set->n_shards && !st; i++) {
        st = open_shard(&set->shards[i], error);
        set->shards[i].first = set->n_samples;
        set->n_samples += set->shards[i].index.n_samples;
    }
    if (st) {
        vlm_shards_close(set);
        return st;
    }
    *out = set;
    return VLMOE_OK;
}

void vlm_shards_close(vlm_shards *set)
{
    if (!set) return;
    for (int64_t i = 0; i < set->n_shards; i++) {
        vlm_free(set->shards[i].path);
        vlm_map_close(&set->shards[i].map);
        vlm_index_free(&set->shards[i].index);
    }
    vlm_free(set->shards);
    vlm_free(set);
}

/* ---- Asking ---- */

int64_t vlm_shards_count(const vlm_shards *set)
{
    return set->n_samples;
}

int64_t vlm_shards_n_files(const vlm_shards *set)
{
    return set->n_shards;
}

vlm_shard_info vlm_shards_file(const vlm_shards *set, int64_t i_file)
{
    const shard *s = &set->shards[i_file];
    return (vlm_shard_info){s->path,      s->map.bytes,     s->first, s->index.n_samples,
                            s->has_index, s->index.tar_hash};
}

uint64_t vlm_shards_id(const vlm_shards *set)
{
    uint64_t id = 0;
    for (int64_t i = 0; i < set->n_shards; i++) {
        const vlm_index *index = &set->shards[i].index;
        const uint64_t words[4] = {id, index->tar_bytes, index->tar_hash,
                                   (uint64_t)index->n_samples};
        id = vlm_hash64(words, sizeof words);
    }
    return id;
}

vlmoe_status vlm_shards_rehash(const vlm_shards *set, int64_t i_file, vlmoe_error *error)
{
    const shard *s = &set->shards[i_file];
    if (!s->has_index) return VLMOE_OK;
    uint64_t hash = vlm_hash64(s->map.data, s->map.bytes);
    if (hash == s->index.tar_hash) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s: checksum is %016llx, its index says %016llx",
                    s->path, (unsigned long long)hash, (unsigned long long)s->index.tar_hash);
}

/* The shard that holds sample i: the last one whose first sample is not above i. */
static const shard *shard_of(const vlm_shards *set, int64_t i)
{
    int64_t low = 0, high = set->n_shards - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (set->shards[middle].first <= i) low = middle;
        else high = middle - 1;
    }
    return &set->shards[low];
}

vlmoe_status vlm_shards_get(const vlm_shards *set, int64_t i, vlm_sample *out, vlmoe_error *error)
{
    if (i < 0 || i >= set->n_samples)
        return vlm_fail(error, VLMOE_E_ARG, "sample %lld of %lld", (long long)i,
                        (long long)set->n_samples);
    const shard *s = shard_of(set, i);
    const uint64_t *offsets = s->index.offsets + (i - s->first);
    vlm_tar tar = {s->map.data, (size_t)offsets[1], offsets[0], true, s->path};
    vlm_tar_member member;
    bool found = false;
    memset(out, 0, sizeof *out);
    out->shard = s->path;
    out->offset = offsets[0];
    for (;;) {
        VLM_TRY(vlm_tar_next(&tar, &member, &found, error));
        if (!found) break;
        size_t length = key_length(member.path);
        if (!length) continue;
        if (!out->key[0]) memcpy(out->key, member.path, length);
        if (strlen(out->key) != length || memcmp(out->key, member.path, length))
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "%s: sample \"%s\" at byte %llu runs into \"%s\"; its index is wrong",
                            s->path, out->key, (unsigned long long)out->offset, member.path);
        VLM_TRY(add_member(out, &member, error));
    }
    if (!out->key[0])
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: no sample at byte %llu; its index is wrong",
                        s->path, (unsigned long long)offsets[0]);
    return VLMOE_OK;
}
