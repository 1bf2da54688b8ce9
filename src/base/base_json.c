/* JSON documents: the checked text becomes a tree; the only file that knows cJSON. The grammar is
 * base_json_check.c's, which is stricter than cJSON and reports lines. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base_json.h"
#include "base_json_check.h"

struct vlm_json {
    cJSON *root;
};

const char *vlm_json_kind_name(vlm_json_kind kind)
{
    switch (kind) {
    case VLM_JSON_NULL:
        return "null";
    case VLM_JSON_BOOL:
        return "true or false";
    case VLM_JSON_NUMBER:
        return "a number";
    case VLM_JSON_STRING:
        return "a string";
    case VLM_JSON_ARRAY:
        return "an array";
    case VLM_JSON_OBJECT:
        return "an object";
    }
    return "?";
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static vlmoe_status refuse_twins(const cJSON *object, const char *name, vlmoe_error *error)
{
    size_t n = (size_t)vlm_json_size(object), i = 0;
    if (n < 2) return VLMOE_OK;
    const char **keys = vlm_alloc_array(n, sizeof *keys);
    if (!keys) return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory to check %zu keys", name, n);
    for (const cJSON *member = object->child; member; member = member->next)
        keys[i++] = member->string;
    qsort(keys, n, sizeof *keys, compare_keys);
    vlmoe_status status = VLMOE_OK;
    for (i = 1; i < n && !status; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status = vlm_fail(error, VLMOE_E_FORMAT,
                              "%s: the key \"%s\" appears twice in one object", name, keys[i]);
    vlm_free(keys);
    return status;
}

/* What the grammar cannot see: equal keys (once escapes are read) and numbers beyond double. */
static vlmoe_status check_tree(const cJSON *root, const char *name, vlmoe_error *error)
{
    const cJSON *open[VLM_JSON_MAX_DEPTH + 1]; /* siblings yet to visit, one per level */
    int depth = 0;
    open[0] = root;
    while (depth >= 0) {
        const cJSON *value = open[depth];
        if (!value) {
            depth--;
            continue;
        }
        open[depth] = value->next;
        if (cJSON_IsNumber(value) && !isfinite(value->valuedouble))
            return vlm_fail(error, VLMOE_E_FORMAT, "%s: a number is too large for double precision",
                            name);
        if (cJSON_IsObject(value)) VLM_TRY(refuse_twins(value, name, error));
        if (value->child) open[++depth] = value->child;
    }
    return VLMOE_OK;
}

vlmoe_status vlm_json_parse(const char *text, size_t bytes, const char *name, bool comments,
                            vlm_json **out, vlmoe_error *error)
{
    vlm_json *doc = vlm_alloc(sizeof *doc);
    char *copy = bytes < SIZE_MAX ? vlm_alloc(bytes + 1) : NULL;
    vlmoe_status status = VLMOE_OK;
    if (!doc || !copy) {
        status =
            vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory to read %zu bytes of JSON", name, bytes);
        goto done;
    }
    if (bytes) memcpy(copy, text, bytes);
    status = vlm_json_check(copy, bytes, name, comments, error);
    if (status) goto done;
    doc->root = cJSON_ParseWithLengthOpts(copy, bytes + 1, NULL, 1);
    if (!doc->root) {
        status = vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory for %zu bytes of JSON", name, bytes);
        goto done;
    }
    status = check_tree(doc->root, name, error);
done:
    vlm_free(copy);
    if (status) vlm_json_free(doc);
    else *out = doc;
    return status;
}

void vlm_json_free(vlm_json *doc)
{
    if (!doc) return;
    cJSON_Delete(doc->root);
    vlm_free(doc);
}

const vlm_value *vlm_json_root(const vlm_json *doc)
{
    return doc->root;
}

vlm_json_kind vlm_json_kind_of(const vlm_value *value)
{
    if (cJSON_IsBool(value)) return VLM_JSON_BOOL;
    if (cJSON_IsNumber(value)) return VLM_JSON_NUMBER;
    if (cJSON_IsString(value)) return VLM_JSON_STRING;
    if (cJSON_IsArray(value)) return VLM_JSON_ARRAY;
    if (cJSON_IsObject(value)) return VLM_JSON_OBJECT;
    return VLM_JSON_NULL;
}

const vlm_value *vlm_json_get(const vlm_value *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

int64_t vlm_json_size(const vlm_value *value)
{
    int64_t n = 0;
    for (const cJSON *member = vlm_json_first(value); member; member = member->next) n++;
    return n;
}

const vlm_value *vlm_json_first(const vlm_value *value)
{
    return value ? value->child : NULL;
}

const vlm_value *vlm_json_next(const vlm_value *value)
{
    return value ? value->next : NULL;
}

const char *vlm_json_key(const vlm_value *value)
{
    return value ? value->string : NULL;
}

bool vlm_json_bool(const vlm_value *value)
{
    return cJSON_IsTrue(value);
}

double vlm_json_number(const vlm_value *value)
{
    return cJSON_IsNumber(value) ? value->valuedouble : 0.0;
}

bool vlm_json_int(const vlm_value *value, int64_t *out)
{
    if (!cJSON_IsNumber(value)) return false;
    double number = value->valuedouble;
    /* 2^53 itself is out: 2^53 + 1 in a file reads as the same double. */
    if (!(fabs(number) < 0x1p53) || number != floor(number)) return false;
    *out = (int64_t)number;
    return true;
}

const char *vlm_json_text(const vlm_value *value)
{
    return cJSON_IsString(value) ? value->valuestring : NULL;
}
