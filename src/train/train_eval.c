/* Held-out losses during training: every held-out group once, in PREDICT mode. */
#include <math.h>
#include "train_group.h"
#include "train_retrieve.h"
#include "train_score.h"

static vlmoe_status eval_group(vlmoe_trainer *t, const vlm_group *group, vlm_tally *tally)
{
    vlmoe_tape *tape = NULL;
    vlm_recording recording = {0};
    vlm_group_result result;
    VLM_TRY(vlm_group_targets(t, group));
    vlmoe_status st = vlmoe_tape_begin(t->ctx, VLMOE_PREDICT, &tape);
    if (st) return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    st = vlm_group_record(t, tape, group, &result, &recording);
    if (!st) st = vlm_results_add(t, &result, true, tally);
    vlmoe_tape_end(tape);
    return t->bad != VLM_BAD_NOT ? vlm_group_name_bad(t, VLMOE_PREDICT, group) : st;
}

/* The loss of an evaluation is that of its parts by position, so that short last groups weigh what they hold. */
static double weighted_loss(const vlmoe_trainer *t, const vlmoe_step_report *report,
                            const vlm_tally *tally)
{
    const vlm_cfg_objective *o = &t->config->objective;
    const double weight[VLM_N_PARTS] = {o->text_weight, o->image_weight, o->pair_text_weight,
                                        o->pair_image_weight};
    double loss = 0.0;
    for (int i = 0; i < VLM_N_PARTS; i++)
        if (!isnan(report->part_loss[i])) loss += weight[i] * report->part_loss[i];
    const double contrastive = vlm_measure_mean(&tally->measures, 0);
    return isnan(contrastive) ? loss : loss + o->contrastive_weight * contrastive;
}

vlmoe_status vlm_trainer_evaluate(vlmoe_trainer *t, vlmoe_step_report *report, vlm_tally *tally)
{
    const vlm_group *group = NULL;
    double begin = vlm_now();
    t->error = (vlmoe_error){VLMOE_OK, ""};
    if (!t->val)
        return vlm_fail(&t->error, VLMOE_E_STATE,
                        "no held-out data: set data.val_pairs, data.val_texts or data.val_images");
    if (t->task->kind == VLM_TASK_RETRIEVAL) {
        VLM_TRY(vlm_retrieval_evaluate(t, tally));
        tally->samples = vlm_source_held_out(t->val, t->task->stream);
    } else {
        VLM_TRY(vlm_source_seek(t->val, 0, &t->error));
        for (;;) {
            VLM_TRY(vlm_source_next(t->val, &group, &t->error));
            if (!group) break;
            VLM_TRY(eval_group(t, group, tally));
        }
    }
    if (t->task->classes) VLM_TRY(vlm_task_score(t, tally));
    vlm_tally_report(tally, true, report);
    report->step = t->step;
    report->grad_norm = report->lr = NAN;
    report->code_usage = t->model ? NAN : vlm_tokeniser_usage(t->tokeniser);
    if (t->model) {
        report->loss =
            t->head ? vlm_measure_mean(&tally->measures, 0) : weighted_loss(t, report, tally);
        report->reconstruction = report->commitment = NAN;
    }
    report->seconds = vlm_now() - begin;
    return VLMOE_OK;
}

vlmoe_status vlmoe_trainer_evaluate(vlmoe_trainer *trainer, vlmoe_step_report *report)
{
    vlmoe_step_report full = {.struct_size = sizeof full};
    vlm_tally tally = {0};
    vlmoe_status st = vlm_trainer_evaluate(trainer, &full, &tally);
    vlm_tally_free(&tally);
    if (!st) vlm_report_out(&full, report);
    return st;
}
