/* Held-out examples: pictures with their hidden patches and what was predicted for them, texts with the best words of each hidden
 * place. Also the store of pictures that the page refers to by id. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "report_parts.h"

enum { MAX_PLACES = 16 }; /* hidden places of a text whose words are listed */

/* ---- the store ---- */

static void put_image(vlm_text *out, const char *kind, int i, const vlm_report_example *e,
                      const uint8_t *pixels, vlmoe_error *error)
{
    if (!pixels || error->status) return;
    vlm_text_put(out,
                 "<image id=\"%s%d\" width=\"%lld\" height=\"%lld\" preserveAspectRatio=\"none\" "
                 "href=\"",
                 kind, i, (long long)e->grid, (long long)e->grid);
    if (vlm_html_png(out, e->side, e->side, 3, pixels, error)) return;
    vlm_text_put(out, "\"/>\n");
}

void vlm_report_pictures(vlm_text *out, const vlm_report *r, vlmoe_error *error)
{
    vlm_text_put(out, "<svg class=\"defs\" aria-hidden=\"true\"><defs><pattern id=\"hatch\" "
                      "width=\".2\" height=\".2\" patternUnits=\"userSpaceOnUse\" "
                      "patternTransform=\"rotate(45)\"><path d=\"M0 0V.2\" stroke=\"#111\" "
                      "stroke-width=\".09\"/></pattern>\n");
    for (int i = 0; r->model && i < r->model->n_examples; i++) {
        const vlm_report_example *e = &r->model->examples[i];
        put_image(out, "p", i, e, e->picture, error);
        put_image(out, "q", i, e, e->predicted, error);
        put_image(out, "d", i, e, e->decoded, error);
    }
    vlm_text_put(out, "</defs></svg>\n");
}

/* ---- pictures ---- */

void vlm_report_hidden(vlm_text *out, const vlm_report_example *e, const char *class)
{
    vlm_text_put(out, "<path class=\"%s\" d=\"", class);
    for (int64_t p = 0; e->hidden && p < e->grid * e->grid; p++)
        if (e->hidden[p])
            vlm_text_put(out, "M%lld %lldh1v1h-1z", (long long)(p % e->grid),
                         (long long)(p / e->grid));
    vlm_text_put(out, "\"/>");
}

static void begin_view(vlm_text *out, const vlm_report_example *e, const char *kind, int i,
                       const char *about)
{
    vlm_text_put(out,
                 "<figure><svg viewBox=\"0 0 %lld %lld\" role=\"img\" aria-label=\"%s\"><use "
                 "href=\"#%s%d\"/>",
                 (long long)e->grid, (long long)e->grid, about, kind, i);
}

static void end_view(vlm_text *out, const char *text)
{
    vlm_text_put(out, "</svg><figcaption>%s</figcaption></figure>\n", text);
}

static void put_views(vlm_text *out, const vlm_report_example *e, int i, bool is_row)
{
    char text[96];
    vlm_text_put(out, "<div class=\"views%s\">", is_row ? " row" : "");
    begin_view(out, e, "p", i, "the picture");
    end_view(out, "the picture");
    if (e->n_hidden && e->hidden) {
        begin_view(out, e, "p", i, "the picture with its hidden patches covered");
        vlm_report_hidden(out, e, "hid");
        vlm_report_hidden(out, e, "hid2");
        end_view(out, "what the model saw");
    }
    if (e->predicted && e->n_hidden) {
        begin_view(out, e, "q", i, "hidden patches drawn from predicted codes");
        vlm_report_hidden(out, e, "mark");
        snprintf(text, sizeof text, "hidden patches predicted; %lld of %lld codes right",
                 (long long)e->n_right, (long long)e->n_hidden);
        end_view(out, text);
    }
    if (e->decoded) {
        begin_view(out, e, "d", i, "the picture drawn from its own codes");
        end_view(out, "drawn from its own codes");
    }
    vlm_text_put(out, "</div>\n");
}

/* ---- words ---- */

static void put_slot(vlm_text *out, const vlm_report_token *t)
{
    const vlm_report_guess *best = t->n_guesses ? &t->guess[0] : NULL;
    bool is_right = best && best->is_right;
    vlm_text_put(out, "<span class=\"slot%s\"><b><bdi>", is_right ? " ok" : "");
    if (best) vlm_report_piece(out, best->piece);
    else vlm_text_put(out, "?");
    vlm_text_put(out, "</bdi></b>");
    if (!is_right) {
        vlm_text_put(out, "<small><bdi>");
        vlm_report_piece(out, t->piece);
        vlm_text_put(out, "</bdi></small>");
    }
    vlm_text_put(out, "</span>");
}

static void put_caption(vlm_text *out, const vlm_report_example *e)
{
    bool is_open = false; /* a word's open pieces stand together */
    vlm_text_put(out, "<p class=\"caption\">");
    for (int64_t k = 0; k < e->n_tokens; k++) {
        const vlm_report_token *t = &e->tokens[k];
        bool is_start = vlm_report_starts_word(t->piece);
        if (!t->is_hidden && (!k || k == e->n_tokens - 1)) continue; /* [CLS] and [SEP] */
        if (is_open && (t->is_hidden || is_start)) vlm_text_put(out, "</bdi></span>");
        if (t->is_hidden) put_slot(out, t);
        else {
            if (!is_open || is_start) vlm_text_put(out, "<span><bdi>");
            vlm_html_string(out, t->piece + (is_start ? 3 : 0));
        }
        is_open = !t->is_hidden;
    }
    vlm_text_put(out, "%s</p>\n", is_open ? "</bdi></span>" : "");
}

static void put_guess(vlm_text *out, const vlm_report_guess *g)
{
    vlm_text_put(out, "<li%s><span>", g->is_right ? " class=\"ok\"" : "");
    vlm_report_piece(out, g->piece);
    vlm_text_put(out,
                 "</span><span class=\"bar\"><i "
                 "style=\"width:%.1f%%\"></i></span><em>%.0f\xe2\x80\xaf%%</em></li>",
                 100.0 * fmin(fmax(g->share, 0.0), 1.0), 100.0 * g->share);
}

static void put_places(vlm_text *out, const vlm_report_example *e)
{
    int64_t shown = 0, left = 0, punctuation = 0;
    vlm_text_put(out, "<div class=\"places\">\n");
    for (int64_t k = 0; k < e->n_tokens; k++) {
        const vlm_report_token *t = &e->tokens[k];
        if (!t->is_hidden || !t->n_guesses) continue;
        if (ispunct((unsigned char)t->piece[0]) && !t->piece[1]) {
            punctuation++;
            continue;
        }
        if (shown == MAX_PLACES) {
            left++;
            continue;
        }
        shown++;
        vlm_text_put(out, "<div class=\"place\"><p>hidden: <b><bdi>");
        vlm_report_piece(out, t->piece);
        vlm_text_put(out, "</bdi></b>");
        if (t->shown[0] && t->shown[0] != '[') {
            vlm_text_put(out, "; saw <bdi>");
            vlm_report_piece(out, t->shown);
            vlm_text_put(out, "</bdi>");
        }
        vlm_text_put(out, "</p><ol>");
        for (int g = 0; g < t->n_guesses; g++) put_guess(out, &t->guess[g]);
        vlm_text_put(out, "</ol></div>\n");
    }
    vlm_text_put(out, "</div>\n");
    if (left + punctuation == 0) return;
    vlm_text_put(out, "<p class=\"key rest\">Not listed:");
    if (left)
        vlm_text_put(out, " %lld more hidden place%s%s", (long long)left, left > 1 ? "s" : "",
                     punctuation ? ";" : "");
    if (punctuation)
        vlm_text_put(out, " hidden punctuation in %lld place%s", (long long)punctuation,
                     punctuation > 1 ? "s" : "");
    vlm_text_put(out, "</p>\n");
}

static void put_text(vlm_text *out, const vlm_report_example *e)
{
    static const char *const streams[3] = {"image", "text", "pair"};
    vlm_text_put(out, "<div><p class=\"key\">%s %lld, <bdi>", streams[e->stream],
                 (long long)e->number);
    vlm_html_string(out, e->key);
    vlm_text_put(out, "</bdi></p>\n");
    if (e->tokens) {
        put_caption(out, e);
        put_places(out, e);
    }
    vlm_text_put(out, "</div>\n");
}

static void put_example(vlm_text *out, const vlm_report_example *e, int i)
{
    bool has_both = e->picture && e->tokens;
    vlm_text_put(out, "<div class=\"card ex%s\">\n", has_both ? "" : " alone");
    if (has_both) put_views(out, e, i, false);
    put_text(out, e);
    if (e->picture && !has_both) put_views(out, e, i, true);
    vlm_text_put(out, "</div>\n");
}

/* Pairs one below the other, images and texts two in a row. */
static void put_stream(vlm_text *out, const vlm_report_model *m, int stream, bool is_tokeniser)
{
    const char *class = stream == 2 ? "" : is_tokeniser ? " three" : " two";
    bool has_any = false;
    for (int i = 0; i < m->n_examples; i++) {
        if (m->examples[i].stream != stream) continue;
        if (!has_any) vlm_text_put(out, "<div class=\"examples%s\">\n", class);
        has_any = true;
        put_example(out, &m->examples[i], i);
    }
    if (has_any) vlm_text_put(out, "</div>\n");
}

void vlm_report_examples(vlm_text *out, const vlm_report *r)
{
    const vlm_report_model *m = r->model;
    bool is_tokeniser = r->task && !strcmp(r->task, "image_tokeniser");
    vlm_report_section(
        out, "examples", "Held-out examples",
        is_tokeniser
            ? "Pictures that were never trained on, and what their codes draw. Codes hold the "
              "shape of a "
              "patch; its mean and contrast are taken from the picture."
            : "Samples that were never trained on. Boxes in a text are hidden: the model's best "
              "guess, and "
              "below it the word where the guess is wrong; then its five best words and their "
              "probabilities. Codes hold the shape of a patch; its mean and contrast are taken "
              "from the "
              "picture.");
    if (r->model_missing) vlm_report_missing(out, r->model_missing);
    else if (!m || !m->n_examples)
        vlm_report_missing(out, "There are no held-out samples to show.");
    else if (!is_tokeniser && !m->has_decoder)
        vlm_report_missing(out,
                           "This model predicts no image codes, so there are no reconstructions.");
    static const int order[3] = {2, 0, 1};
    for (int i = 0; m && i < 3; i++) put_stream(out, m, order[i], is_tokeniser);
    vlm_report_section_end(out);
}
