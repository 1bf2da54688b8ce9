/* From arguments to a loaded model. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "cli_common.h"
#include "cli_model.h"
#include "config_table.h"

/* ---- log ---- */

static void log_line(void *user, int level, const char *area, const char *text)
{
    static const char *const names[] = {"error", "warning"};
    if (level <= VLMOE_LOG_WARN)
        fprintf(stderr, "%s: %s: %s: %s\n", (const char *)user, names[level], area, text);
}

vlm_log vlm_cli_log(const char *tool)
{
    return (vlm_log){log_line, (void *)(uintptr_t)tool};
}

/* ---- which checkpoint ---- */

static vlmoe_status find_best(const char *run, char **out, vlmoe_error *error)
{
    vlm_ckpt_best best = {0};
    bool found = false;
    VLM_TRY(vlm_ckpt_get_best(run, &best, &found, error));
    if (!found)
        return vlm_fail(error, VLMOE_E_IO,
                        "%s names no best checkpoint (best.json): the run held nothing out", run);
    *out = vlm_path_join(run, best.checkpoint);
    return *out ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a path");
}

vlmoe_status vlm_cli_checkpoint_find(const char *path, bool best, char **out, vlmoe_error *error)
{
    return best && vlm_path_is_dir(path) ? find_best(path, out, error)
                                         : vlm_ckpt_find(path, out, error);
}

/* ---- whose data ---- */

/* config.json of the run that a checkpoint belongs to; *out NULL = there is none. */
static vlmoe_status find_config(const char *checkpoint, char **out, vlmoe_error *error)
{
    char *run = vlm_path_dir(checkpoint), *path = run ? vlm_path_join(run, "config.json") : NULL;
    vlm_free(run);
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a path");
    if (vlm_path_exists(path)) *out = path;
    else vlm_free(path);
    return VLMOE_OK;
}

/* Settings for vlm_load, in order. */
typedef struct settings {
    int n;
    char *at[VLM_CLI_MAX_SETTINGS * 2];
} settings;

static vlmoe_status add(settings *s, char *text, vlmoe_error *error)
{
    if (!text) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a setting");
    if (s->n == VLM_COUNT(s->at)) {
        vlm_free(text);
        return vlm_fail(error, VLMOE_E_ARG, "more than %d settings", VLM_COUNT(s->at));
    }
    s->at[s->n++] = text;
    return VLMOE_OK;
}

static void settings_fini(settings *s)
{
    for (int i = 0; i < s->n; i++) vlm_free(s->at[i]);
    s->n = 0;
}

static vlmoe_status add_exec_keys(settings *s, const vlmoe_config *config, vlmoe_error *error)
{
    for (int i = 0; i < vlm_n_keys; i++) {
        const vlm_key *key = &vlm_keys[i];
        vlm_text value = {0};
        if (key->kind != VLM_KEY_EXEC) continue;
        vlm_key_write(key, config, &value);
        char *text =
            value.failed ? NULL : vlm_format("%s.%s=%s", key->section, key->name, value.data);
        vlm_text_free(&value);
        VLM_TRY(add(s, text, error));
    }
    return VLMOE_OK;
}

static vlmoe_status add_given(settings *s, const vlm_cli_model_options *o, vlmoe_error *error)
{
    for (int i = 0; i < o->n_set; i++) VLM_TRY(add(s, vlm_strdup(o->set[i]), error));
    return VLMOE_OK;
}

/* Every held-out sample unless the caller limits them: data.val_samples is for training. */
static vlmoe_status add_all(settings *s, const vlmoe_config *config, const vlm_cli_model_options *o,
                            vlmoe_error *error)
{
    enum { ALL = 1000000000 };
    if (config) VLM_TRY(add_exec_keys(s, config, error));
    VLM_TRY(add(s, vlm_format("data.val_samples=%d", ALL), error));
    VLM_TRY(add_given(s, o, error));
    if (!o->limit) return VLMOE_OK;
    return add(s, vlm_format("data.val_samples=%lld", (long long)o->limit), error);
}

/* The tokeniser's keys are left out: pretraining takes them from its image tokeniser. */
static void tell_differences(const char *tool, const vlmoe_trainer *trainer, vlmoe_config *config)
{
    vlm_text lines = {0};
    vlm_config_differences(trainer->config, config, &lines);
    for (char *line = lines.data, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) break;
        if (strncmp(line, "tokeniser.", 10))
            fprintf(stderr, "%s: note: the checkpoint's number is used, not the config's: %.*s\n",
                    tool, (int)(end - line), line);
    }
    vlm_text_free(&lines);
}

static vlmoe_status read_config(const vlm_cli_model_options *o, const char *path,
                                vlmoe_config **out, vlmoe_error *error)
{
    return path ? vlmoe_config_load(path, o->n_set, o->set, out, error) : VLMOE_OK;
}

static vlmoe_status load(const char *tool, const char *path, const settings *s, vlm_cli_model *out,
                         vlmoe_error *error)
{
    const vlm_log log = vlm_cli_log(tool);
    return vlm_load(path, s->n, (const char *const *)s->at, &log, &out->trainer, error);
}

vlmoe_status vlm_cli_model_open(const char *tool, const vlm_cli_model_options *o,
                                vlm_cli_model *out, vlmoe_error *error)
{
    vlm_cli_model m = {0};
    vlmoe_config *config = NULL;
    char *beside = NULL;
    settings s = {0};
    if (!o->config && !o->checkpoint)
        return vlm_fail(error, VLMOE_E_ARG, "--config FILE or --checkpoint DIR is missing");
    vlmoe_status st = read_config(o, o->config, &config, error);
    if (!st)
        st = vlm_cli_checkpoint_find(o->checkpoint ? o->checkpoint : config->run.out, o->best,
                                     &m.path, error);
    if (!st && !config) st = find_config(m.path, &beside, error);
    if (!st && beside) st = read_config(o, beside, &config, error);
    if (!st) st = add_all(&s, config, o, error);
    if (!st) st = load(tool, m.path, &s, &m, error);
    if (!st && o->config) tell_differences(tool, m.trainer, config);
    settings_fini(&s);
    vlm_free(beside);
    vlmoe_config_destroy(config);
    if (st) vlm_cli_model_close(&m);
    else *out = m;
    return st;
}

vlmoe_status vlm_cli_model_open_bare(const char *tool, const vlm_cli_model_options *o,
                                     vlm_cli_model *out, vlmoe_error *error)
{
    vlm_cli_model m = {0};
    settings s = {0};
    vlmoe_status st = vlm_cli_checkpoint_find(o->checkpoint, o->best, &m.path, error);
    if (!st) st = add(&s, vlm_strdup("moe.capacity_factor_eval=0"), error);
    if (!st) st = add_given(&s, o, error);
    if (!st) st = load(tool, m.path, &s, &m, error);
    settings_fini(&s);
    if (st) vlm_cli_model_close(&m);
    else *out = m;
    return st;
}

void vlm_cli_model_close(vlm_cli_model *model)
{
    vlmoe_trainer_destroy(model->trainer);
    vlm_free(model->path);
    *model = (vlm_cli_model){0};
}

bool vlm_cli_settings(const char *tool, int argc, char **argv, int first, vlm_cli_model_options *o)
{
    for (int i = first; i < argc; i++) {
        if (!strchr(argv[i], '=')) {
            vlm_cli_usage(tool, "'%s' is neither an option nor section.key=value", argv[i]);
            return false;
        }
        if (o->n_set == VLM_CLI_MAX_SETTINGS) {
            vlm_cli_usage(tool, "more than %d settings", VLM_CLI_MAX_SETTINGS);
            return false;
        }
        o->set[o->n_set++] = argv[i];
    }
    return true;
}
