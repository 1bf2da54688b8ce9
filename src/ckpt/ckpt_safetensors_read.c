/* The reader of safetensors files. Every number in the header is checked before it is used. */
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "ckpt_safetensors_types.h"

struct vlm_st {
    vlm_map map;   /* zero when the bytes are the caller's */
    vlm_json *doc; /* owns names and metadata */
    int64_t n;
    vlm_st_tensor *tensors;        /* [n] by place in the file */
    const vlm_st_tensor **by_name; /* [n] */
};

/* One file on its way in. */
typedef struct reading {
    const char *name;
    const unsigned char *data; /* after the header */
    size_t bytes;
    vlmoe_error *error;
} reading;

static vlmoe_status read_dtype(const reading *r, const char *tensor, const vlm_value *value,
                               vlm_st_dtype *out)
{
    const char *text = vlm_json_text(value);
    if (!text)
        return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: tensor \"%s\" has no dtype", r->name,
                        tensor);
    for (int i = 0; i < vlm_st_n_types; i++) {
        if (strcmp(text, vlm_st_types[i].name) != 0) continue;
        *out = vlm_st_types[i].dtype;
        return VLMOE_OK;
    }
    return vlm_fail(r->error, VLMOE_E_UNSUPPORTED,
                    "%s: tensor \"%s\" has dtype \"%s\", which is not supported", r->name, tensor,
                    text);
}

/* The shape, and the bytes that it and the dtype need. */
static vlmoe_status read_shape(const reading *r, const vlm_value *value, vlm_st_tensor *t,
                               int64_t *need)
{
    if (!value || vlm_json_kind_of(value) != VLM_JSON_ARRAY)
        return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: tensor \"%s\" has no shape", r->name,
                        t->name);
    int64_t rank = vlm_json_size(value), bytes = (int64_t)vlm_st_dtype_size(t->dtype);
    if (rank > VLM_ST_MAX_RANK)
        return vlm_fail(r->error, VLMOE_E_UNSUPPORTED,
                        "%s: tensor \"%s\" has %lld dimensions, at most %d are supported", r->name,
                        t->name, (long long)rank, VLM_ST_MAX_RANK);
    bool has_zero = false;
    for (const vlm_value *dim = vlm_json_first(value); dim; dim = vlm_json_next(dim)) {
        int64_t size;
        if (!vlm_json_int(dim, &size) || size < 0)
            return vlm_fail(r->error, VLMOE_E_FORMAT,
                            "%s: tensor \"%s\": dimension %d is not a whole number >= 0", r->name,
                            t->name, t->rank);
        t->dims[t->rank++] = size;
        if (size == 0) has_zero = true;
        else if (!vlm_mul_i64(bytes, size, &bytes))
            return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: tensor \"%s\": its shape is too large",
                            r->name, t->name);
    }
    *need = has_zero ? 0 : bytes;
    return VLMOE_OK;
}

static vlmoe_status read_offsets(const reading *r, const vlm_value *value, vlm_st_tensor *t,
                                 int64_t need)
{
    int64_t begin, end;
    const vlm_value *first = vlm_json_first(value);
    if (vlm_json_kind_of(value) != VLM_JSON_ARRAY || vlm_json_size(value) != 2 ||
        !vlm_json_int(first, &begin) || !vlm_json_int(vlm_json_next(first), &end))
        return vlm_fail(r->error, VLMOE_E_FORMAT,
                        "%s: tensor \"%s\" needs two whole numbers as data_offsets", r->name,
                        t->name);
    if (begin < 0 || end < begin || (uint64_t)end > r->bytes)
        return vlm_fail(r->error, VLMOE_E_FORMAT,
                        "%s: tensor \"%s\" claims bytes %lld to %lld of %zu", r->name, t->name,
                        (long long)begin, (long long)end, r->bytes);
    if (end - begin != need)
        return vlm_fail(r->error, VLMOE_E_FORMAT,
                        "%s: tensor \"%s\" has %lld bytes, its shape and dtype need %lld", r->name,
                        t->name, (long long)(end - begin), (long long)need);
    t->data = r->data + begin;
    t->bytes = (size_t)need;
    return VLMOE_OK;
}

static vlmoe_status read_tensor(const reading *r, const vlm_value *value, vlm_st_tensor *t)
{
    t->name = vlm_json_key(value);
    if (!t->name[0]) return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: a tensor has no name", r->name);
    if (vlm_json_kind_of(value) != VLM_JSON_OBJECT || vlm_json_size(value) != 3)
        return vlm_fail(r->error, VLMOE_E_FORMAT,
                        "%s: tensor \"%s\" needs dtype, shape and data_offsets, and nothing else",
                        r->name, t->name);
    int64_t need = 0;
    VLM_TRY(read_dtype(r, t->name, vlm_json_get(value, "dtype"), &t->dtype));
    VLM_TRY(read_shape(r, vlm_json_get(value, "shape"), t, &need));
    return read_offsets(r, vlm_json_get(value, "data_offsets"), t, need);
}

static vlmoe_status check_metadata(const reading *r, const vlm_value *metadata)
{
    if (vlm_json_kind_of(metadata) != VLM_JSON_OBJECT)
        return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: %s is not an object", r->name,
                        VLM_ST_METADATA);
    for (const vlm_value *pair = vlm_json_first(metadata); pair; pair = vlm_json_next(pair))
        if (!vlm_json_text(pair))
            return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: %s key \"%s\" is not a string", r->name,
                            VLM_ST_METADATA, vlm_json_key(pair));
    return VLMOE_OK;
}

static int compare_places(const void *a, const void *b)
{
    const vlm_st_tensor *x = a, *y = b;
    const unsigned char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1; /* empty ones before the one that begins there */
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const vlm_st_tensor *const *)a)->name,
                  (*(const vlm_st_tensor *const *)b)->name);
}

/* The tensors must tile the data: a hole may hide something, an overlap makes two names one memory.
 */
static vlmoe_status check_tiling(const reading *r, const vlm_st *st)
{
    size_t at = 0;
    for (int64_t i = 0; i < st->n; i++) {
        const vlm_st_tensor *t = &st->tensors[i];
        size_t begin = (size_t)((const unsigned char *)t->data - r->data);
        if (begin != at)
            return vlm_fail(r->error, VLMOE_E_FORMAT,
                            "%s: tensor \"%s\" begins at byte %zu, expected %zu (%s)", r->name,
                            t->name, begin, at, begin > at ? "a hole" : "an overlap");
        at += t->bytes;
    }
    if (at != r->bytes)
        return vlm_fail(r->error, VLMOE_E_FORMAT,
                        "%s: the tensors end at byte %zu, the data has %zu", r->name, at, r->bytes);
    return VLMOE_OK;
}

static vlmoe_status read_tensors(const reading *r, vlm_st *st)
{
    const vlm_value *root = vlm_json_root(st->doc);
    if (vlm_json_kind_of(root) != VLM_JSON_OBJECT)
        return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: the header is not an object", r->name);
    size_t room = (size_t)vlm_json_size(root);
    st->tensors = vlm_alloc_array(room, sizeof *st->tensors);
    st->by_name = vlm_alloc_array(room, sizeof *st->by_name);
    if (!st->tensors || !st->by_name)
        return vlm_fail(r->error, VLMOE_E_NOMEM, "%s: no memory for %zu tensors", r->name, room);
    for (const vlm_value *value = vlm_json_first(root); value; value = vlm_json_next(value)) {
        if (strcmp(vlm_json_key(value), VLM_ST_METADATA) == 0) VLM_TRY(check_metadata(r, value));
        else VLM_TRY(read_tensor(r, value, &st->tensors[st->n++]));
    }
    if (st->n) qsort(st->tensors, (size_t)st->n, sizeof *st->tensors, compare_places);
    VLM_TRY(check_tiling(r, st));
    for (int64_t i = 0; i < st->n; i++) st->by_name[i] = &st->tensors[i];
    if (st->n) qsort(st->by_name, (size_t)st->n, sizeof *st->by_name, compare_names);
    return VLMOE_OK;
}

static vlmoe_status read_file(const unsigned char *data, size_t bytes, const char *name, vlm_st *st,
                              vlmoe_error *error)
{
    if (bytes < VLM_ST_LENGTH_BYTES)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: %zu bytes are too few for a safetensors file",
                        name, bytes);
    uint64_t header = 0;
    for (int i = VLM_ST_LENGTH_BYTES - 1; i >= 0; i--) header = header << 8 | data[i];
    if (header > VLM_ST_MAX_HEADER || header > bytes - VLM_ST_LENGTH_BYTES)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: claims a header of %llu bytes, the file has %zu", name,
                        (unsigned long long)header, bytes);
    const char *text = (const char *)data + VLM_ST_LENGTH_BYTES;
    if (header == 0 || text[0] != '{')
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: the header does not begin with '{'", name);
    VLM_TRY(vlm_json_parse(text, (size_t)header, name, false, &st->doc, error));
    reading r = {.name = name, .error = error};
    r.data = data + VLM_ST_LENGTH_BYTES + header;
    r.bytes = bytes - VLM_ST_LENGTH_BYTES - (size_t)header;
    return read_tensors(&r, st);
}

vlmoe_status vlm_st_open_bytes(const void *data, size_t bytes, const char *name, vlm_st **out,
                               vlmoe_error *error)
{
    vlm_st *st = vlm_alloc(sizeof *st);
    if (!st) return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory to open it", name);
    vlmoe_status status = read_file(data, bytes, name, st, error);
    if (status) vlm_st_close(st);
    else *out = st;
    return status;
}

vlmoe_status vlm_st_open(const char *path, vlm_st **out, vlmoe_error *error)
{
    vlm_map map;
    VLM_TRY(vlm_map_open(path, &map, error));
    vlm_st *st = NULL;
    vlmoe_status status = vlm_st_open_bytes(map.data, map.bytes, path, &st, error);
    if (status) {
        vlm_map_close(&map);
        return status;
    }
    st->map = map;
    *out = st;
    return VLMOE_OK;
}

void vlm_st_close(vlm_st *st)
{
    if (!st) return;
    vlm_json_free(st->doc);
    vlm_free(st->tensors);
    vlm_free(st->by_name);
    vlm_map_close(&st->map);
    vlm_free(st);
}

int64_t vlm_st_count(const vlm_st *st)
{
    return st->n;
}

const vlm_st_tensor *vlm_st_get(const vlm_st *st, int64_t i)
{
    VLM_ASSERT(i >= 0 && i < st->n);
    return &st->tensors[i];
}

const vlm_st_tensor *vlm_st_find(const vlm_st *st, const char *name)
{
    int64_t low = 0, high = st->n; /* the first name that is not below */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(st->by_name[middle]->name, name) < 0) low = middle + 1;
        else high = middle;
    }
    return low < st->n && strcmp(st->by_name[low]->name, name) == 0 ? st->by_name[low] : NULL;
}

const char *vlm_st_metadata(const vlm_st *st, const char *key)
{
    const vlm_value *metadata = vlm_json_get(vlm_json_root(st->doc), VLM_ST_METADATA);
    return vlm_json_text(vlm_json_get(metadata, key));
}
