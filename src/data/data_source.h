/* What a source is made of: shared by data_source.c (opening, order, threads), data_group.c (making
 * a group) and data_sample.c (samples by number). Nobody else includes it. */
#ifndef VLM_DATA_SOURCE_H
#define VLM_DATA_SOURCE_H

#include "data_cache.h"
#include "data_group.h"
#include "data_mask.h"
#include "data_mix.h"
#include "data_prefetch.h"
#include "data_shard.h"

enum { VLM_IMAGES, VLM_TEXTS, VLM_PAIRS, VLM_STREAMS };

/* Sets of one stream, opened. */
typedef struct vlm_sets {
    const char *name; /* key of the folders, "data.pairs"; for messages */
    bool is_on, hides_words, hides_patches;
    bool has_pixels, has_text; /* that a group takes from its samples */
    double mask_words, mask_words_max, mask_patches;
    int64_t per_group;
    int64_t n_sets;
    vlm_shards **set;
    int64_t *first; /* [n_sets + 1] global number of a set's first sample */
    int64_t samples;
    int64_t n_used; /* evaluation: this many samples from the first on */
    vlm_mix mix;    /* training */
} vlm_sets;

struct vlm_source {
    vlm_source_mode mode;
    const vlm_spm *spm;
    uint64_t seed;
    int64_t groups, text_len;
    int64_t image_size, grid; /* pixels, patches on a side */
    bool overlong_is_error;
    bool crops; /* false: the whole picture, not a random crop */
    vlm_image_options decode;
    vlm_augment augment;
    vlm_text_mask_params words; /* rate is the stream's */
    int64_t block_min;
    double block_aspect;
    vlm_sets sets[VLM_STREAMS];
    vlm_cache *cache; /* NULL = none */
    int rank, ranks; /* every ranks-th group is this source's, from number rank on */
    int n_slots;
    vlm_group *slots;
    int n_workers;
    vlm_workspace **workspaces; /* [n_workers + 1] of the workers, and of vlm_source_sample */
    vlm_prefetch *prefetch;
    vlm_sample view; /* of vlm_source_sample */
};

/* Memory of a group as large as this source's can be; release with vlm_free(group->pixels). Errors:
 * NOMEM. */
vlmoe_status vlm_group_reserve(const vlm_source *source, vlm_group *group, vlmoe_error *error);

/* Make group `number` (step * G + index). Errors: FORMAT (names shard, key and offset), NOMEM; any
 * when *cancel became true. */
vlmoe_status vlm_group_fill(const vlm_source *source, int64_t number, vlm_workspace *workspace,
                            vlm_group *group, const atomic_bool *cancel, vlmoe_error *error);

/* Sample by its global number in a stream. Errors: ARG, FORMAT. */
vlmoe_status vlm_sets_get(const vlm_sets *sets, int64_t number, vlm_sample *out,
                          vlmoe_error *error);

/* A sample's picture on its way to pixels: in the cache, or a file of which only the header was
 * read. */
typedef struct vlm_picture {
    uint64_t key;
    const vlm_image *kept; /* NULL = not in the cache */
    vlm_image_file file;
    vlm_size size;
} vlm_picture;

static inline uint64_t vlm_picture_key(int stream, int64_t number)
{
    return (uint64_t)number * VLM_STREAMS + (uint64_t)stream;
}
/* Resets the workspace; what is read is valid until its next reset. part as vlm_image_read: a
 * picture for which the cache has room is decoded whole and kept. */
vlmoe_status vlm_picture_open(const vlm_source *source, uint64_t key, const vlm_sample *sample,
                              vlm_workspace *workspace, vlm_picture *out, vlmoe_error *error);
vlmoe_status vlm_picture_read(const vlm_source *source, const vlm_picture *picture,
                              const vlm_box *part, vlm_image *out, vlmoe_error *error);

vlm_image_options vlm_source_decode_options(const vlmoe_config *config);

/* Read the settings of config that samples need, without opening anything. Errors: ARG, naming
 * keys. */
vlmoe_status vlm_source_settle(vlm_source *source, const vlmoe_config *config, vlmoe_error *error);

#endif
