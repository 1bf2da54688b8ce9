/* Words hidden, predicted with three kinds of picture. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base_json.h"
#include "base_hash.h"
#include "base_rng.h"
#include "train_words.h"

const char *const vlm_picture_names[VLM_N_PICTURES] = {"right", "shuffled", "none"};

void vlm_words_free(vlm_words_result *result)
{
    vlm_free(result->examples);
    vlm_free(result->tokens.begin);
    vlm_free(result->tokens.token);
    vlm_free(result->tokens.hidden);
    for (int i = 0; i < VLM_N_PICTURES; i++) vlm_free(result->tokens.predicted[i]);
    *result = (vlm_words_result){0};
}

static bool reserve_tokens(int64_t n, int64_t text_len, vlm_words_tokens *out)
{
    size_t all = (size_t)(n * text_len);
    out->begin = vlm_alloc_array((size_t)n + 1, sizeof *out->begin);
    out->token = vlm_alloc_array(all, sizeof *out->token);
    out->hidden = vlm_alloc(all);
    bool is_whole = out->begin && out->token && out->hidden;
    for (int i = 0; i < VLM_N_PICTURES; i++) {
        out->predicted[i] = vlm_alloc_array(all, sizeof *out->predicted[i]);
        is_whole = is_whole && out->predicted[i];
    }
    return is_whole;
}

/* One batch of pairs on the host: a pairs-only input of the encoder, filled again for each kind of picture. */
typedef struct batch {
    int64_t n, first;
    int64_t picture_bytes, patches, text_len;
    uint8_t *pixels, *patch_mask;
    int32_t *token, *target, *offset;
    int32_t *row, *row_target, *row_pair, *row_token; /* hidden pieces */
    int32_t *row_best;                                /* predicted, when tokens are kept */
    int64_t n_rows;
} batch;

static void free_batch(batch *b)
{
    vlm_free(b->pixels);
    vlm_free(b->patch_mask);
    vlm_free(b->token);
    vlm_free(b->target);
    vlm_free(b->offset);
    vlm_free(b->row);
    vlm_free(b->row_target);
    vlm_free(b->row_pair);
    vlm_free(b->row_token);
    vlm_free(b->row_best);
}

static vlmoe_status make_batch(vlmoe_trainer *t, int64_t n, batch *b)
{
    const vlm_cfg_model *m = &t->config->model;
    int64_t grid = m->image_size / m->patch;
    *b = (batch){.picture_bytes = 3 * m->image_size * m->image_size,
                 .patches = grid * grid,
                 .text_len = m->text_len};
    size_t tokens = (size_t)(n * m->text_len);
    b->pixels = vlm_alloc_array((size_t)n, (size_t)b->picture_bytes);
    b->patch_mask = vlm_alloc_array((size_t)n, (size_t)b->patches);
    b->token = vlm_alloc_array(tokens, sizeof *b->token);
    b->target = vlm_alloc_array(tokens, sizeof *b->target);
    b->offset = vlm_alloc_array((size_t)n + 1, sizeof *b->offset);
    b->row = vlm_alloc_array(tokens, sizeof *b->row);
    b->row_target = vlm_alloc_array(tokens, sizeof *b->row_target);
    b->row_pair = vlm_alloc_array(tokens, sizeof *b->row_pair);
    b->row_token = vlm_alloc_array(tokens, sizeof *b->row_token);
    b->row_best = vlm_alloc_array(tokens, sizeof *b->row_best);
    bool is_whole = b->pixels && b->patch_mask && b->token && b->target && b->offset && b->row &&
                    b->row_target && b->row_pair && b->row_token && b->row_best;
    return is_whole ? VLMOE_OK
                    : vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for an evaluation");
}

/* ---- which picture is another concept's ---- */

static uint64_t concept_of(const vlm_sample_view *view)
{
    vlm_json *doc = NULL;
    uint64_t hash = vlm_hash64(view->text, view->text_bytes);
    if (view->json && !vlm_json_parse(view->json, view->json_bytes, "json", false, &doc, NULL)) {
        const char *concept = vlm_json_text(vlm_json_get(vlm_json_root(doc), "concept"));
        if (concept) hash = vlm_hash64(concept, strlen(concept));
    }
    vlm_json_free(doc);
    return hash;
}

static vlmoe_status choose_others(vlmoe_trainer *t, const vlm_words_params *p, vlm_words_result *r)
{
    uint64_t *concept = vlm_alloc_array((size_t)r->n, sizeof *concept);
    if (!concept) return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for an evaluation");
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < r->n && !st; i++) {
        vlm_sample_view view = {0};
        st = vlm_source_sample(t->val, 2, i, NULL, &view, &t->error);
        if (!st) concept[i] = concept_of(&view);
    }
    for (int64_t i = 0; i < r->n && !st; i++) {
        vlm_rng rng = vlm_rng_at(p->seed, VLM_STREAM_EVAL, (uint64_t)i, 1, 0);
        int64_t at = (int64_t)vlm_rng_below(&rng, (uint64_t)r->n), tries = 0;
        while (concept[at] == concept[i] && tries++ < r->n) at = (at + 1) % r->n;
        r->examples[i].other = at;
        if (concept[at] == concept[i])
            st = vlm_fail(
                &t->error, VLMOE_E_ARG,
                "all held-out pairs are of one concept: there is no other picture to show");
    }
    vlm_free(concept);
    return st;
}

/* ---- hiding ---- */

static void hide(vlmoe_trainer *t, const vlm_words_params *p, batch *b, int64_t i, int64_t n_tokens)
{
    int32_t *token = b->token + b->offset[i], *target = b->target + b->offset[i];
    int64_t maskable = n_tokens - 2,
            left = maskable > 0 ? VLM_MAX((int64_t)1, (int64_t)llround(p->rate * (double)maskable))
                                : 0;
    vlm_rng rng = vlm_rng_at(p->seed, VLM_STREAM_EVAL, (uint64_t)(b->first + i), 2, 0);
    for (int64_t k = 0; k < n_tokens; k++) {
        bool is_open = k > 0 && k < n_tokens - 1;
        bool is_hidden = is_open && (int64_t)vlm_rng_below(&rng, (uint64_t)(n_tokens - 1 - k)) <
                                        left; /* selection sampling */
        target[k] = is_hidden ? token[k] : -1;
        if (!is_hidden) continue;
        left--;
        b->row_pair[b->n_rows] = (int32_t)i;
        b->row_token[b->n_rows] = b->offset[i] + (int32_t)k;
        b->row_target[b->n_rows++] = token[k];
        token[k] = vlm_spm_special(t->spm).mask;
    }
}

static vlmoe_status fill_texts(vlmoe_trainer *t, const vlm_words_params *p, batch *b)
{
    b->offset[0] = 0;
    b->n_rows = 0;
    for (int64_t i = 0; i < b->n; i++) {
        vlm_sample_view view = {0};
        int64_t n = 0, n_all = 0;
        VLM_TRY(vlm_source_sample(t->val, 2, b->first + i, NULL, &view, &t->error));
        VLM_TRY(vlm_spm_encode(t->spm, view.text, view.text_bytes, b->text_len,
                               b->token + b->offset[i], &n, &n_all, &t->error));
        b->offset[i + 1] = b->offset[i] + (int32_t)n;
        hide(t, p, b, i, n);
    }
    return VLMOE_OK;
}

static vlmoe_status fill_pictures(vlmoe_trainer *t, const vlm_words_result *r, int picture,
                                  batch *b)
{
    memset(b->patch_mask, picture == VLM_PICTURE_NONE, (size_t)(b->n * b->patches));
    for (int64_t i = 0; i < b->n; i++) {
        vlm_sample_view view = {0};
        int64_t from =
            picture == VLM_PICTURE_SHUFFLED ? r->examples[b->first + i].other : b->first + i;
        VLM_TRY(
            vlm_source_sample(t->val, 2, from, b->pixels + i * b->picture_bytes, &view, &t->error));
    }
    return VLMOE_OK;
}

/* ---- predicting ---- */

/* The likeliest piece of each row, lowest id among equals, as the kernels count what is right. */
static vlmoe_status read_best(vlmoe_trainer *t, vlmoe_tape *tape, const vlmoe_tensor *logits,
                              batch *b)
{
    int64_t V = vlm_cols(logits);
    size_t bytes = (size_t)V * vlm_dtype_bytes(logits->dtype);
    double *row = vlm_tape_host(tape, (size_t)V * sizeof *row);
    if (!row) return vlmoe_tape_status(tape);
    for (int64_t i = 0; i < b->n_rows; i++) {
        VLM_TRY(vlm_download_wide(t->ctx, (const char *)logits->data + (size_t)i * bytes, V, row));
        int64_t best = 0;
        for (int64_t v = 1; v < V; v++)
            if (row[v] > row[best]) best = v;
        b->row_best[i] = (int32_t)best;
    }
    return VLMOE_OK;
}

static vlmoe_status predict(vlmoe_trainer *t, vlmoe_tape *tape, batch *b, bool wants_best,
                            float *nll, int32_t *right)
{
    const vlm_mome_inputs inputs = {.n_pairs = b->n,
                                    .pixels = b->pixels,
                                    .patch_mask = b->patch_mask,
                                    .token = b->token,
                                    .text_offset = b->offset};
    vlm_mome_output out = {0};
    vlm_ce_result ce = {0};
    vlm_mome_encode(tape, t->model, &inputs, false, &out);
    VLM_TRY(vlmoe_tape_status(tape));
    for (int64_t i = 0; i < b->n_rows; i++)
        b->row[i] = (int32_t)out.rows.text_begin + b->row_token[i];
    size_t bytes = (size_t)b->n_rows * sizeof(int32_t);
    const int32_t *d_row = vlm_tape_upload(tape, b->row, bytes),
                  *d_target = vlm_tape_upload(tape, b->row_target, bytes);
    void *d_weight = vlm_tape_device(tape, (size_t)b->n_rows * sizeof(float));
    if (d_weight)
        VLM_TRY(t->ctx->backend->zero(t->ctx->device, d_weight, (size_t)b->n_rows * sizeof(float)));
    vlmoe_tensor *rows =
        d_row ? vlm_gather_sum(tape, 1, &out.hidden, &d_row, b->n_rows, t->ctx->compute) : NULL;
    vlmoe_tensor *logits = vlm_mome_word_logits(tape, t->model, rows);
    vlm_cross_entropy_rows(tape, logits, d_target, d_weight, &ce);
    VLM_TRY(vlmoe_tape_status(tape));
    if (wants_best) VLM_TRY(read_best(t, tape, logits, b));
    VLM_TRY(
        t->ctx->backend->download(t->ctx->device, nll, ce.d_nll, (size_t)b->n_rows * sizeof *nll));
    return t->ctx->backend->download(t->ctx->device, right, ce.d_correct, bytes);
}

static bool ends_first_word(const vlmoe_trainer *t, const batch *b, int64_t row)
{
    int32_t begin = b->offset[b->row_pair[row]] + 1,
            at = b->row_token[row]; /* the first word: pieces up to the next that starts a word */
    for (int32_t k = begin + 1; k <= at; k++) {
        int32_t id = b->target[k] >= 0 ? b->target[k] : b->token[k];
        if (vlm_spm_starts_word(t->spm, id)) return true;
    }
    return false;
}

static bool starts_word(const vlmoe_trainer *t, const batch *b, int64_t row)
{
    return vlm_spm_starts_word(t->spm, b->row_target[row]) ||
           b->row_token[row] == b->offset[b->row_pair[row]] + 1;
}

/* Is the piece after this one hidden too and part of the same word, or does the word end here? A word with an open piece is not counted. */
static bool word_is_whole(const vlmoe_trainer *t, const batch *b, int64_t first, int64_t *end)
{
    int64_t row = first + 1;
    while (row < b->n_rows && b->row_pair[row] == b->row_pair[first] &&
           b->row_token[row] == b->row_token[row - 1] + 1 && !starts_word(t, b, row))
        row++;
    *end = row;
    int32_t next = b->row_token[row - 1] + 1, last = b->offset[b->row_pair[first] + 1] - 1;
    return next >= last || b->target[next] >= 0 || vlm_spm_starts_word(t->spm, b->token[next]);
}

static void count(const vlmoe_trainer *t, const batch *b, int picture, const float *nll,
                  const int32_t *right, vlm_words_result *r)
{
    for (int64_t i = 0; i < b->n; i++) r->examples[b->first + i].first_right[picture] = 1;
    for (int64_t i = 0; i < b->n_rows; i++) {
        vlm_words_example *e = &r->examples[b->first + b->row_pair[i]];
        bool is_first = !ends_first_word(t, b, i);
        e->pieces += picture == 0;
        e->first_pieces += picture == 0 && is_first;
        e->right[picture] += right[i];
        e->nll[picture] += nll[i];
        if (is_first && !right[i]) e->first_right[picture] = 0;
    }
    for (int64_t i = 0, end; i < b->n_rows; i++) {
        vlm_words_example *e = &r->examples[b->first + b->row_pair[i]];
        if (!starts_word(t, b, i) || !word_is_whole(t, b, i, &end)) continue;
        bool is_right = true;
        for (int64_t k = i; k < end; k++) is_right = is_right && right[k];
        e->words += picture == 0;
        e->words_right[picture] += is_right;
    }
}

/* Texts of the batch as they were before hiding, behind those of earlier batches. */
static void keep_texts(const batch *b, vlm_words_tokens *out)
{
    int64_t begin = out->begin[b->first];
    for (int64_t k = 0; k < b->offset[b->n]; k++) {
        out->hidden[begin + k] = b->target[k] >= 0;
        out->token[begin + k] = b->target[k] >= 0 ? b->target[k] : b->token[k];
        for (int i = 0; i < VLM_N_PICTURES; i++)
            out->predicted[i][begin + k] = out->token[begin + k];
    }
    for (int64_t i = 0; i < b->n; i++) out->begin[b->first + i + 1] = begin + b->offset[i + 1];
}

static void keep_best(const batch *b, int picture, vlm_words_tokens *out)
{
    int64_t begin = out->begin[b->first];
    for (int64_t i = 0; i < b->n_rows; i++)
        out->predicted[picture][begin + b->row_token[i]] = b->row_best[i];
}

static vlmoe_status run_batch(vlmoe_trainer *t, const vlm_words_params *p, batch *b,
                              vlm_words_result *r)
{
    float *nll = vlm_alloc_array((size_t)(b->n * b->text_len), sizeof *nll);
    int32_t *right = vlm_alloc_array((size_t)(b->n * b->text_len), sizeof *right);
    vlmoe_status st = nll && right
                          ? fill_texts(t, p, b)
                          : vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for an evaluation");
    if (!st && p->keep_tokens && r->tokens.begin) keep_texts(b, &r->tokens);
    for (int picture = 0; picture < VLM_N_PICTURES && !st; picture++) {
        vlmoe_tape *tape = NULL;
        st = fill_pictures(t, r, picture, b);
        if (!st) st = vlmoe_tape_begin(t->ctx, VLMOE_PREDICT, &tape);
        if (!st) st = predict(t, tape, b, p->keep_tokens, nll, right);
        vlmoe_tape_end(tape);
        if (!st) count(t, b, picture, nll, right, r);
        if (!st && p->keep_tokens) keep_best(b, picture, &r->tokens);
        if (st && !t->error.status) vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    }
    vlm_free(nll);
    vlm_free(right);
    return st;
}

vlmoe_status vlm_words_evaluate(vlmoe_trainer *t, const vlm_words_params *p, vlm_words_result *out)
{
    vlm_words_result r = {0};
    batch b = {0};
    t->error = (vlmoe_error){VLMOE_OK, ""};
    if (!t->model || !t->spm || !t->val || !vlm_source_samples(t->val, 2))
        return vlm_fail(
            &t->error, VLMOE_E_STATE,
            "this evaluation needs a pretrained model and held-out pairs: set data.val_pairs");
    int64_t all = vlm_source_samples(t->val, 2), size = p->batch > 0 ? p->batch : 32;
    r.n = p->limit > 0 ? VLM_MIN(p->limit, all) : all;
    r.examples = vlm_alloc_array((size_t)r.n, sizeof *r.examples);
    bool has_room = r.examples &&
                    (!p->keep_tokens || reserve_tokens(r.n, t->config->model.text_len, &r.tokens));
    vlmoe_status st = has_room
                          ? make_batch(t, size, &b)
                          : vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for an evaluation");
    if (!st) st = choose_others(t, p, &r);
    for (b.first = 0; b.first < r.n && !st; b.first += size) {
        b.n = VLM_MIN(size, r.n - b.first);
        st = run_batch(t, p, &b, &r);
    }
    free_batch(&b);
    if (st) vlm_words_free(&r);
    else *out = r;
    return st;
}

/* ---- figures ---- */

static void add_example(const vlm_words_example *e, vlm_words_measure measure, int picture,
                        double *right, double *all)
{
    if (measure == VLM_WORDS_PIECES) {
        *right += e->right[picture];
        *all += e->pieces;
    } else if (measure == VLM_WORDS_WHOLE) {
        *right += e->words_right[picture];
        *all += e->words;
    } else if (e->first_pieces) {
        *right += e->first_right[picture];
        *all += 1;
    }
}

double vlm_words_share(const vlm_words_result *r, vlm_words_measure measure, int picture)
{
    double right = 0, all = 0;
    for (int64_t i = 0; i < r->n; i++) add_example(&r->examples[i], measure, picture, &right, &all);
    return all > 0 ? right / all : NAN;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

vlm_interval vlm_words_difference(const vlm_words_result *r, vlm_words_measure measure, int a,
                                  int b, int n_resamples, uint64_t seed)
{
    vlm_interval out = {vlm_words_share(r, measure, a) - vlm_words_share(r, measure, b), NAN, NAN};
    double *draws = vlm_alloc_array((size_t)n_resamples, sizeof *draws);
    if (!draws || n_resamples < 40) {
        vlm_free(draws);
        return out;
    }
    for (int k = 0; k < n_resamples; k++) {
        vlm_rng rng = vlm_rng_at(seed, VLM_STREAM_BOOTSTRAP, (uint64_t)k, 0, 0);
        double right_a = 0, right_b = 0, all = 0, again = 0;
        for (int64_t i = 0; i < r->n; i++) {
            const vlm_words_example *e = &r->examples[vlm_rng_below(&rng, (uint64_t)r->n)];
            add_example(e, measure, a, &right_a, &all);
            add_example(e, measure, b, &right_b, &again);
        }
        draws[k] = all > 0 ? (right_a - right_b) / all : 0.0;
    }
    qsort(draws, (size_t)n_resamples, sizeof *draws, by_value);
    out.low = draws[n_resamples / 40];
    out.high = draws[n_resamples - 1 - n_resamples / 40];
    vlm_free(draws);
    return out;
}
