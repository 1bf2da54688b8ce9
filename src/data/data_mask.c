/* Choosing what is hidden: words one by one, patches in blocks. Not here: where the draws come from
 * (the caller's rng). */
#include <math.h>
#include <string.h>
#include "data_mask.h"

enum { BLOCK_TRIES = 10 };

void vlm_mask_text(const vlm_text_mask_params *params, vlm_rng *rng, int64_t n, int32_t *ids,
                   int32_t *target)
{
    for (int64_t i = 0; i < n; i++) target[i] = -1;
    int64_t maskable = n - 2;
    if (maskable <= 0 || params->rate <= 0.0) return;
    int64_t left = VLM_MAX(1, llround(params->rate * (double)maskable));
    left = VLM_MIN(left, maskable);
    /* Selection sampling (Knuth, TAOCP 2, 3.4.2 S): each set of `left` tokens is equally likely,
     * and no table is needed. */
    for (int64_t i = 1; left > 0; i++) {
        if ((int64_t)vlm_rng_below(rng, (uint64_t)(n - 1 - i)) >= left) continue;
        left--;
        target[i] = ids[i];
        double what = vlm_rng_unit(rng);
        if (what < params->keep) continue;
        ids[i] = what < params->keep + params->random
                     ? (int32_t)vlm_rng_below(rng, (uint64_t)params->n_ids)
                     : params->mask_id;
    }
}

/* How many patches of a block are not hidden yet, and (set) hide them. */
static int64_t block_new(uint8_t *mask, int64_t cols, const int64_t box[4], bool set)
{
    int64_t n = 0;
    for (int64_t row = box[0]; row < box[0] + box[2]; row++)
        for (int64_t col = box[1]; col < box[1] + box[3]; col++) {
            n += !mask[row * cols + col];
            if (set) mask[row * cols + col] = 1;
        }
    return n;
}

typedef struct block_params {
    int64_t rows, cols, min_block;
    double aspect;
} block_params;

/* One more block with at most `room` new patches; 0 when ten tries found none. */
static int64_t add_block(const block_params *params, int64_t room, vlm_rng *rng, uint8_t *mask)
{
    double area_span = (double)VLM_MAX(0, room - params->min_block);
    double log_aspect = log(params->aspect);
    for (int try = 0; try < BLOCK_TRIES; try++) {
        double area = (double)params->min_block + area_span * vlm_rng_unit(rng);
        double aspect = exp(log_aspect * (1.0 - 2.0 * vlm_rng_unit(rng))); /* height / width */
        int64_t height = llround(sqrt(area * aspect)), width = llround(sqrt(area / aspect));
        if (height < 1 || width < 1 || height > params->rows || width > params->cols) continue;
        int64_t top = (int64_t)vlm_rng_below(rng, (uint64_t)(params->rows - height + 1));
        int64_t left = (int64_t)vlm_rng_below(rng, (uint64_t)(params->cols - width + 1));
        const int64_t box[4] = {top, left, height, width};
        int64_t n_new = block_new(mask, params->cols, box, false);
        if (n_new > 0 && n_new <= room) return block_new(mask, params->cols, box, true);
    }
    return 0;
}

/* Hide `count` of the n_free patches that are not hidden yet, each set of them equally likely. */
static void add_patches(int64_t n_patches, int64_t n_free, int64_t count, vlm_rng *rng,
                        uint8_t *mask)
{
    for (int64_t i = 0; i < n_patches && count > 0; i++) {
        if (mask[i]) continue;
        if ((int64_t)vlm_rng_below(rng, (uint64_t)n_free--) >= count) continue;
        mask[i] = 1;
        count--;
    }
}

void vlm_mask_blocks(int64_t rows, int64_t cols, double rate, int64_t min_block, double aspect,
                     vlm_rng *rng, uint8_t *mask)
{
    int64_t n_patches = rows * cols;
    int64_t wanted = VLM_MIN(n_patches, llround(rate * (double)n_patches));
    memset(mask, 0, (size_t)n_patches);
    if (min_block == 0) min_block = VLM_MAX(1, llround(16.0 * (double)n_patches / 196.0));
    block_params params = {rows, cols, min_block, aspect};
    int64_t n = 0;
    while (n < wanted) {
        int64_t added = add_block(&params, wanted - n, rng, mask);
        if (added == 0) break;
        n += added;
    }
    add_patches(n_patches, n_patches - n, wanted - n, rng,
                mask); /* no block has too many, so nothing is ever taken away */
}
