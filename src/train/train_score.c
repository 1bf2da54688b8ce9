/* From an evaluation's predictions to the field's scores. */
#include "train_score.h"
#include <math.h>
#include <string.h>
#include "metric_nlvr2.h"
#include "metric_top.h"
#include "metric_vqa.h"

typedef struct scorer {
    vlmoe_trainer *t;
    vlm_vqa_tally vqa;
    double *constant; /* vqa, [classes]: sum of the scores of always giving this answer */
    vlm_nlvr2 *nlvr2;
    vlm_top *top;
    vlm_named *split;
    int64_t n;
} scorer;

/* One held-out sample: what it is said to be, and its json. */
typedef struct judged {
    const vlm_prediction *prediction;
    const vlm_sample_facts *facts;
    const vlm_value *json;
    int64_t label; /* the likeliest; -1 = none */
} judged;

static const char *text_of(const judged *j, const char *key)
{
    return vlm_json_text(vlm_json_get(j->json, key));
}

/* ---- one sample ---- */

static double soft_score(const judged *j)
{
    for (int i = 0; i < j->facts->n_labels; i++)
        if (j->facts->label[i] == j->prediction->label[0]) return (double)j->facts->score[i];
    return 0.0;
}

static vlmoe_status add_vqa(scorer *s, const judged *j)
{
    const char **truth = NULL, *name = s->t->classes->name[j->prediction->label[0]];
    double score = soft_score(j);
    int64_t n = 0;
    vlmoe_status st = vlm_vqa_truth(vlm_json_get(j->json, "answers"), &truth, &n, &s->t->error);
    const bool is_judged = n > 0 || j->label >= 0;
    if (!st && n) st = vlm_vqa_score(name, truth, n, &score, &s->t->error);
    vlm_free(truth);
    if (st || !is_judged) return st;
    for (int i = 0; i < j->facts->n_labels; i++)
        s->constant[j->facts->label[i]] += (double)j->facts->score[i];
    s->n++;
    return vlm_vqa_tally_add(&s->vqa, score, text_of(j, "answer_type"), text_of(j, "question_type"),
                             &s->t->error);
}

static vlmoe_status add_class(scorer *s, const judged *j)
{
    int64_t best[VLM_TOP];
    const bool is_right = j->prediction->label[0] == j->label;
    if (j->label < 0) return VLMOE_OK;
    s->n++;
    for (int i = 0; i < j->prediction->n; i++) best[i] = j->prediction->label[i];
    VLM_TRY(vlm_top_add_best(s->top, best, j->prediction->n, j->label, &s->t->error));
    const char *identifier = text_of(j, "identifier"), *split = text_of(j, "split");
    if (identifier) VLM_TRY(vlm_nlvr2_add(s->nlvr2, identifier, is_right, &s->t->error));
    if (split) VLM_TRY(vlm_named_add(s->split, split, is_right ? 1.0 : 0.0, &s->t->error));
    return VLMOE_OK;
}

static vlmoe_status judge(scorer *s, const vlm_prediction *p)
{
    vlmoe_trainer *t = s->t;
    vlm_sample_view view = {0};
    vlm_sample_facts facts;
    vlm_json *doc = NULL;
    VLM_TRY(vlm_source_sample(t->val, t->task->stream, p->sample, NULL, &view, &t->error));
    const vlm_bytes json = {(const uint8_t *)view.json, view.json_bytes};
    VLM_TRY(vlm_sample_facts_read(json, t->classes->n, &facts, &t->error));
    if (view.json)
        VLM_TRY(vlm_json_parse(view.json, view.json_bytes, view.key, false, &doc, &t->error));
    judged j = {.prediction = p,
                .facts = &facts,
                .json = doc ? vlm_json_root(doc) : NULL,
                .label = facts.n_labels ? facts.label[0] : -1};
    for (int i = 1, most = 0; i < facts.n_labels; i++)
        if (facts.score[i] > facts.score[most]) j.label = facts.label[most = i];
    vlmoe_status st = t->task->kind == VLM_TASK_VQA ? add_vqa(s, &j) : add_class(s, &j);
    if (st) vlm_fail_in(&t->error, "held-out sample %s", view.key);
    vlm_json_free(doc);
    return st;
}

/* ---- all of them ---- */

static void put_named(const vlm_named *named, const char *what, vlm_scores *out)
{
    for (int64_t i = 0; i < vlm_named_count(named); i++) {
        const vlm_named_row *row = vlm_named_row_at(named, i);
        vlm_scores_put(out, row->sum / (double)row->n, "%s %s", what, row->name);
    }
}

static void put_vqa(const scorer *s, vlm_scores *out)
{
    const int64_t classes = s->t->classes->n;
    double best = 0.0, all = 0.0;
    for (int64_t i = 0; i < classes; i++) {
        best = fmax(best, s->constant[i]);
        all += s->constant[i];
    }
    vlm_scores_put(out, s->vqa.sum / (double)s->vqa.n, "accuracy");
    put_named(s->vqa.answer_types, "accuracy", out);
    vlm_scores_put(out, best / (double)s->n, "majority");
    vlm_scores_put(out, all / (double)(s->n * classes), "chance");
}

static void put_scores(scorer *s, vlm_scores *out)
{
    const vlm_task_kind kind = s->t->task->kind;
    if (!s->n) return;
    if (kind == VLM_TASK_VQA) {
        put_vqa(s, out);
        return;
    }
    const vlm_top_result top = vlm_top_count(s->top);
    const double n = (double)top.n;
    vlm_scores_put(out, (double)top.right / n, kind == VLM_TASK_CLASSIFY ? "top1" : "accuracy");
    if (kind == VLM_TASK_CLASSIFY) vlm_scores_put(out, (double)top.right5 / n, "top5");
    const vlm_nlvr2_result nlvr2 = vlm_nlvr2_count(s->nlvr2);
    if (nlvr2.sentences && kind == VLM_TASK_NLVR2)
        vlm_scores_put(out, (double)nlvr2.consistent / (double)nlvr2.sentences, "consistency");
    if (kind == VLM_TASK_NLI) put_named(s->split, "accuracy", out);
    vlm_scores_put(out, top.majority, "majority");
    vlm_scores_put(out, top.chance, "chance");
}

/* Samples that no score is about; where no sample has a label there are no scores either. */
static void put_unjudged(int64_t n, vlm_scores *out)
{
    if (n && out->n) vlm_scores_put_number(out, (double)n, "without label");
}

static vlmoe_status open_scorer(scorer *s)
{
    vlmoe_error *error = &s->t->error;
    VLM_TRY(vlm_vqa_tally_init(&s->vqa, error));
    s->nlvr2 = vlm_nlvr2_create();
    s->split = vlm_named_create();
    s->constant = vlm_alloc_array((size_t)s->t->classes->n, sizeof(double));
    if (!s->nlvr2 || !s->split || !s->constant)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for scores");
    return vlm_top_create(s->t->classes->n, false, &s->top, error);
}

vlmoe_status vlm_task_score(vlmoe_trainer *t, vlm_tally *tally)
{
    scorer s = {.t = t};
    vlmoe_status st = open_scorer(&s);
    for (int64_t i = 0; i < tally->n_predictions && !st; i++)
        st = judge(&s, &tally->predictions[i]);
    if (!st) put_scores(&s, &tally->scores);
    if (!st) put_unjudged(tally->n_predictions - s.n, &tally->scores);
    if (!st && tally->scores.failed)
        st = vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for scores");
    vlm_vqa_tally_free(&s.vqa);
    vlm_free(s.constant);
    vlm_nlvr2_destroy(s.nlvr2);
    vlm_named_destroy(s.split);
    vlm_top_destroy(s.top);
    return st;
}
