/* Predictions as text. */
#include <string.h>
#include "metric_result.h"

void vlm_result_begin(vlm_result_form form, vlm_text *out)
{
    vlm_text_clear(out, 0);
    if (form == VLM_RESULT_VQA) vlm_text_put(out, "[");
    if (form == VLM_RESULT_NLI) vlm_text_put(out, "pairID,gold_label\n");
}

static void put_quoted(const char *text, vlm_text *out)
{
    vlm_text_json_string(out, text, strlen(text));
}

static void put_field(const char *text, vlm_text *out)
{
    if (!strpbrk(text, ",\"\r\n")) {
        vlm_text_append(out, text, strlen(text));
        return;
    }
    vlm_text_append(out, "\"", 1);
    for (; *text; text++) vlm_text_append(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    vlm_text_append(out, "\"", 1);
}

void vlm_result_put(vlm_result_form form, const vlm_result_row *row, vlm_text *out)
{
    switch (form) {
    case VLM_RESULT_VQA:
        vlm_text_put(out, out->bytes > 1 ? ",\n{\"question_id\": " : "\n{\"question_id\": ");
        if (row->is_number) vlm_text_put(out, "%s", row->id);
        else put_quoted(row->id, out);
        vlm_text_put(out, ", \"answer\": ");
        put_quoted(row->answer[0], out);
        vlm_text_put(out, "}");
        break;
    case VLM_RESULT_NLVR2:
    case VLM_RESULT_NLI:
        put_field(row->id, out);
        vlm_text_put(out, ",");
        put_field(row->answer[0], out);
        vlm_text_put(out, "\n");
        break;
    case VLM_RESULT_CLASSIFY:
        vlm_text_put(out, "{\"image\": ");
        put_quoted(row->id, out);
        for (int i = 0; i < row->n; i++) {
            vlm_text_put(out, i ? ", " : ", \"labels\": [");
            put_quoted(row->answer[i], out);
        }
        vlm_text_put(out, "]}\n");
        break;
    }
}

void vlm_result_end(vlm_result_form form, vlm_text *out)
{
    if (form == VLM_RESULT_VQA) vlm_text_put(out, "\n]\n");
}
