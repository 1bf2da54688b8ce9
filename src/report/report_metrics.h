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
    VLM_N_METRICS
} vlm_metric;

enum { VLM_HEAT_BUCKETS = 160, VLM_METRICS_LAYERS = 64, VLM_METRICS_EXPERTS = 4096 };

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
