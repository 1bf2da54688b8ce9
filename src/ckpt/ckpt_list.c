/* checksums.json: made from a folder, read with suspicion, compared with a folder. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base_file.h"
#include "base_hash.h"
#include "base_json.h"
#include "ckpt_list.h"

enum { MAX_LIST_BYTES = 64 << 20 };

bool vlm_ckpt_plain_name(const char *name)
{
    return name[0] && name[0] != '.' && !strchr(name, '/');
}

void vlm_ckpt_list_free(vlm_ckpt_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        vlm_free(list->files[i].name);
        vlm_free(list->files[i].path);
    }
    vlm_free(list->files);
    *list = (vlm_ckpt_list){0};
}

/* Fill the next entry; room for it is the caller's promise. */
static vlmoe_status add_file(vlm_ckpt_list *list, const char *dir, const char *name,
                             vlmoe_error *error)
{
    vlm_ckpt_file *file = &list->files[list->n++];
    file->name = vlm_strdup(name);
    file->path = vlm_path_join(dir, name);
    if (!file->name || !file->path)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the files of %s", dir);
    return VLMOE_OK;
}

static vlmoe_status measure(const char *path, uint64_t *bytes, uint64_t *hash, vlmoe_error *error)
{
    vlm_map map;
    VLM_TRY(vlm_map_open(path, &map, error));
    *bytes = map.bytes;
    *hash = vlm_hash64(map.data, map.bytes);
    vlm_map_close(&map);
    return VLMOE_OK;
}

/* Files may have been written by other processes, so they are synced here whoever wrote them. */
static vlmoe_status sync_file(const char *path, vlmoe_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return vlm_fail_errno(error, "open", path);
    vlmoe_status status =
        fsync(fd) == 0 || errno == EINVAL ? VLMOE_OK : vlm_fail_errno(error, "sync", path);
    close(fd);
    return status;
}

vlmoe_status vlm_ckpt_measure(const char *path, uint64_t *bytes, uint64_t *hash, vlmoe_error *error)
{
    VLM_TRY(sync_file(path, error));
    return measure(path, bytes, hash, error);
}

static vlmoe_status take_names(const char *dir, char **names, size_t n, vlm_ckpt_list *list,
                               vlmoe_error *error)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], VLM_CKPT_CHECKSUMS) == 0) continue;
        VLM_TRY(add_file(list, dir, names[i], error));
        vlm_ckpt_file *file = &list->files[list->n - 1];
        struct stat info;
        if (lstat(file->path, &info) != 0) return vlm_fail_errno(error, "examine", file->path);
        if (!S_ISREG(info.st_mode) || !vlm_ckpt_plain_name(names[i]))
            return vlm_fail(error, VLMOE_E_ARG, "%s: a checkpoint holds plain files only",
                            file->path);
    }
    return VLMOE_OK;
}

vlmoe_status vlm_ckpt_list_names(const char *dir, vlm_ckpt_list *out, vlmoe_error *error)
{
    char **names;
    size_t n;
    VLM_TRY(vlm_dir_list(dir, &names, &n, error));
    vlm_ckpt_list list = {.files = vlm_alloc_array(n, sizeof *list.files)};
    vlmoe_status status =
        list.files ? take_names(dir, names, n, &list, error)
                   : vlm_fail(error, VLMOE_E_NOMEM, "no memory for the files of %s", dir);
    vlm_names_free(names, n);
    if (status) vlm_ckpt_list_free(&list);
    else *out = list;
    return status;
}

vlmoe_status vlm_ckpt_list_scan(const char *dir, vlm_ckpt_list *out, vlmoe_error *error)
{
    vlm_ckpt_list list = {0};
    vlmoe_status status = vlm_ckpt_list_names(dir, &list, error);
    for (size_t i = 0; i < list.n && !status; i++)
        status =
            vlm_ckpt_measure(list.files[i].path, &list.files[i].bytes, &list.files[i].hash, error);
    if (status) vlm_ckpt_list_free(&list);
    else *out = list;
    return status;
}

vlmoe_status vlm_ckpt_list_write(const char *dir, const vlm_ckpt_list *list, vlmoe_error *error)
{
    vlm_text text = {0};
    vlm_text_put(&text, "{\"format\": %d, \"files\": [", VLM_CKPT_FORMAT);
    for (size_t i = 0; i < list->n; i++) {
        const vlm_ckpt_file *file = &list->files[i];
        vlm_text_put(&text, "%s\n  {\"name\": ", i ? "," : "");
        vlm_text_json_string(&text, file->name, strlen(file->name));
        vlm_text_put(&text, ", \"bytes\": %" PRIu64 ", \"xxh3\": \"%016" PRIx64 "\"}", file->bytes,
                     file->hash);
    }
    vlm_text_put(&text, "\n]}\n");
    char *path = vlm_path_join(dir, VLM_CKPT_CHECKSUMS);
    vlmoe_status status;
    if (text.failed || !path)
        status = vlm_fail(error, VLMOE_E_NOMEM, "no memory for the checksums of %s", dir);
    else status = vlm_file_replace(path, text.data, text.bytes, error);
    vlm_free(path);
    vlm_text_free(&text);
    return status;
}

/* Sixteen hexadecimal digits, as written. */
static bool parse_hash(const char *text, uint64_t *out)
{
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
    return sscanf(text, "%" SCNx64, out) == 1;
}

static vlmoe_status read_entries(const vlm_value *files, const char *dir, vlm_ckpt_list *list,
                                 vlmoe_error *error)
{
    for (const vlm_value *entry = vlm_json_first(files); entry; entry = vlm_json_next(entry)) {
        const char *name = vlm_json_text(vlm_json_get(entry, "name"));
        int64_t bytes;
        uint64_t hash;
        if (!name || !vlm_ckpt_plain_name(name) || strcmp(name, VLM_CKPT_CHECKSUMS) == 0)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s/%s: entry %zu has no plain file name", dir,
                            VLM_CKPT_CHECKSUMS, list->n);
        if (list->n && strcmp(list->files[list->n - 1].name, name) >= 0)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s/%s: \"%s\" is out of order or listed twice",
                            dir, VLM_CKPT_CHECKSUMS, name);
        if (!vlm_json_int(vlm_json_get(entry, "bytes"), &bytes) || bytes < 0 ||
            !parse_hash(vlm_json_text(vlm_json_get(entry, "xxh3")), &hash))
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "%s/%s: \"%s\" needs bytes and 16 hexadecimal digits as xxh3", dir,
                            VLM_CKPT_CHECKSUMS, name);
        VLM_TRY(add_file(list, dir, name, error));
        list->files[list->n - 1].bytes = (uint64_t)bytes;
        list->files[list->n - 1].hash = hash;
    }
    return VLMOE_OK;
}

static vlmoe_status read_document(const vlm_value *root, const char *dir, vlm_ckpt_list *list,
                                  vlmoe_error *error)
{
    int64_t format;
    if (!vlm_json_int(vlm_json_get(root, "format"), &format))
        return vlm_fail(error, VLMOE_E_FORMAT, "%s/%s: has no format number", dir,
                        VLM_CKPT_CHECKSUMS);
    if (format != VLM_CKPT_FORMAT)
        return vlm_fail(error, VLMOE_E_VERSION, "%s/%s: format %lld, this library reads %d", dir,
                        VLM_CKPT_CHECKSUMS, (long long)format, VLM_CKPT_FORMAT);
    const vlm_value *files = vlm_json_get(root, "files");
    if (!files || vlm_json_kind_of(files) != VLM_JSON_ARRAY)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s/%s: has no list of files", dir,
                        VLM_CKPT_CHECKSUMS);
    list->files = vlm_alloc_array((size_t)vlm_json_size(files), sizeof *list->files);
    if (!list->files) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the files of %s", dir);
    return read_entries(files, dir, list, error);
}

vlmoe_status vlm_ckpt_list_read(const char *dir, vlm_ckpt_list *out, vlmoe_error *error)
{
    vlm_ckpt_list list = {0};
    vlm_json *doc = NULL;
    char *text = NULL;
    size_t bytes;
    char *path = vlm_path_join(dir, VLM_CKPT_CHECKSUMS);
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the files of %s", dir);
    vlmoe_status status = vlm_file_read(path, MAX_LIST_BYTES, &text, &bytes, error);
    if (!status) status = vlm_json_parse(text, bytes, path, false, &doc, error);
    if (!status) status = read_document(vlm_json_root(doc), dir, &list, error);
    if (status) vlm_ckpt_list_free(&list);
    else *out = list;
    vlm_json_free(doc);
    vlm_free(text);
    vlm_free(path);
    return status;
}

static vlmoe_status check_file(const vlm_ckpt_file *file, bool hashes, vlmoe_error *error)
{
    struct stat info;
    if (lstat(file->path, &info) != 0) {
        if (errno != ENOENT) return vlm_fail_errno(error, "examine", file->path);
        return vlm_fail(error, VLMOE_E_FORMAT, "%s is missing, %s lists it", file->path,
                        VLM_CKPT_CHECKSUMS);
    }
    if (!S_ISREG(info.st_mode) || (uint64_t)info.st_size != file->bytes)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s has %lld bytes, expected %" PRIu64, file->path,
                        (long long)info.st_size, file->bytes);
    if (!hashes) return VLMOE_OK;
    uint64_t bytes, hash;
    VLM_TRY(measure(file->path, &bytes, &hash, error));
    if (hash != file->hash)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s is damaged: its checksum is %016" PRIx64 ", expected %016" PRIx64,
                        file->path, hash, file->hash);
    return VLMOE_OK;
}

vlmoe_status vlm_ckpt_list_check(const char *dir, const vlm_ckpt_list *list, bool hashes,
                                 vlmoe_error *error)
{
    for (size_t i = 0; i < list->n; i++) VLM_TRY(check_file(&list->files[i], hashes, error));
    char **names;
    size_t n, at = 0;
    VLM_TRY(vlm_dir_list(dir, &names, &n, error));
    vlmoe_status status = VLMOE_OK;
    for (size_t i = 0; i < n && !status;
         i++) { /* both are sorted, and every listed file is there */
        if (at < list->n && strcmp(names[i], list->files[at].name) == 0) at++;
        else if (strcmp(names[i], VLM_CKPT_CHECKSUMS) != 0)
            status = vlm_fail(error, VLMOE_E_FORMAT, "%s/%s is not listed in %s", dir, names[i],
                              VLM_CKPT_CHECKSUMS);
    }
    vlm_names_free(names, n);
    return status;
}
