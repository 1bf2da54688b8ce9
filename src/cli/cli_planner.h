/* Plans on the screen: a config on R ranks of a machine; and the machine's file. */
#ifndef VLM_CLI_PLANNER_H
#define VLM_CLI_PLANNER_H

#include "config.h"

typedef struct vlm_cli_plan {
    const char *ranks;   /* "1,2,32"; NULL: run.ranks */
    const char *machine; /* a file; NULL: the present machine, measured now */
    const char *skew;    /* rows of the busiest rank over the mean; NULL: 1 */
    const char *json;    /* a file for the same numbers; NULL: none */
} vlm_cli_plan;
/* Exit codes. */
int vlm_cli_plan_show(const char *tool, const vlmoe_config *config, const vlm_cli_plan *plan);
int vlm_cli_calibrate(const char *tool, const vlmoe_config *config, const char *path);

#endif
