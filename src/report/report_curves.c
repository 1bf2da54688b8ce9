/* The section of curves: losses, accuracies, and how the run went. */
#include <math.h>
#include "report_chart.h"
#include "report_parts.h"

static const char *const short_names[4] = {"words of texts", "patches", "words of pairs",
                                           "patches of pairs"};

static void put_parts(vlm_text *out, const vlm_metrics *m, vlm_metric first, const char *title,
                      double factor)
{
    vlm_chart chart = {.title = title, .factor = factor, .from_zero = true};
    for (int part = 0; part < 4; part++) {
        const vlm_curve *train = &m->train[first + part], *held_out = &m->held_out[first + part];
        if (!train->used && !held_out->used) continue;
        const char *name = part == 1 ? "patches of images" : short_names[part];
        chart.lines[chart.n_lines++] = (vlm_chart_line){name, part, train, held_out};
    }
    vlm_chart_write(out, &chart);
}

static void put_one(vlm_text *out, const vlm_metrics *m, vlm_metric metric, const vlm_chart *kind)
{
    vlm_chart chart = *kind;
    chart.n_lines = 1;
    chart.lines[0] = (vlm_chart_line){NULL, 4, &m->train[metric], &m->held_out[metric]};
    vlm_chart_write(out, &chart);
}

static void put_pretraining(vlm_text *out, const vlm_metrics *m)
{
    vlm_text_put(out, "<div class=\"two\">\n");
    put_parts(out, m, VLM_METRIC_PART_LOSS, "Loss of hidden places, nats", 1.0);
    put_parts(out, m, VLM_METRIC_PART_RIGHT, "Hidden places right, %", 100.0);
    vlm_text_put(out, "</div>\n");
}

static void put_tokeniser(vlm_text *out, const vlm_metrics *m)
{
    const vlm_chart reconstruction = {.title = "Reconstruction error",
                                      .note = "share of a patch's variance",
                                      .from_zero = true},
                    commitment = {
                        .title = "Commitment", .note = "distance to the code", .from_zero = true};
    vlm_text_put(out, "<div class=\"two\">\n");
    put_one(out, m, VLM_METRIC_RECONSTRUCTION, &reconstruction);
    put_one(out, m, VLM_METRIC_COMMITMENT, &commitment);
    vlm_text_put(out, "</div>\n");
}

static void put_running(vlm_text *out, const vlm_metrics *m)
{
    const vlm_chart loss = {.title = "What was minimised",
                            .note = "all parts and balance losses",
                            .is_small = true},
                    lr = {.title = "Learning rate", .is_small = true, .from_zero = true},
                    norm = {.title = "Gradient norm",
                            .note = "before clipping",
                            .is_small = true,
                            .from_zero = true},
                    speed = {.title = "Samples a second", .is_small = true, .from_zero = true},
                    wait = {.title = "Waiting for data",
                            .note = "% of a step's time",
                            .factor = 100.0,
                            .is_small = true,
                            .from_zero = true},
                    dropped = {.title = "Choices dropped",
                               .note = "% of all sparse layers",
                               .factor = 100.0,
                               .is_small = true,
                               .from_zero = true},
                    usage = {.title = "Codes in use",
                             .note = "%, by moving counts",
                             .factor = 100.0,
                             .is_small = true,
                             .from_zero = true};
    vlm_metrics recorded = {0};
    /* Held out the loss is another sum, and drops have another capacity. */
    recorded.train[VLM_METRIC_LOSS] = m->train[VLM_METRIC_LOSS];
    recorded.train[VLM_METRIC_DROPPED] = m->train[VLM_METRIC_DROPPED];
    vlm_text_put(out, "<div class=\"four\">\n");
    put_one(out, &recorded, VLM_METRIC_LOSS, &loss);
    put_one(out, m, VLM_METRIC_CODE_USAGE, &usage);
    put_one(out, m, VLM_METRIC_LR, &lr);
    if (m->n_layers) put_one(out, &recorded, VLM_METRIC_DROPPED, &dropped);
    put_one(out, m, VLM_METRIC_GRAD_NORM, &norm);
    put_one(out, m, VLM_METRIC_SPEED, &speed);
    put_one(out, m, VLM_METRIC_WAIT, &wait);
    vlm_text_put(out, "</div>\n");
}

void vlm_report_curves(vlm_text *out, const vlm_report *r)
{
    const vlm_metrics *m = r->metrics;
    const vlm_report_task *task = vlm_report_task_of(r);
    vlm_report_section(
        out, "learning", "Learning",
        "Lines are training: faint as recorded (in a long run from the least to the greatest of "
        "neighbouring steps), strong as a moving mean. Dots are held-out data, "
        "which the model never trains on.");
    if (r->metrics_missing) vlm_report_missing(out, r->metrics_missing);
    if (m && !m->evaluations && m->steps)
        vlm_report_missing(
            out, "This run evaluated nothing: it has no held-out data, or it ended before its "
                 "first evaluation.");
    if (m && task) vlm_report_task_charts(out, m, task);
    else if (m && (m->train[VLM_METRIC_RECONSTRUCTION].used ||
                   m->held_out[VLM_METRIC_RECONSTRUCTION].used))
        put_tokeniser(out, m);
    else if (m) put_pretraining(out, m);
    if (m) put_running(out, m);
    if (m && m->odd_lines) {
        vlm_text text = {0};
        vlm_text_put(&text,
                     "%lld of %lld lines of the records could not be read, as a killed run leaves "
                     "them; they are "
                     "left out here.",
                     (long long)m->odd_lines, (long long)m->lines);
        if (text.data) vlm_report_missing(out, text.data);
        vlm_text_free(&text);
    }
    vlm_report_section_end(out);
}
