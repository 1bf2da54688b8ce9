/* What a format gives to data_rows.c, and what it may use: for data_rows*.c only. */
#ifndef VLM_DATA_ROWS_KIND_H
#define VLM_DATA_ROWS_KIND_H

#include "data_idmap.h"
#include "data_records.h"
#include "data_rows.h"

/* What a format reads besides its input. */
enum {
    VLM_ROWS_ANNOTATIONS = 1,
    VLM_ROWS_LABELS = 2,
    VLM_ROWS_SPLIT = 4,
    VLM_ROWS_PICTURE = 8,
    VLM_ROWS_TEXT_MODEL = 16,
    VLM_ROWS_IMAGES = 32
};

typedef struct vlm_rows_kind {
    const char *name, *about;
    unsigned uses; /* VLM_ROWS_...: any other is refused */
    /* Sets rows->state as soon as there is something to close; close is called on failure too. */
    vlmoe_status (*open)(vlm_rows *rows, vlmoe_error *error);
    /* Fills a cleared row (n_labels -1). A row that is left out here goes through vlm_rows_drop. */
    vlmoe_status (*next)(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error);
    void (*close)(void *state); /* never NULL */
} vlm_rows_kind;

extern const vlm_rows_kind vlm_rows_vqav2, vlm_rows_nlvr2, vlm_rows_karpathy, vlm_rows_imagenet,
    vlm_rows_mnli, vlm_rows_glue, vlm_rows_beit3, vlm_rows_idx;

struct vlm_rows {
    const vlm_rows_kind *kind;
    vlm_rows_options options; /* its texts are the caller's, and are used at open only */
    vlm_ledger *ledger;
    vlm_classes classes;
    vlm_idmap class_ids, ids;
    bool is_out; /* the row at hand was noted and is left out */
    void *state;
};

/* ---- Classes ---- */
/* Errors: FORMAT (a name twice, empty, not UTF-8 or of more than a line), NOMEM. */
vlmoe_status vlm_rows_set_classes(vlm_rows *rows, const char *const *names, int64_t n,
                                  vlmoe_error *error);
vlmoe_status vlm_rows_read_classes(vlm_rows *rows, const char *path, vlmoe_error *error);
int32_t vlm_rows_class(const vlm_rows *rows, const char *name); /* -1: none of this name */

/* ---- Rows ---- */
/* Note it under the row's id, and leave the row out. Errors: FORMAT (a fault ends the work), NOMEM (the row is not whole). */
vlmoe_status vlm_rows_drop(vlm_rows *rows, const vlm_row *row, vlm_note note, const char *why,
                           vlmoe_error *error);
void vlm_row_set_id_text(vlm_row *row, const char *id);
void vlm_row_set_id_int(vlm_row *row, int64_t id);
/* The member 'key' as the row's id, integer or string. Errors: FORMAT, NOMEM. */
vlmoe_status vlm_row_take_id(vlm_row *row, const vlm_records *records, const vlm_value *value,
                             const char *key, vlmoe_error *error);
void vlm_row_add_text(vlm_row *row, const char *text); /* NULL counts as empty */
void vlm_row_add_label(vlm_row *row, int32_t label, double score);
/* ",\"key\":\"text\""; nothing when text is NULL. */
void vlm_row_put_text(vlm_row *row, const char *key, const char *text);
void vlm_row_put_int(vlm_row *row, const char *key, int64_t value);
/* dir/name as the row's next picture; dir NULL = name alone. */
void vlm_row_add_picture(vlm_row *row, const char *dir, const char *name);

/* ---- JSON ---- */
vlmoe_status vlm_rows_expect_object(const vlm_records *records, const vlm_value *value,
                                    vlmoe_error *error);
/* Members that must be there. Errors: FORMAT with file and byte. */
vlmoe_status vlm_rows_get_int(const vlm_records *records, const vlm_value *object, const char *key,
                              int64_t *out, vlmoe_error *error);
vlmoe_status vlm_rows_get_text(const vlm_records *records, const vlm_value *object,
                               const char *key, const char **out, vlmoe_error *error);

#endif
