/* Recall of every held-out picture and text: scores by blocks of rows, candidates read again. */
#include <math.h>
#include <string.h>
#include "metric_recall.h"
#include "train_gallery.h"
#include "train_ranked.h"

enum { BLOCK_ROWS = 64 };

/* ---- candidates read again ---- */

/* The candidates of all queries of one way, k each. */
typedef struct candidates {
    bool of_images; /* queries are pictures, candidates texts */
    vlm_ranked best;
    float *match; /* [n, k] log-odds */
    float most;   /* largest |match| */
} candidates;

static vlmoe_status find_candidates(vlm_gallery *g, candidates *c)
{
    const int64_t n = c->of_images ? g->n_images : g->n_texts,
                  k = VLM_MIN(g->t->config->task.rerank, c->of_images ? g->n_texts : g->n_images);
    VLM_TRY(vlm_ranked_make(n, k, &c->best, &g->t->error));
    c->match = vlm_alloc_array((size_t)(n * k), sizeof *c->match);
    float *row = vlm_alloc_array((size_t)g->n_texts, sizeof *row);
    if (!c->match || !row) {
        vlm_free(row);
        return vlm_gallery_no_memory(g);
    }
    for (int64_t i = 0; i < g->n_images; i++) {
        vlm_gallery_scores(g, i, row);
        for (int64_t j = 0; j < g->n_texts; j++) {
            const vlm_candidate candidate = {.at = c->of_images ? j : i, .order = row[j]};
            vlm_ranked_offer(&c->best, c->of_images ? i : j, &candidate);
        }
    }
    vlm_free(row);
    return VLMOE_OK;
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
        const int64_t query = (first + i) / p->c->best.k, at = p->c->best.at[first + i];
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
                         .n = c->best.n * c->best.k,
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

/* Candidates of a query stand before all others, in the order of similarity plus matching. score: what is said of them, without what puts
 * them ahead. */
static void rerank_row(const vlm_gallery *g, const candidates *c, int64_t image, double *row,
                       float *score)
{
    const double ahead = 2.0 * g->scale + (double)c->most + 1.0;
    const int64_t k = c->best.k, n = c->of_images ? 1 : g->n_texts,
                  first = c->of_images ? image : 0;
    for (int64_t i = first * k; i < (first + n) * k; i++) {
        const int64_t text = c->of_images ? c->best.at[i] : i / k;
        if (!c->of_images && c->best.at[i] != image) continue;
        row[text] += ahead + (double)c->match[i];
        score[text] += c->match[i];
    }
}

/* ---- figures ---- */

/* A recall that is being measured, and the lists that are kept of it. */
typedef struct measuring {
    vlm_gallery *g;
    const candidates *c;   /* read together; NULL = none were */
    vlm_ranked *ranked[2]; /* texts of pictures, pictures of texts; NULL = not kept */
    int64_t *mark;         /* [n_texts] by concept: 1 + the picture that it is relevant to */
    double *rows;          /* [BLOCK_ROWS, n_texts] what is in order */
    float *score;          /* [n_texts] what is said of a row of them */
    vlm_recall *recall;
} measuring;

static void keep_best(measuring *m, int64_t image, const double *row, const float *score)
{
    const vlm_gallery *g = m->g;
    if (!m->ranked[0] && !m->ranked[1]) return;
    for (int64_t j = g->first_text[image]; j < g->first_text[image + 1]; j++)
        m->mark[g->concept[j]] = image + 1;
    for (int64_t j = 0; j < g->n_texts; j++) {
        vlm_candidate candidate = {.at = j,
                                   .order = row[j],
                                   .score = score[j],
                                   .is_relevant = m->mark[g->concept[j]] == image + 1};
        if (m->ranked[0]) vlm_ranked_offer(m->ranked[0], image, &candidate);
        candidate.at = image;
        if (m->ranked[1]) vlm_ranked_offer(m->ranked[1], j, &candidate);
    }
}

static vlmoe_status show_rows(measuring *m, int64_t first, int64_t n, bool is_first_pass)
{
    const vlm_gallery *g = m->g;
    for (int64_t i = 0; i < n; i++) {
        double *row = m->rows + i * g->n_texts;
        vlm_gallery_scores(g, first + i, m->score);
        for (int64_t j = 0; j < g->n_texts; j++) row[j] = m->score[j];
        if (m->c) rerank_row(g, m->c, first + i, row, m->score);
        if (is_first_pass) keep_best(m, first + i, row, m->score);
    }
    return vlm_recall_show(m->recall, first, n, m->rows, &m->g->t->error);
}

/* Of all held-out pictures and texts, and the mean over folds of a thousand pictures. */
typedef struct recalls {
    vlm_recall_result all, folds;
} recalls;

static int64_t fold_of(const vlm_gallery *g)
{
    enum { COCO_TEST = 5000, FOLD = 1000 };
    return g->n_images == COCO_TEST ? FOLD : 0;
}

static vlmoe_status measure(measuring *m, recalls *out)
{
    vlm_gallery *g = m->g;
    const vlm_recall_set set = {.n_images = g->n_images,
                                .n_texts = g->n_texts,
                                .image_of = g->image_of,
                                .concept = g->concept,
                                .fold = fold_of(g)};
    const size_t texts = (size_t)g->n_texts;
    m->rows = vlm_alloc_array(BLOCK_ROWS * texts, sizeof *m->rows);
    m->score = vlm_alloc_array(texts, sizeof *m->score);
    m->mark = vlm_alloc_array(texts, sizeof *m->mark);
    if (!m->rows || !m->score || !m->mark) return vlm_gallery_no_memory(g);
    VLM_TRY(vlm_recall_create(&set, &m->recall, &g->t->error));
    for (int pass = 0; pass < 2; pass++)
        for (int64_t first = 0; first < g->n_images; first += BLOCK_ROWS)
            VLM_TRY(show_rows(m, first, VLM_MIN((int64_t)BLOCK_ROWS, g->n_images - first), !pass));
    return vlm_recall_finish(m->recall, &out->all, &out->folds, &g->t->error);
}

/* ranked: as of measuring, or NULL. */
static vlmoe_status recall_of(vlm_gallery *g, const candidates *c, vlm_ranked *const ranked[2],
                              recalls *out)
{
    measuring m = {.g = g, .c = c};
    for (int way = 0; way < 2 && ranked; way++) m.ranked[way] = ranked[way];
    const vlmoe_status st = measure(&m, out);
    vlm_recall_destroy(m.recall);
    vlm_free(m.rows);
    vlm_free(m.score);
    vlm_free(m.mark);
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

/* way 0: texts of a picture, 1: pictures of a text. */
static void take_way(const vlm_recall_result *from, int way, vlm_recall_result *to)
{
    if (way) to->image = from->image;
    else to->text = from->text;
}

static vlmoe_status rerank(vlm_gallery *g, vlm_tally *tally, recalls *out)
{
    for (int way = 0; way < 2; way++) {
        candidates c = {.of_images = way == 0};
        vlm_ranked *ranked[2] = {NULL, NULL};
        recalls r = {0};
        if (tally->n_ranked) ranked[way] = &tally->ranked[way];
        vlmoe_status st = find_candidates(g, &c);
        if (!st) st = match_candidates(g, &c);
        if (!st) st = recall_of(g, &c, ranked, &r);
        tally->n_together[way] = c.best.k;
        vlm_ranked_free(&c.best);
        vlm_free(c.match);
        if (st) return st;
        take_way(&r.all, way, &out->all);
        take_way(&r.folds, way, &out->folds);
    }
    return VLMOE_OK;
}

static vlmoe_status make_lists(const vlm_gallery *g, vlm_tally *tally)
{
    const int64_t n[2] = {g->n_images, g->n_texts};
    for (int way = 0; way < 2 && tally->n_ranked; way++) {
        vlm_ranked_free(&tally->ranked[way]);
        VLM_TRY(vlm_ranked_make(n[way], VLM_MIN(tally->n_ranked, n[1 - way]), &tally->ranked[way],
                                &g->t->error));
    }
    return VLMOE_OK;
}

vlmoe_status vlm_retrieval_evaluate(vlmoe_trainer *t, vlm_tally *tally)
{
    vlm_gallery g;
    vlm_scores *out = &tally->scores;
    recalls alone = {0}, again = {0};
    vlm_ranked *ranked[2] = {&tally->ranked[0], &tally->ranked[1]};
    const bool reranks = t->config->task.rerank > 0 && t->config->task.matching_weight > 0.0,
               keeps_alone = tally->n_ranked && !reranks;
    const recalls *best = reranks ? &again : &alone;
    vlmoe_status st = vlm_gallery_open(t, &g);
    if (!st) st = make_lists(&g, tally);
    if (!st) st = recall_of(&g, NULL, keeps_alone ? ranked : NULL, &alone);
    if (!st && reranks) st = rerank(&g, tally, &again);
    const bool has_folds = !st && fold_of(&g) > 0;
    tally->cut += g.n_cut;
    vlm_gallery_close(&g);
    if (st) return st;
    put("", &best->all, out);
    if (reranks) put("dual ", &alone.all, out);
    if (has_folds) put("1K ", &best->folds, out);
    vlm_scores_put_number(out, alone.all.text.median_rank, "median rank of texts");
    vlm_scores_put_number(out, alone.all.image.median_rank, "median rank of images");
    return out->failed ? vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for scores") : VLMOE_OK;
}
