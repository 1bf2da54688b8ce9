/* Whole files: reading into memory, and replacing so that a reader sees the old or the new content,
 * never a mixture. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base_file.h"
#include "base_file_io.h"

enum { FIRST_READ = 64 * 1024, REPLACE_TRIES = 100 };

ssize_t vlm_io_read(int fd, void *data, size_t bytes)
{
    for (;;) {
        ssize_t n = read(fd, data, bytes);
        if (n >= 0 || errno != EINTR) return n;
    }
}

int vlm_io_write_all(int fd, const void *data, size_t bytes)
{
    const char *next = data;
    while (bytes > 0) {
        ssize_t n = write(fd, next, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        next += n;
        bytes -= (size_t)n;
    }
    return 0;
}

int vlm_io_write_at(int fd, uint64_t at, const void *data, size_t bytes)
{
    const char *next = data;
    while (bytes > 0) {
        ssize_t n = pwrite(fd, next, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        next += n;
        at += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return 0;
}

int vlm_io_sync(int fd)
{
    if (fsync(fd) == 0) return 0;
    /* Pipes, devices and some file systems cannot sync; what was written there is as safe
     * as it gets. */
    return errno == EINVAL || errno == ENOTSUP || errno == EROFS ? 0 : errno;
}

/* Read to the end of fd into a growing block, which the caller frees on failure too. */
static vlmoe_status read_all(int fd, const char *path, size_t max_bytes, vlm_text *text,
                             vlmoe_error *error)
{
    for (;;) {
        if (text->bytes > max_bytes)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s is larger than the %zu bytes allowed here",
                            path, max_bytes);
        if (text->capacity - text->bytes < 2) {
            size_t capacity = VLM_MAX(text->capacity * 2, (size_t)FIRST_READ);
            char *grown = vlm_alloc(capacity);
            if (!grown) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", path);
            if (text->bytes) memcpy(grown, text->data, text->bytes);
            vlm_free(text->data);
            text->data = grown;
            text->capacity = capacity;
        }
        ssize_t n = vlm_io_read(fd, text->data + text->bytes, text->capacity - text->bytes - 1);
        if (n < 0) return vlm_fail_errno(error, "read", path);
        if (n == 0) break;
        text->bytes += (size_t)n;
    }
    text->data[text->bytes] = '\0';
    return VLMOE_OK;
}

vlmoe_status vlm_file_read(const char *path, size_t max_bytes, char **out, size_t *bytes,
                           vlmoe_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return vlm_fail_errno(error, "open", path);
    struct stat info;
    vlm_text text = {0};
    /* A file of known size is read into one block; the size is a hint, its end decides. */
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size <= max_bytes) {
        text.capacity = (size_t)info.st_size + 2;
        text.data = vlm_alloc(text.capacity);
        if (!text.data) text.capacity = 0;
    }
    vlmoe_status status = read_all(fd, path, max_bytes, &text, error);
    close(fd);
    if (status) {
        vlm_free(text.data);
        return status;
    }
    *out = text.data;
    *bytes = text.bytes;
    return VLMOE_OK;
}

/* A new file beside path, by a name nobody holds. The caller frees *name. */
static vlmoe_status open_beside(const char *path, char **name, int *fd, vlmoe_error *error)
{
    for (int i = 0; i < REPLACE_TRIES; i++) {
        char *temporary = vlm_format("%s.tmp-%ld-%d", path, (long)getpid(), i);
        if (!temporary) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to write %s", path);
        *fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) {
            *name = temporary;
            return VLMOE_OK;
        }
        if (errno != EEXIST) {
            vlmoe_status status = vlm_fail_errno(error, "create", temporary);
            vlm_free(temporary);
            return status;
        }
        vlm_free(temporary);
    }
    return vlm_fail(error, VLMOE_E_IO,
                    "cannot write %s: %d temporary files of this name are in the way", path,
                    REPLACE_TRIES);
}

/* Renaming a file over a device, a pipe or a link would destroy it: /dev/null, /dev/stdout. */
static bool is_no_plain_file(const char *path)
{
    struct stat there;
    return !lstat(path, &there) && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode);
}

static vlmoe_status write_in_place(const char *path, const void *data, size_t bytes,
                                   vlmoe_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return vlm_fail_errno(error, "open", path);
    int number = vlm_io_write_all(fd, data, bytes);
    if (!number) number = vlm_io_sync(fd);
    if (close(fd) != 0 && !number) number = errno;
    errno = number;
    return number ? vlm_fail_errno(error, "write", path) : VLMOE_OK;
}

vlmoe_status vlm_file_replace(const char *path, const void *data, size_t bytes, vlmoe_error *error)
{
    if (is_no_plain_file(path)) return write_in_place(path, data, bytes, error);
    char *temporary = NULL;
    int fd = -1;
    VLM_TRY(open_beside(path, &temporary, &fd, error));
    int number = vlm_io_write_all(fd, data, bytes);
    if (!number) number = vlm_io_sync(fd);
    if (close(fd) != 0 && !number) number = errno;
    vlmoe_status status = VLMOE_OK;
    errno = number;
    if (number || rename(temporary, path) != 0) {
        status = vlm_fail_errno(error, "write", path);
        unlink(temporary);
    }
    vlm_free(temporary);
    if (status) return status;

    char *dir = vlm_path_dir(path);
    if (!dir) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to write %s", path);
    status = vlm_dir_sync(dir, error);
    vlm_free(dir);
    return status;
}
