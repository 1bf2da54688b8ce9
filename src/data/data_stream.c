/* The window over a file: filling, growing, seeking, lines. */
#include <ctype.h>
#include "data_stream.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base_file_io.h"
#include "base_json.h"

vlmoe_status vlm_stream_open(const char *path, size_t chunk, vlm_stream *out, vlmoe_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return vlm_fail_errno(error, "open", path);
    char *copy = vlm_strdup(path);
    if (!copy) {
        close(fd);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", path);
    }
    *out = (vlm_stream){.path = copy, .fd = fd, .chunk = chunk ? chunk : VLM_STREAM_CHUNK};
    return VLMOE_OK;
}

void vlm_stream_close(vlm_stream *stream)
{
    if (stream->path) close(stream->fd);
    vlm_free(stream->path);
    vlm_free(stream->data);
    *stream = (vlm_stream){0};
}

/* Room for a chunk after end: what is before keep goes, then the window grows. */
static vlmoe_status make_room(vlm_stream *stream, vlmoe_error *error)
{
    const size_t held = stream->end - stream->keep;
    if (held >= VLM_STREAM_WINDOW_MAX)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s byte %llu: more than %d bytes without an end of what begins here",
                        stream->path, (unsigned long long)(stream->base + stream->keep),
                        VLM_STREAM_WINDOW_MAX);
    if (stream->capacity - stream->end >= stream->chunk) return VLMOE_OK;
    char *data = stream->data;
    if (stream->capacity < held + stream->chunk) {
        const size_t capacity = VLM_MAX(2 * stream->capacity, held + stream->chunk);
        data = vlm_alloc(capacity + 1);
        if (!data) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", stream->path);
        stream->capacity = capacity;
    }
    if (held) memmove(data, stream->data + stream->keep, held);
    if (data != stream->data) vlm_free(stream->data);
    stream->data = data;
    stream->base += stream->keep;
    stream->at -= stream->keep;
    stream->end = held;
    stream->keep = 0;
    return VLMOE_OK;
}

vlmoe_status vlm_stream_fill(vlm_stream *stream, vlmoe_error *error)
{
    VLM_TRY(make_room(stream, error));
    ssize_t n = vlm_io_read(stream->fd, stream->data + stream->end, stream->chunk);
    if (n < 0) return vlm_fail_errno(error, "read", stream->path);
    stream->end += (size_t)n;
    stream->is_over = n == 0;
    return VLMOE_OK;
}

vlmoe_status vlm_stream_skip_mark(vlm_stream *stream, vlmoe_error *error)
{
    while (stream->end < 3 && !stream->is_over) VLM_TRY(vlm_stream_fill(stream, error));
    stream->keep = stream->at = vlm_utf8_mark(stream->data, stream->end);
    return VLMOE_OK;
}

vlmoe_status vlm_stream_open_text(const char *path, vlm_stream *out, vlmoe_error *error)
{
    VLM_TRY(vlm_stream_open(path, 0, out, error));
    vlmoe_status st = vlm_stream_skip_mark(out, error);
    if (st) vlm_stream_close(out);
    return st;
}

vlmoe_status vlm_stream_first_sign(const char *path, char *out, vlmoe_error *error)
{
    vlm_stream stream = {0};
    *out = '\0';
    VLM_TRY(vlm_stream_open_text(path, &stream, error));
    vlmoe_status st = stream.at == stream.end ? vlm_stream_fill(&stream, error) : VLMOE_OK;
    size_t at = stream.at;
    while (!st && at < stream.end && isspace((unsigned char)stream.data[at])) at++;
    if (!st && at < stream.end) *out = stream.data[at];
    vlm_stream_close(&stream);
    return st;
}

vlmoe_status vlm_stream_seek(vlm_stream *stream, uint64_t offset, vlmoe_error *error)
{
    if (lseek(stream->fd, (off_t)offset, SEEK_SET) < 0)
        return vlm_fail_errno(error, "seek in", stream->path);
    stream->keep = stream->at = stream->end = 0;
    stream->base = offset;
    stream->is_over = false;
    return VLMOE_OK;
}

vlmoe_status vlm_stream_line(vlm_stream *stream, char **line, size_t *bytes, vlmoe_error *error)
{
    stream->keep = stream->at;
    for (;;) {
        char *from = stream->data + stream->at, *end = NULL;
        if (stream->at < stream->end) end = memchr(from, '\n', stream->end - stream->at);
        if (!end && !stream->is_over) {
            stream->at = stream->end;
            VLM_TRY(vlm_stream_fill(stream, error));
            continue;
        }
        if (!end && stream->keep == stream->end) {
            *line = NULL;
            *bytes = 0;
            return VLMOE_OK;
        }
        *line = stream->data + stream->keep;
        *bytes = (end ? (size_t)(end - stream->data) : stream->end) - stream->keep;
        stream->at = stream->keep + *bytes + (end ? 1 : 0);
        if (*bytes && (*line)[*bytes - 1] == '\r') --*bytes;
        (*line)[*bytes] = 0;
        return VLMOE_OK;
    }
}
