/* The MoME encoder's parameters: creation in the order of docs/FORMATS.md, and the prediction
 * heads. Not here: recording of the encoder. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "model_parts.h"

static bool list_has(const vlm_ints *list, int64_t value)
{
    for (int64_t i = 0; i < list->n; i++)
        if (list->at[i] == value) return true;
    return false;
}

/* What a router of this modality does, but for its routing sets. */
static void fill_policy(const vlmoe_config *config, int modality, int64_t block,
                        vlm_moe_layer *layer)
{
    const vlm_cfg_moe *moe = &config->moe;
    bool v = modality == VLM_MOD_V;
    const double weight[VLMK_N_LOSSES] = {
        [VLMK_LOSS_IMPORTANCE] = v ? moe->v_importance : moe->t_importance,
        [VLMK_LOSS_LOAD] = v ? moe->v_load : moe->t_load,
        [VLMK_LOSS_SWITCH] = v ? moe->v_switch : moe->t_switch,
        [VLMK_LOSS_Z] = v ? moe->v_z : moe->t_z,
        [VLMK_LOSS_LOCAL] = v ? moe->v_local_entropy : moe->t_local_entropy,
        [VLMK_LOSS_GLOBAL] = v ? moe->v_global_entropy : moe->t_global_entropy};
    layer->policy =
        (vlm_route_policy){.E = v ? moe->v_experts : moe->t_experts,
                           .K = moe->k,
                           .capacity_factor = moe->capacity_factor,
                           .capacity_multiple = moe->capacity_multiple,
                           .capacity_min = moe->capacity_min,
                           .priority = strcmp(moe->order, "priority") == 0,
                           .renorm = VLMK_RENORM_NONE,
                           .noise_std = moe->noise_std,
                           .global_experts = v ? moe->v_global_experts : moe->t_global_experts};
    /* frozen routers cannot be balanced: the losses would only push their inputs about */
    const bool balances = !vlm_config_is_tuned(config) || !config->task.freeze_moe;
    if (balances) memcpy(layer->policy.weight, weight, sizeof weight);
    if (strcmp(moe->renormalise, "before") == 0) layer->policy.renorm = VLMK_RENORM_BEFORE;
    if (strcmp(moe->renormalise, "after") == 0) layer->policy.renorm = VLMK_RENORM_AFTER;
    layer->capacity_factor_eval = moe->capacity_factor_eval;
    layer->modality = v ? 'v' : 't';
    layer->block = block;
}

/* How rows go to experts on other ranks, and the most tokens that any group has for them. */
static void fill_exchange(const vlmoe_config *config, const vlm_mome_block *block,
                          vlm_moe_layer *layer)
{
    const vlm_group_counts group = vlm_config_group(config);
    bool v = layer->modality == 'v';
    int64_t grid = config->model.image_size / config->model.patch;
    int64_t per_sample = v ? 1 + grid * grid : config->model.text_len;
    layer->has_slots = strcmp(config->moe.exchange, "slots") == 0;
    layer->receive_factor = config->moe.receive_factor;
    int64_t alone = v ? group.images : group.texts;
    if (config->objective.contrastive_weight > 0) alone = VLM_MAX(alone, group.pairs);
    layer->most_tokens[0] = alone * per_sample;
    layer->most_tokens[1] = block->has_vl ? 0 : vlm_config_most_pairs(config) * per_sample;
}

/* Output projections of block l (from 1) start smaller by 1/sqrt(2 l), so that the residual
 * stream does not grow with depth (the rule of BEiT). */
static double output_scale(int64_t block)
{
    return 1.0 / sqrt(2.0 * (double)(block + 1));
}

static void make_block(vlm_builder *b, const vlmoe_config *config, int64_t l, vlm_mome *m)
{
    static const char *const suffix[VLM_N_MODS] = {"v", "t", "vl"};
    vlm_mome_block *block = &m->blocks[l];
    double eps = config->model.norm_eps, scale = output_scale(l);
    char text[2 * VLM_WHERE_TEXT];
    int n_mods = l >= m->vl_from ? VLM_N_MODS : 2;
    block->has_vl = n_mods == VLM_N_MODS;
    block->drop_path = m->layers > 1 ? m->drop_path * (double)l / (double)(m->layers - 1) : 0.0;
    block->is_sparse[VLM_MOD_V] = list_has(&config->moe.v_layers, l);
    block->is_sparse[VLM_MOD_T] = list_has(&config->moe.t_layers, l);

    snprintf(text, sizeof text, "blocks.%lld.norm1", (long long)l);
    vlm_norm_make(b, text, m->width, eps, &block->norm1);
    snprintf(block->where_attention, VLM_WHERE_TEXT, "blocks.%lld.attention", (long long)l);
    vlm_attention_make(b, block->where_attention, m->width, config->model.heads, scale,
                       &block->attention);
    for (int i = 0; i < n_mods; i++) {
        snprintf(text, sizeof text, "blocks.%lld.norm2_%s", (long long)l, suffix[i]);
        vlm_norm_make(b, text, m->width, eps, &block->norm2[i]);
    }
    for (int i = 0; i < n_mods; i++) {
        char *where = block->where_ffn[i];
        snprintf(where, VLM_WHERE_TEXT, "blocks.%lld.ffn_%s", (long long)l, suffix[i]);
        if (i == VLM_MOD_VL || !block->is_sparse[i]) {
            vlm_ffn_make(b, where, m->width, m->hidden, scale, &block->ffn[i]);
            continue;
        }
        fill_policy(config, i, l, &block->moe[i]);
        fill_exchange(config, block, &block->moe[i]);
        vlm_moe_make(b, where, m->width, m->hidden, scale, config->moe.distinct_experts,
                     &block->moe[i]);
    }
    if (config->model.layer_scale <= 0.0) return;
    snprintf(text, sizeof text, "blocks.%lld.scale1", (long long)l);
    block->scale1 =
        vlm_vector_make(b, text, VLM_ROLE_VECTOR, 1, &m->width, 0.0, config->model.layer_scale);
    snprintf(text, sizeof text, "blocks.%lld.scale2", (long long)l);
    block->scale2 =
        vlm_vector_make(b, text, VLM_ROLE_VECTOR, 1, &m->width, 0.0, config->model.layer_scale);
}

static void make_embeddings(vlm_builder *b, bool tied, vlm_mome *m)
{
    int64_t patch_width = 3 * m->picture.patch * m->picture.patch;
    vlm_param words = {.name = (char *)"word_embedding.weight",
                       .role = VLM_ROLE_EMBEDDING,
                       .init_std = b->std,
                       .has_copy = tied};
    m->word_embedding = vlm_builder_add(b, &words, 2, (int64_t[]){m->n_words, m->width});
    m->text_position = vlm_vector_make(b, "text_position", VLM_ROLE_POSITION, 2,
                                       (int64_t[]){m->text_len, m->width}, b->std, 0.0);
    vlm_linear_make(b, "patch", m->width, patch_width, true, 1.0, &m->patch);
    m->image_position = vlm_vector_make(b, "image_position", VLM_ROLE_POSITION, 2,
                                        (int64_t[]){1 + m->patches, m->width}, b->std, 0.0);
    m->image_cls =
        vlm_vector_make(b, "image_cls", VLM_ROLE_VECTOR, 2, (int64_t[]){1, m->width}, b->std, 0.0);
    m->image_mask =
        vlm_vector_make(b, "image_mask", VLM_ROLE_VECTOR, 2, (int64_t[]){1, m->width}, b->std, 0.0);
}

static void make_heads(vlm_builder *b, bool tied, double eps, vlm_mome *m)
{
    vlm_linear_make(b, "word_head.dense", m->width, m->width, true, 1.0, &m->word_dense);
    vlm_norm_make(b, "word_head.norm", m->width, eps, &m->word_norm);
    if (tied) {
        m->word_decoder.weight = m->word_embedding;
        m->word_decoder.bias =
            vlm_vector_make(b, "word_head.decoder.bias", VLM_ROLE_BIAS, 1, &m->n_words, 0.0, 0.0);
    } else {
        vlm_linear_make(b, "word_head.decoder", m->n_words, m->width, true, 1.0, &m->word_decoder);
    }
    if (m->n_codes > 0)
        vlm_linear_make(b, "code_head", m->n_codes, m->width, true, 1.0, &m->code_head);
}

static vlmoe_status copy_config(const vlmoe_config *config, vlm_mome *m)
{
    const vlm_cfg_model *c = &config->model;
    m->layers = c->layers;
    m->width = c->width;
    m->hidden = c->hidden > 0 ? c->hidden : 4 * c->width;
    m->vl_from = c->vl_from;
    m->text_len = c->text_len;
    m->dropout = c->dropout;
    m->drop_path = c->drop_path;
    m->experts_per_token = config->moe.k;
    m->picture.size = c->image_size;
    m->picture.patch = c->patch;
    m->patches = (c->image_size / c->patch) * (c->image_size / c->patch);
    for (int i = 0; i < 3; i++) {
        m->picture.mean[i] = config->data.pixel_mean.at[i];
        m->picture.deviation[i] = config->data.pixel_std.at[i];
    }
    m->blocks = vlm_alloc_array((size_t)m->layers, sizeof *m->blocks);
    return m->blocks ? VLMOE_OK
                     : vlm_fail(&m->ctx->error, VLMOE_E_NOMEM, "no memory for %lld blocks",
                                (long long)m->layers);
}

/* A setting that is legal and yet rarely meant. */
static void warn(const vlm_cfg_moe *moe, const vlm_log *log)
{
    if (moe->k == 1 && strcmp(moe->renormalise, "none") != 0)
        vlm_logf(log, VLMOE_LOG_WARN, "model",
                 "moe.renormalise with moe.k = 1 makes every combine weight 1: the router learns "
                 "from its balance losses alone");
}

vlmoe_status vlm_mome_create(vlmoe_context *ctx, const vlmoe_config *config, int64_t n_words,
                             int64_t n_codes, vlm_mome **out)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    if (n_words < 1 || n_codes < 0)
        return vlm_fail(error, VLMOE_E_ARG,
                        "a model needs at least one word and no negative number of image codes, "
                        "got %lld and %lld",
                        (long long)n_words, (long long)n_codes);
    vlm_mome *m = vlm_alloc(sizeof *m);
    if (!m) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a model");
    m->ctx = ctx;
    m->n_words = n_words;
    m->n_codes = n_codes;
    vlmoe_status st = copy_config(config, m);
    if (st) goto done;

    vlm_builder b = {.ctx = ctx, .std = config->model.init_std, .trained = true};
    m->param_begin = ctx->n_params;
    make_embeddings(&b, config->model.tied_decoder && !vlm_config_is_tuned(config), m);
    for (int64_t l = 0; l < m->layers; l++) make_block(&b, config, l, m);
    vlm_norm_make(&b, "norm", m->width, config->model.norm_eps, &m->norm);
    if (!vlm_config_is_tuned(config))
        make_heads(&b, config->model.tied_decoder, config->model.norm_eps, m);
    m->param_end = ctx->n_params;
    st = b.status;
    if (st) goto done;
    warn(&config->moe, &ctx->log);
    *out = m;
    return VLMOE_OK;
done:
    vlm_mome_destroy(m);
    return st;
}

void vlm_mome_destroy(vlm_mome *model)
{
    if (!model) return;
    vlm_free(model->blocks);
    vlm_free(model);
}

vlmoe_tensor *vlm_mome_word_logits(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x)
{
    vlmoe_dtype ct = tape->ctx->compute;
    vlm_linear_opts opts = {.act = VLMOE_ACT_GELU, .out_dtype = ct};
    if (!model->word_dense.weight)
        return vlm_poison(tape, VLMOE_E_STATE,
                          "the model was made for a task, so it has no head for words");
    vlm_tape_where(tape, "word_head");
    x = vlmoe_cast(tape, x, ct);
    vlmoe_tensor *dense =
        vlm_linear(tape, x, model->word_dense.weight, model->word_dense.bias, &opts);
    vlmoe_tensor *normed = vlmoe_layer_norm(tape, dense, model->word_norm.gain,
                                            model->word_norm.bias, model->word_norm.eps, ct);
    vlm_tape_release(tape, dense);
    opts = (vlm_linear_opts){.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->wide};
    vlmoe_tensor *logits =
        vlm_linear(tape, normed, model->word_decoder.weight, model->word_decoder.bias, &opts);
    vlm_tape_release(tape, normed);
    return logits;
}

vlmoe_tensor *vlm_mome_code_logits(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x)
{
    if (!model->n_codes)
        return vlm_poison(tape, VLMOE_E_STATE,
                          "the model was made without image codes, so it has no head for them");
    vlm_linear_opts opts = {.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->wide};
    vlm_tape_where(tape, "code_head");
    x = vlmoe_cast(tape, x, tape->ctx->compute);
    return vlm_linear(tape, x, model->code_head.weight, model->code_head.bias, &opts);
}
