/* Which sample a draw of a stream is: a function of the draw's number alone, so that a run can
 * start anywhere without a history.
 *
 * Sets are interleaved by exact integer shares. Set 0 takes floor(n w0 / W0) of the first n draws,
 * W0 = w0 + w1 + ...; set 1 takes its share of the draws that are left in the same way, and so on.
 * Hence the index of a draw within its set is known at once, each W0 draws hold exactly w_j of set
 * j, and no stretch of draws is far from its shares. Within a set, draws 0 .. size-1 are a
 * permutation of its samples, the next `size` draws another one. */
#ifndef VLM_DATA_MIX_H
#define VLM_DATA_MIX_H

#include "base.h"

typedef struct vlm_mix_set {
    int64_t size;   /* samples */
    int64_t weight; /* share of the draws, of the sum of all weights */
} vlm_mix_set;

typedef struct vlm_mix {
    uint64_t seed, stream; /* order of a set depends on both and on the number of the set */
    int64_t n_sets;
    vlm_mix_set *sets;
} vlm_mix;

/* weights [n_sets] as in the config, or NULL = by size. They are brought to whole numbers with the
 * sum 720,720 (divisible by 1 to 16) by largest remainders, but at least 1 for a weight above 0,
 * then reduced; sizes are taken as they are. name is the key for messages. Errors: ARG (a set with
 * weight is empty, no weight above 0, more than 1,024 sets), NOMEM. */
vlmoe_status vlm_mix_init(vlm_mix *mix, int64_t n_sets, const int64_t *sizes, const double *weights,
                          const char *name, vlmoe_error *error);
void vlm_mix_fini(vlm_mix *mix); /* a zeroed mix is allowed */

/* Draw n >= 0 of the stream. O(sets), no state. */
void vlm_mix_draw(const vlm_mix *mix, int64_t n, int64_t *out_set, int64_t *out_sample);

#endif
