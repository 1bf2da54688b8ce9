/* What can be got right without looking: the best answer that never changes, measured on the held-out data themselves. It knows the
 * frequencies of the very targets it is judged by, so it is more than any guesser can reach. */
#ifndef VLM_TRAIN_BASELINE_H
#define VLM_TRAIN_BASELINE_H

#include "train.h"

/* Always the most frequent target of a part's hidden positions. */
typedef struct vlm_constant {
    int64_t n;      /* hidden positions */
    int32_t target; /* lowest id among equals; -1 when n is 0 */
    double right;   /* its share of them; NaN when n is 0 */
    double loss;    /* entropy of the targets, nats: the loss of always predicting their distribution; NaN when n is 0 */
} vlm_constant;

typedef struct vlm_baseline {
    int64_t samples[3];               /* evaluated: images, texts, pairs */
    vlm_constant part[VLM_N_PARTS];   /* task pretrain; n 0 where a part is off */
    double reconstruction;            /* task image_tokeniser: error of predicting each patch's own mean; NaN otherwise */
    int64_t codes_used, codes;        /* task image_tokeniser: codes that some held-out patch has, and all */
    double code_entropy;              /* of them over held-out patches, nats; NaN in pretrain */
} vlm_baseline;

/* Walks the held-out groups once, no model but the image tokeniser's. Errors: STATE (no held-out data), NOMEM, and those of data. */
vlmoe_status vlm_baseline_measure(vlmoe_trainer *trainer, vlm_baseline *out);

#endif
