/* Parameters between a context and files. */
#include <stdio.h>
#include <string.h>
#include "train_params.h"

static vlmoe_status walk_param(vlmoe_context *ctx, const vlm_param *param, vlm_piece_fn fn,
                               void *arg, vlmoe_error *error)
{
    int64_t experts = param->n_experts ? param->n_experts : 1;
    bool is_experts = param->n_experts > 0;
    vlm_piece piece = {.param = param,
                       .rank = param->tensor.rank - is_experts,
                       .dims = param->tensor.dim + is_experts};
    piece.n = vlm_param_elements(param) / experts;
    for (int64_t e = 0; e < experts; e++) {
        piece.name = vlm_param_expert_name(param, e);
        if (!piece.name)
            return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the name of %s", param->name);
        piece.at = param->at + e * piece.n;
        vlmoe_status st = fn(arg, &piece);
        vlm_free(piece.name);
        if (st) return st;
    }
    (void)ctx;
    return VLMOE_OK;
}

vlmoe_status vlm_pieces_walk(vlmoe_context *ctx, bool trained_only, vlm_piece_fn fn, void *arg,
                             vlmoe_error *error)
{
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (!trained_only || ctx->params[i]->trained)
            VLM_TRY(walk_param(ctx, ctx->params[i], fn, arg, error));
    return VLMOE_OK;
}

typedef struct slab_job {
    vlmoe_context *ctx;
    const vlm_slab *slab;
    bool is_dry; /* check only */
    vlm_st_writer *writer;
    vlm_st *file;
    const char *path, *name_prefix;
    int64_t n_found;
    vlmoe_error *error;
} slab_job;

static char *file_name(const slab_job *job, const vlm_piece *piece)
{
    return vlm_format("%s%s", job->slab->prefix, piece->name + strlen(job->name_prefix));
}

static vlmoe_status declare_piece(void *arg, const vlm_piece *piece)
{
    slab_job *job = arg;
    char *name = file_name(job, piece);
    if (!name) return vlm_fail(job->error, VLMOE_E_NOMEM, "out of memory for a tensor's name");
    vlm_st_decl decl = {name, job->slab->dtype, piece->rank, piece->dims};
    vlmoe_status st = vlm_st_writer_declare(job->writer, &decl, job->error);
    vlm_free(name);
    return st;
}

enum { CHUNK = 1 << 16 };

static vlmoe_status put_piece(void *arg, const vlm_piece *piece)
{
    slab_job *job = arg;
    const vlmoe_context *ctx = job->ctx;
    char *name = file_name(job, piece);
    size_t element = vlm_dtype_bytes(job->slab->dtype);
    char *chunk = vlm_alloc(CHUNK * element);
    vlmoe_status st = name && chunk ? VLMOE_OK
                                    : vlm_fail(job->error, VLMOE_E_NOMEM,
                                               "out of memory while writing %s", piece->name);
    for (int64_t at = 0; at < piece->n && !st; at += CHUNK) {
        size_t bytes = (size_t)VLM_MIN((int64_t)CHUNK, piece->n - at) * element;
        const char *from = (const char *)job->slab->data + (size_t)(piece->at + at) * element;
        st = ctx->backend->download(ctx->device, chunk, from, bytes);
        if (st) vlm_fail(job->error, st, "cannot read %s from the device", piece->name);
        else st = vlm_st_writer_put(job->writer, name, chunk, bytes, job->error);
    }
    vlm_free(chunk);
    vlm_free(name);
    return st;
}

vlmoe_status vlm_slabs_write(vlmoe_context *ctx, bool trained_only, int n, const vlm_slab *slabs,
                             const char *path, vlmoe_error *error)
{
    slab_job job = {.ctx = ctx, .path = path, .name_prefix = "", .error = error};
    vlmoe_status st = vlm_st_writer_create(path, &job.writer, error);
    if (st) return st;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n && !st; i++) {
            job.slab = &slabs[i];
            st = vlm_pieces_walk(ctx, trained_only, pass ? put_piece : declare_piece, &job, error);
        }
    if (!st) return vlm_st_writer_close(job.writer, error);
    vlm_st_writer_abandon(job.writer);
    return st;
}

static void shape_text(int rank, const int64_t *dims, char *out, size_t bytes)
{
    size_t used = (size_t)snprintf(out, bytes, "[");
    for (int i = 0; i < rank && used < bytes; i++)
        used +=
            (size_t)snprintf(out + used, bytes - used, "%s%lld", i ? ", " : "", (long long)dims[i]);
    if (used < bytes) snprintf(out + used, bytes - used, "]");
}

static vlmoe_status check_tensor(const slab_job *job, const vlm_piece *piece,
                                 const vlm_st_tensor *found, const char *name)
{
    char expected[128], given[128];
    if (!found)
        return vlm_fail(job->error, VLMOE_E_FORMAT, "%s: tensor %s is missing", job->path, name);
    if (found->dtype != (vlm_st_dtype)job->slab->dtype)
        return vlm_fail(job->error, VLMOE_E_DTYPE, "%s: tensor %s must be %s, found %s", job->path,
                        name, vlm_st_dtype_name(job->slab->dtype), vlm_st_dtype_name(found->dtype));
    bool is_equal = found->rank == piece->rank;
    for (int i = 0; i < piece->rank && is_equal; i++) is_equal = found->dims[i] == piece->dims[i];
    if (is_equal) return VLMOE_OK;
    shape_text(piece->rank, piece->dims, expected, sizeof expected);
    shape_text(found->rank, found->dims, given, sizeof given);
    return vlm_fail(job->error, VLMOE_E_SHAPE, "%s: tensor %s must have shape %s, found %s",
                    job->path, name, expected, given);
}

static vlmoe_status read_piece(void *arg, const vlm_piece *piece)
{
    slab_job *job = arg;
    if (strncmp(piece->name, job->name_prefix, strlen(job->name_prefix))) return VLMOE_OK;
    char *name = file_name(job, piece);
    if (!name) return vlm_fail(job->error, VLMOE_E_NOMEM, "out of memory for a tensor's name");
    const vlm_st_tensor *found = vlm_st_find(job->file, name);
    vlmoe_status st = check_tensor(job, piece, found, name);
    job->n_found++;
    if (!st && !job->is_dry) {
        char *to = (char *)job->slab->data + (size_t)piece->at * vlm_dtype_bytes(job->slab->dtype);
        st = job->ctx->backend->upload(job->ctx->device, to, found->data, found->bytes);
        if (st) vlm_fail(job->error, st, "cannot write %s to the device", name);
    }
    vlm_free(name);
    return st;
}

/* Is this tensor of the file one that some slab knows? Only asked when counts differ, to name the stranger. */
typedef struct search {
    const char *wanted;
    const slab_job *job;
    bool is_known;
} search;

static vlmoe_status look_for(void *arg, const vlm_piece *piece)
{
    search *s = arg;
    if (strncmp(piece->name, s->job->name_prefix, strlen(s->job->name_prefix))) return VLMOE_OK;
    char *name = file_name(s->job, piece);
    s->is_known = s->is_known || (name && !strcmp(name, s->wanted));
    vlm_free(name);
    return VLMOE_OK;
}

static vlmoe_status name_stranger(slab_job *job, bool trained_only, int n, const vlm_slab *slabs)
{
    for (int64_t i = 0; i < vlm_st_count(job->file); i++) {
        search s = {vlm_st_get(job->file, i)->name, job, false};
        for (int k = 0; k < n && !s.is_known; k++) {
            job->slab = &slabs[k];
            VLM_TRY(vlm_pieces_walk(job->ctx, trained_only, look_for, &s, job->error));
        }
        if (!s.is_known)
            return vlm_fail(job->error, VLMOE_E_FORMAT, "%s: tensor %s is not part of this model",
                            job->path, s.wanted);
    }
    return VLMOE_OK;
}

static vlmoe_status read_all(slab_job *job, bool trained_only, int n, const vlm_slab *slabs,
                             bool is_dry)
{
    job->n_found = 0;
    job->is_dry = is_dry;
    for (int i = 0; i < n; i++) {
        job->slab = &slabs[i];
        VLM_TRY(vlm_pieces_walk(job->ctx, trained_only, read_piece, job, job->error));
    }
    return job->n_found == vlm_st_count(job->file) ? VLMOE_OK
                                                   : name_stranger(job, trained_only, n, slabs);
}

vlmoe_status vlm_slabs_read(vlmoe_context *ctx, bool trained_only, int n, const vlm_slab *slabs,
                            const char *name_prefix, const char *path, vlmoe_error *error)
{
    slab_job job = {.ctx = ctx, .path = path, .name_prefix = name_prefix, .error = error};
    VLM_TRY(vlm_st_open(path, &job.file, error));
    vlmoe_status st = read_all(&job, trained_only, n, slabs,
                               true); /* all checks before the first write: no half-read model */
    if (!st) st = read_all(&job, trained_only, n, slabs, false);
    vlm_st_close(job.file);
    return st;
}
