/* One key's value: types, bounds, ownership. */
#include <math.h>
#include <string.h>
#include "config_value.h"

static const char *const type_names[] = {"a whole number",         "a number",
                                         "true or false",          "a text",
                                         "one of a list of words", "a list of whole numbers",
                                         "a list of numbers",      "a list of texts"};

static vlmoe_status fail_type(const vlm_key *key, const vlm_value *value, const char *where,
                              vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_ARG, "%s: %s.%s must be %s, found %s", where, key->section,
                    key->name, type_names[key->type], vlm_json_kind_name(vlm_json_kind_of(value)));
}

static vlmoe_status check_bounds(const vlm_key *key, double number, const char *where,
                                 vlmoe_error *error)
{
    if (isfinite(number) && number >= key->min && number <= key->max) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG, "%s: %s.%s must lie between %.15g and %.15g, found %.15g",
                    where, key->section, key->name, key->min, key->max, number);
}

static vlmoe_status read_int(const vlm_key *key, const vlm_value *value, const char *where,
                             int64_t *out, vlmoe_error *error)
{
    int64_t number = 0;
    if (vlm_json_kind_of(value) != VLM_JSON_NUMBER) return fail_type(key, value, where, error);
    if (!vlm_json_int(value, &number))
        return vlm_fail(error, VLMOE_E_ARG, "%s: %s.%s must be %s, found %.15g", where,
                        key->section, key->name, type_names[key->type], vlm_json_number(value));
    VLM_TRY(check_bounds(key, (double)number, where, error));
    *out = number;
    return VLMOE_OK;
}

static vlmoe_status read_real(const vlm_key *key, const vlm_value *value, const char *where,
                              double *out, vlmoe_error *error)
{
    if (vlm_json_kind_of(value) != VLM_JSON_NUMBER) return fail_type(key, value, where, error);
    VLM_TRY(check_bounds(key, vlm_json_number(value), where, error));
    *out = vlm_json_number(value);
    return VLMOE_OK;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (!strncmp(at, text, length) && (at[length] == '|' || !at[length]) && length) return true;
    return false;
}

vlmoe_status vlm_key_set_text(const vlm_key *key, vlmoe_config *config, const char *text,
                              const char *where, vlmoe_error *error)
{
    char **slot = vlm_key_value(key, config);
    if (key->type == VLM_KEY_CHOICE && !is_choice(key->choices, text))
        return vlm_fail(error, VLMOE_E_ARG, "%s: %s.%s must be one of %s, found \"%s\"", where,
                        key->section, key->name, key->choices, text);
    char *copy = vlm_strdup(text);
    if (!copy)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s.%s", key->section, key->name);
    vlm_free(*slot);
    *slot = copy;
    return VLMOE_OK;
}

static vlmoe_status set_list(const vlm_key *key, vlmoe_config *config, const vlm_value *value,
                             const char *where, vlmoe_error *error)
{
    if (vlm_json_kind_of(value) != VLM_JSON_ARRAY) return fail_type(key, value, where, error);
    vlmoe_status st = VLMOE_OK;
    int64_t n = vlm_json_size(value), i = 0;
    vlm_ints list = {
        n, vlm_alloc_array((size_t)n,
                           sizeof(int64_t))}; /* all three lists have this layout: 8-byte items */
    if (!list.at)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s.%s", key->section, key->name);
    _Static_assert(sizeof(vlm_ints) == sizeof(vlm_texts) && sizeof(char *) == 8,
                   "lists share one layout");
    for (const vlm_value *item = vlm_json_first(value); item && !st;
         item = vlm_json_next(item), i++) {
        if (key->type == VLM_KEY_INTS) {
            st = read_int(key, item, where, &list.at[i], error);
        } else if (key->type == VLM_KEY_REALS) {
            st = read_real(key, item, where, (double *)&list.at[i], error);
        } else {
            const char *text = vlm_json_text(item);
            char *copy = text ? vlm_strdup(text) : NULL;
            if (!text) st = fail_type(key, item, where, error);
            else if (!copy)
                st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s.%s", key->section,
                              key->name);
            memcpy(&list.at[i], &copy, sizeof copy);
        }
    }
    vlm_ints old = *(vlm_ints *)vlm_key_value(key, config);
    *(vlm_ints *)vlm_key_value(key, config) = list;
    if (st) { /* put the old value back, free the new one */
        vlm_key_free(key, config);
        *(vlm_ints *)vlm_key_value(key, config) = old;
        return st;
    }
    *(vlm_ints *)vlm_key_value(key, config) = old;
    vlm_key_free(key, config);
    *(vlm_ints *)vlm_key_value(key, config) = list;
    return VLMOE_OK;
}

vlmoe_status vlm_key_set(const vlm_key *key, vlmoe_config *config, const vlm_value *value,
                         const char *where, vlmoe_error *error)
{
    void *slot = vlm_key_value(key, config);
    switch (key->type) {
    case VLM_KEY_INT:
        return read_int(key, value, where, slot, error);
    case VLM_KEY_REAL:
        return read_real(key, value, where, slot, error);
    case VLM_KEY_BOOL:
        if (vlm_json_kind_of(value) != VLM_JSON_BOOL) return fail_type(key, value, where, error);
        *(bool *)slot = vlm_json_bool(value);
        return VLMOE_OK;
    case VLM_KEY_TEXT:
    case VLM_KEY_CHOICE:
        if (!vlm_json_text(value)) return fail_type(key, value, where, error);
        return vlm_key_set_text(key, config, vlm_json_text(value), where, error);
    default:
        return set_list(key, config, value, where, error);
    }
}

void vlm_key_free(const vlm_key *key, vlmoe_config *config)
{
    void *slot = vlm_key_value(key, config);
    if (key->type == VLM_KEY_TEXT || key->type == VLM_KEY_CHOICE) {
        vlm_free(*(char **)slot);
        *(char **)slot = NULL;
    } else if (key->type >= VLM_KEY_INTS) {
        vlm_texts *list = slot;
        for (int64_t i = 0; key->type == VLM_KEY_TEXTS && i < list->n; i++) vlm_free(list->at[i]);
        vlm_free(list->at);
        *list = (vlm_texts){0, NULL};
    }
}
