/* A file of any size read forwards through a small window: what lies between keep and end is in
 * memory. Not here: what the bytes mean. */
#ifndef VLM_DATA_STREAM_H
#define VLM_DATA_STREAM_H

#include "base.h"

enum {
    VLM_STREAM_CHUNK = 256 << 10,    /* bytes asked of the system at once, unless told otherwise */
    VLM_STREAM_WINDOW_MAX = 64 << 20 /* no line and no JSON element is longer than this */
};

typedef struct vlm_stream {
    char *path;
    int fd;
    char *data;      /* window of the file; data[end] may be written */
    size_t capacity; /* of data, less one byte */
    size_t keep;     /* bytes before it may go; moved by the reader */
    size_t at;       /* next byte that was not looked at; keep <= at <= end */
    size_t end;
    size_t chunk;
    uint64_t base; /* where in the file data[0] was */
    bool is_over;  /* end is the end of the file */
} vlm_stream;

/* chunk 0 = VLM_STREAM_CHUNK. Errors: IO, NOMEM. */
vlmoe_status vlm_stream_open(const char *path, size_t chunk, vlm_stream *out, vlmoe_error *error);
void vlm_stream_close(vlm_stream *stream); /* a zeroed one is allowed */

/* A text file, behind its byte order mark where it has one. Errors: as open and fill. */
vlmoe_status vlm_stream_open_text(const char *path, vlm_stream *out, vlmoe_error *error);
/* The first character of a text file that is no white space, which tells JSON from lines; '\0': there is none. Errors: the same. */
vlmoe_status vlm_stream_first_sign(const char *path, char *out, vlmoe_error *error);

/* At the file's first byte: go behind a byte order mark, if one is there. Errors: as fill. */
vlmoe_status vlm_stream_skip_mark(vlm_stream *stream, vlmoe_error *error);

/* More bytes after end, or is_over; data may move. Errors: IO, NOMEM, FORMAT (the window from keep
 * on is at its limit; the text names file and byte). */
vlmoe_status vlm_stream_fill(vlm_stream *stream, vlmoe_error *error);

/* Go on at this byte of the file. Errors: IO (what cannot be sought, a pipe). */
vlmoe_status vlm_stream_seek(vlm_stream *stream, uint64_t offset, vlmoe_error *error);

/* The next line without its end ("\n" or "\r\n"), borrowed until the next call; its byte 'bytes' is
 * zero. *line = NULL at the end. Errors: as fill. */
vlmoe_status vlm_stream_line(vlm_stream *stream, char **line, size_t *bytes, vlmoe_error *error);

#endif
