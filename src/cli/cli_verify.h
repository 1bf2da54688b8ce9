/* vlmoe-train --verify: a layout of ranks against one rank, before the hours are spent. */
#ifndef VLM_CLI_VERIFY_H
#define VLM_CLI_VERIFY_H

#include "train_launch.h"

typedef struct vlm_cli_verify_options {
    int64_t steps;
    const char *from; /* checkpoint or run to go on from; NULL = the beginning */
    int n_force;
    const char *const *force;
} vlm_cli_verify_options;

/* Returns an exit code: CLI_OK, CLI_DIFFERS, or that of a failure. Rank 0 says what was found. */
int vlm_cli_verify(const char *tool, const vlmoe_config *config, vlm_launch *launch, const vlm_cli_verify_options *options);

#endif
