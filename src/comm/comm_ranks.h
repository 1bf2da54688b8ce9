/* The ranks of a run: everybody, and for each number of experts that the model has, who shares their copy and who holds the same ones. */
#ifndef VLM_COMM_RANKS_H
#define VLM_COMM_RANKS_H

#include "comm.h"
#include "comm_layout.h"

typedef struct vlm_expert_ranks {
    vlm_expert_layout layout;
    vlm_comm *set;   /* members of this rank's set, in order; world itself where there is one set */
    vlm_comm *cross; /* ranks of all sets with this rank's experts, in the order of sets; NULL where there is one set */
} vlm_expert_ranks;

enum { VLM_MAX_EXPERT_COUNTS = 2 }; /* vision, text */
typedef struct vlm_ranks {
    int size, rank;
    int64_t groups;  /* G */
    vlm_comm *world; /* borrowed */
    int n_counts;
    vlm_expert_ranks experts[VLM_MAX_EXPERT_COUNTS];
} vlm_ranks;

/* Collective. counts: the model's numbers of experts, [n]; equal ones are taken once. world stays the caller's and must outlive *out.
 * Errors: those of vlm_expert_layout_make, vlm_ranks_check and vlm_comm_split. */
vlmoe_status vlm_ranks_open(vlm_comm *world, int64_t groups, int n, const int64_t *counts, vlm_ranks *out, vlmoe_error *error);
void vlm_ranks_close(vlm_ranks *ranks); /* what open made; also after a failed open */
/* The entry of this number of experts; NULL: not one that open was told. */
const vlm_expert_ranks *vlm_ranks_of(const vlm_ranks *ranks, int64_t experts);

/* Of all their communicators together. */
vlm_comm_counts vlm_ranks_counted(const vlm_ranks *ranks);

#endif
