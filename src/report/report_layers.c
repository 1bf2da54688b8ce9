/* The section of experts: for every sparse layer its loads now and over time, drops, entropy, routing on the examples, and what each
 * expert takes most. */
#include <math.h>
#include <stdio.h>
#include "report_chart.h"
#include "report_parts.h"

static const vlm_metrics_layer *recorded(const vlm_report *r, int64_t block, char modality)
{
    for (int i = 0; r->metrics && i < r->metrics->n_layers; i++)
        if (r->metrics->layers[i].block == block && r->metrics->layers[i].modality == modality)
            return &r->metrics->layers[i];
    return NULL;
}

/* ---- loads ---- */

static void put_load(vlm_text *out, int64_t e, const double *share, double most, double even)
{
    vlm_text_put(
        out,
        "<span class=\"id e%d\">%lld</span><div class=\"load e%d\"><i style=\"width:%.2f%%\"></i>",
        vlm_expert_class(e), (long long)e, vlm_expert_class(e), 100.0 * share[1] / most);
    if (share[0] > share[1])
        vlm_text_put(out, "<u style=\"left:%.2f%%;width:%.2f%%\"></u>", 100.0 * share[1] / most,
                     100.0 * (share[0] - share[1]) / most);
    vlm_text_put(out, "<s style=\"left:%.2f%%\"></s></div><em>", 100.0 * even / most);
    vlm_html_percent(out, share[0]);
    vlm_text_put(out, "</em>");
}

/* load, served [E] */
static void put_loads(vlm_text *out, int64_t E, const int64_t *load, const int64_t *served)
{
    int64_t all = 0, most = 0;
    for (int64_t e = 0; e < E; e++) {
        all += load[e];
        most = VLM_MAX(most, load[e]);
    }
    double even = 1.0 / (double)E, unit = (double)VLM_MAX(all, 1);
    double widest = fmax((double)most / unit, even) * 1.02;
    int64_t shown = VLM_MIN(E, 2 * VLM_REPORT_EXPERTS);
    vlm_text_put(out, "<div class=\"loads\">\n");
    for (int64_t e = 0; e < shown; e++)
        put_load(out, e, (double[]){(double)load[e] / unit, (double)served[e] / unit}, widest,
                 even);
    vlm_text_put(out, "</div>\n");
    if (shown < E)
        vlm_text_put(out, "<p class=\"soft rest\">and %lld more experts</p>\n",
                     (long long)(E - shown));
}

/* ---- heat: columns are times, rows experts, strength the share of tokens over an even share ---- */

static vlmoe_status put_heat(vlm_text *out, const vlm_metrics_layer *layer, int64_t steps,
                             vlmoe_error *error)
{
    enum { FULL = 3 }; /* three times the even share is the strongest colour */
    int64_t E = layer->E,
            n = VLM_MIN((steps + layer->heat_width - 1) / layer->heat_width, VLM_HEAT_BUCKETS);
    uint8_t *pixels = n > 0 ? vlm_alloc_array((size_t)(n * E), 4) : NULL;
    if (n < 1) return VLMOE_OK;
    if (!pixels) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a heat map");
    for (int64_t i = 0; i < n; i++) {
        double all = 0.0;
        for (int64_t e = 0; e < E; e++) all += layer->heat[i * E + e];
        for (int64_t e = 0; e < E; e++) {
            double over = all > 0 ? layer->heat[i * E + e] * (double)E / all : 0.0;
            uint8_t *p = pixels + (e * n + i) * 4;
            p[0] = 47, p[1] = 110, p[2] = 214;
            p[3] = (uint8_t)lround(255.0 * fmin(over / FULL, 1.0));
        }
    }
    long long height = (long long)VLM_MAX(VLM_MIN(E * 25, 800), 60);
    vlm_text_put(out, "<div class=\"heat\"><div class=\"ids\" style=\"height:%lldpx\">", height);
    int64_t every = (E + 31) / 32;
    for (int64_t e = 0; e < E; e += every) vlm_text_put(out, "<span>%lld</span>", (long long)e);
    vlm_text_put(
        out,
        "</div><img style=\"height:%lldpx\" alt=\"share of tokens of each expert by step\" src=\"",
        height);
    vlmoe_status st = vlm_html_png(out, n, E, 4, pixels, error);
    vlm_text_put(out, "\"><div class=\"steps\"><span>1</span><span>step ");
    vlm_html_count(out, steps);
    vlm_text_put(out, "</span></div></div>\n");
    vlm_free(pixels);
    return st;
}

static void put_course(vlm_text *out, const vlm_metrics_layer *layer)
{
    const vlm_chart charts[3] = {
        {.title = "Dropped in training",
         .note = "% of choices",
         .factor = 100.0,
         .from_zero = true},
        {.title = "Entropy of the gates", .note = "nats", .from_zero = true},
        {.title = "Load imbalance", .note = "deviation over mean", .from_zero = true}};
    const vlm_curve *const curves[3] = {&layer->dropped, &layer->entropy, &layer->load_cv};
    vlm_text_put(out, "<div class=\"four\">\n");
    for (int i = 0; i < 3; i++) {
        vlm_chart chart = charts[i];
        chart.is_small = true;
        chart.n_lines = 1;
        chart.lines[0] = (vlm_chart_line){NULL, 4, curves[i], NULL};
        vlm_chart_write(out, &chart);
    }
    vlm_text_put(out, "</div>\n");
}

/* ---- what experts take ---- */

static vlmoe_status put_crops(vlm_text *out, const vlm_report_layer *layer,
                              const vlm_report_expert *x, vlmoe_error *error)
{
    enum { ACROSS = 6, GAP = 1, SHOWN = 38 /* CSS pixels of a crop */ };
    int64_t c = layer->crop_side, across = VLM_MIN(x->n_crops, ACROSS),
            down = (x->n_crops + ACROSS - 1) / ACROSS;
    int64_t width = across * c + (across - 1) * GAP, height = down * c + (down - 1) * GAP;
    uint8_t *sheet = vlm_alloc_array((size_t)(width * height), 4);
    if (!sheet) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for patches of an expert");
    for (int k = 0; k < x->n_crops; k++)
        for (int64_t i = 0; i < c * c; i++) {
            int64_t px = (k % ACROSS) * (c + GAP) + i % c, py = (k / ACROSS) * (c + GAP) + i / c;
            uint8_t *p = sheet + (py * width + px) * 4;
            for (int j = 0; j < 3; j++) p[j] = x->crops[(k * c * c + i) * 3 + j];
            p[3] = 255;
        }
    vlm_text_put(
        out, "<img style=\"width:%lldpx\" alt=\"%d patches that expert %lld is surest of\" src=\"",
        (long long)across * SHOWN, x->n_crops, (long long)x->index);
    vlmoe_status st = vlm_html_png(out, width, height, 4, sheet, error);
    vlm_text_put(out, "\">");
    vlm_free(sheet);
    return st;
}

static void put_taken_words(vlm_text *out, const vlm_report_expert *x)
{
    vlm_text_put(out, "<ul>");
    for (int i = 0; i < x->n_words; i++) {
        const vlm_report_word *w = &x->words[i];
        vlm_text_put(out, "<li title=\"%lld of %lld\"><bdi>", (long long)w->n, (long long)w->all);
        vlm_report_piece(out, w->piece);
        vlm_text_put(out, "</bdi><small>%lld, \xc3\x97%.1f</small></li>", (long long)w->n, w->lift);
    }
    vlm_text_put(out, "</ul>");
}

static vlmoe_status put_expert(vlm_text *out, const vlm_report_layer *layer,
                               const vlm_report_expert *x, int64_t all, vlmoe_error *error)
{
    vlmoe_status st = VLMOE_OK;
    vlm_text_put(out, "<div class=\"expert e%d\"><p><span class=\"id\">%lld</span> <b>",
                 vlm_expert_class(x->index), (long long)x->index);
    vlm_html_percent(out, (double)x->tokens / (double)VLM_MAX(all, 1));
    vlm_text_put(out, "</b> of tokens");
    if (x->tokens && x->hidden) {
        vlm_text_put(out, " \xc2\xb7 %.0f\xe2\x80\xaf%% hidden",
                     100.0 * (double)x->hidden / (double)x->tokens);
    }
    vlm_text_put(out, "</p>");
    if (x->n_crops) st = put_crops(out, layer, x, error);
    if (x->n_words) put_taken_words(out, x);
    if (!x->n_crops && !x->n_words)
        vlm_text_put(out, "<p>%s</p>",
                     x->tokens ? "only hidden places and [I_CLS]" : "no held-out token comes here");
    vlm_text_put(out, "</div>\n");
    return st;
}

static vlmoe_status put_experts(vlm_text *out, const vlm_report_layer *layer, vlmoe_error *error)
{
    int64_t all = 0;
    for (int64_t e = 0; e < layer->E; e++) all += layer->expert_load[e];
    vlm_text_put(
        out, "<h3>What each expert takes</h3>\n<p class=\"soft\">%s</p>\n<div class=\"experts\">\n",
        layer->modality == 'v'
            ? "Open patches that its gate is surest of, at most one of a picture."
            : "Pieces that mark it: how many it took, and how many times more often than experts "
              "do on "
              "average. A dot stands before pieces inside a word.");
    vlmoe_status st = VLMOE_OK;
    for (int i = 0; i < layer->n_experts && !st; i++)
        st = put_expert(out, layer, &layer->experts[i], all, error);
    vlm_text_put(out, "</div>\n");
    if (layer->n_experts < layer->E)
        vlm_text_put(out, "<p class=\"soft rest\">and %lld more experts, each with less load</p>\n",
                     (long long)(layer->E - layer->n_experts));
    return st;
}

/* ---- panels ---- */

static void begin_panel(vlm_text *out, int64_t block, char modality)
{
    vlm_text_put(out, "<div class=\"panel\" id=\"layer-%lld-%c\" data-name=\"", (long long)block,
                 modality);
    vlm_report_layer_name(out, block, modality);
    vlm_text_put(out, "\"><h3>");
    vlm_report_layer_name(out, block, modality);
    vlm_text_put(out, "</h3>\n");
}

static vlmoe_status put_panel(vlm_text *out, const vlm_report *r, int i, vlmoe_error *error)
{
    const vlm_report_layer *layer = &r->model->layers[i];
    const vlm_metrics_layer *course = recorded(r, layer->block, layer->modality);
    begin_panel(out, layer->block, layer->modality);
    vlm_text_put(
        out, "<div class=\"two\"><figure class=\"card\"><figcaption><b>Load of held-out tokens</b> "
             "<span>hatched: dropped; dashed: an even share</span></figcaption>\n");
    put_loads(out, layer->E, layer->expert_load, layer->expert_served);
    vlm_text_put(out, "</figure>\n");
    if (course && r->metrics) {
        vlm_text_put(out, "<figure class=\"card\"><figcaption><b>Load over the run</b> "
                          "<span>strongest: three times "
                          "an even share, or more</span></figcaption>\n");
        VLM_TRY(put_heat(out, course, r->metrics->steps, error));
        vlm_text_put(out, "</figure>\n");
    }
    vlm_text_put(out, "</div>\n");
    if (course) put_course(out, course);
    vlm_report_routes(out, r, i);
    VLM_TRY(put_experts(out, layer, error));
    vlm_text_put(out, "</div>\n");
    return VLMOE_OK;
}

/* A layer that is known from the records alone. */
static vlmoe_status put_recorded(vlm_text *out, const vlm_report *r, int i, vlmoe_error *error)
{
    const vlm_metrics_layer *layer = &r->metrics->layers[i];
    begin_panel(out, layer->block, layer->modality);
    vlm_text_put(out, "<figure class=\"card\"><figcaption><b>Load over the run</b> "
                      "<span>strongest: three times an "
                      "even share, or more</span></figcaption>\n");
    VLM_TRY(put_heat(out, layer, r->metrics->steps, error));
    vlm_text_put(out, "</figure>\n");
    put_course(out, layer);
    vlm_text_put(out, "</div>\n");
    return VLMOE_OK;
}

static bool is_measured(const vlm_report *r, const vlm_metrics_layer *layer)
{
    for (int i = 0; r->model && i < r->model->n_layers; i++)
        if (r->model->layers[i].block == layer->block &&
            r->model->layers[i].modality == layer->modality)
            return true;
    return false;
}

static void put_note(vlm_text *out, const vlm_report *r)
{
    const vlm_report_model *m = r->model;
    if (!m || !m->n_layers) return;
    vlm_text_put(out, "<p class=\"about\">");
    if (m->capacity_factor > 0)
        vlm_text_put(
            out,
            "Held-out tokens are routed here with the capacity of training (factor %.4g, %s) and "
            "without router noise, so that drops can be seen",
            m->capacity_factor,
            m->is_priority ? "Batch Priority Routing" : "first come, first served");
    else vlm_text_put(out, "Experts have no capacity limit: nothing is dropped");
    vlm_text_put(out, "; %lld images, %lld texts and %lld pairs, groups: %lld.</p>\n",
                 (long long)m->samples[0], (long long)m->samples[1], (long long)m->samples[2],
                 (long long)m->groups);
}

void vlm_report_layers(vlm_text *out, const vlm_report *r, vlmoe_error *error)
{
    int n = r->model ? r->model->n_layers : 0, n_recorded = r->metrics ? r->metrics->n_layers : 0;
    vlmoe_status st = VLMOE_OK;
    vlm_report_section(
        out, "experts", "Experts",
        "Every sparse layer sends each token to experts of its own. Colours are the same on loads, "
        "pictures and words.");
    const char *missing = r->routes_missing ? r->routes_missing : r->model_missing;
    if (missing) vlm_report_missing(out, missing);
    else if (!n && !n_recorded)
        vlm_report_missing(out, "This model has no sparse layer, or none that met a token.");
    else put_note(out, r);
    vlm_text_put(out, "<div class=\"layers\">\n");
    for (int i = 0; i < n && !st; i++) st = put_panel(out, r, i, error);
    for (int i = 0; i < n_recorded && !st; i++)
        if (!is_measured(r, &r->metrics->layers[i])) st = put_recorded(out, r, i, error);
    vlm_text_put(out, "</div>\n");
    if (r->metrics && r->metrics->layers_left_out)
        vlm_report_missing(out,
                           "Some sparse layers of the records are left out: at most 64 are shown.");
    vlm_report_section_end(out);
}
