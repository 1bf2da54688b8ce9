/* Making, ending, saving and resuming a trainer. */
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "train_checkpoint.h"
#include "autograd_defer.h"
#include "train_plan.h"
#include "train_contrast.h"
#include "train_report.h"
#include "train_task.h"
#include "train_transfer.h"

enum { MAX_TEXT_MODEL = 1 << 28 };

static vlmoe_status copy_config(const vlmoe_config *from, vlmoe_config **out, vlmoe_error *error)
{
    vlm_text text = {0};
    vlm_config_write(from, false, &text);
    vlmoe_status st = text.failed ? vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a config")
                                  : vlm_config_parse(text.data, text.bytes, "config", out, error);
    vlm_text_free(&text);
    return st;
}

/* What a run starts from besides its config: checkpoints of other runs. Their paths are NULL where there are none. */
typedef struct origins {
    vlm_checkpoint target; /* data.image_tokeniser */
    vlm_checkpoint init;   /* task.init */
} origins;

static vlmoe_status find_text_model(vlmoe_trainer *t, const origins *from)
{
    if (t->text_model) return VLMOE_OK;
    const char *kept =
        t->from && from->init.path ? vlm_ckpt_path(from->init.files, "text.model") : NULL;
    if (kept && !t->config->data.text_model[0]) t->text_model = vlm_strdup(kept);
    else if (from->init.path && !t->from)
        VLM_TRY(vlm_transfer_text_model(&from->init, t->config->data.text_model, &t->text_model,
                                        &t->error));
    if (!t->text_model) t->text_model = vlm_strdup(t->config->data.text_model);
    return t->text_model ? VLMOE_OK : vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory");
}

vlmoe_status vlm_trainer_open_text(vlmoe_trainer *t)
{
    VLM_TRY(vlm_spm_open(t->text_model, &t->spm, &t->error));
    return vlm_file_read(t->text_model, MAX_TEXT_MODEL, &t->text_bytes.data, &t->text_bytes.bytes,
                         &t->error);
}

/* The words of the model: from the text model, from the config, or both when they agree. */
static vlmoe_status open_words(vlmoe_trainer *t, const origins *from, int64_t *n_words)
{
    const vlmoe_config *c = t->config;
    const bool is_needed = vlm_needs_words(c);
    VLM_TRY(find_text_model(t, from));
    *n_words = vlm_words_without_model(c);
    /* a task without texts carries those of its origin on */
    if (!is_needed && !(vlm_config_is_tuned(c) && t->text_model[0])) return VLMOE_OK;
    bool has_path = t->text_model[0] != 0;
    if (!has_path && (!t->is_meta || !*n_words))
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "data.text_model is not set: this run has texts or pairs%s",
                        t->is_meta ? " (a dry run may set model.words instead)" : "");
    if (t->is_meta && *n_words) return VLMOE_OK; /* a plan needs no files */
    VLM_TRY(vlm_trainer_open_text(t));
    int64_t found = vlm_spm_special(t->spm).n, given = c->model.words;
    if (given && given != found)
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "model.words is %lld, but %s has %lld pieces with the special ones",
                        (long long)given, t->text_model, (long long)found);
    *n_words = found;
    return VLMOE_OK;
}

/* The tokeniser section of a pretraining run is that of its image tokeniser; pictures must be cut the same way. */
static vlmoe_status adopt_tokeniser(vlmoe_trainer *t, vlm_checkpoint *c)
{
    const vlm_cfg_model *own = &t->config->model, *its = &c->config->model;
    if (strcmp(c->state.task, "image_tokeniser"))
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "data.image_tokeniser: %s is a checkpoint of task %s, not image_tokeniser",
                        c->path, c->state.task);
    if (own->image_size != its->image_size || own->patch != its->patch)
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "data.image_tokeniser: %s cuts %lld px pictures in %lld px patches; this "
                        "run %lld in %lld",
                        c->path, (long long)its->image_size, (long long)its->patch,
                        (long long)own->image_size, (long long)own->patch);
    t->config->tokeniser = c->config->tokeniser; /* plain numbers, nothing to own */
    return VLMOE_OK;
}

static vlmoe_status open_context(vlmoe_trainer *t, const char *device, int64_t n_words)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlm_plan plan = {0};
    const vlmoe_config share = vlm_seat_config(t->seat, t->config);
    params.device = device;
    params.n_threads = (int)share.run.threads;
    params.seed = (uint64_t)t->config->run.seed;
    params.compute = strcmp(t->config->run.dtype, "bf16") ? VLMOE_F32 : VLMOE_BF16;
    params.log_fn = t->log.fn;
    params.log_user = t->log.user;
    params.step_bytes = (size_t)1 << 60;
    if (!t->is_meta) {
        VLM_TRY(vlm_plan_of_rank(&share, n_words, t->seat ? t->seat->size : 1, &plan, &t->error));
        /* Address space: groups of other lengths may lie less well, and sanitizer builds have gaps. */
        params.step_bytes = plan.step_bytes + plan.step_bytes / 4 + ((size_t)1 << 20);
        if (t->config->run.memory_mib) {
            t->memory_left = ((size_t)share.run.memory_mib << 20) - plan.total_bytes;
            t->config->run.recompute = false;
            t->config->run.recompute_blocks = plan.recompute_blocks;
        }
    }
    VLM_TRY(vlmoe_context_create(&params, &t->ctx, &t->error));
    if (!strcmp(t->config->optim.moments, "bf16")) t->ctx->moment_dtype = VLMOE_BF16;
    VLM_TRY(vlm_ctx_groups(t->ctx, t->config->run.groups));
    t->ctx->backend->reserve(t->ctx->device,
                             plan.scratch_bytes + plan.scratch_bytes / 16 + (1 << 18));
    vlmoe_status st = vlm_defer_open(t->ctx, plan.defer_bytes);
    return st ? vlm_fail(&t->error, st, "run.defer_mib: %s", vlmoe_context_error(t->ctx))
              : VLMOE_OK;
}

static vlmoe_status build_model(vlmoe_trainer *t, int64_t n_words)
{
    const vlmoe_config *c = t->config;
    int64_t classes = 0;
    VLM_TRY(vlm_task_classes(c, &classes, &t->error));
    VLM_TRY(vlm_trainer_models_make(t, n_words, t->classes ? t->classes->n : classes));
    vlmoe_status st = t->is_meta ? VLMOE_OK : vlm_ctx_init_params(t->ctx);
    if (st) return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    return vlm_contrast_create(c, &t->contrast, &t->error);
}

vlmoe_status vlm_trainer_models_make(vlmoe_trainer *t, int64_t n_words, int64_t classes)
{
    const vlmoe_config *c = t->config;
    vlm_models models = {0};
    vlmoe_status st = vlm_models_make(t->ctx, c, n_words, classes, &models);
    t->model = models.model;
    t->head = models.head;
    t->contrast_head = models.contrast;
    t->tokeniser = models.tokeniser;
    if (!st) st = vlm_ctx_build(t->ctx);
    if (st) return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    int64_t grid = c->model.image_size / c->model.patch,
            pictures = c->data.images_per_group + c->data.pairs_per_group;
    t->codes = vlm_alloc_array((size_t)(pictures * grid * grid), sizeof *t->codes);
    return t->codes ? VLMOE_OK
                    : vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for image codes");
}

static vlmoe_status open_source(vlmoe_trainer *t, vlm_source_mode mode, vlm_source **out)
{
    const vlm_seat *seat = t->seat;
    const vlmoe_config c = vlm_seat_config(seat, t->config);
    VLM_TRY(vlm_source_open(&c, mode, t->spm, &t->log, out, &t->error));
    return seat ? vlm_source_share(*out, seat->rank, seat->size, &t->error) : VLMOE_OK;
}

static vlmoe_status open_data(vlmoe_trainer *t)
{
    const vlm_cfg_data *d = &t->config->data;
    VLM_TRY(open_source(t, VLM_SOURCE_TRAIN, &t->train));
    if (t->task->classes) t->classes = vlm_source_classes(t->train);
    bool has_val = d->val_images.n || d->val_texts.n || d->val_pairs.n;
    if (!has_val) return VLMOE_OK;
    VLM_TRY(open_source(t, VLM_SOURCE_EVAL, &t->val));
    return vlm_source_same_classes(t->train, t->val, &t->error);
}

static vlmoe_status open_target(vlmoe_trainer *t, vlm_checkpoint *target)
{
    const vlmoe_config *c = t->config;
    if (!vlm_needs_codes(c)) return VLMOE_OK;
    if (!c->data.image_tokeniser[0])
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "data.image_tokeniser is not set: masked patches need its codes "
                        "(or set objective.image_weight and objective.pair_image_weight to 0)");
    VLM_TRY(vlm_checkpoint_open(c->data.image_tokeniser, target, &t->error));
    return adopt_tokeniser(t, target);
}

static vlmoe_status open_init(vlmoe_trainer *t, vlm_checkpoint *init)
{
    const char *path = t->from ? t->from : t->config->task.init;
    if (!vlm_config_is_tuned(t->config) || !path[0]) return VLMOE_OK;
    vlmoe_status st = vlm_checkpoint_open(path, init, &t->error);
    if (t->from) return st;
    if (st) return vlm_fail_in(&t->error, "task.init");
    return vlm_config_has_encoder(init->config)
               ? VLMOE_OK
               : vlm_fail(&t->error, VLMOE_E_ARG,
                          "task.init: %s is a checkpoint of task %s, which has no encoder",
                          init->path, init->state.task);
}

/* What a rank can do without the others. */
static vlmoe_status open_own(vlmoe_trainer *t, const char *device, origins *from, int64_t *n_words)
{
    if (!t->is_meta) { /* a plan takes the section tokeniser as it stands */
        VLM_TRY(open_target(t, &from->target));
        VLM_TRY(open_init(t, &from->init));
    }
    VLM_TRY(open_words(t, from, n_words));
    VLM_TRY(open_context(t, device, *n_words));
    return t->is_meta ? VLMOE_OK : open_data(t);
}

static vlmoe_status load_origins(vlmoe_trainer *t, const origins *from)
{
    if (from->target.files)
        VLM_TRY(vlm_checkpoint_load_model(&from->target, t->ctx, t->tokeniser, "image_tokeniser.",
                                          &t->error));
    return from->init.files && !t->from ? vlm_transfer(&from->init, t->config, t->ctx, &t->error)
                                        : VLMOE_OK;
}

static vlmoe_status open_all(vlmoe_trainer *t, const char *device)
{
    origins from = {0};
    int64_t n_words = 0;
    vlmoe_status st = open_own(t, device, &from, &n_words);
    st = vlm_ranks_agree(t->seat, "opening of data and device", st, &t->error);
    if (!st && t->seat) st = vlm_trainer_join(t, from.target.path, from.init.path);
    bool has_joined = !st;
    if (!st) st = build_model(t, n_words);
    if (!st) st = load_origins(t, &from);
    vlm_checkpoint_close(&from.target);
    vlm_checkpoint_close(&from.init);
    return has_joined ? vlm_ranks_agree(t->seat, "building of the model", st, &t->error) : st;
}

static vlmoe_status read_config(vlmoe_trainer *t, const vlmoe_config *config)
{
    vlm_text facts = {0};
    VLM_TRY(copy_config(config, &t->config, &t->error));
    t->task = vlm_task_of(t->config);
    VLM_TRY(vlm_task_check(t->config, &t->error));
    if (!t->seat) return VLMOE_OK;
    vlm_facts_put_config(&facts, t->config);
    vlmoe_status st = vlm_facts_compare(t->seat, "config of ranks", &facts, &t->error);
    vlm_text_free(&facts);
    return st;
}

vlmoe_status vlm_trainer_create(const vlmoe_config *config, const vlmoe_trainer_params *params,
                                vlm_seat *seat, const char *from, vlmoe_trainer **out,
                                vlmoe_error *error)
{
    vlmoe_trainer *t = vlm_alloc(sizeof *t);
    if (!t) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a trainer");
    t->log = (vlm_log){params->log_fn, params->log_user};
    t->is_meta = !strcmp(params->device, "meta");
    t->seat = seat;
    t->from = from;
    t->health = vlm_health_create();
    vlmoe_status st = t->health ? read_config(t, config)
                                : vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for a trainer");
    if (!st) st = open_all(t, params->device);
    t->from = NULL;
    if (st) {
        *error = t->error;
        error->status = st;
        vlmoe_trainer_destroy(t);
        return st;
    }
    *out = t;
    return VLMOE_OK;
}

vlmoe_status vlmoe_trainer_create(const vlmoe_config *config, const vlmoe_trainer_params *params,
                                  vlmoe_trainer **out, vlmoe_error *error)
{
    const vlmoe_trainer_params standard = VLMOE_TRAINER_PARAMS;
    vlmoe_error ignored;
    if (!error) error = &ignored;
    *error = (vlmoe_error){VLMOE_OK, ""};
    if (!params) params = &standard;
    if (params->struct_size != sizeof *params)
        return vlm_fail(error, VLMOE_E_ARG,
                        "vlmoe_trainer_params: struct_size is not set by its initialiser");
    return vlm_trainer_create(config, params, NULL, NULL, out, error);
}

void vlmoe_trainer_destroy(vlmoe_trainer *t)
{
    if (!t) return;
    vlm_source_close(t->train);
    vlm_source_close(t->val);
    vlm_head_destroy(t->head);
    vlm_head_destroy(t->contrast_head);
    vlm_mome_destroy(t->model);
    vlm_contrast_destroy(t->contrast);
    vlm_classes_free(&t->own_classes);
    vlm_tokeniser_destroy(t->tokeniser);
    vlm_spm_close(t->spm);
    if (t->seat && t->seat->world) vlm_comm_use_device(t->seat->world, NULL, NULL);
    vlm_ranks_close(&t->ranks);
    vlmoe_context_destroy(t->ctx);
    vlm_health_destroy(t->health);
    vlmoe_config_destroy(t->config);
    vlm_text_free(&t->result);
    vlm_free(t->result_at);
    vlm_free(t->codes);
    vlm_free(t->text_model);
    vlm_text_free(&t->text_bytes);
    vlm_free(t);
}

const char *vlmoe_trainer_error(const vlmoe_trainer *t)
{
    return t->error.text;
}

int64_t vlmoe_trainer_steps_done(const vlmoe_trainer *t)
{
    return t->step;
}

vlmoe_status vlmoe_trainer_save(vlmoe_trainer *t, const char *dir)
{
    t->error = (vlmoe_error){VLMOE_OK, ""};
    return vlm_checkpoint_save(t, dir ? dir : t->config->run.out, &t->error);
}

/* ---- resume ---- */

static bool is_forced(const char *line, int n_force, const char *const *force)
{
    for (int i = 0; i < n_force; i++) {
        size_t n = strlen(force[i]);
        if (!strncmp(line, force[i], n) && line[n] == ':') return true;
    }
    return false;
}

/* Refuse number keys that changed, unless each is named in force. The image tokeniser's place may move: its weights are in here. */
static vlmoe_status check_keys(vlmoe_trainer *t, const vlm_checkpoint *c, int n_force,
                               const char *const *force)
{
    vlm_text differences = {0}, refused = {0};
    vlm_config_differences(c->config, t->config, &differences);
    for (char *line = differences.data, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) break;
        *end = 0;
        if (is_forced(line, n_force, force))
            vlm_logf(&t->log, VLMOE_LOG_WARN, "resume", "forced: %s (checkpoint, config)", line);
        else vlm_text_put(&refused, "%s%s", refused.bytes ? "; " : "", line);
    }
    vlmoe_status st = VLMOE_OK;
    if (refused.bytes)
        st = vlm_fail(&t->error, VLMOE_E_ARG,
                      "%s was made with other numbers (checkpoint and config): %s. Use a new "
                      "run.out, or --force KEY for each",
                      c->path, refused.data);
    vlm_text_free(&differences);
    vlm_text_free(&refused);
    return st;
}

/* The same path may hold another vocabulary by now, and its words would be other rows of the embedding. */
static vlmoe_status check_text_model(vlmoe_trainer *t, const vlm_checkpoint *c, int n_force,
                                     const char *const *force)
{
    const char *path = vlm_ckpt_path(c->files, "text.model");
    const vlm_text *now = &t->text_bytes;
    char *then = NULL;
    size_t then_bytes = 0;
    if (!path || !t->spm || is_forced("data.text_model:", n_force, force)) return VLMOE_OK;
    vlmoe_status st = vlm_file_read(path, MAX_TEXT_MODEL, &then, &then_bytes, &t->error);
    if (!st && (then_bytes != now->bytes || memcmp(then, now->data, now->bytes)))
        st = vlm_fail(&t->error, VLMOE_E_ARG,
                      "data.text_model: %s is not the text model that %s was made with. Bring that "
                      "back (it is %s), or --force data.text_model",
                      t->text_model, c->path, path);
    vlm_free(then);
    return st;
}

static vlmoe_status check_machine(vlmoe_trainer *t, const vlm_checkpoint *c)
{
    char device[128] = "";
    t->ctx->backend->describe(t->ctx->device, device, sizeof device);
    if (strcmp(device, c->state.device))
        vlm_logf(&t->log, VLMOE_LOG_WARN, "resume",
                 "the checkpoint was written on \"%s\", this is \"%s\": the run goes on, but not "
                 "bit for bit",
                 c->state.device, device);
    return VLMOE_OK;
}

/* A run's folder stands for its newest whole checkpoint: say so when a newer one is not whole. */
static void warn_of_damaged(vlmoe_trainer *t, const char *path, const vlm_checkpoint *c)
{
    char **names = NULL;
    size_t n = 0;
    int64_t step = 0, newest = c->state.step;
    if (!strcmp(path, c->path) || vlm_dir_list(path, &names, &n, NULL)) return;
    for (size_t i = 0; i < n; i++)
        if (vlm_ckpt_step_of(names[i], &step)) newest = VLM_MAX(newest, step);
    if (newest > c->state.step)
        vlm_logf(&t->log, VLMOE_LOG_WARN, "resume",
                 "the checkpoint of step %lld in %s is damaged: going on from step %lld",
                 (long long)newest, path, (long long)c->state.step);
    vlm_names_free(names, n);
}

vlmoe_status vlmoe_trainer_resume(vlmoe_trainer *t, const char *path, int n_force,
                                  const char *const *force)
{
    vlm_checkpoint c = {0};
    t->error = (vlmoe_error){VLMOE_OK, ""};
    VLM_TRY(vlm_checkpoint_open(path, &c, &t->error));
    warn_of_damaged(t, path, &c);
    vlmoe_status st = check_keys(t, &c, n_force, force);
    if (!st) st = check_text_model(t, &c, n_force, force);
    if (!st) st = vlm_checkpoint_check_classes(&c, t->classes, &t->error);
    if (!st) st = check_machine(t, &c);
    if (!st) st = vlm_checkpoint_load_model(&c, t->ctx, t->tokeniser, "", &t->error);
    if (!st) st = vlm_checkpoint_load_optimiser(&c, t->ctx, &t->error);
    if (!st && t->train) st = vlm_source_seek(t->train, c.state.step, &t->error);
    if (!st) t->step = c.state.step;
    vlm_checkpoint_close(&c);
    return st;
}
