/* Parameters between a context and files. */
#include <stdio.h>
#include <string.h>
#include "train_params.h"

static bool is_same_tensor(const vlm_piece *a, const vlm_piece *b)
{
    return a->param == b->param && a->expert == b->expert;
}

static vlmoe_status visit(const vlm_piece *pieces, int64_t n_pieces, vlm_file_tensor_fn fn,
                          void *arg, vlmoe_error *error)
{
    const vlm_param *param = pieces->param;
    bool is_expert = pieces->expert >= 0;
    vlm_file_tensor tensor = {.param = param,
                              .name = vlm_param_expert_name(param, pieces->expert),
                              .rank = param->tensor.rank - is_expert,
                              .dims = param->tensor.dim + is_expert,
                              .n = vlm_param_file_elements(param),
                              .pieces = pieces,
                              .n_pieces = n_pieces};
    if (!tensor.name)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the name of %s", param->name);
    vlmoe_status st = fn(arg, &tensor);
    vlm_free(tensor.name);
    return st;
}

vlmoe_status vlm_file_tensors_walk(vlmoe_context *ctx, bool trained_only, vlm_file_tensor_fn fn,
                                   void *arg, vlmoe_error *error)
{
    for (int64_t i = 0, end; i < ctx->n_pieces; i = end) {
        const vlm_piece *first = &ctx->pieces[i];
        for (end = i + 1; end < ctx->n_pieces && is_same_tensor(first, &ctx->pieces[end]);) end++;
        if (trained_only && !first->param->trained) continue;
        VLM_TRY(visit(first, end - i, fn, arg, error));
    }
    return VLMOE_OK;
}

typedef struct state_job {
    vlmoe_context *ctx;
    vlm_state_kind kind;
    int part;    /* of a file: both moments are two */
    bool is_dry; /* check only */
    vlm_st_writer *writer;
    vlm_st *file;
    const char *path, *name_prefix;
    int64_t n_seen, n_found; /* file tensors: written, or in the file */
    char *chunk;
    vlmoe_error *error;
} state_job;

static int n_parts(const state_job *job)
{
    return job->kind == VLM_STATE_VALUES ? 1 : 2;
}

static vlmoe_dtype dtype_of(const state_job *job)
{
    return job->kind == VLM_STATE_VALUES ? VLMOE_F32 : job->ctx->moment_dtype;
}

static char *file_name(const state_job *job, const vlm_file_tensor *tensor)
{
    static const char *const moment[] = {"m/", "v/"};
    const char *prefix = job->kind == VLM_STATE_VALUES ? "" : moment[job->part];
    return vlm_format("%s%s", prefix, tensor->name + strlen(job->name_prefix));
}

/* Where an owned piece lies. */
static char *data_of(const state_job *job, const vlm_piece *piece)
{
    return job->kind == VLM_STATE_VALUES ? piece->value
                                         : vlm_piece_moment(job->ctx, piece, job->part);
}

static vlmoe_status walk(state_job *job, vlm_file_tensor_fn fn, void *arg)
{
    for (job->part = 0; job->part < n_parts(job); job->part++)
        VLM_TRY(
            vlm_file_tensors_walk(job->ctx, job->kind == VLM_STATE_MOMENTS, fn, arg, job->error));
    return VLMOE_OK;
}

static vlmoe_status declare_tensor(void *arg, const vlm_file_tensor *tensor)
{
    state_job *job = arg;
    char *name = file_name(job, tensor);
    if (!name) return vlm_fail(job->error, VLMOE_E_NOMEM, "out of memory for a tensor's name");
    vlm_st_decl decl = {name, dtype_of(job), tensor->rank, tensor->dims};
    vlmoe_status st = vlm_st_writer_declare(job->writer, &decl, job->error);
    vlm_free(name);
    return st;
}

enum { CHUNK = 1 << 16 };

static vlmoe_status put_piece(state_job *job, const vlm_file_tensor *tensor, const vlm_piece *piece,
                              char *chunk)
{
    size_t element = vlm_dtype_bytes(dtype_of(job));
    for (int64_t at = 0; at < piece->n; at += CHUNK) {
        size_t bytes = (size_t)VLM_MIN((int64_t)CHUNK, piece->n - at) * element;
        const char *from = data_of(job, piece) + (size_t)at * element;
        vlmoe_status st = job->ctx->backend->download(job->ctx->device, chunk, from, bytes);
        if (st) return vlm_fail(job->error, st, "cannot read %s from the device", tensor->name);
        VLM_TRY(vlm_st_writer_put_at(job->writer, job->n_seen,
                                     (piece->first + at) * (int64_t)element, chunk, bytes,
                                     job->error));
    }
    return VLMOE_OK;
}

/* What this rank owns of it. */
static vlmoe_status put_tensor(void *arg, const vlm_file_tensor *tensor)
{
    state_job *job = arg;
    for (int64_t i = 0; i < tensor->n_pieces; i++)
        if (vlm_piece_is_mine(&tensor->pieces[i], vlm_ctx_rank(job->ctx)))
            VLM_TRY(put_piece(job, tensor, &tensor->pieces[i], job->chunk));
    job->n_seen++;
    return VLMOE_OK;
}

static vlmoe_status put_all(state_job *job)
{
    job->chunk = vlm_alloc(CHUNK * vlm_dtype_bytes(dtype_of(job)));
    vlmoe_status st = job->chunk ? walk(job, put_tensor, job)
                                 : vlm_fail(job->error, VLMOE_E_NOMEM,
                                            "out of memory while writing %s", job->path);
    vlm_free(job->chunk);
    return st;
}

static vlmoe_status agree(const state_job *job, vlmoe_status st)
{
    vlm_comm *world = job->ctx->ranks ? job->ctx->ranks->world : NULL;
    return vlm_comm_agree(world, "files of a checkpoint", st, job->error);
}

vlmoe_status vlm_state_write(vlmoe_context *ctx, vlm_state_kind kind, const char *path,
                             vlmoe_error *error)
{
    vlmoe_error own = {0};
    state_job job = {
        .ctx = ctx, .kind = kind, .path = path, .name_prefix = "", .error = error ? error : &own};
    bool is_first = vlm_ctx_rank(ctx) == 0;
    vlmoe_status st = vlm_st_writer_share(path, &job.writer, job.error);
    if (!st) st = walk(&job, declare_tensor, &job);
    if (!st && is_first) st = vlm_st_writer_lay_out(job.writer, true, job.error);
    st = agree(&job, st);
    if (st) {
        vlm_st_writer_abandon(job.writer);
        return st;
    }
    if (!is_first) st = vlm_st_writer_lay_out(job.writer, false, job.error);
    if (!st) st = put_all(&job);
    if (st) vlm_st_writer_abandon(job.writer);
    else st = vlm_st_writer_close(job.writer, job.error);
    return agree(&job, st);
}

static void shape_text(int rank, const int64_t *dims, char *out, size_t bytes)
{
    size_t used = (size_t)snprintf(out, bytes, "[");
    for (int i = 0; i < rank && used < bytes; i++)
        used +=
            (size_t)snprintf(out + used, bytes - used, "%s%lld", i ? ", " : "", (long long)dims[i]);
    if (used < bytes) snprintf(out + used, bytes - used, "]");
}

static vlmoe_status check_tensor(const state_job *job, const vlm_file_tensor *tensor,
                                 const vlm_st_tensor *found, const char *name)
{
    char expected[128], given[128];
    if (!found)
        return vlm_fail(job->error, VLMOE_E_FORMAT, "%s: tensor %s is missing", job->path, name);
    if (found->dtype != (vlm_st_dtype)dtype_of(job))
        return vlm_fail(job->error, VLMOE_E_DTYPE, "%s: tensor %s must be %s, found %s", job->path,
                        name, vlm_st_dtype_name(dtype_of(job)), vlm_st_dtype_name(found->dtype));
    bool is_equal = found->rank == tensor->rank;
    for (int i = 0; i < tensor->rank && is_equal; i++) is_equal = found->dims[i] == tensor->dims[i];
    if (is_equal) return VLMOE_OK;
    shape_text(tensor->rank, tensor->dims, expected, sizeof expected);
    shape_text(found->rank, found->dims, given, sizeof given);
    return vlm_fail(job->error, VLMOE_E_SHAPE, "%s: tensor %s must have shape %s, found %s",
                    job->path, name, expected, given);
}

static bool has_prefix(const state_job *job, const vlm_file_tensor *tensor)
{
    return !strncmp(tensor->name, job->name_prefix, strlen(job->name_prefix));
}

/* Values: to all who have any of them. Moments: to their owners. */
static vlmoe_status take_tensor(const state_job *job, const vlm_file_tensor *tensor,
                                const vlm_st_tensor *found)
{
    const vlmoe_context *ctx = job->ctx;
    size_t element = vlm_dtype_bytes(dtype_of(job));
    vlm_param *param = tensor->pieces->param;
    if (job->kind == VLM_STATE_VALUES)
        return vlm_param_put(param, tensor->pieces->expert, 0, tensor->n, found->data);
    for (int64_t i = 0; i < tensor->n_pieces; i++) {
        const vlm_piece *piece = &tensor->pieces[i];
        const char *from = (const char *)found->data + (size_t)piece->first * element;
        if (!vlm_piece_is_mine(piece, vlm_ctx_rank(ctx))) continue;
        VLM_TRY(ctx->backend->upload(ctx->device, data_of(job, piece), from,
                                     (size_t)piece->n * element));
    }
    return VLMOE_OK;
}

static vlmoe_status read_tensor(void *arg, const vlm_file_tensor *tensor)
{
    state_job *job = arg;
    if (!has_prefix(job, tensor)) return VLMOE_OK;
    char *name = file_name(job, tensor);
    if (!name) return vlm_fail(job->error, VLMOE_E_NOMEM, "out of memory for a tensor's name");
    const vlm_st_tensor *found = vlm_st_find(job->file, name);
    vlmoe_status st = check_tensor(job, tensor, found, name);
    job->n_found++;
    if (!st && !job->is_dry) {
        st = take_tensor(job, tensor, found);
        if (st) vlm_fail(job->error, st, "cannot write %s to the device", name);
    }
    vlm_free(name);
    return st;
}

/* Is this tensor of the file one that the model knows? Only asked when counts differ, to name the stranger. */
typedef struct search {
    const char *wanted;
    const state_job *job;
    bool is_known;
} search;

static vlmoe_status look_for(void *arg, const vlm_file_tensor *tensor)
{
    search *s = arg;
    if (!has_prefix(s->job, tensor)) return VLMOE_OK;
    char *name = file_name(s->job, tensor);
    s->is_known = s->is_known || (name && !strcmp(name, s->wanted));
    vlm_free(name);
    return VLMOE_OK;
}

static vlmoe_status name_stranger(state_job *job)
{
    for (int64_t i = 0; i < vlm_st_count(job->file); i++) {
        search s = {vlm_st_get(job->file, i)->name, job, false};
        VLM_TRY(walk(job, look_for, &s));
        if (!s.is_known)
            return vlm_fail(job->error, VLMOE_E_FORMAT, "%s: tensor %s is not part of this model",
                            job->path, s.wanted);
    }
    return VLMOE_OK;
}

static vlmoe_status read_all(state_job *job, bool is_dry)
{
    job->n_found = 0;
    job->is_dry = is_dry;
    VLM_TRY(walk(job, read_tensor, job));
    return job->n_found == vlm_st_count(job->file) ? VLMOE_OK : name_stranger(job);
}

vlmoe_status vlm_state_read(vlmoe_context *ctx, vlm_state_kind kind, const char *name_prefix,
                            const char *path, vlmoe_error *error)
{
    state_job job = {
        .ctx = ctx, .kind = kind, .path = path, .name_prefix = name_prefix, .error = error};
    VLM_TRY(vlm_st_open(path, &job.file, error));
    vlmoe_status st =
        read_all(&job, true); /* all checks before the first write: no half-read model */
    if (!st) st = read_all(&job, false);
    vlm_st_close(job.file);
    if (st || kind == VLM_STATE_MOMENTS) return st;
    st = vlm_ctx_refresh_copies(ctx);
    return st ? vlm_fail(error, st, "%s", vlmoe_context_error(ctx)) : VLMOE_OK;
}
