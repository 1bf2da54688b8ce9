/* The commands of vlmoe-data, one file each. argv[0] is "vlmoe-data COMMAND". */
#ifndef VLM_CLI_DATA_H
#define VLM_CLI_DATA_H

#include "data_shard.h"

int vlm_cli_data_pack(int argc, char **argv);
int vlm_cli_data_answers(int argc, char **argv);
int vlm_cli_data_inspect(int argc, char **argv);
int vlm_cli_data_verify(int argc, char **argv);
int vlm_cli_data_vocab(int argc, char **argv);

/* The set of one command-line argument, a folder or a tar; NULL = reported, *code is the exit code.
 */
vlm_shards *vlm_cli_data_open(const char *tool, const char *path, int *code);

#endif
