/* vlmoe-eval predict of retrieval: captions for a picture, pictures for a text. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "cli_predict.h"
#include "train_retrieve.h"

enum { BATCH = 16, MOST_BYTES = 1 << 28 };

/* The candidates, and the one they are ranked for. */
typedef struct ranking {
    const char *tool;
    vlmoe_trainer *t;
    const vlm_predict_options *o;
    vlmoe_error *error;
    char **name; /* [n] captions, or names of files */
    int64_t n, width, picture_bytes;
    float *one, *all;        /* [width], [n, width] features */
    uint8_t *pixels;         /* [BATCH] pictures */
    int32_t *token, *offset; /* of BATCH texts */
    float *score;            /* [n] cosines */
} ranking;

static vlmoe_status no_memory(const ranking *r)
{
    return vlm_fail(r->error, VLMOE_E_NOMEM, "out of memory for candidates");
}

/* ---- candidates ---- */

static vlmoe_status read_captions(ranking *r)
{
    char *text = NULL, *rest, *line;
    size_t bytes = 0, room = 1;
    VLM_TRY(vlm_file_read(r->o->captions, MOST_BYTES, &text, &bytes, r->error));
    for (size_t i = 0; i < bytes; i++) room += text[i] == '\n';
    r->name = vlm_alloc_array(room, sizeof *r->name);
    for (rest = text; r->name && (line = strsep(&rest, "\r\n"));)
        if (line[strspn(line, " \t")]) r->name[r->n++] = vlm_strdup(line);
    vlm_free(text);
    for (int64_t i = 0; i < r->n; i++)
        if (!r->name[i]) return no_memory(r);
    if (!r->name) return no_memory(r);
    return r->n ? VLMOE_OK
                : vlm_fail(r->error, VLMOE_E_FORMAT, "%s: no line to rank", r->o->captions);
}

/* Files of the folder that are pictures; whether they can be decoded is seen when they are read. */
static vlmoe_status list_images(ranking *r)
{
    char **names = NULL;
    size_t n = 0;
    VLM_TRY(vlm_dir_list(r->o->images, &names, &n, r->error));
    r->name = vlm_alloc_array(n + 1, sizeof *r->name);
    for (size_t i = 0; r->name && i < n; i++)
        if (names[i][0] != '.' && (r->name[r->n] = vlm_path_join(r->o->images, names[i]))) r->n++;
    vlm_names_free(names, n);
    return r->name ? VLMOE_OK : no_memory(r);
}

static vlmoe_status reserve(ranking *r)
{
    const vlm_cfg_model *m = &r->t->config->model;
    r->width = vlm_head_embed_width(r->t->head);
    r->picture_bytes = m->image_size * m->image_size * 3;
    r->one = vlm_alloc_array((size_t)r->width, sizeof *r->one);
    r->all = vlm_alloc_array((size_t)(r->width * VLM_MAX(r->n, 1)), sizeof *r->all);
    r->score = vlm_alloc_array((size_t)VLM_MAX(r->n, 1), sizeof *r->score);
    r->pixels = vlm_alloc_array(BATCH, (size_t)r->picture_bytes);
    r->token = vlm_alloc_array((size_t)(BATCH * m->text_len), sizeof *r->token);
    r->offset = vlm_alloc_array(BATCH + 1, sizeof *r->offset);
    return r->one && r->all && r->score && r->pixels && r->token && r->offset ? VLMOE_OK
                                                                              : no_memory(r);
}

/* ---- encoding ---- */

/* texts [n]: their tokens one after the other in r->token. */
static vlmoe_status put_texts(ranking *r, const char *const *texts, int64_t n)
{
    r->offset[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t count = 0, all = 0;
        VLM_TRY(vlm_spm_encode(r->t->spm, texts[i], strlen(texts[i]), r->t->config->model.text_len,
                               r->token + r->offset[i], &count, &all, r->error));
        r->offset[i + 1] = r->offset[i] + (int32_t)count;
    }
    return VLMOE_OK;
}

static vlmoe_status own_error(const ranking *r, vlmoe_status st)
{
    return st ? vlm_fail(r->error, st, "%s", vlmoe_trainer_error(r->t)) : VLMOE_OK;
}

static vlmoe_status encode(ranking *r, int64_t n, bool are_texts, float *out)
{
    const vlm_mome_inputs in = {.n_images = are_texts ? 0 : n,
                                .n_texts = are_texts ? n : 0,
                                .pixels = r->pixels,
                                .token = r->token,
                                .text_offset = r->offset};
    return own_error(r, vlm_features_encode(r->t, &in, out, out));
}

static vlmoe_status encode_captions(ranking *r)
{
    for (int64_t first = 0; first < r->n; first += BATCH) {
        const int64_t n = VLM_MIN((int64_t)BATCH, r->n - first);
        VLM_TRY(put_texts(r, (const char *const *)r->name + first, n));
        VLM_TRY(encode(r, n, true, r->all + first * r->width));
    }
    VLM_TRY(vlm_picture_load(r->t->config, r->o->image[0], r->pixels, r->error));
    return encode(r, 1, false, r->one);
}

/* Drops what is no picture from the list. */
static vlmoe_status encode_images(ranking *r)
{
    int64_t kept = 0, waiting = 0;
    for (int64_t i = 0; i <= r->n; i++) {
        if (waiting == BATCH || (i == r->n && waiting)) {
            VLM_TRY(encode(r, waiting, false, r->all + (kept - waiting) * r->width));
            waiting = 0;
        }
        if (i == r->n) break;
        vlmoe_error why = {VLMOE_OK, ""};
        uint8_t *pixels = r->pixels + waiting * r->picture_bytes;
        char *name = r->name[i];
        r->name[i] = NULL; /* each is on the list once, whenever this ends */
        if (vlm_picture_load(r->t->config, name, pixels, &why)) {
            fprintf(stderr, "%s: note: left out: %s\n", r->tool, why.text);
            vlm_free(name);
            continue;
        }
        r->name[kept++] = name;
        waiting++;
    }
    r->n = kept;
    if (!kept) return vlm_fail(r->error, VLMOE_E_FORMAT, "%s: no picture to rank", r->o->images);
    VLM_TRY(put_texts(r, r->o->text, 1));
    return encode(r, 1, true, r->one);
}

/* ---- order ---- */

static void score_all(ranking *r)
{
    for (int64_t i = 0; i < r->n; i++) {
        double sum = 0.0;
        for (int64_t c = 0; c < r->width; c++)
            sum += (double)r->one[c] * (double)r->all[i * r->width + c];
        r->score[i] = (float)sum;
    }
}

/* Log-odds of the best, n <= BATCH of them, with what they are ranked for. */
static vlmoe_status match(ranking *r, int64_t n, const int64_t *best, float *out)
{
    const char *text[BATCH];
    const bool by_text = r->o->images != NULL;
    for (int64_t i = 0; i < n; i++) {
        const char *file = by_text ? r->name[best[i]] : r->o->image[0];
        text[i] = by_text ? r->o->text[0] : r->name[best[i]];
        VLM_TRY(vlm_picture_load(r->t->config, file, r->pixels + i * r->picture_bytes, r->error));
    }
    VLM_TRY(put_texts(r, text, n));
    const vlm_mome_inputs in = {
        .n_pairs = n, .pixels = r->pixels, .token = r->token, .text_offset = r->offset};
    return own_error(r, vlm_matches_encode(r->t, &in, out));
}

/* As in evaluation: the best by similarity are put in order by similarity over the temperature plus matching. */
static vlmoe_status order(ranking *r, vlm_predict_rows *out)
{
    const int64_t n_read = r->t->config->task.matching_weight > 0.0
                               ? VLM_MIN(r->n, VLM_MIN(r->t->config->task.rerank, (int64_t)BATCH))
                               : 0;
    int64_t *best = vlm_alloc_array((size_t)r->n, sizeof *best), again[BATCH];
    float odds[BATCH] = {0}, sum[BATCH];
    double scale = 1.0;
    out->row = vlm_alloc_array((size_t)r->n, sizeof *out->row);
    vlmoe_status st =
        best && out->row ? own_error(r, vlm_retrieval_scale(r->t, &scale)) : no_memory(r);
    if (!st) (void)vlm_best_of(r->score, r->n, r->n, best);
    if (!st && n_read) st = match(r, n_read, best, odds);
    for (int64_t i = 0; !st && i < n_read; i++) sum[i] = (float)scale * r->score[best[i]] + odds[i];
    if (!st && n_read) (void)vlm_best_of(sum, n_read, n_read, again);
    for (int64_t i = 0; !st && i < r->n; i++) {
        const int64_t at = i < n_read ? again[i] : i;
        const double match_share = i < n_read ? 1.0 / (1.0 + exp(-(double)odds[at])) : NAN;
        out->row[i] = (vlm_predict_row){vlm_strdup(r->name[best[at]]), (double)r->score[best[at]],
                                        match_share};
        out->n++;
        if (!out->row[i].name) st = no_memory(r);
    }
    vlm_free(best);
    return st;
}

vlmoe_status vlm_predict_rank(const char *tool, vlmoe_trainer *trainer,
                              const vlm_predict_options *options, vlm_predict_rows *out,
                              vlmoe_error *error)
{
    ranking r = {.tool = tool, .t = trainer, .o = options, .error = error};
    vlmoe_status st = options->captions ? read_captions(&r) : list_images(&r);
    if (!st) st = reserve(&r);
    if (!st) st = options->captions ? encode_captions(&r) : encode_images(&r);
    if (!st) {
        score_all(&r);
        st = order(&r, out);
    }
    for (int64_t i = 0; i < r.n; i++) vlm_free(r.name[i]);
    vlm_free(r.name);
    vlm_free(r.one);
    vlm_free(r.all);
    vlm_free(r.score);
    vlm_free(r.pixels);
    vlm_free(r.token);
    vlm_free(r.offset);
    return st;
}
