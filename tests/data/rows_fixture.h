/* Small labelled sets written by hand, and all that the rows of one say in a line each. */
#ifndef TEST_ROWS_FIXTURE_H
#define TEST_ROWS_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "data_rows.h"
#include "harness.h"

static char rows_out[8192];
static vlm_ledger rows_ledger;
static vlmoe_error rows_error;

__attribute__((unused)) static const char *rows_path(const char *name)
{
    static char paths[8][512];
    static int at = 0;
    char *path = paths[at++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_tmp_dir(), name);
    return path;
}

__attribute__((unused)) static const char *rows_save(const char *name, const char *text)
{
    vlmoe_error error = {0};
    const char *path = rows_path(name);
    char *folder = vlm_path_dir(path);
    CHECK_STATUS_E(vlm_dir_make(folder, &error), VLMOE_OK, &error);
    vlm_free(folder);
    CHECK_STATUS_E(vlm_file_replace(path, text, strlen(text), &error), VLMOE_OK, &error);
    return path;
}

__attribute__((format(printf, 1, 2))) static void rows_say(const char *format, ...)
{
    const size_t used = strlen(rows_out);
    va_list args;
    va_start(args, format);
    vsnprintf(rows_out + used, sizeof rows_out - used, format, args);
    va_end(args);
}

static void rows_say_row(const vlm_row *row)
{
    const size_t n_dir = strlen(test_tmp_dir());
    rows_say("%s", row->id.data);
    for (int i = 0; i < row->n_pictures; i++) {
        const char *path = row->pictures[i].data;
        rows_say(" <%s>", strncmp(path, test_tmp_dir(), n_dir) ? path : path + n_dir + 1);
    }
    if (row->has_image) rows_say(" <%zu bytes>", row->image.bytes);
    for (int i = 0; i < row->n_texts; i++) rows_say(" \"%s\"", row->texts[i].data);
    if (row->n_labels == 0) rows_say(" unlabelled");
    for (int i = 0; i < row->n_labels; i++) rows_say(" %d:%g", row->label[i], row->score[i]);
    if (row->is_own) rows_say(" own");
    rows_say("%s\n", row->more.data);
}

/* A line a row, then the complaint if there is one. */
__attribute__((unused)) static const char *rows_walk(const vlm_rows_options *options, bool goes_on)
{
    vlm_rows *rows = NULL;
    static vlm_row row;
    bool found = true;
    rows_out[0] = 0;
    rows_ledger = (vlm_ledger){.goes_on = goes_on};
    rows_error = (vlmoe_error){0};
    vlmoe_status st = vlm_rows_open(options, &rows_ledger, &rows, &rows_error);
    while (!st && found) {
        st = vlm_rows_next(rows, &row, &found, &rows_error);
        if (!st && found) {
            rows_say_row(&row);
            rows_ledger.n_packed++;
        }
    }
    if (st) rows_say("! %s", rows_error.text);
    int64_t n_out = 0;
    for (int i = 0; i < VLM_NOTES; i++)
        if (vlm_note_leaves_out(i)) n_out += rows_ledger.notes[i].n;
    if (!st) CHECK_INT(rows_ledger.n_read, rows_ledger.n_packed + n_out); /* nothing goes in silence */
    vlm_row_free(&row);
    memset(&row, 0, sizeof row);
    vlm_rows_close(rows);
    return rows_out;
}

/* The note's first name and count, "3 a" for three of which a was the first; "" when there is none. */
__attribute__((unused)) static const char *rows_noted(vlm_note note)
{
    static char text[VLM_LEDGER_NAME_MAX + 32];
    snprintf(text, sizeof text, "%lld %s", (long long)rows_ledger.notes[note].n,
             rows_ledger.notes[note].names[0]);
    return rows_ledger.notes[note].n ? text : "";
}

#endif
