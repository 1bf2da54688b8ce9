/* What a source is made of: shared by data_source.c (order, threads), data_settings.c (what a config
 * means), data_sets.c (folders), data_group.c (making a group) and data_sample.c (samples by
 * number). Nobody else includes it. */
#ifndef VLM_DATA_SOURCE_H
#define VLM_DATA_SOURCE_H

#include "data_cache.h"
#include "data_group.h"
#include "data_mask.h"
#include "data_mix.h"
#include "data_mixup.h"
#include "data_prefetch.h"
#include "data_randaug.h"
#include "data_shard.h"

enum { VLM_IMAGES, VLM_TEXTS, VLM_PAIRS, VLM_STREAMS };

/* Sets of one stream, opened. */
typedef struct vlm_sets {
    const char *name; /* key of the folders, "data.pairs"; for messages */
    bool is_on, hides_words, hides_patches;
    bool has_pixels, has_text; /* that a group takes from its samples */
    double mask_words, mask_words_max, mask_patches;
    int64_t per_group;
    /* ---- of a task ---- */
    int n_pictures;     /* of a sample; a sample makes as many pairs of a group */
    bool is_apart;      /* pictures and texts of pairs count as the group's images and texts */
    bool has_two_texts; /* a text is made of two */
    bool is_judged;     /* its samples are the group's examples ... */
    bool is_labelled;   /* ... with labels, */
    bool has_shares;    /* whose scores add up to 1 */
    bool has_concepts;
    bool skips;         /* samples without labels, in training */
    /* ---- opened ---- */
    int64_t n_sets;
    vlm_shards **set;
    vlm_shards **pictures;  /* [n_sets] of the set's folder pictures/, NULL = it has none */
    int64_t *first;         /* [n_sets + 1] global number of a set's first sample */
    int64_t *first_picture; /* [n_sets + 1] the same of its pictures */
    int32_t **labelled;     /* [n_sets] numbers of its samples with labels, where it skips ... */
    int64_t *n_labelled;    /* ... and how many */
    vlm_classes classes;
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
    vlm_fit fit; /* in evaluation */
    vlm_randaug randaug; /* in training */
    vlm_mixup mixup;     /* in training, of classify */
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

/* What of a group's shape its streams say: counts of those that are on. */
vlm_group_shape vlm_sets_shape(const vlm_sets sets[VLM_STREAMS]);

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

/* Open folders of a stream and what lies in them: shards, pictures/, labels.txt, and where it skips,
 * which samples have labels. Errors: as vlm_source_open. */
vlmoe_status vlm_sets_open(vlm_sets *sets, const vlm_texts *folders, vlmoe_error *error);
void vlm_sets_close(vlm_sets *sets);
/* Samples of set i that training draws from. */
int64_t vlm_sets_size(const vlm_sets *sets, int64_t i);

/* What a sample's json says, read where anything in it is needed. Errors: FORMAT, NOMEM. */
vlmoe_status vlm_sets_facts(const vlm_sets *sets, const vlm_sample *sample, vlm_sample_facts *out,
                            vlmoe_error *error);

/* A picture's file, and what it is called in the cache: equal for equal files of a source's folders
 * pictures/. */
typedef struct vlm_picture_file {
    vlm_bytes file;
    uint64_t key;
    const char *shard; /* of pictures/, NULL = the sample's own */
    uint64_t offset;
} vlm_picture_file;
typedef struct vlm_sample_at {
    int stream;
    int64_t number;
    const vlm_sample *sample;
    const vlm_sample_facts *facts;
} vlm_sample_at;
/* Picture which of a sample: its own, or one of its set's by number. Errors: FORMAT. */
vlmoe_status vlm_sets_picture(const vlm_sets *sets, const vlm_sample_at *at, int which,
                              vlm_picture_file *out, vlmoe_error *error);

/* A sample's picture on its way to pixels: in the cache, or a file of which only the header was
 * read. */
typedef struct vlm_picture {
    uint64_t key;
    const vlm_image *kept; /* NULL = not in the cache */
    vlm_image_file file;
    vlm_size size;
} vlm_picture;

/* Resets the workspace; what is read is valid until its next reset. part as vlm_image_read: a
 * picture for which the cache has room is decoded whole and kept. */
vlmoe_status vlm_picture_open(const vlm_source *source, const vlm_picture_file *file,
                              vlm_workspace *workspace, vlm_picture *out, vlmoe_error *error);
vlmoe_status vlm_picture_read(const vlm_source *source, const vlm_picture *picture,
                              const vlm_box *part, vlm_image *out, vlmoe_error *error);

vlm_image_options vlm_source_decode_options(const vlmoe_config *config);

/* Read the settings of config that samples need, without opening anything. Errors: ARG, naming
 * keys. */
vlmoe_status vlm_source_settle(vlm_source *source, const vlmoe_config *config, vlmoe_error *error);

#endif
