/* Retrieval: a matrix of scores in a .npy file, [pictures, texts], and whose each text is. Lists of the best are cli_score_lists.c's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "cli_score.h"
#include "data_stream.h"
#include "metric_recall.h"

enum { ROWS = 64 }; /* shown at once */

typedef struct matrix {
    vlm_map map;
    const unsigned char *data;
    size_t element; /* 4 or 8 bytes of a little-endian float */
    int64_t rows, columns;
} matrix;

/* ---- the matrix ---- */

/* What stands behind "'KEY': " in a heading; NULL: not there. */
static const char *member(const char *head, const char *key)
{
    const char *at = strstr(head, key);
    return at ? at + strlen(key) + strspn(at + strlen(key), " ") : NULL;
}

/* The heading of NumPy's format 1.0 to 3.0. */
static vlmoe_status parse_npy(const char *path, matrix *m, vlmoe_error *error)
{
    char head[1024];
    const unsigned char *d = m->map.data;
    bool is_npy = m->map.bytes >= 12 && !memcmp(d, "\x93NUMPY", 6) && d[6] >= 1 && d[6] <= 3;
    size_t start = is_npy && d[6] > 1 ? 12 : 10, bytes = 0;
    if (is_npy) bytes = d[8] | (size_t)d[9] << 8;
    if (is_npy && d[6] > 1) bytes |= (size_t)d[10] << 16 | (size_t)d[11] << 24;
    if (!is_npy || bytes >= sizeof head || start + bytes > m->map.bytes)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: not a matrix in NumPy's format", path);
    memcpy(head, d + start, bytes);
    head[bytes] = '\0';
    const char *type = member(head, "'descr':"), *order = member(head, "'fortran_order':"),
               *shape = member(head, "'shape':");
    m->element = type && !strncmp(type, "'<f4'", 5)   ? 4
                 : type && !strncmp(type, "'<f8'", 5) ? 8
                                                      : 0;
    if (!m->element || !order || strncmp(order, "False", 5) || !shape ||
        sscanf(shape, "(%" SCNd64 ", %" SCNd64 ")", &m->rows, &m->columns) != 2)
        return vlm_fail(
            error, VLMOE_E_FORMAT,
            "%s: expected a matrix of two dimensions in C order of '<f4' or '<f8', found %s", path,
            head);
    int64_t n = 0;
    m->data = d + start + bytes;
    bool fits = m->rows >= 1 && m->columns >= 1 && vlm_mul_i64(m->rows, m->columns, &n) &&
                vlm_mul_i64(n, (int64_t)m->element, &n) &&
                (uint64_t)n == m->map.bytes - start - bytes;
    if (fits) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s: its size does not fit [%lld, %lld]", path,
                    (long long)m->rows, (long long)m->columns);
}

static void copy_rows(const matrix *m, int64_t first, int64_t n, double *out)
{
    const unsigned char *from = m->data + (size_t)first * (size_t)m->columns * m->element;
    int64_t count = n * m->columns;
    if (m->element == 8) memcpy(out, from, (size_t)count * 8);
    for (int64_t i = 0; m->element == 4 && i < count; i++) {
        float value;
        memcpy(&value, from + 4 * (size_t)i, 4);
        out[i] = value;
    }
}

/* ---- whose texts ---- */

/* Without annotations every picture has equally many texts, one behind the other. */
static vlmoe_status share_evenly(const matrix *m, const char *path, int64_t *image_of,
                                 vlmoe_error *error)
{
    if (m->columns % m->rows)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: %lld texts are not equally many for each of %lld pictures; "
                        "--annotations says whose they are",
                        path, (long long)m->columns, (long long)m->rows);
    for (int64_t t = 0; t < m->columns; t++) image_of[t] = t / (m->columns / m->rows);
    return VLMOE_OK;
}

/* A line for each column: the picture's row, a tab, the text. Equal texts get equal concepts. */
static vlmoe_status read_texts(const matrix *m, const char *path, int64_t *image_of,
                               int64_t *concept, vlmoe_error *error)
{
    vlm_stream stream = {0};
    vlm_idmap texts = {0};
    char *line = NULL, *field[2], *end;
    size_t bytes = 0;
    int64_t t = 0;
    vlmoe_status st = vlm_stream_open_text(path, &stream, error);
    for (; !st; t++) {
        st = vlm_stream_line(&stream, &line, &bytes, error);
        if (st || !line) break;
        if (t == m->columns || vlm_score_fields(line, '\t', field, 2) < 2) {
            st = vlm_fail(error, VLMOE_E_FORMAT,
                          "%s line %lld: expected %lld lines of a picture's row, a tab, a text",
                          path, (long long)t + 1, (long long)m->columns);
            break;
        }
        image_of[t] = strtoll(field[0], &end, 10);
        if (end == field[0] || *end)
            image_of[t] = -1; /* refused with its line by vlm_recall_create */
        char *text = vlm_score_trim(field[1]);
        int64_t *place = NULL;
        bool is_new;
        st = vlm_idmap_add(&texts, text, strlen(text), t, &place, &is_new, error);
        if (!st) concept[t] = *place;
    }
    if (!st && t < m->columns)
        st = vlm_fail(error, VLMOE_E_FORMAT, "%s: %lld lines for %lld texts", path, (long long)t,
                      (long long)m->columns);
    vlm_idmap_free(&texts);
    vlm_stream_close(&stream);
    return st;
}

/* ---- figures ---- */

static vlmoe_status put_way(const char *before, const char *what, const vlm_recall_way *way,
                            int64_t n, vlm_score_sheet *out, vlmoe_error *error)
{
    for (int k = 0; k < VLM_RECALL_AT; k++)
        VLM_TRY(vlm_score_put(out, n, 100.0 * way->at[k], error, "%s%s R@%d", before, what,
                              vlm_recall_at[k]));
    VLM_TRY(vlm_score_put(out, n, way->mean_rank, error, "%s%s mean rank", before, what));
    return vlm_score_put(out, n, way->median_rank, error, "%s%s median rank", before, what);
}

static vlmoe_status put_result(const char *before, const vlm_recall_result *r, const matrix *m,
                               vlm_score_sheet *out, vlmoe_error *error)
{
    VLM_TRY(put_way(before, "texts for pictures", &r->text, m->rows, out, error));
    VLM_TRY(put_way(before, "pictures for texts", &r->image, m->columns, out, error));
    return vlm_score_put(out, m->rows + m->columns, 100.0 * r->mean, error, "%smean of six",
                         before);
}

/* What is wrong with a set, but for its folds, stands in the file that says whose texts are whose. */
static vlmoe_status open_recall(const vlm_recall_set *set, const char *whose, vlm_recall **out,
                                vlmoe_error *error)
{
    vlmoe_status st = vlm_recall_create(set, out, error);
    bool fits_folds = !set->fold || set->n_images % set->fold == 0;
    if (st != VLMOE_E_ARG || !fits_folds) return st;
    error->status = VLMOE_E_FORMAT;
    return vlm_fail_in(error, "%s", whose);
}

static vlmoe_status show_all(const matrix *m, vlm_recall *recall, vlmoe_error *error)
{
    double *block = vlm_alloc_array((size_t)m->columns, ROWS * sizeof *block);
    if (!block) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for rows of scores");
    vlmoe_status st = VLMOE_OK;
    for (int time = 0; time < 2; time++)
        for (int64_t i = 0; i < m->rows && !st; i += ROWS) {
            int64_t n = VLM_MIN(ROWS, m->rows - i);
            copy_rows(m, i, n, block);
            st = vlm_recall_show(recall, i, n, block, error);
        }
    vlm_free(block);
    return st;
}

static vlmoe_status measure(const char *path, const matrix *m, vlm_recall *recall, int64_t fold,
                            vlm_score_sheet *out, vlmoe_error *error)
{
    vlm_recall_result all, folds;
    vlmoe_status st = show_all(m, recall, error);
    if (st) return vlm_fail_in(error, "%s", path);
    VLM_TRY(vlm_recall_finish(recall, &all, &folds, error));
    VLM_TRY(put_result("", &all, m, out, error));
    return fold ? put_result("folds, ", &folds, m, out, error) : VLMOE_OK;
}

static vlmoe_status score_matrix(const vlm_score_options *options, const char *results,
                                 vlm_score_sheet *out, vlmoe_error *error)
{
    matrix m = {0};
    vlm_recall *recall = NULL;
    int64_t *image_of = NULL, *concept = NULL;
    vlmoe_status st = vlm_map_open(results, &m.map, error);
    if (!st) st = parse_npy(results, &m, error);
    if (!st) {
        image_of = vlm_alloc_array((size_t)m.columns, sizeof *image_of);
        concept = vlm_alloc_array((size_t)m.columns, sizeof *concept);
        if (!image_of || !concept) st = vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", results);
    }
    bool has_texts = options->n_annotations > 0;
    if (!st && has_texts) st = read_texts(&m, options->annotations[0], image_of, concept, error);
    else if (!st) st = share_evenly(&m, results, image_of, error);
    vlm_recall_set set = {.n_images = m.rows,
                          .n_texts = m.columns,
                          .image_of = image_of,
                          .concept = has_texts ? concept : NULL,
                          .fold = options->fold};
    const char *whose = has_texts ? options->annotations[0] : results;
    if (!st) st = open_recall(&set, whose, &recall, error);
    if (!st) st = measure(results, &m, recall, options->fold, out, error);
    vlm_recall_destroy(recall);
    vlm_free(image_of);
    vlm_free(concept);
    vlm_map_close(&m.map);
    return st;
}

vlmoe_status vlm_score_retrieval(const vlm_score_options *options, const char *results,
                                 vlm_score_sheet *out, vlmoe_error *error)
{
    char sign;
    VLM_TRY(vlm_stream_first_sign(results, &sign, error));
    if (sign == '{') return vlm_score_lists(options, results, out, error);
    if (options->partial)
        return vlm_fail(error, VLMOE_E_ARG,
                        "--partial is for lists of predictions, and %s is a matrix of all scores",
                        results);
    return score_matrix(options, results, out, error);
}
