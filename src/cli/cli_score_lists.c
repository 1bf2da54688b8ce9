/* Retrieval: lines of JSON with the best candidates of each picture and of each caption, as vlmoe-eval --results writes them
 * (docs/FORMATS.md). A candidate's place in its list is its rank; scores are not read. */
#include <stdio.h>
#include <string.h>
#include "cli_score.h"
#include "data_records.h"
#include "data_stream.h"
#include "metric_recall.h"

typedef struct caption {
    int64_t image, concept; /* whose it is; the first caption of equal words */
    int64_t next_equal;     /* -1 = the last */
    bool is_asked;          /* its list was read */
} caption;

typedef struct picture {
    int64_t n; /* captions */
    bool is_asked;
} picture;

typedef struct lists {
    const char *path, *whose; /* the file of lists; the file that says whose captions are whose */
    vlm_idmap image_ids, caption_ids, texts;
    picture *images;
    caption *captions;
    int64_t n_images, n_captions;
    int64_t n_unknown; /* lists of what there is no answer for */
    char unknown[96];
    int64_t *listed; /* [larger n] of a candidate: the last list that it was seen in */
    int64_t n_lists; /* read so far */
    int64_t hits[2][VLM_RECALL_AT]; /* of pictures, of captions */
} lists;

static void free_lists(lists *l)
{
    vlm_idmap_free(&l->image_ids);
    vlm_idmap_free(&l->caption_ids);
    vlm_idmap_free(&l->texts);
    vlm_free(l->images);
    vlm_free(l->captions);
    vlm_free(l->listed);
}

/* A power of two is full: memory doubles. */
static void *grow(void *items, int64_t n, size_t size)
{
    if (n & (n - 1)) return items;
    void *more = vlm_alloc_array((size_t)VLM_MAX(1, 2 * n), size);
    if (more && n) memcpy(more, items, (size_t)n * size);
    if (more) vlm_free(items);
    return more;
}

/* ---- whose captions are whose ---- */

static vlmoe_status add_image(lists *l, const char *id, int64_t *out, vlmoe_error *error)
{
    bool is_new = false;
    int64_t *place = NULL;
    VLM_TRY(vlm_idmap_add(&l->image_ids, id, strlen(id), l->n_images, &place, &is_new, error));
    *out = *place;
    if (!is_new) return VLMOE_OK;
    picture *more = grow(l->images, l->n_images, sizeof *more);
    if (!more) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", l->whose);
    l->images = more;
    l->images[l->n_images++] = (picture){0};
    return VLMOE_OK;
}

/* text is trimmed in place. */
static vlmoe_status add_caption(lists *l, const char *id, int64_t of, char *text,
                                vlmoe_error *error)
{
    const int64_t at = l->n_captions;
    int64_t *place = NULL;
    bool is_new = false;
    VLM_TRY(vlm_idmap_add(&l->caption_ids, id, strlen(id), at, &place, &is_new, error));
    if (!is_new)
        return vlm_fail(error, VLMOE_E_FORMAT, "%s: two captions are called \"%s\"", l->whose, id);
    caption *more = grow(l->captions, at, sizeof *more);
    if (!more) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", l->whose);
    l->captions = more;
    text = vlm_score_trim(text);
    VLM_TRY(vlm_idmap_add(&l->texts, text, strlen(text), at, &place, &is_new, error));
    caption *first = &l->captions[*place];
    l->captions[at] =
        (caption){.image = of, .concept = *place, .next_equal = is_new ? -1 : first->next_equal};
    if (!is_new) first->next_equal = at;
    l->images[of].n++;
    l->n_captions++;
    return VLMOE_OK;
}

/* Lines NAME TAB TEXT: the caption is called NAME#K, K the lines of that picture before. */
static vlmoe_status read_annotations(lists *l, vlmoe_error *error)
{
    vlm_stream stream = {0};
    char *line = NULL, *field[2];
    size_t bytes = 0;
    vlmoe_status st = vlm_stream_open_text(l->whose, &stream, error);
    for (int64_t number = 1; !st; number++) {
        int64_t of = -1;
        st = vlm_stream_line(&stream, &line, &bytes, error);
        if (st || !line) break;
        if (vlm_score_fields(line, '\t', field, 2) < 2 || !*field[0])
            st = vlm_fail(error, VLMOE_E_FORMAT,
                          "%s line %lld: expected a picture's name, a tab, a caption", l->whose,
                          (long long)number);
        if (!st) st = add_image(l, field[0], &of, error);
        if (st) break;
        char *id = vlm_format("%s#%lld", field[0], (long long)l->images[of].n);
        st = id ? add_caption(l, id, of, field[1], error)
                : vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", l->whose);
        vlm_free(id);
    }
    vlm_stream_close(&stream);
    return st;
}

typedef vlmoe_status (*line_fn)(lists *l, const vlm_records *records, const vlm_value *value,
                                vlmoe_error *error);

static vlmoe_status walk(lists *l, line_fn visit, vlmoe_error *error)
{
    vlm_records *records = NULL;
    const vlm_value *value = NULL;
    VLM_TRY(vlm_records_open(l->path, NULL, 0, &records, error));
    vlmoe_status st = vlm_records_next(records, &value, error);
    while (!st && value) {
        st = visit(l, records, value, error);
        if (!st) st = vlm_records_next(records, &value, error);
    }
    vlm_records_close(records);
    return st;
}

/* What a line of a caption says of it. */
static vlmoe_status read_caption(lists *l, const vlm_records *records, const vlm_value *value,
                                 vlmoe_error *error)
{
    char scratch[2][32];
    int64_t image = -1;
    if (!vlm_json_get(value, "caption")) return VLMOE_OK;
    const char *id = vlm_score_id(vlm_json_get(value, "caption"), scratch[0]),
               *of = vlm_score_id(vlm_json_get(value, "of"), scratch[1]),
               *text = vlm_json_text(vlm_json_get(value, "text"));
    if (!id || !of || !text)
        return vlm_records_fail(records, error,
                                "without --annotations a caption needs \"of\", its picture, and "
                                "\"text\"");
    char *copy = vlm_strdup(text);
    if (!copy) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", l->path);
    vlmoe_status st = add_image(l, of, &image, error);
    if (!st) st = add_caption(l, id, image, copy, error);
    vlm_free(copy);
    return st;
}

/* ---- lists ---- */

/* Both have a caption of these words. */
static bool is_relevant(const lists *l, int64_t image, int64_t text)
{
    for (int64_t c = l->captions[text].concept; c >= 0; c = l->captions[c].next_equal)
        if (l->captions[c].image == image) return true;
    return false;
}

/* A picture is found by any caption that has the words of one of its own. */
static bool is_found(const lists *l, int way, int64_t query, int64_t candidate)
{
    return way ? is_relevant(l, candidate, query) : is_relevant(l, query, candidate);
}

static vlmoe_status read_list(lists *l, const vlm_records *records, const vlm_value *list,
                              const int64_t query[2], vlmoe_error *error)
{
    const int way = (int)query[0];
    const int64_t n = way ? l->n_images : l->n_captions,
                  least = VLM_MIN(n, (int64_t)vlm_recall_at[VLM_RECALL_AT - 1]);
    int64_t place = 0, rank = 0;
    char scratch[32];
    l->n_lists++;
    for (const vlm_value *v = vlm_json_first(list); v; v = vlm_json_next(v)) {
        const char *id = vlm_score_id(v, scratch);
        const int64_t *found =
            id ? vlm_idmap_find(way ? &l->image_ids : &l->caption_ids, id, strlen(id)) : NULL;
        if (!found)
            return vlm_records_fail(records, error, "\"%s\" is no %s of %s", id ? id : "?",
                                    way ? "picture" : "caption", l->whose);
        if (l->listed[*found] == l->n_lists)
            return vlm_records_fail(records, error, "\"%s\" stands twice in the list", id);
        l->listed[*found] = l->n_lists;
        place++;
        if (!rank && is_found(l, way, query[1], *found)) rank = place;
    }
    if (place < least)
        return vlm_records_fail(records, error,
                                "a list of %lld candidates, and R@10 needs the best %lld",
                                (long long)place, (long long)least);
    for (int k = 0; k < VLM_RECALL_AT; k++) l->hits[way][k] += rank > 0 && rank <= vlm_recall_at[k];
    return VLMOE_OK;
}

/* Where there are annotations, what the line says besides its list must not be something else. */
static vlmoe_status check_owner(const lists *l, const vlm_records *records, const vlm_value *value,
                                int64_t text, vlmoe_error *error)
{
    char scratch[32];
    const char *of = vlm_score_id(vlm_json_get(value, "of"), scratch);
    const int64_t *image = of ? vlm_idmap_find(&l->image_ids, of, strlen(of)) : NULL;
    if (!of || (image && *image == l->captions[text].image)) return VLMOE_OK;
    return vlm_records_fail(records, error, "the caption is of \"%s\" here, but not in %s", of,
                            l->whose);
}

static vlmoe_status read_line(lists *l, const vlm_records *records, const vlm_value *value,
                              vlmoe_error *error)
{
    char scratch[32];
    const vlm_value *caption_id = vlm_json_get(value, "caption");
    const int way = caption_id ? 1 : 0;
    const char *id = vlm_score_id(way ? caption_id : vlm_json_get(value, "image"), scratch);
    const vlm_value *list = vlm_json_get(value, way ? "images" : "captions");
    if (!id || !list || vlm_json_kind_of(list) != VLM_JSON_ARRAY)
        return vlm_records_fail(records, error,
                                "expected \"image\" and its \"captions\", or \"caption\" and its "
                                "\"images\"");
    const int64_t *found = vlm_idmap_find(way ? &l->caption_ids : &l->image_ids, id, strlen(id));
    if (!found) {
        if (!l->n_unknown++) snprintf(l->unknown, sizeof l->unknown, "%s", id);
        return VLMOE_OK;
    }
    const int64_t query[2] = {way, *found};
    bool *is_asked = way ? &l->captions[*found].is_asked : &l->images[*found].is_asked;
    if (*is_asked) return vlm_records_fail(records, error, "two lists for \"%s\"", id);
    *is_asked = true;
    if (way) VLM_TRY(check_owner(l, records, value, *found, error));
    return read_list(l, records, list, query, error);
}

/* ---- accounts ---- */

static vlmoe_status check_all(const lists *l, const vlm_score_options *options,
                              vlm_score_sheet *out, vlmoe_error *error)
{
    int64_t missing[2] = {0, 0};
    for (int64_t i = 0; i < l->n_images; i++) missing[0] += !l->images[i].is_asked;
    for (int64_t j = 0; j < l->n_captions; j++) missing[1] += !l->captions[j].is_asked;
    const bool is_whole = !missing[0] && !missing[1];
    if (!is_whole && !options->partial)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: %lld pictures and %lld captions of %s have no list; --partial counts "
                        "them as not found",
                        l->path, (long long)missing[0], (long long)missing[1], l->whose);
    if (l->n_unknown && !options->partial)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: %lld lists for what %s lacks, the first is \"%s\"; --partial leaves "
                        "them out",
                        l->path, (long long)l->n_unknown, l->whose, l->unknown);
    if (!is_whole || l->n_unknown)
        snprintf(out->note, sizeof out->note,
                 "%lld pictures and %lld captions without a list counted as not found, %lld lists "
                 "left out",
                 (long long)missing[0], (long long)missing[1], (long long)l->n_unknown);
    return VLMOE_OK;
}

static vlmoe_status put(const lists *l, vlm_score_sheet *out, vlmoe_error *error)
{
    static const char *const what[] = {"texts for pictures", "pictures for texts"};
    const int64_t n[2] = {l->n_images, l->n_captions};
    double sum = 0.0;
    for (int way = 0; way < 2; way++)
        for (int k = 0; k < VLM_RECALL_AT; k++) {
            const double share = (double)l->hits[way][k] / (double)n[way];
            sum += share;
            VLM_TRY(vlm_score_put(out, n[way], 100.0 * share, error, "%s R@%d", what[way],
                                  vlm_recall_at[k]));
        }
    return vlm_score_put(out, n[0] + n[1], 100.0 * sum / (2.0 * VLM_RECALL_AT), error,
                         "mean of six");
}

vlmoe_status vlm_score_lists(const vlm_score_options *options, const char *results,
                             vlm_score_sheet *out, vlmoe_error *error)
{
    const bool has_annotations = options->n_annotations > 0;
    lists l = {.path = results, .whose = has_annotations ? options->annotations[0] : results};
    if (options->fold)
        return vlm_fail(error, VLMOE_E_ARG,
                        "--fold: %s holds lists of the best of all candidates; those of a fold "
                        "need the matrix of scores",
                        results);
    vlmoe_status st = has_annotations ? read_annotations(&l, error) : walk(&l, read_caption, error);
    if (!st && !l.n_captions)
        st = vlm_fail(error, VLMOE_E_FORMAT, "%s: no captions in it", l.whose);
    if (!st) {
        l.listed = vlm_alloc_array((size_t)VLM_MAX(l.n_images, l.n_captions), sizeof *l.listed);
        st = l.listed ? walk(&l, read_line, error)
                      : vlm_fail(error, VLMOE_E_NOMEM, "no memory for %s", results);
    }
    if (!st) st = check_all(&l, options, out, error);
    if (!st) st = put(&l, out, error);
    free_lists(&l);
    return st;
}
