/* safetensors files: named dense tensors behind one JSON header. A reader that trusts nothing in
 * the file, and a writer whose bytes depend on what is declared and put alone. Which tensors a
 * checkpoint has is the business of the layers above.
 *
 * Layout: u64 little-endian header length; the header, a JSON object padded with spaces so that the
 * data begins at a multiple of 8; then the data without holes. Header: {"__metadata__": {key:
 * text}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}}, offsets from the start of the
 * data. */
#ifndef VLM_CKPT_SAFETENSORS_H
#define VLM_CKPT_SAFETENSORS_H

#include "base.h"
#include "vlmoe/tensor.h"

enum { VLM_ST_MAX_RANK = 8, VLM_ST_I64 = 100 };
typedef int vlm_st_dtype; /* a vlmoe_dtype, or VLM_ST_I64, which only files have */

const char *vlm_st_dtype_name(vlm_st_dtype dtype); /* "BF16"; "?" when unknown */
size_t vlm_st_dtype_size(vlm_st_dtype dtype);      /* bytes of an element; 0 when unknown */

typedef struct vlm_st vlm_st;
typedef struct vlm_st_tensor {
    const char *name;
    vlm_st_dtype dtype;
    int rank; /* 0 = one number */
    int64_t dims[VLM_ST_MAX_RANK];
    const void *data; /* little-endian, row-major; files of other programs may leave it unaligned:
                         copy it out */
    size_t bytes;
} vlm_st_tensor;

/* Map a file; everything below belongs to *out until close.
 * Errors: IO, NOMEM, FORMAT (not the layout above, holes, overlaps, bad ranges), UNSUPPORTED (a
 * dtype or rank we lack). */
vlmoe_status vlm_st_open(const char *path, vlm_st **out, vlmoe_error *error);
/* The same over memory that the caller keeps; name is for messages. */
vlmoe_status vlm_st_open_bytes(const void *data, size_t bytes, const char *name, vlm_st **out,
                               vlmoe_error *error);
void vlm_st_close(vlm_st *st); /* NULL allowed */
int64_t vlm_st_count(const vlm_st *st);
const vlm_st_tensor *vlm_st_get(const vlm_st *st,
                                int64_t i); /* in the order of the data; i in [0, count) */
const vlm_st_tensor *vlm_st_find(const vlm_st *st, const char *name); /* NULL: none of that name */
const char *vlm_st_metadata(const vlm_st *st, const char *key);       /* NULL: no such key */

/* Writing: metadata and declare in any order, then put each tensor's bytes in the order declared,
 * then close. */
typedef struct vlm_st_writer vlm_st_writer;
vlmoe_status vlm_st_writer_create(const char *path, vlm_st_writer **out, vlmoe_error *error);
/* Errors: STATE (after the first put), ARG (a key or value that is not UTF-8), NOMEM. */
vlmoe_status vlm_st_writer_metadata(vlm_st_writer *writer, const char *key, const char *value,
                                    vlmoe_error *error);
typedef struct vlm_st_decl {
    const char *name; /* UTF-8, not empty, unique */
    vlm_st_dtype dtype;
    int rank;
    const int64_t *dims; /* [rank], each >= 0 */
} vlm_st_decl;
/* Wider types must come first where sizes are odd, so that every tensor is aligned. Errors: STATE,
 * ARG, NOMEM. */
vlmoe_status vlm_st_writer_declare(vlm_st_writer *writer, const vlm_st_decl *decl,
                                   vlmoe_error *error);
/* The next bytes of the tensor called name; a tensor may come in pieces. Errors: STATE (another
 * tensor is due, or too many bytes), ARG (a name declared twice), NOMEM. Failures of the disk come
 * out of close. */
vlmoe_status vlm_st_writer_put(vlm_st_writer *writer, const char *name, const void *data,
                               size_t bytes, vlmoe_error *error);
/* Sync and close; the writer is gone afterwards. Errors: STATE (bytes are missing; the file is
 * deleted), IO (what the disk took may stay; a checkpoint folder is abandoned as a whole). */
vlmoe_status vlm_st_writer_close(vlm_st_writer *writer, vlmoe_error *error);
/* A file that several processes write: each shares it and declares the same; one lays it out, and when it has, the others do; then each
 * puts what it has, any bytes of the tensor that was declared `tensor`-th, in any order; all bytes are somebody's duty. close syncs what
 * this process has put, and does not ask for the rest; the one that was first deletes the file when it abandons it.
 * Errors: as those of create, put and close. */
vlmoe_status vlm_st_writer_share(const char *path, vlm_st_writer **out, vlmoe_error *error);
vlmoe_status vlm_st_writer_lay_out(vlm_st_writer *writer, bool is_first, vlmoe_error *error);
vlmoe_status vlm_st_writer_put_at(vlm_st_writer *writer, int64_t tensor, int64_t first, const void *data, size_t bytes, vlmoe_error *error);
void vlm_st_writer_abandon(vlm_st_writer *writer); /* deletes the file; NULL allowed */

#endif
