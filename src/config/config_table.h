/* The list of keys as a table, for code that walks all of them. */
#ifndef VLM_CONFIG_TABLE_H
#define VLM_CONFIG_TABLE_H

#include "config.h"

typedef enum vlm_key_type {
    VLM_KEY_INT, VLM_KEY_REAL, VLM_KEY_BOOL, VLM_KEY_TEXT, VLM_KEY_CHOICE, VLM_KEY_INTS, VLM_KEY_REALS, VLM_KEY_TEXTS
} vlm_key_type;
typedef enum vlm_key_kind { VLM_KEY_NUMBER, VLM_KEY_EXEC } vlm_key_kind;

typedef struct vlm_key {
    const char *section, *name;
    vlm_key_type type;
    vlm_key_kind kind;
    size_t offset;        /* of the value in vlmoe_config */
    const char *standard; /* default, as JSON text */
    double min, max;      /* INT, REAL and their lists */
    const char *choices;  /* CHOICE: "a|b" */
    const char *help;
} vlm_key;

typedef struct vlm_key_section {
    const char *name, *help;
} vlm_key_section;

extern const vlm_key vlm_keys[];
extern const int vlm_n_keys;
extern const vlm_key_section vlm_key_sections[];
extern const int vlm_n_key_sections;

static inline void *vlm_key_value(const vlm_key *key, const vlmoe_config *config)
{
    return (char *)config + key->offset;
}

/* By "section.name" or by the two parts; NULL when there is none. nearest finds the closest known full name, always one. */
const vlm_key *vlm_key_find(const char *section, const char *name);
const vlm_key *vlm_key_nearest(const char *section, const char *name);

/* Value of key as JSON text appended to out. */
struct vlm_text;
void vlm_key_write(const vlm_key *key, const vlmoe_config *config, struct vlm_text *out);

#endif
