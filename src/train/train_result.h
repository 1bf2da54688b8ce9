/* What one group contributes to the numbers of a step or an evaluation, and its way to the other ranks: flat bytes, so that every
 * rank adds the same results in the order of groups. */
#ifndef VLM_TRAIN_RESULT_H
#define VLM_TRAIN_RESULT_H

#include "train_report.h"

enum { VLM_BAD_NOT = -1, VLM_BAD_SUM = VLM_N_PARTS };

typedef struct vlm_group_result {
    int64_t group;     /* of the step, or of the evaluation */
    int64_t is_repeat; /* not to be counted */
    int64_t bad;       /* VLM_BAD_NOT; the part whose loss is not finite, or VLM_BAD_SUM: their sum */
    int64_t asks_stop; /* this rank was asked to stop */
    int64_t samples, cut;
    double loss, reconstruction, commitment;
    vlm_part_metrics parts;
    vlm_measures measures;
    int64_t n_predictions; /* in evaluation of a tuned task */
    vlm_prediction *predictions; /* [n_predictions] of the recording, or of the bytes, as is: */
    int64_t n_routes;
    vlm_route_stats *routes; /* [n_routes] */
} vlm_group_result;

/* Errors: NOMEM. */
vlmoe_status vlm_tally_add(vlm_tally *tally, const vlm_group_result *result, bool by_position, vlmoe_error *error);

/* Bytes that only the same library reads; out is cleared first.  Errors: NOMEM. */
vlmoe_status vlm_result_pack(const vlm_group_result *result, struct vlm_text *out, vlmoe_error *error);
/* bytes: 8-byte aligned, changed in place, and the result's memory from here on.  Errors: INTERNAL (not what pack made). */
vlmoe_status vlm_result_unpack(char *bytes, size_t n_bytes, vlm_group_result *out, vlmoe_error *error);

/* Add this rank's result and the others' of the same turn, in the order of groups. When a loss is not finite nothing is added, the
 * first group's part is in trainer->bad and its rank in trainer->bad_rank, on every rank alike: NUMERIC, without a text. */
vlmoe_status vlm_results_add(vlmoe_trainer *trainer, const vlm_group_result *mine, bool by_position, vlm_tally *tally);

#endif
