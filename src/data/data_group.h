/* One group: the unit of data, routing and summation, on the host, as the model takes it; and the prefetching source of groups.
 *
 * Row order of a group in the model (A = images, B = pairs, C = texts; a picture has 1 + P rows, [I_CLS] first; a text its tokens):
 *     [ pictures of A | pictures of B | texts of B | texts of C ]
 * so vision rows, text rows and pair rows are each contiguous. Pictures are numbered A then B, texts B then C. */
#ifndef VLM_DATA_GROUP_H
#define VLM_DATA_GROUP_H

#include "config.h"
#include "data_spm.h"

typedef struct vlm_group {
    int64_t step, index;                 /* which group this is */
    int64_t n_images, n_texts, n_pairs;  /* of each stream */
    int64_t image_size, n_patches;       /* pixels on a side; P */
    uint8_t *pixels;                     /* [n_images + n_pairs, image_size, image_size, 3] augmented */
    uint8_t *patch_mask;                 /* [n_images + n_pairs, P] 1 = hidden */
    int64_t n_tokens;
    int32_t *token;                      /* [n_tokens] as the model sees them */
    int32_t *token_target;               /* [n_tokens] hidden word, -1 = not hidden */
    int32_t *text_offset;                /* [n_pairs + n_texts + 1] */
    int64_t *sample;                     /* [n_images + n_pairs + n_texts] global sample numbers, streams A, B, C */
    /* Labels of a task's n samples; NULL in pretraining. n = n_pairs, or n_images (classify), n_texts (nli, retrieval), n_pairs / 2 (nlvr2:
     * sample i is pairs 2i and 2i + 1). Sample i has the classes label[j] with label_score[j], j = label_offset[i] .. label_offset[i+1]-1. */
    int32_t *label_offset;               /* [n + 1] */
    int32_t *label;                      /* [label_offset[n]] */
    float *label_score;                  /* [label_offset[n]] */
    int32_t *concept;                    /* [n] retrieval: equal where captions are equal; image i belongs to text i */
    int64_t n_cut;                       /* texts longer than the limit in this group */
    bool is_repeat;                      /* evaluation on several ranks: there was no group left for this one; its numbers must not count */
} vlm_group;

/* Memory of a group is one block owned by the source. Its bytes, and where each array of vlm_group starts in it (NULL allowed): pixels,
 * patch_mask, token, token_target, text_offset, sample. */
typedef struct vlm_group_shape {
    int64_t n_pictures, n_texts, n_samples, image_size, n_patches, text_len;
} vlm_group_shape;
size_t vlm_group_bytes(const vlm_group_shape *shape, size_t start[6]);

/* How a source makes samples. */
typedef enum vlm_source_mode {
    VLM_SOURCE_TRAIN, /* endless, shuffled, augmented, masked by config */
    VLM_SOURCE_EVAL   /* each held-out sample once, in order, plain resize, masked by config from VLM_STREAM_EVAL; last groups may be short */
} vlm_source_mode;

typedef struct vlm_source vlm_source;

/* Open the sets of config.data (train: images/texts/pairs; eval: val_*), check them, start prefetch threads. A stream with 0 samples a
 * group, or all of whose objective weights are 0, is left empty and its sets are not opened. Sets for a stream that is on must not be
 * empty. spm may be NULL when no texts are used. log gets counts and plain-word warnings.
 * Errors: IO, FORMAT, ARG (naming keys), NOMEM. */
vlmoe_status vlm_source_open(const vlmoe_config *config, vlm_source_mode mode, const vlm_spm *spm, const vlm_log *log, vlm_source **out, vlmoe_error *error);
void vlm_source_close(vlm_source *source); /* NULL allowed; stops the threads */

/* From here on only every ranks-th group comes, from group rank on: i * ranks + rank of each step. ranks divides G in training. In
 * evaluation every rank gets as many turns; one whose groups have run out gets the last group once more. Back to the first step.
 * Errors: ARG, NOMEM. */
vlmoe_status vlm_source_share(vlm_source *source, int rank, int ranks, vlmoe_error *error);

/* Position: groups are numbered step * G + index. Seek before the first next, or at any time (drops what was prefetched). In training
 * the samples of any position are a function of (config, seed, position) alone, so a position is all that a checkpoint needs. */
vlmoe_status vlm_source_seek(vlm_source *source, int64_t step, vlmoe_error *error);

/* The next group in order (step, 0..G-1, step+1, ...); borrowed until the next call. *out = NULL at the end of an EVAL source.
 * A sample that cannot be decoded is an error naming its file, key and offset; nothing is skipped in silence. */
vlmoe_status vlm_source_next(vlm_source *source, const vlm_group **out, vlmoe_error *error);

uint64_t vlm_source_hash(const vlm_source *source); /* of its shards in order: samples, bytes, and checksums where there is an index */
int64_t vlm_source_samples(const vlm_source *source, int stream); /* 0 images, 1 texts, 2 pairs: samples in all sets of a stream */
double vlm_source_wait_seconds(const vlm_source *source);         /* time next() spent waiting, since open */

/* Random access for evaluation and prediction: sample i of stream pairs/images/texts in set order, plain resize, unmasked.
 * pixels [image_size, image_size, 3] and/or text are written when the stream has them; text is borrowed until the next call. */
typedef struct vlm_sample_view {
    const char *key;  /* in its shard */
    const char *text; /* bytes long; NULL for images */
    size_t text_bytes;
    const char *json; /* the .json member, NULL when there is none */
    size_t json_bytes;
} vlm_sample_view;
vlmoe_status vlm_source_sample(vlm_source *source, int stream, int64_t i, uint8_t *pixels, vlm_sample_view *out, vlmoe_error *error);

/* One picture file for prediction, decoded, flattened and resized by config.data. pixels [image_size, image_size, 3]. */
vlmoe_status vlm_picture_load(const vlmoe_config *config, const char *path, uint8_t *pixels, vlmoe_error *error);

#endif
