/* Pairs of sentences: MNLI and SNLI as lines of JSON, and as GLUE has them, a table with tabs whose
 * first line names the columns. GLUE's table is no CSV: quotes are characters like others. */
#include <string.h>
#include "data_rows_kind.h"
#include "data_stream.h"

enum { COLUMNS_MAX = 64 };

/* What is looked for in a table. */
typedef enum column { PAIR_ID, INDEX, GENRE, FIRST, SECOND, GOLD, COLUMNS } column;

typedef struct nli {
    vlm_records *records; /* JSON */
    vlm_stream table;     /* tabs */
    int64_t n_line;
    int n_columns, place[COLUMNS]; /* place: -1 = this table has no such column */
    char *split;
} nli;

static void nli_close(void *state)
{
    nli *s = state;
    vlm_records_close(s->records);
    vlm_stream_close(&s->table);
    vlm_free(s->split);
    vlm_free(s);
}

/* "matched" or "mismatched" by the options, or by the name of the file, whatever its folder's. */
static vlmoe_status begin(vlm_rows *rows, vlmoe_error *error)
{
    static const char *const names[] = {"entailment", "neutral", "contradiction"};
    const char *path = rows->options.in, *split = rows->options.split;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!split && strstr(name, "mismatched")) split = "mismatched";
    if (!split && strstr(name, "matched")) split = "matched";
    nli *s = vlm_alloc(sizeof *s);
    if (!s) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", path);
    rows->state = s;
    if (split) {
        s->split = vlm_strdup(split);
        if (!s->split) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", path);
    }
    return vlm_rows_set_classes(rows, names, VLM_COUNT(names), error);
}

static vlmoe_status take(vlm_rows *rows, vlm_row *row, const char *gold, vlmoe_error *error)
{
    const nli *s = rows->state;
    vlm_row_put_text(row, "split", s->split);
    if (!gold || !strcmp(gold, "hidden")) return VLMOE_OK; /* a test set */
    if (!strcmp(gold, "-")) return vlm_rows_drop(rows, row, VLM_NOTE_NO_GOLD, NULL, error);
    const int32_t label = vlm_rows_class(rows, gold);
    if (label < 0) return vlm_rows_drop(rows, row, VLM_NOTE_LABEL_UNKNOWN, gold, error);
    vlm_row_add_label(row, label, 1.0);
    return VLMOE_OK;
}

/* ---- Lines of JSON ---- */

static vlmoe_status mnli_open(vlm_rows *rows, vlmoe_error *error)
{
    VLM_TRY(begin(rows, error));
    nli *s = rows->state;
    return vlm_records_open(rows->options.in, NULL, 0, &s->records, error);
}

static vlmoe_status mnli_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    nli *s = rows->state;
    const vlm_value *value = NULL;
    const char *first = NULL, *second = NULL;
    VLM_TRY(vlm_records_next(s->records, &value, error));
    *found = value != NULL;
    if (!value) return VLMOE_OK;
    VLM_TRY(vlm_rows_expect_object(s->records, value, error));
    VLM_TRY(vlm_row_take_id(row, s->records, value, "pairID", error));
    VLM_TRY(vlm_rows_get_text(s->records, value, "sentence1", &first, error));
    VLM_TRY(vlm_rows_get_text(s->records, value, "sentence2", &second, error));
    vlm_row_add_text(row, first);
    vlm_row_add_text(row, second);
    vlm_row_put_text(row, "genre", vlm_json_text(vlm_json_get(value, "genre")));
    const vlm_value *gold = vlm_json_get(value, "gold_label");
    if (gold && !vlm_json_text(gold))
        return vlm_records_fail(s->records, error, "\"gold_label\" is %s, expected a string",
                                vlm_json_kind_name(vlm_json_kind_of(gold)));
    return take(rows, row, gold ? vlm_json_text(gold) : NULL, error);
}

/* ---- Tables ---- */

/* Cuts a line at its tabs. Errors: FORMAT (more columns than there may be). */
static vlmoe_status cut(const nli *s, char *line, char **cells, int *n, vlmoe_error *error)
{
    *n = 0;
    for (char *at = line; at;) {
        if (*n == COLUMNS_MAX)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld: more than %d columns",
                            s->table.path, (long long)s->n_line, COLUMNS_MAX);
        cells[(*n)++] = at;
        at = strchr(at, '\t');
        if (at) *at++ = 0;
    }
    return VLMOE_OK;
}

static vlmoe_status read_line(nli *s, char **line, vlmoe_error *error)
{
    size_t bytes = 0;
    VLM_TRY(vlm_stream_line(&s->table, line, &bytes, error));
    s->n_line++;
    if (!*line || strlen(*line) == bytes) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld: a zero byte in a text", s->table.path,
                    (long long)s->n_line);
}

static vlmoe_status read_head(nli *s, vlmoe_error *error)
{
    static const char *const names[COLUMNS] = {"pairID",    "index",     "genre",
                                               "sentence1", "sentence2", "gold_label"};
    char *line = NULL, *cells[COLUMNS_MAX];
    VLM_TRY(vlm_stream_skip_mark(&s->table, error));
    VLM_TRY(read_line(s, &line, error));
    if (!line) return vlm_fail(error, VLMOE_E_FORMAT, "%s is empty", s->table.path);
    VLM_TRY(cut(s, line, cells, &s->n_columns, error));
    for (int c = 0; c < COLUMNS; c++) {
        s->place[c] = -1;
        for (int i = 0; i < s->n_columns; i++) {
            if (strcmp(cells[i], names[c])) continue;
            if (s->place[c] >= 0)
                return vlm_fail(error, VLMOE_E_FORMAT, "%s line 1 names the column \"%s\" twice",
                                s->table.path, names[c]);
            s->place[c] = i;
        }
    }
    for (int c = FIRST; c <= SECOND; c++)
        if (s->place[c] < 0)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s line 1 names no column \"%s\"",
                            s->table.path, names[c]);
    if (s->place[PAIR_ID] < 0) s->place[PAIR_ID] = s->place[INDEX];
    if (s->place[PAIR_ID] >= 0) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s line 1 names no column \"pairID\" or \"index\"",
                    s->table.path);
}

static vlmoe_status glue_open(vlm_rows *rows, vlmoe_error *error)
{
    VLM_TRY(begin(rows, error));
    nli *s = rows->state;
    VLM_TRY(vlm_stream_open(rows->options.in, 0, &s->table, error));
    return read_head(s, error);
}

static vlmoe_status glue_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    nli *s = rows->state;
    char *line = NULL, *cells[COLUMNS_MAX];
    int n = 0;
    do VLM_TRY(read_line(s, &line, error));
    while (line && !line[0]);
    *found = line != NULL;
    if (!line) return VLMOE_OK;
    VLM_TRY(cut(s, line, cells, &n, error));
    if (n != s->n_columns)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld: %d columns, the first line names %d",
                        s->table.path, (long long)s->n_line, n, s->n_columns);
    vlm_row_set_id_text(row, cells[s->place[PAIR_ID]]);
    vlm_row_add_text(row, cells[s->place[FIRST]]);
    vlm_row_add_text(row, cells[s->place[SECOND]]);
    if (s->place[GENRE] >= 0) vlm_row_put_text(row, "genre", cells[s->place[GENRE]]);
    return take(rows, row, s->place[GOLD] >= 0 ? cells[s->place[GOLD]] : NULL, error);
}

const vlm_rows_kind vlm_rows_mnli = {
    "mnli",   "MNLI, SNLI: pairs of sentences, lines of JSON", VLM_ROWS_SPLIT, mnli_open, mnli_next,
    nli_close};
const vlm_rows_kind vlm_rows_glue = {"glue",         "MNLI as GLUE has it: a table with tabs",
                                     VLM_ROWS_SPLIT, glue_open,
                                     glue_next,      nli_close};
