/* Digests of steps, and what differs between two of them. */
#include "train_digest.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_hash.h"
#include "base_json.h"
#include "train_params.h"

/* ---- numbers ---- */

static void put(vlm_digest *d, vlm_digest_kind kind, double value, const char *name)
{
    vlm_digest_number *n = &d->numbers[d->n_numbers++];
    n->kind = kind;
    n->value = value;
    snprintf(n->name, sizeof n->name, "%s", name);
}

static void put_layer(vlm_digest *d, vlm_digest_kind kind, double value, const char *what,
                      const vlm_layer_sum *layer)
{
    char name[64];
    snprintf(name, sizeof name, "%s of block %lld, %s", what, (long long)layer->block,
             layer->modality == 'v' ? "vision" : "text");
    put(d, kind, value, name);
}

/* What has a name of its own first, the loss that sums it up behind. */
static vlmoe_status take_numbers(vlm_digest *d, const vlmoe_step_report *r, const vlm_tally *tally,
                                 vlmoe_error *error)
{
    char name[64];
    const int most = 2 * VLM_N_PARTS + 7 + 2 * tally->n_layers;
    d->numbers = vlm_alloc_array((size_t)most, sizeof *d->numbers);
    if (!d->numbers) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a digest");
    for (int i = 0; i < VLM_N_PARTS; i++) {
        snprintf(name, sizeof name, "loss of %s", vlm_part_names[i]);
        put(d, VLM_DIGEST_LOSS, r->part_loss[i], name);
        snprintf(name, sizeof name, "share right of %s", vlm_part_names[i]);
        put(d, VLM_DIGEST_LOSS, r->part_right[i], name);
    }
    put(d, VLM_DIGEST_LOSS, r->reconstruction, "loss of reconstruction");
    put(d, VLM_DIGEST_LOSS, r->commitment, "loss of commitment");
    for (int i = 0; i < tally->n_layers; i++) {
        double sum = 0.0;
        for (int l = 0; l < VLMK_N_LOSSES; l++) sum += tally->layers[i].losses[l];
        put_layer(d, VLM_DIGEST_LOSS, sum, "balance losses", &tally->layers[i]);
    }
    put(d, VLM_DIGEST_LOSS, r->loss, "loss");
    for (int i = 0; i < tally->n_layers; i++)
        put_layer(d, VLM_DIGEST_DROPS, tally->layers[i].dropped, "dropped choices",
                  &tally->layers[i]);
    put(d, VLM_DIGEST_NORM, r->grad_norm, "gradient norm");
    return VLMOE_OK;
}

static double hash_number(const float *x, int64_t n)
{
    return (double)(vlm_hash64(x, (size_t)n * sizeof *x) >> 11); /* whole numbers to 2^53 */
}

/* What is trained but is no parameter. */
static vlmoe_status take_codebook(const vlmoe_trainer *t, vlm_digest *d, vlmoe_error *error)
{
    vlm_codebook_state s = {0};
    if (t->model || !t->tokeniser) return VLMOE_OK;
    vlmoe_status st = vlm_tokeniser_state(t->tokeniser, &s);
    if (st) return vlm_fail(error, st, "code book: %s", vlmoe_context_error(t->ctx));
    put(d, VLM_DIGEST_STATE, hash_number(s.code, s.codes * s.code_dim), "codes of the code book");
    put(d, VLM_DIGEST_STATE, hash_number(s.count, s.codes), "counts of the code book");
    put(d, VLM_DIGEST_STATE, hash_number(s.sum, s.codes * s.code_dim), "sums of the code book");
    return VLMOE_OK;
}

/* ---- tensors ---- */

typedef struct reader {
    const vlmoe_context *ctx;
    char *host; /* [VLMK_NORM_BLOCK] of the widest type */
} reader;

static vlmoe_status read_block(const reader *r, const void *from, int64_t first, int64_t n,
                               size_t element)
{
    const char *at = (const char *)from + (size_t)first * element;
    return r->ctx->backend->download(r->ctx->device, r->host, at, (size_t)n * element);
}

static vlmoe_status hash_block(const reader *r, const void *from, int64_t first, int64_t n,
                               vlmoe_dtype dtype, uint64_t *out)
{
    const size_t element = vlm_dtype_bytes(dtype);
    VLM_TRY(read_block(r, from, first, n, element));
    *out = vlm_hash64(r->host, (size_t)n * element);
    return VLMOE_OK;
}

static double square_sum(const reader *r, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        float single;
        double x;
        if (r->ctx->wide == VLMOE_F64) {
            memcpy(&x, r->host + (size_t)i * sizeof x, sizeof x);
        } else {
            memcpy(&single, r->host + (size_t)i * sizeof single, sizeof single);
            x = single;
        }
        sum += x * x;
    }
    return sum;
}

static vlmoe_status digest_piece(const reader *r, const vlm_piece *piece, vlm_digest_block *out)
{
    const vlmoe_context *ctx = r->ctx;
    const bool has_moments = piece->param->trained && ctx->moments;
    for (int64_t at = 0; at < piece->n; at += VLMK_NORM_BLOCK, out++) {
        const int64_t n = VLM_MIN((int64_t)VLMK_NORM_BLOCK, piece->n - at);
        *out = (vlm_digest_block){{0}, 0.0};
        VLM_TRY(hash_block(r, piece->value, at, n, ctx->wide, &out->hash[0]));
        for (int k = 0; k < 2 && has_moments; k++)
            VLM_TRY(hash_block(r, vlm_piece_moment(ctx, piece, k), at, n, ctx->moment_dtype,
                               &out->hash[1 + k]));
        if (!piece->grad) continue;
        VLM_TRY(read_block(r, piece->grad, at, n, vlm_dtype_bytes(ctx->wide)));
        out->square = square_sum(r, n);
    }
    return VLMOE_OK;
}

/* What this rank owns, in the order of pieces. */
static vlmoe_status digest_own(const vlmoe_context *ctx, vlm_digest_block *out, vlmoe_error *error)
{
    const reader r = {ctx, vlm_alloc(VLMK_NORM_BLOCK * sizeof(double))};
    vlmoe_status st = r.host ? VLMOE_OK : VLMOE_E_NOMEM;
    for (int64_t i = 0; i < ctx->n_pieces && !st; i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        if (!vlm_piece_is_mine(piece, vlm_ctx_rank(ctx))) continue;
        st = digest_piece(&r, piece, out);
        out += vlm_piece_blocks(piece);
    }
    vlm_free(r.host);
    return st ? vlm_fail(error, st, "reading tensors for a digest failed") : VLMOE_OK;
}

static vlmoe_status gather(const vlmoe_trainer *t, const vlm_digest_block *mine, int64_t n_mine,
                           vlm_digest *d, vlmoe_error *error)
{
    const vlmoe_context *ctx = t->ctx;
    char *all = NULL;
    size_t *at = vlm_alloc_array((size_t)t->seat->size + 1, sizeof *at);
    vlm_digest_block *out = d->blocks;
    if (!at) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a digest");
    vlmoe_status st = vlm_comm_share_blocks(t->seat->world, "digests of tensors", mine,
                                            (size_t)n_mine * sizeof *mine, &all, at, error);
    for (int64_t i = 0; i < ctx->n_pieces && !st; i++) {
        const vlm_piece *piece = &ctx->pieces[i];
        const int64_t n = vlm_piece_blocks(piece);
        memcpy(out, all + at[piece->owner], (size_t)n * sizeof *out);
        at[piece->owner] += (size_t)n * sizeof *out;
        out += n;
    }
    vlm_free(all);
    vlm_free(at);
    return st;
}

static vlmoe_status take_blocks(const vlmoe_trainer *t, vlm_digest *d, vlmoe_error *error)
{
    const vlmoe_context *ctx = t->ctx;
    int64_t n_mine = 0;
    for (int64_t i = 0; i < ctx->n_pieces; i++) {
        const int64_t n = vlm_piece_blocks(&ctx->pieces[i]);
        d->n_blocks += n;
        if (vlm_piece_is_mine(&ctx->pieces[i], vlm_ctx_rank(ctx))) n_mine += n;
    }
    d->blocks = vlm_alloc_array((size_t)d->n_blocks, sizeof *d->blocks);
    if (!d->blocks) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a digest");
    if (!t->seat) return digest_own(ctx, d->blocks, error);
    vlm_digest_block *mine = vlm_alloc_array((size_t)VLM_MAX(n_mine, 1), sizeof *mine);
    vlmoe_status st = mine ? digest_own(ctx, mine, error)
                           : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a digest");
    if (!st) st = gather(t, mine, n_mine, d, error);
    vlm_free(mine);
    return st;
}

vlmoe_status vlm_digest_take(vlmoe_trainer *t, const vlmoe_step_report *report,
                             const vlm_tally *tally, vlm_digest *out, vlmoe_error *error)
{
    vlm_digest d = {.step = t->step};
    vlmoe_status st = report ? take_numbers(&d, report, tally, error) : VLMOE_OK;
    if (!st && report) st = take_codebook(t, &d, error);
    if (!st) st = take_blocks(t, &d, error);
    if (st) vlm_digest_free(&d);
    else *out = d;
    return st;
}

void vlm_digest_free(vlm_digest *d)
{
    vlm_free(d->numbers);
    vlm_free(d->blocks);
    *d = (vlm_digest){0};
}

/* ---- what differs ---- */

static void put_two(vlm_text *out, double here, double alone)
{
    char a[40], b[40];
    for (int digits = 6; digits <= 18; digits += 4) {
        snprintf(a, sizeof a, "%.*g", digits, here);
        snprintf(b, sizeof b, "%.*g", digits, alone);
        if (strcmp(a, b)) break;
    }
    vlm_text_put(out, "%s here, %s on one rank", a, b);
}

/* Zeros of either sign are two numbers here; all that are none are one. */
static bool is_same(double a, double b)
{
    return (a == b && signbit(a) == signbit(b)) || (isnan(a) && isnan(b));
}

static void put_number(vlm_text *out, const vlm_digest_number *a, double alone, bool is_only_sum)
{
    if (a->kind == VLM_DIGEST_STATE) {
        vlm_text_put(out, "; %s differ", a->name);
        return;
    }
    vlm_text_put(out, "; %s: ", a->name);
    put_two(out, a->value, alone);
    if (is_only_sum) vlm_text_put(out, ", though its parts are equal but for their weights");
}

/* The first number of each kind. */
static void compare_numbers(const vlm_digest *here, const vlm_digest *alone, vlm_text *out)
{
    for (vlm_digest_kind kind = VLM_DIGEST_LOSS; kind <= VLM_DIGEST_STATE; kind++)
        for (int i = 0; i < VLM_MAX(here->n_numbers, alone->n_numbers); i++) {
            const bool has_both = i < here->n_numbers && i < alone->n_numbers;
            const vlm_digest_number *a = &here->numbers[i], *b = &alone->numbers[i];
            if (!has_both || strcmp(a->name, b->name)) {
                vlm_text_put(out, "; other layers route");
                return;
            }
            if (a->kind != kind || is_same(a->value, b->value)) continue;
            put_number(out, a, b->value, !strcmp(a->name, "loss"));
            break;
        }
}

typedef struct comparison {
    const vlm_digest *here, *alone;
    double scale; /* of gradients */
    int64_t at;   /* first block of the present tensor */
    int64_t n_tensors, n_different;
    int64_t first;     /* tensor that differs */
    int64_t n_walked;  /* by the second walk */
    bool has_gradient; /* one that differs was found */
    vlm_text *out;
} comparison;

static double norm_of(const comparison *c, const vlm_digest *d, int64_t n_blocks)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n_blocks; i++) sum += d->blocks[c->at + i].square;
    return c->scale * sqrt(sum);
}

/* The first block in which a hash differs, and which of them; n when there is none. */
static int64_t first_block(const comparison *c, int64_t n, bool differs[3])
{
    for (int64_t i = 0; i < n; i++) {
        const vlm_digest_block *a = &c->here->blocks[c->at + i], *b = &c->alone->blocks[c->at + i];
        for (int k = 0; k < 3; k++) differs[k] = a->hash[k] != b->hash[k];
        if (differs[0] || differs[1] || differs[2]) return i;
    }
    return n;
}

static void put_tensor(const comparison *c, const char *name, int64_t n, int64_t block,
                       const bool differs[3])
{
    static const char *const names[] = {"values", "first moment", "second moment"};
    const char *between = "";
    vlm_text_put(c->out, "; %s differs (", name);
    for (int k = 0; k < 3; k++) {
        if (!differs[k]) continue;
        vlm_text_put(c->out, "%s%s", between, names[k]);
        between = ", ";
    }
    vlm_text_put(c->out, "), block %lld of %lld", (long long)block + 1, (long long)n);
    if (!c->here->n_numbers) return;
    const double here = norm_of(c, c->here, n), alone = norm_of(c, c->alone, n);
    vlm_text_put(c->out, "; its gradient norm ");
    if (is_same(here, alone)) vlm_text_put(c->out, "%.6g on both", here);
    else put_two(c->out, here, alone);
}

static vlmoe_status compare_tensor(void *arg, const vlm_file_tensor *tensor)
{
    comparison *c = arg;
    bool differs[3];
    int64_t n = 0;
    for (int64_t i = 0; i < tensor->n_pieces; i++) n += vlm_piece_blocks(&tensor->pieces[i]);
    const int64_t block = first_block(c, n, differs);
    if (block < n && !c->n_different++) {
        c->first = c->n_tensors;
        put_tensor(c, tensor->name, n, block, differs);
    }
    c->n_tensors++;
    c->at += n;
    return VLMOE_OK;
}

/* Values may differ everywhere though one gradient is wrong, when all are clipped by the norm. */
static vlmoe_status compare_gradient(void *arg, const vlm_file_tensor *tensor)
{
    comparison *c = arg;
    int64_t n = 0;
    for (int64_t i = 0; i < tensor->n_pieces; i++) n += vlm_piece_blocks(&tensor->pieces[i]);
    for (int64_t i = 0; i < n && !c->has_gradient; i++) {
        if (is_same(c->here->blocks[c->at + i].square, c->alone->blocks[c->at + i].square))
            continue;
        c->has_gradient = true;
        if (c->n_different && c->n_walked == c->first) break; /* said already */
        vlm_text_put(c->out, "; the first gradient that differs is that of %s, norm ",
                     tensor->name);
        put_two(c->out, norm_of(c, c->here, n), norm_of(c, c->alone, n));
    }
    c->at += n;
    c->n_walked++;
    return VLMOE_OK;
}

static void put_findings(const comparison *c, vlm_text *out)
{
    if (c->out->failed) {
        out->failed = true;
        return;
    }
    if (c->here->n_numbers) vlm_text_put(out, "step %lld", (long long)c->here->step);
    else vlm_text_put(out, "before the first step");
    vlm_text_put(out, ":%s; in all %lld of %lld tensors differ", c->out->data + 1,
                 (long long)c->n_different, (long long)c->n_tensors);
    if (c->here->n_numbers && !c->has_gradient) vlm_text_put(out, ", but no gradient");
}

vlmoe_status vlm_digest_compare(const vlmoe_trainer *one, const vlm_digest *here,
                                const vlm_digest *alone, vlm_text *out, vlmoe_error *error)
{
    vlm_text found = {0};
    comparison c = {.here = here,
                    .alone = alone,
                    .scale = 1.0 / (double)one->config->run.groups,
                    .out = &found};
    if (here->n_blocks != alone->n_blocks)
        return vlm_fail(error, VLMOE_E_INTERNAL, "a digest of %lld blocks, and one of %lld",
                        (long long)here->n_blocks, (long long)alone->n_blocks);
    compare_numbers(here, alone, &found);
    vlmoe_status st = vlm_file_tensors_walk(one->ctx, false, compare_tensor, &c, error);
    c.at = 0;
    if (!st) st = vlm_file_tensors_walk(one->ctx, false, compare_gradient, &c, error);
    if (!st && (found.bytes || found.failed)) put_findings(&c, out);
    vlm_text_free(&found);
    return st;
}
