/* A run's page: its records, its config, a checkpoint loaded twice (as it answers, and with training's expert capacity), one file
 * written whole. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "cli_common.h"
#include "cli_report.h"
#include "cli_report_gather.h"

enum { TEXT = 640, MAX_STATE = 1 << 20 };

/* All that a page is made of. */
typedef struct page {
    const vlm_cli_page_options *o;
    const char *tool;
    char *name, *metrics_path, *config_path, *model_missing, *routes_missing, *metrics_missing;
    char library[32], device[128], task[32], ending[TEXT];
    int64_t checkpoint_step;
    vlmoe_config *config, *standard;
    vlm_metrics *metrics;
    vlm_report_model *model;
    vlm_page_place place[VLM_PAGE_EXAMPLES];
} page;

static char *last_part(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t begin = n;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return vlm_format("%.*s", (int)(n - begin), path + begin);
}

char *vlm_cli_page_path(const char *path)
{
    char *inside = vlm_path_join(path, VLM_CKPT_CHECKSUMS), *name = last_part(path), *out = NULL;
    if (inside && name && !vlm_path_exists(inside)) out = vlm_path_join(path, "report.html");
    else if (inside && name) {
        char *run = vlm_path_dir(path), *file = vlm_format("report-%s.html", name);
        if (run && file) out = vlm_path_join(run, file);
        vlm_free(run);
        vlm_free(file);
    }
    vlm_free(inside);
    vlm_free(name);
    return out;
}

/* ---- the run's own files ---- */

static vlmoe_status read_records(page *p, vlmoe_error *error)
{
    vlmoe_error missing = {VLMOE_OK, ""};
    p->metrics = vlm_alloc(sizeof *p->metrics);
    p->metrics_path = vlm_path_join(p->o->run, "metrics.jsonl");
    if (!p->metrics || !p->metrics_path)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a report");
    if (!vlm_path_exists(p->metrics_path)) {
        p->metrics_missing =
            vlm_format("There are no records: %s does not exist.", p->metrics_path);
        return VLMOE_OK;
    }
    vlmoe_status st = vlm_metrics_read(p->metrics_path, p->metrics, &missing);
    if (st == VLMOE_E_NOMEM) return vlm_fail(error, st, "%s", missing.text);
    if (st) p->metrics_missing = vlm_format("The records cannot be read: %s.", missing.text);
    else if (!p->metrics->steps && !p->metrics->evaluations)
        p->metrics_missing = vlm_format("%s holds no record of a step.", p->metrics_path);
    return VLMOE_OK;
}

/* The run's config as it was resolved; without one that of the checkpoint, which has numbers alone. What --data names is about held-out
 * data, and stands for the run's config only where it has left none. */
static void read_config(page *p)
{
    const vlm_cli_model_options *m = &p->o->model;
    char *const paths[] = {vlm_path_join(p->o->run, "config.json"),
                           m->checkpoint ? vlm_path_join(m->checkpoint, "config.json") : NULL,
                           m->config ? vlm_strdup(m->config) : NULL};
    for (int i = 0; i < VLM_COUNT(paths); i++) {
        if (!p->config_path && paths[i] && vlm_path_exists(paths[i])) p->config_path = paths[i];
        else vlm_free(paths[i]);
    }
    if (p->config_path) vlmoe_config_load(p->config_path, 0, NULL, &p->config, NULL);
    vlm_config_default(&p->standard, NULL);
}

static void copy_text(const vlm_value *state, const char *key, char *out, size_t room)
{
    const char *text = vlm_json_text(vlm_json_get(state, key));
    if (text) snprintf(out, room, "%s", text);
}

/* Who wrote the checkpoint. Its loading says what is wrong with it, so a failure here is silent. */
static void read_state(page *p)
{
    char *path = vlm_path_join(p->o->model.checkpoint, "state.json"), *text = NULL;
    size_t bytes = 0;
    vlm_json *doc = NULL;
    if (path && vlm_path_exists(path) && !vlm_file_read(path, MAX_STATE, &text, &bytes, NULL) &&
        !vlm_json_parse(text, bytes, path, false, &doc, NULL)) {
        const vlm_value *state = vlm_json_root(doc);
        copy_text(state, "library", p->library, sizeof p->library);
        copy_text(state, "device", p->device, sizeof p->device);
        copy_text(state, "task", p->task, sizeof p->task);
        vlm_json_int(vlm_json_get(state, "step"), &p->checkpoint_step);
    }
    vlm_json_free(doc);
    vlm_free(text);
    vlm_free(path);
}

static void say_ending(page *p)
{
    long long step = p->metrics->steps, steps = p->config ? p->config->run.steps : 0;
    if (p->o->ending) snprintf(p->ending, sizeof p->ending, "%s", p->o->ending);
    else if (!step) p->ending[0] = 0;
    else if (steps && step >= steps)
        snprintf(p->ending, sizeof p->ending, "Complete: %lld steps.", step);
    else if (steps)
        snprintf(p->ending, sizeof p->ending, "Its records end at step %lld of %lld.", step, steps);
    else snprintf(p->ending, sizeof p->ending, "Its records end at step %lld.", step);
    size_t n = strlen(p->ending);
    if (p->checkpoint_step && step && p->checkpoint_step != step)
        snprintf(p->ending + n, sizeof p->ending - n,
                 " Examples and experts are those of step %lld.", (long long)p->checkpoint_step);
}

/* ---- the model ---- */

static int64_t parameters_of(const vlmoe_context *ctx)
{
    int64_t n = 0;
    for (int64_t i = 0; i < ctx->n_params; i++) n += vlm_param_elements(ctx->params[i]);
    return n;
}

static vlmoe_status open_model(const page *p, const char *extra, vlm_cli_model *out,
                               vlmoe_error *error)
{
    vlm_cli_model_options options = p->o->model;
    if (!options.limit && p->config) options.limit = p->config->data.val_samples;
    if (extra && options.n_set == VLM_CLI_MAX_SETTINGS)
        return vlm_fail(error, VLMOE_E_ARG, "more than %d settings", VLM_CLI_MAX_SETTINGS - 1);
    if (extra) options.set[options.n_set++] = extra;
    return vlm_cli_model_open(p->tool, &options, out, error);
}

/* First walk. *capacity: what the second must be told, 0 = the same model will do. */
static vlmoe_status predict(page *p, char extra[64], vlmoe_error *error)
{
    vlm_cli_model model = {0};
    VLM_TRY(open_model(p, NULL, &model, error));
    vlmoe_trainer *t = model.trainer;
    vlmoe_status st = VLMOE_OK;
    p->model->parameters = parameters_of(t->ctx);
    if (t->model) {
        vlm_mome_size size = vlm_mome_count(t->model);
        const int64_t head = t->head ? p->model->parameters - size.total : 0;
        p->model->parameters = size.total + head;
        p->model->per_token = size.per_token + head;
    }
    if (!t->val)
        st = vlm_fail(error, VLMOE_E_ARG,
                      "no held-out data: name a config with data.val_* by --data FILE");
    else {
        st = vlm_page_predict(t, p->model, p->place);
        if (!st && t->head) st = vlm_page_answer(t, p->model);
        if (st) vlm_fail(error, st, "%s", vlmoe_trainer_error(t));
    }
    if (t->model)
        snprintf(extra, 64, "moe.capacity_factor_eval=%.17g", t->config->moe.capacity_factor);
    vlm_cli_model_close(&model);
    return st;
}

static vlmoe_status route(page *p, const char *extra, vlmoe_error *error)
{
    vlm_cli_model model = {0};
    VLM_TRY(open_model(p, extra, &model, error));
    vlmoe_status st = vlm_page_route(model.trainer, p->place, p->model);
    if (st) vlm_fail(error, st, "%s", vlmoe_trainer_error(model.trainer));
    vlm_cli_model_close(&model);
    return st;
}

/* What fails here is said in the page. */
static vlmoe_status look_at_model(page *p, vlmoe_error *error)
{
    vlmoe_error why = {VLMOE_OK, ""};
    char extra[64] = "";
    if (!p->o->model.checkpoint) {
        p->model_missing =
            vlm_strdup("The run saved no checkpoint, so there is no model to look at.");
        return VLMOE_OK;
    }
    p->model = vlm_alloc(sizeof *p->model);
    if (!p->model) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a report");
    read_state(p);
    if (predict(p, extra, &why)) {
        p->model_missing = vlm_format("Held-out data could not be shown: %s.", why.text);
    } else if (extra[0] && route(p, extra, &why)) {
        p->routes_missing = vlm_format("Routing could not be looked at: %s.", why.text);
    }
    if (why.status == VLMOE_E_NOMEM) return vlm_fail(error, why.status, "%s", why.text);
    return VLMOE_OK;
}

/* ---- the file ---- */

static vlmoe_status write_page(const page *p, vlmoe_error *error)
{
    vlm_text text = {0};
    const vlm_report report = {.name = p->name,
                               .task = p->task[0]  ? p->task
                                       : p->config ? p->config->run.task
                                                   : NULL,
                               .checkpoint = p->o->model.checkpoint,
                               .ending = p->ending,
                               .library = p->library,
                               .device = p->device,
                               .metrics_path = p->metrics_missing ? NULL : p->metrics_path,
                               .metrics_missing = p->metrics_missing,
                               .config = p->config,
                               .standard = p->standard,
                               .metrics = p->metrics,
                               .model = p->model,
                               .model_missing = p->model_missing,
                               .routes_missing = p->routes_missing};
    vlmoe_status st = vlm_report_write(&report, &text, error);
    if (!st) st = vlm_file_replace(p->o->out, text.data, text.bytes, error);
    vlm_text_free(&text);
    return st;
}

static void free_page(page *p)
{
    if (p->metrics) vlm_metrics_free(p->metrics);
    if (p->model) vlm_report_model_free(p->model);
    vlm_free(p->metrics);
    vlm_free(p->model);
    vlmoe_config_destroy(p->config);
    vlmoe_config_destroy(p->standard);
    vlm_free(p->name);
    vlm_free(p->metrics_path);
    vlm_free(p->config_path);
    vlm_free(p->metrics_missing);
    vlm_free(p->model_missing);
    vlm_free(p->routes_missing);
    vlm_free(p);
}

vlmoe_status vlm_cli_page_make(const char *tool, const vlm_cli_page_options *o, vlmoe_error *error)
{
    page *p = vlm_alloc(sizeof *p);
    if (!p) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a report");
    p->o = o;
    p->tool = tool;
    p->name = last_part(o->run);
    snprintf(p->library, sizeof p->library, "%d.%d.%d", VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR,
             VLMOE_VERSION_PATCH);
    vlmoe_status st = p->name ? read_records(p, error)
                              : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a report");
    if (!st) {
        read_config(p);
        st = look_at_model(p, error);
    }
    if (!st) {
        say_ending(p);
        st = write_page(p, error);
    }
    free_page(p);
    return st;
}
