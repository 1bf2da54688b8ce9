/* The list of files in a checkpoint folder, as checksums.json holds it. */
#ifndef VLM_CKPT_LIST_H
#define VLM_CKPT_LIST_H

#include "ckpt_dir.h"

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
vlmoe_status vlm_ckpt_list_write(const char *dir, const vlm_ckpt_list *list, vlmoe_error *error);
vlmoe_status vlm_ckpt_list_read(const char *dir, vlm_ckpt_list *out, vlmoe_error *error);
/* Compare the list with the folder. Errors: IO, NOMEM, FORMAT. */
vlmoe_status vlm_ckpt_list_check(const char *dir, const vlm_ckpt_list *list, bool hashes,
                                 vlmoe_error *error);
void vlm_ckpt_list_free(vlm_ckpt_list *list);

#endif
