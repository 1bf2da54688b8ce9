/* Memory, traffic and time of a config on R ranks of a machine, before anything runs there. docs/PERFORMANCE.md says how far it was off
 * where it could be measured. */
#ifndef VLM_TRAIN_PLANNER_H
#define VLM_TRAIN_PLANNER_H

#include "train_machine.h"
#include "train_work.h"

/* What a step's time is made of; nothing overlaps. */
enum {
    VLM_TERM_PRODUCTS,
    VLM_TERM_ATTENTION,
    VLM_TERM_MEMORY,
    VLM_TERM_OPTIMISER,
    VLM_TERM_ROWS,      /* to experts and back, forward and backward */
    VLM_TERM_GRADIENTS, /* to the owners of shards */
    VLM_TERM_VALUES,    /* from them */
    VLM_N_TERMS
};
extern const char *const vlm_term_names[VLM_N_TERMS];

typedef struct vlm_forecast {
    int ranks;
    size_t memory_bytes;         /* of the rank that holds most */
    double seconds[VLM_N_TERMS]; /* of one step */
    double total_seconds;
    double bytes[VLM_N_TERMS];   /* sent by one rank to others in one step; 0 for terms that send nothing */
    double network_share;        /* of those bytes that leave the node */
    int binds;                   /* the longest term */
} vlm_forecast;

/* skew: rows of the busiest rank over the mean; exchanges and experts wait for it. work: recorded on meta; plan: of one
 * of the ranks.
 * Errors: ARG (ranks do not fit groups or experts). */
vlmoe_status vlm_forecast_make(const vlmoe_config *config, const vlm_group_work *work, const vlm_plan *plan, const vlm_machine *machine,
                               double skew, vlm_forecast *out, vlmoe_error *error);

/* Bytes that one rank sends in a step for rows that leave it: `rows` of D elements to experts, each way, forward and backward, and once
 * more both ways where blocks are run again. What a run counts, apart from the numbers of rows themselves. */
double vlm_rows_bytes(const vlmoe_config *config, double rows, bool is_rerun);

#endif
