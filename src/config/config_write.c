/* Out of a config: JSON, hash, differences, documentation. */
#include <string.h>
#include "base_hash.h"
#include "config_value.h"

void vlm_config_write(const vlmoe_config *config, bool numbers_only, vlm_text *out)
{
    vlm_text_put(out, "{");
    const char *section = NULL;
    for (int i = 0; i < vlm_n_keys; i++) {
        const vlm_key *key = &vlm_keys[i];
        if (numbers_only && key->kind != VLM_KEY_NUMBER) continue;
        bool is_new = !section || strcmp(section, key->section);
        if (is_new) vlm_text_put(out, "%s\n  \"%s\": {\n", section ? "\n  }," : "", key->section);
        else vlm_text_put(out, ",\n");
        section = key->section;
        vlm_text_put(out, "    \"%s\": ", key->name);
        vlm_key_write(key, config, out);
    }
    vlm_text_put(out, "\n  }\n}\n");
}

void vlm_config_list(const vlmoe_config *config, vlm_text *out)
{
    for (int i = 0; i < vlm_n_keys; i++) {
        vlm_text_put(out, "%s.%s\t", vlm_keys[i].section, vlm_keys[i].name);
        vlm_key_write(&vlm_keys[i], config, out);
        vlm_text_put(out, "\n");
    }
}

uint64_t vlm_config_hash(const vlmoe_config *config)
{
    vlm_text text = {0};
    vlm_config_write(config, true, &text);
    uint64_t hash = vlm_hash64(text.data, text.bytes);
    vlm_text_free(&text);
    return hash;
}

int vlm_config_differences(const vlmoe_config *a, const vlmoe_config *b, vlm_text *out)
{
    int n = 0;
    for (int i = 0; i < vlm_n_keys; i++) {
        if (vlm_keys[i].kind != VLM_KEY_NUMBER) continue;
        vlm_text left = {0}, right = {0};
        vlm_key_write(&vlm_keys[i], a, &left);
        vlm_key_write(&vlm_keys[i], b, &right);
        if (!left.data || !right.data || strcmp(left.data, right.data)) {
            n++;
            vlm_text_put(out, "%s.%s: %s and %s\n", vlm_keys[i].section, vlm_keys[i].name,
                         left.data ? left.data : "?", right.data ? right.data : "?");
        }
        vlm_text_free(&left);
        vlm_text_free(&right);
    }
    return n;
}

const char *vlmoe_config_get(vlmoe_config *config, const char *name)
{
    char section[64];
    const char *dot = strchr(name, '.');
    if (!dot || dot - name >= (ptrdiff_t)sizeof section) return NULL;
    memcpy(section, name, (size_t)(dot - name));
    section[dot - name] = 0;
    const vlm_key *key = vlm_key_find(section, dot + 1);
    if (!key) return NULL;
    vlm_text text = {0};
    vlm_key_write(key, config, &text);
    vlm_free(config->last_get);
    config->last_get = text.data ? vlm_strdup(text.data) : NULL;
    vlm_text_free(&text);
    return config->last_get;
}

static void describe_bounds(const vlm_key *key, vlm_text *out)
{
    bool is_number = key->type == VLM_KEY_INT || key->type == VLM_KEY_REAL ||
                     key->type == VLM_KEY_INTS || key->type == VLM_KEY_REALS;
    if (key->choices) {
        for (const char *at = key->choices; *at; at++)
            vlm_text_append(out, *at == '|' ? ", " : at, *at == '|' ? 2 : 1);
    } else if (is_number) {
        vlm_text_put(out, "%.15g to %.15g", key->min, key->max);
    } else {
        vlm_text_put(out, "%s", key->type == VLM_KEY_BOOL ? "true, false" : "text");
    }
}

static void describe_markdown(const vlm_key_section *section, vlm_text *out)
{
    vlm_text_put(
        out,
        "\n## %s\n\n%s.\n\n| key | default | values | kind | meaning |\n|---|---|---|---|---|\n",
        section->name, section->help);
    for (int i = 0; i < vlm_n_keys; i++) {
        const vlm_key *key = &vlm_keys[i];
        if (strcmp(key->section, section->name)) continue;
        vlm_text_put(out, "| `%s` | `%s` | ", key->name, key->standard);
        describe_bounds(key, out);
        vlm_text_put(out, " | %s | %s |\n", key->kind == VLM_KEY_NUMBER ? "number" : "execution",
                     key->help);
    }
}

static void describe_plain(const vlm_key_section *section, vlm_text *out)
{
    vlm_text_put(out, "\n%s: %s\n", section->name, section->help);
    for (int i = 0; i < vlm_n_keys; i++)
        if (!strcmp(vlm_keys[i].section, section->name))
            vlm_text_put(out, "  %-22s %s (%s)\n", vlm_keys[i].name, vlm_keys[i].help,
                         vlm_keys[i].standard);
}

void vlm_config_describe(bool markdown, vlm_text *out)
{
    if (markdown)
        vlm_text_put(out, "# Config keys\n\nGenerated from `src/config/config.def` by `vlmoe-train "
                          "--help-config markdown`; do not edit.\n\n"
                          "A config is JSON with comments: an object of the sections below, and "
                          "`\"include\": \"other.json\"` (read first, relative "
                          "to the file). On the command line: `section.key=value`.\n\n"
                          "Kind *number*: changes the numbers of a run, stands in its checkpoints, "
                          "and is refused when it differs on resume. "
                          "Kind *execution*: where and how it runs; free to change.\n");
    for (int i = 0; i < vlm_n_key_sections; i++) {
        if (markdown) describe_markdown(&vlm_key_sections[i], out);
        else describe_plain(&vlm_key_sections[i], out);
    }
}
