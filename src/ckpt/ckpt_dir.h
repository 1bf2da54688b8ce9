/* Checkpoint folders: either wholly there, with a checksum of every file, or not there at all. What
 * the files mean is the business of the layers above. One run owns a parent folder; functions that
 * change it are called by one process at a time.
 *
 *   PARENT/step-00001000/   the files, and checksums.json:
 *                           {"format": 1, "files": [{"name", "bytes", "xxh3"}, ...]} by name
 *   PARENT/best.json        {"checkpoint": "step-00001000", "metric": "...", "value": 0.5}
 *   PARENT/.tmp-NAME        being written
 *   PARENT/.old-NAME        being replaced
 *   PARENT/.gone-NAME       being deleted
 */
#ifndef VLM_CKPT_DIR_H
#define VLM_CKPT_DIR_H

#include "comm.h"

#define VLM_CKPT_CHECKSUMS "checksums.json"
enum { VLM_CKPT_NAME = 64, VLM_CKPT_FORMAT = 1 };

/* "step-00001000", the names that prune and latest know. step >= 0. */
void vlm_ckpt_step_name(int64_t step, char out[VLM_CKPT_NAME]);
bool vlm_ckpt_step_of(const char *name, int64_t *out); /* false: not such a name */

/* Write a checkpoint: begin, files into the folder, then commit or abandon. name: a plain file
 * name, not beginning with ".". begin makes parent when it is missing, and clears what a dead run
 * left (vlm_ckpt_recover). Errors: ARG (name), IO, NOMEM. */
typedef struct vlm_ckpt_writer vlm_ckpt_writer;
vlmoe_status vlm_ckpt_begin(const char *parent, const char *name, vlm_ckpt_writer **out,
                            vlmoe_error *error);
/* Where to write; other processes may write there too. */
const char *vlm_ckpt_folder(const vlm_ckpt_writer *writer);
/* Checksum and sync every file, then put the folder in its place; a folder of that name is
 * replaced, and stays whole until then. The writer is gone afterwards; on failure so is what was
 * written. Errors: IO, NOMEM, ARG (a folder inside). */
vlmoe_status vlm_ckpt_commit(vlm_ckpt_writer *writer, vlmoe_error *error);
/* The same, checksums by all ranks of comm (NULL: there is one), a file by one rank. Collective; the writer is rank 0's, NULL elsewhere.
 * A failure is one on all ranks, with the same words (vlm_comm_agree). */
vlmoe_status vlm_ckpt_commit_on(vlm_comm *comm, vlm_ckpt_writer *writer, vlmoe_error *error);
void vlm_ckpt_abandon(vlm_ckpt_writer *writer); /* NULL allowed */

/* Read a checkpoint. Every listed file must be there with its size, and no other; with hashes set,
 * every byte must be as it was written. Errors: IO, NOMEM, VERSION (a newer format), FORMAT (a file
 * missing, extra, of another size or checksum). */
typedef struct vlm_ckpt vlm_ckpt;
vlmoe_status vlm_ckpt_open(const char *dir, bool hashes, vlm_ckpt **out, vlmoe_error *error);
void vlm_ckpt_close(vlm_ckpt *ckpt);                        /* NULL allowed */
int64_t vlm_ckpt_count(const vlm_ckpt *ckpt);               /* files, without checksums.json */
const char *vlm_ckpt_name(const vlm_ckpt *ckpt, int64_t i); /* sorted */
/* NULL: no such file; belongs to ckpt. */
const char *vlm_ckpt_path(const vlm_ckpt *ckpt, const char *name);

/* Finish what a run that died left half done: an interrupted replacement is undone, everything else
 * of it deleted. A parent that does not exist is fine. Not between begin and commit. */
vlmoe_status vlm_ckpt_recover(const char *parent, vlmoe_error *error);
/* Delete all step folders but the keep_last newest (>= 1) and keep_name (NULL: none). Recovers
 * first. */
vlmoe_status vlm_ckpt_prune(const char *parent, int keep_last, const char *keep_name,
                            vlmoe_error *error);
/* Path of the step folder with the highest number that opens (sizes, not hashes); *out NULL when
 * there is none. Caller frees. */
vlmoe_status vlm_ckpt_latest(const char *parent, char **out, vlmoe_error *error);
/* What a path given by a person stands for: a checkpoint itself (without slashes at its end), or a run's latest. Caller frees.
 * Errors: IO (no folder, or none in it), NOMEM, and what is wrong with the newest where none opens. */
vlmoe_status vlm_ckpt_find(const char *path, char **out, vlmoe_error *error);

typedef struct vlm_ckpt_best {
    char checkpoint[VLM_CKPT_NAME];
    char metric[VLM_CKPT_NAME];
    double value; /* finite */
} vlm_ckpt_best;
vlmoe_status vlm_ckpt_put_best(const char *parent, const vlm_ckpt_best *best, vlmoe_error *error);
vlmoe_status vlm_ckpt_get_best(const char *parent, vlm_ckpt_best *out, bool *found,
                               vlmoe_error *error);
vlmoe_status vlm_ckpt_drop_best(const char *parent, vlmoe_error *error); /* no checkpoint is the best */

#endif
