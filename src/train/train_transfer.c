/* The beginning of fine-tuning: an encoder out of the checkpoint of another task. */
#include "train_transfer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "train_params.h"
#include "train_resample.h"

/* What was done with tensors, for the log. */
enum { TAKEN, RESAMPLED, CUT, FRESH, LEFT_OUT, N_DEEDS };

typedef struct transfer {
    vlmoe_context *ctx;
    vlm_st *file;
    const char *path;
    bool is_dry; /* check only */
    int64_t count[N_DEEDS];
    vlm_text names[N_DEEDS]; /* of the rarer deeds */
    vlmoe_error *error;
} transfer;

static bool begins(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

static void note(transfer *t, int deed, const char *format, const char *name)
{
    if (!t->is_dry) return;
    if (t->count[deed]++) vlm_text_put(&t->names[deed], ", ");
    vlm_text_put(&t->names[deed], format, name);
}

static vlmoe_status put(transfer *t, const vlm_file_tensor *tensor, const void *values)
{
    vlm_param *param = tensor->pieces->param;
    if (t->is_dry) return VLMOE_OK;
    vlmoe_status st = vlm_param_put(param, tensor->pieces->expert, 0, tensor->n, values);
    return st ? vlm_fail(t->error, st, "cannot write %s to the device", tensor->name) : VLMOE_OK;
}

static bool is_equal_shape(const vlm_file_tensor *tensor, const vlm_st_tensor *found)
{
    bool is_equal = found->rank == tensor->rank;
    for (int i = 0; i < tensor->rank && is_equal; i++) is_equal = found->dims[i] == tensor->dims[i];
    return is_equal;
}

static void shape_text(int rank, const int64_t *dims, vlm_text *out)
{
    for (int i = 0; i < rank; i++) vlm_text_put(out, "%s%lld", i ? ", " : "[", (long long)dims[i]);
    vlm_text_put(out, "]");
}

static vlmoe_status refuse_shape(transfer *t, const vlm_file_tensor *tensor,
                                 const vlm_st_tensor *found, const char *why)
{
    vlm_text given = {0}, wanted = {0};
    shape_text(found->rank, found->dims, &given);
    shape_text(tensor->rank, tensor->dims, &wanted);
    vlmoe_status st =
        given.failed || wanted.failed
            ? vlm_fail(t->error, VLMOE_E_NOMEM, "out of memory for two shapes")
            : vlm_fail(t->error, VLMOE_E_SHAPE,
                       "task.init: %s: tensor %s has shape %s, this run's model needs %s%s",
                       t->path, tensor->name, given.data, wanted.data, why);
    vlm_text_free(&given);
    vlm_text_free(&wanted);
    return st;
}

/* ---- positions ---- */

/* Side of the square grid of n cells; 0 = it is none. */
static int64_t side_of(int64_t n)
{
    int64_t side = (int64_t)llround(sqrt((double)n));
    return side * side == n ? side : 0;
}

/* Row 0 is [I_CLS]'s. */
static vlmoe_status resample(transfer *t, const vlm_file_tensor *tensor, const vlm_st_tensor *found)
{
    const int64_t width = tensor->dims[1];
    if (found->rank != 2 || found->dims[1] != width || found->dims[0] < 2 ||
        !side_of(found->dims[0] - 1) || !side_of(tensor->dims[0] - 1))
        return refuse_shape(t, tensor, found, "");
    note(t, RESAMPLED, "%s", tensor->name);
    if (t->is_dry) return VLMOE_OK;
    const size_t row = (size_t)width * sizeof(float);
    float *from = vlm_alloc(found->bytes), *out = vlm_alloc((size_t)tensor->n * sizeof *out);
    vlmoe_status st = VLMOE_OK;
    if (!from || !out) {
        st = vlm_fail(t->error, VLMOE_E_NOMEM, "out of memory to resample %s", tensor->name);
    } else {
        memcpy(from, found->data, found->bytes);
        memcpy(out, from, row);
        st = vlm_grid_resample(side_of(found->dims[0] - 1), side_of(tensor->dims[0] - 1), width,
                               from + width, out + width, t->error);
    }
    if (!st) st = put(t, tensor, out);
    vlm_free(from);
    vlm_free(out);
    return st;
}

static vlmoe_status cut(transfer *t, const vlm_file_tensor *tensor, const vlm_st_tensor *found)
{
    if (found->rank != 2 || found->dims[1] != tensor->dims[1] || found->dims[0] < tensor->dims[0])
        return refuse_shape(t, tensor, found,
                            ": model.text_len may be shorter than the checkpoint's, not longer");
    note(t, CUT, "%s", tensor->name);
    return put(t, tensor, found->data);
}

/* ---- tensors ---- */

static vlmoe_status take(transfer *t, const vlm_file_tensor *tensor, const vlm_st_tensor *found)
{
    if (!found)
        return vlm_fail(t->error, VLMOE_E_FORMAT, "task.init: %s: tensor %s is missing", t->path,
                        tensor->name);
    if (found->dtype != VLMOE_F32)
        return vlm_fail(t->error, VLMOE_E_DTYPE, "task.init: %s: tensor %s must be F32, found %s",
                        t->path, tensor->name, vlm_st_dtype_name(found->dtype));
    if (is_equal_shape(tensor, found)) {
        t->count[TAKEN] += t->is_dry;
        return put(t, tensor, found->data);
    }
    if (!strcmp(tensor->name, "image_position")) return resample(t, tensor, found);
    if (!strcmp(tensor->name, "text_position")) return cut(t, tensor, found);
    return refuse_shape(t, tensor, found, "");
}

static vlmoe_status visit(void *arg, const vlm_file_tensor *tensor)
{
    transfer *t = arg;
    const vlm_st_tensor *found = vlm_st_find(t->file, tensor->name);
    if (!begins(tensor->name, "head.")) return take(t, tensor, found);
    if (found && begins(tensor->name, "head.retrieval.") && is_equal_shape(tensor, found))
        return take(t, tensor, found);
    note(t, FRESH, "%s", tensor->name);
    return VLMOE_OK;
}

typedef struct search {
    const char *wanted;
    bool is_known;
} search;

static vlmoe_status look_for(void *arg, const vlm_file_tensor *tensor)
{
    search *s = arg;
    s->is_known = s->is_known || !strcmp(tensor->name, s->wanted);
    return VLMOE_OK;
}

/* What only pretraining or another task needs. */
static bool is_of_a_task(const char *name)
{
    return begins(name, "word_head.") || begins(name, "code_head.") ||
           begins(name, "image_tokeniser.") || begins(name, "head.");
}

/* Tensors of the file that were not met must be those of a task. A part of one name stands for all of it in the log. */
static vlmoe_status check_rest(transfer *t)
{
    const char *last = "";
    size_t last_bytes = 0;
    for (int64_t i = 0; i < vlm_st_count(t->file); i++) {
        search s = {vlm_st_get(t->file, i)->name, false};
        if (is_of_a_task(s.wanted)) {
            const size_t bytes = strcspn(s.wanted, ".");
            const bool is_said = bytes == last_bytes && !strncmp(last, s.wanted, bytes);
            last = s.wanted;
            last_bytes = bytes;
            char *part = is_said ? NULL : vlm_format("%.*s", (int)bytes, s.wanted);
            if (part) note(t, LEFT_OUT, "%s", part);
            vlm_free(part);
            continue;
        }
        VLM_TRY(vlm_file_tensors_walk(t->ctx, false, look_for, &s, t->error));
        if (!s.is_known)
            return vlm_fail(t->error, VLMOE_E_FORMAT,
                            "task.init: %s: tensor %s is not part of this run's model", t->path,
                            s.wanted);
    }
    return VLMOE_OK;
}

static vlmoe_status take_all(transfer *t, bool is_dry)
{
    t->is_dry = is_dry;
    return vlm_file_tensors_walk(t->ctx, false, visit, t, t->error);
}

/* ---- numbers that no shape shows ---- */

/* "model.layers: 3 and 2; ..." of those keys that differ, checkpoint and config. */
static void list_differences(const vlm_checkpoint *from, const vlmoe_config *config,
                             const char *const *keys, int n, vlm_text *out)
{
    vlm_text differences = {0};
    vlm_config_differences(from->config, config, &differences);
    for (char *line = differences.data, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) break;
        *end = 0;
        for (int i = 0; i < n; i++)
            if (begins(line, keys[i])) vlm_text_put(out, "%s%s", out->bytes ? "; " : "", line);
    }
    vlm_text_free(&differences);
}

static vlmoe_status check_numbers(const vlm_checkpoint *from, const vlmoe_config *config,
                                  vlmoe_error *error)
{
    static const char *const keys[] = {"model.heads:",     "model.norm_eps:",  "moe.k:",
                                       "moe.renormalise:", "data.pixel_mean:", "data.pixel_std:"};
    vlm_text refused = {0};
    vlmoe_status st = VLMOE_OK;
    list_differences(from, config, keys, VLM_COUNT(keys), &refused);
    if (refused.bytes)
        st = vlm_fail(error, VLMOE_E_ARG,
                      "task.init: %s was trained with other numbers (checkpoint and config): %s",
                      from->path, refused.data);
    vlm_text_free(&refused);
    return st;
}

/* Adds to the text of a failure which keys that tensors come from differ. */
static vlmoe_status name_keys(const vlm_checkpoint *from, const vlmoe_config *config,
                              vlmoe_status st, vlmoe_error *error)
{
    static const char *const keys[] = {
        "model.layers:",      "model.width:",  "model.hidden:", "model.vl_from:", "model.patch:",
        "model.layer_scale:", "moe.v_layers:", "moe.t_layers:", "moe.v_experts:", "moe.t_experts:"};
    vlm_text differences = {0};
    if (!error || (st != VLMOE_E_SHAPE && st != VLMOE_E_FORMAT)) return st;
    list_differences(from, config, keys, VLM_COUNT(keys), &differences);
    if (differences.bytes) {
        const vlmoe_error plain = *error;
        error->status = VLMOE_OK; /* else the text of the first failure stays */
        vlm_fail(error, st, "%s (checkpoint and config: %s)", plain.text, differences.data);
    }
    vlm_text_free(&differences);
    return st;
}

static void tell(const transfer *t, const char *path)
{
    static const char *const text[N_DEEDS] = {"taken from", "resampled from", "cut from",
                                              "new here, not from", "left out of"};
    for (int i = 0; i < N_DEEDS; i++)
        if (t->count[i])
            vlm_logf(&t->ctx->log, VLMOE_LOG_INFO, "transfer", "%lld %s %s %s%s%s",
                     (long long)t->count[i], i == LEFT_OUT ? "parts" : "tensors", text[i], path,
                     t->names[i].bytes ? ": " : "", t->names[i].bytes ? t->names[i].data : "");
}

vlmoe_status vlm_transfer(const vlm_checkpoint *from, const vlmoe_config *config,
                          vlmoe_context *ctx, vlmoe_error *error)
{
    transfer t = {
        .ctx = ctx, .path = vlm_ckpt_path(from->files, "model.safetensors"), .error = error};
    if (!t.path)
        return vlm_fail(error, VLMOE_E_FORMAT, "task.init: %s: model.safetensors is missing",
                        from->path);
    VLM_TRY(check_numbers(from, config, error));
    VLM_TRY(vlm_st_open(t.path, &t.file, error));
    vlmoe_status st = take_all(&t, true); /* all checks before the first write */
    if (!st) st = check_rest(&t);
    if (st) name_keys(from, config, st, error);
    else st = take_all(&t, false);
    vlm_st_close(t.file);
    if (!st) {
        st = vlm_ctx_refresh_copies(ctx);
        if (st) vlm_fail(error, st, "%s", vlmoe_context_error(ctx));
    }
    if (!st) tell(&t, from->path);
    for (int i = 0; i < N_DEEDS; i++) vlm_text_free(&t.names[i]);
    return st;
}

vlmoe_status vlm_transfer_text_model(const vlm_checkpoint *from, const char *configured, char **out,
                                     vlmoe_error *error)
{
    const char *path = vlm_ckpt_path(from->files, "text.model");
    vlm_map its = {0}, own = {0};
    vlmoe_status st = VLMOE_OK;
    *out = NULL;
    if (!path && !configured[0]) return VLMOE_OK;
    if (path && configured[0]) {
        st = vlm_map_open(path, &its, error);
        if (!st) st = vlm_map_open(configured, &own, error);
        if (!st && (its.bytes != own.bytes || memcmp(its.data, own.data, own.bytes)))
            st = vlm_fail(error, VLMOE_E_ARG,
                          "data.text_model: %s is not the text model of task.init: its words would "
                          "be others. Leave data.text_model out to take %s",
                          configured, path);
        vlm_map_close(&its);
        vlm_map_close(&own);
        if (st) return st;
    }
    *out = vlm_strdup(configured[0] ? configured : path);
    return *out ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a path");
}
