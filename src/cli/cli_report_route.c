/* Where held-out tokens go: routes of the examples, loads and drops by set, patches and words that experts take. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli_report_gather.h"
#include "data_image.h"

enum {
    MAX_TOKENS = 1 << 16, /* words kept of a layer */
    MAX_DETAILED = 192,   /* experts shown in detail in all layers together */
    CROP_SIDE = 24        /* pixels, at most */
};

/* A patch that an expert is sure of. */
typedef struct crop {
    float gate;
    int64_t picture; /* number in the walk: one crop of a picture is enough */
    uint8_t pixels[3 * CROP_SIDE * CROP_SIDE];
} crop;

/* One layer while it is counted. */
typedef struct taking {
    int64_t E, n_words;
    int64_t *hidden;         /* [E] hidden places among the first choices */
    int64_t *first;          /* [E] first choices */
    int *n_crops;            /* [E] */
    crop *crops;             /* [E, VLM_REPORT_CROPS], surest first; vision only */
    int32_t *piece, *expert; /* [MAX_TOKENS]; text only */
} taking;

/* A layer's decisions over one group, on the host. */
typedef struct decision {
    const vlm_mome_routing *from;
    int64_t T, E, K;
    int32_t *expert, *slot, *set_offset;
    double *gate; /* [T, E] clean */
} decision;

typedef struct walk {
    vlmoe_trainer *t;
    vlm_report_model *out;
    const vlm_page_place *place;
    int64_t group, pictures; /* pictures of earlier groups */
    int64_t S, P, crop_side;
    taking takings[VLM_REPORT_LAYERS];
} walk;

static vlmoe_status no_memory(vlmoe_trainer *t)
{
    return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for a report's routes");
}

/* ---- layers ---- */

static vlmoe_status start_layer(walk *w, const vlm_mome_routing *r, int at)
{
    vlm_report_layer *layer = &w->out->layers[at];
    taking *k = &w->takings[at];
    size_t E = (size_t)r->routing->E;
    bool is_vision = r->layer->modality == 'v';
    *layer = (vlm_report_layer){.block = r->layer->block,
                                .E = r->routing->E,
                                .modality = r->layer->modality,
                                .crop_side = w->crop_side};
    layer->expert_load = vlm_alloc_array(E, sizeof *layer->expert_load);
    layer->expert_served = vlm_alloc_array(E, sizeof *layer->expert_served);
    k->E = r->routing->E;
    k->hidden = vlm_alloc_array(E, sizeof *k->hidden);
    k->first = vlm_alloc_array(E, sizeof *k->first);
    k->n_crops = vlm_alloc_array(E, sizeof *k->n_crops);
    k->crops = is_vision ? vlm_alloc_array(E, VLM_REPORT_CROPS * sizeof *k->crops) : NULL;
    k->piece = is_vision ? NULL : vlm_alloc_array(MAX_TOKENS, sizeof *k->piece);
    k->expert = is_vision ? NULL : vlm_alloc_array(MAX_TOKENS, sizeof *k->expert);
    w->out->n_layers = at + 1;
    bool is_whole = layer->expert_load && layer->expert_served && k->hidden && k->first &&
                    k->n_crops && (is_vision ? k->crops != NULL : k->piece && k->expert);
    return is_whole ? VLMOE_OK : no_memory(w->t);
}

/* Its place among the report's layers, made when it is new; -1 = no more room. */
static vlmoe_status find_layer(walk *w, const vlm_mome_routing *r, int *out)
{
    const vlm_report_model *m = w->out;
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].block == r->layer->block && m->layers[i].modality == r->layer->modality) {
            *out = i;
            return VLMOE_OK;
        }
    *out = m->n_layers < VLM_REPORT_LAYERS ? m->n_layers : -1;
    return *out < 0 ? VLMOE_OK : start_layer(w, r, *out);
}

static void free_takings(walk *w)
{
    for (int i = 0; i < VLM_REPORT_LAYERS; i++) {
        taking *k = &w->takings[i];
        vlm_free(k->hidden);
        vlm_free(k->first);
        vlm_free(k->n_crops);
        vlm_free(k->crops);
        vlm_free(k->piece);
        vlm_free(k->expert);
    }
}

/* ---- decisions ---- */

static vlmoe_status read_decision(vlmoe_tape *tape, const vlm_mome_routing *from, decision *out)
{
    vlmoe_context *ctx = tape->ctx;
    const vlm_routing *r = from->routing;
    size_t choices = (size_t)(r->T * r->K) * sizeof(int32_t),
           offsets = (size_t)(r->n_sets + 1) * sizeof(int32_t);
    *out = (decision){.from = from,
                      .T = r->T,
                      .E = r->E,
                      .K = r->K,
                      .expert = vlm_tape_host(tape, choices),
                      .slot = vlm_tape_host(tape, choices),
                      .set_offset = vlm_tape_host(tape, offsets),
                      .gate = vlm_tape_host(tape, (size_t)(r->T * r->E) * sizeof(double))};
    if (!out->expert || !out->slot || !out->set_offset || !out->gate)
        return vlmoe_tape_status(tape);
    VLM_TRY(ctx->backend->download(ctx->device, out->expert, r->d_expert, choices));
    VLM_TRY(ctx->backend->download(ctx->device, out->slot, r->d_slot, choices));
    VLM_TRY(ctx->backend->download(ctx->device, out->set_offset, r->d_set_offset, offsets));
    return vlm_download_wide(ctx, r->d_clean, r->T * r->E, out->gate);
}

static vlm_report_route route_of(const decision *d, int64_t token)
{
    const int32_t *expert = d->expert + token * d->K, *slot = d->slot + token * d->K;
    int64_t served = 0;
    for (int64_t k = 0; k < d->K; k++) served += slot[k] >= 0;
    return (vlm_report_route){.expert = expert[0],
                              .gate = (float)d->gate[token * d->E + expert[0]],
                              .served = served == d->K ? VLM_SERVED_ALL
                                        : served       ? VLM_SERVED_SOME
                                                       : VLM_SERVED_NONE};
}

static int set_of(char modality, const char *name)
{
    bool is_pairs = !strcmp(name, "pairs");
    if (modality == 'v') return is_pairs ? VLM_SET_PAIR_PICTURES : VLM_SET_IMAGES;
    return is_pairs ? VLM_SET_PAIR_WORDS : VLM_SET_TEXTS;
}

/* ---- patches ---- */

static void cut_crop(const walk *w, const vlm_group *g, int64_t picture, int64_t p, uint8_t *out)
{
    int64_t size = w->t->config->model.patch, side = w->S / size, c = w->crop_side;
    const uint8_t *pixels = g->pixels + picture * 3 * w->S * w->S;
    for (int64_t i = 0; i < c * c; i++) {
        int64_t y = p / side * size + (2 * (i / c) + 1) * size / (2 * c),
                x = p % side * size + (2 * (i % c) + 1) * size / (2 * c);
        memcpy(out + 3 * i, pixels + (y * w->S + x) * 3, 3);
    }
}

/* Keep a patch if it is among the surest of its expert; a picture's surer patch takes the place of its other one. */
static void offer_crop(const walk *w, const vlm_group *g, taking *k, vlm_report_route r,
                       const int64_t at[2])
{
    crop *list = k->crops + r.expert * VLM_REPORT_CROPS;
    int64_t picture = w->pictures + at[0];
    int n = k->n_crops[r.expert], same = 0, to = 0;
    while (same < n && list[same].picture != picture) same++;
    while (to < n && list[to].gate >= r.gate) to++;
    if (to == VLM_REPORT_CROPS || (same < n && same < to)) return;
    int last = same < n ? same : VLM_MIN(n, VLM_REPORT_CROPS - 1);
    memmove(list + to + 1, list + to, (size_t)(last - to) * sizeof *list);
    list[to].gate = r.gate;
    list[to].picture = picture;
    cut_crop(w, g, at[0], at[1], list[to].pixels);
    if (same == n && n < VLM_REPORT_CROPS) k->n_crops[r.expert]++;
}

static void take_patches(walk *w, const vlm_group *g, const decision *d, int layer, int set)
{
    taking *k = &w->takings[layer];
    bool is_pairs = !strcmp(d->from->set_name[set], "pairs");
    for (int64_t token = d->set_offset[set]; token < d->set_offset[set + 1]; token++) {
        int64_t in_set = token - d->set_offset[set], p = in_set % (1 + w->P) - 1,
                picture = in_set / (1 + w->P) + (is_pairs ? g->n_images : 0);
        vlm_report_route r = route_of(d, token);
        bool is_hidden = p >= 0 && g->patch_mask && g->patch_mask[picture * w->P + p];
        k->first[r.expert]++;
        k->hidden[r.expert] += is_hidden;
        if (p >= 0 && !is_hidden) offer_crop(w, g, k, r, (int64_t[]){picture, p});
    }
}

/* ---- words ---- */

static void take_words(walk *w, const vlm_group *g, const decision *d, int layer, int set)
{
    taking *k = &w->takings[layer];
    bool is_pairs = !strcmp(d->from->set_name[set], "pairs");
    int64_t first = is_pairs ? 0 : g->text_offset[g->n_pairs];
    for (int64_t token = d->set_offset[set]; token < d->set_offset[set + 1]; token++) {
        int64_t at = first + token - d->set_offset[set];
        int32_t expert = d->expert[token * d->K];
        k->first[expert]++;
        k->hidden[expert] += g->token_target[at] >= 0;
        if (k->n_words == MAX_TOKENS) continue;
        k->piece[k->n_words] = g->token[at];
        k->expert[k->n_words++] = expert;
    }
}

/* ---- a group ---- */

static vlmoe_status keep_routes(walk *w, const vlm_group *g, const decision *d, int layer, int set)
{
    bool is_vision = d->from->layer->modality == 'v',
         is_pairs = !strcmp(d->from->set_name[set], "pairs");
    for (int i = 0; i < w->out->n_examples; i++) {
        vlm_report_example *e = &w->out->examples[i];
        const vlm_page_place *place = &w->place[i];
        if (place->group != w->group || (e->stream == 2) != is_pairs ||
            (is_vision ? !e->picture : !e->tokens))
            continue;
        int64_t n = is_vision ? 1 + w->P : e->n_tokens,
                begin = is_vision ? (place->picture - (is_pairs ? g->n_images : 0)) * (1 + w->P)
                                  : g->text_offset[place->text] -
                                        (is_pairs ? 0 : g->text_offset[g->n_pairs]);
        e->route[layer] = vlm_alloc_array((size_t)n, sizeof **e->route);
        if (!e->route[layer]) return no_memory(w->t);
        for (int64_t k = 0; k < n; k++)
            e->route[layer][k] = route_of(d, d->set_offset[set] + begin + k);
    }
    return VLMOE_OK;
}

static void count_loads(walk *w, const decision *d, int layer, int set)
{
    vlm_report_layer *l = &w->out->layers[layer];
    int kind = set_of(l->modality, d->from->set_name[set]);
    for (int64_t i = d->set_offset[set] * d->K; i < d->set_offset[set + 1] * d->K; i++) {
        bool is_served = d->slot[i] >= 0;
        l->load[kind]++;
        l->served[kind] += is_served;
        l->expert_load[d->expert[i]]++;
        l->expert_served[d->expert[i]] += is_served;
    }
}

static vlmoe_status take_layer(walk *w, const vlm_group *g, vlmoe_tape *tape,
                               const vlm_mome_routing *r)
{
    decision d;
    int layer = -1;
    VLM_TRY(find_layer(w, r, &layer));
    if (layer < 0) return VLMOE_OK;
    VLM_TRY(read_decision(tape, r, &d));
    for (int set = 0; set < r->n_sets; set++) {
        count_loads(w, &d, layer, set);
        VLM_TRY(keep_routes(w, g, &d, layer, set));
        if (r->layer->modality == 'v') take_patches(w, g, &d, layer, set);
        else take_words(w, g, &d, layer, set);
    }
    return VLMOE_OK;
}

static vlmoe_status take_group(walk *w, const vlm_group *g, vlmoe_tape *tape)
{
    const vlm_mome_inputs inputs = {.n_images = g->n_images,
                                    .n_texts = g->n_texts,
                                    .n_pairs = g->n_pairs,
                                    .pixels = g->pixels,
                                    .patch_mask = g->patch_mask,
                                    .token = g->token,
                                    .text_offset = g->text_offset};
    vlm_mome_output encoded = {0};
    vlm_mome_encode(tape, w->t->model, &inputs, false, &encoded);
    VLM_TRY(vlmoe_tape_status(tape));
    VLM_TRY(w->t->ctx->backend->sync(w->t->ctx->device, &w->t->ctx->error));
    for (int i = 0; i < encoded.n_routings; i++)
        VLM_TRY(take_layer(w, g, tape, &encoded.routings[i]));
    return VLMOE_OK;
}

/* ---- what experts take, in order ---- */

typedef struct count {
    int32_t piece, expert;
    int64_t n, all;
    double score;
} count;

static int by_piece(const void *a, const void *b)
{
    const count *x = a, *y = b;
    if (x->piece != y->piece) return x->piece < y->piece ? -1 : 1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

static int by_score(const void *a, const void *b)
{
    const count *x = a, *y = b;
    if (x->expert != y->expert) return x->expert < y->expert ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->piece > y->piece) - (x->piece < y->piece);
}

/* Pairs of (piece, expert) with their counts and what marks them: n log lift, an expert's share of the information between pieces and
 * experts. Returns how many there are; of_expert [E] gets all words of each. */
static int64_t count_words(const taking *k, count *c, int64_t *of_expert)
{
    int64_t n = 0;
    for (int64_t i = 0; i < k->n_words; i++) c[i] = (count){k->piece[i], k->expert[i], 1, 0, 0.0};
    for (int64_t i = 0; i < k->n_words; i++) of_expert[k->expert[i]]++;
    qsort(c, (size_t)k->n_words, sizeof *c, by_piece);
    for (int64_t i = 0; i < k->n_words; i++) {
        bool is_same = n && c[n - 1].piece == c[i].piece && c[n - 1].expert == c[i].expert;
        if (is_same) c[n - 1].n++;
        else c[n++] = c[i];
    }
    for (int64_t i = 0, end; i < n; i = end) {
        int64_t all = 0;
        for (end = i; end < n && c[end].piece == c[i].piece; end++) all += c[end].n;
        for (int64_t j = i; j < end; j++) c[j].all = all;
    }
    for (int64_t i = 0; i < n; i++)
        c[i].score = (double)c[i].n * log((double)c[i].n / (double)c[i].all * (double)k->n_words /
                                          (double)of_expert[c[i].expert]);
    qsort(c, (size_t)n, sizeof *c, by_score);
    return n;
}

static void put_words(const walk *w, const taking *k, const count *c, int64_t n,
                      const int64_t *of_expert, vlm_report_expert *x)
{
    for (int64_t i = 0; i < n && x->n_words < VLM_REPORT_WORDS; i++) {
        if (c[i].expert != x->index || c[i].score <= 0.0) continue;
        vlm_report_word *word = &x->words[x->n_words++];
        vlm_page_piece(w->t->spm, c[i].piece, word->piece);
        word->n = c[i].n;
        word->all = c[i].all;
        word->lift =
            (double)c[i].n / (double)c[i].all * (double)k->n_words / (double)of_expert[c[i].expert];
    }
}

static vlmoe_status put_crops(const walk *w, const taking *k, vlm_report_expert *x)
{
    size_t bytes = (size_t)(3 * w->crop_side * w->crop_side);
    if (!k->n_crops[x->index]) return VLMOE_OK;
    x->crops = vlm_alloc_array((size_t)k->n_crops[x->index], bytes);
    if (!x->crops) return no_memory(w->t);
    x->n_crops = k->n_crops[x->index];
    for (int i = 0; i < x->n_crops; i++)
        memcpy(x->crops + (size_t)i * bytes, k->crops[x->index * VLM_REPORT_CROPS + i].pixels,
               bytes);
    return VLMOE_OK;
}

/* The most loaded expert that is not listed yet; lowest id among equals. */
static int64_t next_expert(const taking *k, const vlm_report_layer *layer)
{
    int64_t best = -1;
    for (int64_t e = 0; e < k->E; e++) {
        bool is_listed = false;
        for (int i = 0; i < layer->n_experts; i++)
            is_listed = is_listed || layer->experts[i].index == e;
        if (!is_listed && (best < 0 || k->first[e] > k->first[best])) best = e;
    }
    return best;
}

static vlmoe_status list_experts(walk *w, int at, int most, const count *c, int64_t n,
                                 const int64_t *of_expert)
{
    vlm_report_layer *layer = &w->out->layers[at];
    const taking *k = &w->takings[at];
    int wanted = (int)VLM_MIN((int64_t)most, k->E);
    layer->experts = vlm_alloc_array((size_t)wanted, sizeof *layer->experts);
    if (!layer->experts) return no_memory(w->t);
    for (int i = 0; i < wanted; i++) {
        int64_t e = next_expert(k, layer);
        vlm_report_expert *x = &layer->experts[i];
        *x = (vlm_report_expert){.index = e, .hidden = k->hidden[e], .tokens = k->first[e]};
        layer->n_experts++;
        if (k->piece) put_words(w, k, c, n, of_expert, x);
        else VLM_TRY(put_crops(w, k, x));
    }
    return VLMOE_OK;
}

static vlmoe_status finish_layer(walk *w, int at, int most)
{
    const taking *k = &w->takings[at];
    count *c = vlm_alloc_array((size_t)k->n_words + 1, sizeof *c);
    int64_t *of_expert = vlm_alloc_array((size_t)k->E, sizeof *of_expert);
    vlmoe_status st = c && of_expert ? VLMOE_OK : no_memory(w->t);
    if (!st) {
        int64_t n = count_words(k, c, of_expert);
        st = list_experts(w, at, most, c, n, of_expert);
    }
    vlm_free(c);
    vlm_free(of_expert);
    return st;
}

static vlmoe_status walk_groups(walk *w)
{
    VLM_TRY(vlm_source_seek(w->t->val, 0, &w->t->error));
    for (const vlm_group *g = NULL;; w->group++) {
        vlmoe_tape *tape = NULL;
        VLM_TRY(vlm_source_next(w->t->val, &g, &w->t->error));
        if (!g) return VLMOE_OK;
        vlmoe_status st = vlmoe_tape_begin(w->t->ctx, VLMOE_PREDICT, &tape);
        if (!st) st = take_group(w, g, tape);
        if (st && !w->t->error.status)
            vlm_fail(&w->t->error, st, "%s", vlmoe_context_error(w->t->ctx));
        vlmoe_tape_end(tape);
        VLM_TRY(st);
        w->pictures += g->n_images + g->n_pairs;
        w->out->groups++;
    }
}

vlmoe_status vlm_page_route(vlmoe_trainer *t, const vlm_page_place *place, vlm_report_model *out)
{
    int64_t grid = t->config->model.image_size / t->config->model.patch;
    walk *w = vlm_alloc(sizeof *w);
    t->error = (vlmoe_error){VLMOE_OK, ""};
    if (!w) return no_memory(t);
    *w = (walk){.t = t,
                .out = out,
                .place = place,
                .S = t->config->model.image_size,
                .P = grid * grid,
                .crop_side = VLM_MIN(t->config->model.patch, (int64_t)CROP_SIDE)};
    out->capacity_factor = t->config->moe.capacity_factor_eval;
    out->is_priority = !strcmp(t->config->moe.order, "priority");
    vlmoe_status st = walk_groups(w);
    int most =
        VLM_MAX(VLM_MIN(MAX_DETAILED / VLM_MAX(out->n_layers, 1), (int)VLM_REPORT_EXPERTS), 4);
    for (int i = 0; i < out->n_layers && !st; i++) st = finish_layer(w, i, most);
    free_takings(w);
    vlm_free(w);
    return st;
}
