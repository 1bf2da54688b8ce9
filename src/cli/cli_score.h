/* vlmoe-eval score: files of predictions against files of answers, in the field's own forms. Figures are src/metric's. */
#ifndef VLM_CLI_SCORE_H
#define VLM_CLI_SCORE_H

#include "base_json.h"
#include "data_idmap.h"

enum { VLM_SCORE_RESULTS = 64, VLM_SCORE_ANNOTATIONS = 8, VLM_SCORE_BEST = 5 };

typedef struct vlm_score_options {
    const char *task, *json;
    int n_results, n_annotations;
    const char *results[VLM_SCORE_RESULTS], *annotations[VLM_SCORE_ANNOTATIONS];
    bool partial; /* score what there is */
    int64_t fold; /* of retrieval; 0 = none */
} vlm_score_options;

/* ---- figures of one file of predictions, in the order they are shown ---- */

typedef struct vlm_score_row {
    char *name;
    int64_t n;    /* what the figure is over */
    double value; /* a percentage, or a rank */
} vlm_score_row;

typedef struct vlm_score_sheet {
    int64_t n, capacity;
    vlm_score_row *row;
    char note[256]; /* what was left out; empty: nothing */
} vlm_score_sheet;

vlmoe_status vlm_score_put(vlm_score_sheet *sheet, int64_t n, double value, vlmoe_error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void vlm_score_sheet_free(vlm_score_sheet *sheet);

/* ---- predictions of one file, by id ---- */

typedef struct vlm_scored_item {
    size_t id, text; /* places in the pool; n texts one behind the other */
    int n;
    bool is_used;
} vlm_scored_item;

typedef struct vlm_scored {
    const char *path;
    vlm_text pool;
    vlm_scored_item *item;
    int64_t n, capacity;
    vlm_idmap ids;
    bool by_index;     /* ids are numbers of rows (GLUE's index,prediction) */
    int64_t n_missing; /* asked for and not there */
    char missing[96];  /* the first of them */
} vlm_scored;

typedef enum vlm_scored_form { VLM_SCORED_VQA, VLM_SCORED_FIELDS, VLM_SCORED_CLASSIFY } vlm_scored_form;

/* VQA: an array or lines of {question_id, answer}; FIELDS: lines ID,ANSWER or ID TAB ANSWER, with or without a heading; CLASSIFY: lines of
 * {image, labels} or NAME,LABEL,... Errors: IO, NOMEM, FORMAT (place and what was expected; an id twice). */
vlmoe_status vlm_scored_read(const char *path, vlm_scored_form form, vlm_scored *out, vlmoe_error *error);
void vlm_scored_free(vlm_scored *scored);
const char *vlm_scored_text(const vlm_scored *scored, int64_t i, int k); /* k-th best of prediction i */

/* The prediction for an id; *out = -1 where there is none, which is counted. Errors: FORMAT (asked for before: the annotations have it twice). */
vlmoe_status vlm_scored_take(vlm_scored *scored, const char *id, const char *annotations, int64_t *out, vlmoe_error *error);
/* When all annotations were seen: predictions without a question and questions without a prediction are an error, or under partial go into
 * the sheet's note. */
vlmoe_status vlm_scored_close(const vlm_scored *scored, const vlm_score_options *options, vlm_score_sheet *sheet, vlmoe_error *error);

/* ---- parts of a line ---- */

/* Cut in place at separator; quotes of RFC 4180 are read where it is a comma. Returns the fields, at most max (the rest stays in the last). */
int vlm_score_fields(char *line, char separator, char **field, int max);
/* Without white space and control characters at its ends, in place: captions that are equal then are one (vlm_caption_number). */
char *vlm_score_trim(char *text);
/* What a picture is known by, "top/dir/a.b.JPEG" -> "dir/a.b", in place; and without the folder, "a.b". */
char *vlm_score_picture(char *name);
const char *vlm_score_stem(const char *picture);
/* Is this a name of a column, of those that files of predictions and lists of classes begin with? */
bool vlm_score_is_heading(const char *field);
/* Text of a string, or of a whole number put into scratch [32]; NULL: neither. */
const char *vlm_score_id(const vlm_value *value, char *scratch);

/* ---- tasks: predictions of one file into figures ---- */

vlmoe_status vlm_score_vqa(const vlm_score_options *options, const char *results, vlm_score_sheet *out, vlmoe_error *error);
vlmoe_status vlm_score_nlvr2(const vlm_score_options *options, const char *results, vlm_score_sheet *out, vlmoe_error *error);
vlmoe_status vlm_score_nli(const vlm_score_options *options, const char *results, vlm_score_sheet *out, vlmoe_error *error);
vlmoe_status vlm_score_classify(const vlm_score_options *options, const char *results, vlm_score_sheet *out, vlmoe_error *error);
/* Lists of the best candidates; its part of vlm_score_retrieval. */
vlmoe_status vlm_score_lists(const vlm_score_options *options, const char *results, vlm_score_sheet *out, vlmoe_error *error);
vlmoe_status vlm_score_retrieval(const vlm_score_options *options, const char *results, vlm_score_sheet *out, vlmoe_error *error);

#endif
