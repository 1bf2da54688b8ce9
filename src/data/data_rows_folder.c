/* ImageNet's layout: a folder of pictures for each class, classes numbered by the folders' names in
 * byte order. The kind of a picture is told by its bytes, not by its name. */
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "data_rows_kind.h"

typedef struct folder {
    char *root;
    char **classes; /* folders in order */
    size_t n_classes, i_class;
    char **files; /* of the folder at hand */
    size_t n_files, i_file;
    int64_t n_taken; /* pictures of the folder at hand */
    bool is_in;      /* files were listed */
} folder;

static void folder_close(void *state)
{
    folder *s = state;
    vlm_names_free(s->classes, s->n_classes);
    vlm_names_free(s->files, s->n_files);
    vlm_free(s->root);
    vlm_free(s);
}

static char *class_path(const folder *s)
{
    return vlm_path_join(s->root, s->classes[s->i_class]);
}

/* Keeps the names that are folders, in order; files beside them are noted. */
static vlmoe_status list_classes(folder *s, vlm_ledger *ledger, vlmoe_error *error)
{
    size_t n = 0;
    VLM_TRY(vlm_dir_list(s->root, &s->classes, &s->n_classes, error));
    for (size_t i = 0; i < s->n_classes; i++) {
        char *path = vlm_path_join(s->root, s->classes[i]);
        if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to list %s", s->root);
        const bool is_hidden = s->classes[i][0] == '.',
                   is_kept = !is_hidden && vlm_path_is_dir(path);
        vlmoe_status st = VLMOE_OK;
        if (!is_hidden && !is_kept)
            st = vlm_ledger_note(ledger, VLM_NOTE_PICTURE_UNUSED, path, NULL, error);
        vlm_free(path);
        if (st) return st;
        char *name = s->classes[i];
        s->classes[i] = s->classes[n]; /* names trade places, so that all are freed */
        s->classes[n] = name;
        n += is_kept;
    }
    for (size_t i = n; i < s->n_classes; i++) vlm_free(s->classes[i]);
    s->n_classes = n;
    if (n) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s holds no folders, expected one a class", s->root);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Classes of the options that have no folder. */
static vlmoe_status note_absent(vlm_rows *rows, vlmoe_error *error)
{
    const folder *s = rows->state;
    for (int64_t i = 0; i < rows->classes.n; i++) {
        const char *name = rows->classes.name[i];
        if (!bsearch(&name, s->classes, s->n_classes, sizeof *s->classes, compare_names))
            VLM_TRY(vlm_ledger_note(rows->ledger, VLM_NOTE_CLASS_EMPTY, name, NULL, error));
    }
    return VLMOE_OK;
}

static vlmoe_status folder_open(vlm_rows *rows, vlmoe_error *error)
{
    folder *s = vlm_alloc(sizeof *s);
    if (!s) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to list %s", rows->options.in);
    rows->state = s;
    s->root = vlm_strdup(rows->options.in);
    if (!s->root) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to list %s", rows->options.in);
    VLM_TRY(list_classes(s, rows->ledger, error));
    if (!rows->options.labels)
        return vlm_rows_set_classes(rows, (const char *const *)s->classes, (int64_t)s->n_classes,
                                    error);
    VLM_TRY(vlm_rows_read_classes(rows, rows->options.labels, error));
    return note_absent(rows, error);
}

/* To the next file that is not hidden; false at the end of all folders. */
static vlmoe_status advance(vlm_rows *rows, bool *found, vlmoe_error *error)
{
    folder *s = rows->state;
    for (*found = false; s->i_class < s->n_classes;) {
        if (!s->is_in) {
            char *path = class_path(s);
            if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to list %s", s->root);
            vlmoe_status st = vlm_dir_list(path, &s->files, &s->n_files, error);
            vlm_free(path);
            if (st) return st;
            s->is_in = true;
            s->i_file = 0;
            s->n_taken = 0;
        }
        while (s->i_file < s->n_files && s->files[s->i_file][0] == '.') s->i_file++;
        if (s->i_file < s->n_files) {
            *found = true;
            s->n_taken++;
            return VLMOE_OK;
        }
        if (!s->n_taken)
            VLM_TRY(vlm_ledger_note(rows->ledger, VLM_NOTE_CLASS_EMPTY, s->classes[s->i_class],
                                    NULL, error));
        vlm_names_free(s->files, s->n_files);
        s->files = NULL;
        s->n_files = 0;
        s->is_in = false;
        s->i_class++;
    }
    return VLMOE_OK;
}

static vlmoe_status folder_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    folder *s = rows->state;
    VLM_TRY(advance(rows, found, error));
    if (!*found) return VLMOE_OK;
    const char *class = s->classes[s->i_class];
    char *id = vlm_format("%s/%s", class, s->files[s->i_file++]);
    if (!id) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    vlm_row_set_id_text(row, id);
    vlm_row_add_picture(row, s->root, id);
    vlm_free(id);
    row->is_own = true;
    const int32_t label = vlm_rows_class(rows, class);
    if (label < 0) return vlm_rows_drop(rows, row, VLM_NOTE_LABEL_UNKNOWN, class, error);
    vlm_row_add_label(row, label, 1.0);
    return VLMOE_OK;
}

const vlm_rows_kind vlm_rows_imagenet = {"imagenet",      "a folder of pictures for each class",
                                         VLM_ROWS_LABELS, folder_open,
                                         folder_next,     folder_close};
