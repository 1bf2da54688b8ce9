/* The image tokeniser's parameters, and the recording of its encoder and decoder (BEiT v2, Peng
 * et al. 2022). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "model_tokeniser_parts.h"

enum { TEXT = 96 };

static void make_block(vlm_builder *b, const char *prefix, const char *part, int64_t l,
                       const vlmoe_config *config, vlm_plain_block *block)
{
    int64_t D = config->tokeniser.width;
    double scale = 1.0 / sqrt(2.0 * (double)(l + 1)); /* as in the encoder of the MoME model */
    char text[TEXT];
    snprintf(text, sizeof text, "%s%s.%lld.norm1", prefix, part, (long long)l);
    vlm_norm_make(b, text, D, config->model.norm_eps, &block->norm1);
    snprintf(text, sizeof text, "%s%s.%lld.attention", prefix, part, (long long)l);
    vlm_attention_make(b, text, D, config->tokeniser.heads, scale, &block->attention);
    snprintf(text, sizeof text, "%s%s.%lld.norm2", prefix, part, (long long)l);
    vlm_norm_make(b, text, D, config->model.norm_eps, &block->norm2);
    snprintf(text, sizeof text, "%s%s.%lld.ffn", prefix, part, (long long)l);
    vlm_ffn_make(b, text, D, 4 * D, scale, &block->ffn);
}

static const char *join(char text[TEXT], const char *prefix, const char *name)
{
    snprintf(text, TEXT, "%s%s", prefix, name);
    return text;
}

static void make_params(vlm_builder *b, const char *prefix, const vlmoe_config *config,
                        vlm_tokeniser *m)
{
    const vlm_cfg_tokeniser *c = &m->config;
    int64_t D = c->width;
    double eps = config->model.norm_eps;
    char text[TEXT];
    vlm_linear_make(b, join(text, prefix, "patch"), D, m->patch_width, true, 1.0, &m->patch);
    m->position = vlm_vector_make(b, join(text, prefix, "position"), VLM_ROLE_POSITION, 2,
                                  (int64_t[]){m->patches, D}, b->std, 0.0);
    for (int64_t l = 0; l < c->layers; l++)
        make_block(b, prefix, "encoder", l, config, &m->encoder[l]);
    vlm_norm_make(b, join(text, prefix, "encoder_norm"), D, eps, &m->encoder_norm);
    vlm_linear_make(b, join(text, prefix, "to_code.fc1"), D, D, true, 1.0, &m->to_code[0]);
    vlm_linear_make(b, join(text, prefix, "to_code.fc2"), c->code_dim, D, true, 1.0,
                    &m->to_code[1]);
    vlm_linear_make(b, join(text, prefix, "from_code"), D, c->code_dim, true, 1.0, &m->from_code);
    for (int64_t l = 0; l < c->decoder_layers; l++)
        make_block(b, prefix, "decoder", l, config, &m->decoder[l]);
    vlm_norm_make(b, join(text, prefix, "decoder_norm"), D, eps, &m->decoder_norm);
    vlm_linear_make(b, join(text, prefix, "to_target.fc1"), D, D, true, 1.0, &m->to_target[0]);
    vlm_linear_make(b, join(text, prefix, "to_target.fc2"), m->patch_width, D, true, 1.0,
                    &m->to_target[1]);
}

static vlmoe_status copy_config(const vlmoe_config *config, vlm_tokeniser *m)
{
    m->config = config->tokeniser;
    m->picture.size = config->model.image_size;
    m->picture.patch = config->model.patch;
    for (int i = 0; i < 3; i++) {
        m->picture.mean[i] = config->data.pixel_mean.at[i];
        m->picture.deviation[i] = config->data.pixel_std.at[i];
    }
    m->patches = (m->picture.size / m->picture.patch) * (m->picture.size / m->picture.patch);
    m->patch_width = 3 * m->picture.patch * m->picture.patch;
    m->encoder = vlm_alloc_array((size_t)m->config.layers, sizeof *m->encoder);
    m->decoder = vlm_alloc_array((size_t)m->config.decoder_layers, sizeof *m->decoder);
    if (m->encoder && m->decoder) return VLMOE_OK;
    return vlm_fail(&m->ctx->error, VLMOE_E_NOMEM, "no memory for the image tokeniser's blocks");
}

vlmoe_status vlm_tokeniser_create(vlmoe_context *ctx, const vlmoe_config *config, bool trained,
                                  vlm_tokeniser **out)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    vlm_tokeniser *m = vlm_alloc(sizeof *m);
    if (!m) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for an image tokeniser");
    m->ctx = ctx;
    vlmoe_status st = copy_config(config, m);
    if (!st) st = vlm_codebook_init(m);
    if (st) goto done;

    vlm_builder b = {.ctx = ctx, .std = config->model.init_std, .trained = trained};
    make_params(&b, trained ? "" : "image_tokeniser.", config, m);
    st = b.status;
    if (st) goto done;
    *out = m;
    return VLMOE_OK;
done:
    vlm_tokeniser_destroy(m);
    return st;
}

void vlm_tokeniser_destroy(vlm_tokeniser *model)
{
    if (!model) return;
    vlm_codebook_fini(model);
    vlm_free(model->encoder);
    vlm_free(model->decoder);
    vlm_free(model);
}

/* n sequences of P rows each, one after another. */
static bool plan_attention(vlmoe_tape *tape, int64_t n, int64_t P, vlm_attention_layout *out)
{
    int32_t *offset = vlm_tape_host(tape, (size_t)(n + 1) * sizeof *offset);
    int32_t *row = vlm_tape_host(tape, (size_t)(n * P) * sizeof *row);
    if (!offset || !row) return false;
    for (int64_t i = 0; i <= n; i++) offset[i] = (int32_t)(i * P);
    for (int64_t r = 0; r < n * P; r++) row[r] = (int32_t)r;
    *out = (vlm_attention_layout){
        .n_seq = n,
        .max_len = P,
        .d_offset = vlm_tape_upload(tape, offset, (size_t)(n + 1) * sizeof *offset),
        .d_row = vlm_tape_upload(tape, row, (size_t)(n * P) * sizeof *row)};
    return out->d_offset && out->d_row;
}

static vlmoe_tensor *run_block(vlmoe_tape *tape, const vlm_plain_block *block, vlmoe_tensor *x,
                               const vlm_attention_layout *layout)
{
    vlmoe_dtype ct = tape->ctx->compute;
    vlmoe_tensor *h =
        vlmoe_layer_norm(tape, x, block->norm1.gain, block->norm1.bias, block->norm1.eps, ct);
    vlm_residual_part part = {.y = vlm_attention_run(tape, &block->attention, h, layout)};
    vlm_tape_release(tape, h);
    vlmoe_tensor *middle = vlm_residual(tape, x, 1, &part, NULL);
    vlm_tape_release(tape, part.y);
    h = vlmoe_layer_norm(tape, middle, block->norm2.gain, block->norm2.bias, block->norm2.eps, ct);
    part.y = vlm_ffn_run(tape, &block->ffn, h);
    vlm_tape_release(tape, h);
    vlmoe_tensor *out = vlm_residual(tape, middle, 1, &part, NULL);
    vlm_tape_release(tape, part.y);
    vlm_tape_release(tape, middle);
    return out;
}

/* x [n P, D] wide + position, through blocks and a norm; result in the compute type. Releases x. */
static vlmoe_tensor *run_stack(vlmoe_tape *tape, const vlm_tokeniser *m, int64_t n, vlmoe_tensor *x,
                               bool decoder)
{
    const vlm_plain_block *blocks = decoder ? m->decoder : m->encoder;
    const vlm_norm_layer *norm = decoder ? &m->decoder_norm : &m->encoder_norm;
    int64_t n_blocks = decoder ? m->config.decoder_layers : m->config.layers, rows = n * m->patches;
    vlm_attention_layout layout;
    int32_t *index = vlm_tape_host(tape, (size_t)(2 * rows) * sizeof *index);
    if (!x || !index || !plan_attention(tape, n, m->patches, &layout)) return NULL;
    for (int64_t r = 0; r < rows; r++) {
        index[r] = (int32_t)r;
        index[rows + r] = (int32_t)(r % m->patches);
    }
    const int32_t *d_index[2] = {vlm_tape_upload(tape, index, (size_t)rows * sizeof *index),
                                 vlm_tape_upload(tape, index + rows, (size_t)rows * sizeof *index)};
    if (!d_index[0] || !d_index[1]) return NULL;
    vlmoe_tensor *placed =
        vlm_gather_sum(tape, 2, (vlmoe_tensor *[]){x, m->position}, d_index, rows, tape->ctx->wide);
    vlm_tape_release(tape, x);
    x = placed;
    for (int64_t l = 0; l < n_blocks; l++) {
        vlmoe_tensor *y = run_block(tape, &blocks[l], x, &layout);
        vlm_tape_release(tape, x);
        x = y;
    }
    vlmoe_tensor *out =
        vlmoe_layer_norm(tape, x, norm->gain, norm->bias, norm->eps, tape->ctx->compute);
    vlm_tape_release(tape, x);
    return out;
}

/* Two linear layers with tanh between; result wide. Releases x. */
static vlmoe_tensor *run_pair(vlmoe_tape *tape, const vlm_linear_layer layer[2], vlmoe_tensor *x)
{
    vlm_linear_opts opts = {.act = VLMOE_ACT_TANH, .out_dtype = tape->ctx->compute};
    vlmoe_tensor *middle = vlm_linear(tape, x, layer[0].weight, layer[0].bias, &opts);
    vlm_tape_release(tape, x);
    opts = (vlm_linear_opts){.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->wide};
    vlmoe_tensor *out = vlm_linear(tape, middle, layer[1].weight, layer[1].bias, &opts);
    vlm_tape_release(tape, middle);
    return out;
}

vlmoe_tensor *vlm_tokeniser_features(vlmoe_tape *tape, const vlm_tokeniser *model, int64_t n,
                                     const uint8_t *pixels)
{
    vlm_linear_opts opts = {.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->wide};
    vlm_tape_where(tape, "image tokeniser, encoder");
    vlmoe_tensor *x = vlm_patch_vectors(tape, tape->ctx->compute, n, pixels, &model->picture);
    vlmoe_tensor *patches = vlm_linear(tape, x, model->patch.weight, model->patch.bias, &opts);
    vlm_tape_release(tape, x);
    x = run_pair(tape, model->to_code, run_stack(tape, model, n, patches, false));
    vlmoe_tensor *z = vlm_l2_norm(tape, x, 1e-12);
    vlm_tape_release(tape, x);
    return z;
}

vlmoe_tensor *vlm_tokeniser_regress(vlmoe_tape *tape, const vlm_tokeniser *model, int64_t n,
                                    vlmoe_tensor *code)
{
    vlm_linear_opts opts = {.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->wide};
    vlm_tape_where(tape, "image tokeniser, decoder");
    vlmoe_tensor *x = vlmoe_cast(tape, code, tape->ctx->compute);
    x = vlm_linear(tape, x, model->from_code.weight, model->from_code.bias, &opts);
    x = run_stack(tape, model, n, x, true);
    return run_pair(tape, model->to_target, x);
}
