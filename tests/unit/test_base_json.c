/* The JSON reader: what it accepts, what it refuses and on which line. */
#include <string.h>
#include "base_json.h"
#include "harness.h"

static vlm_json *parse(const char *text, bool comments)
{
    vlm_json *doc = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_json_parse(text, strlen(text), "t.json", comments, &doc, &error), VLMOE_OK,
                   &error);
    return doc;
}

static void refuse_bytes(const char *text, size_t bytes, bool comments, const char *reason)
{
    vlm_json *doc = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_json_parse(text, bytes, "t.json", comments, &doc, &error), VLMOE_E_FORMAT,
                   &error);
    CHECK(doc == NULL);
    CHECK_HAS(error.text, reason);
}

static void refuse(const char *text, bool comments, const char *reason)
{
    refuse_bytes(text, strlen(text), comments, reason);
}

TEST(values_of_every_kind_are_read)
{
    vlm_json *doc = parse(" {\"a\": [1, -2.5e3, true, null], \"b\": {\"c\": "
                          "\"x\\n\\u00e9\\ud83d\\ude00\"}, \"n\": false} ",
                          false);
    const vlm_value *root = vlm_json_root(doc);
    CHECK_INT(vlm_json_kind_of(root), VLM_JSON_OBJECT);
    CHECK_INT(vlm_json_size(root), 3);
    const vlm_value *a = vlm_json_get(root, "a");
    CHECK_INT(vlm_json_size(a), 4);
    const vlm_value *item = vlm_json_first(a);
    CHECK(vlm_json_number(item) == 1.0);
    CHECK(vlm_json_key(item) == NULL);
    item = vlm_json_next(item);
    CHECK(vlm_json_number(item) == -2500.0);
    item = vlm_json_next(item);
    CHECK(vlm_json_bool(item));
    item = vlm_json_next(item);
    CHECK_INT(vlm_json_kind_of(item), VLM_JSON_NULL);
    CHECK(vlm_json_next(item) == NULL);
    CHECK_TEXT(vlm_json_text(vlm_json_get(vlm_json_get(root, "b"), "c")),
               "x\n\xC3\xA9\xF0\x9F\x98\x80");
    CHECK_TEXT(vlm_json_key(vlm_json_next(vlm_json_first(root))), "b");
    CHECK(vlm_json_get(root, "A") == NULL); /* case matters */
    CHECK(vlm_json_get(a, "a") == NULL);
    CHECK(vlm_json_text(a) == NULL);
    CHECK_TEXT(vlm_json_kind_name(vlm_json_kind_of(a)), "an array");
    vlm_json_free(doc);
}

TEST(whole_numbers_are_told_from_others)
{
    vlm_json *doc = parse(
        "[9007199254740991, -9007199254740991, 1e3, 9007199254740993, 0.5, \"1\", -0]", false);
    static const struct {
        bool ok;
        int64_t value;
    } want[] = {
        {true, 9007199254740991},
        {true, -9007199254740991},
        {true, 1000},
        {false, 7},
        {false, 7},
        {false, 7},
        {true, 0},
    };
    const vlm_value *item = vlm_json_first(vlm_json_root(doc));
    for (int i = 0; i < VLM_COUNT(want); i++, item = vlm_json_next(item)) {
        int64_t value = 7;
        CHECK(vlm_json_int(item, &value) == want[i].ok);
        CHECK_INT(value, want[i].value);
    }
    vlm_json_free(doc);
}

TEST(comments_are_skipped_only_where_allowed)
{
    vlm_json *doc =
        parse("// first\n{ /* a\n b */ \"k\": \"// kept\", // last\n \"m\": 2/**/}\n// end", true);
    CHECK_TEXT(vlm_json_text(vlm_json_get(vlm_json_root(doc), "k")), "// kept");
    vlm_json_free(doc);
    refuse("{} // no", false, "line 1: expected JSON, found '/'");
    refuse("{\n/* never ends", true, "line 2: expected an end of this comment");
    refuse("{} /", true, "expected JSON");
}

TEST(syntax_errors_name_file_and_line)
{
    refuse("", false, "t.json line 1: expected a value, found the end of the text");
    refuse("{\n\"a\": 1\n\"b\": 2}", false, "t.json line 3: expected ',' or '}', found '\"'");
    refuse("{\n\n\"a\": 1,\n}", false, "line 4: expected a key in quotes, found '}'");
    refuse("[1,\n2,]", false, "line 2: expected a value, found ']'");
    refuse("[1 2]", false, "expected ',' or ']', found '2'");
    refuse("{\"a\" 1}", false, "expected ':' after a key");
    refuse("{a: 1}", false, "expected a key in quotes, found 'a'");
    refuse("/* x\n\n*/ [tru]", true, "line 3: expected a value, found 't'");
    refuse("{} \n x", false, "line 2: expected nothing after the value, found 'x'");
    refuse("[1}", false, "expected ',' or ']', found '}'");
    refuse("\"a\nb\"", false, "line 1: expected the closing quote of a string, found byte 0x0a");
    refuse("\"abc", false, "expected the closing quote of a string, found the end of the text");
}

TEST(numbers_follow_the_grammar)
{
    static const char *const bad[] = {"01",  "+1",   ".5",  "1.",       "1e",   "-",
                                      "1e+", "0x10", "NaN", "Infinity", "1.e3", "--1"};
    for (int i = 0; i < VLM_COUNT(bad); i++) refuse(bad[i], false, "line 1");
    refuse("1e999", false, "too large");
    refuse("1000000000000000000000000000000000000000000000000000000000000000", false,
           "too many digits");
}

TEST(strings_must_be_sound_utf8_without_nul)
{
    refuse("\"\xFF\"", false, "expected UTF-8, found byte 0xff");
    refuse("\"\\ud800\"", false, "without a second");
    refuse("\"\\ud800\\u0041\"", false, "without a second");
    refuse("\"\\udc00\"", false, "without a first");
    refuse("\"\\u0000\"", false, "\\u0000 is not allowed");
    refuse("\"\\x\"", false, "expected a JSON escape");
    refuse("\"\\u00g0\"", false, "four hexadecimal digits");
    refuse_bytes("\"a\0b\"", 5, false, "found byte 0x00");
    refuse_bytes("1\0", 2, false, "expected nothing after the value");
}

TEST(equal_keys_are_refused_even_when_spelled_differently)
{
    refuse("{\"x\": {\"ab\": 1, \"c\": 2, \"\\u0061b\": 3}}", false,
           "the key \"ab\" appears twice");
    vlm_json_free(parse("{\"x\": {\"a\": 1}, \"a\": 1}", false));
}

TEST(nesting_has_a_limit)
{
    char text[400] = "";
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    vlm_json_free(parse(text, false));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    refuse(text, false, "nested too deeply");
    memset(text, '[', 399);
    refuse(text, false, "nested too deeply");
}
