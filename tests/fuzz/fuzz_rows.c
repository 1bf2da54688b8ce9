/* Any bytes as a labelled set: refused with a reason, or every row is whole: an id, at most so many
 * texts, labels that are classes. The first byte says the format. Folders are no bytes, and BEiT-3's
 * index needs a text model. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "data_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *file_of(const void *data, size_t bytes, int *fd)
{
    static char paths[2][64];
    static int at = 0;
    char *path = paths[at++ % 2];
    *fd = memfd_create("rows", MFD_CLOEXEC);
    if (*fd < 0 || write(*fd, data, bytes) != (ssize_t)bytes) abort();
    snprintf(path, sizeof paths[0], "/proc/self/fd/%d", *fd);
    return path;
}

static void check(const vlm_row *row, int64_t n_classes)
{
    if (!row->id.bytes || row->n_texts > VLM_SAMPLE_TEXTS_MAX || row->n_labels > VLM_LABELS_MAX)
        abort();
    for (int i = 0; i < row->n_labels; i++)
        if (row->label[i] < 0 || row->label[i] >= n_classes || !(row->score[i] > 0)) abort();
    for (int i = 0; i < row->n_texts; i++)
        for (size_t at = 0; at < row->texts[i].bytes;) {
            const size_t n = vlm_utf8_length(row->texts[i].data + at, row->texts[i].bytes - at);
            if (!n) abort();
            at += n;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"vqav2", "nlvr2", "karpathy", "mnli", "glue", "idx"};
    static vlm_ledger ledger;
    int fds[2] = {-1, -1};
    if (size < 2) return 0;
    const char *format = formats[data[0] % VLM_COUNT(formats)];
    const bool is_vqa = !strcmp(format, "vqav2"), is_idx = !strcmp(format, "idx");
    vlm_rows_options options = {.format = format, .in = file_of(data + 1, size - 1, &fds[0])};
    options.labels = is_vqa ? file_of("yes\nno\n", 7, &fds[1]) : NULL;
    options.split = strcmp(format, "karpathy") ? NULL : "train,restval";
    if (is_vqa || is_idx)
        options.annotations = options.in; /* both lists in one file, or twice the same */
    ledger = (vlm_ledger){.goes_on = true};
    vlm_rows *rows = NULL;
    vlm_row row = {0};
    vlmoe_error error = {0};
    bool found = true;
    vlmoe_status st = vlm_rows_open(&options, &ledger, &rows, &error);
    while (!st && found) {
        st = vlm_rows_next(rows, &row, &found, &error);
        if (!st && found) check(&row, vlm_rows_classes(rows)->n);
    }
    if (st && (st == VLMOE_E_NOMEM || !error.text[0])) abort();
    vlm_row_free(&row);
    vlm_rows_close(rows);
    close(fds[0]);
    if (is_vqa) close(fds[1]);
    return 0;
}
