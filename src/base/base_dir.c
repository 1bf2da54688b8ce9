/* Folders and paths. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base_file.h"
#include "base_file_io.h"

bool vlm_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool vlm_path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* One level; an existing folder (or a link to one) is fine. */
static vlmoe_status make_one(const char *path, vlmoe_error *error)
{
    if (mkdir(path, 0777) == 0) return VLMOE_OK;
    int number = errno;
    if (number == EEXIST && vlm_path_is_dir(path)) return VLMOE_OK;
    errno = number == EEXIST ? ENOTDIR : number;
    return vlm_fail_errno(error, "make folder", path);
}

vlmoe_status vlm_dir_make(const char *path, vlmoe_error *error)
{
    char *copy = vlm_strdup(path);
    if (!copy) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to make folder %s", path);
    vlmoe_status status = VLMOE_OK;
    for (char *slash = copy; *slash && !status; slash++) {
        if (*slash != '/' || slash == copy) continue;
        *slash = '\0';
        status = make_one(copy, error);
        *slash = '/';
    }
    if (!status) status = make_one(copy, error);
    vlm_free(copy);
    return status;
}

vlmoe_status vlm_dir_sync(const char *path, vlmoe_error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return vlm_fail_errno(error, "open folder", path);
    int number = vlm_io_sync(fd);
    close(fd);
    if (!number) return VLMOE_OK;
    errno = number;
    return vlm_fail_errno(error, "sync folder", path);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

vlmoe_status vlm_dir_remove(const char *path, vlmoe_error *error)
{
    enum { OPEN_FOLDERS = 16 };
    errno = 0;
    if (nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return VLMOE_OK;
    return vlm_fail_errno(error, "remove", path);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Append a copy of name, doubling the list at powers of two. */
static bool append_name(char ***names, size_t *n, const char *name)
{
    if ((*n & (*n - 1)) == 0) {
        char **grown = vlm_alloc_array(*n ? 2 * *n : 1, sizeof *grown);
        if (!grown) return false;
        if (*n) memcpy(grown, *names, *n * sizeof *grown);
        vlm_free(*names);
        *names = grown;
    }
    (*names)[*n] = vlm_strdup(name);
    if (!(*names)[*n]) return false;
    ++*n;
    return true;
}

vlmoe_status vlm_dir_list(const char *path, char ***names, size_t *n, vlmoe_error *error)
{
    DIR *dir = opendir(path);
    if (!dir) return vlm_fail_errno(error, "list folder", path);
    char **found = NULL;
    size_t n_found = 0;
    vlmoe_status status = VLMOE_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry && errno) status = vlm_fail_errno(error, "list folder", path);
        if (!entry) break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!append_name(&found, &n_found, entry->d_name)) {
            status = vlm_fail(error, VLMOE_E_NOMEM, "no memory to list folder %s", path);
            break;
        }
    }
    closedir(dir);
    if (status) {
        vlm_names_free(found, n_found);
        return status;
    }
    if (n_found) qsort(found, n_found, sizeof *found, compare_names);
    *names = found;
    *n = n_found;
    return VLMOE_OK;
}

void vlm_names_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) vlm_free(names[i]);
    vlm_free(names);
}

bool vlm_path_ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), n_end = strlen(end);
    return n > n_end && !strcmp(path + n - n_end, end);
}

char *vlm_path_join(const char *dir, const char *name)
{
    if (!dir || !dir[0] || name[0] == '/') return vlm_strdup(name);
    bool has_slash = dir[strlen(dir) - 1] == '/';
    return vlm_format("%s%s%s", dir, has_slash ? "" : "/", name);
}

char *vlm_path_dir(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--; /* "a/b/" is "a/b" */
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    return n ? vlm_format("%.*s", (int)n, path) : vlm_strdup(".");
}
