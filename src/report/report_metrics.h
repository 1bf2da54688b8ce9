/* metrics.jsonl of a run (docs/FORMATS.md) as curves. Lines that are cut off or are no record, as a killed run or an edit leaves
 * them, are counted and left out. */
#ifndef VLM_REPORT_METRICS_H
#define VLM_REPORT_METRICS_H

#include "report_curve.h"

typedef enum vlm_metric {
    VLM_METRIC_LOSS,
    VLM_METRIC_PART_LOSS, /* text, image, pair_text, pair_image: in the order of the objective's parts */
    VLM_METRIC_PART_RIGHT = VLM_METRIC_PART_LOSS + 4,
    VLM_METRIC_RECONSTRUCTION = VLM_METRIC_PART_RIGHT + 4,
    VLM_METRIC_COMMITMENT,
    VLM_METRIC_CODE_USAGE,
    VLM_METRIC_GRAD_NORM,
    VLM_METRIC_LR,
    VLM_METRIC_DROPPED,
    VLM_METRIC_SPEED, /* samples a second */
    VLM_METRIC_WAIT,  /* share of the time spent waiting for data */
    /* of tuned tasks */
    VLM_METRIC_TASK_LOSS,
    VLM_METRIC_TASK_SCORE, /* of groups: share right, of vqa the mean soft score */
    VLM_METRIC_ACCURACY,
    VLM_METRIC_CONSISTENCY,
    VLM_METRIC_TOP1,
    VLM_METRIC_TOP5,
    VLM_METRIC_RECALL, /* mean of six */
    VLM_METRIC_TEXT_FIRST, /* R@1 of texts for pictures, of pictures for texts */
    VLM_METRIC_IMAGE_FIRST,
    VLM_METRIC_CONTRASTIVE_LOSS,
    VLM_METRIC_MATCHING_LOSS,
    VLM_METRIC_TEXT_IN_GROUP, /* share of pictures whose nearest text in the group is theirs; of texts likewise */
    VLM_METRIC_IMAGE_IN_GROUP,
    VLM_METRIC_MATCHING,
    VLM_METRIC_TEMPERATURE,
    VLM_N_METRICS
} vlm_metric;

enum { VLM_HEAT_BUCKETS = 160, VLM_METRICS_LAYERS = 64, VLM_METRICS_EXPERTS = 4096 };

/* Numbers of an evaluation by their names in the record, in its order. */
enum { VLM_SCORE_NAME = 96, VLM_REPORT_SCORES = 64 };
typedef struct vlm_named_score {
    char name[VLM_SCORE_NAME];
    double value;
} vlm_named_score;
typedef struct vlm_named_scores {
    int n;
    vlm_named_score at[VLM_REPORT_SCORES];
} vlm_named_scores;
void vlm_named_scores_put(vlm_named_scores *scores, const char *name, double value); /* what is not finite or has no room is left out */
double vlm_named_score_of(const vlm_named_scores *scores, const char *name); /* NaN: there is none */

/* One sparse layer. */
typedef struct vlm_metrics_layer {
    int64_t block, E;
    char modality; /* 'v', 't' */
    vlm_curve dropped, entropy, load_cv;
    int64_t heat_width; /* steps of a column of heat */
    double *heat;       /* [VLM_HEAT_BUCKETS, E] tokens that chose each expert */
} vlm_metrics_layer;

typedef struct vlm_metrics {
    vlm_curve train[VLM_N_METRICS], held_out[VLM_N_METRICS];
    double last[VLM_N_METRICS]; /* of the newest evaluation; NaN = absent */
    vlm_named_scores scores;    /* of the newest evaluation, all but what is about its work */
    int64_t lines, odd_lines;   /* odd: left out */
    int64_t steps, evaluations; /* steps: of the newest training record */
    int64_t samples;
    double seconds; /* of steps and evaluations */
    int n_layers, layers_left_out;
    vlm_metrics_layer layers[VLM_METRICS_LAYERS];
} vlm_metrics;

/* *out is filled as far as the file goes. Errors: IO, NOMEM; a file that holds no record is none. */
vlmoe_status vlm_metrics_read(const char *path, vlm_metrics *out, vlmoe_error *error);
void vlm_metrics_free(vlm_metrics *metrics);

#endif
