/* From files, includes and overrides to a resolved config. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "config_value.h"

enum { MAX_INCLUDE_DEPTH = 16, MAX_CONFIG_BYTES = 1 << 22 };

static vlmoe_status unknown_key(const char *section, const char *name, const char *where,
                                vlmoe_error *error)
{
    const vlm_key *near = vlm_key_nearest(section, name);
    return vlm_fail(error, VLMOE_E_ARG, "%s: %s.%s is not a key; the nearest known one is %s.%s",
                    where, section, name, near->section, near->name);
}

static vlmoe_status unknown_section(const char *section, const char *where, vlmoe_error *error)
{
    const char *best = vlm_key_sections[0].name;
    for (int i = 1; i < vlm_n_key_sections; i++)
        if (vlm_edit_distance(vlm_key_sections[i].name, section) < vlm_edit_distance(best, section))
            best = vlm_key_sections[i].name;
    return vlm_fail(error, VLMOE_E_ARG, "%s: %s is not a section; the nearest known one is %s",
                    where, section, best);
}

static bool is_section(const char *name)
{
    for (int i = 0; i < vlm_n_key_sections; i++)
        if (!strcmp(vlm_key_sections[i].name, name)) return true;
    return false;
}

static vlmoe_status apply_section(vlmoe_config *config, const vlm_value *section, const char *where,
                                  vlmoe_error *error)
{
    const char *name = vlm_json_key(section);
    if (!is_section(name)) return unknown_section(name, where, error);
    if (vlm_json_kind_of(section) != VLM_JSON_OBJECT)
        return vlm_fail(error, VLMOE_E_ARG, "%s: section %s must be an object, found %s", where,
                        name, vlm_json_kind_name(vlm_json_kind_of(section)));
    for (const vlm_value *value = vlm_json_first(section); value; value = vlm_json_next(value)) {
        const vlm_key *key = vlm_key_find(name, vlm_json_key(value));
        if (!key) return unknown_key(name, vlm_json_key(value), where, error);
        VLM_TRY(vlm_key_set(key, config, value, where, error));
    }
    return VLMOE_OK;
}

static vlmoe_status apply_document(vlmoe_config *config, const vlm_json *doc, const char *where,
                                   vlmoe_error *error)
{
    const vlm_value *root = vlm_json_root(doc);
    if (vlm_json_kind_of(root) != VLM_JSON_OBJECT)
        return vlm_fail(error, VLMOE_E_ARG, "%s: a config is an object of sections, found %s",
                        where, vlm_json_kind_name(vlm_json_kind_of(root)));
    for (const vlm_value *section = vlm_json_first(root); section; section = vlm_json_next(section))
        if (strcmp(vlm_json_key(section), "include"))
            VLM_TRY(apply_section(config, section, where, error));
    return VLMOE_OK;
}

static vlmoe_status apply_file(vlmoe_config *config, const char *path, int depth,
                               vlmoe_error *error);

static vlmoe_status apply_include(vlmoe_config *config, const vlm_value *item, const char *path,
                                  int depth, vlmoe_error *error)
{
    const char *name = vlm_json_text(item);
    if (!name)
        return vlm_fail(error, VLMOE_E_ARG, "%s: include must be a file name or a list of them",
                        path);
    if (depth == MAX_INCLUDE_DEPTH)
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s: includes are nested more than %d deep; does a file include itself?",
                        path, MAX_INCLUDE_DEPTH);
    char *dir = vlm_path_dir(path), *full = dir ? vlm_path_join(dir, name) : NULL;
    vlmoe_status st = full ? apply_file(config, full, depth + 1, error)
                           : vlm_fail(error, VLMOE_E_NOMEM, "out of memory");
    vlm_free(full);
    vlm_free(dir);
    return st;
}

static vlmoe_status apply_includes(vlmoe_config *config, const vlm_json *doc, const char *path,
                                   int depth, vlmoe_error *error)
{
    const vlm_value *include = vlm_json_get(vlm_json_root(doc), "include");
    if (!include) return VLMOE_OK;
    if (vlm_json_kind_of(include) != VLM_JSON_ARRAY)
        return apply_include(config, include, path, depth, error);
    for (const vlm_value *item = vlm_json_first(include); item; item = vlm_json_next(item))
        VLM_TRY(apply_include(config, item, path, depth, error));
    return VLMOE_OK;
}

static vlmoe_status apply_file(vlmoe_config *config, const char *path, int depth,
                               vlmoe_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    vlm_json *doc = NULL;
    VLM_TRY(vlm_file_read(path, MAX_CONFIG_BYTES, &text, &bytes, error));
    vlmoe_status st = vlm_json_parse(text, bytes, path, true, &doc, error);
    if (!st) st = apply_includes(config, doc, path, depth, error);
    if (!st) st = apply_document(config, doc, path, error);
    vlm_json_free(doc);
    vlm_free(text);
    return st;
}

/* "section.key=value": value is JSON; a text may come without quotes. */
static vlmoe_status apply_override(vlmoe_config *config, const char *set, vlmoe_error *error)
{
    char section[64], name[64];
    int length = 0;
    if (sscanf(set, "%63[a-z0-9_].%63[a-z0-9_]=%n", section, name, &length) != 2 || !length)
        return vlm_fail(error, VLMOE_E_ARG, "\"%s\" is not of the form section.key=value", set);
    if (!is_section(section)) return unknown_section(section, set, error);
    const vlm_key *key = vlm_key_find(section, name);
    if (!key) return unknown_key(section, name, set, error);
    const char *text = set + length;
    if ((key->type == VLM_KEY_TEXT || key->type == VLM_KEY_CHOICE) && text[0] != '"')
        return vlm_key_set_text(key, config, text, set, error);
    vlm_json *doc = NULL;
    VLM_TRY(vlm_json_parse(text, strlen(text), set, false, &doc, error));
    vlmoe_status st = vlm_key_set(key, config, vlm_json_root(doc), set, error);
    vlm_json_free(doc);
    return st;
}

vlmoe_status vlm_config_default(vlmoe_config **out, vlmoe_error *error)
{
    vlmoe_config *config = vlm_alloc(sizeof *config);
    if (!config) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a config");
    vlmoe_status st = VLMOE_OK;
    for (int i = 0; i < vlm_n_keys && !st; i++) {
        vlm_json *doc = NULL;
        st = vlm_json_parse(vlm_keys[i].standard, strlen(vlm_keys[i].standard), "default", false,
                            &doc, error);
        if (!st) st = vlm_key_set(&vlm_keys[i], config, vlm_json_root(doc), "default", error);
        vlm_json_free(doc);
    }
    if (st) vlmoe_config_destroy(config);
    else *out = config;
    return st;
}

void vlmoe_config_destroy(vlmoe_config *config)
{
    if (!config) return;
    for (int i = 0; i < vlm_n_keys; i++) vlm_key_free(&vlm_keys[i], config);
    vlm_free(config->last_get);
    vlm_free(config);
}

vlmoe_status vlm_config_parse(const char *text, size_t bytes, const char *name, vlmoe_config **out,
                              vlmoe_error *error)
{
    vlmoe_config *config = NULL;
    vlm_json *doc = NULL;
    VLM_TRY(vlm_config_default(&config, error));
    vlmoe_status st = vlm_json_parse(text, bytes, name, true, &doc, error);
    if (!st) st = apply_document(config, doc, name, error);
    if (!st) st = vlm_config_check(config, error);
    vlm_json_free(doc);
    if (st) vlmoe_config_destroy(config);
    else *out = config;
    return st;
}

vlmoe_status vlmoe_config_load(const char *path, int n_set, const char *const *set,
                               vlmoe_config **out, vlmoe_error *error)
{
    vlmoe_config *config = NULL;
    if (error) *error = (vlmoe_error){VLMOE_OK, ""};
    VLM_TRY(vlm_config_default(&config, error));
    vlmoe_status st = path ? apply_file(config, path, 0, error) : VLMOE_OK;
    for (int i = 0; i < n_set && !st; i++) st = apply_override(config, set[i], error);
    if (!st) st = vlm_config_check(config, error);
    if (st) vlmoe_config_destroy(config);
    else *out = config;
    return st;
}
