/* Read-only maps of whole files. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base_file.h"

static vlmoe_status map_descriptor(int fd, const char *path, vlm_map *out, vlmoe_error *error)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return vlm_fail_errno(error, "examine", path);
    if (!S_ISREG(info.st_mode))
        return vlm_fail(error, VLMOE_E_IO, "cannot open %s: not a regular file", path);
    vlm_map map = {0};
    if (info.st_size > 0) {
        map.bytes = (size_t)info.st_size;
        void *data = mmap(NULL, map.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) return vlm_fail_errno(error, "map", path);
        map.data = data;
    }
    *out = map;
    return VLMOE_OK;
}

vlmoe_status vlm_map_open(const char *path, vlm_map *out, vlmoe_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return vlm_fail_errno(error, "open", path);
    vlmoe_status status = map_descriptor(fd, path, out, error);
    close(fd);
    return status;
}

void vlm_map_close(vlm_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (vlm_map){0};
}
