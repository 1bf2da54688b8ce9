/* From recorded spans to tables and a trace. */
#ifndef VLM_TRAIN_PROFILE_REPORT_H
#define VLM_TRAIN_PROFILE_REPORT_H

#include "train_profile.h"

typedef struct vlm_profile_run {
    const vlm_spans *spans; /* all ended; the first one holds the others */
    vlm_peaks peaks;
    int64_t first, last; /* steps */
    int n_workers;
    const char *dtype;
    char device[128];
} vlm_profile_run;

/* Phases, operations and kernels, each table sorted by time and adding up to the whole.  Errors: NOMEM. */
vlmoe_status vlm_profile_write_tables(const vlm_profile_run *run, vlm_text *out, vlmoe_error *error);
/* The trace event format: complete events, microseconds. */
void vlm_profile_write_trace(const vlm_profile_run *run, vlm_text *out);

#endif
