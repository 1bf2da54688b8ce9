/* BEiT-3's index files: lines of JSON whose texts are token ids. An id means the text model's piece
 * one before it, behind four of fairseq's own (XLM-R): 0 <s>, 1 <pad>, 2 </s>, 3 <unk>. Which task
 * an index is of shows in its first row; its rows must all be alike. */
#include <stdio.h>
#include <string.h>
#include "data_rows_kind.h"
#include "data_spm.h"
#include "data_stream.h"

enum { N_OWN = 4, UNKNOWN = 3, TOKENS_MAX = 4096 };

typedef enum task { VQA, NLVR2, CLASSES, CAPTIONS } task;

typedef struct beit3 {
    vlm_records *records;
    vlm_spm *spm; /* NULL: none was named */
    char *images;
    task task;
    bool is_held; /* a row was read that belongs to the next picture */
    const vlm_value *held;
} beit3;

static void beit3_close(void *state)
{
    beit3 *s = state;
    vlm_records_close(s->records);
    vlm_spm_close(s->spm);
    vlm_free(s->images);
    vlm_free(s);
}

/* ---- Classes ---- */

/* answer2label.txt: lines {"answer": "cat", "label": 12}, labels from 0 on in order. */
static vlmoe_status read_answers(vlm_rows *rows, const char *path, vlmoe_error *error)
{
    vlm_records *records = NULL;
    vlm_text names = {0}; /* one behind the other, each with its zero */
    const char **list = NULL;
    int64_t n = 0;
    vlmoe_status st = vlm_records_open(path, NULL, 0, &records, error);
    while (!st) {
        const vlm_value *value = NULL;
        const char *name = NULL;
        int64_t label = -1;
        st = vlm_records_next(records, &value, error);
        if (st || !value) break;
        st = vlm_rows_get_text(records, value, "answer", &name, error);
        if (!st) st = vlm_rows_get_int(records, value, "label", &label, error);
        if (!st && label != n)
            st = vlm_records_fail(records, error, "label %lld, expected %lld: labels in order",
                                  (long long)label, (long long)n);
        if (st) break;
        vlm_text_append(&names, name, strlen(name) + 1);
        n++;
    }
    vlm_records_close(records);
    if (!st && n) list = vlm_alloc_array((size_t)n, sizeof *list);
    if (!st && (!list || names.failed))
        st = n ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for %lld classes", (long long)n)
               : vlm_fail(error, VLMOE_E_FORMAT, "%s has no lines", path);
    const char *next = names.data;
    for (int64_t i = 0; !st && i < n; i++) {
        list[i] = next;
        next += strlen(next) + 1;
    }
    if (!st) st = vlm_rows_set_classes(rows, list, n, error);
    vlm_free(list);
    vlm_text_free(&names);
    return st;
}

static vlmoe_status set_classes(vlm_rows *rows, task kind, vlmoe_error *error)
{
    static const char *const truth[] = {"False", "True"};
    const char *path = rows->options.labels;
    if (path && (kind == NLVR2 || kind == CAPTIONS))
        return vlm_fail(error, VLMOE_E_ARG, "%s is an index of %s: it has no use for classes (%s)",
                        rows->options.in, kind == NLVR2 ? "NLVR2" : "captions", path);
    if (kind == NLVR2) return vlm_rows_set_classes(rows, truth, VLM_COUNT(truth), error);
    if (kind == CAPTIONS) return VLMOE_OK;
    if (!path)
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s: its labels are numbers, so the file of classes is "
                        "needed (answer2label.txt, or one name a line)",
                        rows->options.in);
    char sign; /* answer2label.txt is told by what it holds: people give it other names */
    VLM_TRY(vlm_stream_first_sign(path, &sign, error));
    return sign == '{' ? read_answers(rows, path, error) : vlm_rows_read_classes(rows, path, error);
}

static vlmoe_status beit3_open(vlm_rows *rows, vlmoe_error *error)
{
    const vlm_rows_options *options = &rows->options;
    beit3 *s = vlm_alloc(sizeof *s);
    if (!s) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    rows->state = s;
    s->images = vlm_strdup(options->images ? options->images : "");
    if (!s->images) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    if (options->text_model) VLM_TRY(vlm_spm_open(options->text_model, &s->spm, error));
    VLM_TRY(vlm_records_open(options->in, NULL, 0, &s->records, error));
    VLM_TRY(vlm_records_next(s->records, &s->held, error));
    if (!s->held) return vlm_fail(error, VLMOE_E_FORMAT, "%s has no rows", options->in);
    VLM_TRY(vlm_rows_expect_object(s->records, s->held, error));
    s->is_held = true;
    s->task = vlm_json_get(s->held, "image2_path")    ? NLVR2
              : vlm_json_get(s->held, "qid")          ? VQA
              : vlm_json_get(s->held, "text_segment") ? CAPTIONS
                                                      : CLASSES;
    if (!s->spm && s->task != CLASSES)
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s: its texts are token ids, so their SentencePiece model is needed",
                        options->in);
    return set_classes(rows, s->task, error);
}

/* ---- Texts ---- */

static vlmoe_status read_ids(const beit3 *s, const vlm_value *list, int32_t *ids, int64_t *n,
                             bool *has_unknown, vlmoe_error *error)
{
    const int64_t limit = vlm_spm_special(s->spm).n;
    *n = 0;
    for (const vlm_value *v = vlm_json_first(list); v; v = vlm_json_next(v)) {
        int64_t id = -1;
        if (!vlm_json_int(v, &id) || id < 0 || id - 1 >= limit)
            return vlm_records_fail(s->records, error,
                                    "\"text_segment\" has something that is no id of the text "
                                    "model, which has %lld pieces",
                                    (long long)limit);
        if (*n == TOKENS_MAX)
            return vlm_records_fail(s->records, error, "more than %d tokens", TOKENS_MAX);
        if (id == UNKNOWN) *has_unknown = true;
        if (id >= N_OWN) ids[(*n)++] = (int32_t)id - 1;
    }
    return VLMOE_OK;
}

static vlmoe_status take_text(vlm_rows *rows, const vlm_value *value, vlm_row *row,
                              vlmoe_error *error)
{
    const beit3 *s = rows->state;
    const vlm_value *list = vlm_json_get(value, "text_segment");
    int32_t ids[TOKENS_MAX];
    int64_t n = 0;
    bool has_unknown = false;
    if (vlm_json_kind_of(list) != VLM_JSON_ARRAY)
        return vlm_records_fail(s->records, error, "\"text_segment\" is no array of token ids");
    VLM_TRY(read_ids(s, list, ids, &n, &has_unknown, error));
    char *text = vlm_spm_decode(s->spm, ids, n);
    if (!text) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a text");
    vlm_row_add_text(row, text);
    vlm_free(text);
    if (!has_unknown) return VLMOE_OK;
    return vlm_ledger_note(rows->ledger, VLM_NOTE_UNKNOWN_TOKEN, row->id.data, NULL, error);
}

/* ---- Labels ---- */

static vlmoe_status take_label(vlm_rows *rows, const vlm_value *value, double score, vlm_row *row,
                               vlmoe_error *error)
{
    const beit3 *s = rows->state;
    int64_t label = -1;
    char number[32];
    if (!vlm_json_int(value, &label))
        return vlm_records_fail(s->records, error, "a label is no whole number");
    for (int i = 0; i < row->n_labels; i++)
        if (row->label[i] == label)
            return vlm_records_fail(s->records, error, "label %lld is there twice",
                                    (long long)label);
    if (label >= 0 && label < rows->classes.n) {
        vlm_row_add_label(row, (int32_t)label, score);
        return VLMOE_OK;
    }
    snprintf(number, sizeof number, "%lld", (long long)label);
    return vlm_rows_drop(rows, row, VLM_NOTE_LABEL_UNKNOWN, number, error);
}

static vlmoe_status take_soft(vlm_rows *rows, const vlm_value *value, vlm_row *row,
                              vlmoe_error *error)
{
    const beit3 *s = rows->state;
    const vlm_value *labels = vlm_json_get(value, "labels"),
                    *scores = vlm_json_get(value, "scores");
    if (!labels && !scores) return VLMOE_OK; /* a test set */
    const bool are_lists =
        vlm_json_kind_of(labels) == VLM_JSON_ARRAY && vlm_json_kind_of(scores) == VLM_JSON_ARRAY;
    const int64_t n = are_lists ? vlm_json_size(labels) : -1;
    if (n < 0 || n > VLM_LABELS_MAX || n != vlm_json_size(scores))
        return vlm_records_fail(s->records, error,
                                "\"labels\" and \"scores\" are not arrays of one length up to %d",
                                VLM_LABELS_MAX);
    row->n_labels = 0;
    const vlm_value *score = vlm_json_first(scores);
    for (const vlm_value *v = vlm_json_first(labels); v && !rows->is_out;
         v = vlm_json_next(v), score = vlm_json_next(score)) {
        const double x = vlm_json_number(score);
        if (!(x > 0 && x <= 1))
            return vlm_records_fail(s->records, error, "a score is no number in (0, 1]");
        VLM_TRY(take_label(rows, v, x, row, error));
    }
    if (n || rows->is_out) return VLMOE_OK;
    return vlm_ledger_note(rows->ledger, VLM_NOTE_NO_LABEL, row->id.data, NULL, error);
}

/* ---- Rows ---- */

/* The held line, or the next one; NULL at the end. */
static vlmoe_status next_line(beit3 *s, const vlm_value **out, vlmoe_error *error)
{
    if (!s->is_held) {
        VLM_TRY(vlm_records_next(s->records, &s->held, error));
        if (s->held) VLM_TRY(vlm_rows_expect_object(s->records, s->held, error));
    }
    s->is_held = false;
    *out = s->held;
    return VLMOE_OK;
}

/* Captions stand one a line: those of one picture follow each other. */
static vlmoe_status take_captions(vlm_rows *rows, const vlm_value *value, vlm_row *row,
                                  vlmoe_error *error)
{
    beit3 *s = rows->state;
    const char *path = NULL;
    char *first = NULL;
    VLM_TRY(vlm_row_take_id(row, s->records, value, "image_id", error));
    VLM_TRY(vlm_rows_get_text(s->records, value, "image_path", &path, error));
    vlm_text_put(&row->more, ",\"image_id\":%s", row->id.data);
    vlm_row_add_picture(row, s->images, path);
    first = vlm_strdup(path);
    if (!first) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    vlmoe_status st = take_text(rows, value, row, error);
    while (!st) {
        st = next_line(s, &value, error);
        if (st || !value) break;
        st = vlm_rows_get_text(s->records, value, "image_path", &path, error);
        if (!st && strcmp(path, first)) {
            s->is_held = true;
            break;
        }
        if (!st && row->n_texts == VLM_SAMPLE_TEXTS_MAX)
            st = vlm_records_fail(s->records, error, "more than %d captions of %.200s",
                                  VLM_SAMPLE_TEXTS_MAX, path);
        if (!st) st = take_text(rows, value, row, error);
    }
    vlm_free(first);
    return st;
}

static vlmoe_status take_row(vlm_rows *rows, const vlm_value *value, vlm_row *row,
                             vlmoe_error *error)
{
    beit3 *s = rows->state;
    const char *path = NULL;
    VLM_TRY(vlm_rows_get_text(s->records, value, "image_path", &path, error));
    if (s->task == VQA) VLM_TRY(vlm_row_take_id(row, s->records, value, "qid", error));
    if (s->task == NLVR2) VLM_TRY(vlm_row_take_id(row, s->records, value, "identifier", error));
    if (s->task == CLASSES) vlm_row_set_id_text(row, path);
    vlm_row_add_picture(row, s->images, path);
    if (s->task == NLVR2) {
        VLM_TRY(vlm_rows_get_text(s->records, value, "image2_path", &path, error));
        vlm_row_add_picture(row, s->images, path);
        vlm_text_put(&row->more, ",\"identifier\":%s", row->id.data);
    }
    if (s->task != CLASSES) VLM_TRY(take_text(rows, value, row, error));
    row->is_own = s->task == CLASSES;
    if (s->task == VQA) return take_soft(rows, value, row, error);
    const vlm_value *label = vlm_json_get(value, "label");
    return label ? take_label(rows, label, 1.0, row, error) : VLMOE_OK;
}

static vlmoe_status beit3_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    beit3 *s = rows->state;
    const vlm_value *value = NULL;
    VLM_TRY(next_line(s, &value, error));
    *found = value != NULL;
    if (!value) return VLMOE_OK;
    if (s->task != CAPTIONS) return take_row(rows, value, row, error);
    row->is_own = true;
    return take_captions(rows, value, row, error);
}

const vlm_rows_kind vlm_rows_beit3 = {"beit3",
                                      "BEiT-3's index files, lines of JSON with token ids",
                                      VLM_ROWS_LABELS | VLM_ROWS_TEXT_MODEL | VLM_ROWS_IMAGES,
                                      beit3_open,
                                      beit3_next,
                                      beit3_close};
