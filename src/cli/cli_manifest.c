/* Reading manifests line by line. */
#include "cli_manifest.h"

#include <string.h>
#include "base_file.h"
#include "base_json.h"

enum { IMAGE_BYTES_MAX = 1 << 30 };

vlmoe_status vlm_manifest_open(vlm_manifest *manifest, vlmoe_error *error)
{
    manifest->is_json =
        vlm_path_ends_in(manifest->path, ".jsonl") || vlm_path_ends_in(manifest->path, ".json");
    manifest->folder = vlm_path_dir(manifest->path);
    if (!manifest->folder) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    VLM_TRY(vlm_map_open(manifest->path, &manifest->map, error));
    manifest->at = vlm_utf8_mark((const char *)manifest->map.data, manifest->map.bytes);
    return VLMOE_OK;
}

/* What the last sample was made of. */
static void drop_sample(vlm_manifest *manifest)
{
    vlm_json_free(manifest->row);
    vlm_free(manifest->image_data);
    manifest->row = NULL;
    manifest->image_data = NULL;
}

void vlm_manifest_close(vlm_manifest *manifest)
{
    drop_sample(manifest);
    vlm_map_close(&manifest->map);
    vlm_free(manifest->folder);
    manifest->folder = NULL;
}

static bool is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!strchr(" \t\r\n\v\f", text[i]) || !text[i]) return false;
    return true;
}

bool vlm_manifest_next(vlm_manifest *manifest)
{
    const char *data = (const char *)manifest->map.data;
    while (manifest->at < manifest->map.bytes) {
        const char *line = data + manifest->at;
        size_t left = manifest->map.bytes - manifest->at;
        const char *end = memchr(line, '\n', left);
        size_t bytes = end ? (size_t)(end - line) : left;
        manifest->at += bytes + 1;
        manifest->n_line++;
        if (is_blank(line, bytes)) continue;
        manifest->line = line;
        manifest->line_bytes = bytes;
        return true;
    }
    return false;
}

/* ---- A line to a sample ---- */

static vlmoe_status add_text(vlm_sample *sample, const char *text, size_t bytes, vlmoe_error *error)
{
    if (sample->n_texts == VLM_SAMPLE_TEXTS_MAX)
        return vlm_fail(error, VLMOE_E_FORMAT, "more than %d texts", VLM_SAMPLE_TEXTS_MAX);
    if (is_blank(text, bytes)) return vlm_fail(error, VLMOE_E_FORMAT, "empty text");
    for (size_t at = 0; at < bytes;) {
        size_t n = vlm_utf8_length(text + at, bytes - at);
        if (!n) return vlm_fail(error, VLMOE_E_FORMAT, "text is not UTF-8 at its byte %zu", at);
        at += n;
    }
    sample->texts[sample->n_texts++] = (vlm_bytes){(const unsigned char *)text, bytes};
    return VLMOE_OK;
}

static vlmoe_status add_text_value(vlm_sample *sample, const vlm_value *value, vlmoe_error *error)
{
    const char *text = vlm_json_text(value);
    if (!text)
        return vlm_fail(error, VLMOE_E_FORMAT, "a text is %s, not a string",
                        vlm_json_kind_name(vlm_json_kind_of(value)));
    return add_text(sample, text, strlen(text), error);
}

static vlmoe_status add_text_list(vlm_sample *sample, const vlm_value *list, vlmoe_error *error)
{
    if (vlm_json_kind_of(list) != VLM_JSON_ARRAY)
        return vlm_fail(error, VLMOE_E_FORMAT, "\"%s\" is %s, not an array of strings",
                        vlm_json_key(list), vlm_json_kind_name(vlm_json_kind_of(list)));
    for (const vlm_value *v = vlm_json_first(list); v; v = vlm_json_next(v))
        VLM_TRY(add_text_value(sample, v, error));
    return VLMOE_OK;
}

static vlmoe_status add_image(vlm_manifest *manifest, const vlm_value *value, vlm_sample *sample,
                              vlmoe_error *error)
{
    const char *name = vlm_json_text(value);
    if (!name || !name[0])
        return vlm_fail(error, VLMOE_E_FORMAT, "\"image\" is %s, not a path",
                        name ? "empty" : vlm_json_kind_name(vlm_json_kind_of(value)));
    const char *root = manifest->image_root ? manifest->image_root : manifest->folder;
    char *path = vlm_path_join(root, name);
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    size_t bytes = 0;
    vlm_image image = {0};
    vlmoe_status st = vlm_file_read(path, IMAGE_BYTES_MAX, &manifest->image_data, &bytes, error);
    if (!st) {
        st = vlm_image_decode(manifest->image_data, bytes, &manifest->limits, &image, error);
        if (st) vlm_fail_in(error, "%s", path);
    }
    if (!st) sample->image = (vlm_bytes){(unsigned char *)manifest->image_data, bytes};
    vlm_image_free(&image);
    vlm_free(path);
    return st;
}

static vlmoe_status json_sample(vlm_manifest *manifest, vlm_sample *sample, vlmoe_error *error)
{
    vlm_json *doc = NULL;
    VLM_TRY(vlm_json_parse(manifest->line, manifest->line_bytes, "row", false, &doc, error));
    manifest->row = doc;
    const vlm_value *row = vlm_json_root(doc);
    if (vlm_json_kind_of(row) != VLM_JSON_OBJECT)
        return vlm_fail(error, VLMOE_E_FORMAT, "the row is %s, not an object",
                        vlm_json_kind_name(vlm_json_kind_of(row)));
    bool has_more = false;
    for (const vlm_value *v = vlm_json_first(row); v; v = vlm_json_next(v)) {
        const char *key = vlm_json_key(v);
        if (!strcmp(key, "image")) VLM_TRY(add_image(manifest, v, sample, error));
        else if (!strcmp(key, "text") || !strcmp(key, "caption"))
            VLM_TRY(add_text_value(sample, v, error));
        else if (!strcmp(key, "texts") || !strcmp(key, "captions"))
            VLM_TRY(add_text_list(sample, v, error));
        else has_more = true;
    }
    if (!sample->image.data && !sample->n_texts)
        return vlm_fail(error, VLMOE_E_FORMAT, "neither \"image\" nor \"text\"");
    if (has_more)
        sample->json = (vlm_bytes){(const unsigned char *)manifest->line, manifest->line_bytes};
    return VLMOE_OK;
}

vlmoe_status vlm_manifest_sample(vlm_manifest *manifest, vlm_sample *out, vlmoe_error *error)
{
    drop_sample(manifest);
    memset(out, 0, sizeof *out);
    const char *line = manifest->line;
    size_t bytes = manifest->line_bytes;
    while (bytes && strchr(" \t\r", line[bytes - 1])) bytes--; /* not blank: stops in time */
    vlmoe_status st =
        manifest->is_json ? json_sample(manifest, out, error) : add_text(out, line, bytes, error);
    if (st) vlm_fail_in(error, "%s line %lld", manifest->path, (long long)manifest->n_line);
    return st;
}
