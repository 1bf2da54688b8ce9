/* A trained model as the tools take it: which checkpoint, with which held-out data, from the
 * arguments that vlmoe-eval and vlmoe-inspect share. */
#ifndef VLM_CLI_MODEL_H
#define VLM_CLI_MODEL_H

#include "train.h"

enum { VLM_CLI_MAX_SETTINGS = 256 };

typedef struct vlm_cli_model_options {
    const char *config;     /* --config FILE; NULL = config.json of the checkpoint's run, if any */
    const char *checkpoint; /* a checkpoint or a run's folder; NULL = run.out of the config */
    bool best;              /* the best by held-out loss, not the newest */
    int64_t limit;          /* held-out samples of each stream; 0 = all */
    int n_set;              /* "section.key=value", applied last */
    const char *set[VLM_CLI_MAX_SETTINGS];
} vlm_cli_model_options;

typedef struct vlm_cli_model {
    vlmoe_trainer *trainer;
    char *path; /* of the checkpoint */
} vlm_cli_model;

/* The checkpoint that path and best mean: path itself, or the newest or best in a run's folder.
 * Caller frees. Errors: IO, FORMAT, NOMEM. */
vlmoe_status vlm_cli_checkpoint_find(const char *path, bool best, char **out, vlmoe_error *error);

/* Numbers come from the checkpoint, everything about where and how (held-out data, threads) from
 * the config; settings are applied on top of both. Number keys of the config that differ are said
 * on standard error. Errors: those of vlm_load; ARG (neither config nor checkpoint). */
vlmoe_status vlm_cli_model_open(const char *tool, const vlm_cli_model_options *options,
                                vlm_cli_model *out, vlmoe_error *error);
/* The model alone: no held-out data, no expert capacity, so that results depend on their own sample
 * alone. */
vlmoe_status vlm_cli_model_open_bare(const char *tool, const vlm_cli_model_options *options,
                                     vlm_cli_model *out, vlmoe_error *error);
void vlm_cli_model_close(vlm_cli_model *model);

/* Warnings and errors to standard error, "TOOL: warning: data: ..."; tool is its name. */
vlm_log vlm_cli_log(const char *tool);

/* Arguments after the options: settings. false = reported, too many or not section.key=value. */
bool vlm_cli_settings(const char *tool, int argc, char **argv, int first,
                      vlm_cli_model_options *options);

#endif
