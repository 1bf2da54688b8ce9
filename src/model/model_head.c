/* What model_head.h promises. */
#include "model_head.h"
#include <math.h>
#include <stdio.h>

/* Sites of dropout: the encoder's are small numbers. */
static const uint64_t DROPOUT_SITE = (uint64_t)1 << 40;
/* The last linear map of nlvr2 and classify starts nearly at zero (BEiT-3's code), so that the first steps do not disturb the encoder. */
static const double SMALL_START = 0.001;
static const double NORM_FLOOR = 1e-12;

const char *const vlm_head_names[VLM_N_HEADS] = {"vqa", "nlvr2", "classify", "nli", "retrieval"};

struct vlm_head {
    vlm_head_spec spec;
    int64_t first_param, end_param;
    vlm_linear_layer pooler;
    vlm_linear_layer fc1; /* vqa, nlvr2 */
    vlm_norm_layer norm;  /* vqa, nlvr2, classify */
    vlm_linear_layer fc2; /* to classes; retrieval: matching */
    vlm_linear_layer side[2];
    vlmoe_tensor *log_scale; /* [1] */
    char where[32];
};

vlm_head_spec vlm_head_spec_of(const vlmoe_config *config, vlm_head_kind kind, int64_t classes)
{
    return (vlm_head_spec){.kind = kind,
                           .width = config->model.width,
                           .classes = classes,
                           .embed_width = config->task.embed_width,
                           .init_std = config->model.init_std,
                           .norm_eps = config->model.norm_eps,
                           .dropout = config->task.head_dropout,
                           .temperature = config->task.temperature};
}

static vlmoe_status check_spec(const vlm_head_spec *spec, vlmoe_error *error)
{
    if ((unsigned)spec->kind >= VLM_N_HEADS || spec->width < 1 || spec->embed_width < 0)
        return vlm_fail(error, VLMOE_E_ARG, "a head of kind %d, width %lld and embed width %lld",
                        (int)spec->kind, (long long)spec->width, (long long)spec->embed_width);
    if (spec->kind == VLM_HEAD_RETRIEVAL) {
        if (spec->temperature > 0.0) return VLMOE_OK;
        return vlm_fail(error, VLMOE_E_ARG, "a temperature is %g, expected more than 0",
                        spec->temperature);
    }
    if (spec->classes >= 2) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG, "a head of task %s has %lld classes, expected 2 or more",
                    vlm_head_names[spec->kind], (long long)spec->classes);
}

/* Name of a part, in one buffer that the next call overwrites. */
static const char *part(vlm_head *head, char text[64], const char *name)
{
    snprintf(text, 64, "%s.%s", head->where, name);
    return text;
}

static void make_retrieval(vlm_builder *b, vlm_head *head)
{
    char text[64];
    const vlm_head_spec *spec = &head->spec;
    int64_t one = 1;
    vlm_linear_make(b, part(head, text, "image"), spec->embed_width, spec->width, false, 1.0,
                    &head->side[VLM_SIDE_IMAGE]);
    vlm_linear_make(b, part(head, text, "text"), spec->embed_width, spec->width, false, 1.0,
                    &head->side[VLM_SIDE_TEXT]);
    head->log_scale = vlm_vector_make(b, part(head, text, "log_scale"), VLM_ROLE_VECTOR, 1, &one,
                                      0.0, -log(spec->temperature));
    vlm_linear_make(b, part(head, text, "match"), 2, spec->width, true, 1.0, &head->fc2);
}

static void make_parts(vlm_builder *b, vlm_head *head)
{
    char text[64];
    const vlm_head_spec *spec = &head->spec;
    int64_t D = spec->width, last_in = D;
    bool has_hidden = spec->kind == VLM_HEAD_VQA || spec->kind == VLM_HEAD_NLVR2;
    if (spec->kind != VLM_HEAD_CLASSIFY)
        vlm_linear_make(b, part(head, text, "pooler"), D, D, true, 1.0, &head->pooler);
    if (spec->kind == VLM_HEAD_RETRIEVAL) {
        make_retrieval(b, head);
        return;
    }
    if (has_hidden) {
        last_in = 2 * D;
        vlm_linear_make(b, part(head, text, "fc1"), last_in,
                        spec->kind == VLM_HEAD_NLVR2 ? 2 * D : D, true, 1.0, &head->fc1);
    }
    if (spec->kind != VLM_HEAD_NLI)
        vlm_norm_make(b, part(head, text, "norm"), last_in, spec->norm_eps, &head->norm);
    bool is_small = spec->kind == VLM_HEAD_NLVR2 || spec->kind == VLM_HEAD_CLASSIFY;
    vlm_linear_make(b, part(head, text, "fc2"), spec->classes, last_in, true,
                    is_small ? SMALL_START : 1.0, &head->fc2);
}

vlmoe_status vlm_head_create(vlmoe_context *ctx, const vlm_head_spec *spec, vlm_head **out)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    VLM_TRY(check_spec(spec, error));
    vlm_head *head = vlm_alloc(sizeof *head);
    if (!head) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a head");
    head->spec = *spec;
    if (spec->kind == VLM_HEAD_RETRIEVAL) {
        head->spec.classes = 2;
        if (!spec->embed_width) head->spec.embed_width = spec->width;
    }
    snprintf(head->where, sizeof head->where, "head.%s", vlm_head_names[spec->kind]);
    vlm_builder b = {.ctx = ctx, .std = spec->init_std, .trained = true};
    head->first_param = ctx->n_params;
    make_parts(&b, head);
    head->end_param = ctx->n_params;
    if (b.status) {
        vlm_free(head);
        return b.status;
    }
    *out = head;
    return VLMOE_OK;
}

void vlm_head_destroy(vlm_head *head)
{
    vlm_free(head);
}

vlm_head_kind vlm_head_kind_of(const vlm_head *head)
{
    return head->spec.kind;
}

int64_t vlm_head_classes(const vlm_head *head)
{
    return head->spec.classes;
}

int64_t vlm_head_embed_width(const vlm_head *head)
{
    return head->spec.kind == VLM_HEAD_RETRIEVAL ? head->spec.embed_width : 0;
}

void vlm_head_params(const vlm_head *head, int64_t *first, int64_t *end)
{
    *first = head->first_param;
    *end = head->end_param;
}

vlmoe_tensor *vlm_head_log_scale(const vlm_head *head)
{
    return head->log_scale;
}

/* ---- rows ---- */

int64_t vlm_head_samples(const vlm_head *head, const vlm_mome_inputs *in)
{
    switch (head->spec.kind) {
    case VLM_HEAD_NLVR2:
        return in->n_pairs / 2;
    case VLM_HEAD_CLASSIFY:
        return in->n_images;
    case VLM_HEAD_NLI:
        return in->n_texts;
    default:
        return in->n_pairs;
    }
}

/* The first row of each text of pairs, or of texts, or of images: its [CLS]; in the compute type. */
enum { CLS_OF_PAIRS, CLS_OF_TEXTS, CLS_OF_IMAGES };
static vlmoe_tensor *cls_rows(vlmoe_tape *tape, const vlm_encoded *e, int which)
{
    const vlm_mome_inputs *in = e->inputs;
    const vlm_mome_rows *rows = &e->model->rows;
    int64_t n = which == CLS_OF_PAIRS   ? in->n_pairs
                : which == CLS_OF_TEXTS ? in->n_texts
                                        : in->n_images;
    int64_t first_text = which == CLS_OF_TEXTS ? in->n_pairs : 0;
    vlmoe_tensor *hidden = e->model->hidden;
    int32_t *index = vlm_tape_host(tape, (size_t)VLM_MAX(n, 1) * sizeof *index);
    if (!index) return NULL;
    for (int64_t i = 0; i < n; i++)
        index[i] =
            (int32_t)(which == CLS_OF_IMAGES ? i * (1 + rows->patches)
                                             : rows->text_begin + in->text_offset[first_text + i]);
    const int32_t *d_index = vlm_tape_upload(tape, index, (size_t)n * sizeof *index);
    return d_index ? vlm_gather_sum(tape, 1, &hidden, &d_index, n, tape->ctx->compute) : NULL;
}

/* Mean over a picture's patches, without its [I_CLS]: [n_images, D] wide. */
static vlmoe_tensor *patch_means(vlmoe_tape *tape, const vlm_encoded *e)
{
    const vlm_mome_rows *rows = &e->model->rows;
    int64_t n = e->inputs->n_images, P = rows->patches;
    int32_t *index = vlm_tape_host(tape, (size_t)VLM_MAX(rows->n_rows, 1) * sizeof *index);
    if (!index) return NULL;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        bool is_patch = r < n * (1 + P) && r % (1 + P) > 0;
        index[r] = is_patch ? (int32_t)(r / (1 + P)) : -1;
    }
    const int32_t *d_index = vlm_tape_upload(tape, index, (size_t)rows->n_rows * sizeof *index);
    return d_index ? vlm_scatter_sum(tape, e->model->hidden, d_index, n, 1.0 / (double)P) : NULL;
}

/* ---- computation ---- */

/* Each step takes x over: it is read no more. */
static vlmoe_tensor *run_linear(vlmoe_tape *tape, const vlm_linear_layer *layer, vlmoe_act act,
                                vlmoe_dtype dtype, vlmoe_tensor *x)
{
    const vlm_linear_opts opts = {.act = act, .out_dtype = dtype};
    vlmoe_tensor *y = vlm_linear(tape, x, layer->weight, layer->bias, &opts);
    vlm_tape_release(tape, x);
    return y;
}

static vlmoe_tensor *run_norm(vlmoe_tape *tape, const vlm_norm_layer *layer, vlmoe_tensor *x)
{
    vlmoe_tensor *y =
        vlmoe_layer_norm(tape, x, layer->gain, layer->bias, layer->eps, tape->ctx->compute);
    vlm_tape_release(tape, x);
    return y;
}

static vlmoe_tensor *run_dropout(vlmoe_tape *tape, const vlm_head *head, vlmoe_tensor *x)
{
    vlmoe_tensor *y = vlmoe_dropout(tape, x, head->spec.dropout, DROPOUT_SITE);
    if (y != x) vlm_tape_release(tape, x);
    return y;
}

/* pooler's rows to what the last linear map takes. */
static vlmoe_tensor *hidden_layer(vlmoe_tape *tape, const vlm_head *head, vlmoe_tensor *x)
{
    vlmoe_dtype ct = tape->ctx->compute;
    vlmoe_tensor *dense = run_linear(tape, &head->fc1, VLMOE_ACT_NONE, ct, x);
    vlmoe_tensor *normed = run_norm(tape, &head->norm, dense);
    vlmoe_tensor *y = vlm_act(tape, normed, VLMOE_ACT_GELU);
    vlm_tape_release(tape, normed);
    return y;
}

static vlmoe_tensor *pool(vlmoe_tape *tape, const vlm_head *head, const vlm_encoded *e)
{
    int which = head->spec.kind == VLM_HEAD_NLI ? CLS_OF_TEXTS : CLS_OF_PAIRS;
    return run_linear(tape, &head->pooler, VLMOE_ACT_TANH, tape->ctx->compute,
                      cls_rows(tape, e, which));
}

vlmoe_tensor *vlm_head_logits(vlmoe_tape *tape, const vlm_head *head, const vlm_encoded *encoded)
{
    const vlm_mome_inputs *in = encoded->inputs;
    if (!tape || tape->status) return NULL;
    vlm_tape_where(tape, head->where);
    if (head->spec.kind == VLM_HEAD_NLVR2 && in->n_pairs % 2 != 0)
        return vlm_poison(tape, VLMOE_E_ARG,
                          "a group of %lld pairs, expected two for each question",
                          (long long)in->n_pairs);
    vlmoe_tensor *x;
    if (head->spec.kind == VLM_HEAD_CLASSIFY)
        x = run_norm(tape, &head->norm, patch_means(tape, encoded));
    else x = pool(tape, head, encoded);
    if (head->spec.kind == VLM_HEAD_NLVR2 && in->n_pairs)
        x = vlm_reshape_view(tape, x, in->n_pairs / 2);
    if (head->spec.kind == VLM_HEAD_VQA || head->spec.kind == VLM_HEAD_NLVR2)
        x = hidden_layer(tape, head, x);
    if (head->spec.kind != VLM_HEAD_RETRIEVAL) x = run_dropout(tape, head, x);
    return run_linear(tape, &head->fc2, VLMOE_ACT_NONE, tape->ctx->wide, x);
}

vlmoe_tensor *vlm_head_features(vlmoe_tape *tape, const vlm_head *head, const vlm_encoded *encoded,
                                vlm_side side)
{
    if (!tape || tape->status) return NULL;
    vlm_tape_where(tape, head->where);
    if (head->spec.kind != VLM_HEAD_RETRIEVAL)
        return vlm_poison(tape, VLMOE_E_STATE, "a head of task %s has no features",
                          vlm_head_names[head->spec.kind]);
    vlmoe_tensor *x =
        cls_rows(tape, encoded, side == VLM_SIDE_IMAGE ? CLS_OF_IMAGES : CLS_OF_TEXTS);
    x = run_linear(tape, &head->side[side], VLMOE_ACT_NONE, tape->ctx->wide, x);
    return vlm_l2_norm(tape, x, NORM_FLOOR);
}

vlmoe_tensor *vlm_head_similarity(vlmoe_tape *tape, const vlm_head *head, vlmoe_tensor *a,
                                  vlmoe_tensor *b)
{
    if (!tape || tape->status) return NULL;
    vlm_tape_where(tape, head->where);
    const vlm_linear_opts opts = {.out_dtype = tape->ctx->wide};
    vlmoe_tensor *cosine = vlm_linear(tape, a, b, NULL, &opts);
    return vlm_temper(tape, cosine, head->log_scale);
}
