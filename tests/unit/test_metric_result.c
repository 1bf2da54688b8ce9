/* Files of predictions, byte by byte. */
#include "harness.h"
#include "metric_result.h"

static void written(vlm_result_form form, const vlm_result_row *row, int n, const char *want)
{
    vlm_text out = {0};
    vlm_result_begin(form, &out);
    for (int i = 0; i < n; i++) vlm_result_put(form, &row[i], &out);
    vlm_result_end(form, &out);
    CHECK(!out.failed);
    CHECK_TEXT(out.data, want);
    vlm_text_free(&out);
}

TEST(vqa_is_an_array_with_ids_as_they_were_given)
{
    const vlm_result_row row[] = {
        {.id = "7000", .is_number = true, .answer = (const char *[]){"say \"hi\""}, .n = 1},
        {.id = "a7", .answer = (const char *[]){"caf\xC3\xA9", "second"}, .n = 2}};
    written(VLM_RESULT_VQA, row, 2,
            "[\n{\"question_id\": 7000, \"answer\": \"say \\\"hi\\\"\"},\n"
            "{\"question_id\": \"a7\", \"answer\": \"caf\xC3\xA9\"}\n]\n");
    written(VLM_RESULT_VQA, NULL, 0, "[\n]\n");
}

TEST(lines_of_commas_quote_what_would_break_them)
{
    const vlm_result_row row[] = {{.id = "dev-1-0-1", .answer = (const char *[]){"False"}, .n = 1},
                                  {.id = "a,\"b\"", .answer = (const char *[]){"True"}, .n = 1}};
    written(VLM_RESULT_NLVR2, row, 2, "dev-1-0-1,False\n\"a,\"\"b\"\"\",True\n");
    written(VLM_RESULT_NLVR2, NULL, 0, "");
    written(VLM_RESULT_NLI, row, 1, "pairID,gold_label\ndev-1-0-1,False\n");
}

TEST(classification_has_its_answers_in_order)
{
    const vlm_result_row row = {.id = "a/b.JPEG", .answer = (const char *[]){"n2", "n1"}, .n = 2};
    written(VLM_RESULT_CLASSIFY, &row, 1,
            "{\"image\": \"a/b.JPEG\", \"labels\": [\"n2\", \"n1\"]}\n");
}
