/* What a loaded model does with held-out data, as src/report wants it. Private to cli_report_*.c. */
#ifndef VLM_CLI_REPORT_GATHER_H
#define VLM_CLI_REPORT_GATHER_H

#include "report.h"
#include "train.h"

/* Where an example came from: its group among the held-out ones, and its places in that group. */
typedef struct vlm_page_place {
    int64_t group;
    int64_t picture, text; /* of the group's pictures and texts; -1 = none */
} vlm_page_place;

enum { VLM_PAGE_EXAMPLES = 16 };

/* First walk over the held-out groups: examples with their predictions and reconstructions, codes of all pictures. Text of a failure
 * is in the trainer. */
vlmoe_status vlm_page_predict(vlmoe_trainer *trainer, vlm_report_model *out, vlm_page_place place[VLM_PAGE_EXAMPLES]);

/* Second walk, with the trainer's expert capacity: routes of the same examples, loads, drops, what experts take. */
vlmoe_status vlm_page_route(vlmoe_trainer *trainer, const vlm_page_place *place, vlm_report_model *out);

/* A piece cut to fit, never inside a character. */
void vlm_page_piece(const vlm_spm *spm, int32_t id, char out[VLM_REPORT_PIECE]);

#endif
