/* Small sets of shards, a text model, configs and sources over them; shared by the tests of
 * sources. Each test program makes its own copy of the sets in its folder. */
#ifndef TEST_SOURCE_FIXTURE_H
#define TEST_SOURCE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "base_hash.h"
#include "data_group.h"
#include "data_shard.h"
#include "harness.h"

enum {
    SIDE = 16,
    GRID = 4,
    PATCHES = GRID * GRID,
    PIXELS = SIDE * SIDE * 3,
    N_IMAGES = 11,
    N_PAIRS = 9,
    N_TEXTS = 13
};
enum { IMAGES, TEXTS, PAIRS };
static const char *const WORDS[] = {"red", "dog",   "small", "house", "runs",
                                    "old", "river", "near",  "tree",  "cat"};

/* ---- The sets: red of a picture is its sample's number (100 more in pairs), the text is made of
 * words by the number ---- */

/* A text of 3 to 7 words; static, four at a time. */
static inline const char *text_of(int64_t sample)
{
    static char texts[4][128];
    static int next;
    char *text = texts[next = (next + 1) % 4];
    size_t bytes = 0;
    for (int64_t i = 0; i < 3 + sample % 5; i++)
        bytes += (size_t)snprintf(text + bytes, 128 - bytes, "%s%s", i ? " " : "",
                                  WORDS[(sample * 3 + i * i + i) % 10]);
    return text;
}

/* A binary PNM of 20 x 12; static. */
static inline vlm_bytes picture_of(uint8_t red)
{
    static unsigned char file[1024];
    size_t bytes = (size_t)sprintf((char *)file, "P6\n20 12\n255\n");
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 20; x++) {
            file[bytes++] = red;
            file[bytes++] = (unsigned char)(x * 12);
            file[bytes++] = (unsigned char)(y * 20);
        }
    return (vlm_bytes){file, bytes};
}

static inline const char *folder(const char *name)
{
    static char path[8][400];
    static int next;
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", test_tmp_dir(), name);
    return path[next];
}

/* One sample more than n when last is given: that one. */
static inline void write_set(const char *name, int stream, int64_t first, int64_t n,
                             const vlm_sample *last)
{
    vlm_shard_writer *writer = NULL;
    vlm_shard_options options = VLM_SHARD_OPTIONS_INIT;
    vlmoe_error error = {0};
    options.shard_samples = 4; /* several shards */
    CHECK_STATUS_E(vlm_shard_writer_open(folder(name), &options, &writer, &error), VLMOE_OK,
                   &error);
    for (int64_t i = first; i < first + n; i++) {
        vlm_sample sample = {.n_texts = stream != IMAGES};
        const char *text = text_of(i);
        snprintf(sample.key, sizeof sample.key, "s%03d", (int)i);
        if (stream != TEXTS) sample.image = picture_of((uint8_t)(i + (stream == PAIRS ? 100 : 0)));
        if (stream != IMAGES)
            sample.texts[0] = (vlm_bytes){(const unsigned char *)text, strlen(text)};
        CHECK_STATUS_E(vlm_shard_writer_put(writer, &sample, &error), VLMOE_OK, &error);
    }
    if (last) CHECK_STATUS_E(vlm_shard_writer_put(writer, last, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_shard_writer_close(writer, &error), VLMOE_OK, &error);
}

/* All sets and the text model, once. Images lie in two folders: 7 and 4 samples. */
static inline const vlm_spm *prepare(void)
{
    static vlm_spm *spm;
    if (spm) return spm;
    write_set("images-a", IMAGES, 0, 7, NULL);
    write_set("images-b", IMAGES, 7, N_IMAGES - 7, NULL);
    write_set("pairs", PAIRS, 0, N_PAIRS, NULL);
    write_set("texts", TEXTS, 0, N_TEXTS, NULL);
    char corpus[8192];
    size_t bytes = 0;
    for (int64_t i = 0; i < 60; i++)
        bytes += (size_t)snprintf(corpus + bytes, sizeof corpus - bytes, "%s\n", text_of(i));
    const char *path = folder("corpus.txt"), *model = folder("model");
    CHECK_STATUS(vlm_file_replace(path, corpus, bytes, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_spm_train(&path, 1, 60, model, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_spm_open(model, &spm, NULL), VLMOE_OK);
    return spm;
}

/* ---- Configs and sources ---- */

static inline vlmoe_config *make_config(const char *const *more)
{
    char sets[6][600];
    const char *keys[40] = {"run.seed=5",
                            "run.groups=2",
                            "model.image_size=16",
                            "model.patch=4",
                            "model.text_len=40",
                            "data.images_per_group=4",
                            "data.pairs_per_group=3",
                            "data.texts_per_group=5"};
    int n = 8;
    snprintf(sets[0], 600, "data.images=[\"%s\",\"%s\"]", folder("images-a"), folder("images-b"));
    snprintf(sets[1], 600, "data.pairs=[\"%s\"]", folder("pairs"));
    snprintf(sets[2], 600, "data.texts=[\"%s\"]", folder("texts"));
    snprintf(sets[3], 600, "data.val_images=[\"%s\",\"%s\"]", folder("images-a"),
             folder("images-b"));
    snprintf(sets[4], 600, "data.val_pairs=[\"%s\"]", folder("pairs"));
    snprintf(sets[5], 600, "data.val_texts=[\"%s\"]", folder("texts"));
    for (int i = 0; i < 6; i++) keys[n++] = sets[i];
    for (; more && *more; more++) keys[n++] = *more;
    vlmoe_config *config = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlmoe_config_load(NULL, n, keys, &config, &error), VLMOE_OK, &error);
    return config;
}

static inline vlm_source *open_source(vlm_source_mode mode, const char *const *more)
{
    const vlm_spm *spm = prepare();
    vlmoe_config *config = make_config(more);
    vlm_source *source = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_source_open(config, mode, spm, NULL, &source, &error), VLMOE_OK, &error);
    vlmoe_config_destroy(config); /* a source needs it no longer */
    return source;
}

#define KEYS(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
static inline const vlm_group *next(vlm_source *source)
{
    const vlm_group *group = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_source_next(source, &group, &error), VLMOE_OK, &error);
    return group;
}

/* ---- What a group must hold ---- */

static inline int64_t count_mask(const vlm_group *group, int64_t picture)
{
    int64_t n = 0;
    for (int64_t i = 0; i < PATCHES; i++) n += group->patch_mask[picture * PATCHES + i];
    return n;
}

/* Text t of a group is the text of a sample, behind what is hidden; returns how many words are. */
static inline int64_t check_text(const vlm_group *group, int64_t t, int64_t sample)
{
    int32_t ids[64];
    int64_t n = 0, n_all = 0, hidden = 0;
    const char *text = text_of(sample);
    const int32_t start = group->text_offset[t];
    CHECK_STATUS(vlm_spm_encode(prepare(), text, strlen(text), 40, ids, &n, &n_all, NULL),
                 VLMOE_OK);
    CHECK_INT(group->text_offset[t + 1] - start, n);
    for (int64_t i = 0; i < n; i++) {
        int32_t target = group->token_target[start + i];
        CHECK_INT(target >= 0 ? target : group->token[start + i], ids[i]);
        hidden += target >= 0;
    }
    return hidden;
}

static inline void check_picture(const vlm_group *group, int64_t picture, int64_t red)
{
    for (int64_t i = 0; i < PIXELS; i += 3) CHECK_INT(group->pixels[picture * PIXELS + i], red);
}

static inline int64_t words(const vlm_group *group, int64_t t)
{
    return group->text_offset[t + 1] - group->text_offset[t] - 2;
}

static inline uint64_t hash_group(const vlm_group *group)
{
    const int64_t pictures = group->n_images + group->n_pairs,
                  texts = group->n_pairs + group->n_texts;
    const int64_t numbers[] = {group->step,    group->index,    group->n_images, group->n_pairs,
                               group->n_texts, group->n_tokens, group->n_cut};
    const struct {
        const void *data;
        int64_t bytes;
    } parts[] = {
        {numbers, sizeof numbers},
        {group->pixels, pictures * PIXELS},
        {group->patch_mask, pictures * PATCHES},
        {group->token, group->n_tokens * 4},
        {group->token_target, group->n_tokens * 4},
        {group->text_offset, (texts + 1) * 4},
        {group->sample, (pictures + group->n_texts) * 8},
    };
    vlm_hasher *hasher = vlm_hasher_create();
    for (int i = 0; i < VLM_COUNT(parts); i++)
        vlm_hasher_put(hasher, parts[i].data, (size_t)parts[i].bytes);
    uint64_t value = vlm_hasher_value(hasher);
    vlm_hasher_destroy(hasher);
    return value;
}

#endif
