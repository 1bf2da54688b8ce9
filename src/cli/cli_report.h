/* The page of a run: gathered from its records and a checkpoint, drawn by src/report, written in one piece. */
#ifndef VLM_CLI_REPORT_H
#define VLM_CLI_REPORT_H

#include "cli_model.h"

typedef struct vlm_cli_page_options {
    const char *run;             /* folder with metrics.jsonl and config.json; either may be missing */
    vlm_cli_model_options model; /* checkpoint NULL = curves alone; limit 0 = data.val_samples */
    const char *out;             /* file of the page */
    const char *ending;          /* how the run ended; NULL = what its records say */
} vlm_cli_page_options;

/* Only what keeps the page itself from being made or written is an error: a missing checkpoint, missing held-out data or
 * unreadable records are said in the page. Errors: IO, NOMEM. */
vlmoe_status vlm_cli_page_make(const char *tool, const vlm_cli_page_options *options, vlmoe_error *error);

/* RUN/report.html, or for a checkpoint RUN/report-step-XXXXXXXX.html. Caller frees; NULL = out of memory. */
char *vlm_cli_page_path(const char *path);

#endif
