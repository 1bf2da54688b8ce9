/* The writer of safetensors files: tensors are declared, then streamed in that order, or put in places by several processes. */
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "ckpt_safetensors_types.h"

typedef struct declared {
    char *name;
    int64_t bytes, begin; /* from the start of the data */
} declared;

struct vlm_st_writer {
    char *path;
    vlm_writer *file;   /* of one that puts tensors in order; */
    vlm_places *places; /* of one that shares the file */
    vlm_text metadata;  /* JSON members so far */
    vlm_text header;    /* JSON members so far */
    declared *tensors;  /* [n] */
    size_t n, room;
    int64_t data_bytes; /* of all tensors declared */
    size_t data_at;     /* place of the data in the file, once begun */
    bool begun;         /* the header is made, and written by whose it is */
    size_t current;     /* tensor that is being put */
    int64_t put;        /* its bytes so far */
};

static vlmoe_status no_memory(const vlm_st_writer *writer, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory for its header", writer->path);
}

static void release(vlm_st_writer *writer)
{
    for (size_t i = 0; i < writer->n; i++) vlm_free(writer->tensors[i].name);
    vlm_free(writer->tensors);
    vlm_text_free(&writer->metadata);
    vlm_text_free(&writer->header);
    vlm_free(writer->path);
    vlm_free(writer);
}

vlmoe_status vlm_st_writer_share(const char *path, vlm_st_writer **out, vlmoe_error *error)
{
    vlm_st_writer *writer = vlm_alloc(sizeof *writer);
    char *copy = vlm_strdup(path);
    if (!writer || !copy) {
        vlm_free(writer);
        vlm_free(copy);
        return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory to write it", path);
    }
    writer->path = copy;
    *out = writer;
    return VLMOE_OK;
}

vlmoe_status vlm_st_writer_create(const char *path, vlm_st_writer **out, vlmoe_error *error)
{
    vlm_st_writer *writer = NULL;
    VLM_TRY(vlm_st_writer_share(path, &writer, error));
    vlmoe_status status = vlm_writer_open(path, &writer->file, error);
    if (status) release(writer);
    else *out = writer;
    return status;
}

static bool is_utf8(const char *text)
{
    size_t left = strlen(text);
    while (left) {
        size_t n = vlm_utf8_length(text, left);
        if (n == 0) return false;
        text += n;
        left -= n;
    }
    return true;
}

static void put_string(vlm_text *text, const char *value)
{
    vlm_text_json_string(text, value, strlen(value));
}

vlmoe_status vlm_st_writer_metadata(vlm_st_writer *writer, const char *key, const char *value,
                                    vlmoe_error *error)
{
    if (writer->begun)
        return vlm_fail(error, VLMOE_E_STATE, "%s: metadata after data", writer->path);
    if (!is_utf8(key) || !is_utf8(value))
        return vlm_fail(error, VLMOE_E_ARG, "%s: metadata that is not UTF-8", writer->path);
    if (writer->metadata.bytes) vlm_text_append(&writer->metadata, ",", 1);
    put_string(&writer->metadata, key);
    vlm_text_append(&writer->metadata, ":", 1);
    put_string(&writer->metadata, value);
    return writer->metadata.failed ? no_memory(writer, error) : VLMOE_OK;
}

/* Bytes of a tensor, with everything about its declaration checked. */
static vlmoe_status measure(const vlm_st_writer *writer, const vlm_st_decl *decl, int64_t *out,
                            vlmoe_error *error)
{
    if (!decl->name[0] || !is_utf8(decl->name) || strcmp(decl->name, VLM_ST_METADATA) == 0)
        return vlm_fail(error, VLMOE_E_ARG, "%s: \"%s\" cannot name a tensor", writer->path,
                        decl->name);
    int64_t size = (int64_t)vlm_st_dtype_size(decl->dtype), bytes = size;
    if (!size)
        return vlm_fail(error, VLMOE_E_ARG, "%s: tensor \"%s\" has no known dtype", writer->path,
                        decl->name);
    if (decl->rank < 0 || decl->rank > VLM_ST_MAX_RANK)
        return vlm_fail(error, VLMOE_E_ARG, "%s: tensor \"%s\" has rank %d, expected 0 to %d",
                        writer->path, decl->name, decl->rank, VLM_ST_MAX_RANK);
    for (int i = 0; i < decl->rank; i++)
        if (decl->dims[i] < 0 || !vlm_mul_i64(bytes, decl->dims[i], &bytes))
            return vlm_fail(error, VLMOE_E_ARG, "%s: tensor \"%s\": dimension %d is %lld",
                            writer->path, decl->name, i, (long long)decl->dims[i]);
    if (bytes && writer->data_bytes % size)
        return vlm_fail(
            error, VLMOE_E_ARG,
            "%s: tensor \"%s\" would begin at byte %lld, unaligned; declare wider types first",
            writer->path, decl->name, (long long)writer->data_bytes);
    if (bytes >= (INT64_C(1) << 53) - writer->data_bytes) /* offsets are JSON numbers */
        return vlm_fail(error, VLMOE_E_ARG, "%s: tensor \"%s\" makes the file too large",
                        writer->path, decl->name);
    *out = bytes;
    return VLMOE_OK;
}

static void describe(vlm_text *header, const vlm_st_decl *decl, int64_t begin, int64_t end)
{
    if (header->bytes) vlm_text_append(header, ",", 1);
    put_string(header, decl->name);
    vlm_text_put(header, ":{\"dtype\":\"%s\",\"shape\":[", vlm_st_dtype_name(decl->dtype));
    for (int i = 0; i < decl->rank; i++)
        vlm_text_put(header, "%s%lld", i ? "," : "", (long long)decl->dims[i]);
    vlm_text_put(header, "],\"data_offsets\":[%lld,%lld]}", (long long)begin, (long long)end);
}

vlmoe_status vlm_st_writer_declare(vlm_st_writer *writer, const vlm_st_decl *decl,
                                   vlmoe_error *error)
{
    if (writer->begun)
        return vlm_fail(error, VLMOE_E_STATE, "%s: tensor \"%s\" declared after data", writer->path,
                        decl->name);
    int64_t bytes = 0;
    VLM_TRY(measure(writer, decl, &bytes, error));
    if (writer->n == writer->room) {
        size_t room = VLM_MAX(2 * writer->room, (size_t)16);
        declared *grown = vlm_alloc_array(room, sizeof *grown);
        if (!grown) return no_memory(writer, error);
        if (writer->n) memcpy(grown, writer->tensors, writer->n * sizeof *grown);
        vlm_free(writer->tensors);
        writer->tensors = grown;
        writer->room = room;
    }
    char *name = vlm_strdup(decl->name);
    if (!name) return no_memory(writer, error);
    writer->tensors[writer->n++] = (declared){name, bytes, writer->data_bytes};
    describe(&writer->header, decl, writer->data_bytes, writer->data_bytes + bytes);
    writer->data_bytes += bytes;
    return writer->header.failed ? no_memory(writer, error) : VLMOE_OK;
}

/* Put the header together, and prove that it can be read (which finds names declared twice). */
static vlmoe_status make_header(const vlm_st_writer *writer, vlm_text *text, vlmoe_error *error)
{
    vlm_json *doc = NULL;
    vlm_text_append(text, "{", 1);
    if (writer->metadata.bytes) {
        vlm_text_put(text, "\"%s\":{", VLM_ST_METADATA);
        vlm_text_append(text, writer->metadata.data, writer->metadata.bytes);
        vlm_text_append(text, "}", 1);
        if (writer->n) vlm_text_append(text, ",", 1);
    }
    if (writer->n) vlm_text_append(text, writer->header.data, writer->header.bytes);
    vlm_text_append(text, "}", 1);
    while (text->bytes % 8 && !text->failed) vlm_text_append(text, " ", 1);
    if (text->failed) return no_memory(writer, error);
    vlmoe_status status = vlm_json_parse(text->data, text->bytes, writer->path, false, &doc, error);
    vlm_json_free(doc);
    if (status == VLMOE_E_FORMAT) { /* ours to blame, not a file's */
        status = VLMOE_E_ARG;
        if (error) error->status = status;
    }
    if (!status && text->bytes > VLM_ST_MAX_HEADER)
        status = vlm_fail(error, VLMOE_E_ARG, "%s: a header of %zu bytes is too large",
                          writer->path, text->bytes);
    return status;
}

/* Make the header, and write it unless another process does. */
static vlmoe_status begin(vlm_st_writer *writer, bool writes, vlmoe_error *error)
{
    vlm_text text = {0};
    unsigned char length[VLM_ST_LENGTH_BYTES];
    vlmoe_status status = make_header(writer, &text, error);
    for (int i = 0; i < VLM_ST_LENGTH_BYTES; i++)
        length[i] = (unsigned char)((uint64_t)text.bytes >> (8 * i));
    writer->data_at = VLM_ST_LENGTH_BYTES + text.bytes;
    if (!status && writes && !writer->file)
        status = vlm_places_create(writer->path, writer->data_at + (uint64_t)writer->data_bytes,
                                   &writer->places, error);
    if (!status && writer->file) {
        vlm_writer_put(writer->file, length, sizeof length);
        vlm_writer_put(writer->file, text.data, text.bytes);
    } else if (!status && writes) {
        vlm_places_put(writer->places, 0, length, sizeof length);
        vlm_places_put(writer->places, sizeof length, text.data, text.bytes);
    }
    writer->begun = !status;
    vlm_text_free(&text);
    return status;
}

vlmoe_status vlm_st_writer_lay_out(vlm_st_writer *writer, bool is_first, vlmoe_error *error)
{
    VLM_TRY(begin(writer, is_first, error));
    return is_first ? VLMOE_OK : vlm_places_open(writer->path, &writer->places, error);
}

vlmoe_status vlm_st_writer_put_at(vlm_st_writer *writer, int64_t tensor, int64_t first,
                                  const void *data, size_t bytes, vlmoe_error *error)
{
    if (!writer->places || tensor < 0 || (size_t)tensor >= writer->n)
        return vlm_fail(error, VLMOE_E_STATE, "%s: there is no place for tensor %lld", writer->path,
                        (long long)tensor);
    const declared *to = &writer->tensors[tensor];
    if (first < 0 || first > to->bytes || bytes > (uint64_t)(to->bytes - first))
        return vlm_fail(error, VLMOE_E_STATE, "%s: \"%s\" has %lld bytes, %zu came for byte %lld",
                        writer->path, to->name, (long long)to->bytes, bytes, (long long)first);
    vlm_places_put(writer->places, writer->data_at + (uint64_t)(to->begin + first), data, bytes);
    return VLMOE_OK;
}

/* Step over tensors that are complete, the empty ones too. */
static void advance(vlm_st_writer *writer)
{
    while (writer->current < writer->n && writer->put == writer->tensors[writer->current].bytes) {
        writer->current++;
        writer->put = 0;
    }
}

vlmoe_status vlm_st_writer_put(vlm_st_writer *writer, const char *name, const void *data,
                               size_t bytes, vlmoe_error *error)
{
    if (!writer->begun) VLM_TRY(begin(writer, true, error));
    if (bytes == 0) return VLMOE_OK;
    advance(writer);
    if (writer->current == writer->n)
        return vlm_fail(error, VLMOE_E_STATE,
                        "%s: \"%s\" comes after the last declared tensor is complete", writer->path,
                        name);
    const declared *due = &writer->tensors[writer->current];
    if (strcmp(due->name, name) != 0)
        return vlm_fail(error, VLMOE_E_STATE, "%s: \"%s\" came, \"%s\" is due", writer->path, name,
                        due->name);
    if (bytes > (uint64_t)(due->bytes - writer->put))
        return vlm_fail(error, VLMOE_E_STATE, "%s: \"%s\" has %lld bytes, %zu came after %lld",
                        writer->path, name, (long long)due->bytes, bytes, (long long)writer->put);
    vlm_writer_put(writer->file, data, bytes);
    writer->put += (int64_t)bytes;
    return VLMOE_OK;
}

vlmoe_status vlm_st_writer_close(vlm_st_writer *writer, vlmoe_error *error)
{
    vlmoe_status status = writer->begun ? VLMOE_OK : begin(writer, true, error);
    if (!status && !writer->places) {
        advance(writer);
        if (writer->current < writer->n) {
            const declared *due = &writer->tensors[writer->current];
            status =
                vlm_fail(error, VLMOE_E_STATE, "%s: \"%s\" got %lld of %lld bytes", writer->path,
                         due->name, (long long)writer->put, (long long)due->bytes);
        }
    }
    if (status) {
        vlm_st_writer_abandon(writer);
        return status;
    }
    status = writer->places ? vlm_places_close(writer->places, error)
                            : vlm_writer_close(writer->file, error);
    release(writer);
    return status;
}

void vlm_st_writer_abandon(vlm_st_writer *writer)
{
    if (!writer) return;
    vlm_places_abandon(writer->places);
    vlm_writer_abandon(writer->file);
    release(writer);
}
