/* Files: whole reads, read-only maps, writes that either happen wholly or not at all. All errors name the path. */
#ifndef VLM_BASE_FILE_H
#define VLM_BASE_FILE_H

#include "base.h"

/* Whole file, with a zero byte after the end that *bytes does not count. Caller frees with vlm_free.
 * Errors: IO, NOMEM, FORMAT (larger than max_bytes). */
vlmoe_status vlm_file_read(const char *path, size_t max_bytes, char **out, size_t *bytes, vlmoe_error *error);

/* Read-only map of a whole file. An empty file maps to data = NULL, bytes = 0. */
typedef struct vlm_map {
    const unsigned char *data;
    size_t bytes;
} vlm_map;
vlmoe_status vlm_map_open(const char *path, vlm_map *out, vlmoe_error *error);
void vlm_map_close(vlm_map *map); /* zeroes *map; a closed or zeroed map is allowed */

/* Buffered writer that keeps the first error (full disk, no permission, failed close) and a running XXH3-64 of all bytes. */
typedef struct vlm_writer vlm_writer;
vlmoe_status vlm_writer_open(const char *path, vlm_writer **out, vlmoe_error *error); /* truncates */
void vlm_writer_put(vlm_writer *writer, const void *data, size_t bytes);             /* errors are kept */
uint64_t vlm_writer_bytes(const vlm_writer *writer);
uint64_t vlm_writer_hash(const vlm_writer *writer);
/* fsync and close; the first error of any put comes out here. The writer is gone afterwards. NULL allowed. */
vlmoe_status vlm_writer_close(vlm_writer *writer, vlmoe_error *error);
void vlm_writer_abandon(vlm_writer *writer); /* close and delete the file */

/* A file that is written in places, in any order, by one process or several at once: one creates it, zeros of this size, and when it has,
 * the others may open it. Errors of put are kept and come out of close, which syncs what this process has written. */
typedef struct vlm_places vlm_places;
vlmoe_status vlm_places_create(const char *path, uint64_t bytes, vlm_places **out, vlmoe_error *error);
vlmoe_status vlm_places_open(const char *path, vlm_places **out, vlmoe_error *error);
void vlm_places_put(vlm_places *file, uint64_t at, const void *data, size_t bytes);
vlmoe_status vlm_places_close(vlm_places *file, vlmoe_error *error); /* it is gone afterwards; NULL allowed */
void vlm_places_abandon(vlm_places *file); /* who created it deletes it; NULL allowed */

/* Whole small file: temporary name beside it, fsync, rename, fsync of the folder. The old file stays whole on any failure.
 * What is no plain file (a device, a pipe, a link) stays what it is and is written in place. */
vlmoe_status vlm_file_replace(const char *path, const void *data, size_t bytes, vlmoe_error *error);

bool vlm_path_exists(const char *path);
bool vlm_path_is_dir(const char *path);
vlmoe_status vlm_dir_make(const char *path, vlmoe_error *error);        /* with parents; existing is fine */
vlmoe_status vlm_dir_sync(const char *path, vlmoe_error *error);        /* fsync of a folder */
vlmoe_status vlm_dir_remove(const char *path, vlmoe_error *error);      /* with all content, or a file; a missing one is fine */
/* Sorted names in a folder (no "." and ".."). Caller frees with vlm_names_free. */
vlmoe_status vlm_dir_list(const char *path, char ***names, size_t *n, vlmoe_error *error);
void vlm_names_free(char **names, size_t n);
/* dir + "/" + name, or name alone when name is absolute or dir is NULL or empty. Caller frees with vlm_free; NULL = no memory. */
char *vlm_path_join(const char *dir, const char *name);
bool vlm_path_ends_in(const char *path, const char *end); /* with something before it */
char *vlm_path_dir(const char *path); /* "a/b/c" -> "a/b", "c" -> "." ; caller frees */

#endif
