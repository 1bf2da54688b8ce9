/* The list of files in a checkpoint folder, as checksums.json holds it. */
#ifndef VLM_CKPT_LIST_H
#define VLM_CKPT_LIST_H

#include "ckpt_dir.h"
#include "comm.h"

typedef struct vlm_ckpt_file {
    char *name;
    char *path;
    uint64_t bytes, hash;
} vlm_ckpt_file;

typedef struct vlm_ckpt_list {
    vlm_ckpt_file *files; /* [n], sorted by name */
    size_t n;
} vlm_ckpt_list;

bool vlm_ckpt_plain_name(
    const char *name); /* a file name that stays in its folder and is not hidden */
/* List, measure, hash and sync what lies in dir (checksums.json left out). Errors: IO, NOMEM, ARG
 * (not a plain file). */
vlmoe_status vlm_ckpt_list_scan(const char *dir, vlm_ckpt_list *out, vlmoe_error *error);
/* The same by all ranks together; dir of rank 0, NULL elsewhere, where *out is empty. Collective, as are failures: those of scan, and of
 * comm.h. */
vlmoe_status vlm_ckpt_list_scan_on(vlm_comm *comm, const char *dir, vlm_ckpt_list *out,
                                   vlmoe_error *error);
/* The parts of a scan: names and kinds of files, without bytes and hashes; one file's, synced first. */
vlmoe_status vlm_ckpt_list_names(const char *dir, vlm_ckpt_list *out, vlmoe_error *error);
vlmoe_status vlm_ckpt_measure(const char *path, uint64_t *bytes, uint64_t *hash,
                              vlmoe_error *error);
vlmoe_status vlm_ckpt_list_write(const char *dir, const vlm_ckpt_list *list, vlmoe_error *error);
vlmoe_status vlm_ckpt_list_read(const char *dir, vlm_ckpt_list *out, vlmoe_error *error);
/* Compare the list with the folder. Errors: IO, NOMEM, FORMAT. */
vlmoe_status vlm_ckpt_list_check(const char *dir, const vlm_ckpt_list *list, bool hashes,
                                 vlmoe_error *error);
void vlm_ckpt_list_free(vlm_ckpt_list *list);

#endif
