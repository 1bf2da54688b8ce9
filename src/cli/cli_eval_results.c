/* Predictions of held-out or test samples as the files that the field's servers and scripts take (metric_result.h). */
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "cli_eval.h"
#include "data_idmap.h"
#include "metric_result.h"

static vlm_result_form form_of(const vlmoe_trainer *t)
{
    switch (t->task->kind) {
    case VLM_TASK_VQA:
        return VLM_RESULT_VQA;
    case VLM_TASK_NLVR2:
        return VLM_RESULT_NLVR2;
    case VLM_TASK_NLI:
        return VLM_RESULT_NLI;
    default:
        return VLM_RESULT_CLASSIFY;
    }
}

/* What a sample is called: "identifier" in nlvr2, else "id", kept as it was given. NULL: it has none. */
static const char *id_of(const vlmoe_trainer *t, const vlm_value *json, bool *is_number,
                         char number[32])
{
    const vlm_value *id = NULL;
    int64_t value = 0;
    if (t->task->kind == VLM_TASK_NLVR2) id = vlm_json_get(json, "identifier");
    if (!id) id = vlm_json_get(json, "id");
    *is_number = id && vlm_json_int(id, &value);
    if (!*is_number) return vlm_json_text(id);
    snprintf(number, 32, "%lld", (long long)value);
    return number;
}

/* A server takes one answer for each. */
static vlmoe_status check_id(vlmoe_trainer *t, const char *id, const char *key, vlm_idmap *seen)
{
    bool is_new = false;
    if (!id)
        return vlm_fail(&t->error, VLMOE_E_FORMAT,
                        "--results: sample %s has no \"%s\" in its json, so its answer has no name",
                        key, t->task->kind == VLM_TASK_NLVR2 ? "identifier" : "id");
    VLM_TRY(vlm_idmap_add(seen, id, strlen(id), 0, NULL, &is_new, &t->error));
    if (is_new) return VLMOE_OK;
    return vlm_fail(
        &t->error, VLMOE_E_FORMAT,
        "--results: sample %s is called \"%s\", as one before it: a file of results has "
        "one answer for each",
        key, id);
}

static vlmoe_status put_sample(vlmoe_trainer *t, const vlm_prediction *p, vlm_idmap *seen,
                               vlm_text *out)
{
    vlm_sample_view view = {0};
    vlm_json *doc = NULL;
    char number[32];
    const char *answer[VLM_TOP];
    vlm_result_row row = {.answer = answer, .n = p->n};
    VLM_TRY(vlm_source_sample(t->val, t->task->stream, p->sample, NULL, &view, &t->error));
    if (view.json)
        VLM_TRY(vlm_json_parse(view.json, view.json_bytes, view.key, false, &doc, &t->error));
    row.id = id_of(t, doc ? vlm_json_root(doc) : NULL, &row.is_number, number);
    for (int i = 0; i < p->n; i++) answer[i] = t->classes->name[p->label[i]];
    vlmoe_status st = check_id(t, row.id, view.key, seen);
    if (!st) vlm_result_put(form_of(t), &row, out);
    vlm_json_free(doc);
    return st;
}

vlmoe_status vlm_cli_results(vlm_cli_evaluation *e, vlm_text *out)
{
    vlmoe_trainer *t = e->model.trainer;
    vlm_idmap seen = {0};
    vlmoe_status st = VLMOE_OK;
    if (e->tally.ranked[0].n) return vlm_cli_ranked(e, out);
    if (!t->classes)
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "--results is for models that were tuned on a task, this is task %s",
                        t->task->name);
    vlm_result_begin(form_of(t), out);
    for (int64_t i = 0; i < e->tally.n_predictions && !st; i++)
        st = put_sample(t, &e->tally.predictions[i], &seen, out);
    vlm_idmap_free(&seen);
    if (st) return st;
    vlm_result_end(form_of(t), out);
    return out->failed ? vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for results") : VLMOE_OK;
}
