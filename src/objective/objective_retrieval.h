/* Image-text retrieval: features of pictures and texts that were encoded apart are told from those of other pairs (contrastive), and
 * pictures and texts that are read together are told to belong together or not (matching, with hard negatives). Radford et al. 2021;
 * Li et al. 2021 (ALBEF); Bao et al. 2022 (VLMo).
 *
 * A group has n images, n texts and no pairs; image i belongs to text i, and pairs whose group->concept is equal are positives of each
 * other (concept NULL: none are). Loss = task.contrastive_weight * (image to text + text to image) / 2 + task.matching_weight * matching:
 *   contrastive  cross-entropy of exp(log_scale) cosines against 1/k on each of a row's k positives, mean over rows
 *   matching     cross-entropy of (no, yes) over 3 n pairs: each positive; each picture with a text that is none of its, drawn in
 *                proportion to exp(similarity); each text with such a picture. A sample whose concept all others share has no negatives:
 *                those rows count nothing
 *
 * Others to be told from may be those of the group, or of the whole step in two passes (task.negatives "step"):
 *   1. vlm_contrastive_features of each group, on a recording that keeps nothing for backward;
 *   2. all features together: vlm_contrastive_solve gives the step's loss and its slope on each feature;
 *   3. vlm_retrieval_record of each group again with its part of these slopes, whose backward is then the step's.
 * Draws are functions of the place, so passes 1 and 3 compute the same features. */
#ifndef VLM_OBJECTIVE_RETRIEVAL_H
#define VLM_OBJECTIVE_RETRIEVAL_H

#include "objective_task.h"

/* Pairs are read together in a second encoding, which draws noise, dropout and drop path of its own: at the group's number plus this. */
#define VLM_SECOND_ENCODING ((int64_t)1 << 32)
/* That of pairs whose words and patches are hidden as well: apart, beside masked pretraining. */
#define VLM_CONTRASTIVE_ENCODING ((int64_t)2 << 32)

/* What the contrastive loss of a step is for one group: rows of vlm_contrastive_solve's results. */
typedef struct vlm_contrastive_part {
    const double *feature[2]; /* [n, E] by vlm_side, of pass 1 */
    const double *slope[2];   /* [n, E] d(sum of the groups' losses) / d(feature) */
    double log_scale_slope;   /* of that sum: given to one group of the step, 0 to the others */
    double loss;              /* the group's own, weighted: reported with the recording's loss */
} vlm_contrastive_part;

/* What was recorded; host memory of the recording. */
typedef struct vlm_retrieval {
    int64_t n;
    vlm_mome_inputs apart, together;  /* n images and n texts; 3 n pairs */
    vlm_mome_output apart_model;
    vlm_mome_output together_model;   /* hidden NULL when matching is off */
    vlmoe_tensor *feature[2];         /* [n, E] by vlm_side */
    vlmoe_tensor *similarity[2];      /* [n, n]: of each image with all texts; of each text with all images */
    const int64_t *concept;           /* [n] host */
    bool in_group;                    /* the contrastive loss is of this group's pairs */
    vlm_class_result contrastive[2];  /* in_group only: by side of the row */
    int32_t *negative[2];             /* [n] host: [IMAGE] a picture for each text, [TEXT] a text for each picture */
    int64_t n_matched;                /* rows of matching that count */
    double *match_weight;             /* [3 n] host: 1 / n_matched or 0 */
    vlmoe_tensor *match_logits;       /* [3 n, 2] */
    vlm_ce_result match;
} vlm_retrieval;

/* Of one group. */
typedef struct vlm_retrieval_metrics {
    int64_t n;
    double contrastive;   /* mean of both directions, unweighted; 0 unless in_group */
    double recall[2];     /* share of images whose nearest text is theirs; of texts whose nearest image is. 0 unless in_group */
    int64_t n_matched;
    double matching;      /* mean over n_matched pairs */
    double match_correct; /* share right, 0..1 */
    double temperature;
} vlm_retrieval_metrics;

/* part: NULL = others are those of this group. With task.matching_weight 0 nothing is read together. Waits for the device once where
 * negatives are drawn; on a device without data they are the next samples. On failure the tape is poisoned. */
void vlm_retrieval_record(vlmoe_tape *tape, const vlm_task_parts *parts, const vlm_group *group, const vlm_contrastive_part *part,
                          vlm_retrieval *out);
void vlm_retrieval_release(vlmoe_tape *tape, vlm_retrieval *retrieval);
/* After the forward (waits for the device). */
vlmoe_status vlm_retrieval_metrics_read(vlmoe_tape *tape, const vlm_head *head, const vlm_retrieval *retrieval, vlm_retrieval_metrics *out);

/* Pass 1. tape: begun in TRAIN mode, placed, nothing recorded. feature: [n, E] by vlm_side; left alone on a device without data. */
vlmoe_status vlm_contrastive_features(vlmoe_tape *tape, const vlm_task_parts *parts, const vlm_group *group, double *const feature[2]);

/* Pass 2: all groups of a step, in order. */
typedef struct vlm_contrastive_set {
    int64_t n_groups, n;            /* n samples in each group */
    const double *feature[2];       /* [n_groups n, E] */
    const int64_t *concept;         /* [n_groups n], comparable between groups; NULL = all differ */
    double weight;                  /* task.contrastive_weight */
} vlm_contrastive_set;
typedef struct vlm_contrastive_solution {
    double *slope[2];        /* [n_groups n, E], of the sum of the groups' losses: the factor 1/groups is the optimiser's */
    double log_scale_slope;
    double *loss;            /* [n_groups] weighted */
    double *contrastive;     /* [n_groups] unweighted; as in vlm_retrieval_metrics */
    double *recall[2];       /* [n_groups] */
} vlm_contrastive_solution;
/* On a recording of its own in ctx: none may be open. All arrays are the caller's. The order of sums is that of samples, so equal inputs
 * give equal bits on every rank. Takes 6 [N, N] matrices of activations, N = n_groups n. On a device without data only their memory.
 * Errors: ARG, NOMEM, DEVICE. */
vlmoe_status vlm_contrastive_solve(vlmoe_context *ctx, const vlm_head *head, const vlm_contrastive_set *set, vlm_contrastive_solution *out);

#endif
