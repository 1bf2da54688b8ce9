/* Checkpoint folders of a trainer. */
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "train_checkpoint.h"
#include "train_params.h"

enum { STATE_FORMAT = 1, MAX_JSON_BYTES = 1 << 24 };

/* ---- writing ---- */

static vlmoe_status write_text(const char *folder, const char *name, const vlm_text *text,
                               vlmoe_error *error)
{
    if (text->failed) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", name);
    char *path = vlm_path_join(folder, name);
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", name);
    vlmoe_status st = vlm_file_replace(path, text->data, text->bytes, error);
    vlm_free(path);
    return st;
}

/* Collective, and a failure is one on all ranks. */
static vlmoe_status write_state_files(vlmoe_trainer *t, const char *folder, vlmoe_error *error)
{
    char *model_path = vlm_path_join(folder, "model.safetensors"),
         *optimiser_path = vlm_path_join(folder, "optimiser.safetensors");
    vlmoe_status st = VLMOE_OK;
    if (!model_path || !optimiser_path) {
        st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a checkpoint");
    } else {
        st = vlm_state_write(t->ctx, VLM_STATE_VALUES, model_path, error);
        if (!st) st = vlm_state_write(t->ctx, VLM_STATE_MOMENTS, optimiser_path, error);
        vlm_ranks_know(t->seat, st);
    }
    vlm_free(model_path);
    vlm_free(optimiser_path);
    return st;
}

static vlmoe_status write_codebook(vlmoe_trainer *t, const char *folder, vlmoe_error *error)
{
    vlm_codebook_state s = {0};
    vlm_st_writer *writer = NULL;
    if (!t->tokeniser) return VLMOE_OK;
    vlmoe_status st = vlm_tokeniser_state(t->tokeniser, &s);
    if (st) return vlm_fail(error, st, "code book: %s", vlmoe_context_error(t->ctx));
    const int64_t dims[2] = {s.codes, s.code_dim};
    const vlm_st_decl decls[3] = {{"codebook.code", VLMOE_F32, 2, dims},
                                  {"codebook.count", VLMOE_F32, 1, dims},
                                  {"codebook.sum", VLMOE_F32, 2, dims}};
    const void *data[3] = {s.code, s.count, s.sum};
    char *path = vlm_path_join(folder, "state.safetensors");
    st = path ? vlm_st_writer_create(path, &writer, error)
              : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a checkpoint");
    vlm_free(path);
    if (st) return st;
    st = vlm_st_writer_metadata(writer, "started", s.started ? "true" : "false", error);
    for (int i = 0; i < 3 && !st; i++) st = vlm_st_writer_declare(writer, &decls[i], error);
    for (int i = 0; i < 3 && !st; i++) {
        size_t bytes = sizeof(float) * (size_t)(i == 1 ? s.codes : s.codes * s.code_dim);
        st = vlm_st_writer_put(writer, decls[i].name, data[i], bytes, error);
    }
    if (!st) return vlm_st_writer_close(writer, error);
    vlm_st_writer_abandon(writer);
    return st;
}

/* The text model travels with the checkpoint, so that it can be used where the data are not. */
static vlmoe_status copy_text_model(vlmoe_trainer *t, const char *folder, vlmoe_error *error)
{
    return t->spm ? write_text(folder, "text.model", &t->text_bytes, error) : VLMOE_OK;
}

static vlmoe_status write_classes(const vlmoe_trainer *t, const char *folder, vlmoe_error *error)
{
    vlm_text text = {0};
    if (!t->classes || !t->classes->n) return VLMOE_OK;
    for (int64_t i = 0; i < t->classes->n; i++) vlm_text_put(&text, "%s\n", t->classes->name[i]);
    vlmoe_status st = write_text(folder, "labels.txt", &text, error);
    vlm_text_free(&text);
    return st;
}

static vlmoe_status write_state(vlmoe_trainer *t, const char *folder, vlmoe_error *error)
{
    vlm_text state = {0}, config = {0};
    char device[128] = "";
    t->ctx->backend->describe(t->ctx->device, device, sizeof device);
    vlm_text_put(&state,
                 "{\n  \"format\": %d,\n  \"task\": \"%s\",\n  \"step\": %lld,\n  \"library\": "
                 "\"%d.%d.%d\",\n  \"device\": ",
                 STATE_FORMAT, t->config->run.task, (long long)t->step, VLMOE_VERSION_MAJOR,
                 VLMOE_VERSION_MINOR, VLMOE_VERSION_PATCH);
    vlm_text_json_string(&state, device, strlen(device));
    vlm_text_put(&state, ",\n  \"numbers\": \"%016llx\"\n}\n",
                 (unsigned long long)vlm_config_hash(t->config));
    vlm_config_write(t->config, true, &config);
    vlmoe_status st = write_text(folder, "state.json", &state, error);
    if (!st) st = write_text(folder, "config.json", &config, error);
    vlm_text_free(&state);
    vlm_text_free(&config);
    return st;
}

/* Rank 0 makes the folder, all learn its name. */
static vlmoe_status begin(vlmoe_trainer *t, const char *dir, vlm_ckpt_writer **writer,
                          char **folder, vlmoe_error *error)
{
    char name[VLM_CKPT_NAME];
    const bool is_first = !t->seat || !t->seat->rank;
    vlmoe_status st = vlm_ctx_moments(t->ctx);
    if (st) vlm_fail(error, st, "%s", vlmoe_context_error(t->ctx));
    vlm_ckpt_step_name(t->step, name);
    if (!st && is_first) st = vlm_ckpt_begin(dir, name, writer, error);
    VLM_TRY(vlm_ranks_agree(t->seat, "beginning of a checkpoint", st, error));
    const char *path = is_first ? vlm_ckpt_folder(*writer) : "";
    if (t->seat)
        return vlm_comm_share_blocks(t->seat->world, "folder of a checkpoint", path,
                                     is_first ? strlen(path) + 1 : 0, folder, t->result_at, error);
    *folder = vlm_strdup(path);
    return *folder ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a checkpoint");
}

static vlmoe_status write_rest(vlmoe_trainer *t, const char *folder, vlmoe_error *error)
{
    VLM_TRY(write_codebook(t, folder, error));
    VLM_TRY(copy_text_model(t, folder, error));
    VLM_TRY(write_classes(t, folder, error));
    return write_state(t, folder, error);
}

static vlmoe_status prune(const vlmoe_trainer *t, const char *dir, vlmoe_error *error)
{
    vlm_ckpt_best best = {0};
    bool has_best = false;
    VLM_TRY(vlm_ckpt_get_best(dir, &best, &has_best, error));
    return vlm_ckpt_prune(dir, (int)t->config->run.keep_last, has_best ? best.checkpoint : NULL,
                          error);
}

vlmoe_status vlm_checkpoint_save(vlmoe_trainer *t, const char *dir, vlmoe_error *error)
{
    vlm_ckpt_writer *writer = NULL;
    char *folder = NULL;
    const bool is_first = !t->seat || !t->seat->rank;
    vlmoe_status st = begin(t, dir, &writer, &folder, error);
    if (!st) st = write_state_files(t, folder, error);
    if (!st) {
        if (is_first) st = write_rest(t, folder, error);
        st = vlm_ranks_agree(t->seat, "files of a checkpoint", st, error);
    }
    vlm_free(folder);
    if (st) {
        vlm_ckpt_abandon(writer);
        return st;
    }
    st = vlm_ckpt_commit_on(t->seat ? t->seat->world : NULL, writer, error);
    if (vlm_ranks_know(t->seat, st)) return st;
    if (is_first) st = prune(t, dir, error);
    return vlm_ranks_agree(t->seat, "pruning of checkpoints", st, error);
}

/* ---- reading ---- */

static vlmoe_status read_json(const vlm_checkpoint *c, const char *name, char **text, size_t *bytes,
                              vlmoe_error *error)
{
    const char *path = vlm_ckpt_path(c->files, name);
    if (!path) return vlm_fail(error, VLMOE_E_FORMAT, "%s: %s is missing", c->path, name);
    return vlm_file_read(path, MAX_JSON_BYTES, text, bytes, error);
}

static vlmoe_status read_config(vlm_checkpoint *c, vlmoe_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    VLM_TRY(read_json(c, "config.json", &text, &bytes, error));
    vlmoe_status st =
        vlm_config_parse(text, bytes, vlm_ckpt_path(c->files, "config.json"), &c->config, error);
    vlm_free(text);
    return st;
}

static void copy_text(const vlm_value *object, const char *key, char *out, size_t bytes)
{
    const char *text = vlm_json_text(vlm_json_get(object, key));
    size_t n = text ? VLM_MIN(strlen(text), bytes - 1) : 0;
    if (n) memcpy(out, text, n);
    out[n] = 0;
}

static vlmoe_status read_state(vlm_checkpoint *c, vlmoe_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    vlm_json *doc = NULL;
    int64_t format = 0;
    const char *path = vlm_ckpt_path(c->files, "state.json");
    VLM_TRY(read_json(c, "state.json", &text, &bytes, error));
    vlmoe_status st = vlm_json_parse(text, bytes, path, false, &doc, error);
    const vlm_value *root = doc ? vlm_json_root(doc) : NULL;
    if (!st && (!vlm_json_int(vlm_json_get(root, "format"), &format) || format < 1 ||
                !vlm_json_int(vlm_json_get(root, "step"), &c->state.step) || c->state.step < 0))
        st = vlm_fail(error, VLMOE_E_FORMAT,
                      "%s: format and step must be whole numbers from 1 and from 0", path);
    if (!st && format > STATE_FORMAT)
        st = vlm_fail(error, VLMOE_E_VERSION,
                      "%s: format %lld is newer than %d, which this library reads", path,
                      (long long)format, STATE_FORMAT);
    if (!st) {
        copy_text(root, "task", c->state.task, sizeof c->state.task);
        copy_text(root, "library", c->state.library, sizeof c->state.library);
        copy_text(root, "device", c->state.device, sizeof c->state.device);
    }
    vlm_json_free(doc);
    vlm_free(text);
    return st;
}

vlmoe_status vlm_checkpoint_open(const char *path, vlm_checkpoint *out, vlmoe_error *error)
{
    vlm_checkpoint c = {0};
    VLM_TRY(vlm_ckpt_find(path, &c.path, error));
    vlmoe_status st = vlm_ckpt_open(c.path, true, &c.files, error);
    if (!st) st = read_state(&c, error);
    if (!st) st = read_config(&c, error);
    if (st) vlm_checkpoint_close(&c);
    else *out = c;
    return st;
}

void vlm_checkpoint_close(vlm_checkpoint *c)
{
    vlmoe_config_destroy(c->config);
    vlm_ckpt_close(c->files);
    vlm_free(c->path);
    *c = (vlm_checkpoint){0};
}

static vlmoe_status codebook_tensor(const vlm_st *st, const char *path, const char *name, int64_t n,
                                    float *out, vlmoe_error *error)
{
    const vlm_st_tensor *found = vlm_st_find(st, name);
    if (!found) return vlm_fail(error, VLMOE_E_FORMAT, "%s: tensor %s is missing", path, name);
    if (found->dtype != VLMOE_F32 || found->bytes != (size_t)n * sizeof *out)
        return vlm_fail(error, VLMOE_E_SHAPE,
                        "%s: tensor %s must hold %lld F32 numbers, found %zu bytes of %s", path,
                        name, (long long)n, found->bytes, vlm_st_dtype_name(found->dtype));
    memcpy(out, found->data, found->bytes);
    return VLMOE_OK;
}

static vlmoe_status load_codebook(const vlm_checkpoint *c, vlm_tokeniser *tokeniser,
                                  vlmoe_error *error)
{
    vlm_codebook_state s = {0};
    vlm_st *file = NULL;
    const char *path = vlm_ckpt_path(c->files, "state.safetensors");
    if (!path)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: state.safetensors with the code book is missing", c->path);
    vlmoe_status st = vlm_tokeniser_state(tokeniser, &s); /* for its sizes and its memory */
    if (st) return vlm_fail(error, st, "code book state");
    VLM_TRY(vlm_st_open(path, &file, error));
    st = codebook_tensor(file, path, "codebook.code", s.codes * s.code_dim, s.code, error);
    if (!st) st = codebook_tensor(file, path, "codebook.count", s.codes, s.count, error);
    if (!st) st = codebook_tensor(file, path, "codebook.sum", s.codes * s.code_dim, s.sum, error);
    const char *started = vlm_st_metadata(file, "started");
    s.started = started && !strcmp(started, "true");
    vlm_st_close(file);
    if (!st) st = vlm_tokeniser_state_set(tokeniser, &s);
    return st ? vlm_fail(error, st, "code book state") : VLMOE_OK;
}

vlmoe_status vlm_checkpoint_load_model(const vlm_checkpoint *c, vlmoe_context *ctx,
                                       vlm_tokeniser *tokeniser, const char *name_prefix,
                                       vlmoe_error *error)
{
    const char *path = vlm_ckpt_path(c->files, "model.safetensors");
    if (!path) return vlm_fail(error, VLMOE_E_FORMAT, "%s: model.safetensors is missing", c->path);
    VLM_TRY(vlm_state_read(ctx, VLM_STATE_VALUES, name_prefix, path, error));
    return tokeniser ? load_codebook(c, tokeniser, error) : VLMOE_OK;
}

vlmoe_status vlm_checkpoint_classes(const vlm_checkpoint *c, vlm_classes *out, vlmoe_error *error)
{
    const char *path = vlm_ckpt_path(c->files, "labels.txt");
    return path ? vlm_classes_read(path, out, error)
                : vlm_fail(error, VLMOE_E_FORMAT, "%s: labels.txt is missing", c->path);
}

vlmoe_status vlm_checkpoint_check_classes(const vlm_checkpoint *c, const vlm_classes *classes,
                                          vlmoe_error *error)
{
    vlm_classes its = {0};
    if (!classes) return VLMOE_OK;
    VLM_TRY(vlm_checkpoint_classes(c, &its, error));
    vlmoe_status st = vlm_classes_compare(&its, vlm_ckpt_path(c->files, "labels.txt"), classes,
                                          "the data", error);
    vlm_classes_free(&its);
    return st;
}

vlmoe_status vlm_checkpoint_load_optimiser(const vlm_checkpoint *c, vlmoe_context *ctx,
                                           vlmoe_error *error)
{
    const char *path = vlm_ckpt_path(c->files, "optimiser.safetensors");
    if (!path)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: optimiser.safetensors is missing", c->path);
    vlmoe_status st = vlm_ctx_moments(ctx);
    if (st) return vlm_fail(error, st, "%s", vlmoe_context_error(ctx));
    return vlm_state_read(ctx, VLM_STATE_MOMENTS, "", path, error);
}
