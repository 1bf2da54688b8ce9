/* Recall of every held-out picture and text: scores by blocks of rows, candidates read again. */
#include <math.h>
#include <string.h>
#include "metric_recall.h"
#include "train_gallery.h"

enum { BLOCK_ROWS = 64 };

/* ---- candidates read again ---- */

/* The candidates of all queries of one way, k each: query q has at [q * k] .. its candidates, -1 where there are fewer. */
typedef struct candidates {
    bool of_images; /* queries are pictures, candidates texts */
    int64_t n, k;
    int64_t *at;  /* [n, k] */
    float *match; /* [n, k] log-odds */
    float most;   /* largest |match| */
} candidates;

static vlmoe_status find_candidates(vlm_gallery *g, candidates *c)
{
    c->n = c->of_images ? g->n_images : g->n_texts;
    c->k = VLM_MIN(g->t->config->task.rerank, c->of_images ? g->n_texts : g->n_images);
    c->at = vlm_alloc_array((size_t)(c->n * c->k), sizeof *c->at);
    c->match = vlm_alloc_array((size_t)(c->n * c->k), sizeof *c->match);
    float *row = vlm_alloc_array((size_t)g->n_texts, sizeof *row),
          *best = vlm_alloc_array((size_t)(c->n * c->k), sizeof *best);
    vlmoe_status st = c->at && c->match && row && best ? VLMOE_OK : vlm_gallery_no_memory(g);
    for (int64_t q = 0; !st && q < c->n * c->k; q++) c->at[q] = -1;
    for (int64_t i = 0; !st && i < g->n_images; i++) {
        vlm_gallery_scores(g, i, row);
        if (c->of_images) (void)vlm_best_of(row, g->n_texts, c->k, c->at + i * c->k);
        for (int64_t j = 0; !c->of_images && j < g->n_texts; j++) {
            int64_t *at = c->at + j * c->k, place = c->k;
            float *score = best + j * c->k;
            while (place > 0 && (at[place - 1] < 0 || score[place - 1] < row[j])) place--;
            if (place == c->k) continue;
            memmove(at + place + 1, at + place, (size_t)(c->k - 1 - place) * sizeof *at);
            memmove(score + place + 1, score + place, (size_t)(c->k - 1 - place) * sizeof *score);
            at[place] = i;
            score[place] = row[j];
        }
    }
    vlm_free(row);
    vlm_free(best);
    return st;
}

/* Memory of one batch of pairs. */
typedef struct pair_batch {
    const candidates *c;
    uint8_t *pixels;
    int32_t *token, *offset;
} pair_batch;

static vlmoe_status match_pairs(vlm_batches *b, int64_t first, int64_t n, float *out)
{
    vlm_gallery *g = b->g;
    const pair_batch *p = b->more;
    p->offset[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t query = (first + i) / p->c->k, at = p->c->at[first + i];
        const int64_t image = p->c->of_images ? query : at, text = p->c->of_images ? at : query;
        const int64_t begin = g->offset[text], count = g->offset[text + 1] - begin;
        VLM_TRY(vlm_gallery_picture(g, image, p->pixels + i * g->picture_bytes));
        memcpy(p->token + p->offset[i], g->token + begin, (size_t)count * sizeof *p->token);
        p->offset[i + 1] = p->offset[i] + (int32_t)count;
    }
    const vlm_mome_inputs in = {
        .n_pairs = n, .pixels = p->pixels, .token = p->token, .text_offset = p->offset};
    return vlm_matches_encode(g->t, &in, out);
}

static vlmoe_status match_candidates(vlm_gallery *g, candidates *c)
{
    const size_t n = (size_t)g->per_batch;
    pair_batch p = {.c = c};
    p.pixels = vlm_alloc_array(n, (size_t)g->picture_bytes);
    p.token = vlm_alloc_array(n * (size_t)g->t->config->model.text_len, sizeof *p.token);
    p.offset = vlm_alloc_array(n + 1, sizeof *p.offset);
    vlm_batches pairs = {.g = g,
                         .n = c->n * c->k,
                         .per_batch = g->per_batch,
                         .width = 1,
                         .out = c->match,
                         .run = match_pairs,
                         .more = &p};
    vlmoe_status st =
        p.pixels && p.token && p.offset ? vlm_batches_run(&pairs) : vlm_gallery_no_memory(g);
    for (int64_t i = 0; !st && i < pairs.n; i++) c->most = fmaxf(c->most, fabsf(c->match[i]));
    vlm_free(p.pixels);
    vlm_free(p.token);
    vlm_free(p.offset);
    return st;
}

/* Candidates of a query stand before all others, in the order of similarity plus matching. */
static void rerank_row(const vlm_gallery *g, const candidates *c, int64_t image, float *row)
{
    const float ahead = 2.0f * (float)g->scale + c->most + 1.0f;
    if (c->of_images) {
        for (int64_t i = image * c->k; i < (image + 1) * c->k; i++)
            row[c->at[i]] += ahead + c->match[i];
        return;
    }
    for (int64_t j = 0; j < g->n_texts; j++)
        for (int64_t i = j * c->k; i < (j + 1) * c->k; i++)
            if (c->at[i] == image) row[j] += ahead + c->match[i];
}

/* ---- figures ---- */

static vlmoe_status recall_of(vlm_gallery *g, const candidates *c, vlm_recall_result *out)
{
    enum { COCO_TEST = 5000, FOLD = 1000 };
    const vlm_recall_set set = {.n_images = g->n_images,
                                .n_texts = g->n_texts,
                                .image_of = g->image_of,
                                .concept = g->concept,
                                .fold = g->n_images == COCO_TEST ? FOLD : 0};
    vlm_recall *recall = NULL;
    vlm_recall_result folds;
    float *rows = vlm_alloc_array((size_t)(BLOCK_ROWS * g->n_texts), sizeof *rows);
    vlmoe_status st =
        rows ? vlm_recall_create(&set, &recall, &g->t->error) : vlm_gallery_no_memory(g);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t first = 0; !st && first < g->n_images; first += BLOCK_ROWS) {
            const int64_t n = VLM_MIN((int64_t)BLOCK_ROWS, g->n_images - first);
            for (int64_t i = 0; i < n; i++) {
                vlm_gallery_scores(g, first + i, rows + i * g->n_texts);
                if (c) rerank_row(g, c, first + i, rows + i * g->n_texts);
            }
            st = vlm_recall_show(recall, first, n, rows, &g->t->error);
        }
    if (!st) st = vlm_recall_finish(recall, out, &folds, &g->t->error);
    vlm_recall_destroy(recall);
    vlm_free(rows);
    return st;
}

static double mean_of_six(const vlm_recall_result *r)
{
    double sum = 0.0;
    for (int k = 0; k < VLM_RECALL_AT; k++) sum += r->text.at[k] + r->image.at[k];
    return sum / (2.0 * VLM_RECALL_AT);
}

static void put(const char *prefix, const vlm_recall_result *r, vlm_scores *out)
{
    vlm_scores_put(out, mean_of_six(r), "%srecall", prefix);
    for (int k = 0; k < VLM_RECALL_AT; k++)
        vlm_scores_put(out, r->text.at[k], "%stext R@%d", prefix, vlm_recall_at[k]);
    for (int k = 0; k < VLM_RECALL_AT; k++)
        vlm_scores_put(out, r->image.at[k], "%simage R@%d", prefix, vlm_recall_at[k]);
}

static vlmoe_status rerank(vlm_gallery *g, vlm_recall_result *out)
{
    for (int way = 0; way < 2; way++) {
        candidates c = {.of_images = way == 0};
        vlm_recall_result r;
        vlmoe_status st = find_candidates(g, &c);
        if (!st) st = match_candidates(g, &c);
        if (!st) st = recall_of(g, &c, &r);
        vlm_free(c.at);
        vlm_free(c.match);
        if (st) return st;
        if (way) out->image = r.image;
        else out->text = r.text;
    }
    return VLMOE_OK;
}

vlmoe_status vlm_retrieval_evaluate(vlmoe_trainer *t, vlm_scores *out)
{
    vlm_gallery g;
    vlm_recall_result alone, again;
    const bool reranks = t->config->task.rerank > 0 && t->config->task.matching_weight > 0.0;
    vlmoe_status st = vlm_gallery_open(t, &g);
    if (!st) st = recall_of(&g, NULL, &alone);
    if (!st && reranks) st = rerank(&g, &again);
    vlm_gallery_close(&g);
    if (st) return st;
    if (reranks) put("", &again, out);
    put(reranks ? "dual " : "", &alone, out);
    vlm_scores_put(out, alone.text.median_rank, "median rank of texts");
    out->at[out->n - 1].is_share = false;
    vlm_scores_put(out, alone.image.median_rank, "median rank of images");
    out->at[out->n - 1].is_share = false;
    return VLMOE_OK;
}
