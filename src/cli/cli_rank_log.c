/* Logs of ranks. */
#include "cli_rank_log.h"
#include <stdio.h>
#include "base_file.h"

enum { MAX_BYTES = 1 << 20 };

void vlm_rank_log_line(void *user, int level, const char *area, const char *text)
{
    vlm_rank_log *log = user;
    if (log->screen) vlm_screen_log(log->screen, level, area, text);
    if (log->seat && log->lines.bytes < MAX_BYTES)
        vlm_text_put(&log->lines, "%s: %s\n", area, text);
}

void vlm_rank_log_write(vlm_rank_log *log, const vlmoe_config *config, const vlmoe_trainer *trainer,
                        const vlmoe_error *failure)
{
    char name[32];
    vlm_text text = {0};
    if (!log->seat || vlm_dir_make(config->run.out, NULL)) return;
    snprintf(name, sizeof name, "rank-%02d.log", log->seat->rank);
    char *path = vlm_path_join(config->run.out, name);
    vlm_text_put(&text, "rank %d of %d: %s\n", log->seat->rank, log->seat->size, failure->text);
    vlm_text_put(&text, "last exchange with other ranks: %s\n", vlm_comm_last(log->seat->world));
    if (trainer)
        vlm_text_put(&text, "steps done: %lld of %lld\n", (long long)trainer->step,
                     (long long)config->run.steps);
    vlm_text_append(&text, log->lines.data, log->lines.bytes);
    if (path && !text.failed) (void)vlm_file_replace(path, text.data, text.bytes, NULL);
    vlm_free(path);
    vlm_text_free(&text);
}

void vlm_rank_log_free(vlm_rank_log *log)
{
    vlm_text_free(&log->lines);
}
