/* One layer's routing drawn on pictures and words. An expert's number stands beside its colour; what was dropped is hatched and
 * crossed out, or struck through. */
#include "report_parts.h"

enum {
    MAX_CELLS = 20000, /* patches drawn in all layers together: bounds the page */
    WIDE_GRID = 6      /* patches on a side from which on pictures are drawn larger */
};

/* ---- pictures ---- */

static bool is_dropped(const vlm_report_route *r)
{
    return r->served != VLM_SERVED_ALL;
}

/* Every patch of one class as one path, so that a picture of 196 patches stays small. */
static void put_cells(vlm_text *out, const vlm_report_example *e, const vlm_report_route *route)
{
    int64_t P = e->grid * e->grid;
    for (int k = 0; k < VLM_EXPERT_CLASSES; k++) {
        bool is_open = false;
        for (int64_t p = 0; p < P; p++) {
            if (vlm_expert_class(route[1 + p].expert) != k) continue;
            if (!is_open) vlm_text_put(out, "<g class=\"e%d\"><path class=\"cell\" d=\"", k);
            is_open = true;
            vlm_text_put(out, "M%lld %lldh1v1h-1z", (long long)(p % e->grid),
                         (long long)(p / e->grid));
        }
        if (is_open) vlm_text_put(out, "\"/></g>");
    }
}

static void put_dropped(vlm_text *out, const vlm_report_example *e, const vlm_report_route *route)
{
    vlm_text paths = {0};
    for (int64_t p = 0; p < e->grid * e->grid; p++) {
        if (!is_dropped(&route[1 + p])) continue;
        int64_t column = p % e->grid, row = p / e->grid;
        double x = (double)column, y = (double)row;
        vlm_text_put(&paths, "M%.2f %.2fl.4 .4m0-.4l-.4 .4", x + 0.45, y + 0.45);
    }
    if (paths.data) {
        vlm_text_put(out, "<path class=\"cross2\" d=\"%s\"/>", paths.data);
        vlm_text_put(out, "<path class=\"cross\" d=\"%s\"/>", paths.data);
    }
    vlm_text_free(&paths);
}

static void put_chips(vlm_text *out, const vlm_report_example *e, const vlm_report_route *route)
{
    double scale = e->grid > WIDE_GRID ? 1.5 : 1.0; /* many patches are drawn smaller */
    for (int64_t p = 0; p < e->grid * e->grid; p++) {
        const vlm_report_route *r = &route[1 + p];
        int64_t column = p % e->grid, row = p / e->grid;
        double x = (double)column + 0.05, y = (double)row + 0.05;
        double width = scale * (r->expert > 99 ? 0.52 : r->expert > 9 ? 0.42 : 0.3);
        vlm_text_put(
            out,
            "<g class=\"e%d\"><rect class=\"chip\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" "
            "height=\"%.2f\" rx=\".07\"/><text class=\"n%s\" x=\"%.2f\" y=\"%.2f\">%d</text></g>",
            vlm_expert_class(r->expert), x, y, width, 0.3 * scale, scale > 1.0 ? " m" : "",
            x + width / 2, y + 0.24 * scale, (int)r->expert);
    }
}

static void put_picture(vlm_text *out, const vlm_report_example *e, int i, int layer)
{
    const vlm_report_route *route = e->route[layer];
    int64_t dropped = 0;
    for (int64_t p = 0; p < e->grid * e->grid; p++) dropped += is_dropped(&route[1 + p]);
    vlm_text_put(out,
                 "<figure%s><svg viewBox=\"0 0 %lld %lld\" role=\"img\" aria-label=\"patches of "
                 "picture %d by "
                 "expert, %lld dropped\"><use href=\"#p%d\"/>",
                 e->grid > WIDE_GRID ? " class=\"wide\"" : "", (long long)e->grid,
                 (long long)e->grid, i, (long long)dropped, i);
    if (e->hidden && e->n_hidden) vlm_report_hidden(out, e, "hid");
    put_cells(out, e, route);
    put_dropped(out, e, route);
    put_chips(out, e, route);
    vlm_text_put(out, "</svg><figcaption>[I_CLS] to %d%s", (int)route[0].expert,
                 is_dropped(&route[0]) ? ", dropped" : "");
    if (dropped) vlm_text_put(out, "; %lld dropped", (long long)dropped);
    vlm_text_put(out, "</figcaption></figure>\n");
}

/* ---- words ---- */

static void put_word(vlm_text *out, const vlm_report_token *t, const vlm_report_route *r)
{
    const char *piece = t->is_hidden && t->shown[0] ? t->shown : t->piece;
    bool is_start = vlm_report_starts_word(piece) || piece[0] == '[';
    vlm_text_put(out, "<span class=\"w e%d%s%s%s\" title=\"", vlm_expert_class(r->expert),
                 is_start ? "" : " in", t->is_hidden ? " hide" : "", is_dropped(r) ? " drop" : "");
    if (t->is_hidden) {
        vlm_text_put(out, "hides ");
        vlm_report_piece(out, t->piece);
        vlm_text_put(out, "; ");
    }
    vlm_text_put(out, "expert %d, gate %.2f%s\"><sub>%d</sub><bdi>", (int)r->expert,
                 (double)r->gate,
                 r->served == VLM_SERVED_NONE   ? ", dropped"
                 : r->served == VLM_SERVED_SOME ? ", in part dropped"
                                                : "",
                 (int)r->expert);
    vlm_report_piece(out, piece);
    vlm_text_put(out, "</bdi></span>");
}

static void put_words(vlm_text *out, const vlm_report_example *e, int layer)
{
    bool has_picture = e->picture != NULL;
    vlm_text_put(out, "<p class=\"words\"><q>%s %lld</q>", has_picture ? "pair" : "text",
                 (long long)e->number);
    for (int64_t k = 0; k < e->n_tokens; k++) put_word(out, &e->tokens[k], &e->route[layer][k]);
    vlm_text_put(out, "</p>\n");
}

/* hides: something of the samples is hidden, which tuned tasks never do. */
static void put_legend(vlm_text *out, bool is_vision, bool hides)
{
    vlm_text_put(out, "<p class=\"legend\">");
    if (is_vision && hides)
        vlm_text_put(out, "<span><svg viewBox=\"0 0 1 1\"><rect class=\"hid\" width=\"1\" "
                          "height=\"1\"/></svg>hidden from the model</span>");
    else if (hides)
        vlm_text_put(out, "<span><span class=\"w hide\">[MASK]</span>hidden from the model</span>");
    if (is_vision)
        vlm_text_put(
            out,
            "<span><svg viewBox=\"0 0 1 1\"><rect "
            "width=\"1\" height=\"1\" fill=\"none\" stroke=\"currentColor\" "
            "stroke-width=\".05\"/><path class=\"cross2\" "
            "d=\"M.3 .3l.4 .4m0-.4l-.4 .4\"/><path class=\"cross\" d=\"M.3 .3l.4 "
            ".4m0-.4l-.4 .4\"/></svg>dropped: the expert was full</span><span>the number is the "
            "expert</span></p>\n");
    else
        vlm_text_put(out, "<span><span class=\"w drop\">word</span>dropped: the expert was "
                          "full</span><span>the number is the expert</span></p>\n");
}

void vlm_report_routes(vlm_text *out, const vlm_report *r, int layer)
{
    const vlm_report_model *m = r->model;
    const bool is_tuned = vlm_report_task_of(r) != NULL;
    bool is_vision = m->layers[layer].modality == 'v';
    int64_t cells = 0;
    int shown = 0;
    for (int i = 0; i < m->n_examples; i++) {
        const vlm_report_example *e = &m->examples[i];
        if (!e->route[layer] || (is_vision ? !e->picture : !e->tokens)) continue;
        cells += is_vision ? e->grid * e->grid : e->n_tokens;
        if (shown >= 2 && cells * m->n_layers > MAX_CELLS) break;
        if (!shown++) {
            vlm_text_put(out, "<h3>On the examples</h3>\n");
            put_legend(out, is_vision, !is_tuned);
            vlm_text_put(out,
                         is_vision ? "<div class=\"routed\">\n" : "<div class=\"card flow\">\n");
        }
        if (is_vision) put_picture(out, e, i, layer);
        else put_words(out, e, layer);
    }
    if (shown) vlm_text_put(out, "</div>\n");
}
