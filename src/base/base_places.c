/* Files written in places: the first error is kept, as in base_writer.c. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base_file.h"
#include "base_file_io.h"

struct vlm_places {
    int fd;
    int first_errno; /* 0 = all well; after a failure nothing more is written */
    bool is_ours;    /* created here, so an abandoned one is deleted */
    char *path;
};

static vlmoe_status open_places(const char *path, int flags, vlm_places **out, vlmoe_error *error)
{
    vlm_places *file = vlm_alloc(sizeof *file);
    char *copy = vlm_strdup(path);
    if (!file || !copy) {
        vlm_free(file);
        vlm_free(copy);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to write %s", path);
    }
    *file = (vlm_places){.fd = open(path, flags | O_CLOEXEC, 0666), .path = copy};
    if (file->fd >= 0) {
        *out = file;
        return VLMOE_OK;
    }
    vlmoe_status status = vlm_fail_errno(error, flags & O_CREAT ? "create" : "open", path);
    vlm_free(file->path);
    vlm_free(file);
    return status;
}

vlmoe_status vlm_places_create(const char *path, uint64_t bytes, vlm_places **out,
                               vlmoe_error *error)
{
    vlm_places *file = NULL;
    VLM_TRY(open_places(path, O_WRONLY | O_CREAT | O_TRUNC, &file, error));
    file->is_ours = true;
    if (ftruncate(file->fd, (off_t)bytes) != 0) {
        vlmoe_status status = vlm_fail_errno(error, "size", path);
        vlm_places_abandon(file);
        return status;
    }
    *out = file;
    return VLMOE_OK;
}

vlmoe_status vlm_places_open(const char *path, vlm_places **out, vlmoe_error *error)
{
    return open_places(path, O_WRONLY, out, error);
}

void vlm_places_put(vlm_places *file, uint64_t at, const void *data, size_t bytes)
{
    if (!file->first_errno) file->first_errno = vlm_io_write_at(file->fd, at, data, bytes);
}

vlmoe_status vlm_places_close(vlm_places *file, vlmoe_error *error)
{
    if (!file) return VLMOE_OK;
    if (!file->first_errno) file->first_errno = vlm_io_sync(file->fd);
    if (close(file->fd) != 0 && !file->first_errno) file->first_errno = errno;
    vlmoe_status status = VLMOE_OK;
    if (file->first_errno) {
        errno = file->first_errno;
        status = vlm_fail_errno(error, "write", file->path);
    }
    vlm_free(file->path);
    vlm_free(file);
    return status;
}

void vlm_places_abandon(vlm_places *file)
{
    if (!file) return;
    struct stat info;
    bool is_file = fstat(file->fd, &info) == 0 && S_ISREG(info.st_mode); /* never a device */
    close(file->fd);
    if (file->is_ours && is_file) unlink(file->path);
    vlm_free(file->path);
    vlm_free(file);
}
