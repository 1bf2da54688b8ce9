/* Reading the held-out pairs, and encoding them by batches of ranks. */
#include "train_gallery.h"
#include <stdlib.h>
#include <string.h>
#include "data_group.h"

enum { PAIRS = 2, KEPT_BYTES = 1 << 30 };

vlmoe_status vlm_gallery_no_memory(vlm_gallery *g)
{
    return vlm_fail(&g->t->error, VLMOE_E_NOMEM, "out of memory for %lld pictures and %lld texts",
                    (long long)g->n_images, (long long)g->n_texts);
}

void vlm_gallery_close(vlm_gallery *g)
{
    void *const blocks[] = {g->pixels,  g->token,  g->offset, g->first_text, g->image_of,
                            g->concept, g->number, g->image,  g->text};
    for (int i = 0; i < VLM_COUNT(blocks); i++) vlm_free(blocks[i]);
}

/* ---- reading ---- */

/* How many texts there are, and whose. */
static vlmoe_status count_texts(vlm_gallery *g)
{
    vlmoe_trainer *t = g->t;
    vlm_sample_view view;
    g->first_text = vlm_alloc_array((size_t)g->n_images + 1, sizeof *g->first_text);
    if (!g->first_text) return vlm_gallery_no_memory(g);
    for (int64_t i = 0; i < g->n_images; i++) {
        VLM_TRY(vlm_source_sample(t->val, PAIRS, i, NULL, &view, &t->error));
        if (view.n_texts < 1)
            return vlm_fail(&t->error, VLMOE_E_FORMAT, "held-out sample %s has no text", view.key);
        g->first_text[i + 1] = g->first_text[i] + view.n_texts;
    }
    g->n_texts = g->first_text[g->n_images];
    return VLMOE_OK;
}

static vlmoe_status reserve(vlm_gallery *g)
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
    g->number = vlm_alloc_array(texts, sizeof *g->number);
    g->image = vlm_alloc_array(images * (size_t)g->width, sizeof *g->image);
    g->text = vlm_alloc_array(texts * (size_t)g->width, sizeof *g->text);
    if (!g->token || !g->offset || !g->image_of || !g->concept || !g->number || !g->image ||
        !g->text)
        return vlm_gallery_no_memory(g);
    const size_t most = c->run.memory_mib ? VLM_MIN(g->t->memory_left, KEPT_BYTES) : KEPT_BYTES;
    if (images > most / (size_t)g->picture_bytes) return VLMOE_OK;
    g->pixels = vlm_alloc_array(images, (size_t)g->picture_bytes);
    return g->pixels ? VLMOE_OK : vlm_gallery_no_memory(g);
}

/* As data_group.c judges a text in training. */
static vlmoe_status check_length(vlm_gallery *g, const char *key, int k, int64_t n_all)
{
    vlmoe_trainer *t = g->t;
    const int64_t limit = t->config->model.text_len;
    if (n_all <= 2)
        return vlm_fail(&t->error, VLMOE_E_FORMAT, "held-out sample %s: caption %d is empty", key,
                        k);
    g->n_cut += n_all > limit;
    if (n_all <= limit || strcmp(t->config->data.overlong, "error")) return VLMOE_OK;
    return vlm_fail(&t->error, VLMOE_E_FORMAT,
                    "held-out sample %s: caption %d has %lld tokens, model.text_len is %lld and "
                    "data.overlong is \"error\"",
                    key, k, (long long)n_all, (long long)limit);
}

static vlmoe_status read_texts(vlm_gallery *g)
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
            VLM_TRY(check_length(g, view.key, k, n_all));
            g->offset[j + 1] = g->offset[j] + n;
            g->image_of[j] = i;
            g->number[j] = vlm_caption_number(text);
        }
    }
    return VLMOE_OK;
}

typedef struct numbered {
    int64_t number;
    int64_t text;
} numbered;

static int by_number(const void *a, const void *b)
{
    const numbered *x = a, *y = b;
    if (x->number != y->number) return x->number > y->number ? 1 : -1;
    return (x->text > y->text) - (x->text < y->text);
}

/* Equal texts get the number of the first of them. */
static vlmoe_status number_concepts(vlm_gallery *g)
{
    numbered *sorted = vlm_alloc_array((size_t)g->n_texts, sizeof *sorted);
    if (!sorted) return vlm_gallery_no_memory(g);
    for (int64_t j = 0; j < g->n_texts; j++) sorted[j] = (numbered){g->number[j], j};
    qsort(sorted, (size_t)g->n_texts, sizeof *sorted, by_number);
    for (int64_t i = 0, first = 0; i < g->n_texts; i++) {
        if (sorted[i].number != sorted[first].number) first = i;
        g->concept[sorted[i].text] = sorted[first].text;
    }
    vlm_free(sorted);
    return VLMOE_OK;
}

vlmoe_status vlm_gallery_picture(vlm_gallery *g, int64_t i, uint8_t *out)
{
    vlm_sample_view ignored;
    if (!g->pixels) return vlm_source_sample(g->t->val, PAIRS, i, out, &ignored, &g->t->error);
    memcpy(out, g->pixels + i * g->picture_bytes, (size_t)g->picture_bytes);
    return VLMOE_OK;
}

/* ---- batches over ranks ---- */

static vlmoe_status share(vlm_batches *b, int64_t turn, const float *mine, int64_t n_mine)
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

vlmoe_status vlm_batches_run(vlm_batches *b)
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

static vlmoe_status encode_images(vlm_batches *b, int64_t first, int64_t n, float *out)
{
    vlm_gallery *g = b->g;
    uint8_t *pixels = b->more;
    const int32_t none = 0;
    for (int64_t i = 0; i < n; i++)
        VLM_TRY(vlm_gallery_picture(g, first + i, pixels + i * g->picture_bytes));
    const vlm_mome_inputs in = {.n_images = n, .pixels = pixels, .text_offset = &none};
    return vlm_features_encode(g->t, &in, out, NULL);
}

/* Offsets of texts first .. of the gallery as a group has them; their tokens begin at the result's first. */
static void offsets_from(const vlm_gallery *g, int64_t first, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i <= n; i++) out[i] = (int32_t)(g->offset[first + i] - g->offset[first]);
}

static vlmoe_status encode_texts(vlm_batches *b, int64_t first, int64_t n, float *out)
{
    vlm_gallery *g = b->g;
    int32_t *offset = b->more;
    offsets_from(g, first, n, offset);
    const vlm_mome_inputs in = {
        .n_texts = n, .token = g->token + g->offset[first], .text_offset = offset};
    return vlm_features_encode(g->t, &in, NULL, out);
}

static vlmoe_status turn_texts(vlm_gallery *g)
{
    float *turned = vlm_alloc_array((size_t)(g->n_texts * g->width), sizeof *turned);
    if (!turned) return vlm_gallery_no_memory(g);
    for (int64_t j = 0; j < g->n_texts; j++)
        for (int64_t c = 0; c < g->width; c++)
            turned[c * g->n_texts + j] = g->text[j * g->width + c];
    vlm_free(g->text);
    g->text = turned;
    return VLMOE_OK;
}

static vlmoe_status encode_all(vlm_gallery *g)
{
    uint8_t *pixels = vlm_alloc_array((size_t)g->per_batch, (size_t)g->picture_bytes);
    int32_t *offset = vlm_alloc_array((size_t)g->per_batch + 1, sizeof *offset);
    vlm_batches images = {.g = g,
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
    vlmoe_status st = pixels && offset ? vlm_batches_run(&images) : vlm_gallery_no_memory(g);
    if (!st) st = vlm_batches_run(&texts);
    if (!st) st = turn_texts(g);
    if (!st) st = vlm_retrieval_scale(g->t, &g->scale);
    vlm_free(pixels);
    vlm_free(offset);
    return st;
}

void vlm_gallery_scores(const vlm_gallery *g, int64_t i, float *out)
{
    const float *image = g->image + i * g->width;
    memset(out, 0, (size_t)g->n_texts * sizeof *out);
    for (int64_t c = 0; c < g->width; c++) {
        const float factor = image[c] * (float)g->scale, *text = g->text + c * g->n_texts;
        for (int64_t j = 0; j < g->n_texts; j++) out[j] += factor * text[j];
    }
}

vlmoe_status vlm_gallery_open(vlmoe_trainer *t, vlm_gallery *out)
{
    *out = (vlm_gallery){.t = t, .n_images = vlm_source_held_out(t->val, PAIRS)};
    VLM_TRY(count_texts(out));
    VLM_TRY(reserve(out));
    VLM_TRY(read_texts(out));
    VLM_TRY(number_concepts(out));
    return encode_all(out);
}
