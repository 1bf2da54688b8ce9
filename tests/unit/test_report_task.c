/* Pages of tuned tasks: scores by their names, right answers marked, nothing breaks out, and what does not apply is not there. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "harness.h"
#include "report.h"
#include "report_records.h"

static const char *page_of(const vlm_report *report, vlm_text *out)
{
    CHECK_STATUS(vlm_report_write(report, out, NULL), VLMOE_OK);
    return out->data ? out->data : "";
}

/* How often part stands in text. */
static int count_of(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

/* ---- records ---- */

TEST(the_newest_evaluation_s_scores_are_kept_by_name)
{
    vlm_metrics *m = read_metrics(
        "{\"kind\": \"eval\", \"step\": 1, \"accuracy\": 0.75, \"old\": 1}\n"
        "{\"kind\": \"train\", \"step\": 2, \"task_loss\": 3, \"score\": 0.5}\n"
        "{\"kind\": \"eval\", \"step\": 2, \"loss\": 2, \"accuracy\": 0.5, \"accuracy <b>\": "
        "0.25, \"text\": \"x\", \"seconds\": 9, \"samples\": 8, \"routing\": []}\n");
    CHECK_INT(m->scores.n, 3);
    CHECK(vlm_named_score_of(&m->scores, "loss") == 2.0);
    CHECK(vlm_named_score_of(&m->scores, "accuracy") == 0.5);
    CHECK(vlm_named_score_of(&m->scores, "accuracy <b>") == 0.25);
    CHECK(isnan(vlm_named_score_of(&m->scores, "old")) &&
          isnan(vlm_named_score_of(&m->scores, "seconds")));
    CHECK_INT(vlm_curve_points(&m->held_out[VLM_METRIC_ACCURACY]), 2);
    CHECK_INT(vlm_curve_points(&m->train[VLM_METRIC_TASK_LOSS]), 1);
    free_metrics(m);
}

TEST(a_name_too_long_is_cut_and_more_scores_than_room_are_left_out)
{
    vlm_named_scores s = {0};
    char name[3 * VLM_SCORE_NAME];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    vlm_named_scores_put(&s, name, 1.0);
    CHECK_INT(strlen(s.at[0].name), VLM_SCORE_NAME - 1);
    vlm_named_scores_put(&s, "nan", NAN);
    CHECK_INT(s.n, 1);
    for (int i = 0; i < 2 * VLM_REPORT_SCORES; i++) vlm_named_scores_put(&s, "more", i);
    CHECK_INT(s.n, VLM_REPORT_SCORES);
}

/* ---- pages ---- */

static const vlm_report bare = {.name = "n", .ending = "", .library = "0"};

TEST(a_page_says_its_task_with_scores_beside_chance)
{
    vlm_text out = {0};
    vlm_metrics *m = read_metrics(
        "{\"kind\": \"train\", \"step\": 1, \"loss\": 3, \"task_loss\": 3, \"score\": 0.5}\n"
        "{\"kind\": \"eval\", \"step\": 1, \"loss\": 2, \"accuracy\": 0.75, \"consistency\": 0}\n"
        "{\"kind\": \"train\", \"step\": 2, \"loss\": 2, \"task_loss\": 2, \"score\": 0.5}\n"
        "{\"kind\": \"eval\", \"step\": 2, \"loss\": 1.5, \"task_loss\": 1.5, \"score\": 0.625, "
        "\"accuracy\": 0.625, \"consistency\": 0.125, \"majority\": 0.5625, \"chance\": 0.5}\n");
    vlm_report report = bare;
    report.task = "nlvr2";
    report.metrics = m;
    const char *page = page_of(&report, &out);
    CHECK_HAS(page, "Tuning on statements about two pictures");
    CHECK_HAS(page, "62.5\xe2\x80\xaf%");
    CHECK_HAS(page, "12.5\xe2\x80\xaf%");
    CHECK_HAS(page, "chance 50.0\xe2\x80\xaf%");
    CHECK_HAS(page, "always the commonest 56.2\xe2\x80\xaf%");
    CHECK_HAS(page, "best 75.0\xe2\x80\xaf% at step 1");
    CHECK_HAS(page, "aria-label=\"Accuracy, % by step\"");
    CHECK(!strstr(page, "Image codes") && !strstr(page, "pretraining") &&
          !strstr(page, "id=\"experts\"") && !strstr(page, "id=\"drops\""));
    vlm_text_free(&out);
    free_metrics(m);
}

TEST(every_task_has_a_page_without_records_or_model)
{
    static const char *const names[] = {"vqa", "nlvr2", "retrieval", "classify", "nli"};
    for (int i = 0; i < VLM_COUNT(names); i++) {
        vlm_text out = {0};
        vlm_report report = bare;
        report.task = names[i];
        report.metrics_missing = "no <records>";
        report.model_missing = "no <model>";
        const char *page = page_of(&report, &out);
        CHECK_HAS(page, "Tuning on ");
        CHECK_HAS(page, "no &lt;records&gt;");
        CHECK_HAS(page, "no &lt;model&gt;");
        CHECK_HAS(page, "There are no scores");
        CHECK_HAS(page, "</html>");
        CHECK(!strstr(page, "Masked pretraining"));
        vlm_text_free(&out);
    }
}

TEST(an_answer_s_words_stay_text_and_the_right_ones_are_marked)
{
    vlm_text out = {0};
    uint8_t pixels[2 * 2 * 3] = {0};
    vlm_report_question q = {.key = "<k>",
                             .side = 2,
                             .picture = {pixels, pixels},
                             .text = {"<u>what", NULL},
                             .truth = "\"<t>",
                             .n_answers = 3,
                             .answer = {{.text = "<a>", .share = 0.5, .score = 0.0},
                                        {.text = "b&", .share = 7.0, .score = 0.3},
                                        {.text = "c", .share = NAN, .score = 1.0}}};
    const vlm_report_model model = {.n_questions = 1, .questions = &q};
    vlm_report report = bare;
    report.task = "vqa";
    report.model = &model;
    const char *page = page_of(&report, &out);
    CHECK_HAS(page, "&lt;k&gt;");
    CHECK_HAS(page, "&lt;u&gt;what");
    CHECK_HAS(page, "&quot;&lt;t&gt;");
    CHECK_HAS(page, "<li><span><bdi>&lt;a&gt;</bdi></span>");
    CHECK_HAS(page, "<li class=\"ok\"><span><bdi>b&amp;</bdi> <small>0.3</small></span>");
    CHECK_HAS(page, "<li class=\"ok\"><span><bdi>c</bdi></span>");
    CHECK_HAS(page, "width:50.0%");
    CHECK_HAS(page, "width:100.0%"); /* a share beyond one fills its bar */
    CHECK_INT(count_of(page, "class=\"ok\""), 2);
    CHECK_INT(count_of(page, "<img "), 2);
    CHECK(!strstr(page, "<a>") && !strstr(page, "<u>what") && !strstr(page, "<k>"));
    CHECK(!strstr(page, ":nan") && !strstr(page, ">nan"));
    vlm_text_free(&out);
}

TEST(retrieval_shows_recalls_both_ways_and_what_was_found)
{
    vlm_text out = {0};
    uint8_t pixels[2 * 2 * 3] = {0};
    vlm_report_question q[2] = {{.side = 2,
                                 .picture = {pixels, NULL},
                                 .truth = "a dog",
                                 .n_answers = 2,
                                 .answer = {{.text = "<cat>", .share = 0.5},
                                            {.text = "a dog", .share = NAN, .score = 1.0}}},
                                {.side = 2,
                                 .text = {"a dog", NULL},
                                 .n_answers = 1,
                                 .answer = {{.picture = pixels, .share = -0.5, .score = 1.0}}}};
    vlm_report_model model = {.n_questions = 2, .questions = q};
    static const char *const ways[6] = {"text",       "image",   "dual text",
                                        "dual image", "1K text", "1K image"};
    for (int i = 0; i < 18; i++) {
        char name[VLM_SCORE_NAME];
        snprintf(name, sizeof name, "%s R@%d", ways[i / 3], i % 3 == 0 ? 1 : i % 3 == 1 ? 5 : 10);
        vlm_named_scores_put(&model.scores, name, 0.01 * (i + 1));
    }
    vlm_named_scores_put(&model.scores, "recall", 0.5);
    vlm_named_scores_put(&model.scores, "median rank of texts", 7.0);
    vlm_report report = bare;
    report.task = "retrieval";
    report.model = &model;
    const char *page = page_of(&report, &out);
    for (int i = 0; i < 18; i++) {
        char cell[64];
        snprintf(cell, sizeof cell, "<td class=\"num\">%d.0\xe2\x80\xaf%%</td>", i + 1);
        CHECK_HAS(page, cell);
    }
    CHECK_HAS(page, "by similarity alone");
    CHECK_HAS(page, "before reading together 7.0\xe2\x80\xaf%");
    CHECK_HAS(page, "<td class=\"num\">7</td>");
    CHECK_HAS(page, "What the checkpoint reaches");
    CHECK_HAS(page, "&lt;cat&gt;");
    CHECK_HAS(page, "its cosine");
    CHECK_HAS(page, "<em>0.50</em>");
    CHECK_HAS(page, "<em>\xe2\x80\x93</em>");
    CHECK_HAS(page, "<em>-0.50</em>");
    CHECK_INT(count_of(page, "<li class=\"ok\">"), 2);
    CHECK(!strstr(page, "<cat>") && !strstr(page, ">nan"));
    vlm_text_free(&out);
}
