/* Examples of a report: which samples, what was hidden, what was predicted, what codes draw. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cli_report_gather.h"
#include "data_image.h"

/* What a walk knows. */
typedef struct walk {
    vlmoe_trainer *t;
    vlm_report_model *out;
    vlm_page_place *place;
    int64_t group;
    int64_t used[3], wanted[3]; /* held-out samples and examples by stream */
    int64_t taken[3];           /* examples so far */
    int64_t S, P;               /* pixels on a side; patches */
} walk;

static vlmoe_status no_memory(vlmoe_trainer *t)
{
    return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for a report's examples");
}

void vlm_page_piece(const vlm_spm *spm, int32_t id, char out[VLM_REPORT_PIECE])
{
    const char *piece = spm ? vlm_spm_piece(spm, id) : "";
    size_t bytes = strlen(piece), at = 0;
    while (at < bytes) {
        size_t n = vlm_utf8_length(piece + at, bytes - at);
        n = n ? n : 1;
        if (at + n >= VLM_REPORT_PIECE) break;
        at += n;
    }
    memcpy(out, piece, at);
    out[at] = 0;
}

/* ---- which ---- */

/* Evenly over the stream: the next example is sample (2 i + 1) n / 2 w. */
static bool is_wanted(const walk *w, int stream, int64_t number)
{
    int64_t i = w->taken[stream], n = w->used[stream], wanted = VLM_MIN(w->wanted[stream], n);
    return i < wanted && number == (2 * i + 1) * n / (2 * wanted);
}

/* Pictures and texts of the pairs are the group's images and texts. */
static bool is_apart(const walk *w)
{
    return w->t->task->kind == VLM_TASK_RETRIEVAL;
}

/* Of a tuned task: the samples that it judges. */
static void choose_judged(walk *w)
{
    const int stream = w->t->task->stream, as = is_apart(w) ? 0 : stream;
    w->used[as] = vlm_source_held_out(w->t->val, stream);
    w->wanted[as] = is_apart(w) ? VLM_PAGE_SEARCHES : VLM_PAGE_QUESTIONS;
}

static void choose_numbers(walk *w)
{
    for (int s = 0; s < 3; s++)
        w->used[s] = VLM_MIN(vlm_source_samples(w->t->val, s), w->t->config->data.val_samples);
    bool has_pairs = w->used[2] > 0;
    w->wanted[0] = !w->t->model ? 12 : has_pairs ? 2 : 6;
    w->wanted[1] = has_pairs ? 4 : 6;
    w->wanted[2] = 8;
}

/* ---- pictures ---- */

int64_t vlm_page_side(const vlmoe_trainer *t)
{
    return VLM_MIN(t->config->model.image_size, (int64_t)VLM_REPORT_SIDE);
}

uint8_t *vlm_page_picture(vlmoe_trainer *t, uint8_t *pixels)
{
    int64_t side = vlm_page_side(t), S = t->config->model.image_size;
    uint8_t *out = vlm_alloc((size_t)(3 * side * side));
    const vlm_image image = {S, S, pixels};
    if (!out) return NULL;
    if (side == S) memcpy(out, pixels, (size_t)(3 * side * side));
    else if (vlm_image_fit(&image, VLM_FIT_SQUARE, side, out, NULL, &t->error)) {
        vlm_free(out);
        return NULL;
    }
    return out;
}

/* Mean and deviation of patch p, pixels in [0, 1]: what the tokeniser's targets had taken from them. */
static void patch_range(const walk *w, const uint8_t *picture, int64_t p, double *mean,
                        double *deviation)
{
    int64_t size = w->t->config->model.patch, side = w->S / size;
    double sum = 0.0, square = 0.0, n = (double)(3 * size * size);
    for (int64_t i = 0; i < 3 * size * size; i++) {
        int64_t y = p / side * size + i / (3 * size), x = p % side * size + i / 3 % size;
        double v = picture[(y * w->S + x) * 3 + i % 3] / 255.0;
        sum += v;
        square += v * v;
    }
    *mean = sum / n;
    *deviation = fmax(sqrt(fmax(square / n - *mean * *mean, 0.0)), 1e-3);
}

/* Patch p of out from normalised values [3, size, size]. */
static void draw_patch(const walk *w, const uint8_t *picture, int64_t p, const float *values,
                       uint8_t *out)
{
    int64_t size = w->t->config->model.patch, side = w->S / size;
    double mean, deviation;
    patch_range(w, picture, p, &mean, &deviation);
    for (int64_t i = 0; i < 3 * size * size; i++) {
        int64_t c = i / (size * size), y = p / side * size + i / size % size,
                x = p % side * size + i % size;
        double v = 255.0 * (values[i] * deviation + mean);
        out[(y * w->S + x) * 3 + c] = (uint8_t)lround(fmin(fmax(v, 0.0), 255.0));
    }
}

/* The picture with the patches of which (NULL = all) drawn from codes [P]. */
static vlmoe_status draw_codes(walk *w, const uint8_t *picture, const int32_t *codes,
                               const uint8_t *which, uint8_t **out)
{
    int64_t patch_width = 3 * w->t->config->model.patch * w->t->config->model.patch;
    size_t bytes = (size_t)(3 * w->S * w->S);
    float *values = vlm_alloc_array((size_t)w->P, (size_t)patch_width * sizeof *values);
    uint8_t *drawn = vlm_alloc(bytes);
    vlmoe_status st = values && drawn ? VLMOE_OK : no_memory(w->t);
    if (!st) {
        st = vlm_tokeniser_decode(w->t->tokeniser, 1, codes, values);
        if (st) vlm_fail(&w->t->error, st, "%s", vlmoe_context_error(w->t->ctx));
    }
    if (!st) {
        memcpy(drawn, picture, bytes);
        for (int64_t p = 0; p < w->P; p++)
            if (!which || which[p]) draw_patch(w, picture, p, values + p * patch_width, drawn);
        *out = vlm_page_picture(w->t, drawn);
        if (!*out) st = no_memory(w->t);
    }
    vlm_free(values);
    vlm_free(drawn);
    return st;
}

/* ---- an example begins ---- */

static vlmoe_status add_picture(walk *w, const vlm_group *g, int64_t at, vlm_report_example *e)
{
    e->picture = vlm_page_picture(w->t, g->pixels + at * 3 * w->S * w->S);
    e->hidden = vlm_alloc((size_t)w->P);
    if (!e->picture || !e->hidden) return no_memory(w->t);
    e->side = vlm_page_side(w->t);
    e->grid = w->S / w->t->config->model.patch;
    if (w->t->model && g->patch_mask) memcpy(e->hidden, g->patch_mask + at * w->P, (size_t)w->P);
    for (int64_t p = 0; p < w->P; p++) e->n_hidden += e->hidden[p];
    return VLMOE_OK;
}

static vlmoe_status add_text(walk *w, const vlm_group *g, int64_t at, vlm_report_example *e)
{
    int64_t begin = g->text_offset[at], n = g->text_offset[at + 1] - begin;
    e->tokens = vlm_alloc_array((size_t)n, sizeof *e->tokens);
    if (!e->tokens) return no_memory(w->t);
    e->n_tokens = n;
    for (int64_t k = 0; k < n; k++) {
        vlm_report_token *token = &e->tokens[k];
        int32_t target = g->token_target[begin + k];
        token->is_hidden = target >= 0;
        vlm_page_piece(w->t->spm, target >= 0 ? target : g->token[begin + k], token->piece);
        vlm_page_piece(w->t->spm, g->token[begin + k], token->shown);
    }
    return VLMOE_OK;
}

static vlmoe_status add_example(walk *w, const vlm_group *g, int stream, int64_t i)
{
    vlm_report_example *e = &w->out->examples[w->out->n_examples];
    vlm_page_place *place = &w->place[w->out->n_examples];
    vlm_sample_view view = {0};
    const int64_t first[3] = {0, g->n_images + g->n_pairs, g->n_images};
    int64_t number = g->sample[first[stream] + i];
    if (!is_wanted(w, stream, number) || w->out->n_examples == VLM_PAGE_EXAMPLES) return VLMOE_OK;
    *place = (vlm_page_place){w->group,
                              stream == 0   ? i
                              : stream == 2 ? g->n_images + i
                                            : -1,
                              stream == 0 && !is_apart(w) ? -1
                              : stream == 2               ? i
                                                          : g->n_pairs + i};
    w->out->n_examples++;
    w->taken[stream]++;
    e->stream = stream;
    e->number = number;
    VLM_TRY(vlm_source_sample(w->t->val, is_apart(w) ? w->t->task->stream : stream, number, NULL,
                              &view, &w->t->error));
    snprintf(e->key, sizeof e->key, "%s", view.key ? view.key : "");
    if (place->picture >= 0) VLM_TRY(add_picture(w, g, place->picture, e));
    return place->text >= 0 && w->t->spm ? add_text(w, g, place->text, e) : VLMOE_OK;
}

/* ---- predictions ---- */

static void keep_best(const vlmoe_trainer *t, const double *logit, int64_t V, int32_t target,
                      vlm_report_token *token)
{
    double most = logit[0], sum = 0.0;
    int32_t best[VLM_REPORT_GUESSES];
    int n = 0;
    for (int64_t v = 0; v < V; v++) {
        most = fmax(most, logit[v]);
        int at = n < VLM_REPORT_GUESSES ? n++ : n;
        for (; at > 0 && logit[best[at - 1]] < logit[v]; at--)
            if (at < VLM_REPORT_GUESSES) best[at] = best[at - 1];
        if (at < VLM_REPORT_GUESSES) best[at] = (int32_t)v;
    }
    for (int64_t v = 0; v < V; v++) sum += exp(logit[v] - most);
    token->n_guesses = n;
    for (int i = 0; i < n; i++) {
        vlm_page_piece(t->spm, best[i], token->guess[i].piece);
        token->guess[i].share = exp(logit[best[i]] - most) / sum;
        token->guess[i].is_right = best[i] == target;
    }
}

static vlmoe_status download_row(vlmoe_trainer *t, const vlmoe_tensor *logits, int64_t row,
                                 double *out)
{
    int64_t V = vlm_cols(logits);
    size_t bytes = (size_t)V * vlm_dtype_bytes(logits->dtype);
    return vlm_download_wide(t->ctx, (const char *)logits->data + (size_t)row * bytes, V, out);
}

static vlmoe_status read_words(walk *w, const vlm_group *g, const vlm_masked *m, int example,
                               double *row)
{
    vlm_report_example *e = &w->out->examples[example];
    int64_t at = w->place[example].text;
    for (int64_t i = 0; i < m->n_words && e->tokens; i++) {
        int64_t k = m->word_row[i] - m->model.rows.text_begin - g->text_offset[at];
        if (k < 0 || k >= e->n_tokens) continue;
        VLM_TRY(download_row(w->t, m->word_logits, i, row));
        keep_best(w->t, row, vlm_cols(m->word_logits), m->word_target[i], &e->tokens[k]);
    }
    return VLMOE_OK;
}

/* codes [P]: on entry the picture's own, on return predicted ones where patches were hidden. */
static vlmoe_status read_codes(walk *w, const vlm_masked *m, int example, double *row,
                               int32_t *codes)
{
    vlm_report_example *e = &w->out->examples[example];
    for (int64_t i = 0; i < m->n_codes; i++) {
        int64_t p = m->code_row[i] - w->place[example].picture * (1 + w->P) - 1;
        if (p < 0 || p >= w->P) continue;
        VLM_TRY(download_row(w->t, m->code_logits, i, row));
        int64_t C = vlm_cols(m->code_logits), best = 0;
        for (int64_t c = 1; c < C; c++)
            if (row[c] > row[best]) best = c;
        codes[p] = (int32_t)best;
        e->n_right += best == m->code_target[i];
    }
    return VLMOE_OK;
}

/* Of the examples from first on; predicted [examples, P] codes. */
static vlmoe_status read_predictions(walk *w, const vlm_group *g, vlmoe_tape *tape, int first,
                                     int32_t *predicted)
{
    vlm_masked m = {0};
    vlm_masked_record(tape, w->t->model, w->t->config, g, w->t->codes, &m);
    VLM_TRY(vlmoe_tape_status(tape));
    int64_t classes = VLM_MAX(m.word_logits ? vlm_cols(m.word_logits) : 1,
                              m.code_logits ? vlm_cols(m.code_logits) : 1);
    double *row = vlm_tape_host(tape, (size_t)classes * sizeof *row);
    if (!row) return vlmoe_tape_status(tape);
    VLM_TRY(w->t->ctx->backend->sync(w->t->ctx->device, &w->t->ctx->error));
    for (int i = first; i < w->out->n_examples; i++) {
        if (w->place[i].text >= 0) VLM_TRY(read_words(w, g, &m, i, row));
        if (w->place[i].picture >= 0)
            VLM_TRY(read_codes(w, &m, i, row, predicted + (i - first) * w->P));
    }
    return VLMOE_OK;
}

static vlmoe_status predict_group(walk *w, const vlm_group *g, int first, int32_t *predicted)
{
    vlmoe_tape *tape = NULL;
    vlmoe_status st = vlmoe_tape_begin(w->t->ctx, VLMOE_PREDICT, &tape);
    if (!st) st = read_predictions(w, g, tape, first, predicted);
    if (st && !w->t->error.status) vlm_fail(&w->t->error, st, "%s", vlmoe_context_error(w->t->ctx));
    vlmoe_tape_end(tape);
    return st;
}

static vlmoe_status draw_examples(walk *w, const vlm_group *g, int first, const int32_t *predicted)
{
    for (int i = first; i < w->out->n_examples; i++) {
        vlm_report_example *e = &w->out->examples[i];
        int64_t at = w->place[i].picture;
        if (at < 0) continue;
        const uint8_t *picture = g->pixels + at * 3 * w->S * w->S;
        VLM_TRY(draw_codes(w, picture, w->t->codes + at * w->P, NULL, &e->decoded));
        if (w->t->model && e->n_hidden)
            VLM_TRY(
                draw_codes(w, picture, predicted + (i - first) * w->P, e->hidden, &e->predicted));
    }
    return VLMOE_OK;
}

/* ---- groups ---- */

static vlmoe_status count_codes(walk *w, const vlm_group *g)
{
    int64_t pictures = g->n_images + g->n_pairs;
    vlmoe_status st = vlm_tokeniser_codes(w->t->tokeniser, pictures, g->pixels, w->t->codes);
    if (st)
        return vlm_fail(&w->t->error, st, "image tokeniser: %s", vlmoe_context_error(w->t->ctx));
    for (int64_t i = 0; i < pictures * w->P; i++) w->out->code_count[w->t->codes[i]]++;
    return VLMOE_OK;
}

static vlmoe_status take_group(walk *w, const vlm_group *g)
{
    int first = w->out->n_examples;
    const int64_t n[3] = {g->n_images, g->n_texts, g->n_pairs};
    w->out->samples[0] += g->n_images;
    w->out->samples[1] += g->n_texts;
    w->out->samples[2] += g->n_pairs;
    if (w->t->tokeniser) VLM_TRY(count_codes(w, g));
    for (int stream = 0; stream < 3; stream++)
        for (int64_t i = 0; i < n[stream]; i++) VLM_TRY(add_example(w, g, stream, i));
    if (w->out->n_examples == first) return VLMOE_OK;
    int64_t pictures = w->out->n_examples - first;
    int32_t *predicted = vlm_alloc_array((size_t)(pictures * w->P), sizeof *predicted);
    if (!predicted) return no_memory(w->t);
    for (int i = first; i < w->out->n_examples && w->t->tokeniser; i++)
        if (w->place[i].picture >= 0)
            memcpy(predicted + (i - first) * w->P, w->t->codes + w->place[i].picture * w->P,
                   (size_t)w->P * sizeof *predicted);
    vlmoe_status st = w->t->model && !w->t->head ? predict_group(w, g, first, predicted) : VLMOE_OK;
    if (!st && w->t->tokeniser) st = draw_examples(w, g, first, predicted);
    vlm_free(predicted);
    return st;
}

vlmoe_status vlm_page_predict(vlmoe_trainer *t, vlm_report_model *out,
                              vlm_page_place place[VLM_PAGE_EXAMPLES])
{
    int64_t grid = t->config->model.image_size / t->config->model.patch;
    walk w = {
        .t = t, .out = out, .place = place, .S = t->config->model.image_size, .P = grid * grid};
    t->error = (vlmoe_error){VLMOE_OK, ""};
    out->examples = vlm_alloc_array(VLM_PAGE_EXAMPLES, sizeof *out->examples);
    out->codes = t->tokeniser ? t->config->tokeniser.codes : 0;
    out->code_count = vlm_alloc_array((size_t)out->codes + 1, sizeof *out->code_count);
    out->has_decoder = t->tokeniser != NULL;
    if (!out->examples || !out->code_count) return no_memory(t);
    if (t->head) choose_judged(&w);
    else choose_numbers(&w);
    VLM_TRY(vlm_source_seek(t->val, 0, &t->error));
    for (const vlm_group *g = NULL;; w.group++) {
        VLM_TRY(vlm_source_next(t->val, &g, &t->error));
        if (!g) return VLMOE_OK;
        VLM_TRY(take_group(&w, g));
    }
}
