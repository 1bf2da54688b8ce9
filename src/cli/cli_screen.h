/* The progress of a training: one line that is drawn over on a terminal, whole lines elsewhere. */
#ifndef VLM_CLI_SCREEN_H
#define VLM_CLI_SCREEN_H

#include "base_json.h"
#include "train_report.h"

typedef struct vlm_screen {
    bool is_terminal;
    const vlmoe_config *config;
    double begin, step_seconds; /* moving mean */
    int64_t first_step;
    bool has_line;
    vlm_text line; /* of a step; kept, so that later steps ask for no memory */
} vlm_screen;

/* Hooks of a run; user is the vlm_screen. */
void vlm_screen_show(void *user, const char *kind, const vlmoe_step_report *report, const vlm_tally *tally);
void vlm_screen_saved(void *user, const char *folder);
void vlm_screen_log(void *user, int level, const char *area, const char *text);
void vlm_screen_end_line(vlm_screen *screen); /* what is drawn over stays */

#endif
