/* Mixup and cutmix: each picture of a group with the one as far from the group's end, and their
 * labels in the same shares (Zhang et al. 2018; Yun et al. 2019; paired and drawn as timm does, once
 * a group). Not here: label smoothing, which is the loss's. */
#ifndef VLM_DATA_MIXUP_H
#define VLM_DATA_MIXUP_H

#include "data_group.h"

typedef struct vlm_mixup {
    double mixup, cutmix; /* of Beta(a, a); 0 = off */
} vlm_mixup;

/* What becomes of a group. */
typedef struct vlm_mixture {
    bool is_cut;
    int32_t blend; /* mixup: 65536ths that a picture keeps of itself */
    vlm_box box;   /* cutmix: what comes from the other */
    double keep;   /* share of its own labels */
} vlm_mixture;

/* Beta(a, a), a > 0: by two gamma draws (Marsaglia and Tsang 2000), as logarithms, so that small a
 * do not give 0 / 0. */
double vlm_beta(double a, vlm_rng *rng);

/* size: pixels on a side. With both, cutmix in half of the groups. At least one is on. */
vlm_mixture vlm_mixture_draw(const vlm_mixup *params, int64_t size, vlm_rng *rng);

/* Pixels and labels of the group's n_examples = n_images pictures, in place; a class that both have
 * gets both shares. Errors: NOMEM. */
vlmoe_status vlm_mixture_apply(const vlm_mixture *mixture, vlm_group *group,
                               vlm_workspace *workspace, vlmoe_error *error);

#endif
