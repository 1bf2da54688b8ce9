/* Memory by arena on the screen. */
#ifndef VLM_CLI_MEMORY_H
#define VLM_CLI_MEMORY_H

#include "train_launch.h"
#include "train_plan.h"

/* A line an arena in MiB, and all together; planned or held. */
void vlm_cli_show_memory(const char *title, const vlm_plan *plan, const vlmoe_config *config);
/* The most pages that this process ever held. */
void vlm_cli_show_peak(void);
/* Plan a config, print its sizes and work; with ranks, the memory of one of them. An exit code. */
int vlm_cli_dry_run(const char *tool, const vlmoe_config *config, const vlm_launch *launch);
/* What rank 0 has sent to others in `steps` steps, by purpose, beside what was planned of it; nothing where there is one rank. */
void vlm_cli_show_traffic(const vlmoe_trainer *trainer, const vlm_plan *plan, int64_t steps);
/* All of that in bytes and seconds, as JSON into a file.  Errors: NOMEM, IO. */
vlmoe_status vlm_cli_write_held(const char *path, const vlmoe_trainer *trainer, const vlm_plan *held, int64_t steps, vlmoe_error *error);
/* The words that a plan of this config has, from model.words or the text model.  Errors: ARG, those of the file. */
vlmoe_status vlm_cli_words_of(const vlmoe_config *config, int64_t *out, vlmoe_error *error);

#endif
