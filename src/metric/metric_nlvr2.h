/* Accuracy and consistency of NLVR2 (Suhr et al. 2019). Consistency is the share of sentences all of whose pairs of pictures were judged
 * rightly; examples share a sentence when their identifiers, SPLIT-SET-PAIR-SENTENCE, differ in the third field alone, as in the official
 * evaluation. An identifier of fewer fields is a sentence of its own. */
#ifndef VLM_METRIC_NLVR2_H
#define VLM_METRIC_NLVR2_H

#include "base.h"

typedef struct vlm_nlvr2 vlm_nlvr2;

typedef struct vlm_nlvr2_result {
    int64_t n, right;              /* examples; accuracy is right / n */
    int64_t sentences, consistent; /* consistency is consistent / sentences */
} vlm_nlvr2_result;

vlm_nlvr2 *vlm_nlvr2_create(void); /* NULL when out of memory */
void vlm_nlvr2_destroy(vlm_nlvr2 *tally);
vlmoe_status vlm_nlvr2_add(vlm_nlvr2 *tally, const char *identifier, bool is_right, vlmoe_error *error); /* NOMEM */
vlm_nlvr2_result vlm_nlvr2_count(vlm_nlvr2 *tally); /* of all so far; more may be added */

#endif
