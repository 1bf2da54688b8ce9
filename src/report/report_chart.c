/* Line charts: training as a faint line, or a band where a point stands for several steps, with its smoothed course; held-out values
 * as dots. */
#include <math.h>
#include <stdio.h>
#include "report_chart.h"

/* Geometry in SVG units; the page scales it. */
typedef struct frame {
    double left, right, top, bottom; /* of the plot */
    double width, height;
    double x_low, x_high, y_low, y_high; /* values at its edges */
    double factor;
} frame;

static double mean_of(const vlm_curve_bucket *b)
{
    return b->sum / (double)b->n;
}

static double x_at(const frame *f, double step)
{
    double span = f->x_high - f->x_low;
    double at = span > 0 ? (step - f->x_low) / span : 0.5;
    return f->left + at * (f->right - f->left);
}

static double y_at(const frame *f, double value)
{
    double span = f->y_high - f->y_low;
    double at = span > 0 ? (value * f->factor - f->y_low) / span : 0.5;
    return f->bottom - at * (f->bottom - f->top);
}

/* ---- range ---- */

typedef struct range {
    double x_low, x_high, y_low, y_high;
    bool has_any;
} range;

static void widen(range *r, const vlm_curve *c)
{
    for (int64_t i = 0; c && i < c->used; i++) {
        const vlm_curve_bucket *b = &c->bucket[i];
        if (!b->n) continue;
        double step = b->step / (double)b->n, value = mean_of(b), half = 0.5 * (double)(b->n - 1);
        r->x_high = r->has_any ? fmax(r->x_high, step + half) : step + half;
        r->x_low = r->has_any ? fmin(r->x_low, step - half) : step - half;
        r->y_high = r->has_any ? fmax(r->y_high, value) : value;
        r->y_low = r->has_any ? fmin(r->y_low, value) : value;
        r->has_any = true;
    }
}

void vlm_chart_ticks(double low, double high, int n, double *first, double *distance)
{
    double span = high - low;
    if (!(span > 0) || !isfinite(span)) {
        *first = low;
        *distance = 1.0;
        return;
    }
    double raw = span / (double)VLM_MAX(n, 1), ten = pow(10.0, floor(log10(raw)));
    double lead = raw / ten;
    *distance = ten * (lead <= 1.0 ? 1.0 : lead <= 2.0 ? 2.0 : lead <= 5.0 ? 5.0 : 10.0);
    *first = ceil(low / *distance - 1e-9) * *distance;
}

static frame make_frame(const vlm_chart *chart, const range *r)
{
    double factor = chart->factor > 0 ? chart->factor : 1.0;
    frame f = {.width = chart->is_small ? 360 : 560,
               .height = chart->is_small ? 178 : 290,
               .left = chart->is_small ? 44 : 46,
               .top = 12,
               .factor = factor};
    bool has_names = false;
    for (int i = 0; i < chart->n_lines; i++) has_names = has_names || chart->lines[i].name;
    f.right = f.width - (has_names ? 128 : 14);
    f.bottom = f.height - 26;
    f.x_low = r->x_low <= 2 ? 0 : r->x_low;
    f.x_high = r->x_high;
    f.y_low = r->y_low * factor;
    f.y_high = r->y_high * factor;
    if (chart->from_zero) {
        f.y_low = fmin(f.y_low, 0.0);
        f.y_high = fmax(f.y_high, 0.0);
    }
    double span = f.y_high - f.y_low;
    if (!(span > 0)) { /* equal values: they stand below the upper edge */
        span = f.y_high != 0.0 ? 0.2 * fabs(f.y_high) : 1.0;
        f.y_high += span;
    }
    f.y_high += 0.04 * span;
    if (f.y_low != 0.0) f.y_low -= 0.04 * span;
    return f;
}

/* ---- axes ---- */

static void put_step(vlm_text *out, double step)
{
    if (step >= 1e6) vlm_text_put(out, "%.3g M", step * 1e-6);
    else if (step >= 1e4) vlm_text_put(out, "%.3g k", step * 1e-3);
    else vlm_text_put(out, "%.4g", step);
}

static void put_axes(vlm_text *out, const frame *f, bool is_small)
{
    double first = 0, distance = 1;
    vlm_chart_ticks(f->y_low, f->y_high, is_small ? 4 : 5, &first, &distance);
    for (int i = 0; i < 12; i++) {
        double value = first + i * distance;
        if (value > f->y_high + 1e-9 * distance) break;
        double y = y_at(f, value / f->factor);
        vlm_text_put(out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", f->left, y, f->right);
        vlm_text_put(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
                     f->left - 7, y + 3.6);
        vlm_html_number(out, fabs(value) < 1e-9 * distance ? 0.0 : value);
        vlm_text_put(out, "</text>");
    }
    vlm_chart_ticks(f->x_low, f->x_high, is_small ? 4 : 5, &first, &distance);
    distance = fmax(distance, 1.0); /* there are no half steps */
    first = ceil(first);
    for (int i = 0; i < 12; i++) {
        double step = first + i * distance;
        if (step > f->x_high + 1e-9 * distance) break;
        vlm_text_put(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                     x_at(f, step), f->bottom + 17);
        put_step(out, step);
        vlm_text_put(out, "</text>");
    }
    vlm_text_put(out, "<path class=\"base\" d=\"M%.1f %.1fH%.1f\"/>", f->left, f->bottom, f->right);
}

/* ---- lines ---- */

static void put_path(vlm_text *out, const frame *f, const vlm_curve *c, int64_t reach,
                     const char *class)
{
    char pen = 'M';
    vlm_text_put(out, "<path class=\"%s\" d=\"", class);
    for (int64_t i = 0; i < c->used; i++) {
        const vlm_curve_bucket *b = &c->bucket[i];
        double sum = 0.0;
        int64_t n = 0;
        if (!b->n) {
            if (reach == 0 && c->width > 1) pen = 'M'; /* a gap: nothing was finite there */
            continue;
        }
        for (int64_t k = VLM_MAX(i - reach, 0); k <= VLM_MIN(i + reach, c->used - 1); k++) {
            sum += c->bucket[k].sum;
            n += c->bucket[k].n;
        }
        vlm_text_put(out, "%c%.1f %.1f", pen, x_at(f, b->step / (double)b->n),
                     y_at(f, sum / (double)n));
        pen = 'L';
    }
    vlm_text_put(out, "\"/>");
}

/* Least to greatest value of each bucket, as far as the plot reaches: what the means of a long run hide. */
static void put_band(vlm_text *out, const frame *f, const vlm_curve *c)
{
    vlm_text_put(out, "<path class=\"band\" d=\"");
    char pen = 'M';
    for (int64_t k = 0; k < 2 * c->used; k++) {
        bool is_back = k >= c->used;
        const vlm_curve_bucket *b = &c->bucket[is_back ? 2 * c->used - 1 - k : k];
        if (!b->n) continue;
        double y = y_at(f, is_back ? b->min : b->max);
        vlm_text_put(out, "%c%.1f %.1f", pen, x_at(f, b->step / (double)b->n),
                     fmin(fmax(y, f->top), f->bottom));
        pen = 'L';
    }
    vlm_text_put(out, "z\"/>");
}

static void put_dots(vlm_text *out, const frame *f, const vlm_curve *c)
{
    int64_t points = vlm_curve_points(c);
    if (points > 1) put_path(out, f, c, 0, "between");
    for (int64_t i = 0; i < c->used; i++) {
        const vlm_curve_bucket *b = &c->bucket[i];
        if (!b->n) continue;
        double step = b->step / (double)b->n;
        vlm_text_put(out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>step ",
                     x_at(f, step), y_at(f, mean_of(b)), points > 40 ? "1.8" : "3.6");
        vlm_html_number(out, step);
        vlm_text_put(out, ", held out: ");
        vlm_html_number(out, mean_of(b) * f->factor);
        vlm_text_put(out, "</title></circle>");
    }
}

static void put_line(vlm_text *out, const frame *f, const vlm_chart_line *line)
{
    vlm_text_put(out, "<g class=\"c%d\">", line->colour);
    if (line->train && line->train->used) {
        int64_t points = vlm_curve_points(line->train), reach = points / 60;
        if (points == 1) {
            vlm_text_put(out, "<circle class=\"one\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"/>",
                         x_at(f, f->x_high), y_at(f, vlm_curve_last(line->train)));
        } else {
            if (line->train->width > 1) put_band(out, f, line->train);
            else if (reach) put_path(out, f, line->train, 0, "raw");
            put_path(out, f, line->train, reach, "line");
        }
    }
    if (line->held_out && line->held_out->used) put_dots(out, f, line->held_out);
    vlm_text_put(out, "</g>");
}

/* ---- names at the ends of lines, moved apart where they would overlap ---- */

static double end_of(const vlm_chart_line *line)
{
    double held_out = line->held_out ? vlm_curve_last(line->held_out) : NAN;
    return isfinite(held_out) || !line->train ? held_out : vlm_curve_last(line->train);
}

static void put_names(vlm_text *out, const frame *f, const vlm_chart *chart)
{
    enum { APART = 30 };
    double y[VLM_CHART_LINES];
    int order[VLM_CHART_LINES], n = 0;
    for (int i = 0; i < chart->n_lines; i++) {
        double value = end_of(&chart->lines[i]);
        if (!chart->lines[i].name || !isfinite(value)) continue;
        int at = n++;
        double here = y_at(f, value);
        for (; at > 0 && y[at - 1] > here; at--) {
            y[at] = y[at - 1];
            order[at] = order[at - 1];
        }
        y[at] = here;
        order[at] = i;
    }
    for (int i = 1; i < n; i++) y[i] = fmax(y[i], y[i - 1] + APART);
    double over = n ? y[n - 1] - (f->bottom - 10) : 0.0;
    for (int i = n - 1; i >= 0 && over > 0; i--) {
        y[i] -= over;
        over = i ? y[i - 1] + APART - y[i] : 0.0;
    }
    for (int i = 0; i < n; i++) {
        const vlm_chart_line *line = &chart->lines[order[i]];
        vlm_text_put(out, "<g class=\"c%d\"><text class=\"name\" x=\"%.1f\" y=\"%.1f\">",
                     line->colour, f->right + 10, y[i] + 1);
        vlm_html_string(out, line->name);
        vlm_text_put(out, "</text></g><text class=\"value\" x=\"%.1f\" y=\"%.1f\">", f->right + 10,
                     y[i] + 14);
        vlm_html_number(out, end_of(line) * f->factor);
        vlm_text_put(out, "</text>");
    }
}

void vlm_chart_write(vlm_text *out, const vlm_chart *chart)
{
    range r = {0};
    for (int i = 0; i < chart->n_lines; i++) {
        widen(&r, chart->lines[i].train);
        widen(&r, chart->lines[i].held_out);
    }
    if (!r.has_any) return;
    frame f = make_frame(chart, &r);
    vlm_text_put(out, "<figure class=\"chart%s\"><figcaption><b>", chart->is_small ? " small" : "");
    vlm_html_string(out, chart->title);
    vlm_text_put(out, "</b>");
    if (chart->note) {
        vlm_text_put(out, " <span>");
        vlm_html_string(out, chart->note);
        vlm_text_put(out, "</span>");
    }
    vlm_text_put(out, "</figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"",
                 f.width, f.height);
    vlm_html_string(out, chart->title);
    vlm_text_put(out, " by step\">");
    put_axes(out, &f, chart->is_small);
    for (int i = 0; i < chart->n_lines; i++) put_line(out, &f, &chart->lines[i]);
    put_names(out, &f, chart);
    vlm_text_put(out, "</svg></figure>\n");
}
