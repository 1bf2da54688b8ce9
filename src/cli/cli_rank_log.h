/* What a rank had to say, kept for a failure: rank 0's lines go to the screen as well, the others' are shown to nobody while all is well. */
#ifndef VLM_CLI_RANK_LOG_H
#define VLM_CLI_RANK_LOG_H

#include "cli_screen.h"
#include "train.h"

typedef struct vlm_rank_log {
    vlm_seat *seat;       /* NULL: there is one rank, and no file */
    vlm_screen *screen;   /* NULL: not shown */
    vlm_text lines;       /* the first of them */
} vlm_rank_log;

/* A vlmoe_log_fn; user is the vlm_rank_log. */
void vlm_rank_log_line(void *user, int level, const char *area, const char *text);
/* After a failure: run.out/rank-NN.log with the failure, how far the rank came and its lines. trainer may be NULL. What goes wrong here
 * is no matter any more. */
void vlm_rank_log_write(vlm_rank_log *log, const vlmoe_config *config, const vlmoe_trainer *trainer, const vlmoe_error *failure);
void vlm_rank_log_free(vlm_rank_log *log);

#endif
