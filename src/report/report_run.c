/* The sections at the end: drops by task, image codes, and what the run was. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "config_table.h"
#include "report_parts.h"

/* ---- drops ---- */

static void put_drop_rows(vlm_text *out, const vlm_report_model *m)
{
    int64_t load[VLM_REPORT_SETS] = {0}, served[VLM_REPORT_SETS] = {0};
    vlm_text_put(out, "<div class=\"scroll\"><table><thead><tr><th>layer</th>");
    for (int s = 0; s < VLM_REPORT_SETS; s++)
        vlm_text_put(out, "<th class=\"num\">%s</th>", vlm_report_set_names[s]);
    vlm_text_put(out, "</tr></thead><tbody>\n");
    for (int i = 0; i <= m->n_layers; i++) {
        const vlm_report_layer *layer = i < m->n_layers ? &m->layers[i] : NULL;
        vlm_text_put(out, "<tr><td>");
        if (layer) vlm_report_layer_name(out, layer->block, layer->modality);
        else vlm_text_put(out, "<b>all</b>");
        vlm_text_put(out, "</td>");
        for (int s = 0; s < VLM_REPORT_SETS; s++) {
            if (layer) {
                load[s] += layer->load[s];
                served[s] += layer->served[s];
            }
            int64_t of = layer ? layer->load[s] : load[s],
                    kept = layer ? layer->served[s] : served[s];
            vlm_text_put(out, "<td class=\"num\">");
            vlm_html_percent(out, of ? (double)(of - kept) / (double)of : NAN);
            vlm_text_put(out, "</td>");
        }
        vlm_text_put(out, "</tr>\n");
    }
    vlm_text_put(out, "</tbody></table></div>\n");
}

void vlm_report_drops(vlm_text *out, const vlm_report *r)
{
    if (vlm_report_task_of(r))
        vlm_report_section(out, "drops", "Drops",
                           "Share of choices that a full expert turned away, with the capacity of "
                           "training. A dash: no such tokens in this layer.");
    else
        vlm_report_section(out, "drops", "Drops by task",
                           "Share of choices that a full expert turned away, by the task that the "
                           "tokens belong to, with the capacity of training. A dash: no such "
                           "tokens in this layer.");
    const char *missing = r->routes_missing ? r->routes_missing : r->model_missing;
    if (missing) vlm_report_missing(out, missing);
    else if (!r->model || !r->model->n_layers)
        vlm_report_missing(out, "There are no sparse layers.");
    else if (r->model->capacity_factor > 0) put_drop_rows(out, r->model);
    else vlm_report_missing(out, "Nothing can be dropped: moe.capacity_factor is 0.");
    vlm_report_section_end(out);
}

/* ---- codes ---- */

static int by_count(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Codes by frequency as bars; neighbours share a bar where there are many. */
static void put_code_bars(vlm_text *out, const int64_t *sorted, int64_t n)
{
    enum { BARS = 256 };
    int64_t each = (n + BARS - 1) / BARS, bars = (n + each - 1) / each;
    double most = (double)VLM_MAX(sorted[0], 1), width = 1000.0 / (double)bars;
    vlm_text_put(
        out,
        "<svg viewBox=\"0 0 1000 150\" role=\"img\" aria-label=\"how often each code is used, most "
        "used first\" class=\"c4\"><path fill=\"var(--c)\" d=\"");
    for (int64_t i = 0; i < bars; i++) {
        double sum = 0.0;
        int64_t k = i * each, end = VLM_MIN(k + each, n);
        for (int64_t c = k; c < end; c++) sum += (double)sorted[c];
        double height = 140.0 * sum / (double)(end - k) / most;
        vlm_text_put(out, "M%.1f 148v-%.1fh%.1fv%.1fz", (double)i * width, height, width * 0.82,
                     height);
    }
    vlm_text_put(out, "\"/><path class=\"base\" d=\"M0 148.5H1000\"/></svg>");
}

static void put_codes(vlm_text *out, const vlm_report_model *m)
{
    int64_t *sorted = vlm_alloc_array((size_t)m->codes, sizeof *sorted), used = 0, all = 0;
    double entropy = 0.0;
    if (!sorted) {
        out->failed = true;
        return;
    }
    memcpy(sorted, m->code_count, (size_t)m->codes * sizeof *sorted);
    qsort(sorted, (size_t)m->codes, sizeof *sorted, by_count);
    for (int64_t c = 0; c < m->codes; c++) {
        all += sorted[c];
        used += sorted[c] > 0;
    }
    for (int64_t c = 0; c < used; c++)
        entropy -= (double)sorted[c] / (double)all * log((double)sorted[c] / (double)all);
    vlm_text_put(out,
                 "<figure class=\"chart\"><figcaption><b>%lld of %lld codes in use</b> <span>by ",
                 (long long)used, (long long)m->codes);
    vlm_html_count(out, all);
    vlm_text_put(out,
                 " patches of held-out pictures; as even as %.0f equally frequent codes; most used "
                 "first</span></figcaption>",
                 exp(entropy));
    if (used) put_code_bars(out, sorted, m->codes);
    vlm_text_put(out, "</figure>\n");
    vlm_free(sorted);
}

void vlm_report_codes(vlm_text *out, const vlm_report *r)
{
    vlm_report_section(out, "codes", "Image codes",
                       "The image tokeniser turns each patch into one of its codes; hidden patches "
                       "are predicted as "
                       "codes.");
    if (r->model_missing) vlm_report_missing(out, r->model_missing);
    else if (r->model && r->model->codes && r->model->code_count) put_codes(out, r->model);
    else vlm_report_missing(out, "This model has no image codes.");
    vlm_report_section_end(out);
}

/* ---- the run ---- */

static void put_fact(vlm_text *out, const char *name, const char *value)
{
    if (!value || !value[0]) return;
    vlm_text_put(out, "<dt>%s</dt><dd><bdi>", name);
    vlm_html_string(out, value);
    vlm_text_put(out, "</bdi></dd>\n");
}

static void put_facts(vlm_text *out, const vlm_report *r)
{
    const vlm_metrics *m = r->metrics;
    vlm_text_put(out, "<dl class=\"facts\">\n");
    put_fact(out, "ended", r->ending);
    put_fact(out, "checkpoint", r->checkpoint);
    put_fact(out, "records", r->metrics_path);
    put_fact(out, "libvlmoe", r->library);
    put_fact(out, "device", r->device);
    if (r->model && r->model->parameters) {
        vlm_text_put(out, "<dt>parameters</dt><dd>");
        vlm_html_count(out, r->model->parameters);
        vlm_text_put(out, "</dd>\n");
    }
    if (m && m->steps) {
        vlm_text_put(out, "<dt>steps, samples</dt><dd>");
        vlm_html_count(out, m->steps);
        vlm_text_put(out, " and ");
        vlm_html_count(out, m->samples);
        vlm_text_put(out, "</dd>\n<dt>time</dt><dd>");
        vlm_html_seconds(out, m->seconds);
        vlm_text_put(out, " in steps and %lld evaluations</dd>\n", (long long)m->evaluations);
    }
    vlm_text_put(out, "</dl>\n");
}

static void put_differences(vlm_text *out, const vlmoe_config *config, const vlmoe_config *standard)
{
    vlm_text_put(out, "<h3>Settings that differ from their defaults</h3>\n<div "
                      "class=\"scroll\"><table><thead><tr>"
                      "<th>key</th><th>value</th><th>default</th></tr></thead><tbody>\n");
    for (int i = 0; i < vlm_n_keys; i++) {
        vlm_text value = {0}, usual = {0};
        vlm_key_write(&vlm_keys[i], config, &value);
        vlm_key_write(&vlm_keys[i], standard, &usual);
        if (value.data && usual.data && strcmp(value.data, usual.data)) {
            vlm_text_put(out, "<tr><td><code title=\"");
            vlm_html_string(out, vlm_keys[i].help);
            vlm_text_put(out, "\">%s.%s</code></td><td><code><bdi>", vlm_keys[i].section,
                         vlm_keys[i].name);
            vlm_html_string(out, value.data);
            vlm_text_put(out, "</bdi></code></td><td class=\"soft\"><code>");
            vlm_html_string(out, usual.data);
            vlm_text_put(out, "</code></td></tr>\n");
        }
        vlm_text_free(&value);
        vlm_text_free(&usual);
    }
    vlm_text_put(out, "</tbody></table></div>\n");
}

void vlm_report_settings(vlm_text *out, const vlm_report *r)
{
    vlm_report_section(out, "run", "The run", NULL);
    put_facts(out, r);
    if (r->config && r->standard) {
        vlm_text whole = {0};
        put_differences(out, r->config, r->standard);
        vlm_config_write(r->config, false, &whole);
        vlm_text_put(out, "<details><summary>The whole config</summary><pre>");
        vlm_html_string(out, whole.data);
        vlm_text_put(out, "</pre></details>\n");
        if (whole.failed) out->failed = true;
        vlm_text_free(&whole);
    }
    vlm_report_section_end(out);
}
