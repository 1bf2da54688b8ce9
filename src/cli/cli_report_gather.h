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

enum {
    VLM_PAGE_EXAMPLES = 16,
    VLM_PAGE_QUESTIONS = 8, /* of a tuned task that chooses among classes */
    VLM_PAGE_SEARCHES = 4   /* of retrieval, each way */
};

/* First walk over the held-out groups: examples with their predictions and reconstructions, codes of all pictures. Text of a failure
 * is in the trainer. */
vlmoe_status vlm_page_predict(vlmoe_trainer *trainer, vlm_report_model *out, vlm_page_place place[VLM_PAGE_EXAMPLES]);

/* Of a tuned task the first walk finds examples and predicts nothing; this evaluates as runs do, and says what was found for the same
 * examples (of retrieval: for the same pictures, and for some texts). Text of a failure is in the trainer. */
vlmoe_status vlm_page_answer(vlmoe_trainer *trainer, vlm_report_model *out);

/* Second walk, with the trainer's expert capacity: routes of the same examples, loads, drops, what experts take. */
vlmoe_status vlm_page_route(vlmoe_trainer *trainer, const vlm_page_place *place, vlm_report_model *out);

/* A sample's picture [image_size, image_size, 3] at the page's size [side, side, 3]; NULL = out of memory. */
int64_t vlm_page_side(const vlmoe_trainer *trainer);
uint8_t *vlm_page_picture(vlmoe_trainer *trainer, uint8_t *pixels);

/* A piece cut to fit, never inside a character. */
void vlm_page_piece(const vlm_spm *spm, int32_t id, char out[VLM_REPORT_PIECE]);

#endif
