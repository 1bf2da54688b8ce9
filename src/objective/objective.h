/* What a task minimises and reports. Each objective records its losses on the tape and fills a
 * list of metrics after the forward. */
#ifndef VLM_OBJECTIVE_H
#define VLM_OBJECTIVE_H

#include "data_group.h"
#include "model_mome.h"

/* The four parts of masked pretraining. Order is fixed: metrics, dumps and weights use it. */
enum { VLM_PART_TEXT, VLM_PART_IMAGE, VLM_PART_PAIR_TEXT, VLM_PART_PAIR_IMAGE, VLM_N_PARTS };
extern const char
    *const vlm_part_names[VLM_N_PARTS]; /* "text", "image", "pair_text", "pair_image" */

/* Of one group. A part without masked positions has n = 0, loss 0. */
typedef struct vlm_part_metrics {
    int64_t n[VLM_N_PARTS];      /* masked positions */
    double loss[VLM_N_PARTS];    /* mean nll, natural log */
    double correct[VLM_N_PARTS]; /* share right, 0..1 */
} vlm_part_metrics;

/* What was recorded, for metrics, dumps and evaluation; host memory of the recording. Rows of
 * the word head: pair texts then texts, masked positions in row order; of the code head: images
 * then pairs. */
typedef struct vlm_masked {
    vlm_mome_output model;
    int64_t n_words, n_codes;                /* rows of each head */
    int32_t *word_row, *word_target;         /* [n_words] host: row in hidden, id */
    int32_t *code_row, *code_target;         /* [n_codes] host */
    vlmoe_tensor *word_logits, *code_logits; /* [n, V] wide; NULL when n is 0 */
    vlm_ce_result word, code;
    int32_t *word_part, *code_part; /* [n] host: VLM_PART_* of each row */
} vlm_masked;

/* Record encoder, heads and losses of one group. codes [A + B, P] host: targets of patches; NULL
 * when no picture is masked. Weights and everything else come from config.objective. Loss of a
 * part = weight * mean nll over its masked positions. */
void vlm_masked_record(vlmoe_tape *tape, const vlm_mome *model, const vlmoe_config *config,
                       const vlm_group *group, const int32_t *codes, vlm_masked *out);
/* Nobody reads the logits any more: backward may overwrite them with their gradients. */
void vlm_masked_release(vlmoe_tape *tape, vlm_masked *masked);
/* After the forward (waits for the device). */
vlmoe_status vlm_masked_metrics(vlmoe_tape *tape, const vlm_masked *masked, vlm_part_metrics *out);

/* Telemetry of each sparse layer and modality, over all of its sets. */
typedef struct vlm_route_stats {
    int64_t block;
    char modality;
    int64_t n_sets, tokens;
    double dropped;               /* share of token-choices not served */
    double load_cv;               /* std/mean over experts of tokens that chose them */
    double entropy;               /* mean entropy of clean gates, nats */
    int64_t empty;                /* experts that no token chose */
    double losses[VLMK_N_LOSSES]; /* unweighted, mean over sets */
    int64_t E;
    int64_t *load; /* [E] host memory of the recording */
} vlm_route_stats;
vlmoe_status vlm_route_stats_read(vlmoe_tape *tape, const vlm_mome_output *model, int *n,
                                  vlm_route_stats **out);

#endif
