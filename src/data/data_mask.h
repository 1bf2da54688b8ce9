/* Which words and patches are hidden. All draws come from the rng that is given. */
#ifndef VLM_DATA_MASK_H
#define VLM_DATA_MASK_H

#include "base_rng.h"
#include "data_spm.h"

typedef struct vlm_text_mask_params {
    double rate; /* share of maskable tokens, all but [CLS] and [SEP] */
    double keep, random;
    int32_t mask_id, n_ids; /* random words are uniform in [0, n_ids) */
} vlm_text_mask_params;

/* Choose max(1, round(rate * maskable)) tokens (0 when rate is 0 or nothing is maskable) uniformly without replacement, then
 * replace each by [MASK], a random id, or itself. ids [n] in place; target [n]: the original id where chosen, else -1.
 * ids[0] and ids[n-1] ([CLS], [SEP]) are never chosen. Source: Devlin et al. 2019, 3.1. */
void vlm_mask_text(const vlm_text_mask_params *params, vlm_rng *rng, int64_t n, int32_t *ids, int32_t *target);

/* BEiT's generator (Bao et al. 2022, alg. 1) on a rows x cols grid, then fixed to exactly round(rate * P) patches by random removal or
 * addition. Blocks have between min_block and the remaining count of patches, log-uniform aspect in [aspect, 1/aspect], up to 10
 * tries each. min_block 0 = max(1, round(16 P / 196)). mask [rows * cols] gets 0 or 1. */
void vlm_mask_blocks(int64_t rows, int64_t cols, double rate, int64_t min_block, double aspect, vlm_rng *rng, uint8_t *mask);

#endif
