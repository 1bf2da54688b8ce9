/* Manifests of vlmoe-data pack: a file of lines, each a sample, to samples in memory. Lines of
 * JSON:
 *   {"image": PATH, "text": "..."}    "caption" for "text"; "texts" or "captions": ["...", ...]
 * or plain text, a sample a line. */
#ifndef VLM_CLI_MANIFEST_H
#define VLM_CLI_MANIFEST_H

#include "base_file.h"
#include "data_image.h"
#include "data_shard.h"

typedef struct vlm_manifest {
    const char *path;       /* for messages */
    const char *image_root; /* in front of relative image paths; NULL = the manifest's folder */
    vlm_image_options limits;
    bool is_json;
    vlm_map map;
    size_t at;      /* next line */
    int64_t n_line; /* of the line read last, from 1 */
    const char *line;
    size_t line_bytes;
    char *folder;     /* the manifest's own */
    void *row;        /* parsed line that the sample's texts lie in */
    char *image_data; /* bytes of the sample's image */
} vlm_manifest;

/* path ending in .jsonl or .json is JSON, anything else plain text. path, image_root and limits
 * are set by the caller. Errors: IO, NOMEM. */
vlmoe_status vlm_manifest_open(vlm_manifest *manifest, vlmoe_error *error);
void vlm_manifest_close(vlm_manifest *manifest);

/* Move to the next line that is not blank; false at the end. */
bool vlm_manifest_next(vlm_manifest *manifest);

/* The line as a sample: image read and decoded once to see that it is whole, texts checked to be
 * UTF-8 and not blank, a row with other fields kept whole as json. Borrowed until the next call.
 * Errors: FORMAT, IO, NOMEM; the text names file and line. */
vlmoe_status vlm_manifest_sample(vlm_manifest *manifest, vlm_sample *out, vlmoe_error *error);

#endif
