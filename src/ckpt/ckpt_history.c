/* The checkpoints of a run: which is newest, which is best, which may go, and what a dead run left
 * behind. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "ckpt_dir.h"
#include "ckpt_list.h"

#define STEP_PREFIX "step-"
#define TMP_PREFIX  ".tmp-"
#define OLD_PREFIX  ".old-"
#define GONE_PREFIX ".gone-"
#define BEST_FILE   "best.json"
enum { STEP_DIGITS = 8, MAX_STEP_DIGITS = 18, MAX_BEST_BYTES = 4096 };

void vlm_ckpt_step_name(int64_t step, char out[VLM_CKPT_NAME])
{
    snprintf(out, VLM_CKPT_NAME, STEP_PREFIX "%0*lld", STEP_DIGITS, (long long)step);
}

bool vlm_ckpt_step_of(const char *name, int64_t *out)
{
    size_t prefix = strlen(STEP_PREFIX), n = strlen(name);
    if (strncmp(name, STEP_PREFIX, prefix) != 0) return false;
    const char *digits = name + prefix;
    n -= prefix;
    if (n < STEP_DIGITS || n > MAX_STEP_DIGITS || strspn(digits, "0123456789") != n) return false;
    if (n > STEP_DIGITS && digits[0] == '0') return false; /* one number, one name */
    int64_t step = 0;
    for (size_t i = 0; i < n; i++) step = step * 10 + (digits[i] - '0');
    *out = step;
    return true;
}

/* The part after prefix, or NULL when name has another. */
static const char *after_prefix(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

static vlmoe_status no_memory(const char *parent, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_NOMEM, "no memory to look through %s", parent);
}

/* Rename from PARENT/from to PARENT/to. */
static vlmoe_status move(const char *parent, const char *from, const char *to, vlmoe_error *error)
{
    char *source = vlm_path_join(parent, from), *target = vlm_path_join(parent, to);
    vlmoe_status status = VLMOE_OK;
    if (!source || !target) status = no_memory(parent, error);
    else if (rename(source, target) != 0) status = vlm_fail_errno(error, "rename", source);
    vlm_free(source);
    vlm_free(target);
    return status;
}

static vlmoe_status remove_in(const char *parent, const char *name, vlmoe_error *error)
{
    char *path = vlm_path_join(parent, name);
    vlmoe_status status = path ? vlm_dir_remove(path, error) : no_memory(parent, error);
    vlm_free(path);
    return status;
}

/* .old-NAME is the only copy when the replacement did not get as far as its second rename. */
static vlmoe_status recover_old(const char *parent, const char *old, const char *name,
                                vlmoe_error *error)
{
    char *path = vlm_path_join(parent, name);
    if (!path) return no_memory(parent, error);
    bool replaced = vlm_path_exists(path);
    vlm_free(path);
    return replaced ? remove_in(parent, old, error) : move(parent, old, name, error);
}

vlmoe_status vlm_ckpt_recover(const char *parent, vlmoe_error *error)
{
    if (!vlm_path_exists(parent)) return VLMOE_OK;
    char **names;
    size_t n;
    VLM_TRY(vlm_dir_list(parent, &names, &n, error));
    vlmoe_status status = VLMOE_OK;
    for (size_t i = 0; i < n && !status; i++) {
        const char *old = after_prefix(names[i], OLD_PREFIX);
        if (old) status = recover_old(parent, names[i], old, error);
        else if (after_prefix(names[i], TMP_PREFIX) || after_prefix(names[i], GONE_PREFIX) ||
                 after_prefix(names[i], BEST_FILE TMP_PREFIX)) /* of vlm_file_replace */
            status = remove_in(parent, names[i], error);
    }
    vlm_names_free(names, n);
    return status;
}

/* Numbers of step folders and their names, newest first, from names that are sorted. */
static size_t newest_first(char **names, size_t n, int64_t *steps, char **out)
{
    size_t n_steps = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t step;
        if (!vlm_ckpt_step_of(names[i], &step)) continue;
        size_t at = n_steps++;
        for (; at > 0 && steps[at - 1] < step;
             at--) { /* names sort like numbers up to eight digits: nearly always one move */
            steps[at] = steps[at - 1];
            out[at] = out[at - 1];
        }
        steps[at] = step;
        out[at] = names[i];
    }
    return n_steps;
}

/* Rename first: a deletion that is interrupted must not leave half a checkpoint under a good name.
 */
static vlmoe_status remove_step(const char *parent, const char *name, vlmoe_error *error)
{
    char gone[VLM_CKPT_NAME];
    snprintf(gone, sizeof gone, GONE_PREFIX "%s", name);
    VLM_TRY(move(parent, name, gone, error));
    return remove_in(parent, gone, error);
}

/* The step folders of a parent. */
typedef struct history {
    char **names; /* all of the folder */
    size_t n_names;
    char **steps; /* [n] newest first, borrowed from names */
    size_t n;
} history;

static void history_free(history *h)
{
    vlm_names_free(h->names, h->n_names);
    vlm_free(h->steps);
    *h = (history){0};
}

static vlmoe_status history_read(const char *parent, history *out, vlmoe_error *error)
{
    history h = {0};
    VLM_TRY(vlm_dir_list(parent, &h.names, &h.n_names, error));
    int64_t *numbers = vlm_alloc_array(h.n_names, sizeof *numbers);
    h.steps = vlm_alloc_array(h.n_names, sizeof *h.steps);
    if (!numbers || !h.steps) {
        vlm_free(numbers);
        history_free(&h);
        return no_memory(parent, error);
    }
    h.n = newest_first(h.names, h.n_names, numbers, h.steps);
    vlm_free(numbers);
    *out = h;
    return VLMOE_OK;
}

vlmoe_status vlm_ckpt_prune(const char *parent, int keep_last, const char *keep_name,
                            vlmoe_error *error)
{
    if (keep_last < 1)
        return vlm_fail(error, VLMOE_E_ARG, "%s: at least 1 checkpoint must be kept, not %d",
                        parent, keep_last);
    VLM_TRY(vlm_ckpt_recover(parent, error));
    history h;
    VLM_TRY(history_read(parent, &h, error));
    vlmoe_status status = VLMOE_OK;
    for (size_t i = (size_t)keep_last; i < h.n && !status; i++)
        if (!keep_name || strcmp(h.steps[i], keep_name) != 0)
            status = remove_step(parent, h.steps[i], error);
    history_free(&h);
    return status;
}

/* why: what is wrong with the newest, where none opens; its status is OK where there are none. */
static vlmoe_status newest_whole(const char *parent, char **out, vlmoe_error *why,
                                 vlmoe_error *error)
{
    history h;
    VLM_TRY(history_read(parent, &h, error));
    vlmoe_status status = VLMOE_OK;
    char *found = NULL;
    for (size_t i = 0; i < h.n && !found && !status; i++) {
        found = vlm_path_join(parent, h.steps[i]);
        if (!found) {
            status = no_memory(parent, error);
            break;
        }
        vlm_ckpt *ckpt = NULL;
        vlmoe_status opened = vlm_ckpt_open(found, false, &ckpt, i ? NULL : why);
        vlm_ckpt_close(ckpt);
        if (!opened) break;
        vlm_free(found);
        found = NULL;
        if (opened == VLMOE_E_NOMEM)
            status = no_memory(parent, error); /* says nothing about the checkpoint */
    }
    history_free(&h);
    if (!status) *out = found;
    return status;
}

vlmoe_status vlm_ckpt_latest(const char *parent, char **out, vlmoe_error *error)
{
    *out = NULL;
    return vlm_path_exists(parent) ? newest_whole(parent, out, NULL, error) : VLMOE_OK;
}

static bool is_checkpoint(const char *path)
{
    char *inside = vlm_path_join(path, VLM_CKPT_CHECKSUMS);
    bool is_there = inside && vlm_path_exists(inside);
    vlm_free(inside);
    return is_there;
}

/* A copy of path whose last part is a name, so that its folder is the run's. */
static char *without_slash(const char *path)
{
    char *copy = vlm_strdup(path);
    size_t n = copy ? strlen(copy) : 0;
    while (n > 1 && copy[n - 1] == '/') copy[--n] = 0;
    return copy;
}

vlmoe_status vlm_ckpt_find(const char *path, char **out, vlmoe_error *error)
{
    vlmoe_error why = {0};
    *out = NULL;
    if (!vlm_path_is_dir(path))
        return vlm_fail(error, VLMOE_E_IO, "%s is not a folder: no run was saved there", path);
    if (is_checkpoint(path)) {
        *out = without_slash(path);
        return *out ? VLMOE_OK : no_memory(path, error);
    }
    VLM_TRY(newest_whole(path, out, &why, error));
    if (*out) return VLMOE_OK;
    if (why.status)
        return vlm_fail(error, why.status, "%s holds no checkpoint that is whole; the newest: %s",
                        path, why.text);
    return vlm_fail(error, VLMOE_E_IO, "%s holds no checkpoint (a folder step-XXXXXXXX with %s)",
                    path, VLM_CKPT_CHECKSUMS);
}

vlmoe_status vlm_ckpt_put_best(const char *parent, const vlm_ckpt_best *best, vlmoe_error *error)
{
    if (!vlm_ckpt_plain_name(best->checkpoint) || !isfinite(best->value))
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s: best checkpoint \"%s\" with value %g cannot be recorded", parent,
                        best->checkpoint, best->value);
    vlm_text text = {0};
    vlm_text_put(&text, "{\"checkpoint\": ");
    vlm_text_json_string(&text, best->checkpoint, strlen(best->checkpoint));
    vlm_text_put(&text, ", \"metric\": ");
    vlm_text_json_string(&text, best->metric, strlen(best->metric));
    vlm_text_put(&text, ", \"value\": ");
    vlm_text_json_number(&text, best->value);
    vlm_text_put(&text, "}\n");
    char *path = vlm_path_join(parent, BEST_FILE);
    vlmoe_status status;
    if (text.failed || !path) status = no_memory(parent, error);
    else status = vlm_file_replace(path, text.data, text.bytes, error);
    vlm_free(path);
    vlm_text_free(&text);
    return status;
}

static vlmoe_status read_best(const vlm_value *root, const char *path, vlm_ckpt_best *out,
                              vlmoe_error *error)
{
    const char *checkpoint = vlm_json_text(vlm_json_get(root, "checkpoint"));
    const char *metric = vlm_json_text(vlm_json_get(root, "metric"));
    const vlm_value *value = vlm_json_get(root, "value");
    if (!checkpoint || !vlm_ckpt_plain_name(checkpoint) || strlen(checkpoint) >= VLM_CKPT_NAME)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: \"checkpoint\" does not name a folder", path);
    if (!metric || strlen(metric) >= VLM_CKPT_NAME || !value ||
        vlm_json_kind_of(value) != VLM_JSON_NUMBER)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: needs a \"metric\" and a number as \"value\"",
                        path);
    vlm_ckpt_best best = {.value = vlm_json_number(value)};
    strcpy(best.checkpoint, checkpoint);
    strcpy(best.metric, metric);
    *out = best;
    return VLMOE_OK;
}

vlmoe_status vlm_ckpt_get_best(const char *parent, vlm_ckpt_best *out, bool *found,
                               vlmoe_error *error)
{
    char *path = vlm_path_join(parent, BEST_FILE);
    if (!path) return no_memory(parent, error);
    vlmoe_status status = VLMOE_OK;
    bool exists = vlm_path_exists(path);
    if (exists) {
        char *text = NULL;
        size_t bytes;
        vlm_json *doc = NULL;
        status = vlm_file_read(path, MAX_BEST_BYTES, &text, &bytes, error);
        if (!status) status = vlm_json_parse(text, bytes, path, false, &doc, error);
        if (!status) status = read_best(vlm_json_root(doc), path, out, error);
        vlm_json_free(doc);
        vlm_free(text);
    }
    if (!status) *found = exists;
    vlm_free(path);
    return status;
}

vlmoe_status vlm_ckpt_drop_best(const char *parent, vlmoe_error *error)
{
    return remove_in(parent, BEST_FILE, error);
}
