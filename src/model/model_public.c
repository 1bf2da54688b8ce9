/* The encoder behind include/vlmoe/model.h: one PREDICT recording per call, results as f32 on
 * the host. */
#include "model_mome.h"
#include "vlmoe/model.h"

struct vlmoe_model {
    vlmoe_context *ctx; /* borrowed */
    vlm_mome *mome;
    int64_t width, patches;
};

vlmoe_status vlmoe_model_create(vlmoe_context *ctx, const vlmoe_config *config, int64_t n_words,
                                int64_t n_codes, vlmoe_model **out)
{
    vlmoe_model *model = vlm_alloc(sizeof *model);
    if (!model) return vlm_fail(vlm_ctx_error(ctx), VLMOE_E_NOMEM, "no memory for a model");
    int64_t side = config->model.image_size / config->model.patch;
    *model = (vlmoe_model){.ctx = ctx, .width = config->model.width, .patches = side * side};
    vlmoe_status st = vlm_mome_create(ctx, config, n_words, n_codes, &model->mome);
    if (st) {
        vlm_free(model);
        return st;
    }
    *out = model;
    return VLMOE_OK;
}

void vlmoe_model_destroy(vlmoe_model *model)
{
    if (!model) return;
    vlm_mome_destroy(model->mome);
    vlm_free(model);
}

vlmoe_status vlmoe_model_init(vlmoe_model *model)
{
    return vlm_ctx_init_params(model->ctx);
}

int64_t vlmoe_model_width(const vlmoe_model *model)
{
    return model->width;
}

int64_t vlmoe_model_patches(const vlmoe_model *model)
{
    return model->patches;
}

/* Begin a recording and encode. On failure no recording is open. */
static vlmoe_status encode(vlmoe_model *model, const vlmoe_model_inputs *in, vlmoe_tape **tape,
                           vlm_mome_output *out)
{
    if (in->struct_size != sizeof *in)
        return vlm_fail(
            vlm_ctx_error(model->ctx), VLMOE_E_ARG,
            "vlmoe_model_inputs has size %zu, expected %zu: start from VLMOE_MODEL_INPUTS",
            in->struct_size, sizeof *in);
    vlm_mome_inputs inputs = {.n_images = in->n_images,
                              .n_texts = in->n_texts,
                              .n_pairs = in->n_pairs,
                              .pixels = in->pixels,
                              .patch_mask = in->patch_mask,
                              .token = in->token,
                              .text_offset = in->text_offset};
    VLM_TRY(vlmoe_tape_begin(model->ctx, VLMOE_PREDICT, tape));
    vlm_mome_encode(*tape, model->mome, &inputs, false, out);
    vlmoe_status st = vlmoe_tape_status(*tape);
    if (st) vlmoe_tape_end(*tape);
    return st;
}

/* One vector from the hidden rows first .. first+count-1. */
static void pool_rows(vlmoe_pool pool, const double *hidden, int64_t D, int64_t count, float *out)
{
    int64_t skip = pool == VLMOE_POOL_MEAN && count > 1 ? 1 : 0;
    int64_t n = pool == VLMOE_POOL_CLS ? 1 : count - skip;
    for (int64_t c = 0; c < D; c++) {
        double sum = 0.0;
        for (int64_t r = skip; r < skip + n; r++) sum += hidden[r * D + c];
        out[c] = (float)(sum / (double)n);
    }
}

vlmoe_status vlmoe_model_embed(vlmoe_model *model, const vlmoe_model_inputs *inputs,
                               vlmoe_pool pool, float *out)
{
    vlmoe_tape *tape = NULL;
    vlm_mome_output encoded;
    VLM_TRY(encode(model, inputs, &tape, &encoded));
    const vlm_mome_rows *rows = &encoded.rows;
    int64_t D = model->width, n_pictures = inputs->n_images + inputs->n_pairs,
            n_texts = inputs->n_pairs + inputs->n_texts;
    double *hidden = vlm_alloc_array((size_t)(rows->n_rows * D), sizeof *hidden);
    vlmoe_status st = hidden ? VLMOE_OK
                             : vlm_fail(&model->ctx->error, VLMOE_E_NOMEM,
                                        "no memory for %lld rows", (long long)rows->n_rows);
    if (!st) st = vlm_download_wide(model->ctx, encoded.hidden->data, rows->n_rows * D, hidden);
    if (st) goto done;
    for (int64_t i = 0; i < n_pictures; i++)
        pool_rows(pool, hidden + i * (1 + rows->patches) * D, D, 1 + rows->patches, out + i * D);
    for (int64_t j = 0; j < n_texts; j++) {
        int64_t first = inputs->text_offset[j], count = inputs->text_offset[j + 1] - first;
        pool_rows(pool, hidden + (rows->text_begin + first) * D, D, count,
                  out + (n_pictures + j) * D);
    }
done:
    vlm_free(hidden);
    vlmoe_tape_end(tape);
    return st;
}

/* Logits of a head for rows x [n, D], to the host. */
static vlmoe_status read_head(vlmoe_tape *tape, const vlmoe_model *model, bool is_word,
                              vlmoe_tensor *x, float *out)
{
    vlmoe_tensor *logits = is_word ? vlm_mome_word_logits(tape, model->mome, x)
                                   : vlm_mome_code_logits(tape, model->mome, x);
    VLM_TRY(vlmoe_tape_status(tape));
    int64_t n = vlm_count(logits);
    double *wide = vlm_alloc_array((size_t)n, sizeof *wide);
    if (!wide)
        return vlm_fail(&model->ctx->error, VLMOE_E_NOMEM, "no memory for %lld logits",
                        (long long)n);
    vlmoe_status st = vlm_download_wide(model->ctx, logits->data, n, wide);
    for (int64_t i = 0; i < n && !st; i++) out[i] = (float)wide[i];
    vlm_free(wide);
    return st;
}

/* Hidden rows of n places [n, D]: words by token, patches by picture * P + patch. */
static vlmoe_tensor *gather_places(vlmoe_tape *tape, vlm_mome_output *encoded, bool is_word,
                                   int64_t n, const int64_t *at)
{
    const vlm_mome_rows *rows = &encoded->rows;
    int64_t P = rows->patches, limit = is_word ? rows->n_text : rows->n_vision / (1 + P) * P;
    int32_t *row = vlm_tape_host(tape, (size_t)n * sizeof *row);
    vlm_tape_where(tape, "");
    for (int64_t i = 0; row && i < n; i++) {
        if (at[i] < 0 || at[i] >= limit)
            return vlm_poison(tape, VLMOE_E_ARG,
                              "place %lld to predict at is %lld, expected 0 to %lld", (long long)i,
                              (long long)at[i], (long long)limit - 1);
        row[i] =
            (int32_t)(is_word ? rows->text_begin + at[i] : at[i] / P * (1 + P) + 1 + at[i] % P);
    }
    const int32_t *d_row = row ? vlm_tape_upload(tape, row, (size_t)n * sizeof *row) : NULL;
    return d_row ? vlm_gather_sum(tape, 1, &encoded->hidden, &d_row, n, tape->ctx->compute) : NULL;
}

static vlmoe_status predict(vlmoe_model *model, const vlmoe_model_inputs *inputs, bool is_word,
                            int64_t n, const int64_t *at, float *out)
{
    vlmoe_tape *tape = NULL;
    vlm_mome_output encoded;
    if (n == 0) return VLMOE_OK;
    if (n < 0)
        return vlm_fail(vlm_ctx_error(model->ctx), VLMOE_E_ARG, "%lld places to predict at",
                        (long long)n);
    VLM_TRY(encode(model, inputs, &tape, &encoded));
    vlmoe_tensor *x = gather_places(tape, &encoded, is_word, n, at);
    vlmoe_status st = read_head(tape, model, is_word, x, out);
    vlmoe_tape_end(tape);
    return st;
}

vlmoe_status vlmoe_model_word_logits(vlmoe_model *model, const vlmoe_model_inputs *inputs,
                                     int64_t n, const int64_t *at, float *out)
{
    return predict(model, inputs, true, n, at, out);
}

vlmoe_status vlmoe_model_code_logits(vlmoe_model *model, const vlmoe_model_inputs *inputs,
                                     int64_t n, const int64_t *at, float *out)
{
    return predict(model, inputs, false, n, at, out);
}
