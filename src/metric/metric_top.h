/* Classification: top-1 and top-5, which class is taken for which, and what answering without looking would give. Equal scores rank by
 * class number, the lower first. */
#ifndef VLM_METRIC_TOP_H
#define VLM_METRIC_TOP_H

#include "base.h"

/* Number of the highest of score [n], n >= 1; -1 when one is NaN. */
int64_t vlm_top_best(const float *score, int64_t n);
/* 1 + classes before label when sorted by score; 0 when a score is NaN. */
int64_t vlm_top_rank(const float *score, int64_t n, int64_t label);

typedef struct vlm_top vlm_top;

typedef struct vlm_top_result {
    int64_t n, right, right5; /* examples; label first; label among the first five */
    double chance;            /* share right when guessing evenly */
    int64_t majority_class;   /* the most frequent label, the lower of equals; -1: no examples */
    double majority;          /* its share: what always answering it would give */
} vlm_top_result;

/* n_classes >= 1. Confusion counts take 8 n_classes^2 bytes; without, they are not kept. Errors: ARG, NOMEM. */
vlmoe_status vlm_top_create(int64_t n_classes, bool with_confusion, vlm_top **out, vlmoe_error *error);
void vlm_top_destroy(vlm_top *top);
/* One example by its scores [n_classes]. Errors: ARG (label), NUMERIC (a score is NaN). */
vlmoe_status vlm_top_add(vlm_top *top, const float *score, int64_t label, vlmoe_error *error);
/* One example by its answers alone, best first, n_best >= 1; -1 stands for none of the classes. Errors: ARG. */
vlmoe_status vlm_top_add_best(vlm_top *top, const int64_t *best, int64_t n_best, int64_t label, vlmoe_error *error);
vlm_top_result vlm_top_count(const vlm_top *top);
int64_t vlm_top_labels(const vlm_top *top, int64_t label);                         /* examples of a class */
int64_t vlm_top_confusion(const vlm_top *top, int64_t label, int64_t predicted);   /* 0 when not kept */

#endif
