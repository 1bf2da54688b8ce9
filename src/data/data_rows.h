/* Labelled sets as the field distributes them, row by row: one picture, question, statement, pair of
 * sentences. Each format is one file, data_rows_*.c. Not here: writing shards (data_pack.h), what is
 * learned from labels. */
#ifndef VLM_DATA_ROWS_H
#define VLM_DATA_ROWS_H

#include "base_json.h"
#include "data_label.h"
#include "data_ledger.h"
#include "data_shard.h"

/* A row; its owner is who walks the rows, and its memory is used again. */
typedef struct vlm_row {
    vlm_text id;   /* as JSON: 7000 or "dev-1-0-1" */
    vlm_text more; /* further members of the sample's json, each ",\"key\":value" */
    int n_pictures;
    vlm_text pictures[VLM_SAMPLE_PICTURES_MAX]; /* paths */
    bool is_own;    /* the picture belongs to this row alone; else many rows share pictures */
    bool has_image; /* image is the picture, no path */
    vlm_text image;
    int n_texts;
    vlm_text texts[VLM_SAMPLE_TEXTS_MAX];
    int n_labels; /* -1 = the set does not say */
    int32_t label[VLM_LABELS_MAX];
    double score[VLM_LABELS_MAX];
} vlm_row;
void vlm_row_free(vlm_row *row); /* a zeroed one is allowed */

/* NULL where a format does not need it; each open says what is missing. */
typedef struct vlm_rows_options {
    const char *format;      /* see vlm_rows_format */
    const char *in;          /* questions, index, table or folder */
    const char *annotations; /* answers or labels, where they are a file of their own */
    const char *labels;      /* names of the classes */
    const char *images;      /* folder that picture paths begin in */
    const char *split;       /* which rows, or what the rows are */
    const char *picture;     /* vqav2: how pictures are named */
    const char *text_model;  /* beit3: what its token ids mean */
} vlm_rows_options;

typedef struct vlm_rows vlm_rows;

/* Formats by number, NULL behind the last: name and one line about it. */
const char *vlm_rows_format(int i, const char **about);

/* Do its rows name pictures by paths in a folder (options.images)? */
bool vlm_rows_read_images(const char *format);

/* The ledger is the caller's and lives as long. Errors: ARG (an option is missing or of no use),
 * IO, FORMAT, NOMEM. */
vlmoe_status vlm_rows_open(const vlm_rows_options *options, vlm_ledger *ledger, vlm_rows **out,
                           vlmoe_error *error);
void vlm_rows_close(vlm_rows *rows); /* NULL allowed */

/* The next row that is to be packed; *found = false at the end. Texts are UTF-8 and not blank, ids
 * are new, labels are classes; what is not so went to the ledger. Errors: FORMAT (a fault, or a file
 * that is not what it claims to be; file and byte or line named), IO, NOMEM. */
vlmoe_status vlm_rows_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error);

/* Names of the classes; n = 0 where a set has none. */
const vlm_classes *vlm_rows_classes(const vlm_rows *rows);

#endif
