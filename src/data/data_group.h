/* One group: the unit of data, routing and summation, on the host, as the model takes it; and the prefetching source of groups.
 *
 * Row order of a group in the model (A = images, B = pairs, C = texts; a picture has 1 + P rows, [I_CLS] first; a text its tokens):
 *     [ pictures of A | pictures of B | texts of B | texts of C ]
 * so vision rows, text rows and pair rows are each contiguous. Pictures are numbered A then B, texts B then C. */
#ifndef VLM_DATA_GROUP_H
#define VLM_DATA_GROUP_H

#include "config.h"
#include "data_image.h"
#include "data_label.h"
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
    int64_t n_cut;                       /* texts longer than the limit in this group */
    /* Examples of a task, n of them: n_pairs (vqa), n_pairs / 2 (nlvr2: example i is pairs 2i and 2i + 1), n_images (classify, retrieval),
     * n_texts (nli, retrieval). Example i has the classes label[j] with label_score[j], j = label_offset[i] .. label_offset[i + 1] - 1. */
    int64_t n_examples;                  /* 0, and the arrays NULL, in pretraining without a contrastive part */
    int32_t *label_offset;               /* [n + 1] */
    int32_t *label;                      /* class numbers by labels.txt, none twice in an example */
    float *label_score;                  /* in (0, 1] */
    int64_t *concept;                    /* [n] retrieval and contrastive parts: equal where texts are, else 0. XXH3-64 of the text without
                                          * spaces at its ends, so comparable between groups; two of a million different texts have the same
                                          * number with a chance of 3e-8 */
    bool is_repeat;                      /* evaluation on several ranks: there was no group left for this one; its numbers must not count */
} vlm_group;

/* What the example i of a task is made of, nothing of it hidden:
 *   vqa        pair i (question) and its labels: any number, scores as packed
 *   nlvr2      pairs 2i and 2i + 1, the same text with each of two pictures; n_pairs = 2n
 *   retrieval  image i and text i of the same sample of data.pairs: n_images = n_texts = n, n_pairs = 0
 *   classify   image i
 *   nli        text i = [CLS] premise [SEP] hypothesis [SEP]
 * In nlvr2, classify and nli the scores of a labelled example add up to 1. Training examples have labels; held-out ones may have none. */

/* Memory of a group is one block owned by the source. Its bytes, and where each array of vlm_group starts in it (NULL allowed): pixels,
 * patch_mask, token, token_target, text_offset, sample, label_offset, label, label_score, concept. */
typedef struct vlm_group_shape {
    int64_t n_pictures, n_texts, n_samples, image_size, n_patches, text_len;
    int64_t n_examples, n_labels; /* most labels of all examples together */
} vlm_group_shape;
enum { VLM_GROUP_ARRAYS = 10 };
size_t vlm_group_bytes(const vlm_group_shape *shape, size_t start[VLM_GROUP_ARRAYS]);
vlm_group_shape vlm_group_shape_of(const vlmoe_config *config); /* of the largest group, were all streams that the config uses to have data */

/* How a source makes samples. */
typedef enum vlm_source_mode {
    VLM_SOURCE_TRAIN, /* endless, shuffled, augmented, masked by config */
    VLM_SOURCE_EVAL   /* each held-out sample once, in order, resized by data.eval_fit, masked by config from VLM_STREAM_EVAL; last groups may be short */
} vlm_source_mode;

typedef struct vlm_source vlm_source;

/* Open the sets of config.data that config.run.task reads (train: images/texts/pairs; eval: val_*), check them, start prefetch threads. A
 * stream with 0 samples a group, or all of whose objective weights are 0, is left empty and its sets are not opened. Sets for a stream that is on must not be
 * empty. A labelled task's sets have equal labels.txt in their folders. With task.unlabelled = skip every sample's json is read at once, and
 * training goes on among those with labels. spm may be NULL when no texts are used. log gets counts and plain-word warnings.
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
int64_t vlm_source_held_out(const vlm_source *source, int stream); /* of an EVAL source: samples it walks, numbers 0 to this - 1 */
double vlm_source_wait_seconds(const vlm_source *source);         /* time next() spent waiting, since open */

/* Classes of a labelled task, by labels.txt; n = 0 without labels. Belongs to the source. */
const vlm_classes *vlm_source_classes(const vlm_source *source);
/* The labels.txt of two sources must name the same classes. Errors: ARG (both keys, and the first line that differs). */
vlmoe_status vlm_source_same_classes(const vlm_source *a, const vlm_source *b, vlmoe_error *error);

/* Random access for evaluation and prediction: sample i of stream pairs/images/texts in set order, resized by data.eval_fit, unmasked.
 * pixels [p, image_size, image_size, 3] are written unless NULL; p = vlm_source_pictures. The rest is borrowed until the next call. */
typedef struct vlm_sample_view {
    const char *key;  /* in its shard */
    const char *text; /* bytes long, the first; NULL for images */
    size_t text_bytes;
    int n_texts;            /* captions of a picture, or premise and hypothesis; 0 for images */
    const vlm_bytes *texts; /* [n_texts] */
    const char *json; /* the .json member, NULL when there is none */
    size_t json_bytes;
} vlm_sample_view;
int vlm_source_pictures(const vlm_source *source, int stream); /* of a sample: 2 in nlvr2, 0 for texts, else 1 */
vlmoe_status vlm_source_sample(vlm_source *source, int stream, int64_t i, uint8_t *pixels, vlm_sample_view *out, vlmoe_error *error);

/* Equal of captions that are equal but for white space at the ends: such stand for each other in retrieval. */
int64_t vlm_caption_number(const vlm_bytes *text);

vlm_fit vlm_source_fit(const vlmoe_config *config); /* data.eval_fit */

/* One picture file for prediction, decoded, flattened and resized by config.data. pixels [image_size, image_size, 3]. */
vlmoe_status vlm_picture_load(const vlmoe_config *config, const char *path, uint8_t *pixels, vlmoe_error *error);

#endif
