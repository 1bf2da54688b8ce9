/* Karpathy's splits of COCO, Flickr30k and Flickr8k: pictures with several captions. COCO's rows say
 * in which folder of pictures they lie. */
#include <string.h>
#include "base_file.h"
#include "data_rows_kind.h"

enum { SPLITS_MAX = 16 };

typedef struct karpathy {
    vlm_records *records;
    char *path, *images;
    char *splits; /* what split points into */
    int n_splits;
    struct {
        const char *name;
        bool was_met;
    } split[SPLITS_MAX]; /* asked for */
} karpathy;

static void karpathy_close(void *state)
{
    karpathy *s = state;
    vlm_records_close(s->records);
    vlm_free(s->path);
    vlm_free(s->images);
    vlm_free(s->splits);
    vlm_free(s);
}

/* Cuts s->splits at its commas. */
static vlmoe_status cut_splits(karpathy *s, const char *whole, vlmoe_error *error)
{
    for (char *at = s->splits; at;) {
        const char *name = at;
        at = strchr(at, ',');
        if (at) *at++ = 0;
        if (!name[0] || s->n_splits == SPLITS_MAX)
            return vlm_fail(error, VLMOE_E_ARG,
                            "splits '%s': expected 1 to %d names with commas between", whole,
                            SPLITS_MAX);
        s->split[s->n_splits++].name = name;
    }
    return VLMOE_OK;
}

static vlmoe_status karpathy_open(vlm_rows *rows, vlmoe_error *error)
{
    const vlm_rows_options *options = &rows->options;
    karpathy *s = vlm_alloc(sizeof *s);
    if (!s) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    rows->state = s;
    if (!options->split)
        return vlm_fail(error, VLMOE_E_ARG,
                        "format karpathy needs a split: train,restval, val or test");
    s->images = vlm_strdup(options->images ? options->images : "");
    s->splits = vlm_strdup(options->split);
    s->path = vlm_strdup(options->in);
    if (!s->images || !s->splits || !s->path)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    VLM_TRY(cut_splits(s, options->split, error));
    return vlm_records_open(options->in, "images", 0, &s->records, error);
}

static bool is_asked_for(karpathy *s, const char *split)
{
    bool found = false;
    for (int i = 0; i < s->n_splits; i++) {
        if (strcmp(s->split[i].name, split)) continue;
        found = s->split[i].was_met = true;
    }
    return found;
}

/* At the end: a split without a picture is a slip of the pen, and the set would be too small. */
static vlmoe_status expect_all(const karpathy *s, vlmoe_error *error)
{
    for (int i = 0; i < s->n_splits; i++)
        if (!s->split[i].was_met)
            return vlm_fail(error, VLMOE_E_FORMAT, "%s: no picture is of the split '%s'", s->path,
                            s->split[i].name);
    return VLMOE_OK;
}

static vlmoe_status take_captions(const karpathy *s, const vlm_value *value, vlm_row *row,
                                  vlmoe_error *error)
{
    const vlm_value *list = vlm_json_get(value, "sentences");
    if (list && vlm_json_kind_of(list) != VLM_JSON_ARRAY)
        return vlm_records_fail(s->records, error, "\"sentences\" is %s, expected an array",
                                vlm_json_kind_name(vlm_json_kind_of(list)));
    if (list && vlm_json_size(list) > VLM_SAMPLE_TEXTS_MAX)
        return vlm_records_fail(s->records, error, "%lld sentences, at most %d are taken",
                                (long long)vlm_json_size(list), VLM_SAMPLE_TEXTS_MAX);
    for (const vlm_value *v = list ? vlm_json_first(list) : NULL; v; v = vlm_json_next(v)) {
        const char *text = NULL;
        VLM_TRY(vlm_rows_get_text(s->records, v, "raw", &text, error));
        vlm_row_add_text(row, text);
    }
    return VLMOE_OK;
}

/* Where filepath is not the folder that the pictures lie in, they may lie there together. */
static vlmoe_status add_picture(const karpathy *s, const char *folder, const char *name,
                                vlm_row *row, vlmoe_error *error)
{
    if (folder) {
        char *path = vlm_path_join(folder, name), *flat = vlm_path_join(s->images, name);
        const bool is_whole = path && flat;
        if (is_whole) vlm_row_add_picture(row, s->images, path);
        const bool is_flat = is_whole && !row->pictures[0].failed &&
                             !vlm_path_exists(row->pictures[0].data) && vlm_path_exists(flat);
        vlm_free(path);
        vlm_free(flat);
        if (!is_whole) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
        if (!is_flat) return VLMOE_OK;
        row->n_pictures = 0;
    }
    vlm_row_add_picture(row, s->images, name);
    return VLMOE_OK;
}

static vlmoe_status karpathy_next(vlm_rows *rows, vlm_row *row, bool *found, vlmoe_error *error)
{
    karpathy *s = rows->state;
    const vlm_value *value = NULL;
    const char *split = NULL, *name = NULL;
    VLM_TRY(vlm_records_next(s->records, &value, error));
    *found = value != NULL;
    if (!value) return expect_all(s, error);
    VLM_TRY(vlm_rows_expect_object(s->records, value, error));
    const char *id = vlm_json_get(value, "cocoid") ? "cocoid" : "imgid";
    VLM_TRY(vlm_row_take_id(row, s->records, value, id, error));
    VLM_TRY(vlm_rows_get_text(s->records, value, "split", &split, error));
    VLM_TRY(vlm_rows_get_text(s->records, value, "filename", &name, error));
    if (!is_asked_for(s, split))
        return vlm_rows_drop(rows, row, VLM_NOTE_OTHER_SPLIT, split, error);
    vlm_text_put(&row->more, ",\"image_id\":%s", row->id.data);
    row->is_own = true;
    VLM_TRY(add_picture(s, vlm_json_text(vlm_json_get(value, "filepath")), name, row, error));
    VLM_TRY(take_captions(s, value, row, error));
    if (!row->n_texts) return vlm_rows_drop(rows, row, VLM_NOTE_NO_TEXT, NULL, error);
    return VLMOE_OK;
}

const vlm_rows_kind vlm_rows_karpathy = {"karpathy",
                                         "Karpathy's COCO and Flickr30k: captions",
                                         VLM_ROWS_SPLIT | VLM_ROWS_IMAGES,
                                         karpathy_open,
                                         karpathy_next,
                                         karpathy_close};
