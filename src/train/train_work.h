/* The work of a config's largest group, sorted by what limits it. Recorded on the meta device it says what will be done; on a real one, also
 * how long that takes there, and so what rates whole steps sustain. */
#ifndef VLM_TRAIN_WORK_H
#define VLM_TRAIN_WORK_H

#include "train_plan.h"

enum { VLM_WORK_PRODUCTS, VLM_WORK_ATTENTION, VLM_WORK_MEMORY, VLM_N_WORK };

typedef struct vlm_work {
    double amount[VLM_N_WORK]; /* operations, operations, bytes of the least traffic */
    double seconds[VLM_N_WORK];
} vlm_work;

/* One sparse layer in one recording. */
typedef struct vlm_sparse_work {
    int64_t experts, hidden;
    double rows; /* to experts, none left out but by capacity */
    bool is_rerun; /* in backward */
} vlm_sparse_work;

typedef struct vlm_group_work {
    vlm_work group;     /* targets, forward and backward */
    vlm_work optimiser; /* norm and AdamW of everything trained */
    int n_layers;
    vlm_sparse_work *layer; /* [n_layers] */
    size_t trained_moment_bytes; /* moments of all that is trained */
} vlm_group_work;

/* device "meta" or "cpu"; the largest group `rounds` times, after one that is not counted where there is data; amounts and seconds are of
 * one round. Free with vlm_group_work_free.  Errors: as vlm_plan_make. */
vlmoe_status vlm_group_work_record(const char *device, const vlmoe_config *config, int64_t n_words, int rounds, vlm_group_work *out, vlmoe_error *error);
void vlm_group_work_free(vlm_group_work *work);

#endif
