/* Who computes which group and holds which expert: arithmetic alone, the same on every rank.
 *
 * A step has G groups. Rank r of R computes group i R + r at micro-step i, so R divides G, and the ranks' groups of a micro-step are
 * consecutive. The gradients of E experts are summed in chains over S = min(E, G) consecutive groups, each from +0, and the chains' sums
 * in order: S is a number of the run, whatever R is. Up to S ranks hold the experts once, E / R each. More ranks form sets of S
 * consecutive ranks, each set with all experts (one a rank) and one chain a micro-step. */
#ifndef VLM_COMM_LAYOUT_H
#define VLM_COMM_LAYOUT_H

#include "base.h"

typedef struct vlm_expert_layout {
    int64_t experts;  /* E */
    int64_t chain;    /* S */
    int ranks;        /* R */
    int members;      /* ranks of a set: min(R, S) */
    int sets;         /* R / members */
    int64_t per_rank; /* E / members; expert e lies on member e / per_rank of every set */
} vlm_expert_layout;

/* Errors: ARG, naming R, G, E and the nearest R that fit: R does not divide G; up to S ranks: R does not divide E (or S); more: S does
 * not divide R. */
vlmoe_status vlm_expert_layout_make(int64_t experts, int64_t groups, int ranks, vlm_expert_layout *out, vlmoe_error *error);
/* R divides G.  Errors: ARG, naming the divisors of G. */
vlmoe_status vlm_ranks_check(int64_t groups, int ranks, vlmoe_error *error);

static inline int vlm_expert_set(const vlm_expert_layout *l, int rank) { return rank / l->members; }
static inline int vlm_expert_member(const vlm_expert_layout *l, int rank) { return rank % l->members; }
static inline int64_t vlm_expert_first(const vlm_expert_layout *l, int rank) { return vlm_expert_member(l, rank) * l->per_rank; }

#endif
