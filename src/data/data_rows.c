/* What all formats share: classes, ids seen before, texts judged, rows filled. */
#include "data_rows.h"

#include <stdio.h>
#include <string.h>
#include "data_rows_kind.h"

static const vlm_rows_kind *const kinds[] = {
    &vlm_rows_vqav2, &vlm_rows_nlvr2, &vlm_rows_karpathy, &vlm_rows_imagenet,
    &vlm_rows_mnli,  &vlm_rows_glue,  &vlm_rows_beit3,    &vlm_rows_idx,
};

const char *vlm_rows_format(int i, const char **about)
{
    if (i < 0 || i >= VLM_COUNT(kinds)) return NULL;
    if (about) *about = kinds[i]->about;
    return kinds[i]->name;
}

bool vlm_rows_read_images(const char *format)
{
    for (int i = 0; i < VLM_COUNT(kinds); i++)
        if (!strcmp(kinds[i]->name, format)) return kinds[i]->uses & VLM_ROWS_IMAGES;
    return false;
}

/* ---- Classes ---- */

static vlmoe_status number_classes(vlm_rows *rows, vlmoe_error *error)
{
    for (int64_t i = 0; i < rows->classes.n; i++) {
        const char *name = rows->classes.name[i];
        bool is_new = false;
        VLM_TRY(vlm_idmap_add(&rows->class_ids, name, strlen(name), i, NULL, &is_new, error));
        if (!is_new)
            return vlm_fail(error, VLMOE_E_FORMAT, "the class \"%s\" is there twice", name);
    }
    return VLMOE_OK;
}

/* Would this name come back from a line of labels.txt as it is? */
static bool is_class_name(const char *name)
{
    const size_t bytes = strlen(name);
    for (size_t at = 0; at < bytes;) {
        const size_t n = vlm_utf8_length(name + at, bytes - at);
        if (!n || name[at] == '\n' || name[at] == '\r') return false;
        at += n;
    }
    return bytes > 0;
}

static vlmoe_status check_names(const char *const *names, int64_t n, vlmoe_error *error)
{
    for (int64_t i = 0; i < n; i++) {
        if (is_class_name(names[i])) continue;
        vlm_text shown = {0};
        vlm_text_json_string(&shown, names[i], strlen(names[i]));
        vlmoe_status st =
            vlm_fail(error, VLMOE_E_FORMAT,
                     "class %lld is called %.80s, expected UTF-8, not empty and in one line",
                     (long long)i, shown.failed ? "something" : shown.data);
        vlm_text_free(&shown);
        return st;
    }
    return VLMOE_OK;
}

vlmoe_status vlm_rows_set_classes(vlm_rows *rows, const char *const *names, int64_t n,
                                  vlmoe_error *error)
{
    vlm_text all = {0};
    VLM_TRY(check_names(names, n, error));
    for (int64_t i = 0; i < n; i++) vlm_text_append(&all, names[i], strlen(names[i]) + 1);
    rows->classes.name = vlm_alloc_array((size_t)n, sizeof *rows->classes.name);
    if (all.failed || !rows->classes.name) {
        vlm_text_free(&all);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %lld classes", (long long)n);
    }
    rows->classes.text = all.data;
    rows->classes.n = n;
    const char *at = all.data;
    for (int64_t i = 0; i < n; i++) {
        rows->classes.name[i] = at;
        at += strlen(at) + 1;
    }
    return number_classes(rows, error);
}

vlmoe_status vlm_rows_read_classes(vlm_rows *rows, const char *path, vlmoe_error *error)
{
    VLM_TRY(vlm_classes_read(path, &rows->classes, error));
    return number_classes(rows, error);
}

int32_t vlm_rows_class(const vlm_rows *rows, const char *name)
{
    const int64_t *i = vlm_idmap_find(&rows->class_ids, name, strlen(name));
    return i && !strcmp(rows->classes.name[*i], name) ? (int32_t)*i : -1;
}

const vlm_classes *vlm_rows_classes(const vlm_rows *rows)
{
    return &rows->classes;
}

/* ---- Filling a row ---- */

static void clear_row(vlm_row *row)
{
    vlm_text_clear(&row->id, 0);
    vlm_text_clear(&row->more, 0);
    row->n_pictures = row->n_texts = 0;
    row->n_labels = -1;
    row->is_own = row->has_image = false;
}

void vlm_row_free(vlm_row *row)
{
    vlm_text_free(&row->id);
    vlm_text_free(&row->more);
    vlm_text_free(&row->image);
    for (int i = 0; i < VLM_COUNT(row->pictures); i++) vlm_text_free(&row->pictures[i]);
    for (int i = 0; i < VLM_COUNT(row->texts); i++) vlm_text_free(&row->texts[i]);
}

static bool row_failed(const vlm_row *row)
{
    bool failed = row->id.failed || row->more.failed || row->image.failed;
    for (int i = 0; i < row->n_pictures; i++) failed = failed || row->pictures[i].failed;
    for (int i = 0; i < row->n_texts; i++) failed = failed || row->texts[i].failed;
    return failed;
}

void vlm_row_set_id_text(vlm_row *row, const char *id)
{
    vlm_text_clear(&row->id, 0);
    vlm_text_json_string(&row->id, id, strlen(id));
}

void vlm_row_set_id_int(vlm_row *row, int64_t id)
{
    vlm_text_clear(&row->id, 0);
    vlm_text_put(&row->id, "%lld", (long long)id);
}

static vlmoe_status no_memory(vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a row");
}

/* What stands where a whole number is wanted; NULL: nothing. */
static const char *name_kind(const vlm_value *value)
{
    if (!value) return "missing";
    if (vlm_json_kind_of(value) == VLM_JSON_NUMBER)
        return "a number with a fraction or from 2^53 on";
    return vlm_json_kind_name(vlm_json_kind_of(value));
}

vlmoe_status vlm_row_take_id(vlm_row *row, const vlm_records *records, const vlm_value *value,
                             const char *key, vlmoe_error *error)
{
    const vlm_value *id = vlm_json_get(value, key);
    int64_t number = 0;
    if (id && vlm_json_text(id)) vlm_row_set_id_text(row, vlm_json_text(id));
    else if (id && vlm_json_int(id, &number)) vlm_row_set_id_int(row, number);
    else
        return vlm_records_fail(records, error, "\"%s\" is %s, expected a whole number or a string",
                                key, name_kind(id));
    return row->id.failed ? no_memory(error) : VLMOE_OK;
}

void vlm_row_add_text(vlm_row *row, const char *text)
{
    if (row->n_texts == VLM_SAMPLE_TEXTS_MAX)
        return; /* refused before by those who may have more */
    vlm_text *out = &row->texts[row->n_texts++];
    vlm_text_clear(out, 0);
    if (text) vlm_text_append(out, text, strlen(text));
}

void vlm_row_add_label(vlm_row *row, int32_t label, double score)
{
    if (row->n_labels < 0) row->n_labels = 0;
    if (row->n_labels == VLM_LABELS_MAX) return;
    row->label[row->n_labels] = label;
    row->score[row->n_labels++] = score;
}

void vlm_row_put_text(vlm_row *row, const char *key, const char *text)
{
    if (!text) return;
    vlm_text_put(&row->more, ",\"%s\":", key);
    vlm_text_json_string(&row->more, text, strlen(text));
}

void vlm_row_put_int(vlm_row *row, const char *key, int64_t value)
{
    vlm_text_put(&row->more, ",\"%s\":%lld", key, (long long)value);
}

void vlm_row_add_picture(vlm_row *row, const char *dir, const char *name)
{
    vlm_text *out = &row->pictures[row->n_pictures++];
    vlm_text_clear(out, 0);
    if (dir && dir[0] && name[0] != '/') vlm_text_put(out, "%s/", dir);
    vlm_text_append(out, name, strlen(name));
}

/* ---- JSON ---- */

vlmoe_status vlm_rows_expect_object(const vlm_records *records, const vlm_value *value,
                                    vlmoe_error *error)
{
    if (vlm_json_kind_of(value) == VLM_JSON_OBJECT) return VLMOE_OK;
    return vlm_records_fail(records, error, "expected an object, found %s",
                            vlm_json_kind_name(vlm_json_kind_of(value)));
}

vlmoe_status vlm_rows_get_int(const vlm_records *records, const vlm_value *object, const char *key,
                              int64_t *out, vlmoe_error *error)
{
    const vlm_value *value = vlm_json_get(object, key);
    if (value && vlm_json_int(value, out)) return VLMOE_OK;
    return vlm_records_fail(records, error, "\"%s\" is %s, expected a whole number", key,
                            name_kind(value));
}

vlmoe_status vlm_rows_get_text(const vlm_records *records, const vlm_value *object, const char *key,
                               const char **out, vlmoe_error *error)
{
    const vlm_value *value = vlm_json_get(object, key);
    *out = value ? vlm_json_text(value) : NULL;
    if (*out) return VLMOE_OK;
    return vlm_records_fail(records, error, "\"%s\" is %s, expected a string", key,
                            value ? vlm_json_kind_name(vlm_json_kind_of(value)) : "missing");
}

/* ---- Walking ---- */

vlmoe_status vlm_rows_drop(vlm_rows *rows, const vlm_row *row, vlm_note note, const char *why,
                           vlmoe_error *error)
{
    if (row_failed(row)) return no_memory(error); /* its id would not be whole */
    rows->is_out = true;
    return vlm_ledger_note(rows->ledger, note, row->id.data, why, error);
}

static bool is_text(const vlm_text *text)
{
    bool is_blank = true;
    for (size_t at = 0; at < text->bytes;) {
        const size_t n = vlm_utf8_length(text->data + at, text->bytes - at);
        if (!n) return false;
        if (n > 1 || !strchr(" \t\r\n\v\f", text->data[at])) is_blank = false;
        at += n;
    }
    return !is_blank;
}

/* What every format's rows are held to. */
static vlmoe_status judge(vlm_rows *rows, const vlm_row *row, vlmoe_error *error)
{
    bool is_new = false;
    if (row_failed(row)) return no_memory(error);
    rows->ledger->n_read++;
    if (rows->is_out) return VLMOE_OK;
    VLM_TRY(vlm_idmap_add(&rows->ids, row->id.data, row->id.bytes, 1, NULL, &is_new, error));
    if (!is_new) return vlm_rows_drop(rows, row, VLM_NOTE_DUPLICATE, NULL, error);
    for (int i = 0; i < row->n_texts; i++)
        if (!is_text(&row->texts[i]))
            return vlm_rows_drop(rows, row, VLM_NOTE_NO_TEXT, NULL, error);
    if (!rows->classes.n || row->n_labels >= 0) return VLMOE_OK;
    return vlm_ledger_note(rows->ledger, VLM_NOTE_UNLABELLED, row->id.data, NULL, error);
}

vlmoe_status vlm_rows_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    do {
        clear_row(row);
        rows->is_out = false;
        VLM_TRY(rows->kind->next(rows, row, found, error));
        if (*found) VLM_TRY(judge(rows, row, error));
    } while (*found && rows->is_out);
    return VLMOE_OK;
}

/* An option that a format passed over would look as if it had done something. */
static vlmoe_status check_use(const vlm_rows_options *options, const vlm_rows_kind *kind,
                              vlmoe_error *error)
{
    const struct {
        const char *given, *what;
        unsigned use;
    } uses[] = {
        {options->annotations, "a file of annotations", VLM_ROWS_ANNOTATIONS},
        {options->labels, "a file of classes", VLM_ROWS_LABELS},
        {options->split, "a split", VLM_ROWS_SPLIT},
        {options->picture, "names of pictures", VLM_ROWS_PICTURE},
        {options->text_model, "a text model", VLM_ROWS_TEXT_MODEL},
        {options->images, "a folder of pictures", VLM_ROWS_IMAGES},
    };
    for (int i = 0; i < VLM_COUNT(uses); i++)
        if (uses[i].given && !(kind->uses & uses[i].use))
            return vlm_fail(error, VLMOE_E_ARG, "format %s has no use for %s (%s)", kind->name,
                            uses[i].what, uses[i].given);
    return VLMOE_OK;
}

static vlmoe_status check_options(const vlm_rows_options *options, const vlm_rows_kind **kind,
                                  vlmoe_error *error)
{
    for (int i = 0; i < VLM_COUNT(kinds); i++)
        if (!strcmp(kinds[i]->name, options->format)) *kind = kinds[i];
    if (!*kind) return vlm_fail(error, VLMOE_E_ARG, "no format is called '%s'", options->format);
    if (!options->in)
        return vlm_fail(error, VLMOE_E_ARG, "format %s needs a file or folder to read",
                        options->format);
    return check_use(options, *kind, error);
}

vlmoe_status vlm_rows_open(const vlm_rows_options *options, vlm_ledger *ledger, vlm_rows **out,
                           vlmoe_error *error)
{
    const vlm_rows_kind *kind = NULL;
    VLM_TRY(check_options(options, &kind, error));
    vlm_rows *rows = vlm_alloc(sizeof *rows);
    if (!rows) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    rows->kind = kind;
    rows->options = *options;
    rows->ledger = ledger;
    vlmoe_status st = kind->open(rows, error);
    if (st) vlm_rows_close(rows);
    else *out = rows;
    return st;
}

void vlm_rows_close(vlm_rows *rows)
{
    if (!rows) return;
    if (rows->state) rows->kind->close(rows->state);
    vlm_classes_free(&rows->classes);
    vlm_idmap_free(&rows->class_ids);
    vlm_idmap_free(&rows->ids);
    vlm_free(rows);
}
