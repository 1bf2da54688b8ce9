/* Where the time of a run's steps goes: phases, operations and kernels with their work, as tables and as a trace for chrome://tracing or
 * Perfetto. Spans are recorded in memory while the chosen steps run; both are made when the last of them is done, or the run ends. */
#ifndef VLM_TRAIN_PROFILE_H
#define VLM_TRAIN_PROFILE_H

#include "base_json.h"
#include "train.h"

typedef struct vlm_profile vlm_profile;

/* What this device reaches, measured when a profile begins. */
typedef struct vlm_peaks {
    double flops_per_second; /* best of a few products in the run's compute type */
    double bytes_per_second; /* of reading memory that no cache holds */
} vlm_peaks;
vlmoe_status vlm_peaks_measure(vlmoe_context *ctx, vlm_peaks *out, vlmoe_error *error);

/* Steps first .. last, counted from 1 as records count them; first 0 = the second to fourth step that is run, or the first one where the
 * run has no second. The trace goes to path, replaced whole; a folder that is missing is an error of finish.  Errors: ARG, NOMEM. */
vlmoe_status vlm_profile_create(int64_t first, int64_t last, const char *path, vlm_profile **out, vlmoe_error *error);
void vlm_profile_destroy(vlm_profile *profile); /* NULL allowed */

vlmoe_status vlm_profile_before_step(vlm_profile *profile, vlmoe_trainer *trainer, vlmoe_error *error);
vlmoe_status vlm_profile_after_step(vlm_profile *profile, vlmoe_trainer *trainer, vlmoe_error *error);
/* Stop measuring, if it has begun: tables and trace of the steps so far. Once; later calls do nothing. */
vlmoe_status vlm_profile_finish(vlm_profile *profile, vlmoe_trainer *trainer, vlmoe_error *error);
/* The tables; NULL when no step was measured. */
const char *vlm_profile_tables(const vlm_profile *profile);

#endif
