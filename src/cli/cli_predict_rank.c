/* vlmoe-eval predict of retrieval: captions for a picture, pictures for a text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
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
    int64_t n_cut;           /* texts of more tokens than the model takes */
    float *one, *all;        /* [width], [n, width] features */
    uint8_t *pixels;         /* [BATCH] pictures */
    int32_t *token, *offset; /* of BATCH texts */
} ranking;

static vlmoe_status no_memory(const ranking *r)
{
    return vlm_fail(r->error, VLMOE_E_NOMEM, "out of memory for candidates");
}

/* ---- candidates ---- */

/* Lines of UTF-8; a zero would end a caption before its line. */
static vlmoe_status check_captions(const ranking *r, const char *text, size_t bytes)
{
    int64_t line = 1;
    for (size_t at = 0, n; at < bytes; at += n) {
        n = vlm_utf8_length(text + at, bytes - at);
        if (!n || !text[at])
            return vlm_fail(r->error, VLMOE_E_FORMAT, "%s line %lld: not UTF-8 text",
                            r->o->captions, (long long)line);
        line += text[at] == '\n';
    }
    return VLMOE_OK;
}

static vlmoe_status read_captions(ranking *r)
{
    char *text = NULL, *rest, *line;
    size_t bytes = 0, room = 1;
    VLM_TRY(vlm_file_read(r->o->captions, MOST_BYTES, &text, &bytes, r->error));
    vlmoe_status st = check_captions(r, text, bytes);
    if (st) {
        vlm_free(text);
        return st;
    }
    for (size_t i = 0; i < bytes; i++) room += text[i] == '\n' || text[i] == '\r';
    r->name = vlm_alloc_array(room, sizeof *r->name);
    for (rest = text + vlm_utf8_mark(text, bytes); r->name && (line = strsep(&rest, "\r\n"));)
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
    vlmoe_status st = r->name ? VLMOE_OK : no_memory(r);
    for (size_t i = 0; !st && i < n; i++) {
        if (names[i][0] == '.') continue;
        r->name[r->n] = vlm_path_join(r->o->images, names[i]);
        if (r->name[r->n]) r->n++;
        else st = no_memory(r);
    }
    vlm_names_free(names, n);
    return st;
}

static vlmoe_status reserve(ranking *r)
{
    const vlm_cfg_model *m = &r->t->config->model;
    r->width = vlm_head_embed_width(r->t->head);
    r->picture_bytes = m->image_size * m->image_size * 3;
    r->one = vlm_alloc_array((size_t)r->width, sizeof *r->one);
    r->all = vlm_alloc_array((size_t)(r->width * VLM_MAX(r->n, 1)), sizeof *r->all);
    r->pixels = vlm_alloc_array(BATCH, (size_t)r->picture_bytes);
    r->token = vlm_alloc_array((size_t)(BATCH * m->text_len), sizeof *r->token);
    r->offset = vlm_alloc_array(BATCH + 1, sizeof *r->offset);
    return r->one && r->all && r->pixels && r->token && r->offset ? VLMOE_OK : no_memory(r);
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
        r->n_cut += all > count;
    }
    return VLMOE_OK;
}

static void tell_cut(const ranking *r)
{
    if (r->n_cut)
        fprintf(stderr, "%s: note: %lld text%s cut to %lld tokens\n", r->tool, (long long)r->n_cut,
                r->n_cut == 1 ? " was" : "s were", (long long)r->t->config->model.text_len);
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

typedef struct place {
    int64_t at;
    float score;
} place;

typedef struct ordering {
    int64_t n_read; /* so many of the best are read together with what they are ranked for */
    place *best;    /* [n] candidates by similarity */
    place *again;   /* [n_read] places of best, by similarity over the temperature plus odds */
    float *odds;    /* [n_read] of matching, of the candidate at this place of best */
} ordering;

/* The best first, equal ones as they come. */
static int by_score(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void score_all(const ranking *r, place *out)
{
    for (int64_t i = 0; i < r->n; i++) {
        double sum = 0.0;
        for (int64_t c = 0; c < r->width; c++)
            sum += (double)r->one[c] * (double)r->all[i * r->width + c];
        out[i] = (place){i, (float)sum};
    }
    qsort(out, (size_t)r->n, sizeof *out, by_score);
}

/* Log-odds of n <= BATCH candidates with what they are ranked for. */
static vlmoe_status match_batch(ranking *r, int64_t n, const place *best, float *out)
{
    const char *text[BATCH];
    const bool by_text = r->o->images != NULL;
    for (int64_t i = 0; i < n; i++) {
        const char *file = by_text ? r->name[best[i].at] : r->o->image[0];
        text[i] = by_text ? r->o->text[0] : r->name[best[i].at];
        VLM_TRY(vlm_picture_load(r->t->config, file, r->pixels + i * r->picture_bytes, r->error));
    }
    VLM_TRY(put_texts(r, text, n));
    const vlm_mome_inputs in = {
        .n_pairs = n, .pixels = r->pixels, .token = r->token, .text_offset = r->offset};
    return own_error(r, vlm_matches_encode(r->t, &in, out));
}

static vlmoe_status match(ranking *r, int64_t n, const place *best, float *out)
{
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < n && !st; i += BATCH)
        st = match_batch(r, VLM_MIN((int64_t)BATCH, n - i), best + i, out + i);
    return st;
}

static vlmoe_status put_rows(const ranking *r, const ordering *o, vlm_predict_rows *out)
{
    out->row = vlm_alloc_array((size_t)r->n, sizeof *out->row);
    if (!out->row) return no_memory(r);
    for (int64_t i = 0; i < r->n; i++) {
        const int64_t at = i < o->n_read ? o->again[i].at : i;
        const double match_share = i < o->n_read ? 1.0 / (1.0 + exp(-(double)o->odds[at])) : NAN;
        out->row[i] = (vlm_predict_row){vlm_strdup(r->name[o->best[at].at]),
                                        (double)o->best[at].score, match_share};
        out->n++;
        if (!out->row[i].name) return no_memory(r);
    }
    return VLMOE_OK;
}

/* As in evaluation: the best by similarity are put in order by similarity over the temperature plus matching. */
static vlmoe_status order(ranking *r, vlm_predict_rows *out)
{
    const bool reads = r->t->config->task.matching_weight > 0.0;
    const int64_t n_read = reads ? VLM_MIN(r->n, r->t->config->task.rerank) : 0;
    const size_t room = (size_t)VLM_MAX(n_read, 1);
    ordering o = {.n_read = n_read,
                  .best = vlm_alloc_array((size_t)r->n, sizeof *o.best),
                  .again = vlm_alloc_array(room, sizeof *o.again),
                  .odds = vlm_alloc_array(room, sizeof *o.odds)};
    double scale = 1.0;
    vlmoe_status st = o.best && o.again && o.odds ? own_error(r, vlm_retrieval_scale(r->t, &scale))
                                                  : no_memory(r);
    if (!st) score_all(r, o.best);
    if (!st) st = match(r, n_read, o.best, o.odds);
    for (int64_t i = 0; !st && i < n_read; i++)
        o.again[i] = (place){i, (float)scale * o.best[i].score + o.odds[i]};
    if (!st) qsort(o.again, (size_t)n_read, sizeof *o.again, by_score);
    if (!st) st = put_rows(r, &o, out);
    vlm_free(o.best);
    vlm_free(o.again);
    vlm_free(o.odds);
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
        tell_cut(&r);
        st = order(&r, out);
    }
    for (int64_t i = 0; i < r.n; i++) vlm_free(r.name[i]);
    vlm_free(r.name);
    vlm_free(r.one);
    vlm_free(r.all);
    vlm_free(r.pixels);
    vlm_free(r.token);
    vlm_free(r.offset);
    return st;
}
