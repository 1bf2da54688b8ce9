/* Ranks of the best relevant candidates, counted row by row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "metric_recall.h"

const int vlm_recall_at[VLM_RECALL_AT] = {1, 5, 10};

/* One direction: what is known of each of its n queries. Index 0 = among all candidates, 1 = among those of its fold. */
typedef struct queries {
    int64_t n;
    double *best[2];  /* [n] score of the best relevant candidate */
    int64_t *rank[2]; /* [n] irrelevant candidates that score as high, so far */
} queries;

struct vlm_recall {
    int64_t n_images, n_texts, fold;
    int64_t next_row;                      /* 0..2 n_images */
    int64_t *image_of, *concept, *fold_of; /* [n_texts] */
    int64_t *first_text; /* [n_images + 1] where a picture's texts stand in text_of */
    int64_t *text_of;    /* [n_texts] texts in the order of pictures */
    int64_t *mark; /* [n_texts], by concept: 1 + the picture that it is relevant to at the moment */
    queries images, texts;
};

/* ---- birth and death ---- */

static bool make_queries(queries *q, int64_t n)
{
    q->n = n;
    for (int i = 0; i < 2; i++) {
        q->best[i] = vlm_alloc_array((size_t)n, sizeof *q->best[i]);
        q->rank[i] = vlm_alloc_array((size_t)n, sizeof *q->rank[i]);
        if (!q->best[i] || !q->rank[i]) return false;
        for (int64_t k = 0; k < n; k++) q->best[i][k] = -INFINITY;
    }
    return true;
}

static void free_queries(queries *q)
{
    for (int i = 0; i < 2; i++) {
        vlm_free(q->best[i]);
        vlm_free(q->rank[i]);
    }
}

void vlm_recall_destroy(vlm_recall *r)
{
    if (!r) return;
    free_queries(&r->images);
    free_queries(&r->texts);
    vlm_free(r->image_of);
    vlm_free(r->concept);
    vlm_free(r->fold_of);
    vlm_free(r->first_text);
    vlm_free(r->text_of);
    vlm_free(r->mark);
    vlm_free(r);
}

static vlmoe_status check_set(const vlm_recall_set *set, vlmoe_error *error)
{
    if (set->n_images < 1 || set->n_texts < set->n_images)
        return vlm_fail(error, VLMOE_E_ARG,
                        "retrieval needs a text for each picture; there are %lld pictures and "
                        "%lld texts",
                        (long long)set->n_images, (long long)set->n_texts);
    if (set->fold < 0 || (set->fold && set->n_images % set->fold))
        return vlm_fail(error, VLMOE_E_ARG, "%lld pictures cannot be cut into folds of %lld",
                        (long long)set->n_images, (long long)set->fold);
    for (int64_t t = 0; t < set->n_texts; t++) {
        bool is_good = set->image_of[t] >= 0 && set->image_of[t] < set->n_images;
        int64_t concept = set->concept ? set->concept[t] : t;
        if (!is_good || concept < 0 || concept >= set->n_texts)
            return vlm_fail(error, VLMOE_E_ARG,
                            "text %lld belongs to picture %lld of %lld and has concept %lld of "
                            "%lld",
                            (long long)t, (long long)set->image_of[t], (long long)set->n_images,
                            (long long)concept, (long long)set->n_texts);
    }
    return VLMOE_OK;
}

/* Texts by picture, in their order. */
static vlmoe_status sort_texts(vlm_recall *r, vlmoe_error *error)
{
    for (int64_t t = 0; t < r->n_texts; t++) r->first_text[r->image_of[t] + 1]++;
    for (int64_t i = 0; i < r->n_images; i++) {
        if (!r->first_text[i + 1])
            return vlm_fail(error, VLMOE_E_ARG, "picture %lld has no text", (long long)i);
        r->first_text[i + 1] += r->first_text[i];
    }
    for (int64_t t = r->n_texts;
         t-- > 0;) /* backwards: each place moves to the front of its picture's */
        r->text_of[--r->first_text[r->image_of[t] + 1]] = t;
    for (int64_t i = 0; i < r->n_images; i++) r->first_text[i] = r->first_text[i + 1];
    r->first_text[r->n_images] = r->n_texts;
    return VLMOE_OK;
}

vlmoe_status vlm_recall_create(const vlm_recall_set *set, vlm_recall **out, vlmoe_error *error)
{
    VLM_TRY(check_set(set, error));
    vlm_recall *r = vlm_alloc(sizeof *r);
    if (!r) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a score of retrieval");
    r->n_images = set->n_images;
    r->n_texts = set->n_texts;
    r->fold = set->fold ? set->fold : set->n_images;
    r->image_of = vlm_alloc_array((size_t)r->n_texts, sizeof *r->image_of);
    r->concept = vlm_alloc_array((size_t)r->n_texts, sizeof *r->concept);
    r->fold_of = vlm_alloc_array((size_t)r->n_texts, sizeof *r->fold_of);
    r->mark = vlm_alloc_array((size_t)r->n_texts, sizeof *r->mark);
    r->text_of = vlm_alloc_array((size_t)r->n_texts, sizeof *r->text_of);
    r->first_text = vlm_alloc_array((size_t)r->n_images + 1, sizeof *r->first_text);
    bool has_room = make_queries(&r->images, r->n_images) && make_queries(&r->texts, r->n_texts);
    has_room = has_room && r->image_of && r->concept && r->fold_of && r->mark && r->text_of &&
               r->first_text;
    if (!has_room) {
        vlm_recall_destroy(r);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the ranks of %lld texts",
                        (long long)set->n_texts);
    }
    for (int64_t t = 0; t < r->n_texts; t++) {
        r->image_of[t] = set->image_of[t];
        r->concept[t] = set->concept ? set->concept[t] : t;
        r->fold_of[t] = set->image_of[t] / r->fold;
    }
    vlmoe_status st = sort_texts(r, error);
    if (st) vlm_recall_destroy(r);
    else *out = r;
    return st;
}

/* ---- rows ---- */

/* Marks the concepts of picture i's texts. */
static void mark_texts(vlm_recall *r, int64_t i)
{
    for (int64_t k = r->first_text[i]; k < r->first_text[i + 1]; k++)
        r->mark[r->concept[r->text_of[k]]] = i + 1;
}

static bool is_relevant(const vlm_recall *r, int64_t i, int64_t t)
{
    return r->mark[r->concept[t]] == i + 1;
}

/* A text is of its own picture's fold. */
static bool is_same_fold(const vlm_recall *r, int64_t fold, int64_t t)
{
    return fold == r->fold_of[t];
}

static void keep_best(queries *q, int64_t query, bool in_fold, double score)
{
    for (int k = 0; k <= in_fold; k++)
        if (score > q->best[k][query]) q->best[k][query] = score;
}

static void count_better(queries *q, int64_t query, bool in_fold, double score)
{
    for (int k = 0; k <= in_fold; k++) q->rank[k][query] += score >= q->best[k][query];
}

static vlmoe_status first_time(vlm_recall *r, int64_t i, const double *score, vlmoe_error *error)
{
    int64_t fold = i / r->fold;
    mark_texts(r, i);
    for (int64_t t = 0; t < r->n_texts; t++) {
        if (isnan(score[t]))
            return vlm_fail(error, VLMOE_E_NUMERIC,
                            "the score of picture %lld and text %lld is NaN", (long long)i,
                            (long long)t);
        if (!is_relevant(r, i, t)) continue;
        keep_best(&r->images, i, is_same_fold(r, fold, t), score[t]);
        keep_best(&r->texts, t, is_same_fold(r, fold, t), score[t]);
    }
    return VLMOE_OK;
}

static void second_time(vlm_recall *r, int64_t i, const double *score)
{
    int64_t fold = i / r->fold;
    mark_texts(r, i);
    for (int64_t t = 0; t < r->n_texts; t++) {
        if (is_relevant(r, i, t)) continue;
        count_better(&r->images, i, is_same_fold(r, fold, t), score[t]);
        count_better(&r->texts, t, is_same_fold(r, fold, t), score[t]);
    }
}

vlmoe_status vlm_recall_show(vlm_recall *r, int64_t first_image, int64_t n_rows,
                             const double *score, vlmoe_error *error)
{
    int64_t time = r->next_row / r->n_images, next = r->next_row % r->n_images;
    if (time > 1 || first_image != next || n_rows < 1 || n_rows > r->n_images - next)
        return vlm_fail(error, VLMOE_E_STATE,
                        "rows %lld to %lld of the scores were shown where row %lld of %lld comes "
                        "next",
                        (long long)first_image, (long long)(first_image + n_rows), (long long)next,
                        (long long)r->n_images);
    for (int64_t i = 0; i < n_rows; i++, score += r->n_texts) {
        if (time == 0) VLM_TRY(first_time(r, first_image + i, score, error));
        else second_time(r, first_image + i, score);
    }
    r->next_row += n_rows;
    if (r->next_row == r->n_images) memset(r->mark, 0, (size_t)r->n_texts * sizeof *r->mark);
    return VLMOE_OK;
}

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* rank [n] is sorted by it. */
static vlm_recall_way way_of(int64_t *rank, int64_t n)
{
    vlm_recall_way way = {0};
    qsort(rank, (size_t)n, sizeof *rank, compare);
    for (int k = 0; k < VLM_RECALL_AT; k++) {
        int64_t hits = 0;
        while (hits < n && rank[hits] <= vlm_recall_at[k]) hits++;
        way.at[k] = (double)hits / (double)n;
    }
    for (int64_t i = 0; i < n; i++) way.mean_rank += (double)rank[i] / (double)n;
    const int64_t lower = (n - 1) / 2, upper = n / 2; /* the same where n is odd */
    way.median_rank = 0.5 * (double)(rank[lower] + rank[upper]);
    return way;
}

/* Queries whose picture is in [first, last); image_of NULL: the queries are pictures. */
static vlm_recall_way part_of(const queries *q, int kind, const int64_t *image_of,
                              const int64_t range[2], int64_t *scratch)
{
    int64_t n = 0;
    for (int64_t k = 0; k < q->n; k++) {
        int64_t image = image_of ? image_of[k] : k;
        if (image >= range[0] && image < range[1]) scratch[n++] = 1 + q->rank[kind][k];
    }
    return way_of(scratch, n);
}

static vlm_recall_result result_of(const vlm_recall *r, int kind, int64_t first, int64_t last,
                                   int64_t *scratch)
{
    int64_t range[2] = {first, last};
    vlm_recall_result result = {.text = part_of(&r->images, kind, NULL, range, scratch),
                                .image = part_of(&r->texts, kind, r->image_of, range, scratch)};
    for (int k = 0; k < VLM_RECALL_AT; k++)
        result.mean += (result.text.at[k] + result.image.at[k]) / (2 * VLM_RECALL_AT);
    return result;
}

static void add_way(vlm_recall_way *sum, const vlm_recall_way *way, double share)
{
    for (int k = 0; k < VLM_RECALL_AT; k++) sum->at[k] += share * way->at[k];
    sum->mean_rank += share * way->mean_rank;
    sum->median_rank += share * way->median_rank;
}

vlmoe_status vlm_recall_finish(const vlm_recall *r, vlm_recall_result *all,
                               vlm_recall_result *folds, vlmoe_error *error)
{
    if (r->next_row != 2 * r->n_images)
        return vlm_fail(error, VLMOE_E_STATE,
                        "recall needs the matrix of scores twice; %lld rows of %lld were shown",
                        (long long)r->next_row, (long long)(2 * r->n_images));
    int64_t *scratch = vlm_alloc_array((size_t)r->n_texts, sizeof *scratch);
    if (!scratch) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to sort ranks");
    int64_t n_folds = r->n_images / r->fold;
    *all = result_of(r, 0, 0, r->n_images, scratch);
    *folds = (vlm_recall_result){0};
    for (int64_t f = 0; f < n_folds; f++) {
        vlm_recall_result part = result_of(r, 1, f * r->fold, (f + 1) * r->fold, scratch);
        add_way(&folds->text, &part.text, 1.0 / (double)n_folds);
        add_way(&folds->image, &part.image, 1.0 / (double)n_folds);
        folds->mean += part.mean / (double)n_folds;
    }
    vlm_free(scratch);
    return VLMOE_OK;
}
