/* Machine files: one table of keys reads, checks and writes them. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "train_machine.h"

enum { MAX_FILE_BYTES = 1 << 20 };

/* section NULL: a key of the file itself. All numbers are doubles of vlm_machine. */
typedef struct machine_key {
    const char *section, *key;
    size_t at;
    double least, most;
} machine_key;

#define AT(member) offsetof(vlm_machine, member)
static const machine_key keys[] = {
    {NULL, "memory_mib", AT(memory_mib), 1.0, 1e12},
    {NULL, "memory_gbytes", AT(memory_gbytes), 1e-3, 1e9},
    {"product_gflops", "f32", AT(product_gflops[0]), 1e-3, 1e9},
    {"product_gflops", "bf16", AT(product_gflops[1]), 1e-3, 1e9},
    {"attention_gflops", "f32", AT(attention_gflops[0]), 1e-3, 1e9},
    {"attention_gflops", "bf16", AT(attention_gflops[1]), 1e-3, 1e9},
    {"node_link", "gbytes", AT(node.gbytes), 1e-6, 1e9},
    {"node_link", "microseconds", AT(node.microseconds), 0.0, 1e9},
    {"network_link", "gbytes", AT(network.gbytes), 1e-6, 1e9},
    {"network_link", "microseconds", AT(network.microseconds), 0.0, 1e9},
};
static const char *const sections[] = {"product_gflops", "attention_gflops", "node_link",
                                       "network_link"};

static double *number_of(vlm_machine *machine, const machine_key *key)
{
    return (double *)(void *)((char *)machine + key->at);
}

static const machine_key *find_key(const char *section, const char *name)
{
    for (int i = 0; i < VLM_COUNT(keys); i++) {
        bool same_section = section ? keys[i].section && !strcmp(keys[i].section, section)
                                    : keys[i].section == NULL;
        if (same_section && !strcmp(keys[i].key, name)) return &keys[i];
    }
    return NULL;
}

static bool is_section(const char *name)
{
    for (int i = 0; i < VLM_COUNT(sections); i++)
        if (!strcmp(sections[i], name)) return true;
    return false;
}

static bool is_plain_key(const char *name)
{
    return !strcmp(name, "name") || !strcmp(name, "ranks_per_node") || !strcmp(name, "shares_node");
}

static vlmoe_status refuse_unknown(const vlm_value *object, const char *section, const char *path,
                                   vlmoe_error *error)
{
    for (const vlm_value *v = vlm_json_first(object); v; v = vlm_json_next(v)) {
        const char *key = vlm_json_key(v);
        bool is_known =
            find_key(section, key) || (!section && (is_plain_key(key) || is_section(key)));
        if (!is_known)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s: unknown key %s%s%s", path,
                            section ? section : "", section ? "." : "", key);
    }
    return VLMOE_OK;
}

static vlmoe_status read_number(const vlm_value *root, const machine_key *key, const char *path,
                                vlm_machine *out, vlmoe_error *error)
{
    const vlm_value *object = key->section ? vlm_json_get(root, key->section) : root;
    const vlm_value *value = object ? vlm_json_get(object, key->key) : NULL;
    const char *section = key->section ? key->section : "", *dot = key->section ? "." : "";
    if (!value)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: %s%s%s is missing", path, section, dot,
                        key->key);
    double number = vlm_json_kind_of(value) == VLM_JSON_NUMBER ? vlm_json_number(value) : NAN;
    if (!(number >= key->least && number <= key->most))
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: %s%s%s must be a number from %g to %g", path,
                        section, dot, key->key, key->least, key->most);
    *number_of(out, key) = number;
    return VLMOE_OK;
}

static vlmoe_status read_plain(const vlm_value *root, const char *path, vlm_machine *out,
                               vlmoe_error *error)
{
    const vlm_value *name = vlm_json_get(root, "name"),
                    *ranks = vlm_json_get(root, "ranks_per_node"),
                    *shares = vlm_json_get(root, "shares_node");
    const char *text = name ? vlm_json_text(name) : NULL;
    if (!text) return vlm_fail(error, VLMOE_E_FORMAT, "%s: name must be a text", path);
    if (!ranks || !vlm_json_int(ranks, &out->ranks_per_node) || out->ranks_per_node < 1)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: ranks_per_node must be a whole number from 1",
                        path);
    if (!shares || vlm_json_kind_of(shares) != VLM_JSON_BOOL)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: shares_node must be true or false", path);
    out->shares_node = vlm_json_bool(shares);
    snprintf(out->name, sizeof out->name, "%s", text);
    return VLMOE_OK;
}

static vlmoe_status read_all(const vlm_value *root, const char *path, vlm_machine *out,
                             vlmoe_error *error)
{
    VLM_TRY(refuse_unknown(root, NULL, path, error));
    for (int i = 0; i < VLM_COUNT(sections); i++)
        VLM_TRY(refuse_unknown(vlm_json_get(root, sections[i]), sections[i], path, error));
    VLM_TRY(read_plain(root, path, out, error));
    for (int i = 0; i < VLM_COUNT(keys); i++)
        VLM_TRY(read_number(root, &keys[i], path, out, error));
    return VLMOE_OK;
}

vlmoe_status vlm_machine_read(const char *path, vlm_machine *out, vlmoe_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    vlm_json *doc = NULL;
    vlm_machine machine = {.ranks_per_node = 0};
    VLM_TRY(vlm_file_read(path, MAX_FILE_BYTES, &text, &bytes, error));
    vlmoe_status st = vlm_json_parse(text, bytes, path, true, &doc, error);
    if (!st) st = read_all(vlm_json_root(doc), path, &machine, error);
    vlm_json_free(doc);
    vlm_free(text);
    if (!st) *out = machine;
    return st;
}

static void put_section(const vlm_machine *machine, const char *section, vlm_text *out)
{
    const char *separator = "";
    vlm_text_put(out, ",\n  \"%s\": {", section);
    for (int i = 0; i < VLM_COUNT(keys); i++) {
        if (!keys[i].section || strcmp(keys[i].section, section)) continue;
        vlm_machine copy = *machine;
        vlm_text_put(out, "%s\"%s\": ", separator, keys[i].key);
        vlm_text_json_number(out, *number_of(&copy, &keys[i]));
        separator = ", ";
    }
    vlm_text_put(out, "}");
}

void vlm_machine_write(const vlm_machine *machine, vlm_text *out)
{
    vlm_text_put(out, "{\n  \"name\": ");
    vlm_text_json_string(out, machine->name, strlen(machine->name));
    vlm_text_put(out, ",\n  \"ranks_per_node\": %lld,\n  \"shares_node\": %s",
                 (long long)machine->ranks_per_node, machine->shares_node ? "true" : "false");
    vlm_text_put(out, ",\n  \"memory_mib\": ");
    vlm_text_json_number(out, machine->memory_mib);
    vlm_text_put(out, ",\n  \"memory_gbytes\": ");
    vlm_text_json_number(out, machine->memory_gbytes);
    for (int i = 0; i < VLM_COUNT(sections); i++) put_section(machine, sections[i], out);
    vlm_text_put(out, "\n}\n");
}
