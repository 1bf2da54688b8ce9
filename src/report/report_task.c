/* What a page says of a tuned task: its name, key figures, curves, and all scores of an evaluation. Its examples: report_questions.c. */
#include <math.h>
#include <string.h>
#include "report_chart.h"
#include "report_parts.h"

static const vlm_report_task tasks[] = {
    {.name = "vqa",
     .title = "Tuning on visual question answering",
     .kind = VLM_KIND_ANSWERS,
     .metric = VLM_METRIC_ACCURACY,
     .chart = "Accuracy, %",
     .note = "summed over answers",
     .about =
         "Questions that were never trained on, and the five likeliest answers. Each answer is "
         "judged "
         "by itself, so shares need not add up to one. A number beside a right answer is its score "
         "where annotators did not agree.",
     .tile = {{"accuracy", "VQA accuracy", "of held-out questions"},
              {"accuracy ", NULL, "VQA accuracy by kind of answer"}}},
    {.name = "nlvr2",
     .title = "Tuning on statements about two pictures",
     .kind = VLM_KIND_ANSWERS,
     .metric = VLM_METRIC_ACCURACY,
     .chart = "Accuracy, %",
     .about = "Statements that were never trained on, the two pictures that they are about, and "
              "how sure the "
              "model is.",
     .tile = {{"accuracy", "accuracy", "of held-out statements"},
              {"consistency", "consistency", "sentences right with each of their pictures"}}},
    {.name = "retrieval",
     .title = "Tuning on finding texts for pictures and pictures for texts",
     .kind = VLM_KIND_SEARCH,
     .metric = VLM_METRIC_RECALL,
     .own = 2,
     .chart = "Recall, %",
     .about = "Pictures that were never trained on with the five best of all held-out texts, and "
              "texts with "
              "the five best pictures. Texts that are equal stand for each other.",
     .tile = {{"text R@1", "texts found first", NULL},
              {"image R@1", "pictures found first", NULL},
              {"recall", "mean of six recalls", "R@1, R@5 and R@10, both ways"}}},
    {.name = "classify",
     .title = "Tuning on classes of pictures",
     .kind = VLM_KIND_ANSWERS,
     .metric = VLM_METRIC_TOP1,
     .chart = "Right, %",
     .about = "Pictures that were never trained on, and the five likeliest classes.",
     .tile = {{"top1", "top-1", "likeliest class right, held out"},
              {"top5", "top-5", "among the five likeliest"}}},
    {.name = "nli",
     .title = "Tuning on what follows from a text",
     .kind = VLM_KIND_ANSWERS,
     .metric = VLM_METRIC_ACCURACY,
     .chart = "Accuracy, %",
     .about = "Premise and hypothesis that were never trained on, and how sure the model is.",
     .tile = {{"accuracy", "accuracy", "of held-out pairs of texts"},
              {"accuracy ", NULL, "accuracy of this part"}}},
};

const vlm_report_task *vlm_report_task_of(const vlm_report *r)
{
    for (int i = 0; r->task && i < VLM_COUNT(tasks); i++)
        if (!strcmp(tasks[i].name, r->task)) return &tasks[i];
    return NULL;
}

/* Of the newest evaluation in the records, or else what the checkpoint reached for this page. NULL: none. */
static const vlm_named_scores *scores_of(const vlm_report *r)
{
    if (r->metrics && r->metrics->scores.n) return &r->metrics->scores;
    return r->model && r->model->scores.n ? &r->model->scores : NULL;
}

/* ---- key figures ---- */

static void put_share(vlm_text *out, const char *name, double share)
{
    if (!isfinite(share)) return;
    vlm_text_put(out, "; %s ", name);
    vlm_html_percent(out, share);
}

/* The best evaluation, where it was not the last. */
static void put_best(vlm_text *out, const vlm_curve *c, double last)
{
    const vlm_curve_bucket *best = NULL;
    for (int64_t i = 0; i < c->used; i++)
        if (c->bucket[i].n && (!best || c->bucket[i].max > best->max)) best = &c->bucket[i];
    if (!best || !(best->max > last)) return;
    vlm_text_put(out, "; best ");
    vlm_html_percent(out, best->max);
    vlm_text_put(out, " at step ");
    vlm_html_count(out, (int64_t)(best->step / (double)best->n));
}

static void put_ranks(vlm_text *out, const vlm_named_scores *s, bool of_texts)
{
    static const char *const keys[2][3] = {{"image R@5", "image R@10", "dual image R@1"},
                                           {"text R@5", "text R@10", "dual text R@1"}};
    const char *const *key = keys[of_texts];
    vlm_text_put(out, "R@1, held out");
    put_share(out, "R@5", vlm_named_score_of(s, key[0]));
    put_share(out, "R@10", vlm_named_score_of(s, key[1]));
    put_share(out, "before reading together", vlm_named_score_of(s, key[2]));
}

static void put_tile(vlm_text *out, const vlm_report *r, const vlm_report_task *task, int at)
{
    const vlm_named_scores *s = scores_of(r);
    const double value = vlm_named_score_of(s, task->tile[at].key);
    if (!isfinite(value)) return;
    vlm_report_begin_tile(out, task->tile[at].label);
    vlm_html_percent(out, value);
    vlm_text_put(out, "<small>");
    if (task->tile[at].small) vlm_html_string(out, task->tile[at].small);
    else put_ranks(out, s, !strncmp(task->tile[at].key, "text", 4));
    if (!at && task->kind == VLM_KIND_ANSWERS) {
        put_share(out, "chance", vlm_named_score_of(s, "chance"));
        put_share(out, "always the commonest", vlm_named_score_of(s, "majority"));
    }
    if (r->metrics && at == task->own) put_best(out, &r->metrics->held_out[task->metric], value);
    vlm_text_put(out, "</small>");
    vlm_report_end_tile(out);
}

/* Each score that begins with the tile's key: "accuracy yes/no". */
static void put_kinds(vlm_text *out, const vlm_report *r, const vlm_report_task *task, int at)
{
    enum { MOST = 3 };
    const vlm_named_scores *s = scores_of(r);
    const size_t n = strlen(task->tile[at].key);
    int shown = 0;
    for (int i = 0; i < s->n && shown < MOST; i++) {
        if (strncmp(s->at[i].name, task->tile[at].key, n)) continue;
        shown++;
        vlm_report_begin_tile(out, s->at[i].name + n);
        vlm_html_percent(out, s->at[i].value);
        vlm_text_put(out, "<small>%s</small>", task->tile[at].small);
        vlm_report_end_tile(out);
    }
}

void vlm_report_task_tiles(vlm_text *out, const vlm_report *r, const vlm_report_task *task)
{
    if (!scores_of(r)) return;
    for (int i = 0; i < VLM_COUNT(task->tile) && task->tile[i].key; i++)
        if (task->tile[i].label) put_tile(out, r, task, i);
        else put_kinds(out, r, task, i);
}

/* ---- curves ---- */

/* A line of a chart; a metric of VLM_N_METRICS is none. */
static void add_line(vlm_chart *chart, const vlm_metrics *m, const char *name, vlm_metric train,
                     vlm_metric held_out)
{
    const vlm_curve *a = train < VLM_N_METRICS ? &m->train[train] : NULL,
                    *b = held_out < VLM_N_METRICS ? &m->held_out[held_out] : NULL;
    if (!(a && a->used) && !(b && b->used)) return;
    chart->lines[chart->n_lines] = (vlm_chart_line){name, chart->n_lines, a, b};
    chart->n_lines++;
}

static void put_answers(vlm_text *out, const vlm_metrics *m, const vlm_report_task *task)
{
    const bool is_soft = !strcmp(task->name, "vqa");
    vlm_chart loss = {.title = "Loss, nats", .note = task->note, .from_zero = true},
              score = {.title = task->chart, .factor = 100.0, .from_zero = true};
    add_line(&loss, m, "loss", VLM_METRIC_TASK_LOSS, VLM_METRIC_TASK_LOSS);
    if (is_soft) {
        add_line(&score, m, "soft score", VLM_METRIC_TASK_SCORE, VLM_METRIC_TASK_SCORE);
        add_line(&score, m, "accuracy", VLM_N_METRICS, VLM_METRIC_ACCURACY);
    } else {
        add_line(&score, m, task->tile[0].label, VLM_METRIC_TASK_SCORE, task->metric);
        add_line(&score, m, "consistency", VLM_N_METRICS, VLM_METRIC_CONSISTENCY);
        add_line(&score, m, "top-5", VLM_N_METRICS, VLM_METRIC_TOP5);
    }
    vlm_text_put(out, "<div class=\"two\">\n");
    vlm_chart_write(out, &loss);
    vlm_chart_write(out, &score);
    vlm_text_put(out, "</div>\n");
}

static void put_small(vlm_text *out, const vlm_metrics *m, vlm_metric metric, const char *title,
                      double factor)
{
    vlm_chart chart = {.title = title, .factor = factor, .is_small = true, .from_zero = true};
    add_line(&chart, m, NULL, metric, VLM_N_METRICS);
    if (chart.n_lines) chart.lines[0].colour = 4;
    vlm_chart_write(out, &chart);
}

static void put_search(vlm_text *out, const vlm_metrics *m, const vlm_report_task *task)
{
    vlm_chart loss = {.title = "Loss, nats", .note = "training", .from_zero = true},
              recall = {.title = task->chart,
                        .note = "among all held-out pictures and texts",
                        .factor = 100.0,
                        .from_zero = true};
    add_line(&loss, m, "contrastive", VLM_METRIC_CONTRASTIVE_LOSS, VLM_N_METRICS);
    add_line(&loss, m, "matching", VLM_METRIC_MATCHING_LOSS, VLM_N_METRICS);
    add_line(&recall, m, "texts, R@1", VLM_N_METRICS, VLM_METRIC_TEXT_FIRST);
    add_line(&recall, m, "pictures, R@1", VLM_N_METRICS, VLM_METRIC_IMAGE_FIRST);
    add_line(&recall, m, "mean of six", VLM_N_METRICS, VLM_METRIC_RECALL);
    vlm_text_put(out, "<div class=\"two\">\n");
    vlm_chart_write(out, &loss);
    vlm_chart_write(out, &recall);
    vlm_text_put(out, "</div>\n<div class=\"four\">\n");
    put_small(out, m, VLM_METRIC_TEXT_IN_GROUP, "Texts found within the group, %", 100.0);
    put_small(out, m, VLM_METRIC_IMAGE_IN_GROUP, "Pictures found within the group, %", 100.0);
    put_small(out, m, VLM_METRIC_MATCHING, "Matching right, %", 100.0);
    put_small(out, m, VLM_METRIC_TEMPERATURE, "Temperature", 1.0);
    vlm_text_put(out, "</div>\n");
}

void vlm_report_task_charts(vlm_text *out, const vlm_metrics *m, const vlm_report_task *task)
{
    if (task->kind == VLM_KIND_SEARCH) put_search(out, m, task);
    else put_answers(out, m, task);
}

/* ---- all scores ---- */

static const struct {
    const char *key, *about;
    bool is_number; /* not a share */
} known[] = {
    {"loss", "of the task, mean over samples", true},
    {"task_loss", NULL, true}, /* the same */
    {"score", "mean score of the likeliest class, by the labels of the set", false},
    {"accuracy",
     "share right; of questions by the official rules where the set has annotators' answers",
     false},
    {"consistency", "sentences that are right with each of their pictures", false},
    {"top1", "the likeliest class is right", false},
    {"top5", "the right class is among the five likeliest", false},
    {"majority", "always the same class, the best one", false},
    {"chance", "any class, evenly", false},
    {"recall", "mean of the six recalls", false},
    {"dual recall", "mean of the six recalls, by similarity alone", false},
    {"1K recall", "mean of the six recalls, over folds of a thousand pictures", false},
    {"without label", "held-out samples that no score is about", true},
    {"median rank of texts", "the best right text of a picture, by similarity alone", true},
    {"median rank of images", "the best right picture of a text, by similarity alone", true},
};

/* The place of a score among the known ones, -1: it is new, and taken for a share. */
static int known_at(const char *name)
{
    for (int i = 0; i < VLM_COUNT(known); i++)
        if (!strcmp(known[i].key, name)) return i;
    return -1;
}

static void put_score(vlm_text *out, const vlm_named_score *score)
{
    const int at = known_at(score->name);
    if ((at >= 0 && !known[at].about) || strstr(score->name, " R@")) return;
    vlm_text_put(out, "<tr><td><bdi>");
    vlm_html_string(out, score->name);
    vlm_text_put(out, "</bdi></td><td class=\"num\">");
    if (at >= 0 && known[at].is_number) vlm_html_number(out, score->value);
    else vlm_html_percent(out, score->value);
    vlm_text_put(out, "</td><td class=\"soft\">%s</td></tr>\n", at >= 0 ? known[at].about : "");
}

/* One row of R@1, R@5, R@10; nothing where they are not there. */
static void put_recalls(vlm_text *out, const vlm_named_scores *s, const char *label,
                        const char *const keys[3])
{
    if (!isfinite(vlm_named_score_of(s, keys[0]))) return;
    vlm_text_put(out, "<tr><td>%s</td>", label);
    for (int i = 0; i < 3; i++) {
        vlm_text_put(out, "<td class=\"num\">");
        vlm_html_percent(out, vlm_named_score_of(s, keys[i]));
        vlm_text_put(out, "</td>");
    }
    vlm_text_put(out, "</tr>\n");
}

static void put_recall_table(vlm_text *out, const vlm_named_scores *s)
{
    static const char *const keys[6][3] = {{"text R@1", "text R@5", "text R@10"},
                                           {"image R@1", "image R@5", "image R@10"},
                                           {"dual text R@1", "dual text R@5", "dual text R@10"},
                                           {"dual image R@1", "dual image R@5", "dual image R@10"},
                                           {"1K text R@1", "1K text R@5", "1K text R@10"},
                                           {"1K image R@1", "1K image R@5", "1K image R@10"}};
    const bool has_both = isfinite(vlm_named_score_of(s, keys[2][0]));
    vlm_text_put(out,
                 "<div class=\"scroll\"><table><thead><tr><th></th><th class=\"num\">R@1</th>"
                 "<th class=\"num\">R@5</th><th class=\"num\">R@10</th></tr></thead><tbody>\n");
    put_recalls(out, s,
                has_both ? "texts of a picture, the best read together with it"
                         : "texts of a picture",
                keys[0]);
    put_recalls(out, s, "texts of a picture, by similarity alone", keys[2]);
    put_recalls(out, s,
                has_both ? "pictures of a text, the best read together with it"
                         : "pictures of a text",
                keys[1]);
    put_recalls(out, s, "pictures of a text, by similarity alone", keys[3]);
    put_recalls(out, s, "texts of a picture, among a thousand pictures' texts", keys[4]);
    put_recalls(out, s, "pictures of a text, among a thousand pictures", keys[5]);
    vlm_text_put(out, "</tbody></table></div>\n");
}

void vlm_report_task_scores(vlm_text *out, const vlm_report *r, const vlm_report_task *task)
{
    const vlm_named_scores *s = scores_of(r);
    const bool is_recorded = r->metrics && s == &r->metrics->scores;
    vlm_report_section(out, "scores", "Scores",
                       is_recorded
                           ? "All that the last evaluation of the run found on held-out data."
                           : "What the checkpoint reaches on held-out data.");
    if (!s) vlm_report_missing(out, "There are no scores: nothing was evaluated.");
    else {
        if (task->kind == VLM_KIND_SEARCH) put_recall_table(out, s);
        vlm_text_put(out, "<div class=\"scroll\"><table><thead><tr><th>score</th><th class=\"num\">"
                          "value</th><th></th></tr></thead><tbody>\n");
        for (int i = 0; i < s->n; i++) put_score(out, &s->at[i]);
        vlm_text_put(out, "</tbody></table></div>\n");
    }
    vlm_report_section_end(out);
}
