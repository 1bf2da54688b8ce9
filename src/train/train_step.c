/* One optimiser step: a list of groups, each forward and backward in turn, then one update. */
#include <math.h>
#include <string.h>
#include "optim_reduce.h"
#include "optim_schedule.h"
#include "train_dump.h"
#include "train_group.h"
#include "train_report.h"
#include "vlmoe/ops.h"

static vlmoe_status read_tokeniser(vlmoe_trainer *t, vlmoe_tape *tape,
                                   const vlm_recording *recording, vlm_group_result *out)
{
    VLM_TRY(vlm_scalar_read(tape, recording->losses.reconstruction, &out->reconstruction));
    VLM_TRY(vlm_scalar_read(tape, recording->losses.commitment, &out->commitment));
    return tape->mode == VLMOE_TRAIN ? vlm_codes_collect(t, tape) : VLMOE_OK;
}

static vlmoe_status read_masked(vlmoe_trainer *t, vlmoe_tape *tape, const vlm_recording *recording,
                                const vlm_group *group, vlm_group_result *out)
{
    const vlm_models models = vlm_trainer_models(t);
    if (t->contrast_head && recording->retrieval.n)
        VLM_TRY(vlm_measures_read(tape, &models, recording, group, &out->measures));
    VLM_TRY(vlm_masked_metrics(tape, &recording->masked, &out->parts));
    for (int i = VLM_N_PARTS - 1; i >= 0; i--)
        if (out->parts.n[i] && !isfinite(out->parts.loss[i])) out->bad = i;
    return VLMOE_OK;
}

static vlmoe_status read_task(vlmoe_trainer *t, vlmoe_tape *tape, const vlm_recording *recording,
                              const vlm_group *group, vlm_group_result *out)
{
    const vlm_models models = vlm_trainer_models(t);
    VLM_TRY(vlm_measures_read(tape, &models, recording, group, &out->measures));
    if (t->contrast && tape->mode == VLMOE_TRAIN) vlm_contrast_measures(t, group, &out->measures);
    if (tape->mode != VLMOE_PREDICT) return VLMOE_OK;
    return vlm_predictions_read(tape, &models, recording, group, &out->n_predictions,
                                &out->predictions);
}

static vlmoe_status read_results(vlmoe_trainer *t, vlmoe_tape *tape, const vlm_recording *recording,
                                 const vlm_group *group, vlm_group_result *out)
{
    int n = 0;
    VLM_TRY(vlmoe_tape_status(tape));
    if (!t->model) return read_tokeniser(t, tape, recording, out);
    VLM_TRY(t->head ? read_task(t, tape, recording, group, out)
                    : read_masked(t, tape, recording, group, out));
    VLM_TRY(vlm_route_stats_read(tape, recording->model, &n, &out->routes));
    out->n_routes = n;
    return VLMOE_OK;
}

vlm_models vlm_trainer_models(const vlmoe_trainer *t)
{
    return (vlm_models){.model = t->model,
                        .head = t->head,
                        .contrast = t->contrast_head,
                        .tokeniser = t->tokeniser,
                        .codes = t->codes};
}

vlmoe_status vlm_group_targets(vlmoe_trainer *t, const vlm_group *group)
{
    if (!t->model || !t->tokeniser) return VLMOE_OK;
    vlmoe_status st = vlm_tokeniser_codes(t->tokeniser, group->n_images + group->n_pairs,
                                          group->pixels, t->codes);
    return st ? vlm_fail(&t->error, st, "image tokeniser: %s", vlmoe_context_error(t->ctx))
              : VLMOE_OK;
}

static int64_t samples_of(const vlmoe_trainer *t, const vlm_group *group)
{
    return t->head ? group->n_examples : group->n_images + group->n_texts + group->n_pairs;
}

vlmoe_status vlm_group_record(vlmoe_trainer *t, vlmoe_tape *tape, const vlm_group *group,
                              vlm_group_result *out, vlm_recording *recording)
{
    const vlm_models models = vlm_trainer_models(t);
    vlm_tape_place(tape, t->step, group->index);
    *out = (vlm_group_result){.group = group->index,
                              .is_repeat = group->is_repeat,
                              .bad = VLM_BAD_NOT,
                              .asks_stop = t->should_stop && t->should_stop(t->stop_user),
                              .samples = samples_of(t, group),
                              .cut = group->n_cut};
    vlm_recording_make(tape, &models, t->config, group, vlm_contrast_part(t, tape->mode, group),
                       recording);
    vlmoe_status st = read_results(t, tape, recording, group, out);
    if (!st && out->bad == VLM_BAD_NOT) st = vlmoe_tape_loss(tape, &out->loss);
    if (st)
        return vlm_fail(&t->error, st, "step %lld: %s", (long long)t->step + 1,
                        vlmoe_context_error(t->ctx));
    if (!isfinite(out->loss)) out->bad = VLM_BAD_SUM;
    return VLMOE_OK;
}

static vlmoe_status run_group(vlmoe_trainer *t, const vlm_group *group, vlm_tally *tally)
{
    vlmoe_tape *tape = NULL;
    vlm_recording recording = {0};
    vlm_group_result result;
    vlm_spans *spans = t->ctx->spans;
    vlm_span_begin(spans, VLM_SPAN_PHASE, "targets", NULL, group->index);
    vlmoe_status st = vlm_group_targets(t, group);
    vlm_span_end(spans);
    VLM_TRY(st);
    st = vlmoe_tape_begin(t->ctx, VLMOE_TRAIN, &tape);
    if (st) return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    vlm_span_begin(spans, VLM_SPAN_PHASE, "forward", NULL, group->index);
    st = vlm_group_record(t, tape, group, &result, &recording);
    if (!st) st = vlm_results_add(t, &result, false, tally);
    vlm_span_end(spans);
    if (!st && t->dump) st = vlm_dump_group(t->dump, t, tape, group, &recording);
    if (!st) {
        vlm_span_begin(spans, VLM_SPAN_PHASE, "backward", NULL, group->index);
        vlm_recording_release(tape, &recording);
        st = vlmoe_tape_backward(tape, 1.0);
        if (!st) st = vlm_reduce_micro_step(t->ctx);
        vlm_span_end(spans);
        if (st)
            vlm_fail(&t->error, st, "step %lld, backward: %s", (long long)t->step + 1,
                     vlmoe_context_error(t->ctx));
    }
    vlmoe_tape_end(tape);
    return t->bad != VLM_BAD_NOT ? vlm_group_name_bad(t, VLMOE_TRAIN, group) : st;
}

static vlmoe_status run_groups(vlmoe_trainer *t, vlm_tally *tally)
{
    const int64_t turns = t->config->run.groups / (t->seat ? t->seat->size : 1);
    if (t->contrast) VLM_TRY(vlm_contrast_solve(t));
    for (int64_t i = 0; i < turns; i++) {
        const vlm_group *group = NULL;
        vlm_span_begin(t->ctx->spans, VLM_SPAN_PHASE, "data wait", NULL, i);
        vlmoe_status st = vlm_source_next(t->train, &group, &t->error);
        vlm_span_end(t->ctx->spans);
        VLM_TRY(st);
        if (!t->model && !t->step && !i) VLM_TRY(vlm_codes_start(t, group));
        VLM_TRY(run_group(t, group, tally));
    }
    vlmoe_status st = vlm_reduce_finish(t->ctx);
    return st ? vlm_fail(&t->error, st, "step %lld, backward: %s", (long long)t->step + 1,
                         vlmoe_context_error(t->ctx))
              : VLMOE_OK;
}

static vlmoe_status update(vlmoe_trainer *t, vlmoe_step_report *report)
{
    const vlm_cfg_optim *o = &t->config->optim;
    vlmoe_adamw_params params = VLMOE_ADAMW_PARAMS;
    params.lr = report->lr;
    params.beta1 = o->beta1;
    params.beta2 = o->beta2;
    params.eps = o->eps;
    params.weight_decay = o->weight_decay;
    params.clip = o->clip;
    params.grad_scale = 1.0 / (double)t->config->run.groups;
    vlm_span_begin(t->ctx->spans, VLM_SPAN_PHASE, "optimiser", NULL, t->step + 1);
    vlmoe_status st = vlmoe_adamw_step(t->ctx, &params, t->step + 1, &report->grad_norm);
    vlm_span_end(t->ctx->spans);
    if (st)
        return vlm_fail(&t->error, st, "step %lld: %s. Parameters are unchanged since step %lld",
                        (long long)t->step + 1, vlmoe_context_error(t->ctx), (long long)t->step);
    if (t->model) return VLMOE_OK;
    st = vlm_tokeniser_update(t->tokeniser, t->step);
    return st ? vlm_fail(&t->error, st, "code book: %s", vlmoe_context_error(t->ctx)) : VLMOE_OK;
}

vlmoe_status vlm_trainer_step(vlmoe_trainer *t, vlmoe_step_report *report, vlm_tally *tally)
{
    const vlm_cfg_optim *o = &t->config->optim;
    double begin = vlm_now(), waited = vlm_source_wait_seconds(t->train);
    t->error = (vlmoe_error){VLMOE_OK, ""};
    if (t->step >= t->config->run.steps)
        return vlm_fail(&t->error, VLMOE_E_STATE, "all %lld steps of this run are done",
                        (long long)t->step);
    report->lr = vlm_lr_at(o->lr, o->min_lr, o->warmup, t->config->run.steps, t->step + 1);
    vlmoe_status st = vlmoe_grad_zero(t->ctx);
    if (st) return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    if (t->dump) VLM_TRY(vlm_dump_params(t->dump, t, "param"));
    VLM_TRY(run_groups(t, tally));
    if (t->dump) VLM_TRY(vlm_dump_grads(t->dump, t));
    VLM_TRY(update(t, report));
    if (t->dump) VLM_TRY(vlm_dump_params(t->dump, t, "after"));
    t->step++;
    vlm_tally_report(tally, false, report);
    report->step = t->step;
    report->code_usage = t->model ? NAN : vlm_tokeniser_usage(t->tokeniser);
    if (t->model) report->reconstruction = report->commitment = NAN;
    report->seconds = vlm_now() - begin;
    report->wait_seconds = vlm_source_wait_seconds(t->train) - waited;
    if (t->health && (!t->seat || !t->seat->rank))
        vlm_health_look(t->health, tally, t->step, &t->log);
    return VLMOE_OK;
}

vlmoe_status vlmoe_trainer_step(vlmoe_trainer *trainer, vlmoe_step_report *report)
{
    vlmoe_step_report full = {.struct_size = sizeof full};
    vlm_tally tally = {0};
    vlmoe_status st = vlm_trainer_step(trainer, &full, &tally);
    vlm_tally_free(&tally);
    if (!st) vlm_report_out(&full, report);
    return st;
}
