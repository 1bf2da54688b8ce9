/* Reading KEY.json and labels.txt. Both are files of others: every value is checked before it is used. */
#include "data_label.h"

#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "base_hash.h"
#include "base_json.h"

/* ---- KEY.json ---- */

static vlmoe_status expect_array(const vlm_value *value, vlmoe_error *error)
{
    if (vlm_json_kind_of(value) == VLM_JSON_ARRAY) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "\"%s\" of its json is %s, not an array",
                    vlm_json_key(value), vlm_json_kind_name(vlm_json_kind_of(value)));
}

static vlmoe_status read_pictures(const vlm_value *list, vlm_sample_facts *out, vlmoe_error *error)
{
    VLM_TRY(expect_array(list, error));
    const int64_t n = vlm_json_size(list);
    if (n < 1 || n > VLM_SAMPLE_PICTURES_MAX)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "\"pictures\" of its json has %lld numbers, not 1 or %d", (long long)n,
                        VLM_SAMPLE_PICTURES_MAX);
    for (const vlm_value *v = vlm_json_first(list); v; v = vlm_json_next(v)) {
        int64_t *picture = &out->picture[out->n_pictures++];
        if (vlm_json_kind_of(v) != VLM_JSON_NUMBER || !vlm_json_int(v, picture) || *picture < 0)
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "\"pictures\" of its json holds something else than sample numbers");
    }
    return VLMOE_OK;
}

static vlmoe_status read_label(const vlm_value *value, int64_t n_classes, int64_t *out,
                               vlmoe_error *error)
{
    if (vlm_json_kind_of(value) != VLM_JSON_NUMBER || !vlm_json_int(value, out))
        return vlm_fail(error, VLMOE_E_FORMAT, "a label of its json is no whole number");
    if (*out < 0 || *out >= n_classes)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "label %lld of its json: labels.txt has %lld classes", (long long)*out,
                        (long long)n_classes);
    return VLMOE_OK;
}

static vlmoe_status read_score(const vlm_value *value, double *out, vlmoe_error *error)
{
    *out = value && vlm_json_kind_of(value) == VLM_JSON_NUMBER ? vlm_json_number(value) : -1.0;
    if (*out >= 0.0 && *out <= 1.0) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "a score of its json is no number from 0 to 1");
}

static vlmoe_status add_label(vlm_sample_facts *out, int64_t label, double score,
                              vlmoe_error *error)
{
    for (int i = 0; i < out->n_labels; i++)
        if (out->label[i] == label)
            return vlm_fail(error, VLMOE_E_FORMAT, "its json has label %lld twice",
                            (long long)label);
    out->label[out->n_labels] = (int32_t)label;
    out->score[out->n_labels++] = (float)score;
    return VLMOE_OK;
}

static vlmoe_status read_labels(const vlm_value *labels, const vlm_value *scores, int64_t n_classes,
                                vlm_sample_facts *out, vlmoe_error *error)
{
    VLM_TRY(expect_array(labels, error));
    if (scores) VLM_TRY(expect_array(scores, error));
    const int64_t n = vlm_json_size(labels), n_scores = scores ? vlm_json_size(scores) : n;
    if (n > VLM_LABELS_MAX)
        return vlm_fail(error, VLMOE_E_FORMAT, "its json has %lld labels, at most %d are read",
                        (long long)n, VLM_LABELS_MAX);
    if (n != n_scores || (!scores && n > 1))
        return vlm_fail(error, VLMOE_E_FORMAT, "its json has %lld labels and %lld scores",
                        (long long)n, (long long)(scores ? n_scores : 0));
    const vlm_value *s = vlm_json_first(scores);
    for (const vlm_value *v = vlm_json_first(labels); v; v = vlm_json_next(v)) {
        int64_t label = 0;
        double score = 1.0;
        VLM_TRY(read_label(v, n_classes, &label, error));
        if (scores) {
            VLM_TRY(read_score(s, &score, error));
            s = vlm_json_next(s);
        }
        if (score > 0.0) VLM_TRY(add_label(out, label, score, error));
    }
    return VLMOE_OK;
}

vlmoe_status vlm_sample_facts_read(vlm_bytes json, int64_t n_classes, vlm_sample_facts *out,
                                   vlmoe_error *error)
{
    vlm_sample_facts facts = {0};
    vlm_json *doc = NULL;
    if (!json.data) {
        *out = facts;
        return VLMOE_OK;
    }
    VLM_TRY(vlm_json_parse((const char *)json.data, json.bytes, "its json", false, &doc, error));
    const vlm_value *root = vlm_json_root(doc);
    const vlm_value *labels = n_classes ? vlm_json_get(root, "labels") : NULL;
    const vlm_value *pictures = vlm_json_get(root, "pictures");
    vlmoe_status st = VLMOE_OK;
    if (pictures) st = read_pictures(pictures, &facts, error);
    if (!st && labels)
        st = read_labels(labels, vlm_json_get(root, "scores"), n_classes, &facts, error);
    vlm_json_free(doc);
    if (!st) *out = facts;
    return st;
}

/* ---- labels.txt ---- */

enum { CLASSES_BYTES_MAX = 64 << 20, CLASSES_MAX = 1 << 24 };

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static vlmoe_status refuse_twins(const vlm_classes *c, const char *path, vlmoe_error *error)
{
    const char **sorted = vlm_alloc_array((size_t)c->n, sizeof *sorted);
    if (!sorted)
        return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory for %lld names", path,
                        (long long)c->n);
    memcpy(sorted, c->name, (size_t)c->n * sizeof *sorted);
    qsort(sorted, (size_t)c->n, sizeof *sorted, compare_names);
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 1; i < c->n && !st; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            st = vlm_fail(error, VLMOE_E_FORMAT, "%s: the class \"%s\" is there twice", path,
                          sorted[i]);
    vlm_free(sorted);
    return st;
}

static vlmoe_status check_name(const char *name, const char *path, int64_t line, vlmoe_error *error)
{
    const size_t bytes = strlen(name);
    if (!bytes)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld is empty", path, (long long)line);
    for (size_t i = 0; i < bytes;) {
        size_t n = vlm_utf8_length(name + i, bytes - i);
        if (!n)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld is not UTF-8", path,
                            (long long)line);
        i += n;
    }
    return VLMOE_OK;
}

/* Lines of text become terminated names; text has a zero byte after its end. */
static vlmoe_status cut_lines(vlm_classes *c, size_t bytes, const char *path, vlmoe_error *error)
{
    int64_t n = bytes > 0 && c->text[bytes - 1] != '\n';
    for (size_t i = 0; i < bytes; i++) n += c->text[i] == '\n';
    if (n < 1 || n > CLASSES_MAX)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: %lld names of classes, expected 1 to %d", path,
                        (long long)n, CLASSES_MAX);
    c->name = vlm_alloc_array((size_t)n, sizeof *c->name);
    if (!c->name)
        return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory for %lld names", path, (long long)n);
    for (char *at = c->text; c->n < n; c->n++) {
        char *end = memchr(at, '\n', bytes - (size_t)(at - c->text));
        if (!end) end = c->text + bytes;
        *end = 0;
        if (strlen(at) != (size_t)(end - at))
            return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld holds a zero byte", path,
                            (long long)c->n + 1);
        if (end > at && end[-1] == '\r') end[-1] = 0;
        c->name[c->n] = at;
        VLM_TRY(check_name(at, path, c->n + 1, error));
        at = end + 1;
    }
    return refuse_twins(c, path, error);
}

static uint64_t hash_names(const vlm_classes *c)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const uint64_t link[] = {hash, vlm_hash64(c->name[i], strlen(c->name[i]))};
        hash = vlm_hash64(link, sizeof link);
    }
    return hash;
}

vlmoe_status vlm_classes_parse(const char *text, size_t bytes, const char *path, vlm_classes *out,
                               vlmoe_error *error)
{
    const size_t mark = vlm_utf8_mark(text, bytes);
    text += mark;
    bytes -= mark;
    vlm_classes classes = {.text = vlm_alloc(bytes + 1)};
    if (!classes.text)
        return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory for %zu bytes", path, bytes);
    memcpy(classes.text, text, bytes);
    vlmoe_status st = cut_lines(&classes, bytes, path, error);
    if (st) {
        vlm_classes_free(&classes);
        return st;
    }
    classes.hash = hash_names(&classes);
    *out = classes;
    return VLMOE_OK;
}

vlmoe_status vlm_classes_read(const char *path, vlm_classes *out, vlmoe_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    VLM_TRY(vlm_file_read(path, CLASSES_BYTES_MAX, &text, &bytes, error));
    vlmoe_status st = vlm_classes_parse(text, bytes, path, out, error);
    vlm_free(text);
    return st;
}

void vlm_classes_free(vlm_classes *classes)
{
    vlm_free(classes->name);
    vlm_free(classes->text);
    *classes = (vlm_classes){0};
}

vlmoe_status vlm_classes_compare(const vlm_classes *a, const char *a_path, const vlm_classes *b,
                                 const char *b_path, vlmoe_error *error)
{
    int64_t i = 0;
    while (i < a->n && i < b->n && !strcmp(a->name[i], b->name[i])) i++;
    if (i == a->n && i == b->n) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG,
                    "%s and %s name other classes from line %lld on: %.80s and %.80s", a_path,
                    b_path, (long long)i + 1, i < a->n ? a->name[i] : "(the end)",
                    i < b->n ? b->name[i] : "(the end)");
}
