/* Predictions read, found by id, and accounted for. */
#include <stdio.h>
#include <string.h>
#include "cli_score.h"
#include "data_records.h"
#include "data_stream.h"

void vlm_scored_free(vlm_scored *a)
{
    vlm_text_free(&a->pool);
    vlm_free(a->item);
    vlm_idmap_free(&a->ids);
    *a = (vlm_scored){0};
}

const char *vlm_scored_text(const vlm_scored *a, int64_t i, int k)
{
    const char *text = a->pool.data + a->item[i].text;
    for (; k > 0; k--) text += strlen(text) + 1;
    return text;
}

/* ---- parts of a line ---- */

/* A quoted field in place; returns where the next begins, NULL at the line's end. */
static char *unquote(char *field)
{
    char *from = field + 1, *to = field;
    while (*from && (*from != '"' || from[1] == '"')) {
        from += *from == '"';
        *to++ = *from++;
    }
    if (*from) from++;
    while (*from && *from != ',') *to++ = *from++;
    char *next = *from ? from + 1 : NULL;
    *to = '\0';
    return next;
}

int vlm_score_fields(char *line, char separator, char **field, int max)
{
    int n = 0;
    while (line && n < max) {
        field[n++] = line;
        if (separator == ',' && *line == '"') {
            line = unquote(line);
            continue;
        }
        char *end = n < max ? strchr(line, separator) : NULL;
        line = end ? end + 1 : NULL;
        if (end) *end = '\0';
    }
    return n;
}

const char *vlm_score_stem(const char *picture)
{
    const char *slash = strrchr(picture, '/');
    return slash ? slash + 1 : picture;
}

char *vlm_score_picture(char *name)
{
    char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name, *dot = strrchr(file, '.');
    if (dot && dot != file) *dot = '\0';
    if (!slash) return name;
    *slash = '\0';
    char *above = strrchr(name, '/');
    *slash = '/';
    return above ? above + 1 : name;
}

char *vlm_score_trim(char *text)
{
    while (*text && (unsigned char)*text <= ' ') text++;
    size_t n = strlen(text);
    while (n && (unsigned char)text[n - 1] <= ' ') n--;
    text[n] = '\0';
    return text;
}

const char *vlm_score_id(const vlm_value *value, char *scratch)
{
    int64_t number;
    const char *text = vlm_json_text(value);
    if (text || !value || !vlm_json_int(value, &number)) return text;
    snprintf(scratch, 32, "%lld", (long long)number);
    return scratch;
}

/* ---- reading ---- */

static bool make_room(vlm_scored *a)
{
    if (a->n < a->capacity) return true;
    int64_t capacity = VLM_MAX(1024, 2 * a->capacity);
    vlm_scored_item *item = vlm_alloc_array((size_t)capacity, sizeof *item);
    if (!item) return false;
    if (a->n) memcpy(item, a->item, (size_t)a->n * sizeof *item);
    vlm_free(a->item);
    a->item = item;
    a->capacity = capacity;
    return true;
}

static vlmoe_status add(vlm_scored *a, const char *id, const char *const *text, int n,
                        vlmoe_error *error)
{
    bool is_new = false;
    int64_t *place = NULL;
    VLM_TRY(vlm_idmap_add(&a->ids, id, strlen(id), a->n, &place, &is_new, error));
    if (!is_new)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: two predictions for \"%s\"", a->path, id);
    if (!make_room(a)) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", a->path);
    vlm_scored_item *item = &a->item[a->n++];
    *item = (vlm_scored_item){.id = a->pool.bytes, .n = n};
    vlm_text_append(&a->pool, id, strlen(id) + 1);
    item->text = a->pool.bytes;
    for (int i = 0; i < n; i++) vlm_text_append(&a->pool, text[i], strlen(text[i]) + 1);
    return a->pool.failed ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", a->path) : VLMOE_OK;
}

static vlmoe_status add_vqa(vlm_scored *a, const vlm_records *records, const vlm_value *value,
                            vlmoe_error *error)
{
    char scratch[32];
    const char *id = vlm_score_id(vlm_json_get(value, "question_id"), scratch);
    const char *answer = vlm_json_text(vlm_json_get(value, "answer"));
    if (!id || !answer)
        return vlm_records_fail(records, error,
                                "a prediction needs question_id and a text as answer");
    return add(a, id, &answer, 1, error);
}

static vlmoe_status add_labels(vlm_scored *a, const vlm_records *records, const vlm_value *value,
                               vlmoe_error *error)
{
    const char *best[VLM_SCORE_BEST];
    const char *image = vlm_json_text(vlm_json_get(value, "image"));
    int n = 0;
    for (const vlm_value *label = vlm_json_first(vlm_json_get(value, "labels"));
         label && n < VLM_SCORE_BEST; label = vlm_json_next(label)) {
        best[n] = vlm_json_text(label);
        if (!best[n++]) return vlm_records_fail(records, error, "a label must be a text");
    }
    if (!image || !n)
        return vlm_records_fail(records, error,
                                "a prediction needs image and labels, the best first");
    char *copy = vlm_strdup(image);
    if (!copy) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", a->path);
    vlmoe_status st = add(a, vlm_score_picture(copy), best, n, error);
    vlm_free(copy);
    return st;
}

static vlmoe_status read_records(vlm_scored *a, bool in_array, vlm_scored_form form,
                                 vlmoe_error *error)
{
    vlm_records *records = NULL;
    const vlm_value *value = NULL;
    VLM_TRY(vlm_records_open(a->path, in_array ? "" : NULL, 0, &records, error));
    vlmoe_status st = vlm_records_next(records, &value, error);
    while (!st && value) {
        st = form == VLM_SCORED_VQA ? add_vqa(a, records, value, error)
                                    : add_labels(a, records, value, error);
        if (!st) st = vlm_records_next(records, &value, error);
    }
    vlm_records_close(records);
    return st;
}

bool vlm_score_is_heading(const char *field)
{
    static const char *const names[] = {"pairID", "index", "identifier", "image", "ImageId"};
    for (int i = 0; i < VLM_COUNT(names); i++)
        if (!strcmp(field, names[i])) return true;
    return false;
}

static vlmoe_status add_line(vlm_scored *a, vlm_scored_form form, char *line, int64_t number,
                             vlmoe_error *error)
{
    char *field[1 + VLM_SCORE_BEST + 1]; /* a sixth class and what follows is read and left */
    int max = form == VLM_SCORED_CLASSIFY ? VLM_COUNT(field) : 2;
    int n = vlm_score_fields(line, strchr(line, '\t') ? '\t' : ',', field, max);
    if (number == 1 && vlm_score_is_heading(field[0])) {
        a->by_index = !strcmp(field[0], "index");
        return VLMOE_OK;
    }
    if (n < 2 || !*field[0])
        return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld: expected ID,ANSWER", a->path,
                        (long long)number);
    if (form == VLM_SCORED_CLASSIFY) field[0] = vlm_score_picture(field[0]);
    return add(a, field[0], (const char *const *)field + 1, VLM_MIN(n - 1, VLM_SCORE_BEST), error);
}

static vlmoe_status read_lines(vlm_scored *a, vlm_scored_form form, vlmoe_error *error)
{
    vlm_stream stream = {0};
    char *line = NULL;
    size_t bytes = 0;
    vlmoe_status st = vlm_stream_open_text(a->path, &stream, error);
    for (int64_t number = 1; !st; number++) {
        st = vlm_stream_line(&stream, &line, &bytes, error);
        if (st || !line) break;
        if (bytes) st = add_line(a, form, line, number, error);
    }
    vlm_stream_close(&stream);
    return st;
}

vlmoe_status vlm_scored_read(const char *path, vlm_scored_form form, vlm_scored *out,
                             vlmoe_error *error)
{
    char sign;
    *out = (vlm_scored){.path = path};
    vlmoe_status st = vlm_stream_first_sign(path, &sign, error);
    if (!st && form == VLM_SCORED_VQA) st = read_records(out, sign != '{', form, error);
    else if (!st && form == VLM_SCORED_CLASSIFY && sign == '{')
        st = read_records(out, false, form, error);
    else if (!st) st = read_lines(out, form, error);
    if (!st && !out->n) st = vlm_fail(error, VLMOE_E_FORMAT, "%s: no predictions in it", path);
    if (st) vlm_scored_free(out);
    return st;
}

/* ---- accounts ---- */

vlmoe_status vlm_scored_take(vlm_scored *a, const char *id, const char *annotations, int64_t *out,
                             vlmoe_error *error)
{
    const int64_t *place = vlm_idmap_find(&a->ids, id, strlen(id));
    *out = place ? *place : -1;
    if (!place) {
        if (!a->n_missing++) snprintf(a->missing, sizeof a->missing, "%s", id);
        return VLMOE_OK;
    }
    if (a->item[*place].is_used)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: \"%s\" is there twice", annotations, id);
    a->item[*place].is_used = true;
    return VLMOE_OK;
}

vlmoe_status vlm_scored_close(const vlm_scored *a, const vlm_score_options *options,
                              vlm_score_sheet *sheet, vlmoe_error *error)
{
    int64_t n_unused = 0, first = -1;
    for (int64_t i = 0; i < a->n; i++) {
        if (a->item[i].is_used) continue;
        if (!n_unused++) first = i;
    }
    const char *unused = first < 0 ? "" : a->pool.data + a->item[first].id;
    if (!options->partial && a->n_missing)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: %lld without a prediction, the first is \"%s\"; --partial counts them "
                        "as wrong",
                        a->path, (long long)a->n_missing, a->missing);
    if (!options->partial && n_unused)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: %lld predictions for what the annotations lack, the first is \"%s\"; "
                        "--partial leaves them out",
                        a->path, (long long)n_unused, unused);
    size_t used = strlen(sheet->note);
    if (a->n_missing || n_unused)
        snprintf(sheet->note + used, sizeof sheet->note - used,
                 "%s%lld without a prediction counted as wrong, %lld predictions left out",
                 used ? "; " : "", (long long)a->n_missing, (long long)n_unused);
    return VLMOE_OK;
}
