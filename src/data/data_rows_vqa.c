/* VQAv2: questions and annotations, two files of one order (or not), streamed side by side. Labels
 * are the answers as given, looked up among the classes, and scored by how many of the annotators
 * gave them (vlm_vqa_target), as ViLT, VLMo and BEiT-3 do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "data_rows_kind.h"
#include "metric_vqa.h"

enum { INDEX_CHUNK = 4096 }; /* for jumps: an annotation has about a kilobyte */

typedef struct vqa {
    vlm_records *questions, *annotations; /* annotations NULL: a test set */
    vlm_records *picker;                  /* annotations by offset, once the orders differ */
    vlm_idmap offsets;                    /* question id to offset; -1 - offset when it was used */
    char *path;                           /* of the annotations */
    char *folder, *split, *pattern;       /* how pictures are found */
    int64_t n_labelled;
} vqa;

static void vqa_close(void *state)
{
    vqa *v = state;
    vlm_records_close(v->questions);
    vlm_records_close(v->annotations);
    vlm_records_close(v->picker);
    vlm_idmap_free(&v->offsets);
    vlm_free(v->path);
    vlm_free(v->folder);
    vlm_free(v->split);
    vlm_free(v->pattern);
    vlm_free(v);
}

/* ---- Opening ---- */

/* "train2014": of the options, or of the file, whose pictures of test-dev2015 are test2015's. */
static char *find_split(const vlm_rows_options *options, const vqa *v)
{
    const char *split =
        options->split ? options->split : vlm_records_beside(v->questions, "data_subtype");
    char *copy = vlm_strdup(split ? split : "");
    char *dev = copy ? strstr(copy, "-dev") : NULL;
    if (dev) memmove(dev, dev + 4, strlen(dev + 4) + 1);
    return copy;
}

/* Bytes of the hole that begins here, 0 where none does: {split} (*digits -1), {id}, {id:12} (twelve
 * digits, zeros in front). */
static size_t read_hole(const char *at, int *digits)
{
    char *end = NULL;
    *digits = -1;
    if (!strncmp(at, "{split}", 7)) return 7;
    *digits = 1;
    if (!strncmp(at, "{id}", 4)) return 4;
    if (strncmp(at, "{id:", 4) || at[4] < '0' || at[4] > '9') return 0;
    const long n = strtol(at + 4, &end, 10);
    if (*end != '}' || n < 1 || n >= 40) return 0;
    *digits = (int)n;
    return (size_t)(end + 1 - at);
}

static vlmoe_status check_pattern(const char *pattern, vlmoe_error *error)
{
    bool has_id = false;
    for (const char *at = strchr(pattern, '{'); at; at = strchr(at + 1, '{')) {
        int digits = 0;
        if (!read_hole(at, &digits))
            return vlm_fail(error, VLMOE_E_ARG,
                            "picture names '%s': expected {split}, {id} or {id:12} at '%.20s'",
                            pattern, at);
        has_id = has_id || digits > 0;
    }
    return has_id
               ? VLMOE_OK
               : vlm_fail(error, VLMOE_E_ARG, "picture names '%s' have no {id} in them", pattern);
}

static vlmoe_status find_pictures(const vlm_rows_options *options, vqa *v, vlmoe_error *error)
{
    v->split = find_split(options, v);
    v->pattern = vlm_strdup(options->picture ? options->picture : "COCO_{split}_{id:12}");
    if (v->split) v->folder = vlm_path_join(options->images, v->split[0] ? v->split : ".");
    if (!v->split || !v->pattern || !v->folder)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    if (strstr(v->pattern, "{split}") && !v->split[0])
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: no \"data_subtype\" before its questions; say which split it is",
                        options->in);
    VLM_TRY(check_pattern(v->pattern, error));
    if (options->images && !vlm_path_is_dir(v->folder)) {
        vlm_free(v->folder);
        v->folder = vlm_strdup(options->images);
    }
    return v->folder ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
}

static vlmoe_status vqa_open(vlm_rows *rows, vlmoe_error *error)
{
    const vlm_rows_options *options = &rows->options;
    vqa *v = vlm_alloc(sizeof *v);
    if (!v) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    rows->state = v;
    if (!options->labels)
        return vlm_fail(error, VLMOE_E_ARG, "format vqav2 needs the classes: a file of answers");
    VLM_TRY(vlm_rows_read_classes(rows, options->labels, error));
    VLM_TRY(vlm_records_open(options->in, "questions", 0, &v->questions, error));
    VLM_TRY(find_pictures(options, v, error));
    if (!options->annotations) return VLMOE_OK;
    v->path = vlm_strdup(options->annotations);
    if (!v->path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    VLM_TRY(vlm_records_open(v->path, "annotations", 0, &v->annotations, error));
    const char *ours = vlm_records_beside(v->questions, "data_subtype"),
               *theirs = vlm_records_beside(v->annotations, "data_subtype");
    if (!ours || !theirs || !strcmp(ours, theirs)) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s is of %s, and %s of %s (data_subtype)", options->in,
                    ours, v->path, theirs);
}

/* ---- Pictures ---- */

/* The pattern with its holes filled in. */
static void put_name(const vqa *v, int64_t id, vlm_text *out)
{
    for (const char *at = v->pattern; *at;) {
        int digits = 0;
        const size_t hole = read_hole(at, &digits);
        if (!hole) vlm_text_append(out, at, 1);
        else if (digits < 0) vlm_text_append(out, v->split, strlen(v->split));
        else vlm_text_put(out, "%0*lld", digits, (long long)id);
        at += hole ? hole : 1;
    }
}

/* The name's ending is the pattern's, or the first of these that is there; the last when none is. */
static vlmoe_status add_picture(const vlm_rows *rows, int64_t id, vlm_row *row, vlmoe_error *error)
{
    static const char *const endings[] = {".png", ".jpeg", ".jpg"};
    const vqa *v = rows->state;
    vlm_text name = {0};
    put_name(v, id, &name);
    const char *slash = name.data ? strrchr(name.data, '/') : NULL;
    const bool is_whole = name.data && strchr(slash ? slash : name.data, '.');
    const size_t stem = name.bytes;
    for (int i = 0; i < VLM_COUNT(endings) && !name.failed; i++) {
        row->n_pictures = 0;
        name.bytes = stem;
        if (!is_whole) vlm_text_append(&name, endings[i], strlen(endings[i]));
        if (name.failed) break;
        vlm_row_add_picture(row, v->folder, name.data);
        if (is_whole || row->pictures[0].failed || vlm_path_exists(row->pictures[0].data)) break;
    }
    const bool failed = name.failed;
    vlm_text_free(&name);
    return failed ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path") : VLMOE_OK;
}

/* ---- Annotations ---- */

/* Where each question's annotation begins; the first n_used of the file were found already. */
static vlmoe_status index_annotations(vlm_rows *rows, int64_t n_used, vlmoe_error *error)
{
    vqa *v = rows->state;
    vlm_records *all = NULL;
    vlm_row id = {0};
    vlmoe_status st = vlm_records_open(v->path, "annotations", 0, &all, error);
    while (!st) {
        const vlm_value *value = NULL;
        bool is_new = true;
        st = vlm_records_next(all, &value, error);
        if (st || !value) break;
        st = vlm_row_take_id(&id, all, value, "question_id", error);
        int64_t offset = (int64_t)vlm_records_offset(all);
        if (vlm_records_count(all) <= n_used) offset = -1 - offset;
        if (!st)
            st = vlm_idmap_add(&v->offsets, id.id.data, id.id.bytes, offset, NULL, &is_new, error);
        if (!st && !is_new)
            st = vlm_ledger_note(rows->ledger, VLM_NOTE_ANNOTATION_AGAIN, id.id.data, NULL, error);
    }
    vlm_records_close(all);
    vlm_row_free(&id);
    if (st) return st;
    return vlm_records_open(v->path, "annotations", INDEX_CHUNK, &v->picker, error);
}

/* The annotation of a question, NULL when there is none; *records is where it was read. */
static vlmoe_status find_annotation(vlm_rows *rows, const vlm_row *row, vlm_records **records,
                                    const vlm_value **out, vlmoe_error *error)
{
    vqa *v = rows->state;
    *records = v->annotations;
    if (!v->picker) {
        vlm_row id = {0};
        bool is_same = false;
        VLM_TRY(vlm_records_next(v->annotations, out, error));
        vlmoe_status st = VLMOE_OK;
        if (*out) st = vlm_row_take_id(&id, v->annotations, *out, "question_id", error);
        if (*out && !st) is_same = !strcmp(id.id.data, row->id.data);
        vlm_row_free(&id);
        if (st || is_same) return st;
        VLM_TRY(index_annotations(rows, vlm_records_count(v->annotations) - (*out ? 1 : 0), error));
    }
    *records = v->picker;
    *out = NULL;
    int64_t *offset = vlm_idmap_find(&v->offsets, row->id.data, row->id.bytes);
    if (!offset) return VLMOE_OK;
    const int64_t at = *offset < 0 ? -1 - *offset : *offset;
    *offset = -1 - at;
    return vlm_records_jump(v->picker, (uint64_t)at, out, error);
}

typedef struct votes {
    int n;
    int32_t label[VLM_LABELS_MAX];
    int count[VLM_LABELS_MAX];
} votes;

static void vote(votes *v, int32_t label)
{
    int i = 0;
    while (i < v->n && v->label[i] != label) i++;
    if (i == v->n) {
        v->label[i] = label;
        v->count[i] = 0;
        v->n++;
    }
    v->count[i]++;
}

static vlmoe_status take_answers(vlm_rows *rows, const vlm_records *records,
                                 const vlm_value *annotation, vlm_row *row, vlmoe_error *error)
{
    const vlm_value *answers = vlm_json_get(annotation, "answers");
    const int64_t n = answers ? vlm_json_size(answers) : 0;
    votes found = {0};
    if (vlm_json_kind_of(answers) != VLM_JSON_ARRAY || n < 1 || n > VLM_LABELS_MAX)
        return vlm_records_fail(records, error, "\"answers\" is no array of 1 to %d",
                                VLM_LABELS_MAX);
    vlm_text_put(&row->more, ",\"answers\":");
    char before = '[';
    for (const vlm_value *v = vlm_json_first(answers); v; v = vlm_json_next(v), before = ',') {
        const char *answer = NULL;
        VLM_TRY(vlm_rows_get_text(records, v, "answer", &answer, error));
        vlm_text_append(&row->more, &before, 1);
        vlm_text_json_string(&row->more, answer, strlen(answer));
        const int32_t label = vlm_rows_class(rows, answer);
        if (label >= 0) vote(&found, label);
    }
    vlm_text_append(&row->more, "]", 1);
    row->n_labels = 0;
    for (int i = 0; i < found.n; i++)
        vlm_row_add_label(row, found.label[i], vlm_vqa_target(found.count[i]));
    return VLMOE_OK;
}

/* Ids of questions are alike from split to split, in sets that count from 0; the picture tells whose annotation it is. */
static vlmoe_status check_picture(const vlm_records *records, const vlm_value *annotation,
                                  int64_t image_id, const vlm_row *row, vlmoe_error *error)
{
    int64_t found = 0;
    if (!vlm_json_get(annotation, "image_id")) return VLMOE_OK;
    VLM_TRY(vlm_rows_get_int(records, annotation, "image_id", &found, error));
    if (found == image_id) return VLMOE_OK;
    return vlm_records_fail(records, error,
                            "question %s is about picture %lld, its annotation about picture %lld",
                            row->id.data, (long long)image_id, (long long)found);
}

static vlmoe_status annotate(vlm_rows *rows, vlm_row *row, int64_t image_id, vlmoe_error *error)
{
    vqa *v = rows->state;
    vlm_records *records = NULL;
    const vlm_value *annotation = NULL;
    VLM_TRY(find_annotation(rows, row, &records, &annotation, error));
    if (!annotation) return vlm_rows_drop(rows, row, VLM_NOTE_NO_ANNOTATION, NULL, error);
    VLM_TRY(check_picture(records, annotation, image_id, row, error));
    VLM_TRY(take_answers(rows, records, annotation, row, error));
    vlm_row_put_text(row, "question_type",
                     vlm_json_text(vlm_json_get(annotation, "question_type")));
    vlm_row_put_text(row, "answer_type", vlm_json_text(vlm_json_get(annotation, "answer_type")));
    v->n_labelled += row->n_labels > 0;
    if (row->n_labels > 0) return VLMOE_OK;
    return vlm_ledger_note(rows->ledger, VLM_NOTE_NO_LABEL, row->id.data, NULL, error);
}

/* ---- Walking ---- */

static vlmoe_status note_unasked(vlm_rows *rows, const vlm_records *records,
                                 const vlm_value *annotation, vlmoe_error *error)
{
    vlm_row id = {0};
    vlmoe_status st = vlm_row_take_id(&id, records, annotation, "question_id", error);
    if (!st) {
        const bool was_asked = vlm_idmap_find(&rows->ids, id.id.data, id.id.bytes);
        st = vlm_ledger_note(rows->ledger,
                             was_asked ? VLM_NOTE_ANNOTATION_AGAIN : VLM_NOTE_NO_QUESTION,
                             id.id.data, NULL, error);
    }
    vlm_row_free(&id);
    return st;
}

/* Annotations that no question asked for. */
static vlmoe_status finish(vlm_rows *rows, vlmoe_error *error)
{
    vqa *v = rows->state;
    const vlm_value *value = NULL;
    while (v->annotations && !v->picker) {
        VLM_TRY(vlm_records_next(v->annotations, &value, error));
        if (!value) break;
        VLM_TRY(note_unasked(rows, v->annotations, value, error));
    }
    for (size_t i = 0; v->picker && i < v->offsets.room; i++) {
        const vlm_idmap_slot *slot = &v->offsets.slots[i];
        if (!slot->key || slot->value < 0) continue;
        VLM_TRY(vlm_records_jump(v->picker, (uint64_t)slot->value, &value, error));
        VLM_TRY(note_unasked(rows, v->picker, value, error));
    }
    if (!v->annotations || v->n_labelled || !rows->ledger->n_read) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT,
                    "%s: none of %lld questions has an answer among the %lld classes", v->path,
                    (long long)rows->ledger->n_read, (long long)rows->classes.n);
}

static vlmoe_status vqa_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    vqa *v = rows->state;
    const vlm_value *question = NULL;
    const char *text = NULL;
    int64_t image_id = 0;
    VLM_TRY(vlm_records_next(v->questions, &question, error));
    *found = question != NULL;
    if (!question) return finish(rows, error);
    VLM_TRY(vlm_rows_expect_object(v->questions, question, error));
    VLM_TRY(vlm_row_take_id(row, v->questions, question, "question_id", error));
    VLM_TRY(vlm_rows_get_int(v->questions, question, "image_id", &image_id, error));
    VLM_TRY(vlm_rows_get_text(v->questions, question, "question", &text, error));
    vlm_row_add_text(row, text);
    vlm_row_put_int(row, "image_id", image_id);
    VLM_TRY(add_picture(rows, image_id, row, error));
    return v->annotations ? annotate(rows, row, image_id, error) : VLMOE_OK;
}

const vlm_rows_kind vlm_rows_vqav2 = {"vqav2",
                                      "VQAv2: questions and annotations",
                                      VLM_ROWS_ANNOTATIONS | VLM_ROWS_LABELS | VLM_ROWS_SPLIT |
                                          VLM_ROWS_PICTURE | VLM_ROWS_IMAGES,
                                      vqa_open,
                                      vqa_next,
                                      vqa_close};
