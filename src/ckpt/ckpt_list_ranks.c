/* The list of files of a checkpoint folder, measured by all ranks: file i by rank i modulo their number. */
#include <string.h>
#include "base_json.h"
#include "ckpt_list.h"

typedef struct measured {
    uint64_t bytes, hash;
} measured;

/* Rank 0's paths of all files to everybody, one after the other, each with its zero byte. Caller frees. */
static vlmoe_status share_paths(vlm_comm *comm, const vlm_ckpt_list *list, char **out,
                                size_t *bytes, vlmoe_error *error)
{
    vlm_text text = {0};
    size_t *at = vlm_alloc_array((size_t)vlm_comm_size(comm) + 1, sizeof *at);
    for (size_t i = 0; i < list->n; i++)
        vlm_text_append(&text, list->files[i].path, strlen(list->files[i].path) + 1);
    vlmoe_status status = at && !text.failed ? VLMOE_OK
                                             : vlm_fail(error, VLMOE_E_NOMEM,
                                                        "no memory for the files of a checkpoint");
    status = vlm_comm_agree(comm, "files of a checkpoint", status, error);
    if (!status && at) /* a failure here is one of all */
        status = vlm_comm_share_blocks(comm, "files of a checkpoint", text.data, text.bytes, out,
                                       at, error);
    if (!status && at) *bytes = at[1]; /* only rank 0 has any */
    vlm_text_free(&text);
    vlm_free(at);
    return status;
}

/* This rank's files. found [n], zeros elsewhere. */
static vlmoe_status measure_own(const vlm_comm *comm, const char *path, size_t n, measured *found,
                                vlmoe_error *error)
{
    size_t size = (size_t)vlm_comm_size(comm), rank = (size_t)vlm_comm_rank(comm);
    for (size_t i = 0; i < n; i++, path += strlen(path) + 1)
        if (i % size == rank)
            VLM_TRY(vlm_ckpt_measure(path, &found[i].bytes, &found[i].hash, error));
    return VLMOE_OK;
}

static vlmoe_status measure_all(vlm_comm *comm, const char *paths, size_t n, measured *all,
                                vlmoe_error *error)
{
    measured *own = vlm_alloc_array(n, sizeof *own);
    vlmoe_status status =
        own ? measure_own(comm, paths, n, own, error)
            : vlm_fail(error, VLMOE_E_NOMEM, "no memory for the files of a checkpoint");
    status = vlm_comm_agree(comm, "checksums of a checkpoint", status, error);
    if (!status)
        status =
            vlm_comm_share(comm, "checksums of a checkpoint", own, n * sizeof *own, all, error);
    vlm_free(own);
    return status;
}

/* paths: bytes of share_paths. list: rank 0's. */
static vlmoe_status measure_list(vlm_comm *comm, const char *paths, size_t bytes,
                                 vlm_ckpt_list *list, vlmoe_error *error)
{
    size_t n = 0, size = (size_t)vlm_comm_size(comm);
    for (size_t i = 0; i < bytes; i++) n += !paths[i];
    measured *all = vlm_alloc_array(n * size, sizeof *all);
    vlmoe_status status =
        all ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "no memory for the files of a checkpoint");
    status = vlm_comm_agree(comm, "files of a checkpoint", status, error);
    if (!status) status = measure_all(comm, paths, n, all, error);
    for (size_t i = 0; all && i < list->n && !status; i++) {
        list->files[i].bytes = all[i % size * n + i].bytes;
        list->files[i].hash = all[i % size * n + i].hash;
    }
    vlm_free(all);
    return status;
}

vlmoe_status vlm_ckpt_list_scan_on(vlm_comm *comm, const char *dir, vlm_ckpt_list *out,
                                   vlmoe_error *error)
{
    vlm_ckpt_list list = {0};
    char *paths = NULL;
    size_t bytes = 0;
    vlmoe_status status = dir ? vlm_ckpt_list_names(dir, &list, error) : VLMOE_OK;
    status = vlm_comm_agree(comm, "files of a checkpoint", status, error);
    if (!status) status = share_paths(comm, &list, &paths, &bytes, error);
    if (!status) status = measure_list(comm, paths, bytes, &list, error);
    vlm_free(paths);
    if (status) vlm_ckpt_list_free(&list);
    else *out = list;
    return status;
}
