/* Any bytes as JSON, with and without comments: refused with a reason, or every value can be walked
 * and written again. */
#include <stdlib.h>
#include "base_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_DEPTH = 128 };

/* Touch every value; the reader promises a depth far below MAX_DEPTH. */
static void walk(const vlm_value *root)
{
    const vlm_value *open[MAX_DEPTH];
    int depth = 0;
    vlm_text text = {0};
    open[0] = root;
    while (depth >= 0) {
        const vlm_value *value = open[depth];
        if (!value) {
            depth--;
            continue;
        }
        open[depth] = vlm_json_next(value);
        const char *string = vlm_json_text(value);
        if (string) vlm_text_json_string(&text, string, __builtin_strlen(string));
        if (vlm_json_kind_of(value) == VLM_JSON_NUMBER)
            vlm_text_json_number(&text, vlm_json_number(value));
        if (depth + 1 == MAX_DEPTH) abort();
        if (vlm_json_first(value)) open[++depth] = vlm_json_first(value);
    }
    vlm_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int comments = 0; comments < 2; comments++) {
        vlm_json *doc = NULL;
        vlmoe_error error = {0};
        vlmoe_status status =
            vlm_json_parse((const char *)data, size, "input", comments, &doc, &error);
        /* Out of memory here would mean that cJSON refused what the checker let through. */
        if (status && (status != VLMOE_E_FORMAT || doc || !error.text[0])) abort();
        if (!status) walk(vlm_json_root(doc));
        vlm_json_free(doc);
    }
    return 0;
}
