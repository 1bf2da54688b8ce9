/* Recall of every held-out picture and text: features by batches of ranks, scores by blocks of rows, candidates read again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base_hash.h"
#include "metric_recall.h"
#include "train_retrieve.h"

enum { PAIRS = 2, BLOCK_ROWS = 64, KEPT_BYTES = 1 << 30 };

/* The held-out set, encoded. */
typedef struct gallery {
    vlmoe_trainer *t;
    int64_t n_images, n_texts, width, picture_bytes, per_batch;
    uint8_t *pixels;             /* [n_images] pictures; NULL: too many, loaded when wanted */
    int32_t *token;              /* texts one after the other */
    int64_t *offset;             /* [n_texts + 1] */
    int64_t *first_text;         /* [n_images + 1] */
    int64_t *image_of, *concept; /* [n_texts] */
    uint64_t *hash;              /* [n_texts] of the trimmed text */
    float *image;                /* [n_images, width] */
    float *text;                 /* [n_texts, width], then turned: [width, n_texts] */
    double scale;
} gallery;

static vlmoe_status no_memory(gallery *g)
{
    return vlm_fail(&g->t->error, VLMOE_E_NOMEM, "out of memory for %lld pictures and %lld texts",
                    (long long)g->n_images, (long long)g->n_texts);
}

static void close_gallery(gallery *g)
{
    void *const blocks[] = {g->pixels,  g->token, g->offset, g->first_text, g->image_of,
                            g->concept, g->hash,  g->image,  g->text};
    for (int i = 0; i < VLM_COUNT(blocks); i++) vlm_free(blocks[i]);
}

/* ---- reading ---- */

static uint64_t hash_of(const vlm_bytes *text)
{
    const uint8_t *from = text->data, *to = from + text->bytes;
    while (from < to && strchr(" \t\r\n", *from)) from++;
    while (to > from && strchr(" \t\r\n", to[-1])) to--;
    return vlm_hash64(from, (size_t)(to - from));
}

/* How many texts there are, and whose. */
static vlmoe_status count_texts(gallery *g)
{
    vlmoe_trainer *t = g->t;
    vlm_sample_view view;
    g->first_text = vlm_alloc_array((size_t)g->n_images + 1, sizeof *g->first_text);
    if (!g->first_text) return no_memory(g);
    for (int64_t i = 0; i < g->n_images; i++) {
        VLM_TRY(vlm_source_sample(t->val, PAIRS, i, NULL, &view, &t->error));
        if (view.n_texts < 1)
            return vlm_fail(&t->error, VLMOE_E_FORMAT, "held-out sample %s has no text", view.key);
        g->first_text[i + 1] = g->first_text[i] + view.n_texts;
    }
    g->n_texts = g->first_text[g->n_images];
    return VLMOE_OK;
}

static vlmoe_status reserve(gallery *g)
{
    const vlmoe_config *c = g->t->config;
    const size_t texts = (size_t)g->n_texts, images = (size_t)g->n_images;
    g->width = vlm_head_embed_width(g->t->head);
    g->picture_bytes = c->model.image_size * c->model.image_size * 3;
    g->per_batch = c->data.pairs_per_group;
    g->token = vlm_alloc_array(texts * (size_t)c->model.text_len, sizeof *g->token);
    g->offset = vlm_alloc_array(texts + 1, sizeof *g->offset);
    g->image_of = vlm_alloc_array(texts, sizeof *g->image_of);
    g->concept = vlm_alloc_array(texts, sizeof *g->concept);
    g->hash = vlm_alloc_array(texts, sizeof *g->hash);
    g->image = vlm_alloc_array(images * (size_t)g->width, sizeof *g->image);
    g->text = vlm_alloc_array(texts * (size_t)g->width, sizeof *g->text);
    if (!g->token || !g->offset || !g->image_of || !g->concept || !g->hash || !g->image || !g->text)
        return no_memory(g);
    if (g->n_images > KEPT_BYTES / g->picture_bytes) return VLMOE_OK;
    g->pixels = vlm_alloc_array(images, (size_t)g->picture_bytes);
    return g->pixels ? VLMOE_OK : no_memory(g);
}

static vlmoe_status read_texts(gallery *g)
{
    vlmoe_trainer *t = g->t;
    vlm_sample_view view;
    for (int64_t i = 0, j = 0; i < g->n_images; i++) {
        uint8_t *pixels = g->pixels ? g->pixels + i * g->picture_bytes : NULL;
        VLM_TRY(vlm_source_sample(t->val, PAIRS, i, pixels, &view, &t->error));
        for (int k = 0; k < view.n_texts; k++, j++) {
            const vlm_bytes *text = &view.texts[k];
            int64_t n = 0, n_all = 0;
            VLM_TRY(vlm_spm_encode(t->spm, (const char *)text->data, text->bytes,
                                   t->config->model.text_len, g->token + g->offset[j], &n, &n_all,
                                   &t->error));
            g->offset[j + 1] = g->offset[j] + n;
            g->image_of[j] = i;
            g->hash[j] = hash_of(text);
        }
    }
    return VLMOE_OK;
}

typedef struct hashed {
    uint64_t hash;
    int64_t text;
} hashed;

static int by_hash(const void *a, const void *b)
{
    const hashed *x = a, *y = b;
    if (x->hash != y->hash) return x->hash > y->hash ? 1 : -1;
    return (x->text > y->text) - (x->text < y->text);
}

/* Equal texts get the number of the first of them. */
static vlmoe_status number_concepts(gallery *g)
{
    hashed *sorted = vlm_alloc_array((size_t)g->n_texts, sizeof *sorted);
    if (!sorted) return no_memory(g);
    for (int64_t j = 0; j < g->n_texts; j++) sorted[j] = (hashed){g->hash[j], j};
    qsort(sorted, (size_t)g->n_texts, sizeof *sorted, by_hash);
    for (int64_t i = 0, first = 0; i < g->n_texts; i++) {
        if (sorted[i].hash != sorted[first].hash) first = i;
        g->concept[sorted[i].text] = sorted[first].text;
    }
    vlm_free(sorted);
    return VLMOE_OK;
}

static vlmoe_status picture(gallery *g, int64_t i, uint8_t *out)
{
    vlm_sample_view ignored;
    if (!g->pixels) return vlm_source_sample(g->t->val, PAIRS, i, out, &ignored, &g->t->error);
    memcpy(out, g->pixels + i * g->picture_bytes, (size_t)g->picture_bytes);
    return VLMOE_OK;
}

/* ---- batches over ranks ---- */

/* Work in batches that ranks take in turn; all make as many calls, and each learns all results. */
typedef struct batches {
    gallery *g;
    int64_t n, per_batch; /* items */
    int64_t width;        /* floats that an item gives */
    float *out;           /* [n, width] */
    vlmoe_status (*run)(struct batches *b, int64_t first, int64_t n, float *out);
    void *more;
} batches;

static vlmoe_status share(batches *b, int64_t turn, const float *mine, int64_t n_mine)
{
    vlmoe_trainer *t = b->g->t;
    char *blocks = NULL;
    const int64_t item = b->width * (int64_t)sizeof *mine;
    VLM_TRY(vlm_comm_share_blocks(t->seat->world, "results of an evaluation", (const char *)mine,
                                  (size_t)(n_mine * item), &blocks, t->result_at, &t->error));
    for (int p = 0; p < t->seat->size; p++) {
        const int64_t first = (turn * t->seat->size + p) * b->per_batch;
        const size_t bytes = t->result_at[p + 1] - t->result_at[p];
        if (first < b->n) memcpy(b->out + first * b->width, blocks + t->result_at[p], bytes);
    }
    vlm_free(blocks);
    return VLMOE_OK;
}

static vlmoe_status run_batches(batches *b)
{
    const vlm_seat *seat = b->g->t->seat;
    const int64_t size = seat ? seat->size : 1, rank = seat ? seat->rank : 0;
    const int64_t n_batches = (b->n + b->per_batch - 1) / b->per_batch;
    for (int64_t turn = 0; turn * size < n_batches; turn++) {
        /* one whose batches have run out makes the last again, since experts need every rank */
        const int64_t own = turn * size + rank, batch = VLM_MIN(own, n_batches - 1);
        const int64_t first = batch * b->per_batch, n = VLM_MIN(b->per_batch, b->n - first);
        VLM_TRY(b->run(b, first, n, b->out + first * b->width));
        if (seat) VLM_TRY(share(b, turn, b->out + first * b->width, own == batch ? n : 0));
    }
    return VLMOE_OK;
}

/* ---- features ---- */

static vlmoe_status encode_images(batches *b, int64_t first, int64_t n, float *out)
{
    gallery *g = b->g;
    uint8_t *pixels = b->more;
    const int32_t none = 0;
    for (int64_t i = 0; i < n; i++) VLM_TRY(picture(g, first + i, pixels + i * g->picture_bytes));
    const vlm_mome_inputs in = {.n_images = n, .pixels = pixels, .text_offset = &none};
    return vlm_features_encode(g->t, &in, out, NULL);
}

/* Offsets of texts first .. of the gallery as a group has them; their tokens begin at the result's first. */
static void offsets_from(const gallery *g, int64_t first, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i <= n; i++) out[i] = (int32_t)(g->offset[first + i] - g->offset[first]);
}

static vlmoe_status encode_texts(batches *b, int64_t first, int64_t n, float *out)
{
    gallery *g = b->g;
    int32_t *offset = b->more;
    offsets_from(g, first, n, offset);
    const vlm_mome_inputs in = {
        .n_texts = n, .token = g->token + g->offset[first], .text_offset = offset};
    return vlm_features_encode(g->t, &in, NULL, out);
}

static vlmoe_status turn_texts(gallery *g)
{
    float *turned = vlm_alloc_array((size_t)(g->n_texts * g->width), sizeof *turned);
    if (!turned) return no_memory(g);
    for (int64_t j = 0; j < g->n_texts; j++)
        for (int64_t c = 0; c < g->width; c++)
            turned[c * g->n_texts + j] = g->text[j * g->width + c];
    vlm_free(g->text);
    g->text = turned;
    return VLMOE_OK;
}

static vlmoe_status encode_all(gallery *g)
{
    uint8_t *pixels = vlm_alloc_array((size_t)g->per_batch, (size_t)g->picture_bytes);
    int32_t *offset = vlm_alloc_array((size_t)g->per_batch + 1, sizeof *offset);
    batches images = {.g = g,
                      .n = g->n_images,
                      .per_batch = g->per_batch,
                      .width = g->width,
                      .out = g->image,
                      .run = encode_images,
                      .more = pixels},
            texts = images;
    texts.n = g->n_texts;
    texts.out = g->text;
    texts.run = encode_texts;
    texts.more = offset;
    vlmoe_status st = pixels && offset ? run_batches(&images) : no_memory(g);
    if (!st) st = run_batches(&texts);
    if (!st) st = turn_texts(g);
    if (!st) st = vlm_retrieval_scale(g->t, &g->scale);
    vlm_free(pixels);
    vlm_free(offset);
    return st;
}

/* Scores of picture i with all texts: cosines over the temperature. */
static void score_row(const gallery *g, int64_t i, float *out)
{
    const float *image = g->image + i * g->width;
    memset(out, 0, (size_t)g->n_texts * sizeof *out);
    for (int64_t c = 0; c < g->width; c++) {
        const float factor = image[c] * (float)g->scale, *text = g->text + c * g->n_texts;
        for (int64_t j = 0; j < g->n_texts; j++) out[j] += factor * text[j];
    }
}

/* ---- candidates read again ---- */

/* The candidates of all queries of one way, k each: query q has at [q * k] .. its candidates, -1 where there are fewer. */
typedef struct candidates {
    bool of_images; /* queries are pictures, candidates texts */
    int64_t n, k;
    int64_t *at;  /* [n, k] */
    float *match; /* [n, k] log-odds */
    float most;   /* largest |match| */
} candidates;

static vlmoe_status find_candidates(gallery *g, candidates *c)
{
    c->n = c->of_images ? g->n_images : g->n_texts;
    c->k = VLM_MIN(g->t->config->task.rerank, c->of_images ? g->n_texts : g->n_images);
    c->at = vlm_alloc_array((size_t)(c->n * c->k), sizeof *c->at);
    c->match = vlm_alloc_array((size_t)(c->n * c->k), sizeof *c->match);
    float *row = vlm_alloc_array((size_t)g->n_texts, sizeof *row),
          *best = vlm_alloc_array((size_t)(c->n * c->k), sizeof *best);
    vlmoe_status st = c->at && c->match && row && best ? VLMOE_OK : no_memory(g);
    for (int64_t q = 0; !st && q < c->n * c->k; q++) c->at[q] = -1;
    for (int64_t i = 0; !st && i < g->n_images; i++) {
        score_row(g, i, row);
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

static vlmoe_status match_pairs(batches *b, int64_t first, int64_t n, float *out)
{
    gallery *g = b->g;
    const pair_batch *p = b->more;
    p->offset[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t query = (first + i) / p->c->k, at = p->c->at[first + i];
        const int64_t image = p->c->of_images ? query : at, text = p->c->of_images ? at : query;
        const int64_t begin = g->offset[text], count = g->offset[text + 1] - begin;
        VLM_TRY(picture(g, image, p->pixels + i * g->picture_bytes));
        memcpy(p->token + p->offset[i], g->token + begin, (size_t)count * sizeof *p->token);
        p->offset[i + 1] = p->offset[i] + (int32_t)count;
    }
    const vlm_mome_inputs in = {
        .n_pairs = n, .pixels = p->pixels, .token = p->token, .text_offset = p->offset};
    return vlm_matches_encode(g->t, &in, out);
}

static vlmoe_status match_candidates(gallery *g, candidates *c)
{
    const size_t n = (size_t)g->per_batch;
    pair_batch p = {.c = c};
    p.pixels = vlm_alloc_array(n, (size_t)g->picture_bytes);
    p.token = vlm_alloc_array(n * (size_t)g->t->config->model.text_len, sizeof *p.token);
    p.offset = vlm_alloc_array(n + 1, sizeof *p.offset);
    batches pairs = {.g = g,
                     .n = c->n * c->k,
                     .per_batch = g->per_batch,
                     .width = 1,
                     .out = c->match,
                     .run = match_pairs,
                     .more = &p};
    vlmoe_status st = p.pixels && p.token && p.offset ? run_batches(&pairs) : no_memory(g);
    for (int64_t i = 0; !st && i < pairs.n; i++) c->most = fmaxf(c->most, fabsf(c->match[i]));
    vlm_free(p.pixels);
    vlm_free(p.token);
    vlm_free(p.offset);
    return st;
}

/* Candidates of a query stand before all others, in the order of similarity plus matching. */
static void rerank_row(const gallery *g, const candidates *c, int64_t image, float *row)
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

static vlmoe_status recall_of(gallery *g, const candidates *c, vlm_recall_result *out)
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
    vlmoe_status st = rows ? vlm_recall_create(&set, &recall, &g->t->error) : no_memory(g);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t first = 0; !st && first < g->n_images; first += BLOCK_ROWS) {
            const int64_t n = VLM_MIN((int64_t)BLOCK_ROWS, g->n_images - first);
            for (int64_t i = 0; i < n; i++) {
                score_row(g, first + i, rows + i * g->n_texts);
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

static vlmoe_status rerank(gallery *g, vlm_recall_result *out)
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
    gallery g = {.t = t, .n_images = vlm_source_held_out(t->val, PAIRS)};
    vlm_recall_result alone, again;
    const bool reranks = t->config->task.rerank > 0 && t->config->task.matching_weight > 0.0;
    vlmoe_status st = count_texts(&g);
    if (!st) st = reserve(&g);
    if (!st) st = read_texts(&g);
    if (!st) st = number_concepts(&g);
    if (!st) st = encode_all(&g);
    if (!st) st = recall_of(&g, NULL, &alone);
    if (!st && reranks) st = rerank(&g, &again);
    close_gallery(&g);
    if (st) return st;
    if (reranks) put("", &again, out);
    put(reranks ? "dual " : "", &alone, out);
    vlm_scores_put(out, alone.text.median_rank, "median rank of texts");
    out->at[out->n - 1].is_share = false;
    vlm_scores_put(out, alone.image.median_rank, "median rank of images");
    out->at[out->n - 1].is_share = false;
    return VLMOE_OK;
}
