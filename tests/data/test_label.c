/* KEY.json and labels.txt: what is read of them, and what bad ones are told. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "data_label.h"
#include "harness.h"

static vlmoe_status read(const char *json, int64_t n_classes, vlm_sample_facts *out,
                         vlmoe_error *error)
{
    *error = (vlmoe_error){0};
    return vlm_sample_facts_read((vlm_bytes){(const unsigned char *)json, strlen(json)}, n_classes,
                                 out, error);
}

static void refused(const char *json, const char *says)
{
    vlm_sample_facts facts = {.n_labels = 77};
    vlmoe_error error;
    CHECK_STATUS(read(json, 5, &facts, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, says);
    CHECK_INT(facts.n_labels, 77);
}

TEST(labels_scores_and_pictures_are_read)
{
    vlm_sample_facts facts;
    vlmoe_error error;
    CHECK_STATUS_E(read("{\"id\": \"x\", \"labels\": [3, 0, 4], \"scores\": [0.3, 0, 1], "
                        "\"answers\": [\"a\"], \"pictures\": [7, 9007199254740990]}",
                        5, &facts, &error),
                   VLMOE_OK, &error);
    CHECK_INT(facts.n_labels, 2); /* 0 is no target */
    CHECK(facts.label[0] == 3 && facts.label[1] == 4);
    CHECK(facts.score[0] == 0.3f && facts.score[1] == 1.0f);
    CHECK(facts.n_pictures == 2 && facts.picture[0] == 7 && facts.picture[1] == 9007199254740990);
    CHECK_STATUS_E(read("{\"labels\": [2]}", 5, &facts, &error), VLMOE_OK, &error);
    CHECK(facts.n_labels == 1 && facts.score[0] == 1.0f && facts.n_pictures == 0);
    CHECK_STATUS_E(read("{\"labels\": [], \"scores\": []}", 5, &facts, &error), VLMOE_OK, &error);
    CHECK_INT(facts.n_labels, 0);
    CHECK_STATUS_E(read("[]", 5, &facts, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(read("{\"labels\": \"anything\"}", 0, &facts, &error), VLMOE_OK, &error);
    CHECK_STATUS(vlm_sample_facts_read((vlm_bytes){0}, 5, &facts, NULL), VLMOE_OK);
    CHECK(facts.n_labels == 0 && facts.n_pictures == 0);
}

TEST(labels_that_make_no_sense_are_refused)
{
    char many[400] = "{\"labels\": [0";
    refused("{\"labels\": [5]}", "label 5 of its json: labels.txt has 5 classes");
    refused("{\"labels\": [-1]}", "label -1");
    refused("{\"labels\": [1.5]}", "no whole number");
    refused("{\"labels\": [\"1\"]}", "no whole number");
    refused("{\"labels\": 1}", "\"labels\" of its json is a number, not an array");
    refused("{\"labels\": [1], \"scores\": 1}", "\"scores\" of its json is a number");
    refused("{\"labels\": [1, 2]}", "2 labels and 0 scores");
    refused("{\"labels\": [1], \"scores\": []}", "1 labels and 0 scores");
    refused("{\"labels\": [1], \"scores\": [1.01]}", "no number from 0 to 1");
    refused("{\"labels\": [1], \"scores\": [-0.1]}", "no number from 0 to 1");
    refused("{\"labels\": [1], \"scores\": [null]}", "no number from 0 to 1");
    refused("{\"labels\": [1, 1], \"scores\": [1, 1]}", "label 1 twice");
    refused("{\"pictures\": []}", "has 0 numbers");
    refused("{\"pictures\": [1, 2, 3]}", "has 3 numbers");
    refused("{\"pictures\": [-1]}", "something else than sample numbers");
    refused("{\"pictures\": [\"1\"]}", "something else than sample numbers");
    refused("{\"pictures\": 1}", "not an array");
    refused("{\"pictures\": [1]", "its json line 1");
    for (int i = 0; i < VLM_LABELS_MAX; i++) strcat(many, ",1");
    refused(strcat(many, "]}"), "33 labels");
}

static vlmoe_status classes(const char *text, vlm_classes *out, vlmoe_error *error)
{
    char path[512];
    snprintf(path, sizeof path, "%s/labels.txt", test_tmp_dir());
    CHECK_STATUS(vlm_file_replace(path, text, strlen(text), NULL), VLMOE_OK);
    *error = (vlmoe_error){0};
    return vlm_classes_read(path, out, error);
}

TEST(classes_are_the_lines_of_labels_txt)
{
    vlm_classes a, b;
    vlmoe_error error;
    CHECK_STATUS_E(classes("no\nyes, two\r\n\xc3\xa9", &a, &error), VLMOE_OK, &error);
    CHECK_INT(a.n, 3);
    CHECK_TEXT(a.name[1], "yes, two");
    CHECK_TEXT(a.name[2], "\xc3\xa9");
    CHECK_STATUS_E(classes("\xef\xbb\xbfno\nyes, two\n\xc3\xa9\n", &b, &error), VLMOE_OK, &error);
    CHECK(a.hash == b.hash);
    CHECK_STATUS(vlm_classes_compare(&a, "a", &b, "b", NULL), VLMOE_OK);
    vlm_classes_free(&b);
    CHECK_STATUS_E(classes("on\nyes, two\n\xc3\xa9\n", &b, &error), VLMOE_OK, &error);
    CHECK(a.hash != b.hash);
    vlm_classes_free(&b);
    CHECK_STATUS_E(classes("no\nyes\n", &b, &error), VLMOE_OK, &error);
    CHECK(a.hash != b.hash);
    CHECK_STATUS(vlm_classes_compare(&a, "x/a", &b, "y/b", &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "x/a and y/b name other classes from line 2 on: yes, two and yes");
    vlm_classes_free(&b);
    CHECK_STATUS_E(classes("no\n", &b, &error), VLMOE_OK, &error);
    CHECK_STATUS(vlm_classes_compare(&a, "x/a", &b, "y/b", &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "(the end)");
    vlm_classes_free(&a);
    vlm_classes_free(&b);
    static const char *const bad[][2] = {{"", "0 names of classes"},
                                         {"a\n\nb\n", "line 2 is empty"},
                                         {"a\nb\na\n", "the class \"a\" is there twice"},
                                         {"a\nb\xff\n", "line 2 is not UTF-8"}};
    CHECK_STATUS(vlm_classes_parse("a\nb\0c\n", 6, "labels.txt", &a, &error), VLMOE_E_FORMAT);
    for (int i = 0; i < VLM_COUNT(bad); i++) {
        CHECK_STATUS(classes(bad[i][0], &a, &error), VLMOE_E_FORMAT);
        CHECK_HAS(error.text, bad[i][1]);
        CHECK_HAS(error.text, "labels.txt");
    }
    CHECK_STATUS(vlm_classes_read("/nowhere/labels.txt", &a, &error), VLMOE_E_IO);
}
