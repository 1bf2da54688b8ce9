/* The buffered writer: collects the first error, counts and hashes all bytes put. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base_file.h"
#include "base_file_io.h"
#include "base_hash.h"

enum { BUFFER_BYTES = 256 * 1024 };

struct vlm_writer {
    int fd;
    int first_errno; /* 0 = all well; after a failure nothing more is written */
    char *path;
    vlm_hasher *hasher;
    uint64_t bytes;
    size_t held; /* bytes waiting in buffer */
    char *buffer;
};

static void release(vlm_writer *writer)
{
    vlm_free(writer->path);
    vlm_free(writer->buffer);
    vlm_hasher_destroy(writer->hasher);
    vlm_free(writer);
}

vlmoe_status vlm_writer_open(const char *path, vlm_writer **out, vlmoe_error *error)
{
    vlm_writer *writer = vlm_alloc(sizeof *writer);
    if (!writer) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to write %s", path);
    writer->path = vlm_strdup(path);
    writer->buffer = vlm_alloc(BUFFER_BYTES);
    writer->hasher = vlm_hasher_create();
    if (!writer->path || !writer->buffer || !writer->hasher) {
        release(writer);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to write %s", path);
    }
    writer->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer->fd < 0) {
        vlmoe_status status = vlm_fail_errno(error, "create", path);
        release(writer);
        return status;
    }
    *out = writer;
    return VLMOE_OK;
}

static void flush(vlm_writer *writer)
{
    if (!writer->first_errno && writer->held)
        writer->first_errno = vlm_io_write_all(writer->fd, writer->buffer, writer->held);
    writer->held = 0;
}

void vlm_writer_put(vlm_writer *writer, const void *data, size_t bytes)
{
    if (bytes == 0) return;
    vlm_hasher_put(writer->hasher, data, bytes);
    writer->bytes += bytes;
    if (bytes > BUFFER_BYTES - writer->held) flush(writer);
    if (bytes >= BUFFER_BYTES) {
        if (!writer->first_errno) writer->first_errno = vlm_io_write_all(writer->fd, data, bytes);
        return;
    }
    memcpy(writer->buffer + writer->held, data, bytes);
    writer->held += bytes;
}

uint64_t vlm_writer_bytes(const vlm_writer *writer)
{
    return writer->bytes;
}

uint64_t vlm_writer_hash(const vlm_writer *writer)
{
    return vlm_hasher_value(writer->hasher);
}

vlmoe_status vlm_writer_close(vlm_writer *writer, vlmoe_error *error)
{
    if (!writer) return VLMOE_OK;
    flush(writer);
    if (!writer->first_errno) writer->first_errno = vlm_io_sync(writer->fd);
    if (close(writer->fd) != 0 && !writer->first_errno) writer->first_errno = errno;
    vlmoe_status status = VLMOE_OK;
    if (writer->first_errno) {
        errno = writer->first_errno;
        status = vlm_fail_errno(error, "write", writer->path);
    }
    release(writer);
    return status;
}

void vlm_writer_abandon(vlm_writer *writer)
{
    if (!writer) return;
    struct stat info;
    bool is_file = fstat(writer->fd, &info) == 0 &&
                   S_ISREG(info.st_mode); /* never a device such as /dev/full */
    close(writer->fd);
    if (is_file) unlink(writer->path);
    release(writer);
}
