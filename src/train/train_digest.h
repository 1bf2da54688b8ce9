/* What a step left, small enough to keep and exact enough to compare: its numbers, and hashes of every tensor and its moments, block by
 * block, whoever owns the blocks. */
#ifndef VLM_TRAIN_DIGEST_H
#define VLM_TRAIN_DIGEST_H

#include "train_report.h"

/* In the order in which a difference is looked for, before tensors. */
typedef enum vlm_digest_kind { VLM_DIGEST_LOSS, VLM_DIGEST_DROPS, VLM_DIGEST_NORM, VLM_DIGEST_STATE } vlm_digest_kind;
typedef struct vlm_digest_number {
    vlm_digest_kind kind;
    char name[64];
    double value; /* of STATE: a hash */
} vlm_digest_number;

/* Of VLMK_NORM_BLOCK elements of a file tensor; the last of a tensor may be shorter. */
typedef struct vlm_digest_block {
    uint64_t hash[3]; /* XXH3 of values, first and second moments; 0 where there are none */
    double square;    /* sum of squares of the gradient, over groups, before it is scaled */
} vlm_digest_block;

typedef struct vlm_digest {
    int64_t step; /* done; 0 = what training began from, without numbers */
    int n_numbers;
    vlm_digest_number *numbers;
    int64_t n_blocks;
    vlm_digest_block *blocks; /* in the order of ctx->pieces: registry order, experts by global id */
} vlm_digest;

/* After a step, or before the first of them: report and tally NULL. Collective.  Errors: NOMEM, DEVICE, those of vlm_comm. */
vlmoe_status vlm_digest_take(vlmoe_trainer *trainer, const vlmoe_step_report *report, const vlm_tally *tally, vlm_digest *out,
                             vlmoe_error *error);
void vlm_digest_free(vlm_digest *digest);

/* Words on all that differs, in one line, what comes first in front; nothing when they are equal. one_rank: the trainer of one. */
vlmoe_status vlm_digest_compare(const vlmoe_trainer *one_rank, const vlm_digest *here, const vlm_digest *alone, struct vlm_text *out,
                                vlmoe_error *error);

#endif
