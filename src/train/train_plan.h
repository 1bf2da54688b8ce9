/* What a config needs before any of it is allocated: the same model code on the meta device, one group of the largest size. */
#ifndef VLM_TRAIN_PLAN_H
#define VLM_TRAIN_PLAN_H

#include "config_task.h"
#include "train.h"

typedef struct vlm_plan {
    int64_t parameters, trained, per_token; /* per_token: all shared and dense parameters and k experts of each sparse layer */
    size_t master_bytes, grad_bytes, moment_bytes, copy_bytes;
    size_t bucket_bytes;  /* where gradients of other ranks arrive */
    size_t step_bytes;    /* arena of one group: the largest of training forward and backward, and making targets */
    size_t defer_bytes;   /* rows of experts that wait for the end of the step: of all groups, at most run.defer_mib */
    size_t scratch_bytes;  /* of products, as config.run.threads workers hold it */
    size_t products_bytes; /* oneDNN's primitives, about */
    size_t ring_bytes;     /* groups prepared ahead */
    size_t host_bytes;     /* nodes and lists of one recording */
    size_t total_bytes;    /* all of the above; not the cache of decoded pictures (up to data.cache_mib), the text model, the program */
    int64_t recorded;         /* groups that the dry run recorded */
    int64_t recompute_blocks; /* blocks from the first that are run again in backward */
    int ranks;
    size_t gradients_sent; /* bytes to owners, by this rank in a micro-step */
    size_t values_sent;    /* bytes from this rank as an owner, in a step */
    double flops;         /* of one step: forward and backward of all groups, targets included, 2 per multiply-add */
    int64_t tokens;       /* rows of one step at its largest */
} vlm_plan;

/* n_words: vocabulary. With run.memory_mib set, recompute_blocks is the smallest number with which total_bytes fits; the caller puts it
 * into its config. Errors: ARG (also: a target that no number meets, saying what is needed), SHAPE, NOMEM. */
vlmoe_status vlm_plan_make(const vlmoe_config *config, int64_t n_words, vlm_plan *out, vlmoe_error *error);
/* What each of n_ranks needs: its share of the state, and room for the most rows that its experts may be sent, in training or prediction
 * (moe.receive_factor, and capacities where there are). flops counts that many rows. Errors also: ARG, a number that does not fit. */
vlmoe_status vlm_plan_of_rank(const vlmoe_config *config, int64_t n_words, int n_ranks, vlm_plan *out, vlmoe_error *error);

/* The same sizes as a trainer holds them now: slabs, and the peaks of what grows and shrinks. flops, tokens and per_token stay 0. */
void vlm_plan_held(const vlmoe_trainer *trainer, vlm_plan *out);

bool vlm_needs_words(const vlmoe_config *config); /* some part has word targets or pairs bring texts */
bool vlm_needs_codes(const vlmoe_config *config); /* some part has image targets */

#endif
