/* Plans: machine files and the time model, by numbers that can be checked by hand. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "harness.h"
#include "train_planner.h"

#define LINKS                                                                                      \
    "\"node_link\": {\"gbytes\": 2, \"microseconds\": 0}, \"network_link\": {\"gbytes\": 1, "      \
    "\"microseconds\": 1000}"
#define RATES                                                                                      \
    "\"product_gflops\": {\"f32\": 10, \"bf16\": 20}, \"attention_gflops\": {\"f32\": 5, "         \
    "\"bf16\": 8}"
#define HEAD                                                                                       \
    "{\"name\": \"m\", \"ranks_per_node\": 2, \"shares_node\": false, \"memory_mib\": 100, "

static vlmoe_status read_text(const char *text, vlm_machine *out, vlmoe_error *error)
{
    const char *path = "test_planner.json";
    CHECK_STATUS(vlm_file_replace(path, text, strlen(text), error), VLMOE_OK);
    vlmoe_status st = vlm_machine_read(path, out, error);
    remove(path);
    return st;
}

static vlm_machine machine(void)
{
    vlm_machine m;
    vlmoe_error error = {0};
    CHECK_STATUS_E(read_text(HEAD "\"memory_gbytes\": 4, " RATES ", " LINKS "}", &m, &error),
                   VLMOE_OK, &error);
    return m;
}

TEST(machine_files_are_read_and_written_alike)
{
    vlm_machine m = machine(), again;
    vlm_text text = {0};
    vlmoe_error error = {0};
    CHECK(m.ranks_per_node == 2 && !m.shares_node && m.product_gflops[1] == 20.0 &&
          m.network.microseconds == 1000.0);
    vlm_machine_write(&m, &text);
    CHECK_STATUS_E(read_text(text.data, &again, &error), VLMOE_OK, &error);
    CHECK_TEXT(again.name, m.name);
    CHECK(again.memory_mib == m.memory_mib && again.attention_gflops[0] == m.attention_gflops[0] &&
          again.node.gbytes == m.node.gbytes);
    vlm_text_free(&text);
}

TEST(machine_files_with_faults_name_the_key)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {HEAD RATES ", " LINKS "}", "memory_gbytes is missing"},
        {HEAD "\"memory_gbytes\": \"4\", " RATES ", " LINKS "}", "memory_gbytes must be a number"},
        {HEAD "\"memory_gbytes\": -4, " RATES ", " LINKS "}",
         "memory_gbytes must be a number from"},
        {HEAD "\"memory_gbytes\": 4, \"speed\": 1, " RATES ", " LINKS "}", "unknown key speed"},
        {HEAD "\"memory_gbytes\": 4, \"product_gflops\": {\"f32\": 1}, " LINKS "}",
         "product_gflops.bf16 is missing"},
        {"{\"name\": \"m\", \"ranks_per_node\": 0, \"shares_node\": true}",
         "ranks_per_node must be"},
        {"[]", "name must be a text"},
    };
    vlm_machine m;
    for (int i = 0; i < VLM_COUNT(cases); i++) {
        vlmoe_error error = {0};
        CHECK_STATUS(read_text(cases[i].text, &m, &error), VLMOE_E_FORMAT);
        CHECK_HAS(error.text, cases[i].said);
    }
}

/* 4 groups of a model of width 100: 40 GFLOP of products, 10 of attention, 8 GB of other traffic, one sparse layer of 4 experts. */
static vlm_forecast forecast(int ranks, double skew)
{
    vlmoe_config *config = NULL;
    vlmoe_error error = {0};
    static const char text[] =
        "{\"run\": {\"groups\": 4}, \"model\": {\"width\": 100, \"heads\": 4}}";
    CHECK_STATUS_E(vlm_config_parse(text, sizeof text - 1, "test", &config, &error), VLMOE_OK,
                   &error);
    vlm_sparse_work layer = {.experts = 4, .hidden = 100, .rows = 1e6};
    const vlm_group_work work = {.group = {.amount = {40e9, 10e9, 8e9}},
                                 .optimiser = {.amount = {0, 0, 4e9}},
                                 .n_layers = 1,
                                 .layer = &layer,
                                 .trained_moment_bytes = 800};
    const vlm_plan plan = {.ranks = ranks,
                           .total_bytes = 5,
                           .moment_bytes = (size_t)(800 / ranks),
                           .gradients_sent = ranks > 1 ? 2000000000u : 0,
                           .values_sent = ranks > 1 ? 1000000000u : 0};
    const vlm_machine m = machine();
    vlm_forecast f = {0};
    CHECK_STATUS_E(vlm_forecast_make(config, &work, &plan, &m, skew, &f, &error), VLMOE_OK, &error);
    vlmoe_config_destroy(config);
    return f;
}

TEST(forecast_of_one_rank_is_its_work_over_the_rates)
{
    vlm_forecast f = forecast(1, 1.0);
    CHECK_CLOSE(f.seconds[VLM_TERM_PRODUCTS], 4 * 40.0 / 10, 1e-9);
    CHECK_CLOSE(f.seconds[VLM_TERM_ATTENTION], 4 * 10.0 / 5, 1e-9);
    CHECK_CLOSE(f.seconds[VLM_TERM_MEMORY], 4 * 8.0 / 4, 1e-9);
    CHECK_CLOSE(f.seconds[VLM_TERM_OPTIMISER], 1.0, 1e-9);
    CHECK(f.seconds[VLM_TERM_ROWS] == 0.0 && f.seconds[VLM_TERM_GRADIENTS] == 0.0 &&
          f.bytes[VLM_TERM_ROWS] == 0.0);
    CHECK(f.binds == VLM_TERM_PRODUCTS && f.memory_bytes == 5);
    CHECK_CLOSE(f.total_seconds, 16 + 8 + 8 + 1, 1e-9);
}

TEST(forecast_of_ranks_divides_work_and_sends_bytes)
{
    /* Two on a node: half of a group's rows leave, four ways of 100 f32 each; two micro-steps. */
    vlm_forecast f = forecast(2, 1.0);
    CHECK_CLOSE(f.seconds[VLM_TERM_PRODUCTS], 8.0, 1e-9);
    CHECK_CLOSE(f.bytes[VLM_TERM_ROWS], 2 * 4 * 0.5e6 * 400, 1e-3);
    CHECK_CLOSE(f.seconds[VLM_TERM_ROWS], f.bytes[VLM_TERM_ROWS] / 2e9, 1e-9);
    CHECK_CLOSE(f.seconds[VLM_TERM_GRADIENTS], 2 * (2.0 / 2 + 3 * 2.0 / 4), 1e-9);
    CHECK_CLOSE(f.seconds[VLM_TERM_VALUES], 0.5, 1e-9);
    CHECK_CLOSE(f.seconds[VLM_TERM_OPTIMISER], 0.5, 1e-9);
    CHECK(f.network_share == 0.0);
    /* Four on two nodes: of three peers two are far, at 1 GB/s and a millisecond each. */
    f = forecast(4, 1.0);
    CHECK_CLOSE(f.seconds[VLM_TERM_VALUES], 2.0 / 3 + 0.002, 1e-9);
    CHECK_CLOSE(f.network_share, 2.0 / 3, 1e-9);
}

TEST(forecast_waits_for_the_busiest_rank)
{
    vlm_forecast even = forecast(2, 1.0), skewed = forecast(2, 1.5);
    CHECK_CLOSE(skewed.seconds[VLM_TERM_ROWS], 1.5 * even.seconds[VLM_TERM_ROWS], 1e-9);
    /* 12 operations a row and weight: 6 forward and backward of two products */
    CHECK_CLOSE(skewed.seconds[VLM_TERM_PRODUCTS] - even.seconds[VLM_TERM_PRODUCTS],
                0.5 * 2 * 12e6 * 1e4 / 10e9, 1e-9);
    CHECK_CLOSE(skewed.bytes[VLM_TERM_ROWS], even.bytes[VLM_TERM_ROWS], 1e-3);
}
