/* Examples of a tuned task for its page: an evaluation as runs make it, what it found for some samples, and what is said of these. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cli_report_gather.h"
#include "metric_vqa.h"
#include "train_group.h"
#include "train_retrieve.h"

enum {
    ANSWERS = 64,    /* of annotators, at most */
    TEXT_BYTES = 400 /* of a text, at most */
};

typedef struct gathering {
    vlmoe_trainer *t;
    vlm_report_model *out;
    uint8_t *pixels; /* [VLM_REPORT_PICTURES] pictures of a sample */
} gathering;

static vlmoe_status no_memory(const gathering *g)
{
    return vlm_fail(&g->t->error, VLMOE_E_NOMEM, "out of memory for a report's examples");
}

/* As much of it as a page has room for, never a part of a character. */
static vlmoe_status copy_text(const gathering *g, const void *text, size_t bytes, char **out)
{
    const char *from = text;
    size_t n = 0, step = 0;
    for (; n < bytes; n += step) {
        step = VLM_MAX(vlm_utf8_length(from + n, bytes - n), (size_t)1);
        if (n + step > TEXT_BYTES) break;
    }
    *out = vlm_format("%.*s%s", (int)n, from, n < bytes ? "\xe2\x80\xa6" : "");
    return *out ? VLMOE_OK : no_memory(g);
}

static vlmoe_status copy_picture(const gathering *g, uint8_t *pixels, uint8_t **out)
{
    *out = vlm_page_picture(g->t, pixels);
    return *out ? VLMOE_OK : no_memory(g);
}

/* A question with its sample's name; view and the pixels are the sample's. */
static vlmoe_status begin_question(gathering *g, int64_t number, vlm_sample_view *view,
                                   vlm_report_question **out)
{
    vlmoe_trainer *t = g->t;
    const int stream = t->task->stream;
    vlm_report_question *q = &g->out->questions[g->out->n_questions++];
    VLM_TRY(vlm_source_sample(t->val, stream, number, g->pixels, view, &t->error));
    q->number = number;
    q->side = vlm_page_side(t);
    snprintf(q->key, sizeof q->key, "%s", view->key ? view->key : "");
    *out = q;
    return VLMOE_OK;
}

/* ---- classes ---- */

/* What a sample is said to be: classes with scores, and of VQA what annotators answered. */
typedef struct said {
    vlm_sample_facts facts;
    const char *answer[ANSWERS];
    int64_t n_answers;
} said;

static void read_answers(const vlm_value *json, said *out)
{
    const vlm_value *answers = vlm_json_get(json, "answers");
    for (const vlm_value *a = vlm_json_first(answers); a && out->n_answers < ANSWERS;
         a = vlm_json_next(a))
        if (vlm_json_text(a)) out->answer[out->n_answers++] = vlm_json_text(a);
}

/* "grey (6), black (4)", in the order of first mention. */
static void put_annotators(vlm_text *out, const said *s)
{
    for (int64_t i = 0; i < s->n_answers; i++) {
        int64_t n = 0, first = i;
        for (int64_t k = s->n_answers; k-- > 0;)
            if (!strcmp(s->answer[k], s->answer[i])) {
                n++;
                first = k;
            }
        if (first == i)
            vlm_text_put(out, n < s->n_answers ? "%s%.60s (%lld)" : "%s%.60s", i ? ", " : "",
                         s->answer[i], (long long)n);
    }
}

static vlmoe_status put_truth(const gathering *g, const said *s, char **out)
{
    vlm_text text = {0};
    if (s->n_answers) put_annotators(&text, s);
    for (int i = 0; !s->n_answers && i < s->facts.n_labels; i++)
        vlm_text_put(&text, "%s%.60s", i ? ", " : "", g->t->classes->name[s->facts.label[i]]);
    vlmoe_status st = text.failed ? no_memory(g) : VLMOE_OK;
    if (!st && text.bytes) st = copy_text(g, text.data, text.bytes, out);
    vlm_text_free(&text);
    return st;
}

static vlmoe_status score_class(const gathering *g, const said *s, int32_t class, double *out)
{
    if (s->n_answers)
        return vlm_vqa_score(g->t->classes->name[class], s->answer, s->n_answers, out,
                             &g->t->error);
    *out = 0.0;
    for (int i = 0; i < s->facts.n_labels; i++)
        if (s->facts.label[i] == class) *out = (double)s->facts.score[i];
    return VLMOE_OK;
}

static vlmoe_status put_classes(const gathering *g, const said *s, const vlm_prediction *p,
                                vlm_report_question *q)
{
    VLM_TRY(put_truth(g, s, &q->truth));
    for (int i = 0; i < VLM_MIN(p->n, (int)VLM_REPORT_GUESSES); i++) {
        vlm_report_answer *a = &q->answer[q->n_answers++];
        const char *name = g->t->classes->name[p->label[i]];
        *a = (vlm_report_answer){.share = (double)p->share[i]};
        VLM_TRY(score_class(g, s, p->label[i], &a->score));
        VLM_TRY(copy_text(g, name, strlen(name), &a->text));
    }
    return VLMOE_OK;
}

static vlmoe_status add_prediction(gathering *g, const vlm_prediction *p)
{
    vlmoe_trainer *t = g->t;
    const int64_t bytes = 3 * t->config->model.image_size * t->config->model.image_size;
    const int n_pictures = vlm_source_pictures(t->val, t->task->stream);
    vlm_report_question *q;
    vlm_sample_view view;
    vlm_json *doc = NULL;
    said s = {.n_answers = 0};
    VLM_TRY(begin_question(g, p->sample, &view, &q));
    for (int i = 0; i < VLM_MIN(n_pictures, (int)VLM_REPORT_PICTURES); i++)
        VLM_TRY(copy_picture(g, g->pixels + i * bytes, &q->picture[i]));
    for (int i = 0; i < VLM_MIN(view.n_texts, (int)VLM_REPORT_TEXTS); i++)
        VLM_TRY(copy_text(g, view.texts[i].data, view.texts[i].bytes, &q->text[i]));
    const vlm_bytes json = {(const uint8_t *)view.json, view.json_bytes};
    VLM_TRY(vlm_sample_facts_read(json, t->classes->n, &s.facts, &t->error));
    if (view.json)
        VLM_TRY(vlm_json_parse(view.json, view.json_bytes, view.key, false, &doc, &t->error));
    if (doc && t->task->kind == VLM_TASK_VQA) read_answers(vlm_json_root(doc), &s);
    vlmoe_status st = put_classes(g, &s, p, q);
    vlm_json_free(doc);
    return st;
}

static void put_scores(const vlm_scores *from, double loss, vlm_report_model *out)
{
    vlm_named_scores_put(&out->scores, "loss", loss);
    for (int i = 0; i < from->n; i++)
        vlm_named_scores_put(&out->scores, from->at[i].name, from->at[i].value);
}

static vlmoe_status answer(gathering *g)
{
    vlmoe_step_report report = {.struct_size = sizeof report};
    vlm_tally tally = {0};
    vlmoe_status st = vlm_trainer_evaluate(g->t, &report, &tally);
    const int64_t n = tally.n_predictions, wanted = VLM_MIN(n, (int64_t)VLM_PAGE_QUESTIONS);
    if (!st) put_scores(&tally.scores, report.loss, g->out);
    for (int64_t i = 0; i < wanted && !st; i++) /* those of vlm_page_predict */
        st = add_prediction(g, &tally.predictions[(2 * i + 1) * n / (2 * wanted)]);
    vlm_tally_free(&tally);
    return st;
}

/* ---- retrieval ---- */

/* Whose the texts of the held-out pictures are: text j is text j - first_text[image_of[j]] of its picture. */
typedef struct texts {
    int64_t *first_text, *image_of; /* [pictures + 1], [texts] */
} texts;

static vlmoe_status number_texts(const gathering *g, const vlm_tally *tally, texts *out)
{
    vlmoe_trainer *t = g->t;
    const int64_t n = tally->ranked[0].n, n_texts = tally->ranked[1].n;
    vlm_sample_view view;
    out->first_text = vlm_alloc_array((size_t)n + 1, sizeof *out->first_text);
    out->image_of = vlm_alloc_array((size_t)n_texts, sizeof *out->image_of);
    if (!out->first_text || !out->image_of) return no_memory(g);
    for (int64_t i = 0; i < n; i++) {
        VLM_TRY(vlm_source_sample(t->val, t->task->stream, i, NULL, &view, &t->error));
        out->first_text[i + 1] = out->first_text[i] + view.n_texts;
        for (int64_t j = out->first_text[i]; j < VLM_MIN(out->first_text[i + 1], n_texts); j++)
            out->image_of[j] = i;
    }
    return VLMOE_OK;
}

/* Text j out of its sample. */
static vlmoe_status copy_caption(const gathering *g, const texts *s, int64_t j, char **out)
{
    vlmoe_trainer *t = g->t;
    const int64_t image = s->image_of[j], which = j - s->first_text[image];
    vlm_sample_view view;
    VLM_TRY(vlm_source_sample(t->val, t->task->stream, image, NULL, &view, &t->error));
    return copy_text(g, view.texts[which].data, view.texts[which].bytes, out);
}

/* The texts of a picture that is searched for, as "one / another". */
static vlmoe_status put_captions(const gathering *g, const vlm_sample_view *view, char **out)
{
    vlm_text text = {0};
    for (int i = 0; i < view->n_texts; i++)
        vlm_text_put(&text, "%s%.*s", i ? " / " : "", (int)view->texts[i].bytes,
                     (const char *)view->texts[i].data);
    vlmoe_status st = text.failed ? no_memory(g) : copy_text(g, text.data, text.bytes, out);
    vlm_text_free(&text);
    return st;
}

/* What was found for a query; scale: what its scores are divided by. */
static vlmoe_status put_found(gathering *g, const texts *s, const vlm_tally *tally, int way,
                              int64_t query, double scale)
{
    vlmoe_trainer *t = g->t;
    vlm_report_question *q = &g->out->questions[g->out->n_questions - 1];
    const vlm_ranked *r = &tally->ranked[way];
    vlm_sample_view view;
    for (int64_t i = query * r->k; i < (query + 1) * r->k && r->at[i] >= 0; i++) {
        vlm_report_answer *a = &q->answer[q->n_answers++];
        *a = (vlm_report_answer){.share = (double)r->score[i] / scale, .score = r->is_relevant[i]};
        if (!way) VLM_TRY(copy_caption(g, s, r->at[i], &a->text));
        else {
            VLM_TRY(
                vlm_source_sample(t->val, t->task->stream, r->at[i], g->pixels, &view, &t->error));
            VLM_TRY(copy_picture(g, g->pixels, &a->picture));
        }
    }
    return VLMOE_OK;
}

/* way: as in tally->ranked. */
static vlmoe_status add_search(gathering *g, const texts *s, const vlm_tally *tally, int way,
                               int64_t query, double scale)
{
    vlm_report_question *q;
    vlm_sample_view view;
    VLM_TRY(begin_question(g, way ? s->image_of[query] : query, &view, &q));
    if (way) VLM_TRY(copy_caption(g, s, query, &q->text[0]));
    else {
        VLM_TRY(copy_picture(g, g->pixels, &q->picture[0]));
        VLM_TRY(put_captions(g, &view, &q->truth));
    }
    return put_found(g, s, tally, way, query, scale);
}

/* Pictures as vlm_page_predict takes them, and texts of other pictures, spread as evenly. */
static vlmoe_status put_searches(gathering *g, const texts *s, const vlm_tally *tally, double scale)
{
    for (int way = 0; way < 2; way++) {
        const int64_t n = tally->ranked[way].n, wanted = VLM_MIN(n, (int64_t)VLM_PAGE_SEARCHES);
        for (int64_t i = 0; i < wanted; i++)
            VLM_TRY(add_search(g, s, tally, way,
                               way ? i * n / wanted : (2 * i + 1) * n / (2 * wanted), scale));
    }
    return VLMOE_OK;
}

static vlmoe_status search(gathering *g)
{
    vlmoe_step_report report = {.struct_size = sizeof report};
    vlm_tally tally = {.n_ranked = VLM_REPORT_GUESSES};
    texts s = {NULL, NULL};
    double scale = 1.0;
    vlmoe_status st = vlm_trainer_evaluate(g->t, &report, &tally);
    const bool together = tally.n_together[0] > 0;
    if (!st) put_scores(&tally.scores, NAN, g->out);
    if (!st && !together) st = vlm_retrieval_scale(g->t, &scale); /* cosines are easier to read */
    g->out->is_together = together;
    if (!st) st = number_texts(g, &tally, &s);
    if (!st) st = put_searches(g, &s, &tally, scale);
    vlm_free(s.first_text);
    vlm_free(s.image_of);
    vlm_tally_free(&tally);
    return st;
}

vlmoe_status vlm_page_answer(vlmoe_trainer *t, vlm_report_model *out)
{
    gathering g = {.t = t, .out = out};
    const int64_t side = t->config->model.image_size;
    t->error = (vlmoe_error){VLMOE_OK, ""};
    out->questions =
        vlm_alloc_array(VLM_PAGE_QUESTIONS + 2 * VLM_PAGE_SEARCHES, sizeof *out->questions);
    g.pixels = vlm_alloc_array(VLM_REPORT_PICTURES, (size_t)(3 * side * side));
    vlmoe_status st = out->questions && g.pixels ? VLMOE_OK : no_memory(&g);
    if (!st) st = t->task->kind == VLM_TASK_RETRIEVAL ? search(&g) : answer(&g);
    vlm_free(g.pixels);
    return st;
}
