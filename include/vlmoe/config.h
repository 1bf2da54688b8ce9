/* A run's settings: every key of docs/CONFIG.md, resolved. */
#ifndef VLMOE_CONFIG_H
#define VLMOE_CONFIG_H

#include "vlmoe/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlmoe_config vlmoe_config;

/* Read a JSON config (comments allowed; "include": "other.json" or a list, relative to the file, read first), then apply n_set
 * overrides "section.key=value" in order. path NULL = all defaults. An unknown key is an error that names the nearest known one.
 * *out is yours: vlmoe_config_destroy. error may be NULL.  Errors: IO, FORMAT, ARG, NOMEM. */
VLMOE_API vlmoe_status vlmoe_config_load(const char *path, int n_set, const char *const *set,
                                         vlmoe_config **out, vlmoe_error *error);
VLMOE_API void vlmoe_config_destroy(vlmoe_config *config); /* NULL allowed */

/* The value of "section.key" as JSON text, valid until the next get; NULL when there is no such key. */
VLMOE_API const char *vlmoe_config_get(vlmoe_config *config, const char *key);

#ifdef __cplusplus
}
#endif
#endif
