/* What the image tokeniser is trained on and asked for: losses, codes of pictures, pictures of
 * codes. */
#include <math.h>
#include <string.h>
#include "model_tokeniser_parts.h"

enum {
    ENCODE_AT_ONCE = 64,
    DECODE_AT_ONCE = 16
}; /* pictures: bounds the memory of one recording */

/* Patch p of picture i in the order of vlm_patch_vectors, its own mean and deviation removed:
 * out [3 patch patch]. Deviation at least 1e-3 of the pixel range, so that a flat patch gives
 * zeros. */
static void normalise_patch(const vlm_picture_format *f, const uint8_t *picture, int64_t p,
                            double *out)
{
    int64_t side = f->size / f->patch, n = 3 * f->patch * f->patch, at = 0;
    double sum = 0.0, square = 0.0;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t y = 0; y < f->patch; y++)
            for (int64_t x = 0; x < f->patch; x++, at++) {
                int64_t row = p / side * f->patch + y, col = p % side * f->patch + x;
                out[at] = (double)picture[(row * f->size + col) * 3 + c] / 255.0;
                sum += out[at];
            }
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) square += (out[i] - mean) * (out[i] - mean);
    double deviation = fmax(sqrt(square / (double)n), 1e-3);
    for (int64_t i = 0; i < n; i++) out[i] = (out[i] - mean) / deviation;
}

static void *upload_targets(vlmoe_tape *tape, vlm_tokeniser *m, int64_t n, const uint8_t *pixels)
{
    double *target = vlm_tokeniser_work(m, n * m->patches * m->patch_width);
    if (!target)
        return vlm_poison(tape, VLMOE_E_NOMEM, "no memory for the targets of %lld pictures",
                          (long long)n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < m->patches; p++)
            normalise_patch(&m->picture, pixels + i * m->picture.size * m->picture.size * 3, p,
                            target + (i * m->patches + p) * m->patch_width);
    return vlm_upload_wide(tape, target, n * m->patches * m->patch_width);
}

/* value / rows for each of the rows, on the device. */
static void *upload_weight(vlmoe_tape *tape, int64_t rows, double value)
{
    double *weight = vlm_tape_host(tape, (size_t)rows * sizeof *weight);
    if (!weight) return NULL;
    for (int64_t r = 0; r < rows; r++) weight[r] = value / (double)rows;
    return vlm_upload_wide(tape, weight, rows);
}

void vlm_tokeniser_loss(vlmoe_tape *tape, vlm_tokeniser *model, int64_t n, const uint8_t *pixels,
                        vlm_tokeniser_losses *out)
{
    memset(out, 0, sizeof *out);
    model->z = NULL;
    int64_t rows = n * model->patches;
    if (vlmoe_tape_status(tape)) return;
    if (n < 1) {
        vlm_poison(tape, VLMOE_E_ARG, "the image tokeniser needs at least one picture, got %lld",
                   (long long)n);
        return;
    }
    vlmoe_status st = vlm_codebook_check_started(model);
    if (st) {
        vlm_poison(tape, st, "%s", model->ctx->error.text);
        return;
    }
    vlmoe_tensor *z = vlm_tokeniser_features(tape, model, n, pixels);
    const int32_t *d_index = NULL;
    vlmoe_tensor *code = vlm_quantise(tape, z, model->d_code, model->config.codes, &d_index);
    vlmoe_tensor *got = vlm_tokeniser_regress(tape, model, n, code);
    void *d_target = upload_targets(tape, model, n, pixels);
    void *d_mean = upload_weight(tape, rows, 1.0);
    void *d_sum = upload_weight(
        tape, rows,
        (double)model->config.code_dim); /* squared distance: the sum over the code's numbers */
    if (!got || !d_target || !d_mean || !d_sum) return;

    void *d_row_loss;
    out->reconstruction = vlm_mse_rows(tape, got, d_target, d_mean, &d_row_loss);
    out->commitment =
        vlm_mse_rows(tape, z, code->data, d_sum,
                     &d_row_loss); /* the code stands still: its data is a constant here */
    vlmoe_loss_add(tape, out->reconstruction, 1.0);
    vlmoe_loss_add(tape, out->commitment, model->config.commitment);
    model->z = z;
    model->d_index = d_index;
}

static vlmoe_status codes_of(vlm_tokeniser *m, int64_t n, const uint8_t *pixels, int32_t *out)
{
    vlmoe_tape *tape = NULL;
    VLM_TRY(vlmoe_tape_begin(m->ctx, VLMOE_PREDICT, &tape));
    const int32_t *d_index = NULL;
    vlmoe_tensor *z = vlm_tokeniser_features(tape, m, n, pixels);
    vlm_quantise(tape, z, m->d_code, m->config.codes, &d_index);
    vlmoe_status st = vlmoe_tape_status(tape);
    if (!st)
        st = m->ctx->backend->download(m->ctx->device, out, d_index,
                                       (size_t)(n * m->patches) * sizeof *out);
    vlmoe_tape_end(tape);
    return st;
}

vlmoe_status vlm_tokeniser_codes(vlm_tokeniser *model, int64_t n, const uint8_t *pixels,
                                 int32_t *out)
{
    VLM_TRY(vlm_codebook_check_started(model));
    int64_t picture_bytes = model->picture.size * model->picture.size * 3;
    for (int64_t i = 0; i < n; i += ENCODE_AT_ONCE)
        VLM_TRY(codes_of(model, VLM_MIN(n - i, ENCODE_AT_ONCE), pixels + i * picture_bytes,
                         out + i * model->patches));
    return VLMOE_OK;
}

static vlmoe_status decode_some(vlm_tokeniser *m, int64_t n, const int32_t *codes, float *out)
{
    vlmoe_tape *tape = NULL;
    int64_t rows = n * m->patches, C = m->config.code_dim;
    VLM_TRY(vlmoe_tape_begin(m->ctx, VLMOE_PREDICT, &tape));
    float *code = vlm_tape_host(tape, (size_t)(rows * C) * sizeof *code);
    double *got = vlm_tape_host(tape, (size_t)(rows * m->patch_width) * sizeof *got);
    for (int64_t r = 0; code && r < rows; r++)
        memcpy(code + r * C, m->code + codes[r] * C, (size_t)C * sizeof *code);
    vlmoe_tensor *x = code ? vlmoe_input(tape, VLMOE_F32, 2, (int64_t[]){rows, C}, code) : NULL;
    x = vlm_tokeniser_regress(tape, m, n, x);
    vlmoe_status st = vlmoe_tape_status(tape);
    if (!st) st = vlm_download_wide(m->ctx, x->data, rows * m->patch_width, got);
    for (int64_t i = 0; i < rows * m->patch_width && !st; i++) out[i] = (float)got[i];
    vlmoe_tape_end(tape);
    return st;
}

vlmoe_status vlm_tokeniser_decode(vlm_tokeniser *model, int64_t n, const int32_t *codes, float *out)
{
    VLM_TRY(vlm_codebook_check_started(model));
    for (int64_t i = 0; i < n * model->patches; i++)
        if (codes[i] < 0 || codes[i] >= model->config.codes)
            return vlm_fail(vlm_ctx_error(model->ctx), VLMOE_E_ARG,
                            "image code %d is out of range, expected 0 to %lld", codes[i],
                            (long long)model->config.codes - 1);
    for (int64_t i = 0; i < n; i += DECODE_AT_ONCE)
        VLM_TRY(decode_some(model, VLM_MIN(n - i, DECODE_AT_ONCE), codes + i * model->patches,
                            out + i * model->patches * model->patch_width));
    return VLMOE_OK;
}
