/* One recording for a list of samples; its final vectors pooled, and the heads run on them. */
#include "train_features.h"

static vlmoe_status tape_failed(vlmoe_trainer *t, vlmoe_status st)
{
    return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
}

static vlmoe_status check(vlmoe_trainer *t, const vlm_features *out)
{
    if (!t->model)
        return vlm_fail(
            &t->error, VLMOE_E_STATE,
            "features need a checkpoint of task pretrain; this one is an image tokeniser's");
    if (out->code_logits && !t->tokeniser)
        return vlm_fail(&t->error, VLMOE_E_STATE, "this model has no image code head");
    return VLMOE_OK;
}

/* cls, mean [D] of the rows x [n, D]. */
static void pool(const double *x, int64_t n, int64_t D, float *cls, float *mean)
{
    for (int64_t c = 0; c < D && cls; c++) cls[c] = (float)x[c];
    for (int64_t c = 0; c < D && mean; c++) {
        double sum = 0.0;
        for (int64_t i = 1; i < n; i++) sum += x[i * D + c];
        mean[c] = (float)(sum / (double)(n - 1));
    }
}

static float *row_of(float *base, int64_t i, int64_t D)
{
    return base ? base + i * D : NULL;
}

static vlmoe_status pool_all(vlmoe_trainer *t, const vlm_items *items,
                             const vlm_mome_output *encoded, const vlm_features *out)
{
    const vlm_mome_rows *rows = &encoded->rows;
    int64_t D = t->config->model.width;
    double *x = vlm_alloc_array((size_t)rows->n_rows, (size_t)D * sizeof *x);
    if (!x)
        return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for %lld rows",
                        (long long)rows->n_rows);
    vlmoe_status st = vlm_download_wide(t->ctx, encoded->hidden->data, rows->n_rows * D, x);
    for (int64_t i = 0; i < items->n && !st; i++) {
        if (items->kind != VLM_ITEM_TEXT)
            pool(x + i * (1 + rows->patches) * D, 1 + rows->patches, D,
                 row_of(out->image_cls, i, D), row_of(out->image_mean, i, D));
        if (items->kind != VLM_ITEM_IMAGE)
            pool(x + (rows->text_begin + items->text_offset[i]) * D,
                 items->text_offset[i + 1] - items->text_offset[i], D, row_of(out->text_cls, i, D),
                 row_of(out->text_mean, i, D));
    }
    vlm_free(x);
    return st ? tape_failed(t, st) : VLMOE_OK;
}

/* A head at rows of the final vectors. */
typedef struct head {
    vlmoe_tensor *(*run)(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x);
    int64_t n;
    const int32_t *row; /* [n] */
    float *out;         /* [n, classes] */
} head;

static vlmoe_status run_head(vlmoe_tape *tape, const vlmoe_trainer *t, vlmoe_tensor *hidden,
                             const head *h)
{
    const int32_t *d_row = vlm_tape_upload(tape, h->row, (size_t)h->n * sizeof *h->row);
    if (!d_row) return vlmoe_tape_status(tape);
    vlmoe_tensor *logits =
        h->run(tape, t->model, vlm_gather_sum(tape, 1, &hidden, &d_row, h->n, t->ctx->compute));
    VLM_TRY(vlmoe_tape_status(tape));
    int64_t cols = vlm_cols(logits), bytes = (int64_t)vlm_dtype_bytes(logits->dtype);
    double *wide = vlm_tape_host(tape, (size_t)cols * sizeof *wide);
    if (!wide) return vlmoe_tape_status(tape);
    for (int64_t i = 0; i < h->n; i++) {
        VLM_TRY(
            vlm_download_wide(t->ctx, (const char *)logits->data + i * cols * bytes, cols, wide));
        for (int64_t c = 0; c < cols; c++) h->out[i * cols + c] = (float)wide[c];
    }
    return VLMOE_OK;
}

static vlmoe_status run_heads(vlmoe_tape *tape, const vlmoe_trainer *t, const vlm_items *items,
                              const vlm_mome_output *encoded, const vlm_features *out)
{
    const vlm_mome_rows *rows = &encoded->rows;
    int64_t n_tokens = out->word_logits ? items->text_offset[items->n] : 0,
            n_patches = out->code_logits ? items->n * rows->patches : 0;
    int32_t *row = vlm_tape_host(tape, (size_t)(1 + VLM_MAX(n_tokens, n_patches)) * sizeof *row);
    if (!row) return vlmoe_tape_status(tape);
    for (int64_t i = 0; i < n_tokens; i++) row[i] = (int32_t)(rows->text_begin + i);
    const head words = {vlm_mome_word_logits, n_tokens, row, out->word_logits},
               codes = {vlm_mome_code_logits, n_patches, row, out->code_logits};
    if (n_tokens) VLM_TRY(run_head(tape, t, encoded->hidden, &words));
    for (int64_t i = 0; i < n_patches; i++)
        row[i] = (int32_t)(i / rows->patches * (1 + rows->patches) + 1 + i % rows->patches);
    return n_patches ? run_head(tape, t, encoded->hidden, &codes) : VLMOE_OK;
}

static vlm_mome_inputs inputs_of(const vlm_items *items)
{
    static const int32_t no_text[1] = {0};
    return (vlm_mome_inputs){.n_images = items->kind == VLM_ITEM_IMAGE ? items->n : 0,
                             .n_texts = items->kind == VLM_ITEM_TEXT ? items->n : 0,
                             .n_pairs = items->kind == VLM_ITEM_PAIR ? items->n : 0,
                             .pixels = items->pixels,
                             .token = items->token,
                             .text_offset =
                                 items->kind == VLM_ITEM_IMAGE ? no_text : items->text_offset};
}

vlmoe_status vlm_features_make(vlmoe_trainer *t, const vlm_items *items, const vlm_features *out)
{
    const vlm_mome_inputs inputs = inputs_of(items);
    vlm_mome_output encoded = {0};
    vlmoe_tape *tape = NULL;
    t->error = (vlmoe_error){VLMOE_OK, ""};
    VLM_TRY(check(t, out));
    if (items->n < 1) return VLMOE_OK;
    vlmoe_status st = vlmoe_tape_begin(t->ctx, VLMOE_PREDICT, &tape);
    if (st) return tape_failed(t, st);
    vlm_mome_encode(tape, t->model, &inputs, false, &encoded);
    st = vlmoe_tape_status(tape);
    if (!st) st = pool_all(t, items, &encoded, out);
    if (!st) st = run_heads(tape, t, items, &encoded, out);
    if (st && !t->error.status) tape_failed(t, st);
    vlmoe_tape_end(tape);
    return st;
}
