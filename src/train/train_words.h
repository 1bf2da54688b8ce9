/* Does the model read the picture? Words of held-out pairs are hidden and predicted with the right picture, with another pair's, and with
 * none (all patches hidden); the three differ in nothing else. */
#ifndef VLM_TRAIN_WORDS_H
#define VLM_TRAIN_WORDS_H

#include "train.h"

enum { VLM_PICTURE_RIGHT, VLM_PICTURE_SHUFFLED, VLM_PICTURE_NONE, VLM_N_PICTURES };
extern const char *const vlm_picture_names[VLM_N_PICTURES]; /* "right", "shuffled", "none" */

typedef struct vlm_words_params {
    double rate;       /* share of maskable pieces hidden, each replaced by [MASK]; 1 = all */
    int64_t limit;     /* pairs used, from the first; 0 = all */
    uint64_t seed;     /* which pieces, which other picture, bootstrap */
    int64_t batch;     /* pairs per recording: no effect on results */
    bool keep_tokens;  /* fill vlm_words_result.tokens */
} vlm_words_params;

/* One pair's outcome. The first word is what a caption begins with: the category in the demo set. */
typedef struct vlm_words_example {
    int64_t other;                      /* the pair whose picture was shown as "shuffled": one of another concept */
    int32_t pieces, first_pieces;       /* hidden pieces: all, and of the first word */
    int32_t words;                      /* words with all of their pieces hidden */
    int32_t right[VLM_N_PICTURES];      /* pieces right */
    int32_t words_right[VLM_N_PICTURES];
    int32_t first_right[VLM_N_PICTURES]; /* 1 = all pieces of the first word right; counted when first_pieces > 0 */
    double nll[VLM_N_PICTURES];         /* sum over pieces */
} vlm_words_example;

/* What was predicted, to be read: the texts as tokens, [CLS] and [SEP] in them, pair after pair. */
typedef struct vlm_words_tokens {
    int64_t *begin;                        /* [n + 1]; NULL = not kept */
    int32_t *token;                        /* [begin[n]] as the text has it */
    uint8_t *hidden;                       /* 1 = was hidden */
    int32_t *predicted[VLM_N_PICTURES];    /* the likeliest piece (lowest id among equals) where hidden, else the token */
} vlm_words_tokens;

typedef struct vlm_words_result {
    int64_t n;
    vlm_words_example *examples; /* [n] */
    vlm_words_tokens tokens;
} vlm_words_result;
void vlm_words_free(vlm_words_result *result);

/* trainer: with model, spm and an open val that has pairs. Two pairs are of one concept when their JSON's "concept" is equal, or, without
 * that, their texts. Errors: STATE, ARG, and those of data. */
vlmoe_status vlm_words_evaluate(vlmoe_trainer *trainer, const vlm_words_params *params, vlm_words_result *out);

typedef enum vlm_words_measure { VLM_WORDS_PIECES, VLM_WORDS_WHOLE, VLM_WORDS_FIRST } vlm_words_measure;
double vlm_words_share(const vlm_words_result *result, vlm_words_measure measure, int picture); /* right / counted; NaN when nothing is */
/* share(a) - share(b) with its 95 % interval by resampling pairs (paired bootstrap, n_resamples draws, keyed by seed). */
typedef struct vlm_interval {
    double difference, low, high;
} vlm_interval;
vlm_interval vlm_words_difference(const vlm_words_result *result, vlm_words_measure measure, int a, int b, int n_resamples, uint64_t seed);

#endif
