/* The page: its head, key figures, and the sections in order. */
#include <math.h>
#include <string.h>
#include "report_parts.h"

const char *const vlm_report_set_names[VLM_REPORT_SETS] = {"images", "pictures of pairs",
                                                           "words of pairs", "texts"};
const char *const vlm_report_part_names[4] = {"texts: words", "images: patches", "pairs: words",
                                              "pairs: patches"};

void vlm_report_layer_name(vlm_text *out, int64_t block, char modality)
{
    vlm_text_put(out, "block %lld, %s", (long long)block, modality == 'v' ? "vision" : "text");
}

void vlm_report_section(vlm_text *out, const char *id, const char *title, const char *about)
{
    vlm_text_put(out, "<section id=\"%s\"><h2>", id);
    vlm_html_string(out, title);
    vlm_text_put(out, "</h2>\n");
    if (!about) return;
    vlm_text_put(out, "<p class=\"about\">");
    vlm_html_string(out, about);
    vlm_text_put(out, "</p>\n");
}

void vlm_report_section_end(vlm_text *out)
{
    vlm_text_put(out, "</section>\n");
}

void vlm_report_missing(vlm_text *out, const char *text)
{
    vlm_text_put(out, "<p class=\"missing\">");
    vlm_html_string(out, text);
    vlm_text_put(out, "</p>\n");
}

bool vlm_report_starts_word(const char *piece)
{
    return !strncmp(piece, "\xe2\x96\x81", 3); /* SentencePiece's sign of a word's beginning */
}

void vlm_report_piece(vlm_text *out, const char *piece)
{
    unsigned char c = (unsigned char)piece[0];
    bool is_inside = c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (vlm_report_starts_word(piece)) vlm_html_string(out, piece[3] ? piece + 3 : "\xe2\x90\xa3");
    else {
        vlm_text_put(out, is_inside ? "\xc2\xb7" : "");
        vlm_html_string(out, piece);
    }
}

static void free_question(vlm_report_question *q)
{
    for (int i = 0; i < VLM_REPORT_PICTURES; i++) vlm_free(q->picture[i]);
    for (int i = 0; i < VLM_REPORT_TEXTS; i++) vlm_free(q->text[i]);
    for (int i = 0; i < VLM_REPORT_GUESSES; i++) {
        vlm_free(q->answer[i].text);
        vlm_free(q->answer[i].picture);
    }
    vlm_free(q->truth);
}

void vlm_report_model_free(vlm_report_model *m)
{
    for (int i = 0; i < m->n_examples; i++) {
        vlm_report_example *e = &m->examples[i];
        vlm_free(e->picture);
        vlm_free(e->predicted);
        vlm_free(e->decoded);
        vlm_free(e->hidden);
        vlm_free(e->tokens);
        for (int l = 0; l < VLM_REPORT_LAYERS; l++) vlm_free(e->route[l]);
    }
    for (int l = 0; l < m->n_layers; l++) {
        vlm_report_layer *layer = &m->layers[l];
        for (int i = 0; i < layer->n_experts; i++) vlm_free(layer->experts[i].crops);
        vlm_free(layer->experts);
        vlm_free(layer->expert_load);
        vlm_free(layer->expert_served);
    }
    for (int i = 0; i < m->n_questions; i++) free_question(&m->questions[i]);
    vlm_free(m->questions);
    vlm_free(m->examples);
    vlm_free(m->code_count);
    *m = (vlm_report_model){0};
}

/* ---- key figures ---- */

void vlm_report_begin_tile(vlm_text *out, const char *name)
{
    vlm_text_put(out, "<div><dt>");
    vlm_html_string(out, name);
    vlm_text_put(out, "</dt><dd>");
}

void vlm_report_end_tile(vlm_text *out)
{
    vlm_text_put(out, "</dd></div>\n");
}

static void put_right(vlm_text *out, const vlm_metrics *m, int part)
{
    static const char *const names[4] = {"hidden words of texts", "hidden patches of images",
                                         "hidden words of pairs", "hidden patches of pairs"};
    double right = m->last[VLM_METRIC_PART_RIGHT + part];
    if (!isfinite(right)) return;
    vlm_report_begin_tile(out, names[part]);
    vlm_html_percent(out, right);
    vlm_text_put(out, "<small>right, held out; loss ");
    vlm_html_number(out, m->last[VLM_METRIC_PART_LOSS + part]);
    vlm_text_put(out, "</small>");
    vlm_report_end_tile(out);
}

static void put_work(vlm_text *out, const vlm_metrics *m)
{
    if (!m->steps) return;
    vlm_report_begin_tile(out, "samples");
    vlm_html_count(out, m->samples);
    vlm_text_put(out, "<small>in ");
    vlm_html_count(out, m->steps);
    vlm_text_put(out, " steps</small>");
    vlm_report_end_tile(out);
    vlm_report_begin_tile(out, "time");
    vlm_html_seconds(out, m->seconds);
    vlm_text_put(out, "<small>");
    vlm_html_number(out, round((double)m->samples / fmax(m->seconds, 1e-9)));
    vlm_text_put(out, " samples a second</small>");
    vlm_report_end_tile(out);
}

static void put_dropped(vlm_text *out, const vlm_report_model *m)
{
    int64_t load = 0, served = 0;
    for (int i = 0; i < m->n_layers; i++)
        for (int s = 0; s < VLM_REPORT_SETS; s++) {
            load += m->layers[i].load[s];
            served += m->layers[i].served[s];
        }
    vlm_report_begin_tile(out, "choices dropped");
    vlm_html_percent(out, load ? (double)(load - served) / (double)load : NAN);
    vlm_text_put(out, "<small>held out, with training's capacity</small>");
    vlm_report_end_tile(out);
}

static void put_tiles(vlm_text *out, const vlm_report *r)
{
    const vlm_metrics *m = r->metrics;
    const vlm_report_task *task = vlm_report_task_of(r);
    vlm_text_put(out, "<dl class=\"tiles\">\n");
    if (task) vlm_report_task_tiles(out, r, task);
    for (int part = 0; m && part < 4; part++) put_right(out, m, (part + 2) % 4);
    if (m && isfinite(m->last[VLM_METRIC_RECONSTRUCTION])) {
        vlm_report_begin_tile(out, "reconstruction error");
        vlm_html_number(out, m->last[VLM_METRIC_RECONSTRUCTION]);
        vlm_text_put(out, "<small>held out; 1 is a patch's own mean</small>");
        vlm_report_end_tile(out);
    }
    if (m) put_work(out, m);
    if (r->model && r->model->parameters) {
        vlm_report_begin_tile(out, "parameters");
        vlm_html_count(out, r->model->parameters);
        if (r->model->per_token && r->model->per_token != r->model->parameters) {
            vlm_text_put(out, "<small>");
            vlm_html_count(out, r->model->per_token);
            vlm_text_put(out, " applied to a token</small>");
        }
        vlm_report_end_tile(out);
    }
    if (r->model && r->model->n_layers && r->model->capacity_factor > 0) put_dropped(out, r->model);
    vlm_text_put(out, "</dl>\n");
}

/* ---- head ---- */

static void put_head(vlm_text *out, const vlm_report *r)
{
    vlm_text_put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                      "<meta name=\"color-scheme\" content=\"light dark\"><title>");
    vlm_html_string(out, r->name);
    vlm_text_put(out, "</title>\n");
    vlm_report_style(out);
    vlm_text_put(out, "</head>\n<body>\n");
}

static void put_link(vlm_text *out, const char *id, const char *name)
{
    vlm_text_put(out, "<a href=\"#%s\">%s</a>", id, name);
}

/* The sections of a page: what does not apply to its task is left out. */
typedef struct sections {
    const vlm_report_task *task; /* NULL: pretraining or the image tokeniser */
    bool experts, drops, codes;
} sections;

static sections sections_of(const vlm_report *r)
{
    const bool is_tokeniser = r->task && !strcmp(r->task, "image_tokeniser");
    sections s = {.task = vlm_report_task_of(r), .experts = !is_tokeniser, .drops = !is_tokeniser};
    s.codes = !s.task;
    if (!s.task) return s;
    s.experts = (r->model && r->model->n_layers) || (r->metrics && r->metrics->n_layers);
    s.drops = r->model && r->model->n_layers && r->model->capacity_factor > 0;
    return s;
}

static void put_title(vlm_text *out, const vlm_report *r, const sections *s)
{
    const bool is_tokeniser = r->task && !strcmp(r->task, "image_tokeniser");
    vlm_text_put(out, "<header><div class=\"top\"><div><h1><bdi>");
    vlm_html_string(out, r->name);
    vlm_text_put(out, "</bdi></h1><p class=\"lead\">%s. <b>",
                 s->task        ? s->task->title
                 : is_tokeniser ? "Training of an image tokeniser"
                                : "Masked pretraining of words and pictures");
    vlm_html_string(out, r->ending);
    vlm_text_put(out,
                 "</b></p></div><button id=\"theme\" type=\"button\" hidden>Dark</button></div>\n");
    put_tiles(out, r);
    vlm_text_put(out, "<nav aria-label=\"sections\">");
    put_link(out, "learning", "Learning");
    if (s->task) put_link(out, "scores", "Scores");
    put_link(out, "examples", "Held-out examples");
    if (s->experts) put_link(out, "experts", "Experts");
    if (s->drops) put_link(out, "drops", s->task ? "Drops" : "Drops by task");
    if (s->codes) put_link(out, "codes", "Image codes");
    put_link(out, "run", "The run");
    vlm_text_put(out, "</nav></header>\n");
}

static void put_sections(vlm_text *out, const vlm_report *r, const sections *s, vlmoe_error *error)
{
    vlm_report_curves(out, r);
    if (s->task) {
        vlm_report_task_scores(out, r, s->task);
        vlm_report_questions(out, r, s->task, error);
    } else vlm_report_examples(out, r);
    if (s->experts) vlm_report_layers(out, r, error);
    if (s->drops) vlm_report_drops(out, r);
    if (s->codes) vlm_report_codes(out, r);
    vlm_report_settings(out, r);
}

vlmoe_status vlm_report_write(const vlm_report *r, vlm_text *out, vlmoe_error *error)
{
    vlmoe_error failed = {VLMOE_OK, ""};
    const sections s = sections_of(r);
    put_head(out, r);
    vlm_report_pictures(out, r, &failed);
    put_title(out, r, &s);
    vlm_text_put(out, "<main>\n");
    put_sections(out, r, &s, &failed);
    vlm_text_put(out, "</main>\n<footer>Made by libvlmoe ");
    vlm_html_string(out, r->library);
    vlm_text_put(out, ". Everything on this page is in this one file.</footer>\n");
    vlm_report_script(out);
    vlm_text_put(out, "</body>\n</html>\n");
    if (failed.status) return vlm_fail(error, failed.status, "%s", failed.text);
    return out->failed ? vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the page") : VLMOE_OK;
}
