/* Errors, sizes, strings and growing text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_json.h"
#include "harness.h"

TEST(fail_keeps_the_first_text_and_returns_its_own_status)
{
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_fail(&error, VLMOE_E_SHAPE, "got [%d, %d]", 2, 3), VLMOE_E_SHAPE);
    CHECK_STATUS(vlm_fail(&error, VLMOE_E_NOMEM, "later"), VLMOE_E_NOMEM);
    CHECK_INT(error.status, VLMOE_E_SHAPE);
    CHECK_TEXT(error.text, "got [2, 3]");
    CHECK_STATUS(vlm_fail(NULL, VLMOE_E_IO, "nobody listens"), VLMOE_E_IO);
}

TEST(fail_in_puts_the_place_in_front)
{
    vlmoe_error error = {0};
    vlm_fail(&error, VLMOE_E_FORMAT, "bad magic");
    CHECK_STATUS(vlm_fail_in(&error, "shard-%d", 7), VLMOE_E_FORMAT);
    CHECK_TEXT(error.text, "shard-7: bad magic");
}

TEST(long_error_texts_are_cut_and_terminated)
{
    char text[2 * VLMOE_ERROR_TEXT];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    vlmoe_error error = {0};
    vlm_fail(&error, VLMOE_E_ARG, "%s", text);
    CHECK_INT(strlen(error.text), VLMOE_ERROR_TEXT - 1);
    vlm_fail_in(&error, "%s", text);
    CHECK_INT(strlen(error.text), VLMOE_ERROR_TEXT - 1);
}

TEST(status_names_are_their_identifiers)
{
    CHECK_TEXT(vlmoe_status_name(VLMOE_OK), "VLMOE_OK");
    CHECK_TEXT(vlmoe_status_name(VLMOE_E_NUMERIC), "VLMOE_E_NUMERIC");
    CHECK(vlmoe_status_name((vlmoe_status)77) != NULL);
    CHECK_INT(vlmoe_version(),
              VLMOE_VERSION_MAJOR << 16 | VLMOE_VERSION_MINOR << 8 | VLMOE_VERSION_PATCH);
}

TEST(products_that_overflow_are_refused_and_leave_out_alone)
{
    int64_t product = -1;
    CHECK(vlm_mul_i64(INT64_MAX / 2, 2, &product));
    CHECK_INT(product, INT64_MAX - 1);
    CHECK(!vlm_mul_i64(INT64_MAX / 2 + 1, 2, &product));
    CHECK_INT(product, INT64_MAX - 1);
    size_t size = 5;
    CHECK(!vlm_mul_size(SIZE_MAX, 2, &size));
    CHECK_INT(size, 5);
    CHECK(vlm_alloc_array(SIZE_MAX / 2, 4) == NULL);
    CHECK_INT(vlm_round_up(0, 64), 0);
    CHECK_INT(vlm_round_up(65, 64), 128);
}

TEST(blocks_are_zeroed_and_aligned)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4095, 4096, 100000};
    for (int i = 0; i < VLM_COUNT(sizes); i++) {
        unsigned char *block = vlm_alloc(sizes[i]);
        CHECK(block != NULL);
        CHECK_INT((uintptr_t)block % (sizes[i] >= 4096 ? 256 : 64), 0);
        for (size_t j = 0; j < sizes[i]; j++) CHECK_INT(block[j], 0);
        vlm_free(block);
    }
}

TEST(edit_distance_counts_insert_delete_replace_and_swap)
{
    CHECK_INT(vlm_edit_distance("", ""), 0);
    CHECK_INT(vlm_edit_distance("", "abc"), 3);
    CHECK_INT(vlm_edit_distance("abc", ""), 3);
    CHECK_INT(vlm_edit_distance("kitten", "sitting"), 3);
    CHECK_INT(vlm_edit_distance("layers", "layesr"), 1); /* neighbours swapped */
    CHECK_INT(vlm_edit_distance("ca", "abc"), 3); /* optimal string alignment, not unrestricted */
    CHECK_INT(vlm_edit_distance("steps", "step"), 1);
    char big[200];
    memset(big, 'q', sizeof big);
    big[sizeof big - 1] = '\0';
    CHECK_INT(vlm_edit_distance(big, "q"), 199);
    CHECK_INT(vlm_edit_distance(big, big), 0);
}

TEST(strings_are_copied_and_formatted)
{
    char *copy = vlm_strdup("abc");
    CHECK_TEXT(copy, "abc");
    vlm_free(copy);
    copy = vlm_format("%s-%03d", "step", 7);
    CHECK_TEXT(copy, "step-007");
    vlm_free(copy);
}

static void collect(void *user, int level, const char *area, const char *text)
{
    snprintf(user, 64, "%d %s %s", level, area, text);
}

TEST(a_log_without_a_function_is_silent)
{
    char line[64] = "";
    vlm_log log = {collect, line};
    vlm_logf(&log, VLMOE_LOG_WARN, "data", "%d bad", 3);
    CHECK_TEXT(line, "1 data 3 bad");
    vlm_logf(NULL, VLMOE_LOG_WARN, "data", "x");
    vlm_logf(&(vlm_log){0}, VLMOE_LOG_WARN, "data", "x");
    CHECK_TEXT(line, "1 data 3 bad");
}

TEST(text_grows_and_stays_terminated)
{
    vlm_text text = {0};
    vlm_text_append(&text, "", 0);
    CHECK_TEXT(text.data, "");
    for (int i = 0; i < 1000; i++) vlm_text_put(&text, "%d,", i % 10);
    CHECK_INT(text.bytes, 2000);
    CHECK_INT(strlen(text.data), 2000);
    CHECK_INT(text.data[1998], '9');
    CHECK(!text.failed);
    vlm_text_free(&text);
    CHECK(text.data == NULL);
}

TEST(json_strings_escape_what_must_be_and_mend_bad_utf8)
{
    static const char value[] = "a\"b\\c\n\t\x01 \xC3\xA9 \xFF \xED\xA0\x80";
    vlm_text text = {0};
    vlm_text_json_string(&text, value, sizeof value - 1);
    CHECK_TEXT(
        text.data,
        "\"a\\\"b\\\\c\\n\\t\\u0001 \xC3\xA9 \xEF\xBF\xBD \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    vlm_text_free(&text);
}

static void check_number(double value, const char *want)
{
    vlm_text text = {0};
    vlm_text_json_number(&text, value);
    CHECK_TEXT(text.data, want);
    if (isfinite(value)) CHECK(strtod(text.data, NULL) == value);
    vlm_text_free(&text);
}

TEST(json_numbers_are_the_shortest_that_read_back_equal)
{
    check_number(0.0, "0");
    check_number(-3.0, "-3");
    check_number(0.1, "0.1");
    check_number(0.1 + 0.2, "0.30000000000000004");
    check_number(1e-9, "1e-09");
    check_number(100000.0, "100000");
    check_number(1e300, "1e+300");
    check_number(5e-324, "5e-324");
    check_number(1.0 / 3.0, "0.3333333333333333");
    check_number(NAN, "null");
    check_number(-INFINITY, "null");
}

TEST(utf8_lengths_follow_rfc_3629)
{
    CHECK_INT(vlm_utf8_length("", 0), 0);
    CHECK_INT(vlm_utf8_length("a", 1), 1);
    CHECK_INT(vlm_utf8_length("\xC3\xA9", 2), 2);
    CHECK_INT(vlm_utf8_length("\xC3\xA9", 1), 0);     /* cut */
    CHECK_INT(vlm_utf8_length("\xC0\xAF", 2), 0);     /* overlong */
    CHECK_INT(vlm_utf8_length("\xE0\x9F\xBF", 3), 0); /* overlong */
    CHECK_INT(vlm_utf8_length("\xED\xA0\x80", 3), 0); /* surrogate */
    CHECK_INT(vlm_utf8_length("\xE2\x82\xAC", 3), 3);
    CHECK_INT(vlm_utf8_length("\xF4\x8F\xBF\xBF", 4), 4); /* U+10FFFF */
    CHECK_INT(vlm_utf8_length("\xF4\x90\x80\x80", 4), 0);
    CHECK_INT(vlm_utf8_length("\x80", 1), 0);
}
