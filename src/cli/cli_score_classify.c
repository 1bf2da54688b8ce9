/* Classification: a list of pictures with their class, or a folder of classes, against predictions. The annotations are walked twice,
 * for the classes that there are and for the examples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "cli_score.h"
#include "data_stream.h"
#include "metric_named.h"
#include "metric_top.h"

enum { SHOWN = 5 }; /* confusions that are named */

typedef struct state {
    vlm_scored answers;
    vlm_named *classes; /* how often each is the label */
    int64_t n_classes;  /* 0 on the first walk */
    vlm_idmap pictures; /* of the annotations, by stem */
    bool by_folder;     /* stems do not tell pictures apart */
    vlm_top *top;
    bool has_five;       /* all predictions have as many answers as top-5 looks at */
    int64_t n_strange;   /* predictions whose first answer is no class of the annotations */
    const char *strange; /* the first such answer */
} state;

static int64_t class_of(const state *s, const char *name)
{
    const vlm_named_row *row = vlm_named_find(s->classes, name);
    return row ? row - vlm_named_row_at(s->classes, 0) : -1;
}

/* Is this stem new to map? If not, folders have to tell pictures apart. */
static vlmoe_status note_stem(state *s, vlm_idmap *map, const char *picture, int64_t i,
                              vlmoe_error *error)
{
    const char *stem = vlm_score_stem(picture);
    bool is_new = false;
    int64_t *place = NULL;
    VLM_TRY(vlm_idmap_add(map, stem, strlen(stem), i, &place, &is_new, error));
    s->by_folder = s->by_folder || !is_new;
    return VLMOE_OK;
}

/* Pictures are found by their stems where those differ on both sides, so that predictions need no folders; else by folder and stem. */
static vlmoe_status choose_ids(state *s, vlmoe_error *error)
{
    vlm_idmap stems = {0};
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < s->answers.n && !st && !s->by_folder; i++)
        st = note_stem(s, &stems, s->answers.pool.data + s->answers.item[i].id, i, error);
    vlm_idmap left = stems;
    if (!st && !s->by_folder) {
        left = s->answers.ids;
        s->answers.ids = stems;
    }
    vlm_idmap_free(&left);
    return st;
}

static vlmoe_status add(state *s, const char *path, const char *picture, const char *label,
                        vlmoe_error *error)
{
    int64_t at, best[VLM_SCORE_BEST] = {-1};
    if (!s->n_classes) {
        VLM_TRY(note_stem(s, &s->pictures, picture, 0, error));
        return vlm_named_add(s->classes, label, 1.0, error);
    }
    const char *id = s->by_folder ? picture : vlm_score_stem(picture);
    VLM_TRY(vlm_scored_take(&s->answers, id, path, &at, error));
    int n = at < 0 ? 1 : s->answers.item[at].n;
    for (int k = 0; k < n && at >= 0; k++)
        best[k] = class_of(s, vlm_scored_text(&s->answers, at, k));
    if (at >= 0 && best[0] < 0 && !s->n_strange++) s->strange = vlm_scored_text(&s->answers, at, 0);
    if (at >= 0 && n < VLM_MIN(VLM_SCORE_BEST, s->n_classes)) s->has_five = false;
    return vlm_top_add_best(s->top, best, n, class_of(s, label), error);
}

static vlmoe_status walk_class(state *s, const char *path, const char *label, vlmoe_error *error)
{
    char **file = NULL, *folder = vlm_path_join(path, label);
    size_t n_files = 0;
    vlmoe_status st = VLMOE_OK;
    if (!folder) st = vlm_fail(error, VLMOE_E_NOMEM, "no memory to list %s", path);
    if (!st && vlm_path_is_dir(folder)) st = vlm_dir_list(folder, &file, &n_files, error);
    for (size_t i = 0; i < n_files && !st; i++) {
        if (file[i][0] == '.') continue;
        char *picture = vlm_format("%s/%s", label, file[i]);
        st = picture ? add(s, path, vlm_score_picture(picture), label, error)
                     : vlm_fail(error, VLMOE_E_NOMEM, "no memory to list %s", path);
        vlm_free(picture);
    }
    vlm_names_free(file, n_files);
    vlm_free(folder);
    return st;
}

/* Folders are classes, files in them pictures; what is hidden is neither, as when packing. */
static vlmoe_status walk_folder(state *s, const char *path, vlmoe_error *error)
{
    char **label = NULL;
    size_t n = 0;
    VLM_TRY(vlm_dir_list(path, &label, &n, error));
    vlmoe_status st = VLMOE_OK;
    for (size_t c = 0; c < n && !st; c++)
        if (label[c][0] != '.') st = walk_class(s, path, label[c], error);
    vlm_names_free(label, n);
    return st;
}

/* "NAME CLASS" by tabs, commas or a space, after them what is passed over. A file with the heading ImageId is ImageNet's at Kaggle: there
 * the class ends at a space, boxes follow. */
static vlmoe_status walk_lines(state *s, const char *path, vlmoe_error *error)
{
    vlm_stream stream = {0};
    char *line = NULL, *field[3];
    size_t bytes = 0;
    bool has_boxes = false;
    vlmoe_status st = vlm_stream_open_text(path, &stream, error);
    for (int64_t number = 1; !st; number++) {
        st = vlm_stream_line(&stream, &line, &bytes, error);
        if (st || !line) break;
        if (!bytes) continue;
        char separator = strchr(line, '\t') ? '\t' : strchr(line, ',') ? ',' : ' ';
        int n = vlm_score_fields(line, separator, field, separator == ' ' ? 2 : 3);
        if (number == 1 && vlm_score_is_heading(field[0])) {
            has_boxes = !strcmp(field[0], "ImageId");
            continue;
        }
        if (n > 1 && has_boxes) field[1][strcspn(field[1], " ")] = '\0';
        const char *label = n < 2 ? "" : vlm_score_trim(field[1]);
        st = *label ? add(s, path, vlm_score_picture(field[0]), label, error)
                    : vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld: expected NAME CLASS", path,
                               (long long)number);
    }
    vlm_stream_close(&stream);
    return st;
}

static vlmoe_status walk_all(state *s, const vlm_score_options *options, vlmoe_error *error)
{
    for (int i = 0; i < options->n_annotations; i++) {
        const char *path = options->annotations[i];
        VLM_TRY(vlm_path_is_dir(path) ? walk_folder(s, path, error) : walk_lines(s, path, error));
    }
    return VLMOE_OK;
}

/* ---- figures ---- */

typedef struct confusion {
    int64_t label, answer, n;
} confusion;

/* The most frequent wrong answers, most first, the lower classes first among equals. */
static int find_confusions(const state *s, confusion *out)
{
    int found = 0;
    for (int64_t label = 0; label < s->n_classes; label++)
        for (int64_t answer = 0; answer < s->n_classes; answer++) {
            confusion c = {label, answer, vlm_top_confusion(s->top, label, answer)};
            int at = found;
            if (label == answer || !c.n) continue;
            while (at > 0 && out[at - 1].n < c.n) at--;
            if (at == SHOWN) continue;
            found = VLM_MIN(SHOWN, found + 1);
            memmove(out + at + 1, out + at, (size_t)(found - 1 - at) * sizeof *out);
            out[at] = c;
        }
    return found;
}

static vlmoe_status put(const state *s, vlm_score_sheet *out, vlmoe_error *error)
{
    vlm_top_result r = vlm_top_count(s->top);
    confusion c[SHOWN];
    VLM_TRY(vlm_score_put(out, r.n, vlm_percent((double)r.right, r.n), error, "top-1"));
    if (s->has_five)
        VLM_TRY(vlm_score_put(out, r.n, vlm_percent((double)r.right5, r.n), error, "top-5"));
    VLM_TRY(vlm_score_put(out, r.n, 100.0 * r.majority, error, "always \"%s\"",
                          vlm_named_row_at(s->classes, r.majority_class)->name));
    VLM_TRY(vlm_score_put(out, r.n, 100.0 * r.chance, error, "chance of %lld classes",
                          (long long)s->n_classes));
    int n = find_confusions(s, c);
    for (int i = 0; i < n; i++) {
        int64_t of = vlm_top_labels(s->top, c[i].label);
        VLM_TRY(vlm_score_put(out, of, vlm_percent((double)c[i].n, of), error, "%s taken for %s",
                              vlm_named_row_at(s->classes, c[i].label)->name,
                              vlm_named_row_at(s->classes, c[i].answer)->name));
    }
    return VLMOE_OK;
}

/* Wrong by the rules, and likely a list of other names. */
static void note_strange(const state *s, vlm_score_sheet *out)
{
    const size_t used = strlen(out->note);
    if (s->n_strange)
        snprintf(out->note + used, sizeof out->note - used,
                 "%s%lld answers are no class of the annotations, the first is \"%.60s\"",
                 used ? "; " : "", (long long)s->n_strange, s->strange);
}

vlmoe_status vlm_score_classify(const vlm_score_options *options, const char *results,
                                vlm_score_sheet *out, vlmoe_error *error)
{
    state s = {.classes = vlm_named_create(), .has_five = true};
    vlmoe_status st = s.classes ? vlm_scored_read(results, VLM_SCORED_CLASSIFY, &s.answers, error)
                                : vlm_fail(error, VLMOE_E_NOMEM, "no memory for classes");
    if (!st) st = walk_all(&s, options, error);
    if (!st && !vlm_named_count(s.classes))
        st = vlm_fail(error, VLMOE_E_FORMAT, "%s: no pictures in it", options->annotations[0]);
    if (!st) st = vlm_top_create(vlm_named_count(s.classes), true, &s.top, error);
    if (!st) st = choose_ids(&s, error);
    if (!st) s.n_classes = vlm_named_count(s.classes);
    if (!st) st = walk_all(&s, options, error);
    if (!st) st = vlm_scored_close(&s.answers, options, out, error);
    if (!st) st = put(&s, out, error);
    if (!st) note_strange(&s, out);
    vlm_scored_free(&s.answers);
    vlm_idmap_free(&s.pictures);
    vlm_named_destroy(s.classes);
    vlm_top_destroy(s.top);
    return st;
}
