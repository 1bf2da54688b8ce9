/* One key's value: from JSON, with its type and bounds checked, and freed. Inside src/config only. */
#ifndef VLM_CONFIG_VALUE_H
#define VLM_CONFIG_VALUE_H

#include "base_json.h"
#include "config_table.h"

/* The old value is freed on success and untouched on failure. where begins messages ("configs/x.json"). Errors: ARG, NOMEM. */
vlmoe_status vlm_key_set(const vlm_key *key, vlmoe_config *config, const vlm_value *value, const char *where, vlmoe_error *error);
void vlm_key_free(const vlm_key *key, vlmoe_config *config);
vlmoe_status vlm_key_set_text(const vlm_key *key, vlmoe_config *config, const char *text, const char *where, vlmoe_error *error); /* TEXT and CHOICE */

#endif
