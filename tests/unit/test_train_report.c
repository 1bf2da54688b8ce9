/* Sums over groups, the reports and records made of them, and the warnings about routing. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "harness.h"
#include "train_report.h"

/* Two experts of block 1: loads as told. */
static vlm_route_stats stats_of(int64_t block, char modality, int64_t a, int64_t b, double dropped)
{
    static int64_t load[8][2];
    static int next;
    int64_t *mine = load[next++ % 8];
    mine[0] = a;
    mine[1] = b;
    return (vlm_route_stats){.block = block,
                             .modality = modality,
                             .n_sets = 1,
                             .tokens = a + b,
                             .dropped = dropped,
                             .E = 2,
                             .load = mine};
}

TEST(tally_weighs_groups_alike_in_training_and_by_positions_in_evaluation)
{
    const vlm_part_metrics one = {
        .n = {2, 0, 4, 0}, .loss = {1.0, 9.0, 3.0, 0.0}, .correct = {0.5, 9.0, 1.0, 0.0}};
    const vlm_part_metrics two = {
        .n = {6, 0, 0, 0}, .loss = {5.0, 9.0, 9.0, 0.0}, .correct = {0.0, 9.0, 9.0, 0.0}};
    for (int by_position = 0; by_position < 2; by_position++) {
        vlm_tally tally = {.groups = 2, .loss = 7.0};
        vlmoe_step_report report = {.struct_size = sizeof report};
        vlm_tally_parts(&tally, &one, by_position);
        vlm_tally_parts(&tally, &two, by_position);
        vlm_tally_report(&tally, by_position, &report);
        CHECK_CLOSE(report.loss, 3.5, 0.0);
        CHECK_CLOSE(report.part_loss[VLM_PART_TEXT], by_position ? (2 * 1.0 + 6 * 5.0) / 8 : 3.0,
                    1e-15);
        CHECK_CLOSE(report.part_right[VLM_PART_TEXT], by_position ? 0.125 : 0.25, 1e-15);
        CHECK_CLOSE(report.part_loss[VLM_PART_PAIR_TEXT], 3.0,
                    0.0); /* the group without it does not count */
        CHECK(isnan(report.part_loss[VLM_PART_IMAGE]) && isnan(report.part_right[VLM_PART_IMAGE]));
        vlm_tally_free(&tally);
    }
}

TEST(tally_finds_layers_by_block_and_modality)
{
    vlm_tally tally = {.groups = 2};
    vlmoe_step_report report = {.struct_size = sizeof report};
    vlmoe_error error = {0};
    const vlm_route_stats first[] = {stats_of(1, 'v', 6, 2, 0.25), stats_of(1, 't', 1, 3, 0.0)};
    const vlm_route_stats second[] = {stats_of(1, 't', 4, 0, 1.0)}; /* no pictures in this group */
    CHECK_STATUS_E(vlm_tally_routes(&tally, 2, first, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_tally_routes(&tally, 1, second, &error), VLMOE_OK, &error);
    CHECK_INT(tally.n_layers, 2);
    CHECK_INT(tally.layers[0].load[0], 6);
    CHECK_INT(tally.layers[0].n, 1);
    CHECK_INT(tally.layers[1].load[0], 5);
    CHECK_INT(tally.layers[1].load[1], 3);
    CHECK_INT(tally.layers[1].tokens, 8);
    vlm_tally_report(&tally, false, &report);
    CHECK_CLOSE(report.dropped, (0.25 * 8 + 1.0 * 4) / 16, 1e-15); /* by tokens */
    vlm_tally_free(&tally);
}

TEST(report_is_copied_no_further_than_the_callers_struct)
{
    const vlmoe_step_report full = {
        .struct_size = sizeof full, .step = 7, .loss = 2.5, .dropped = 0.5};
    vlmoe_step_report older = {.struct_size = offsetof(vlmoe_step_report, dropped),
                               .dropped = -1.0};
    vlmoe_step_report unset = {.struct_size = 0, .step = -1};
    vlm_report_out(&full, &older);
    CHECK_INT(older.step, 7);
    CHECK_CLOSE(older.loss, 2.5, 0.0);
    CHECK_CLOSE(older.dropped, -1.0, 0.0);
    CHECK_INT(older.struct_size, offsetof(vlmoe_step_report, dropped));
    vlm_report_out(&full, &unset);
    CHECK_INT(unset.step, -1);
    vlm_report_out(&full, NULL);
}

TEST(record_is_one_line_of_json_without_what_is_off)
{
    vlm_tally tally = {.groups = 1, .cut = 3};
    vlmoe_step_report report = {
        .struct_size = sizeof report, .step = 4, .loss = 0.1, .samples = 9, .grad_norm = INFINITY};
    vlmoe_error error = {0};
    vlm_text line = {0};
    vlm_json *doc = NULL;
    const vlm_route_stats layer[] = {stats_of(1, 'v', 8, 0, 0.5)};
    int64_t n = 0;
    CHECK_STATUS_E(vlm_tally_routes(&tally, 1, layer, &error), VLMOE_OK, &error);
    for (int i = 0; i < VLM_N_PARTS; i++) report.part_loss[i] = report.part_right[i] = NAN;
    report.part_loss[VLM_PART_PAIR_TEXT] = 0.25;
    static const vlm_task_info pretrain = {.name = "pretrain"};
    vlm_metrics_line(&pretrain, "train", &report, &tally, &line);
    CHECK(line.bytes && strchr(line.data, '\n') == line.data + line.bytes - 1);
    CHECK_STATUS_E(vlm_json_parse(line.data, line.bytes, "line", false, &doc, &error), VLMOE_OK,
                   &error);
    const vlm_value *root = vlm_json_root(doc);
    CHECK_TEXT(vlm_json_text(vlm_json_get(root, "kind")), "train");
    CHECK(vlm_json_int(vlm_json_get(root, "step"), &n) && n == 4);
    CHECK(vlm_json_int(vlm_json_get(root, "cut_texts"), &n) && n == 3);
    CHECK_HAS(line.data, "\"pair_text_loss\": 0.25");
    CHECK(vlm_json_get(root, "text_loss") == NULL && vlm_json_get(root, "pair_text_right") == NULL);
    CHECK(vlm_json_get(root, "grad_norm") == NULL); /* JSON has no infinity */
    CHECK_HAS(line.data, "\"modality\": \"v\", \"tokens\": 8, \"empty\": 1, \"dropped\": 0.5");
    CHECK_HAS(line.data, "\"load\": [8, 0]");
    vlm_json_free(doc);
    vlm_text_free(&line);
    vlm_tally_free(&tally);
}

/* ---- warnings ---- */

typedef struct heard {
    int n;
    char last[512], all[4096];
} heard;

static void hear(void *user, int level, const char *area, const char *text)
{
    heard *h = user;
    CHECK_INT(level, VLMOE_LOG_WARN);
    CHECK_TEXT(area, "routing");
    snprintf(h->last, sizeof h->last, "%s", text);
    strncat(h->all, text, sizeof h->all - strlen(h->all) - 1);
    h->n++;
}

/* Steps from..to in which block 2's text layer had these loads. */
static void look(vlm_health *health, heard *h, int from, int to, int64_t a, int64_t b)
{
    const vlm_log log = {hear, h};
    for (int step = from; step <= to; step++) {
        vlm_tally tally = {.groups = 1};
        vlmoe_error error = {0};
        const vlm_route_stats layer[] = {stats_of(2, 't', a, b, 0.0)};
        CHECK_STATUS_E(vlm_tally_routes(&tally, 1, layer, &error), VLMOE_OK, &error);
        vlm_health_look(health, &tally, step, &log);
        vlm_tally_free(&tally);
    }
}

TEST(health_is_quiet_while_every_expert_is_chosen_once_in_a_window)
{
    vlm_health *health = vlm_health_create();
    heard h = {0};
    look(health, &h, 1, 49, 80, 20);
    look(health, &h, 50, 50, 50, 50);
    look(health, &h, 51, 99, 85, 15);
    CHECK_INT(h.n, 0);
    vlm_health_destroy(health);
}

TEST(health_names_a_dead_expert_and_a_collapsed_layer_once)
{
    vlm_health *health = vlm_health_create();
    heard h = {0};
    look(health, &h, 1, 49, 0, 9);
    CHECK_INT(h.n, 0); /* a window is needed */
    look(health, &h, 50, 50, 0, 9);
    CHECK_INT(h.n, 2);
    CHECK_HAS(h.all, "text expert 0 of block 2 has died");
    CHECK_HAS(h.all, "up to step 50");
    CHECK_HAS(h.all, "routing of block 2 (text) has collapsed: one expert takes 100 %");
    look(health, &h, 51, 100, 0, 9);
    CHECK_INT(h.n, 2); /* said before */
    vlm_health_destroy(health);
}

TEST(health_calls_nine_tenths_no_collapse_and_more_one)
{
    vlm_health *health = vlm_health_create();
    heard h = {0};
    look(health, &h, 1, 50, 90, 10);
    CHECK_INT(h.n, 0);
    look(health, &h, 51, 100, 91, 9);
    CHECK_INT(h.n, 1);
    CHECK_HAS(h.last, "one expert takes 91 %");
    vlm_health_destroy(health);
}

TEST(health_counts_windows_afresh)
{
    vlm_health *health = vlm_health_create();
    heard h = {0};
    look(health, &h, 1, 50, 50, 50);
    look(health, &h, 51, 99, 100, 0);
    look(health, &h, 100, 100, 100,
         20); /* once in its second window: alive, and no collapse of 90 % is hidden */
    CHECK_INT(h.n, 1);
    CHECK_HAS(h.last, "has collapsed");
    vlm_health_destroy(health);
}
