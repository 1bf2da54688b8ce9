/* A report's parts: nothing breaks out of the page, long runs stay small, odd records are counted, pictures are whole. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "data_image.h"
#include "harness.h"
#include "report.h"
#include "report_chart.h"
#include "report_records.h"

static const char *text_of(vlm_text *text)
{
    return text->data ? text->data : "";
}

static void check_escaped(const char *bytes, size_t n, const char *want)
{
    vlm_text out = {0};
    vlm_html_text(&out, bytes, n);
    CHECK_TEXT(text_of(&out), want);
    vlm_text_free(&out);
}

TEST(text_cannot_break_out_of_the_page)
{
    check_escaped("<script>alert(\"x\" & 'y')</script>", 33,
                  "&lt;script&gt;alert(&quot;x&quot; &amp; &#39;y&#39;)&lt;/script&gt;");
    check_escaped("a\0b\x1b[31m", 8,
                  "a\xef\xbf\xbd"
                  "b\xef\xbf\xbd[31m"); /* zero and escape */
    check_escaped("\xc3\xa4 \xe2\x96\x81 \xf0\x9f\x8d\x8e", 11,
                  "\xc3\xa4 \xe2\x96\x81 \xf0\x9f\x8d\x8e");
    check_escaped("\xc2\x85x", 3, "\xef\xbf\xbdx");           /* a control character beyond ASCII */
    check_escaped("\xe2\x96", 2, "\xef\xbf\xbd\xef\xbf\xbd"); /* cut off */
    check_escaped("\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* half of a pair */
    check_escaped("a\nb\tc", 5, "a\nb\tc");
    check_escaped("", 0, "");
}

static void check_number(double value, const char *want)
{
    vlm_text out = {0};
    vlm_html_number(&out, value);
    CHECK_TEXT(text_of(&out), want);
    vlm_text_free(&out);
}

TEST(numbers_have_three_to_four_digits)
{
    check_number(0, "0");
    check_number(1, "1");
    check_number(0.25, "0.25");
    check_number(2.65454, "2.655");
    check_number(44.869, "44.87");
    check_number(123.44, "123.4");
    check_number(1234.4, "1234");
    check_number(-0.5, "-0.5");
    check_number(0.002, "0.002");
    check_number(0.00025, "0.00025");
    check_number(1.5e-7, "1.5e-07");
    check_number(4456672, "4\xe2\x80\xaf"
                          "456\xe2\x80\xaf"
                          "672");
    check_number(2e30, "2.00e+30");
    check_number(NAN, "\xe2\x80\x93");
    check_number(INFINITY, "\xe2\x80\x93");
}

TEST(counts_and_times_read_as_people_write_them)
{
    vlm_text out = {0};
    vlm_html_count(&out, -1234567);
    vlm_html_count(&out, 999);
    vlm_html_seconds(&out, 263.4);
    vlm_html_seconds(&out, 7261);
    vlm_html_seconds(&out, NAN);
    CHECK_TEXT(text_of(&out), "-1\xe2\x80\xaf"
                              "234\xe2\x80\xaf"
                              "567999"
                              "4 min 23 s2 h 1 min\xe2\x80\x93");
    vlm_text_free(&out);
}

/* ---- curves ---- */

TEST(a_long_run_keeps_few_points_and_loses_no_extreme)
{
    enum { STEPS = 100000 };
    vlm_curve c = {0};
    double sum = 0, low = 1e9, high = -1e9, kept = 0;
    int64_t n = 0;
    for (int64_t s = 1; s <= STEPS; s++) {
        double value = s == 2 ? 50.0 : s == 4 ? -3.0 : 1.0 / (double)s;
        CHECK(vlm_curve_add(&c, s, value));
        sum += value;
    }
    CHECK(vlm_curve_points(&c) <= VLM_CURVE_BUCKETS &&
          vlm_curve_points(&c) > VLM_CURVE_BUCKETS / 2);
    CHECK_INT(c.width, 256); /* the least power of two with which 600 buckets reach 100,000 */
    for (int64_t i = 0; i < c.used; i++) {
        const vlm_curve_bucket *b = &c.bucket[i];
        if (!b->n) continue;
        CHECK(b->step > (double)(i * c.width * b->n) &&
              b->step <= (double)((i + 1) * c.width * b->n));
        n += b->n;
        kept += b->sum;
        low = fmin(low, b->min);
        high = fmax(high, b->max);
    }
    CHECK_INT(n, STEPS);
    CHECK_CLOSE(kept, sum,
                1e-16 * STEPS *
                    60.0); /* the sums differ in order alone: n u times the largest partial sum */
    CHECK(low == -3.0 && high == 50.0);
    vlm_curve_free(&c);
}

TEST(what_is_not_finite_leaves_a_gap)
{
    vlm_curve c = {0};
    CHECK(isnan(vlm_curve_last(&c)));
    CHECK(vlm_curve_add(&c, 1, 2.0) && vlm_curve_add(&c, 2, NAN) && vlm_curve_add(&c, 3, INFINITY));
    CHECK(vlm_curve_add(&c, 4, 3.0) && vlm_curve_add(&c, 0, 9.0) && vlm_curve_add(&c, -5, 9.0));
    CHECK_INT(vlm_curve_points(&c), 2);
    CHECK(vlm_curve_last(&c) == 3.0);
    vlm_curve_free(&c);
}

TEST(marks_of_an_axis_are_round_and_inside)
{
    static const double cases[][4] = {{0, 1000, 0, 200},
                                      {0, 8.6, 0, 2},
                                      {0, 0.002, 0, 0.0005},
                                      {0.31, 0.97, 0.4, 0.2},
                                      {-1, 1, -1, 0.5}};
    for (int i = 0; i < VLM_COUNT(cases); i++) {
        double first, distance;
        vlm_chart_ticks(cases[i][0], cases[i][1], 5, &first, &distance);
        CHECK_CLOSE(first, cases[i][2], 1e-12);
        CHECK_CLOSE(distance, cases[i][3], 1e-12);
    }
    double first, distance;
    vlm_chart_ticks(3, 3, 5, &first, &distance); /* no span */
    CHECK(isfinite(first) && distance > 0);
}

static void check_chart(const vlm_curve *curve, const char *part)
{
    vlm_text out = {0};
    const vlm_chart chart = {.title = "a <b>", .n_lines = 1, .lines = {{"x", 0, curve, curve}}};
    vlm_chart_write(&out, &chart);
    CHECK_HAS(text_of(&out), part);
    CHECK_HAS(text_of(&out), "a &lt;b&gt;");
    CHECK(!strstr(out.data, "nan") && !strstr(out.data, "inf"));
    vlm_text_free(&out);
}

TEST(a_chart_of_one_point_or_of_equal_values_is_drawn)
{
    vlm_curve c = {0};
    vlm_text out = {0};
    const vlm_chart empty = {.title = "none", .n_lines = 1, .lines = {{"x", 0, &c, NULL}}};
    vlm_chart_write(&out, &empty);
    CHECK_INT(out.bytes, 0);
    CHECK(vlm_curve_add(&c, 1, 0.0));
    check_chart(&c, "circle");
    for (int64_t s = 2; s < 9; s++) CHECK(vlm_curve_add(&c, s, 0.0));
    check_chart(&c, "class=\"line\"");
    vlm_curve_free(&c);
}

/* ---- pictures ---- */

static int value_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return (int)(strchr(digits, c) - digits);
}

static size_t decode_base64(const char *text, uint8_t *out)
{
    size_t n = 0;
    for (; *text; text += 4) {
        int word = value_of(text[0]) << 18 | value_of(text[1]) << 12;
        if (text[2] != '=') word |= value_of(text[2]) << 6;
        if (text[3] != '=') word |= value_of(text[3]);
        out[n++] = (uint8_t)(word >> 16);
        if (text[2] != '=') out[n++] = (uint8_t)(word >> 8 & 255);
        if (text[3] != '=') out[n++] = (uint8_t)(word & 255);
    }
    return n;
}

static void check_picture(int64_t width, int64_t height, int channels)
{
    static const char prefix[] = "data:image/png;base64,";
    uint8_t pixels[7 * 5 * 4], bytes[2048];
    vlm_text out = {0};
    vlm_image got = {0};
    for (int64_t i = 0; i < width * height * channels; i++)
        pixels[i] = channels == 4 && i % 4 == 3 ? 255 : (uint8_t)(37 * i + 11);
    CHECK_STATUS(vlm_html_png(&out, width, height, channels, pixels, NULL), VLMOE_OK);
    CHECK(!strncmp(text_of(&out), prefix, strlen(prefix)));
    size_t n = decode_base64(out.data + strlen(prefix), bytes);
    CHECK(!memcmp(bytes + n - 8,
                  "IEND\xae"
                  "B`\x82",
                  8)); /* no byte more or less */
    CHECK_STATUS(vlm_image_decode(bytes, n, NULL, &got, NULL), VLMOE_OK);
    CHECK(got.width == width && got.height == height);
    for (int64_t i = 0; i < width * height * 3; i++)
        CHECK_INT(got.pixels[i], pixels[i / 3 * channels + i % 3]);
    vlm_image_free(&got);
    vlm_text_free(&out);
}

TEST(a_picture_in_the_page_decodes_to_its_pixels)
{
    for (int64_t width = 1; width <= 7; width++)
        check_picture(width, 5, 3); /* every kind of end of base64 */
    check_picture(7, 5, 4);
    vlm_text out = {0};
    CHECK_STATUS(vlm_html_png(&out, 0, 5, 3, (const uint8_t *)"", NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_html_png(&out, 1 << 20, 1, 3, (const uint8_t *)"", NULL), VLMOE_E_ARG);
}

/* ---- records ---- */

TEST(odd_lines_of_records_are_counted_and_left_out)
{
    vlm_metrics *m = read_metrics(
        "{\"kind\": \"train\", \"step\": 1, \"loss\": 4, \"seconds\": 0.5, \"wait_seconds\": 0.1, "
        "\"samples\": 8}\n"
        "{\"kind\": \"train\", \"step\": 2, \"loss\": null, \"text_loss\": \"x\", \"seconds\": "
        "0.5, \"samples\": 8}\n"
        "\n"
        "not json\n"
        "[1, 2]\n"
        "{\"kind\": \"other\", \"step\": 3}\n"
        "{\"kind\": \"train\", \"step\": -7, \"loss\": 1}\n"
        "{\"kind\": \"eval\", \"step\": 2, \"loss\": 3, \"text_right\": 0.25, \"seconds\": 1}\n"
        "{\"kind\": \"train\", \"step\": 3, \"lo");
    CHECK_INT(m->lines, 8);
    CHECK_INT(m->odd_lines, 5);
    CHECK_INT(m->steps, 2);
    CHECK_INT(m->evaluations, 1);
    CHECK_INT(m->samples, 16);
    CHECK_CLOSE(m->seconds, 2.0, 0.0);
    CHECK_INT(vlm_curve_points(&m->train[VLM_METRIC_LOSS]), 1);
    CHECK_INT(vlm_curve_points(&m->train[VLM_METRIC_PART_LOSS]), 0);
    CHECK(vlm_curve_last(&m->train[VLM_METRIC_SPEED]) == 16.0);
    CHECK(m->last[VLM_METRIC_PART_RIGHT] == 0.25 && isnan(m->last[VLM_METRIC_PART_RIGHT + 1]));
    free_metrics(m);
    m = read_metrics("");
    CHECK(m->lines == 0 && m->steps == 0 && m->n_layers == 0);
    free_metrics(m);
}

TEST(loads_over_time_keep_every_token_when_columns_fold)
{
    vlm_text lines = {0};
    enum { STEPS = 1000 };
    for (int s = 1; s <= STEPS; s++)
        vlm_text_put(
            &lines,
            "{\"kind\": \"train\", \"step\": %d, \"routing\": [{\"block\": 1, \"modality\": \"v\", "
            "\"dropped\": 0.5, \"load\": [%d, 1, 0]}, {\"block\": 2, \"modality\": \"t\", "
            "\"load\": []}, 7]}\n",
            s, s);
    vlm_metrics *m = read_metrics(lines.data);
    double sums[3] = {0};
    CHECK_INT(m->n_layers, 1); /* a layer without experts is none */
    CHECK_INT(m->odd_lines, 0);
    CHECK_INT(m->layers[0].heat_width, 8); /* 160 columns reach 1,000 steps */
    for (int i = 0; i < 3 * VLM_HEAT_BUCKETS; i++) sums[i % 3] += m->layers[0].heat[i];
    CHECK(sums[0] == STEPS * (STEPS + 1) / 2.0 && sums[1] == STEPS && sums[2] == 0);
    free_metrics(m);
    vlm_text_free(&lines);
}

/* ---- the page ---- */

TEST(a_report_of_nothing_is_a_whole_page_and_hostile_names_stay_text)
{
    vlm_text out = {0};
    const vlm_report nothing = {.name = "</title><script>x</script>",
                                .ending = "<img src=x>",
                                .library = "0",
                                .metrics_missing = "<b>",
                                .model_missing = "\"><svg onload=1>"};
    CHECK_STATUS(vlm_report_write(&nothing, &out, NULL), VLMOE_OK);
    CHECK_HAS(text_of(&out), "</html>");
    CHECK_HAS(text_of(&out), "&lt;/title&gt;&lt;script&gt;x");
    CHECK(!strstr(out.data, "<script>x") && !strstr(out.data, "<img") &&
          !strstr(out.data, "<svg onload"));
    CHECK(!strstr(out.data, "http"));
    vlm_text_free(&out);
}

TEST(an_example_s_words_stay_text_and_pieces_lose_their_mark)
{
    vlm_text out = {0};
    vlm_report_token tokens[2] = {
        {.piece = "\xe2\x96\x81<i>dog", .is_hidden = true, .shown = "[MASK]", .n_guesses = 1},
        {.piece = "ful&"}};
    snprintf(tokens[0].guess[0].piece, VLM_REPORT_PIECE, "\xe2\x96\x81\"cat");
    tokens[0].guess[0].share = 0.5;
    vlm_report_example example = {.stream = 1, .key = "<k>", .n_tokens = 2, .tokens = tokens};
    const vlm_report_model model = {.n_examples = 1, .examples = &example};
    const vlm_report report = {.name = "n", .ending = "", .library = "0", .model = &model};
    CHECK_STATUS(vlm_report_write(&report, &out, NULL), VLMOE_OK);
    CHECK_HAS(text_of(&out), "&lt;i&gt;dog");
    CHECK_HAS(text_of(&out), "&quot;cat");
    CHECK_HAS(text_of(&out), "&lt;k&gt;");
    CHECK(!strstr(out.data, "<i>dog") && !strstr(out.data, "<k>") &&
          !strstr(out.data, "\xe2\x96\x81"));
    vlm_text_free(&out);
}
