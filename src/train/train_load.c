/* A model out of a checkpoint, for evaluation and prediction. */
#include <string.h>
#include "train_checkpoint.h"
#include "train_plan.h"
#include "train_task.h"

static vlmoe_status open_text_model(vlmoe_trainer *m, const vlm_checkpoint *c)
{
    const char *path = vlm_ckpt_path(c->files, "text.model");
    if (!path) return VLMOE_OK;
    m->text_model = vlm_strdup(path);
    return m->text_model ? vlm_trainer_open_text(m)
                         : vlm_fail(&m->error, VLMOE_E_NOMEM, "out of memory for a model");
}

static vlmoe_status build(vlmoe_trainer *m, const vlm_checkpoint *c)
{
    int64_t n_words = m->spm ? vlm_spm_special(m->spm).n : vlm_words_without_model(m->config);
    if (m->task->classes) {
        VLM_TRY(vlm_checkpoint_classes(c, &m->own_classes, &m->error));
        m->classes = &m->own_classes;
    }
    VLM_TRY(vlm_trainer_models_make(m, n_words, m->own_classes.n));
    return vlm_checkpoint_load_model(c, m->ctx, m->tokeniser, "", &m->error);
}

static vlmoe_status load(vlmoe_trainer *m, const vlm_checkpoint *c)
{
    const vlm_cfg_data *d = &m->config->data;
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    params.n_threads = (int)m->config->run.threads;
    params.seed = (uint64_t)m->config->run.seed;
    params.compute = strcmp(m->config->run.dtype, "bf16") ? VLMOE_F32 : VLMOE_BF16;
    params.log_fn = m->log.fn;
    params.log_user = m->log.user;
    m->step = c->state.step;
    m->task = vlm_task_of(m->config);
    VLM_TRY(open_text_model(m, c));
    VLM_TRY(vlmoe_context_create(&params, &m->ctx, &m->error));
    VLM_TRY(build(m, c));
    if (!d->val_images.n && !d->val_texts.n && !d->val_pairs.n) return VLMOE_OK;
    VLM_TRY(vlm_source_open(m->config, VLM_SOURCE_EVAL, m->spm, &m->log, &m->val, &m->error));
    const vlm_classes *held_out = vlm_source_classes(m->val);
    if (!m->classes || !held_out->n) return VLMOE_OK; /* test sets may have no labels.txt */
    return vlm_checkpoint_check_classes(c, held_out, &m->error);
}

vlmoe_status vlm_load(const char *path, int n_set, const char *const *set, const vlm_log *log,
                      vlmoe_trainer **out, vlmoe_error *error)
{
    vlm_checkpoint c = {0};
    vlmoe_trainer *m = vlm_alloc(sizeof *m);
    if (!m) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a model");
    if (log) m->log = *log;
    vlmoe_status st = vlm_checkpoint_open(path, &c, &m->error);
    if (!st)
        st = vlmoe_config_load(vlm_ckpt_path(c.files, "config.json"), n_set, set, &m->config,
                               &m->error);
    if (!st) st = load(m, &c);
    vlm_checkpoint_close(&c);
    if (!st) {
        *out = m;
        return VLMOE_OK;
    }
    vlm_fail(error, st, "%s", m->error.text);
    vlmoe_trainer_destroy(m);
    return st;
}
