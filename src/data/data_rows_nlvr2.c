/* NLVR2: lines of JSON, a statement over two pictures each. Pictures are named by the identifier
 * without its last part, and lie in SPLIT/, SPLIT/DIRECTORY/ or right in the folder of pictures. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "data_rows_kind.h"

typedef struct nlvr2 {
    vlm_records *records;
    char *images;
} nlvr2;

static void nlvr2_close(void *state)
{
    nlvr2 *s = state;
    vlm_records_close(s->records);
    vlm_free(s->images);
    vlm_free(s);
}

static vlmoe_status nlvr2_open(vlm_rows *rows, vlmoe_error *error)
{
    static const char *const names[] = {"False", "True"};
    nlvr2 *s = vlm_alloc(sizeof *s);
    if (s) s->images = vlm_strdup(rows->options.images ? rows->options.images : "");
    if (!s || !s->images) {
        vlm_free(s);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", rows->options.in);
    }
    rows->state = s;
    VLM_TRY(vlm_rows_set_classes(rows, names, VLM_COUNT(names), error));
    return vlm_records_open(rows->options.in, NULL, 0, &s->records, error);
}

/* DIR/STEM-imgSIDE.png, DIR/SPLIT/..., DIR/SPLIT/DIRECTORY/..., and the same below DIR/images: the
 * first that is there, else the third. */
static vlmoe_status add_picture(const nlvr2 *s, const char *id, int64_t directory, int side,
                                vlm_row *row, vlmoe_error *error)
{
    const int n_stem = (int)(strrchr(id, '-') - id), n_split = (int)strcspn(id, "-");
    char folder[32] = "";
    char *name = NULL;
    if (directory >= 0) snprintf(folder, sizeof folder, "%lld/", (long long)directory);
    for (int form = 0; form < 6; form++) {
        const bool in_split = form % 3 > 0, in_folder = form % 3 > 1;
        row->n_pictures = side;
        name = vlm_format("%s%.*s%s%s%.*s-img%d.png", form < 3 ? "" : "images/",
                          in_split ? n_split : 0, id, in_split ? "/" : "", in_folder ? folder : "",
                          n_stem, id, side);
        if (!name) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
        vlm_row_add_picture(row, s->images, name);
        vlm_free(name);
        if (row->pictures[side].failed || vlm_path_exists(row->pictures[side].data))
            return VLMOE_OK;
    }
    return VLMOE_OK;
}

static vlmoe_status take_label(vlm_rows *rows, const nlvr2 *s, const vlm_value *value, vlm_row *row,
                               vlmoe_error *error)
{
    const vlm_value *label = vlm_json_get(value, "label");
    if (!label) return VLMOE_OK;
    const char *name = vlm_json_text(label);
    if (vlm_json_kind_of(label) == VLM_JSON_BOOL) name = vlm_json_bool(label) ? "True" : "False";
    if (!name)
        return vlm_records_fail(s->records, error,
                                "\"label\" is %s, expected \"True\" or \"False\"",
                                vlm_json_kind_name(vlm_json_kind_of(label)));
    const int32_t class = vlm_rows_class(rows, name);
    if (class < 0) return vlm_rows_drop(rows, row, VLM_NOTE_LABEL_UNKNOWN, name, error);
    vlm_row_add_label(row, class, 1.0);
    return VLMOE_OK;
}

static vlmoe_status nlvr2_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    nlvr2 *s = rows->state;
    const vlm_value *value = NULL;
    const char *id = NULL, *text = NULL;
    int64_t directory = -1;
    VLM_TRY(vlm_records_next(s->records, &value, error));
    *found = value != NULL;
    if (!value) return VLMOE_OK;
    VLM_TRY(vlm_rows_expect_object(s->records, value, error));
    VLM_TRY(vlm_rows_get_text(s->records, value, "identifier", &id, error));
    VLM_TRY(vlm_rows_get_text(s->records, value, "sentence", &text, error));
    if (!strchr(id, '-') || strlen(id) > 200)
        return vlm_records_fail(s->records, error,
                                "identifier \"%.40s\": expected SPLIT-...-NUMBER", id);
    const vlm_value *folder = vlm_json_get(value, "directory");
    if (folder && (!vlm_json_int(folder, &directory) || directory < 0))
        return vlm_records_fail(s->records, error, "\"directory\" is no number from 0 on");
    vlm_row_set_id_text(row, id);
    vlm_row_put_text(row, "identifier", id);
    vlm_row_add_text(row, text);
    for (int side = 0; side < 2; side++) VLM_TRY(add_picture(s, id, directory, side, row, error));
    return take_label(rows, s, value, row, error);
}

const vlm_rows_kind vlm_rows_nlvr2 = {"nlvr2",         "NLVR2: statements over two pictures",
                                      VLM_ROWS_IMAGES, nlvr2_open,
                                      nlvr2_next,      nlvr2_close};
