/* MNIST's format: a file of grey pictures and a file of labels, both of numbers of one byte, gzip or
 * not. A picture becomes a PGM, which has its bytes as they are. */
#include <stdio.h>
#include "data_gzip.h"
#include "data_rows_kind.h"

enum { CLASSES_MAX = 256, PICTURE_BYTES_MAX = 1 << 24 };

typedef struct idx {
    vlm_gzip *images, *labels; /* labels NULL: a test set without */
    uint32_t n, height, width, n_done;
} idx;

static void idx_close(void *state)
{
    idx *s = state;
    vlm_gzip_close(s->images);
    vlm_gzip_close(s->labels);
    vlm_free(s);
}

/* The magic number (0, 0, type, number of dimensions) and the dimensions, big-endian. */
static vlmoe_status read_head(vlm_gzip *file, const char *path, int n_dims, uint32_t *dims,
                              vlmoe_error *error)
{
    unsigned char head[4 * 4];
    bool is_over = false;
    const size_t bytes = 4 * (size_t)(n_dims + 1);
    VLM_TRY(vlm_gzip_read(file, head, bytes, &is_over, error));
    if (is_over || head[0] || head[1] || head[2] != 8 || head[3] != n_dims)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: not an idx file of bytes with %d dimensions (0 0 8 %d)", path, n_dims,
                        n_dims);
    for (int i = 0; i < n_dims; i++) {
        const unsigned char *p = head + 4 * (i + 1);
        dims[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    return VLMOE_OK;
}

/* Names of the options, or "0", "1" ... as many as there are digits in MNIST and its kin. */
static vlmoe_status set_classes(vlm_rows *rows, vlmoe_error *error)
{
    static const char *const digits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    if (!rows->options.labels) return vlm_rows_set_classes(rows, digits, VLM_COUNT(digits), error);
    VLM_TRY(vlm_rows_read_classes(rows, rows->options.labels, error));
    if (rows->classes.n <= CLASSES_MAX) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s: %lld classes, an idx file has at most %d",
                    rows->options.labels, (long long)rows->classes.n, CLASSES_MAX);
}

static vlmoe_status idx_open(vlm_rows *rows, vlmoe_error *error)
{
    const vlm_rows_options *options = &rows->options;
    uint32_t dims[3] = {0}, n_labels = 0;
    idx *s = vlm_alloc(sizeof *s);
    if (!s) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    rows->state = s;
    VLM_TRY(set_classes(rows, error));
    VLM_TRY(vlm_gzip_open(options->in, &s->images, error));
    VLM_TRY(read_head(s->images, options->in, 3, dims, error));
    s->n = dims[0];
    s->height = dims[1];
    s->width = dims[2];
    if (!s->height || !s->width || (uint64_t)s->height * s->width > PICTURE_BYTES_MAX)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: pictures of %u x %u", options->in, s->width,
                        s->height);
    if (!options->annotations) return VLMOE_OK;
    VLM_TRY(vlm_gzip_open(options->annotations, &s->labels, error));
    VLM_TRY(read_head(s->labels, options->annotations, 1, &n_labels, error));
    if (n_labels == s->n) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s has %u labels, %s has %u pictures",
                    options->annotations, n_labels, options->in, s->n);
}

/* What stands behind the last picture, if anything does. */
static vlmoe_status expect_end(const idx *s, vlm_gzip *file, vlmoe_error *error)
{
    unsigned char byte = 0;
    bool is_over = false;
    if (!file) return VLMOE_OK;
    VLM_TRY(vlm_gzip_read(file, &byte, 1, &is_over, error));
    if (is_over) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s goes on behind the %u that its head says",
                    vlm_gzip_path(file), s->n);
}

static vlmoe_status missing(const idx *s, const vlm_gzip *file, vlmoe_error *error)
{
    return vlm_fail(error, VLMOE_E_FORMAT, "%s ends after %u of the %u that its head says",
                    vlm_gzip_path(file), s->n_done, s->n);
}

static vlmoe_status idx_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    idx *s = rows->state;
    const size_t bytes = (size_t)s->height * s->width;
    unsigned char label = 0;
    bool is_over = false;
    *found = s->n_done < s->n;
    if (!*found) {
        VLM_TRY(expect_end(s, s->images, error));
        return expect_end(s, s->labels, error);
    }
    vlm_text_clear(&row->image, bytes + 32);
    vlm_text_put(&row->image, "P5 %u %u 255\n", s->width, s->height);
    if (row->image.failed) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a picture");
    VLM_TRY(vlm_gzip_read(s->images, row->image.data + row->image.bytes, bytes, &is_over, error));
    if (is_over) return missing(s, s->images, error);
    row->image.bytes += bytes;
    row->is_own = row->has_image = true;
    vlm_row_set_id_int(row, s->n_done);
    if (s->labels) {
        VLM_TRY(vlm_gzip_read(s->labels, &label, 1, &is_over, error));
        if (is_over) return missing(s, s->labels, error);
    }
    s->n_done++;
    if (!s->labels) return VLMOE_OK;
    char number[8];
    snprintf(number, sizeof number, "%d", label);
    if (label >= rows->classes.n)
        return vlm_rows_drop(rows, row, VLM_NOTE_LABEL_UNKNOWN, number, error);
    vlm_row_add_label(row, label, 1.0);
    return VLMOE_OK;
}

const vlm_rows_kind vlm_rows_idx = {"idx",
                                    "MNIST and its kin: idx files of pictures and labels",
                                    VLM_ROWS_ANNOTATIONS | VLM_ROWS_LABELS,
                                    idx_open,
                                    idx_next,
                                    idx_close};
