/* Held-out examples of a tuned task: what was asked, the right answer, and what the model finds likeliest. */
#include <math.h>
#include "report_parts.h"

/* ---- pictures ---- */

static void put_picture(vlm_text *out, const vlm_report_question *q, const uint8_t *pixels,
                        const char *about, vlmoe_error *error)
{
    if (error->status) return;
    vlm_text_put(out, "<img alt=\"%s\" src=\"", about);
    if (vlm_html_png(out, q->side, q->side, 3, pixels, error)) return;
    vlm_text_put(out, "\">");
}

static bool has_pictures(const vlm_report_question *q)
{
    for (int i = 0; i < VLM_REPORT_PICTURES; i++)
        if (q->picture[i]) return true;
    return false;
}

/* Two stand left and right, as statements speak of them. */
static void put_pictures(vlm_text *out, const vlm_report_question *q, vlmoe_error *error)
{
    vlm_text_put(out, "<div class=\"asked%s\">", q->picture[0] && q->picture[1] ? " both" : "");
    for (int i = 0; i < VLM_REPORT_PICTURES; i++)
        if (q->picture[i]) put_picture(out, q, q->picture[i], "held-out picture", error);
    vlm_text_put(out, "</div>\n");
}

/* ---- answers ---- */

static void put_mark(vlm_text *out, const vlm_report_answer *a)
{
    if (a->score > 0.0 && a->score < 0.995) { /* an answer of some annotators */
        vlm_text_put(out, " <small>");
        vlm_html_number(out, a->score);
        vlm_text_put(out, "</small>");
    }
}

static void put_number(vlm_text *out, const vlm_report_answer *a)
{
    vlm_text_put(out, "<em>");
    if (isfinite(a->share)) vlm_text_put(out, "%.2f", a->share);
    else vlm_text_put(out, "\xe2\x80\x93");
    vlm_text_put(out, "</em>");
}

/* A class, its bar and its share. */
static void put_class(vlm_text *out, const vlm_report_answer *a)
{
    const double share = isfinite(a->share) ? fmin(fmax(a->share, 0.0), 1.0) : 0.0;
    vlm_text_put(out, "<li%s><span><bdi>", a->score > 0.0 ? " class=\"ok\"" : "");
    vlm_html_string(out, a->text);
    vlm_text_put(out, "</bdi>");
    put_mark(out, a);
    vlm_text_put(out, "</span><span class=\"bar\"><i style=\"width:%.1f%%\"></i></span><em>",
                 100.0 * share);
    vlm_html_percent(out, a->share);
    vlm_text_put(out, "</em></li>");
}

/* A text that was found. */
static void put_found_text(vlm_text *out, const vlm_report_answer *a)
{
    vlm_text_put(out, "<li%s><span><bdi>", a->score > 0.0 ? " class=\"ok\"" : "");
    vlm_html_string(out, a->text);
    vlm_text_put(out, "</bdi></span>");
    put_number(out, a);
    vlm_text_put(out, "</li>");
}

static void put_found_picture(vlm_text *out, const vlm_report_question *q,
                              const vlm_report_answer *a, int place, vlmoe_error *error)
{
    vlm_text_put(out, "<li%s>", a->score > 0.0 ? " class=\"ok\"" : "");
    put_picture(out, q, a->picture, "picture that was found", error);
    vlm_text_put(out, "<span>%d</span>", place);
    put_number(out, a);
    vlm_text_put(out, "</li>");
}

static void put_answers(vlm_text *out, const vlm_report_question *q, const vlm_report_task *task,
                        vlmoe_error *error)
{
    const bool are_pictures = q->n_answers && q->answer[0].picture;
    const bool is_search = task->kind == VLM_KIND_SEARCH;
    vlm_text_put(out, "<ol class=\"%s\">",
                 are_pictures ? "shots"
                 : is_search  ? "found"
                              : "classes");
    for (int i = 0; i < q->n_answers; i++) {
        const vlm_report_answer *a = &q->answer[i];
        if (a->picture) put_found_picture(out, q, a, i + 1, error);
        else if (is_search) put_found_text(out, a);
        else put_class(out, a);
    }
    vlm_text_put(out, "</ol>\n");
}

/* ---- cards ---- */

static void put_question(vlm_text *out, const vlm_report_question *q, const vlm_report_task *task,
                         vlmoe_error *error)
{
    const bool has_any = has_pictures(q);
    vlm_text_put(out, "<div class=\"card ex%s\">\n", has_any ? "" : " alone");
    if (has_any) put_pictures(out, q, error);
    vlm_text_put(out, "<div><p class=\"key\">sample %lld, <bdi>", (long long)q->number);
    vlm_html_string(out, q->key);
    vlm_text_put(out, "</bdi></p>\n");
    for (int i = 0; i < VLM_REPORT_TEXTS; i++) {
        if (!q->text[i]) continue;
        vlm_text_put(out, "<p class=\"said\"><bdi>");
        vlm_html_string(out, q->text[i]);
        vlm_text_put(out, "</bdi></p>\n");
    }
    if (q->truth) {
        vlm_text_put(out, "<p class=\"truth\">right: <b><bdi>");
        vlm_html_string(out, q->truth);
        vlm_text_put(out, "</bdi></b></p>\n");
    }
    put_answers(out, q, task, error);
    vlm_text_put(out, "</div></div>\n");
}

/* Searches for pictures need the width of the page; all others stand two in a row. */
static void put_all(vlm_text *out, const vlm_report_model *m, const vlm_report_task *task,
                    bool are_pictures, vlmoe_error *error)
{
    bool has_any = false;
    for (int i = 0; i < m->n_questions; i++) {
        const vlm_report_question *q = &m->questions[i];
        if ((q->n_answers && q->answer[0].picture) != are_pictures) continue;
        if (!has_any) vlm_text_put(out, "<div class=\"examples two\">\n");
        has_any = true;
        put_question(out, q, task, error);
    }
    if (has_any) vlm_text_put(out, "</div>\n");
}

void vlm_report_questions(vlm_text *out, const vlm_report *r, const vlm_report_task *task,
                          vlmoe_error *error)
{
    const vlm_report_model *m = r->model;
    vlm_report_section(out, "examples", "Held-out examples", task->about);
    if (r->model_missing) vlm_report_missing(out, r->model_missing);
    else if (!m || !m->n_questions)
        vlm_report_missing(out, "There are no held-out samples to show.");
    else if (task->kind == VLM_KIND_SEARCH)
        vlm_text_put(out, "<p class=\"soft\">Beside each: %s.</p>\n",
                     m->is_together ? "similarity over the temperature, plus the log-odds of "
                                      "matching for the best, which were read together"
                                    : "its cosine");
    if (m) put_all(out, m, task, false, error);
    if (m) put_all(out, m, task, true, error);
    vlm_report_section_end(out);
}
