/* JSON values one at a time out of files: where they begin and end, whatever is read at once, and
 * what is said of files that are cut or crooked. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "data_records.h"
#include "data_stream.h"
#include "harness.h"

static const char *save(const char *text)
{
    static char path[512];
    vlmoe_error error = {0};
    snprintf(path, sizeof path, "%s/records.json", test_tmp_dir());
    CHECK_STATUS_E(vlm_file_replace(path, text, strlen(text), &error), VLMOE_OK, &error);
    return path;
}

/* The elements joined by '|' as they stand in the file, then the complaint, if any. */
static const char *walk(const char *text, const char *list, size_t chunk)
{
    static char out[2000];
    vlm_records *records = NULL;
    vlmoe_error error = {0};
    out[0] = 0;
    vlmoe_status st = vlm_records_open(save(text), list, chunk, &records, &error);
    while (!st) {
        const vlm_value *value = NULL;
        const char *at = NULL;
        size_t bytes = 0;
        st = vlm_records_next(records, &value, &error);
        if (st || !value) break;
        vlm_records_text(records, &at, &bytes);
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s|", (int)bytes, at);
    }
    vlm_records_close(records);
    if (st) snprintf(out + strlen(out), sizeof out - strlen(out), "%s", error.text);
    return out;
}

static void check_walk(const char *text, const char *list, const char *want)
{
    for (size_t chunk = 1; chunk < 40; chunk += 3) CHECK_TEXT(walk(text, list, chunk), want);
    CHECK_TEXT(walk(text, list, 0), want);
}

static void check_refused(const char *text, const char *list, const char *words)
{
    for (size_t chunk = 1; chunk < 40; chunk += 3) CHECK_HAS(walk(text, list, chunk), words);
    CHECK_HAS(walk(text, list, 0), words);
}

TEST(lines_are_walked)
{
    check_walk("{\"a\": 1}\n\n \t\r\n[2]\r\n3", NULL, "{\"a\": 1}|[2]|3|");
    check_walk("", NULL, "");
    check_walk("\n\n", NULL, "");
    check_walk("\xEF\xBB\xBF{}\n", NULL, "{}|");
}

TEST(arrays_are_walked)
{
    check_walk("[]", "", "");
    check_walk(" [ 1 , \"a]\\\"\\\\\" ,{\"x\":[[],{}]},-2.5e3,null\n]\n", "",
               "1|\"a]\\\"\\\\\"|{\"x\":[[],{}]}|-2.5e3|null|");
    check_walk("[[1],[2]]", "", "[1]|[2]|");
}

TEST(members_are_walked_wherever_they_stand)
{
    check_walk("{\"q\":[1,2]}", "q", "1|2|");
    check_walk("{\"a\":[{\"q\":[9]}],\"b\":\"q\", \"q\" : [ ] , \"c\":{\"d\":\"}\"}}", "q", "");
    check_walk("{\"a\":[1,[2,3]],\"q\":[{\"q\":[5]}],\"z\":[6]}\n", "q", "{\"q\":[5]}|");
    check_walk("{\"\\u0071\":[1]}", "q", "1|"); /* the key's escapes are read */
}

TEST(crooked_files_are_refused_by_byte)
{
    check_refused("[1,2", "", "1|2|");
    check_refused("[1,2", "",
                  "records.json byte 4: expected ',' or ']', found the end of the file");
    check_refused("[1 2]", "", "byte 3: expected ',' or ']', found '2'");
    check_refused("[1,]", "", "byte 3: expected a value, found ']'");
    check_refused("[,1]", "", "byte 1: expected a value, found ','");
    check_refused("[1] x", "", "byte 4: expected the end of the file, found 'x'");
    check_refused("[\"abc", "", "byte 5: expected the end of a string");
    check_refused("[{\"a\":1", "", "byte 7: expected the end of a value");
    check_refused("[{\"a\":1]]", "", "byte 7: expected the other bracket, found ']'");
    check_refused("[{\"a\":1,\"a\":2}]", "",
                  "byte 1: what begins there: the key \"a\" appears twice");
    check_refused("[01]", "", "byte 1: what begins there line 1");
    check_refused("[\"\xff\"]", "", "byte 1: what begins there line 1");
    check_refused("{\"a\":1}\n{\"a\"\n", NULL, "byte 8: what begins there line 1");
    check_refused("7", "", "byte 0: expected '[' of a list, found '7'");
    check_refused("", "", "byte 0: expected '[' of a list, found the end of the file");
}

TEST(crooked_objects_are_refused_by_byte)
{
    check_refused("[1]", "q", "byte 0: expected '{' of an object, found '['");
    check_refused("{}", "q", "no member \"q\"; there is nothing");
    check_refused("{\"info\":{},\"images\":[1]}", "q",
                  "no member \"q\"; there is \"info\", \"images\"");
    check_refused("{\"q\":7}", "q", "byte 5: expected '[' of a list, found '7'");
    check_refused("{\"q\":[1],\"q\":[2]}", "q", "1|");
    check_refused("{\"q\":[1],\"q\":[2]}", "q", "byte 13: the member \"q\" is there twice");
    check_refused("{\"q\":[1]", "q", "byte 8: expected ',' or '}'");
    check_refused("{\"q\":[1],}", "q", "byte 9: expected a key");
    check_refused("{\"q\" [1]}", "q", "byte 5: expected ':' after a key");
    check_refused("{\"a\":[1,{]},\"q\":[]}", "q", "byte 9: expected the other bracket");
}

TEST(depth_is_limited)
{
    char text[300] = "[";
    memset(text + 1, '[', 70);
    text[71] = 0;
    check_refused(text, "", "byte 65: nested too deeply");
    memset(text + 1, '[', 64);
    memset(text + 65, ']', 65);
    text[130] = 0;
    text[1 + 128] = ']';
    CHECK_INT(strlen(walk(text, "", 0)), 129); /* 64 levels in an element, and the '|' */
}

TEST(a_line_without_end_is_refused)
{
    char path[512];
    snprintf(path, sizeof path, "%s/long.jsonl", test_tmp_dir());
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs("1\n", file);
    CHECK(fseek(file, VLM_STREAM_WINDOW_MAX + VLM_STREAM_CHUNK + 2, SEEK_SET) == 0);
    fputs("x", file);
    CHECK(fclose(file) == 0);
    vlm_records *records = NULL;
    const vlm_value *value = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_records_open(path, NULL, 0, &records, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_records_next(records, &value, &error), VLMOE_OK, &error);
    CHECK_STATUS(vlm_records_next(records, &value, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "long.jsonl byte 2: more than");
    vlm_records_close(records);
    remove(path);
}

TEST(elements_are_found_again)
{
    vlm_records *records = NULL;
    const vlm_value *value = NULL;
    vlmoe_error error = {0};
    uint64_t at[3];
    const char *path = save(
        "{\"data_subtype\":\"val\",\"n\":3,\"q\":[{\"i\":0}, {\"i\":1},\n{\"i\":2}],\"z\":\"y\"}");
    CHECK_STATUS_E(vlm_records_open(path, "q", 7, &records, &error), VLMOE_OK, &error);
    CHECK_TEXT(vlm_records_beside(records, "data_subtype"), "val");
    CHECK(!vlm_records_beside(records, "n") && !vlm_records_beside(records, "z"));
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS_E(vlm_records_next(records, &value, &error), VLMOE_OK, &error);
        at[i] = vlm_records_offset(records);
    }
    CHECK_STATUS_E(vlm_records_next(records, &value, &error), VLMOE_OK, &error);
    CHECK(value == NULL);
    CHECK_TEXT(vlm_records_beside(records, "z"), "y");
    for (int i = 2; i >= 0; i--) {
        int64_t number = -1;
        CHECK_STATUS_E(vlm_records_jump(records, at[i], &value, &error), VLMOE_OK, &error);
        CHECK(vlm_json_int(vlm_json_get(value, "i"), &number));
        CHECK_INT(number, i);
        CHECK_INT(vlm_records_offset(records), at[i]);
    }
    CHECK_STATUS(vlm_records_fail(records, &error, "it is %d", 5), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "records.json byte 33: it is 5");
    vlm_records_close(records);
}
