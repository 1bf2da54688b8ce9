/* Parameters whose gradients several ranks add: where they lie in memory, which is the same on all of these ranks, and which rank owns
 * what. Plain parameters are spread over all ranks; experts of several sets (comm_layout.h) over the ranks that hold the same ones.
 *
 * Values are laid out by how they are computed with, so that no rank holds what it does not need:
 *
 *     0          first_copy       n_wide             n
 *     | wide alone | wide and copy | copy alone      |       copy: in the compute type, where that is not wide
 *
 * The elements are cut in buckets, and each bucket among the ranks, at blocks of VLMK_NORM_BLOCK elements of a file tensor. A bucket is
 * what travels at once; who owns what has no influence on numbers. */
#ifndef VLM_AUTOGRAD_SPREAD_H
#define VLM_AUTOGRAD_SPREAD_H

#include "context.h"

typedef struct vlm_spread {
    vlm_comm *comm; /* NULL in a plan */
    int size, rank; /* in comm */
    int64_t n, n_wide, first_copy; /* elements */
    int64_t n_buckets;
    int64_t *cut;     /* [n_buckets * size + 1]: rank r owns cut[b * size + r] .. cut[b * size + r + 1] - 1 of bucket b */
    int64_t *own;     /* [n_buckets + 1]: place of what this rank owns of a bucket, among all that it owns */
    int64_t n_own_wide; /* owned elements that lie in wide; the others have masters */
    int64_t moment;   /* place of the first owned element in the moments */
    void *wide;       /* [n_wide] wide */
    void *copies;     /* [n - first_copy] compute; NULL when compute is wide */
    void *grads;      /* [n] wide: of one micro-step */
    void *sums;       /* [own[n_buckets]] wide: over groups */
    void *masters;    /* [own[n_buckets] - n_own_wide] wide; NULL when all are computed with as wide values */
} vlm_spread;

/* All ranks first, then one per number of experts that has several sets. */
typedef struct vlm_spreads {
    int n;
    vlm_spread spread[1 + VLM_MAX_EXPERT_COUNTS];
    void *arriving; /* [arriving_bytes] of device memory for buckets of other ranks */
    size_t arriving_bytes;
} vlm_spreads;

/* Buckets on their way at once, each with its place in arriving. */
enum { VLM_SPREAD_WINDOW = 2 };

static inline int64_t vlm_spread_begin(const vlm_spread *s, int64_t bucket, int rank) { return s->cut[bucket * s->size + rank]; }
static inline int64_t vlm_spread_end(const vlm_spread *s, int64_t bucket, int rank) { return s->cut[bucket * s->size + rank + 1]; }

/* Which spread a parameter belongs to, from ranks and its own spec alone; -1 = none: this rank has it for itself (its experts of one
 * set), or it is frozen. */
int vlm_spread_of(const vlmoe_context *ctx, const vlm_param *param);
/* Lay out, cut and take memory; sets data, copy, grad and at of the parameters.  Errors: NOMEM, those of the device. */
vlmoe_status vlm_spreads_make(vlmoe_context *ctx);
void vlm_spreads_destroy(vlmoe_context *ctx); /* also where there are none */
/* Clear the sums over groups. */
vlmoe_status vlm_spreads_clear(vlmoe_context *ctx);
/* Their gradients begin again, for the next micro-step. */
vlmoe_status vlm_spreads_restart(vlmoe_context *ctx);
/* Copies of those that are computed with as wide values too. */
vlmoe_status vlm_spreads_refresh(vlmoe_context *ctx);
/* Pieces of a file tensor of a spread parameter; e counts its experts in the model. */
vlmoe_status vlm_spread_pieces(vlmoe_context *ctx, vlm_param *param, int64_t e);

#endif
