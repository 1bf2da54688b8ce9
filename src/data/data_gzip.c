/* zlib behind three calls. */
#include "data_gzip.h"

#include <errno.h>
#include <zlib.h>

enum { ONCE_MAX = 1 << 20 };

struct vlm_gzip {
    gzFile file;
    char *path;
    uint64_t n_read;
};

vlmoe_status vlm_gzip_open(const char *path, vlm_gzip **out, vlmoe_error *error)
{
    vlm_gzip *file = vlm_alloc(sizeof *file);
    if (file) file->path = vlm_strdup(path);
    if (!file || !file->path) {
        vlm_free(file);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", path);
    }
    errno = 0;
    file->file = gzopen(path, "rb");
    if (!file->file) {
        vlm_free(file->path);
        vlm_free(file);
        return vlm_fail_errno(error, "open", path);
    }
    *out = file;
    return VLMOE_OK;
}

const char *vlm_gzip_path(const vlm_gzip *file)
{
    return file->path;
}

void vlm_gzip_close(vlm_gzip *file)
{
    if (!file) return;
    gzclose(file->file);
    vlm_free(file->path);
    vlm_free(file);
}

vlmoe_status vlm_gzip_read(vlm_gzip *file, void *data, size_t bytes, bool *is_over,
                           vlmoe_error *error)
{
    size_t done = 0;
    *is_over = false;
    while (done < bytes) {
        const int n =
            gzread(file->file, (char *)data + done, (unsigned)VLM_MIN(bytes - done, ONCE_MAX));
        if (n <= 0) {
            int code = Z_OK;
            const char *why = gzerror(file->file, &code);
            if (code == Z_ERRNO) return vlm_fail_errno(error, "read", file->path);
            if (code == Z_MEM_ERROR)
                return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", file->path);
            if (code != Z_OK)
                return vlm_fail(error, VLMOE_E_FORMAT, "%s: damaged after byte %llu: %s",
                                file->path, (unsigned long long)file->n_read + done, why);
            break;
        }
        done += (size_t)n;
    }
    file->n_read += done;
    *is_over = bytes && !done;
    if (done == bytes || *is_over) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s ends at byte %llu, %zu bytes too early", file->path,
                    (unsigned long long)file->n_read, bytes - done);
}
