/* Charts as SVG that follows the page's colours. */
#ifndef VLM_REPORT_CHART_H
#define VLM_REPORT_CHART_H

#include "report_curve.h"
#include "report_html.h"

enum { VLM_CHART_LINES = 6 };

typedef struct vlm_chart_line {
    const char *name;      /* at the line's end; NULL = unnamed */
    int colour;            /* 0..5: a class of the style sheet */
    const vlm_curve *train, *held_out; /* NULL = none */
} vlm_chart_line;

typedef struct vlm_chart {
    const char *title, *note; /* note NULL = none */
    double factor;            /* multiplies values, e.g. 100 for percent; 0 = 1 */
    bool from_zero, is_small;
    int n_lines;
    vlm_chart_line lines[VLM_CHART_LINES];
} vlm_chart;

/* Nothing when no line has a point. */
void vlm_chart_write(vlm_text *out, const vlm_chart *chart);

/* Round marks of an axis from low to high, about n of them: the first at or above low, and their distance. */
void vlm_chart_ticks(double low, double high, int n, double *first, double *distance);

#endif
