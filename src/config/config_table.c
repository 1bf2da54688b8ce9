/* config.def as a table, and look-up in it. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "config_table.h"

#define AT(section, name) offsetof(vlmoe_config, section.name)
#define NUMBER            VLM_KEY_NUMBER
#define EXEC              VLM_KEY_EXEC
#define VLM_SECTION(section, help)
#define VLM_END(section)
#define VLM_INT(section, name, def, min, max, kind, help)                                          \
    {#section, #name,         VLM_KEY_INT,   kind, AT(section, name),                              \
     #def,     (double)(min), (double)(max), NULL, help},
#define VLM_REAL(section, name, def, min, max, kind, help)                                         \
    {#section, #name, VLM_KEY_REAL, kind, AT(section, name), #def, min, max, NULL, help},
#define VLM_BOOL(section, name, def, kind, help)                                                   \
    {#section, #name, VLM_KEY_BOOL, kind, AT(section, name), #def, 0, 0, NULL, help},
#define VLM_TEXT(section, name, def, kind, help)                                                   \
    {#section, #name, VLM_KEY_TEXT, kind, AT(section, name), "\"" def "\"", 0, 0, NULL, help},
#define VLM_CHOICE(section, name, def, choices, kind, help)                                        \
    {#section, #name, VLM_KEY_CHOICE, kind, AT(section, name), "\"" def "\"", 0, 0, choices, help},
#define VLM_INTS(section, name, def, min, max, kind, help)                                         \
    {#section, #name,         VLM_KEY_INTS,  kind, AT(section, name),                              \
     def,      (double)(min), (double)(max), NULL, help},
#define VLM_REALS(section, name, def, min, max, kind, help)                                        \
    {#section, #name, VLM_KEY_REALS, kind, AT(section, name), def, min, max, NULL, help},
#define VLM_TEXTS(section, name, def, kind, help)                                                  \
    {#section, #name, VLM_KEY_TEXTS, kind, AT(section, name), def, 0, 0, NULL, help},
const vlm_key vlm_keys[] = {
#include "config.def"
};
const int vlm_n_keys = VLM_COUNT(vlm_keys);
#undef VLM_SECTION
#undef VLM_INT
#undef VLM_REAL
#undef VLM_BOOL
#undef VLM_TEXT
#undef VLM_CHOICE
#undef VLM_INTS
#undef VLM_REALS
#undef VLM_TEXTS

#define VLM_SECTION(section, help) {#section, help},
#define VLM_INT(section, name, def, min, max, kind, help)
#define VLM_REAL(section, name, def, min, max, kind, help)
#define VLM_BOOL(section, name, def, kind, help)
#define VLM_TEXT(section, name, def, kind, help)
#define VLM_CHOICE(section, name, def, choices, kind, help)
#define VLM_INTS(section, name, def, min, max, kind, help)
#define VLM_REALS(section, name, def, min, max, kind, help)
#define VLM_TEXTS(section, name, def, kind, help)
const vlm_key_section vlm_key_sections[] = {
#include "config.def"
};
const int vlm_n_key_sections = VLM_COUNT(vlm_key_sections);

const vlm_key *vlm_key_find(const char *section, const char *name)
{
    for (int i = 0; i < vlm_n_keys; i++)
        if (!strcmp(vlm_keys[i].section, section) && !strcmp(vlm_keys[i].name, name))
            return &vlm_keys[i];
    return NULL;
}

const vlm_key *vlm_key_nearest(const char *section, const char *name)
{
    const vlm_key *best = &vlm_keys[0];
    int best_distance = INT_MAX;
    for (int i = 0; i < vlm_n_keys; i++) {
        int same_name = vlm_edit_distance(vlm_keys[i].name, name);
        int distance = 2 * same_name + vlm_edit_distance(vlm_keys[i].section, section);
        if (distance < best_distance) {
            best_distance = distance;
            best = &vlm_keys[i];
        }
    }
    return best;
}

static void write_ints(const vlm_ints *list, vlm_text *out)
{
    for (int64_t i = 0; i < list->n; i++)
        vlm_text_put(out, "%s%lld", i ? ", " : "", (long long)list->at[i]);
}

static void write_reals(const vlm_reals *list, vlm_text *out)
{
    for (int64_t i = 0; i < list->n; i++) {
        if (i) vlm_text_put(out, ", ");
        vlm_text_json_number(out, list->at[i]);
    }
}

static void write_texts(const vlm_texts *list, vlm_text *out)
{
    for (int64_t i = 0; i < list->n; i++) {
        if (i) vlm_text_put(out, ", ");
        vlm_text_json_string(out, list->at[i], strlen(list->at[i]));
    }
}

void vlm_key_write(const vlm_key *key, const vlmoe_config *config, vlm_text *out)
{
    const void *value = vlm_key_value(key, config);
    bool is_list =
        key->type == VLM_KEY_INTS || key->type == VLM_KEY_REALS || key->type == VLM_KEY_TEXTS;
    if (is_list) vlm_text_put(out, "[");
    switch (key->type) {
    case VLM_KEY_INT:
        vlm_text_put(out, "%lld", (long long)*(const int64_t *)value);
        break;
    case VLM_KEY_REAL:
        vlm_text_json_number(out, *(const double *)value);
        break;
    case VLM_KEY_BOOL:
        vlm_text_put(out, "%s", *(const bool *)value ? "true" : "false");
        break;
    case VLM_KEY_TEXT:
    case VLM_KEY_CHOICE:
        vlm_text_json_string(out, *(char *const *)value, strlen(*(char *const *)value));
        break;
    case VLM_KEY_INTS:
        write_ints(value, out);
        break;
    case VLM_KEY_REALS:
        write_reals(value, out);
        break;
    case VLM_KEY_TEXTS:
        write_texts(value, out);
        break;
    }
    if (is_list) vlm_text_put(out, "]");
}
