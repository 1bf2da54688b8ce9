/* The loop of a run. With ranks, each of them goes through it; what is written for people is rank 0's. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "train_dump.h"
#include "train_group.h"
#include "train_run.h"

typedef struct run {
    vlmoe_trainer *trainer;
    const vlm_run_hooks *hooks;
    const char *out;
    FILE *metrics;
    char *metrics_path;
    vlm_text line;   /* of metrics; kept, so that later steps ask for no memory */
    vlm_tally tally; /* of a training step; likewise */
    double best;
    int64_t best_step;
    bool has_best;
    int64_t saved_step; /* -1 = none yet */
    bool is_first;      /* rank 0, or the only one */
} run;

enum { MAX_METRICS_BYTES = 1 << 30 };

static bool is_better(const run *r, double value)
{
    if (isnan(value)) return false; /* held-out sets without labels say nothing */
    return !r->has_best || (r->trainer->task->is_lower_better ? value < r->best : value > r->best);
}

static bool has_checkpoint(const run *r, int64_t step)
{
    char name[VLM_CKPT_NAME];
    vlm_ckpt_step_name(step, name);
    char *folder = vlm_path_join(r->out, name);
    const bool is_there = folder && vlm_path_is_dir(folder);
    vlm_free(folder);
    return is_there;
}

/* A held-out record of the run so far may be the best one's. */
static void note_best(run *r, const vlm_value *record, int64_t step)
{
    const char *kind = vlm_json_text(vlm_json_get(record, "kind"));
    const vlm_value *value = vlm_json_get(record, r->trainer->task->metric_key);
    if (!kind || strcmp(kind, "eval") || !value || vlm_json_kind_of(value) != VLM_JSON_NUMBER)
        return;
    if (!is_better(r, vlm_json_number(value)) || !has_checkpoint(r, step)) return;
    r->best = vlm_json_number(value);
    r->best_step = step;
    r->has_best = true;
}

static vlmoe_status refuse_foreign(const char *path, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_ARG,
                    "%s was not written by a run, which would replace it: set run.out to another "
                    "folder",
                    path);
}

/* A run that begins may find the config of one that ended before its first checkpoint, but replaces nothing that a person wrote. */
static vlmoe_status check_config(const run *r, vlmoe_error *error)
{
    char *path = vlm_path_join(r->out, "config.json"), *text = NULL;
    size_t bytes = 0;
    vlmoe_config *config = NULL;
    vlm_text again = {0};
    vlmoe_status st =
        path ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the run's config");
    if (!st && !r->trainer->step && vlm_path_exists(path)) {
        st = vlm_file_read(path, MAX_METRICS_BYTES, &text, &bytes, error);
        if (!st && !vlmoe_config_load(path, 0, NULL, &config, NULL))
            vlm_config_write(config, false, &again);
        if (!st && (!again.bytes || again.bytes != bytes || memcmp(again.data, text, bytes)))
            st = refuse_foreign(path, error);
    }
    vlm_text_free(&again);
    vlmoe_config_destroy(config);
    vlm_free(text);
    vlm_free(path);
    return st;
}

/* Records of steps after the present one belong to a run that was thrown away. */
static vlmoe_status cut_metrics(run *r, vlmoe_error *error)
{
    const char *path = r->metrics_path;
    char *text = NULL;
    size_t bytes = 0;
    vlm_text kept = {0};
    int64_t n_odd = 0, n_records = 0;
    if (!vlm_path_exists(path)) return VLMOE_OK;
    VLM_TRY(vlm_file_read(path, MAX_METRICS_BYTES, &text, &bytes, error));
    for (char *line = text, *end; (end = memchr(line, '\n', bytes - (size_t)(line - text)));
         line = end + 1) {
        vlm_json *doc = NULL;
        int64_t of = 0;
        bool is_ours = !vlm_json_parse(line, (size_t)(end - line), path, false, &doc, NULL) &&
                       vlm_json_int(vlm_json_get(vlm_json_root(doc), "step"), &of);
        n_odd += !is_ours;
        n_records += is_ours;
        if (is_ours && of <= r->trainer->step) {
            vlm_text_append(&kept, line, (size_t)(end - line) + 1);
            note_best(r, vlm_json_root(doc), of);
        }
        vlm_json_free(doc);
    }
    const bool is_foreign = n_odd && !n_records && !r->trainer->step;
    if (n_odd && !is_foreign)
        vlm_logf(&r->trainer->log, VLMOE_LOG_WARN, "train",
                 "%s: %lld lines are no records and are left out", path, (long long)n_odd);
    vlmoe_status st = VLMOE_OK;
    if (kept.failed) st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", path);
    else if (is_foreign) st = refuse_foreign(path, error);
    else st = vlm_file_replace(path, kept.data ? kept.data : "", kept.bytes, error);
    vlm_text_free(&kept);
    vlm_free(text);
    return st;
}

static vlmoe_status write_config(run *r, vlmoe_error *error)
{
    vlm_text text = {0};
    vlm_config_write(r->trainer->config, false, &text);
    char *path = vlm_path_join(r->out, "config.json");
    vlmoe_status st = path && !text.failed
                          ? vlm_file_replace(path, text.data, text.bytes, error)
                          : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the run's config");
    vlm_free(path);
    vlm_text_free(&text);
    return st;
}

static vlmoe_status put_best(const run *r, vlmoe_error *error)
{
    vlm_ckpt_best best = {.value = r->best};
    snprintf(best.metric, sizeof best.metric, "%s", r->trainer->task->metric);
    vlm_ckpt_step_name(r->best_step, best.checkpoint);
    return vlm_ckpt_put_best(r->out, &best, error);
}

/* best.json may name what an end by force left behind or kept from being written: a checkpoint of steps that were thrown away, or
 * none where one was just saved. The run's own records decide; without any, what it says of a checkpoint that is there. */
static vlmoe_status settle_best(run *r, vlmoe_error *error)
{
    vlm_ckpt_best said = {0};
    bool is_said = false;
    int64_t step = 0;
    VLM_TRY(vlm_ckpt_get_best(r->out, &said, &is_said, error));
    if (is_said && !vlm_ckpt_step_of(said.checkpoint, &step))
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: best.json names no step", r->out);
    if (r->has_best)
        return is_said && step == r->best_step && said.value == r->best ? VLMOE_OK
                                                                        : put_best(r, error);
    if (!is_said) return VLMOE_OK;
    r->has_best = step <= r->trainer->step && has_checkpoint(r, step);
    r->best = said.value;
    r->best_step = step;
    return r->has_best ? VLMOE_OK : vlm_ckpt_drop_best(r->out, error);
}

static vlmoe_status open_files(run *r, vlmoe_error *error)
{
    VLM_TRY(vlm_dir_make(r->out, error));
    r->metrics_path = vlm_path_join(r->out, "metrics.jsonl");
    if (!r->metrics_path) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a run");
    VLM_TRY(check_config(r, error));
    VLM_TRY(cut_metrics(r, error));
    r->metrics = fopen(r->metrics_path, "a");
    if (!r->metrics) return vlm_fail_errno(error, "append to", r->metrics_path);
    VLM_TRY(settle_best(r, error));
    return write_config(r, error);
}

static vlmoe_status open_run(run *r, vlmoe_error *error)
{
    vlm_seat *seat = r->trainer->seat;
    vlmoe_status st = r->is_first ? open_files(r, error) : VLMOE_OK;
    st = vlm_ranks_agree(seat, "opening of run.out", st, error);
    if (st || !seat) return st;
    double best[3] = {r->has_best, r->best,
                      (double)r->best_step}; /* all ranks must know when a new best one is saved */
    VLM_TRY(vlm_comm_broadcast(seat->world, "best checkpoint so far", 0, true, best, sizeof best,
                               error));
    r->has_best = best[0] > 0.0;
    r->best = best[1];
    r->best_step = (int64_t)best[2];
    return VLMOE_OK;
}

static vlmoe_status record_line(run *r, const char *kind, const vlmoe_step_report *report,
                                const vlm_tally *tally, vlmoe_error *error)
{
    vlm_text *line = &r->line;
    if (!r->is_first) return VLMOE_OK;
    vlm_text_clear(line, 0);
    vlm_metrics_line(vlm_task_of(r->trainer->config), kind, report, tally, line);
    bool is_written = !line->failed &&
                      fwrite(line->data, 1, line->bytes, r->metrics) == line->bytes &&
                      !fflush(r->metrics);
    if (!is_written) return vlm_fail_errno(error, "write", r->metrics_path);
    vlm_text_clear(line,
                   2 * line->bytes); /* room now, as numbers grow longer in the course of a run */
    if (r->hooks->progress) r->hooks->progress(r->hooks->user, kind, report, tally);
    return VLMOE_OK;
}

static vlmoe_status save(run *r, vlmoe_error *error)
{
    if (r->saved_step == r->trainer->step) return VLMOE_OK;
    vlm_span_begin(r->trainer->ctx->spans, VLM_SPAN_PHASE, "checkpoint", NULL, r->trainer->step);
    vlmoe_status st = vlmoe_trainer_save(r->trainer, r->out);
    vlm_span_end(r->trainer->ctx->spans);
    if (st) return vlm_fail(error, st, "%s", vlmoe_trainer_error(r->trainer));
    r->saved_step = r->trainer->step;
    if (!r->is_first || !r->hooks->saved) return VLMOE_OK;
    char name[VLM_CKPT_NAME];
    vlm_ckpt_step_name(r->trainer->step, name);
    char *folder = vlm_path_join(r->out, name);
    if (folder) r->hooks->saved(r->hooks->user, folder);
    vlm_free(folder);
    return VLMOE_OK;
}

static double judged_by(const vlm_task_info *task, const vlmoe_step_report *report)
{
    return task->is_tuned ? report->metric : report->loss;
}

static vlmoe_status evaluate(run *r, vlmoe_error *error)
{
    vlmoe_step_report report = {.struct_size = sizeof report};
    vlm_tally tally = {0};
    vlm_span_begin(r->trainer->ctx->spans, VLM_SPAN_PHASE, "evaluation", NULL, r->trainer->step);
    vlmoe_status st = vlm_trainer_evaluate(r->trainer, &report, &tally);
    vlm_span_end(r->trainer->ctx->spans);
    if (st) vlm_fail(error, st, "evaluation: %s", vlmoe_trainer_error(r->trainer));
    else st = record_line(r, "eval", &report, &tally, error);
    vlm_tally_free(&tally);
    if (st || !is_better(r, judged_by(r->trainer->task, &report))) return st;
    r->best = judged_by(r->trainer->task, &report);
    r->best_step = r->trainer->step;
    r->has_best = true;
    VLM_TRY(save(r, error));
    return r->is_first ? put_best(r, error) : VLMOE_OK;
}

static vlmoe_status one_step(run *r, vlmoe_error *error)
{
    vlmoe_step_report report = {.struct_size = sizeof report};
    vlm_tally *tally = &r->tally;
    vlm_spans *spans = r->trainer->ctx->spans;
    vlm_tally_clear(tally);
    const vlm_spans_mark outside = vlm_spans_here(spans);
    vlm_span_begin(spans, VLM_SPAN_PHASE, "step", NULL, r->trainer->step + 1);
    vlmoe_status st = vlm_trainer_step(r->trainer, &report, tally);
    vlm_spans_end_to(spans, outside);
    if (st) {
        vlm_fail(error, st, "%s", vlmoe_trainer_error(r->trainer));
        vlm_dump_abandon(r->trainer->dump);
        r->trainer->dump = NULL;
    } else {
        vlm_dump *dump = r->trainer->dump;
        r->trainer->dump = NULL;
        st = vlm_dump_close(dump, r->trainer, &report, error);
    }
    if (!st) st = record_line(r, "train", &report, tally, error);
    return st;
}

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* Ranks have asked each other during the step. */
static bool stops(const run *r)
{
    const vlm_run_hooks *hooks = r->hooks;
    if (r->trainer->seat) return r->trainer->stops;
    return hooks->should_stop && hooks->should_stop(hooks->user);
}

/* The last better evaluation lies so far back that the run ends. Told by steps alone, so a resumed run ends where a straight one does. */
static bool lost_patience(const run *r)
{
    const vlmoe_trainer *t = r->trainer;
    const int64_t every = t->config->run.eval_every, patience = t->config->task.patience;
    if (!t->task->is_tuned || !patience || !every || !r->has_best) return false;
    return t->step - r->best_step >= patience * every;
}

static vlmoe_status loop(run *r, vlm_run_end *end, vlmoe_error *error)
{
    const vlm_cfg_run *c = &r->trainer->config->run;
    vlmoe_trainer *t = r->trainer;
    while (t->step < c->steps && !lost_patience(r)) {
        if (r->hooks->profile) VLM_TRY(vlm_profile_before_step(r->hooks->profile, t, error));
        VLM_TRY(one_step(r, error));
        bool is_last = t->step == c->steps;
        if (t->val && (is_last || is_due(t->step, c->eval_every))) VLM_TRY(evaluate(r, error));
        is_last = is_last || lost_patience(r);
        if (is_last || is_due(t->step, c->save_every)) VLM_TRY(save(r, error));
        if (r->hooks->profile) VLM_TRY(vlm_profile_after_step(r->hooks->profile, t, error));
        if (!is_last && stops(r)) {
            *end = VLM_RUN_STOPPED;
            return save(r, error);
        }
    }
    *end = VLM_RUN_COMPLETE;
    return VLMOE_OK;
}

vlmoe_status vlm_run(vlmoe_trainer *trainer, const vlm_run_hooks *hooks, const char *dump_path,
                     vlm_run_end *end, vlmoe_error *error)
{
    const vlm_seat *seat = trainer->seat;
    run r = {.trainer = trainer,
             .hooks = hooks,
             .out = trainer->config->run.out,
             .saved_step = -1,
             .is_first = !seat || !seat->rank};
    if (seat) {
        trainer->should_stop = hooks->should_stop;
        trainer->stop_user = hooks->user;
    }
    vlmoe_status st = dump_path ? vlm_dump_open(dump_path, &trainer->dump, error) : VLMOE_OK;
    if (!st) st = open_run(&r, error);
    if (!st) st = loop(&r, end, error);
    if (hooks->profile) { /* what it saw before the run ended */
        vlmoe_status ended = vlm_profile_finish(hooks->profile, trainer, st ? NULL : error);
        if (!st) st = ended;
    }
    if (r.metrics && fclose(r.metrics) && !st) st = vlm_fail_errno(error, "close", r.metrics_path);
    vlm_dump_abandon(trainer->dump);
    trainer->dump = NULL;
    vlm_free(r.metrics_path);
    vlm_text_free(&r.line);
    vlm_tally_free(&r.tally);
    return st;
}
