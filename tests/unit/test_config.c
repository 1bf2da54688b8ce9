/* Configs: defaults, files, includes, overrides, and what bad ones are told. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "config_table.h"
#include "harness.h"

static const char *write_file(const char *name, const char *text)
{
    static char path[4][512];
    static int next;
    char *out = path[next++ % 4];
    vlmoe_error error = {0};
    snprintf(out, sizeof path[0], "%s/%s", test_tmp_dir(), name);
    CHECK_STATUS_E(vlm_file_replace(out, text, strlen(text), &error), VLMOE_OK, &error);
    return out;
}

static void expect_refusal(const char *text, const char *part)
{
    vlmoe_config *config = NULL;
    vlmoe_error error = {0};
    CHECK(vlmoe_config_load(write_file("bad.json", text), 0, NULL, &config, &error) != VLMOE_OK);
    CHECK(config == NULL);
    CHECK_HAS(error.text, part);
}

TEST(config_defaults_equal_the_table_and_survive_a_round_trip)
{
    vlmoe_config *a = NULL, *b = NULL;
    vlmoe_error error = {0};
    vlm_text text = {0}, differences = {0};
    CHECK_STATUS_E(vlmoe_config_load(NULL, 0, NULL, &a, &error), VLMOE_OK, &error);
    CHECK_INT(a->model.width, 128);
    CHECK_INT(a->moe.v_layers.n, 1);
    CHECK_TEXT(a->moe.order, "priority");
    a->optim.lr = 0.1 + 0.2; /* needs 17 digits */
    vlm_config_write(a, false, &text);
    CHECK_STATUS_E(vlm_config_parse(text.data, text.bytes, "printed", &b, &error), VLMOE_OK,
                   &error);
    CHECK(b->optim.lr == a->optim.lr);
    CHECK(vlm_config_hash(a) == vlm_config_hash(b));
    CHECK_INT(vlm_config_differences(a, b, &differences), 0);
    vlm_text_free(&text);
    vlm_text_free(&differences);
    vlmoe_config_destroy(a);
    vlmoe_config_destroy(b);
}

TEST(config_takes_includes_first_then_the_file_then_overrides)
{
    write_file("base.json", "{ \"model\": { \"width\": 64, \"heads\": 2, \"layers\": 6 } }");
    const char *path = write_file(
        "run.json",
        "// a run\n{ \"include\": \"base.json\", \"model\": { \"layers\": 5 /* not 6 */ } }");
    const char *set[] = {"model.heads=8", "run.out=some/where", "data.pairs=[\"a\", \"b\"]",
                         "moe.order=token"};
    vlmoe_config *config = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlmoe_config_load(path, 4, set, &config, &error), VLMOE_OK, &error);
    CHECK_INT(config->model.width, 64);
    CHECK_INT(config->model.layers, 5);
    CHECK_INT(config->model.heads, 8);
    CHECK_TEXT(config->run.out, "some/where");
    CHECK_TEXT(config->data.pairs.at[1], "b");
    CHECK_TEXT(vlmoe_config_get(config, "moe.order"), "\"token\"");
    CHECK(vlmoe_config_get(config, "moe.nothing") == NULL);
    vlmoe_config_destroy(config);
}

TEST(config_refuses_with_the_key_the_expectation_and_the_finding)
{
    expect_refusal("{ \"model\": { \"widht\": 64 } }",
                   "model.widht is not a key; the nearest known one is model.width");
    expect_refusal("{ \"modle\": {} }", "the nearest known one is model");
    expect_refusal("{ \"model\": { \"width\": \"64\" } }",
                   "model.width must be a whole number, found a string");
    expect_refusal("{ \"model\": { \"width\": 64.5 } }", "found 64.5");
    expect_refusal("{ \"model\": { \"width\": 0 } }", "must lie between 1 and 65536, found 0");
    expect_refusal("{ \"model\": { \"heads\": 3 } }",
                   "model.heads = 3 does not divide model.width = 128");
    expect_refusal("{ \"moe\": { \"order\": \"random\" } }", "one of priority|token");
    expect_refusal("{ \"moe\": { \"v_layers\": [9] } }", "names block 9");
    expect_refusal("{ \"moe\": { \"v_layers\": [1, 1] } }", "must ascend");
    expect_refusal("{ \"moe\": { \"k\": 9 } }", "more than the 8 experts");
    expect_refusal("{ \"moe\": { \"noise_std\": 0 } }", "load loss");
    expect_refusal("{ \"moe\": { \"exchange\": \"slots\", \"capacity_factor\": 0 } }",
                   "moe.capacity_factor = 0");
    expect_refusal("{ \"data\": { \"pairs\": [1] } }", "found a number");
    expect_refusal("{ \"data\": { \"pairs_mix\": [1] } }", "1 weights for the 0 sets");
    expect_refusal("{ \"run\": { \"seed\": 1 }\n \"model\": {} }", "line 2");
    expect_refusal("{ \"include\": \"bad.json\" }", "include itself");
    expect_refusal("{ \"include\": \"missing.json\" }", "missing.json");
}

TEST(config_refuses_tasks_that_make_no_sense)
{
    expect_refusal("{ \"run\": { \"task\": \"vq\" } }", "nlvr2");
    expect_refusal("{ \"run\": { \"task\": \"vqa\" }, \"data\": { \"pairs_per_group\": 0 } }",
                   "data.pairs_per_group is 0");
    expect_refusal("{ \"run\": { \"task\": \"classify\" }, \"data\": { \"images_per_group\": 0 } }",
                   "data.images_per_group is 0");
    expect_refusal("{ \"run\": { \"task\": \"nli\" }, \"data\": { \"texts_per_group\": 0 } }",
                   "data.texts_per_group is 0");
    expect_refusal("{ \"run\": { \"task\": \"vqa\" }, \"task\": { \"label_smoothing\": 0.1 } }",
                   "task.label_smoothing = 0.1 is for run.task classify|nlvr2|nli");
    expect_refusal("{ \"task\": { \"mixup\": 0.8 } }", "run.task is pretrain");
    expect_refusal("{ \"run\": { \"task\": \"nli\" }, \"task\": { \"cutmix\": 1 } }",
                   "task.cutmix = 1");
    expect_refusal("{ \"run\": { \"task\": \"nli\" }, \"task\": { \"embed_width\": 8 } }",
                   "task.embed_width = 8");
    expect_refusal(
        "{ \"run\": { \"task\": \"vqa\" }, \"objective\": { \"contrastive_weight\": 1 } }",
        "objective.contrastive_weight = 1 is for run.task pretrain");
    expect_refusal("{ \"run\": { \"task\": \"retrieval\" }, \"task\": { \"contrastive_weight\": 0, "
                   "\"matching_weight\": 0 } }",
                   "both 0");
    expect_refusal("{ \"run\": { \"task\": \"retrieval\" }, \"data\": { \"pairs_per_group\": 1 } }",
                   "data.pairs_per_group = 1");
    expect_refusal("{ \"objective\": { \"contrastive_weight\": 1 }, "
                   "\"data\": { \"pairs_per_group\": 1 } }",
                   "objective.contrastive_weight tells");
    expect_refusal("{ \"run\": { \"task\": \"retrieval\", \"groups\": 2 }, \"data\": { "
                   "\"pairs_per_group\": 1 }, \"task\": { \"negatives\": \"step\" } }",
                   "task.matching_weight = 1 reads a picture with a wrong text of its group");
    expect_refusal("{ \"run\": { \"task\": \"retrieval\" }, \"task\": { \"negatives\": "
                   "\"step\", \"contrastive_weight\": 0 } }",
                   "task.contrastive_weight = 0 turns off");
    expect_refusal("{ \"run\": { \"task\": \"classify\" }, \"task\": { \"cutmix\": 1 }, "
                   "\"data\": { \"images_per_group\": 1 } }",
                   "task.cutmix mixes pictures of a group, and data.images_per_group = 1");
}

TEST(config_refuses_keys_that_the_task_does_not_read)
{
    expect_refusal("{ \"task\": { \"init\": \"runs/a\" } }",
                   "task.init = \"runs/a\" is for run.task vqa|nlvr2|classify|nli|retrieval, and "
                   "run.task is pretrain");
    expect_refusal("{ \"task\": { \"layer_decay\": 0.5 } }", "task.layer_decay = 0.5");
    expect_refusal("{ \"task\": { \"freeze_moe\": false } }", "task.freeze_moe = false");
    expect_refusal("{ \"run\": { \"task\": \"vqa\" }, \"task\": { \"negatives\": \"step\" } }",
                   "task.negatives = \"step\"");
    expect_refusal("{ \"run\": { \"task\": \"vqa\" }, \"task\": { \"rerank\": 3 } }",
                   "task.rerank = 3");
    expect_refusal("{ \"run\": { \"task\": \"retrieval\" }, \"task\": { \"head_dropout\": 0.1 } }",
                   "task.head_dropout = 0.1");
    expect_refusal(
        "{ \"run\": { \"task\": \"retrieval\" }, \"task\": { \"unlabelled\": \"skip\" } }",
        "task.unlabelled = \"skip\"");
}

TEST(config_refuses_patience_without_evaluations)
{
    expect_refusal("{ \"run\": { \"task\": \"nli\" }, \"task\": { \"patience\": 2 }, "
                   "\"data\": { \"val_texts\": [\"a\"] } }",
                   "run.eval_every = 0 makes none");
    expect_refusal(
        "{ \"run\": { \"task\": \"nli\", \"eval_every\": 5 }, \"task\": { \"patience\": 2 }, "
        "\"data\": { \"val_pairs\": [\"a\"] } }",
        "no held-out set of the task");
    expect_refusal("{ \"task\": { \"patience\": 2 } }", "task.patience = 2 is for run.task");
}

TEST(config_accepts_tasks_that_make_sense)
{
    const char *sets[][2] = {
        {"run.task=classify", "task.mixup=0.8"},
        {"run.task=nli", "task.label_smoothing=0.1"},
        {"run.task=retrieval", "task.embed_width=64"},
        {"run.task=pretrain", "task.layer_decay=1"}, /* the default in other digits */
        {"run.task=pretrain", "objective.contrastive_weight=1"},
        {"run.task=image_tokeniser", "data.pairs_per_group=0"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        vlmoe_config *config = NULL;
        vlmoe_error error = {0};
        CHECK_STATUS_E(vlmoe_config_load(NULL, 2, sets[i], &config, &error), VLMOE_OK, &error);
        vlmoe_config_destroy(config);
    }
    const char *step[] = {"run.task=retrieval", "data.pairs_per_group=1", "task.negatives=step",
                          "run.groups=2", "task.matching_weight=0"};
    vlmoe_config *config = NULL;
    CHECK_STATUS(vlmoe_config_load(NULL, 5, step, &config, NULL), VLMOE_OK);
    vlmoe_config_destroy(config);
}

TEST(config_differences_name_number_keys_only)
{
    vlmoe_config *a = NULL, *b = NULL;
    vlmoe_error error = {0};
    vlm_text text = {0};
    const char *set[] = {"run.threads=7", "model.layers=5"};
    CHECK_STATUS(vlmoe_config_load(NULL, 0, NULL, &a, &error), VLMOE_OK);
    CHECK_STATUS(vlmoe_config_load(NULL, 2, set, &b, &error), VLMOE_OK);
    CHECK_INT(vlm_config_differences(a, b, &text), 1);
    CHECK_HAS(text.data, "model.layers: 4 and 5");
    CHECK(vlm_config_hash(a) != vlm_config_hash(b));
    vlm_text_free(&text);
    vlmoe_config_destroy(a);
    vlmoe_config_destroy(b);
}

TEST(config_every_key_is_described)
{
    vlm_text plain = {0}, markdown = {0};
    vlm_config_describe(false, &plain);
    vlm_config_describe(true, &markdown);
    for (int i = 0; i < vlm_n_keys; i++) {
        CHECK_HAS(plain.data, vlm_keys[i].name);
        CHECK_HAS(markdown.data, vlm_keys[i].help);
    }
    vlm_text_free(&plain);
    vlm_text_free(&markdown);
}
