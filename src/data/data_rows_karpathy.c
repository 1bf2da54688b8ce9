/* Karpathy's splits of COCO, Flickr30k and Flickr8k: pictures with several captions. COCO's rows say
 * in which folder of pictures they lie. */
#include <string.h>
#include "base_file.h"
#include "data_rows_kind.h"

typedef struct karpathy {
    vlm_records *records;
    char *images, *splits; /* splits: ",train,restval," */
} karpathy;

static void karpathy_close(void *state)
{
    karpathy *s = state;
    vlm_records_close(s->records);
    vlm_free(s->images);
    vlm_free(s->splits);
    vlm_free(s);
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
    s->splits = vlm_format(",%s,", options->split);
    if (!s->images || !s->splits)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory to read %s", options->in);
    return vlm_records_open(options->in, "images", 0, &s->records, error);
}

static bool is_asked_for(const karpathy *s, const char *split)
{
    const size_t n = strlen(split);
    for (const char *at = s->splits; n && (at = strstr(at, split)); at++)
        if (at[-1] == ',' && at[n] == ',') return true;
    return false;
}

static vlmoe_status take_captions(const karpathy *s, const vlm_value *value, vlm_row *row,
                                  vlmoe_error *error)
{
    const vlm_value *list = vlm_json_get(value, "sentences");
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
    if (!value) return VLMOE_OK;
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

const vlm_rows_kind vlm_rows_karpathy = {"karpathy",     "Karpathy's COCO and Flickr30k: captions",
                                         VLM_ROWS_SPLIT, karpathy_open,
                                         karpathy_next,  karpathy_close};
