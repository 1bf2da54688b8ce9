/* Pieces of the contrastive loss that groups and whole steps share. Private to src/objective. */
#ifndef VLM_OBJECTIVE_CONTRASTIVE_H
#define VLM_OBJECTIVE_CONTRASTIVE_H

#include "objective_retrieval.h"

/* Each of n rows has 1/k on its k positives and weight 1 / n_mean. concept [n], NULL = all differ. false: poisoned. */
bool vlm_contrastive_targets(vlmoe_tape *tape, int64_t n, int64_t n_mean, const int64_t *concept, vlm_class_targets *out);
/* Mean loss and share of right nearest ones [n_groups] of runs of n rows. */
typedef struct vlm_contrastive_rows {
    const vlm_class_result *result;
    const int64_t *concept; /* [n_groups n], NULL = all differ */
    int64_t n, n_groups;
} vlm_contrastive_rows;
vlmoe_status vlm_contrastive_read(vlmoe_tape *tape, const vlm_contrastive_rows *rows, double *loss, double *recall);
/* Loss terms whose gradient on the features is part's, and whose values add up to part's loss. */
void vlm_contrastive_inject(vlmoe_tape *tape, const vlm_head *head, const vlm_contrastive_part *part, vlmoe_tensor *const feature[2]);

#endif
