/* What vlmoe-inspect prints, one function a view. All return exit codes and report failures. */
#ifndef VLM_CLI_INSPECT_H
#define VLM_CLI_INSPECT_H

#include "cli_model.h"

/* A checkpoint: who wrote it, its files against their checksums, its parameters by group. */
int vlm_cli_inspect_checkpoint(const char *tool, const char *path);
/* The config as a checkpoint or a step dump holds it. */
int vlm_cli_inspect_config(const char *tool, const char *path);

/* Any safetensors file: metadata that libvlmoe writes, every tensor; with figures the mean,
 * deviation, range and NaNs of each. */
int vlm_cli_inspect_file(const char *tool, const char *path, bool figures);
/* The figures of a checkpoint's model.safetensors and state.safetensors. */
int vlm_cli_inspect_tensors(const char *tool, const char *path);

/* Routing over held-out data: of every sparse layer the load of each expert. */
int vlm_cli_inspect_routing(const char *tool, const vlm_cli_model_options *options);

#endif
