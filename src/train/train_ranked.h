/* The best candidates of each query of a retrieval, found while a matrix of scores passes by. What a score is, is train_recall.c's. */
#ifndef VLM_TRAIN_RANKED_H
#define VLM_TRAIN_RANKED_H

#include "base.h"

typedef struct vlm_ranked {
    int64_t n, k;      /* queries, and at most so many candidates of each; starts zeroed */
    int64_t *at;       /* [n, k] candidates of a query, the best first; -1 where there are fewer */
    double *order;     /* [n, k] what they are in the order of */
    float *score;      /* [n, k] what is said of them */
    bool *is_relevant; /* [n, k] */
} vlm_ranked;

typedef struct vlm_candidate {
    int64_t at;
    double order;
    float score;
    bool is_relevant;
} vlm_candidate;

/* Errors: NOMEM. */
vlmoe_status vlm_ranked_make(int64_t n, int64_t k, vlm_ranked *out, vlmoe_error *error);
void vlm_ranked_free(vlm_ranked *ranked);

/* One more candidate of a query, kept while it is among the best. Of equal ones those that are not relevant stand first, as a recall
 * counts them (metric_recall.h); otherwise the one that was offered first. */
void vlm_ranked_offer(vlm_ranked *ranked, int64_t query, const vlm_candidate *candidate);

#endif
