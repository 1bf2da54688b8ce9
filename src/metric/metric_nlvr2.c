/* Examples of NLVR2 counted, and grouped by sentence. */
#include <stdlib.h>
#include <string.h>
#include "metric_nlvr2.h"

typedef struct judged {
    char *sentence; /* the identifier without its third field */
    bool is_right;
} judged;

struct vlm_nlvr2 {
    int64_t n, capacity;
    judged *item; /* [n] */
};

vlm_nlvr2 *vlm_nlvr2_create(void)
{
    return vlm_alloc(sizeof(vlm_nlvr2));
}

void vlm_nlvr2_destroy(vlm_nlvr2 *tally)
{
    if (!tally) return;
    for (int64_t i = 0; i < tally->n; i++) vlm_free(tally->item[i].sentence);
    vlm_free(tally->item);
    vlm_free(tally);
}

/* "dev-1-0-1" -> "dev-1--1". */
static char *sentence_of(const char *identifier)
{
    char *sentence = vlm_strdup(identifier);
    char *set = sentence ? strchr(sentence, '-') : NULL;
    char *pair = set ? strchr(set + 1, '-') : NULL;
    if (!pair) return sentence;
    char *rest = pair + 1 + strcspn(pair + 1, "-");
    memmove(pair + 1, rest, strlen(rest) + 1);
    return sentence;
}

static bool make_room(vlm_nlvr2 *tally)
{
    if (tally->n < tally->capacity) return true;
    int64_t capacity = VLM_MAX(256, 2 * tally->capacity);
    judged *item = vlm_alloc_array((size_t)capacity, sizeof *item);
    if (!item) return false;
    if (tally->n) memcpy(item, tally->item, (size_t)tally->n * sizeof *item);
    vlm_free(tally->item);
    tally->item = item;
    tally->capacity = capacity;
    return true;
}

vlmoe_status vlm_nlvr2_add(vlm_nlvr2 *tally, const char *identifier, bool is_right,
                           vlmoe_error *error)
{
    char *sentence = sentence_of(identifier);
    if (!sentence || !make_room(tally)) {
        vlm_free(sentence);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for one more example of NLVR2");
    }
    tally->item[tally->n++] = (judged){sentence, is_right};
    return VLMOE_OK;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const judged *)a)->sentence, ((const judged *)b)->sentence);
}

vlm_nlvr2_result vlm_nlvr2_count(vlm_nlvr2 *tally)
{
    vlm_nlvr2_result result = {.n = tally->n};
    if (tally->n) qsort(tally->item, (size_t)tally->n, sizeof *tally->item, compare);
    for (int64_t i = 0; i < tally->n;) {
        int64_t first = i, right = 0;
        for (; i < tally->n && !compare(&tally->item[first], &tally->item[i]); i++)
            right += tally->item[i].is_right;
        result.right += right;
        result.sentences++;
        result.consistent += right == i - first;
    }
    return result;
}
