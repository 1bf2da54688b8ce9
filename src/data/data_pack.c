/* Writing labelled sets: pictures told apart by their paths, samples' json, and a folder that
 * appears whole or not at all. */
#include "data_pack.h"

#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "data_idmap.h"

enum { IMAGE_BYTES_MAX = 1 << 30, MISSING = -1, DAMAGED = -2 };

typedef struct packer {
    const vlm_pack_options *options;
    vlm_ledger *ledger;
    vlm_pack_result *result;
    vlm_shard_writer *samples, *pictures; /* NULL when only looking */
    char *pictures_dir, *labels_path;
    bool made_dir, made_pictures, made_labels;
    vlm_idmap numbers;     /* path to the picture's number, or MISSING, DAMAGED */
    vlm_idmap folders;     /* that pictures came from */
    vlm_text folder_names; /* one behind the other, each with its zero */
    vlm_text json;
    char *image; /* of the row at hand */
    size_t image_bytes;
} packer;

/* ---- The folder ---- */

static vlmoe_status begin(packer *p, vlmoe_error *error)
{
    const char *out = p->options->out;
    if (!out) return VLMOE_OK;
    p->pictures_dir = vlm_path_join(out, "pictures");
    p->labels_path = vlm_path_join(out, "labels.txt");
    if (!p->pictures_dir || !p->labels_path)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    if (vlm_path_exists(p->pictures_dir) || vlm_path_exists(p->labels_path))
        return vlm_fail(
            error, VLMOE_E_ARG,
            "%s holds pictures or labels.txt already: a set, or what a pack that was killed "
            "left; remove it or name another folder",
            out);
    p->made_dir = !vlm_path_exists(out);
    return vlm_shard_writer_open(out, &p->options->shards, &p->samples, error);
}

static vlmoe_status write_labels(packer *p, const vlm_classes *classes, vlmoe_error *error)
{
    vlm_text text = {0};
    if (!classes->n) return VLMOE_OK;
    for (int64_t i = 0; i < classes->n; i++) vlm_text_put(&text, "%s\n", classes->name[i]);
    p->made_labels = true;
    vlmoe_status st = text.failed ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for labels.txt")
                                  : vlm_file_replace(p->labels_path, text.data, text.bytes, error);
    vlm_text_free(&text);
    return st;
}

/* The samples come last: a folder without their tars is no set. */
static vlmoe_status finish(packer *p, const vlm_rows *rows, vlmoe_error *error)
{
    if (!p->options->out) return VLMOE_OK;
    if (!p->ledger->n_packed)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: no row was left to pack", p->options->in);
    vlm_shard_writer *pictures = p->pictures, *samples = p->samples;
    p->pictures = NULL;
    VLM_TRY(vlm_shard_writer_close(pictures, error));
    VLM_TRY(write_labels(p, vlm_rows_classes(rows), error));
    p->samples = NULL;
    return vlm_shard_writer_close(samples, error);
}

/* Best effort: there is a failure already. */
static void take_back(packer *p)
{
    vlm_shard_writer_abandon(p->pictures);
    vlm_shard_writer_abandon(p->samples);
    p->pictures = p->samples = NULL;
    if (p->made_pictures) (void)vlm_dir_remove(p->pictures_dir, NULL);
    if (p->made_labels) remove(p->labels_path);
    if (p->made_dir) (void)vlm_dir_remove(p->options->out, NULL);
}

static void drop_image(packer *p)
{
    vlm_free(p->image);
    p->image = NULL;
}

static void release(packer *p)
{
    drop_image(p);
    vlm_idmap_free(&p->numbers);
    vlm_idmap_free(&p->folders);
    vlm_text_free(&p->folder_names);
    vlm_text_free(&p->json);
    vlm_free(p->pictures_dir);
    vlm_free(p->labels_path);
}

/* ---- Pictures ---- */

/* Reads and decodes a file into p->image. *found is 0, MISSING or DAMAGED, with *why. */
static vlmoe_status load(packer *p, const char *path, int64_t *found, vlmoe_error *why,
                         vlmoe_error *error)
{
    vlm_image image = {0};
    drop_image(p);
    *found = 0;
    if (!p->options->out) {
        if (!p->options->has_pictures || vlm_path_exists(path)) return VLMOE_OK;
        *found = MISSING;
        vlm_fail(why, VLMOE_E_IO, "no %s", path);
        return VLMOE_OK;
    }
    vlmoe_status st = vlm_file_read(path, IMAGE_BYTES_MAX, &p->image, &p->image_bytes, why);
    if (st == VLMOE_E_IO) *found = MISSING;
    else if (!st) {
        st = vlm_image_decode(p->image, p->image_bytes, &p->options->limits, &image, why);
        if (st && st != VLMOE_E_NOMEM) {
            *found = DAMAGED;
            vlm_fail_in(why, "%s", path);
        }
        vlm_image_free(&image);
    } else if (st == VLMOE_E_FORMAT) *found = DAMAGED;
    if (!st || *found) return VLMOE_OK;
    return vlm_fail(error, st, "%s", why->text);
}

static vlmoe_status note_picture(packer *p, const vlm_row *row, int64_t found, const char *why,
                                 vlmoe_error *error)
{
    return vlm_ledger_note(p->ledger,
                           found == MISSING ? VLM_NOTE_PICTURE_MISSING : VLM_NOTE_PICTURE_DAMAGED,
                           row->id.data, why, error);
}

static vlmoe_status remember_folder(packer *p, const char *path, vlmoe_error *error)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 0;
    bool is_new = false;
    VLM_TRY(vlm_idmap_add(&p->folders, path, n, 0, NULL, &is_new, error));
    if (!is_new || !n) return VLMOE_OK;
    vlm_text_append(&p->folder_names, path, n);
    vlm_text_append(&p->folder_names, "", 1);
    return p->folder_names.failed ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path")
                                  : VLMOE_OK;
}

static vlmoe_status put_picture(packer *p, int64_t *number, vlmoe_error *error)
{
    *number = p->result->n_pictures++;
    if (!p->options->out) return VLMOE_OK;
    if (!p->pictures) {
        p->made_pictures = true;
        VLM_TRY(vlm_shard_writer_open(p->pictures_dir, &p->options->shards, &p->pictures, error));
    }
    vlm_sample sample = {.image = {(unsigned char *)p->image, p->image_bytes}};
    return vlm_shard_writer_put(p->pictures, &sample, error);
}

/* The number of a shared picture, which is stored when it is met first. *found as load's. */
static vlmoe_status share(packer *p, const vlm_row *row, const vlm_text *path, int64_t *found,
                          vlmoe_error *error)
{
    vlmoe_error why = {0};
    bool is_new = false;
    const int64_t *known = vlm_idmap_find(&p->numbers, path->data, path->bytes);
    if (known) {
        *found = *known;
        return *known < 0 ? note_picture(p, row, *known, path->data, error) : VLMOE_OK;
    }
    VLM_TRY(remember_folder(p, path->data, error));
    VLM_TRY(load(p, path->data, found, &why, error));
    const int64_t bad = *found;
    if (!bad) VLM_TRY(put_picture(p, found, error));
    VLM_TRY(vlm_idmap_add(&p->numbers, path->data, path->bytes, *found, NULL, &is_new, error));
    return bad ? note_picture(p, row, bad, why.text, error) : VLMOE_OK;
}

/* ---- Samples ---- */

static void put_labels(vlm_text *json, const vlm_row *row)
{
    if (row->n_labels < 0) return;
    vlm_text_put(json, ",\"labels\":[");
    for (int i = 0; i < row->n_labels; i++)
        vlm_text_put(json, "%s%d", i ? "," : "", (int)row->label[i]);
    vlm_text_put(json, "],\"scores\":[");
    for (int i = 0; i < row->n_labels; i++) {
        if (i) vlm_text_append(json, ",", 1);
        vlm_text_json_number(json, row->score[i]);
    }
    vlm_text_append(json, "]", 1);
}

/* json, and the picture where it is the sample's own. *is_whole = false: noted and left out. */
static vlmoe_status make_sample(packer *p, const vlm_row *row, vlm_sample *sample, bool *is_whole,
                                vlmoe_error *error)
{
    vlm_text *json = &p->json;
    vlm_text_clear(json, 0);
    vlm_text_put(json, "{\"id\":%s", row->id.data);
    *is_whole = true;
    for (int i = 0; i < row->n_pictures && *is_whole; i++) {
        int64_t found = 0;
        vlmoe_error why = {0};
        if (row->is_own) {
            VLM_TRY(load(p, row->pictures[i].data, &found, &why, error));
            if (found < 0) VLM_TRY(note_picture(p, row, found, why.text, error));
            sample->image = (vlm_bytes){(unsigned char *)p->image, p->image_bytes};
        } else {
            VLM_TRY(share(p, row, &row->pictures[i], &found, error));
            vlm_text_put(json, "%s%lld", i ? "," : ",\"pictures\":[", (long long)found);
        }
        *is_whole = found >= 0;
    }
    if (row->n_pictures && !row->is_own) vlm_text_append(json, "]", 1);
    if (row->has_image)
        sample->image = (vlm_bytes){(unsigned char *)row->image.data, row->image.bytes};
    put_labels(json, row);
    vlm_text_append(json, row->more.data, row->more.bytes);
    vlm_text_append(json, "}", 1);
    return json->failed ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for a row") : VLMOE_OK;
}

static vlmoe_status put_row(packer *p, const vlm_row *row, vlmoe_error *error)
{
    vlm_sample sample = {0};
    bool is_whole = false;
    VLM_TRY(make_sample(p, row, &sample, &is_whole, error));
    if (!is_whole) return VLMOE_OK;
    if (!row->is_own) p->result->n_shared += row->n_pictures;
    p->ledger->n_packed++;
    if (!p->samples) return VLMOE_OK;
    sample.json = (vlm_bytes){(unsigned char *)p->json.data, p->json.bytes};
    sample.n_texts = row->n_texts;
    for (int i = 0; i < row->n_texts; i++)
        sample.texts[i] = (vlm_bytes){(unsigned char *)row->texts[i].data, row->texts[i].bytes};
    vlmoe_status st = vlm_shard_writer_put(p->samples, &sample, error);
    return st ? vlm_fail_in(error, "%s", row->id.data) : st;
}

/* ---- Files beside the pictures ---- */

static vlmoe_status note_unused_in(packer *p, const char *folder, vlmoe_error *error)
{
    char **names = NULL;
    size_t n = 0;
    if (!vlm_path_is_dir(folder)) return VLMOE_OK;
    VLM_TRY(vlm_dir_list(folder, &names, &n, error));
    vlmoe_status st = VLMOE_OK;
    for (size_t i = 0; i < n && !st; i++) {
        if (names[i][0] == '.') continue;
        char *path = vlm_path_join(folder, names[i]);
        if (!path) st = vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
        else if (!vlm_idmap_find(&p->numbers, path, strlen(path)) && !vlm_path_is_dir(path))
            st = vlm_ledger_note(p->ledger, VLM_NOTE_PICTURE_UNUSED, path, NULL, error);
        vlm_free(path);
    }
    vlm_names_free(names, n);
    return st;
}

static vlmoe_status note_unused(packer *p, vlmoe_error *error)
{
    const vlm_text *names = &p->folder_names;
    for (size_t at = 0; at < names->bytes; at += strlen(names->data + at) + 1)
        VLM_TRY(note_unused_in(p, names->data + at, error));
    return VLMOE_OK;
}

/* ---- All rows ---- */

static vlmoe_status walk(packer *p, vlm_rows *rows, vlm_row *row, vlmoe_error *error)
{
    const int64_t skip = p->options->skip; /* those rows' pictures are not unused ones */
    while (p->ledger->n_packed < p->options->limit) {
        bool found = false;
        VLM_TRY(vlm_rows_next(rows, row, &found, error));
        if (!found) return p->options->has_pictures && !skip ? note_unused(p, error) : VLMOE_OK;
        if (p->ledger->n_read > skip) VLM_TRY(put_row(p, row, error));
    }
    return VLMOE_OK;
}

vlmoe_status vlm_pack(vlm_rows *rows, vlm_ledger *ledger, const vlm_pack_options *options,
                      vlm_pack_result *out, vlmoe_error *error)
{
    packer p = {.options = options, .ledger = ledger, .result = out};
    vlm_row *row = vlm_alloc(sizeof *row);
    *out = (vlm_pack_result){0};
    vlmoe_status st =
        row ? begin(&p, error) : vlm_fail(error, VLMOE_E_NOMEM, "no memory for a row");
    if (!st) st = walk(&p, rows, row, error);
    if (!st) st = finish(&p, rows, error);
    if (st) take_back(&p);
    if (row) vlm_row_free(row);
    vlm_free(row);
    release(&p);
    return st;
}
