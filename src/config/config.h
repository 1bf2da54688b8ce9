/* A run's settings: the struct generated from config.def, loading, overriding, printing, hashing.
 * Not here: what the keys mean to a model; each layer takes the section it needs. */
#ifndef VLM_CONFIG_H
#define VLM_CONFIG_H

#include "base.h"
#include "vlmoe/config.h"

typedef struct vlm_ints { int64_t n; int64_t *at; } vlm_ints;
typedef struct vlm_reals { int64_t n; double *at; } vlm_reals;
typedef struct vlm_texts { int64_t n; char **at; } vlm_texts;

/* struct vlm_cfg_model { int64_t layers; ... } and so on. A choice is held as its text. */
#define VLM_SECTION(section, help) typedef struct vlm_cfg_##section {
#define VLM_INT(section, name, def, min, max, kind, help) int64_t name;
#define VLM_REAL(section, name, def, min, max, kind, help) double name;
#define VLM_BOOL(section, name, def, kind, help) bool name;
#define VLM_TEXT(section, name, def, kind, help) char *name;
#define VLM_CHOICE(section, name, def, choices, kind, help) char *name;
#define VLM_INTS(section, name, def, min, max, kind, help) vlm_ints name;
#define VLM_REALS(section, name, def, min, max, kind, help) vlm_reals name;
#define VLM_TEXTS(section, name, def, kind, help) vlm_texts name;
#define VLM_END(section) } vlm_cfg_##section;
#include "config.def"
#undef VLM_SECTION
#undef VLM_INT
#undef VLM_REAL
#undef VLM_BOOL
#undef VLM_TEXT
#undef VLM_CHOICE
#undef VLM_INTS
#undef VLM_REALS
#undef VLM_TEXTS
#undef VLM_END

struct vlmoe_config {
    vlm_cfg_run run;
    vlm_cfg_model model;
    vlm_cfg_moe moe;
    vlm_cfg_objective objective;
    vlm_cfg_data data;
    vlm_cfg_optim optim;
    vlm_cfg_tokeniser tokeniser;
    vlm_cfg_task task;
    char *last_get; /* of vlmoe_config_get */
};

/* All defaults. Errors: NOMEM. */
vlmoe_status vlm_config_default(vlmoe_config **out, vlmoe_error *error);

/* The JSON of a whole config, keys in the order of config.def, as --print-config prints it; numbers_only leaves EXEC keys out
 * (what checkpoints hold). Caller frees with vlm_text_free. */
struct vlm_text;
void vlm_config_write(const vlmoe_config *config, bool numbers_only, struct vlm_text *out);

/* Every key as a line "section.key<tab>value", in the order of config.def. */
void vlm_config_list(const vlmoe_config *config, struct vlm_text *out);

/* Read what vlm_config_write wrote (or any JSON config text); name is used in messages; missing keys take their defaults. */
vlmoe_status vlm_config_parse(const char *text, size_t bytes, const char *name, vlmoe_config **out, vlmoe_error *error);

uint64_t vlm_config_hash(const vlmoe_config *config); /* of the NUMBER keys */

/* Keys of kind NUMBER in which a and b differ: "section.key: 4 (checkpoint) and 6 (config)", one a line, appended to out. */
int vlm_config_differences(const vlmoe_config *a, const vlmoe_config *b, struct vlm_text *out);

/* docs/CONFIG.md (markdown = true) or --help's table. */
void vlm_config_describe(bool markdown, struct vlm_text *out);

/* What no single key can say: heads divide width, patch divides image_size, layers in range, k <= experts, mixes match sets ...
 * Called by load and parse. Errors: ARG naming the keys. */
vlmoe_status vlm_config_check(const vlmoe_config *config, vlmoe_error *error);

#endif
