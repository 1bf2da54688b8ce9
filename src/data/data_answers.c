/* Counting answers. */
#include "data_answers.h"

#include <string.h>
#include "base_file.h"
#include "data_records.h"
#include "metric_vqa.h"

enum { FIRST_ROOM = 1024 };

void vlm_answers_free(vlm_answers *answers)
{
    for (int64_t i = 0; i < answers->n; i++) vlm_free(answers->list[i].name);
    vlm_free(answers->list);
    vlm_idmap_free(&answers->map);
    *answers = (vlm_answers){0};
}

static vlmoe_status grow(vlm_answers *a, vlmoe_error *error)
{
    if (a->n < a->room) return VLMOE_OK;
    const int64_t room = a->room ? 2 * a->room : FIRST_ROOM;
    vlm_answer *list = vlm_alloc_array((size_t)room, sizeof *list);
    if (!list) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %lld answers", (long long)room);
    if (a->n) memcpy(list, a->list, (size_t)a->n * sizeof *list);
    vlm_free(a->list);
    a->list = list;
    a->room = room;
    return VLMOE_OK;
}

/* Takes name. */
static vlmoe_status count(vlm_answers *a, char *name, vlmoe_error *error)
{
    int64_t *i = NULL;
    bool is_new = false;
    vlmoe_status st = grow(a, error);
    if (!st) st = vlm_idmap_add(&a->map, name, strlen(name), a->n, &i, &is_new, error);
    if (st || !is_new) {
        vlm_free(name);
        if (!st) a->list[*i].n++;
        return st;
    }
    a->list[a->n++] = (vlm_answer){name, 1};
    return VLMOE_OK;
}

static vlmoe_status count_annotation(vlm_answers *a, const vlm_records *records,
                                     const vlm_value *value, vlmoe_error *error)
{
    const vlm_value *answer = vlm_json_get(value, "multiple_choice_answer");
    const char *text = answer ? vlm_json_text(answer) : NULL;
    if (!text) return vlm_records_fail(records, error, "no string \"multiple_choice_answer\"");
    char *name = vlm_vqa_normalise(text);
    if (!name) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for an answer");
    a->n_annotations++;
    if (name[0]) return count(a, name, error);
    vlm_free(name);
    a->n_empty++;
    return VLMOE_OK;
}

vlmoe_status vlm_answers_read(vlm_answers *answers, const char *path, vlmoe_error *error)
{
    vlm_records *records = NULL;
    vlmoe_status st = vlm_records_open(path, "annotations", 0, &records, error);
    while (!st) {
        const vlm_value *value = NULL;
        st = vlm_records_next(records, &value, error);
        if (st || !value) break;
        st = count_annotation(answers, records, value, error);
    }
    vlm_records_close(records);
    return st;
}

vlmoe_status vlm_answers_write(const vlm_answers *answers, int64_t min_count, const char *path,
                               int64_t *n, int64_t *n_covered, vlmoe_error *error)
{
    vlm_text text = {0};
    *n = *n_covered = 0;
    for (int64_t i = 0; i < answers->n; i++) {
        if (answers->list[i].n < min_count) continue;
        vlm_text_put(&text, "%s\n", answers->list[i].name);
        ++*n;
        *n_covered += answers->list[i].n;
    }
    vlmoe_status st = VLMOE_OK;
    if (text.failed)
        st = vlm_fail(error, VLMOE_E_NOMEM, "no memory for %lld answers", (long long)*n);
    else if (!*n)
        st = vlm_fail(error, VLMOE_E_FORMAT, "none of %lld answers was given at least %lld times",
                      (long long)answers->n, (long long)min_count);
    if (!st) st = vlm_file_replace(path, text.data, text.bytes, error);
    vlm_text_free(&text);
    return st;
}
