/* The rules of VQA v2's score, one by one, and its report. */
#include <string.h>
#include "base_unicode.h"
#include "harness.h"
#include "metric_vqa.h"

static void normal(const char *text, const char *want)
{
    char *got = vlm_vqa_normalise(text);
    CHECK_TEXT(got, want);
    vlm_free(got);
}

static void trimmed(const char *text, const char *want)
{
    char *got = vlm_vqa_trim(text);
    CHECK_TEXT(got, want);
    vlm_free(got);
}

TEST(trim_turns_newlines_and_tabs_into_spaces_and_cuts_ends)
{
    trimmed(" \t a\tb\nc \r\n", "a b c");
    trimmed("\xC2\xA0"
            "a\xC2\xA0"
            "b\xE3\x80\x80",
            "a\xC2\xA0"
            "b"); /* no-break and ideographic spaces are white space of Python too */
    trimmed(" \n", "");
    trimmed("", "");
}

TEST(signs_beside_a_space_go_and_others_become_spaces)
{
    normal("t-shirt", "t shirt");
    normal("t - shirt", "t shirt");
    normal("t- shirt-s", "t shirts"); /* one place decides for the sign everywhere */
    normal("cat/dog", "cat dog");
    normal("red;ball, blue,sky", "red ball bluesky"); /* each sign by itself */
    normal("(blue)", "blue");
    normal("x=[1]{2}<3>@`\"\\_!?+", "x 1 2 3");
    normal("it's 10:30 & 5% #1 $2 *", "it's 10:30 & 5% #1 $2 *");
    normal("/", "");
}

TEST(a_comma_between_digits_takes_all_signs_out)
{
    normal("1,000", "1000");
    normal("1,000-ish/x", "1000ishx");
    normal("1,b", "1 b");
    normal("\xD9\xA1,\xD9\xA2-x", "\xD9\xA1\xD9\xA2x");   /* Arabic digits are digits */
    normal("\xC2\xB2,\xC2\xB2-x", "\xC2\xB2 \xC2\xB2 x"); /* superscripts are none */
}

TEST(full_stops_go_unless_a_digit_follows_at_most_32)
{
    normal("3.", "3");
    normal("2.5 .5 a.b U.S.A.", "2.5 .5 ab usa");
    normal("x.\xD9\xA1", "x.\xD9\xA1");
    normal("........................................", "........"); /* 40 */
}

TEST(words_numbers_articles_and_contractions)
{
    normal("The  A an tHe man", "man");
    normal("None zero One ten eleven", "0 0 1 10 eleven");
    normal("dont wont couldnt've couldn'tve couldntve",
           "don't won't couldn't've couldn't've couldntve");
    normal("somebody'd somebodyd've y'allll yall'd've 'ow'sat",
           "somebodyd somebody'd've y'all'll y'all'd've 'ow's'at");
    normal("Im Ive lets shes let's she's twas oclock",
           "im ive lets shes let's she's 'twas o'clock");
    normal("don't 's a'", "don't 's a'");
    normal("the", "");
    normal("", "");
}

TEST(lower_case_and_white_space_are_those_of_unicode)
{
    normal("CAF\xC3\x89 \xC3\x9C"
           "ber",
           "caf\xC3\xA9 \xC3\xBC"
           "ber");
    normal("a\xE2\x80\x83red\xC2\x85"
           "an\x1Cx",
           "red x");
    normal("\xC4\xB0x", "i\xCC\x87x");
    normal("\xCE\x91\xCE\xA3",
           "\xCE\xB1\xCF\x83"); /* the documented difference: Python ends with U+03C2 */
    normal("a\xFF"
           "B \xC3",
           "a\xFF"
           "b \xC3"); /* what is not UTF-8 stays */
    int32_t code = 0;
    CHECK_INT(vlm_unicode_read("\xE2\x80\x83", 3, &code), 3);
    CHECK_INT(code, 0x2003);
    CHECK_INT(vlm_unicode_read("\xE2\x80", 2, &code), 0);
    CHECK(vlm_unicode_is_space(0x1680) && vlm_unicode_is_space(0x205F) &&
          !vlm_unicode_is_space(0x200B));
    CHECK(vlm_unicode_is_word(0xE9) && vlm_unicode_is_word('7') && !vlm_unicode_is_word('-'));
}

static double score_of(const char *answer, const char *const *truth, int64_t n)
{
    double score = -1.0;
    CHECK_STATUS(vlm_vqa_score(answer, truth, n, &score, NULL), VLMOE_OK);
    return score;
}

TEST(score_is_the_mean_over_the_others_of_matches_over_three)
{
    static const double want[] = {0.0, 0.3, 0.6, 0.9, 1.0};
    for (int matches = 0; matches <= 10; matches++) {
        const char *truth[10];
        for (int i = 0; i < 10; i++) truth[i] = i < matches ? "cat" : "dog";
        /* ten terms of at most 1, summed and divided: within ten roundings of 2^-53 */
        CHECK_CLOSE(score_of("cat", truth, 10), want[VLM_MIN(matches, 4)], 10 * 0x1p-53);
        CHECK_CLOSE(vlm_vqa_target(matches), want[VLM_MIN(matches, 4)], 0.0);
    }
    CHECK_CLOSE(score_of("x", (const char *[]){"x", "y"}, 2), 1.0 / 6.0, 0x1p-53);
    CHECK_CLOSE(score_of("x", (const char *[]){"x"}, 1), 0.0, 0.0); /* no others */
    CHECK_STATUS(vlm_vqa_score("x", NULL, 0, NULL, NULL), VLMOE_E_ARG);
    CHECK_CLOSE(vlm_vqa_target(-1), 0.0, 0.0);
}

TEST(answers_that_all_agree_are_compared_byte_by_byte)
{
    const char *same[5] = {"T-shirt.", "T-shirt.", " T-shirt.\n", "T-shirt.", "T-shirt."};
    CHECK_CLOSE(score_of("T-shirt. ", same, 5), 1.0, 0.0);
    CHECK_CLOSE(score_of("t shirt", same, 5), 0.0, 0.0);
    const char *mixed[5] = {"T-shirt.", "T-shirt.", "t shirt", "T-shirt.", "the t_shirt!"};
    CHECK_CLOSE(score_of("T SHIRT", mixed, 5), 1.0, 0.0);
}

TEST(report_keeps_types_apart_and_rounds_like_the_official_one)
{
    vlm_vqa_tally tally;
    CHECK_STATUS(vlm_vqa_tally_init(&tally, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_vqa_tally_add(&tally, 1.0, "yes/no", "is the", NULL), VLMOE_OK);
    CHECK_STATUS(vlm_vqa_tally_add(&tally, 0.3, "other", "what is", NULL), VLMOE_OK);
    CHECK_STATUS(vlm_vqa_tally_add(&tally, 0.6, "other", NULL, NULL), VLMOE_OK);
    CHECK_INT(tally.n, 3);
    CHECK_CLOSE(vlm_percent(tally.sum, tally.n), 63.33, 0.0);
    CHECK_INT(vlm_named_count(tally.answer_types), 2);
    CHECK_TEXT(vlm_named_row_at(tally.answer_types, 0)->name, "other");
    const vlm_named_row *other = vlm_named_find(tally.answer_types, "other");
    CHECK_CLOSE(vlm_percent(other->sum, other->n), 45.0, 0.0);
    CHECK_INT(vlm_named_count(tally.question_types), 2);
    CHECK(!vlm_named_find(tally.question_types, "how"));
    vlm_vqa_tally_free(&tally);
}
