/* System calls without their traps (interrupted, partial); for the files of src/base that touch a
 * descriptor. */
#ifndef VLM_BASE_FILE_IO_H
#define VLM_BASE_FILE_IO_H

#include <stddef.h>
#include <sys/types.h>
#include "base_json.h" /* vlm_text */

ssize_t vlm_io_read(int fd, void *data, size_t bytes);        /* like read(2), never EINTR */
int vlm_io_write_all(int fd, const void *data, size_t bytes); /* 0 or an errno */
int vlm_io_write_at(int fd, uint64_t at, const void *data, size_t bytes); /* likewise */
int vlm_io_sync(int fd); /* 0 or an errno; 0 where a file cannot be synced */

#endif
