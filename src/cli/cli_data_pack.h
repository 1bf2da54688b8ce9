/* The options of vlmoe-data pack, which makes shards of lists (cli_data_pack.c) and of labelled sets
 * (cli_data_pack_set.c). */
#ifndef VLM_CLI_DATA_PACK_H
#define VLM_CLI_DATA_PACK_H

#include "data_rows.h"

typedef struct vlm_cli_pack {
    vlm_rows_options rows; /* format NULL = a list */
    const char *out;
    int64_t shard_mib, skip, limit, max_pixels;
    bool skips; /* what is bad is named and left out */
    bool is_dry;
} vlm_cli_pack;

/* An exit code; messages are printed. */
int vlm_cli_data_pack_set(const char *tool, const vlm_cli_pack *options);

#endif
