/* One checkpoint folder: begin, commit, abandon, open. What concerns many of them is
 * ckpt_history.c's. */
#define _GNU_SOURCE /* renameat2 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base_file.h"
#include "ckpt_dir.h"
#include "ckpt_list.h"

struct vlm_ckpt_writer {
    char *parent;
    char *temporary; /* PARENT/.tmp-NAME */
    char *old;       /* PARENT/.old-NAME */
    char *final;     /* PARENT/NAME */
};

static void release(vlm_ckpt_writer *writer)
{
    vlm_free(writer->parent);
    vlm_free(writer->temporary);
    vlm_free(writer->old);
    vlm_free(writer->final);
    vlm_free(writer);
}

static vlm_ckpt_writer *create(const char *parent, const char *name)
{
    vlm_ckpt_writer *writer = vlm_alloc(sizeof *writer);
    if (!writer) return NULL;
    writer->parent = vlm_strdup(parent);
    writer->temporary = vlm_format("%s/.tmp-%s", parent, name);
    writer->old = vlm_format("%s/.old-%s", parent, name);
    writer->final = vlm_format("%s/%s", parent, name);
    if (writer->parent && writer->temporary && writer->old && writer->final) return writer;
    release(writer);
    return NULL;
}

vlmoe_status vlm_ckpt_begin(const char *parent, const char *name, vlm_ckpt_writer **out,
                            vlmoe_error *error)
{
    if (!vlm_ckpt_plain_name(name) || strlen(name) >= VLM_CKPT_NAME)
        return vlm_fail(
            error, VLMOE_E_ARG,
            "\"%s\" cannot name a checkpoint: expected a plain file name below %d bytes", name,
            VLM_CKPT_NAME);
    VLM_TRY(vlm_dir_make(parent, error));
    VLM_TRY(vlm_ckpt_recover(parent, error));
    vlm_ckpt_writer *writer = create(parent, name);
    if (!writer) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to write %s/%s", parent, name);
    vlmoe_status status = vlm_dir_make(writer->temporary, error);
    if (status) release(writer);
    else *out = writer;
    return status;
}

const char *vlm_ckpt_folder(const vlm_ckpt_writer *writer)
{
    return writer->temporary;
}

/* Swap in one step where the file system can; then the old folder bears the temporary name.
 * Otherwise in two steps, between which the old one lies under .old-NAME, where vlm_ckpt_recover
 * finds it. */
static vlmoe_status put_in_place(const vlm_ckpt_writer *writer, vlmoe_error *error)
{
    if (!vlm_path_exists(writer->final)) {
        if (rename(writer->temporary, writer->final) == 0) return VLMOE_OK;
        return vlm_fail_errno(error, "put in place", writer->final);
    }
    if (renameat2(AT_FDCWD, writer->temporary, AT_FDCWD, writer->final, RENAME_EXCHANGE) == 0)
        return VLMOE_OK;
    if (errno != EINVAL && errno != ENOSYS) return vlm_fail_errno(error, "replace", writer->final);
    if (rename(writer->final, writer->old) != 0)
        return vlm_fail_errno(error, "replace", writer->final);
    if (rename(writer->temporary, writer->final) == 0) return VLMOE_OK;
    vlmoe_status status = vlm_fail_errno(error, "put in place", writer->final);
    if (rename(writer->old, writer->final) != 0)
        return status; /* vlm_ckpt_recover will try again */
    return status;
}

static vlmoe_status commit(const vlm_ckpt_writer *writer, const vlm_ckpt_list *list,
                           vlmoe_error *error)
{
    VLM_TRY(vlm_ckpt_list_write(writer->temporary, list, error)); /* syncs the folder too */
    VLM_TRY(put_in_place(writer, error));
    return vlm_dir_sync(writer->parent, error);
}

vlmoe_status vlm_ckpt_commit(vlm_ckpt_writer *writer, vlmoe_error *error)
{
    return vlm_ckpt_commit_on(NULL, writer, error);
}

vlmoe_status vlm_ckpt_commit_on(vlm_comm *comm, vlm_ckpt_writer *writer, vlmoe_error *error)
{
    vlm_ckpt_list list = {0};
    const char *folder = writer ? writer->temporary : NULL;
    vlmoe_status status = comm ? vlm_ckpt_list_scan_on(comm, folder, &list, error)
                               : vlm_ckpt_list_scan(folder, &list, error);
    if (!status) { /* else all ranks have failed already, with the same words */
        if (writer) status = commit(writer, &list, error);
        status = vlm_comm_agree(comm, "end of a checkpoint", status, error);
    }
    if (!writer) return status;
    vlm_ckpt_list_free(&list);
    /* On success what is left there is the folder that was replaced; if it cannot be deleted now,
     * recover does it later. */
    vlm_dir_remove(writer->temporary, NULL);
    if (!status) vlm_dir_remove(writer->old, NULL);
    release(writer);
    return status;
}

void vlm_ckpt_abandon(vlm_ckpt_writer *writer)
{
    if (!writer) return;
    vlm_dir_remove(writer->temporary, NULL);
    release(writer);
}

struct vlm_ckpt {
    vlm_ckpt_list list;
};

vlmoe_status vlm_ckpt_open(const char *dir, bool hashes, vlm_ckpt **out, vlmoe_error *error)
{
    vlm_ckpt *ckpt = vlm_alloc(sizeof *ckpt);
    if (!ckpt) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to open %s", dir);
    vlmoe_status status = vlm_ckpt_list_read(dir, &ckpt->list, error);
    if (!status) status = vlm_ckpt_list_check(dir, &ckpt->list, hashes, error);
    if (status) vlm_ckpt_close(ckpt);
    else *out = ckpt;
    return status;
}

void vlm_ckpt_close(vlm_ckpt *ckpt)
{
    if (!ckpt) return;
    vlm_ckpt_list_free(&ckpt->list);
    vlm_free(ckpt);
}

int64_t vlm_ckpt_count(const vlm_ckpt *ckpt)
{
    return (int64_t)ckpt->list.n;
}

const char *vlm_ckpt_name(const vlm_ckpt *ckpt, int64_t i)
{
    VLM_ASSERT(i >= 0 && i < vlm_ckpt_count(ckpt));
    return ckpt->list.files[i].name;
}

const char *vlm_ckpt_path(const vlm_ckpt *ckpt, const char *name)
{
    for (size_t i = 0; i < ckpt->list.n; i++)
        if (strcmp(ckpt->list.files[i].name, name) == 0) return ckpt->list.files[i].path;
    return NULL;
}
