/* Samples in WebDataset tar files: read by number through read-only maps, and written whole or not
 * at all. Not here: the tar format itself (data_tar.h), what a sample means to a model. */
#ifndef VLM_DATA_SHARD_H
#define VLM_DATA_SHARD_H

#include "base.h"

enum { VLM_SAMPLE_TEXTS_MAX = 32, VLM_SAMPLE_KEY_MAX = 1024 };

/* Bytes that belong to someone else. data NULL = absent; bytes may be 0 where data is not NULL. Not
 * terminated. */
typedef struct vlm_bytes {
    const unsigned char *data;
    size_t bytes;
} vlm_bytes;

/* One sample: consecutive members of a tar that share a key, the path up to the first dot of its
 * last part. Members by the last extension, case ignored: image = jpg jpeg png gif bmp ppm pgm pnm
 * webp; text = txt; json = json. A second image is image2 (KEY.img0.jpg and KEY.img1.jpg). Several
 * texts are alternatives (captions of one picture), or what a task says: KEY.txt, KEY.1.txt,
 * KEY.2.txt ... in the order of the file. Other members (a third image, cls, mp3 ...) are counted
 * and passed over. */
typedef struct vlm_sample {
    char key[VLM_SAMPLE_KEY_MAX]; /* terminated */
    vlm_bytes image, image2, json;
    vlm_bytes texts[VLM_SAMPLE_TEXTS_MAX];
    int n_texts;
    int n_others;
    const char *shard; /* path of the tar, for messages */
    uint64_t offset;   /* where the sample starts in it, bytes */
} vlm_sample;

typedef struct vlm_shards vlm_shards;

/* Open shards in the order given; a folder stands for its *.tar files in name order. A tar with an
 * index beside it (NAME.tar.idx) is not read now; one without is scanned whole. After this,
 * everything may be called from several threads. Errors: ARG (no tar at all), FORMAT (a folder with
 * a *.tar.part: its set was not finished), IO, NOMEM, FORMAT (a
 * damaged tar or index, an index that does not fit its tar), VERSION. */
vlmoe_status vlm_shards_open(const char *const *paths, int64_t n_paths, vlm_shards **out,
                             vlmoe_error *error);
void vlm_shards_close(vlm_shards *shards); /* NULL allowed */

int64_t vlm_shards_count(const vlm_shards *shards); /* samples */

/* Sample i of [0, count). The bytes in *out are borrowed from the map until close. Headers are
 * checked again on every call. Errors: ARG (i), FORMAT (names the tar and the offset). */
vlmoe_status vlm_shards_get(const vlm_shards *shards, int64_t i, vlm_sample *out,
                            vlmoe_error *error);

typedef struct vlm_shard_info {
    const char *path;     /* belongs to the set */
    uint64_t bytes;       /* of the tar */
    int64_t first_sample; /* number of its first sample in the set */
    int64_t n_samples;
    bool has_index;
    uint64_t hash; /* XXH3-64 of the tar as the index has it; 0 without an index */
} vlm_shard_info;
int64_t vlm_shards_n_files(const vlm_shards *shards);
vlm_shard_info vlm_shards_file(const vlm_shards *shards,
                               int64_t i_file); /* i_file in [0, n_files) */

/* A number for "the same data": sizes, sample counts and hashes of all shards in order; paths do
 * not enter. */
uint64_t vlm_shards_id(const vlm_shards *shards);

/* Hash the tar again and compare it with its index. Errors: FORMAT (both values named); fine
 * without an index. */
vlmoe_status vlm_shards_rehash(const vlm_shards *shards, int64_t i_file, vlmoe_error *error);

/* ---- Writing ---- */

typedef struct vlm_shard_options {
    uint64_t shard_bytes; /* a shard is closed before it would grow above this (a bigger sample gets
                             one for itself) */
    int64_t shard_samples; /* and at this many samples */
} vlm_shard_options;
#define VLM_SHARD_OPTIONS_INIT {(uint64_t)256 << 20, 100000}

typedef struct vlm_shard_writer vlm_shard_writer;

/* Shards DIR/00000.tar, 00001.tar ... with indices. Until close they have the suffix ".part", so a
 * folder never shows a part of a set: one that has such a file is not opened. What a writer that was
 * killed left in dir is deleted. The same samples give the same bytes. dir is made. Errors:
 * ARG (options, dir holds tars already), IO, NOMEM. */
vlmoe_status vlm_shard_writer_open(const char *dir, const vlm_shard_options *options,
                                   vlm_shard_writer **out, vlmoe_error *error);

/* Add a sample: images (their kinds by their first bytes), texts, json. Without a key it gets its running
 * number, nine digits. Errors: ARG (nothing in it, an image of unknown kind, a key that would not
 * read back or is the last one again: nothing was written, go on), IO, NOMEM (abandon it). */
vlmoe_status vlm_shard_writer_put(vlm_shard_writer *writer, const vlm_sample *sample,
                                  vlmoe_error *error);
int64_t vlm_shard_writer_count(const vlm_shard_writer *writer); /* samples so far */

/* Finish, sync and rename all shards. The writer is gone afterwards, also on failure (nothing is
 * left then). NULL allowed. */
vlmoe_status vlm_shard_writer_close(vlm_shard_writer *writer, vlmoe_error *error);
void vlm_shard_writer_abandon(vlm_shard_writer *writer); /* delete what was written; NULL allowed */

#endif
