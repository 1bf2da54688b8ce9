/* The code book of the image tokeniser: start by k-means, moving averages, new starts for dead
 * codes (VQ-VAE, van den Oord et al. 2017, appendix; unit codes as BEiT v2). The truth is f32 on
 * the host, so a checkpoint holds all of it; sums are doubles in row order. */
#include <math.h>
#include <string.h>
#include "base_rng.h"
#include "model_tokeniser_parts.h"

vlmoe_status vlm_codebook_init(vlm_tokeniser *model)
{
    size_t n = (size_t)model->config.codes, C = (size_t)model->config.code_dim;
    model->code = vlm_alloc_array(n, C * sizeof *model->code);
    model->sum = vlm_alloc_array(n, C * sizeof *model->sum);
    model->count = vlm_alloc_array(n, sizeof *model->count);
    model->step.sum = vlm_alloc_array(n, C * sizeof *model->step.sum);
    model->step.count = vlm_alloc_array(n, sizeof *model->step.count);
    if (!model->code || !model->sum || !model->count || !model->step.sum || !model->step.count)
        return vlm_fail(&model->ctx->error, VLMOE_E_NOMEM, "no memory for a code book of %zu codes",
                        n);
    const vlm_backend *backend = model->ctx->backend;
    return backend->alloc(model->ctx->device, VLM_MEMORY_DEVICE,
                          n * C * vlm_dtype_bytes(model->ctx->wide), &model->d_code,
                          &model->ctx->error);
}

void vlm_codebook_fini(vlm_tokeniser *model)
{
    if (model->d_code) model->ctx->backend->release(model->ctx->device, model->d_code);
    vlm_free(model->code);
    vlm_free(model->sum);
    vlm_free(model->count);
    vlm_free(model->step.sum);
    vlm_free(model->step.count);
    vlm_free(model->step.feature);
    vlm_free(model->work);
}

double *vlm_tokeniser_work(vlm_tokeniser *model, int64_t n)
{
    if (n <= model->work_capacity) return model->work;
    double *work = vlm_alloc_array((size_t)n, sizeof *work);
    if (!work) {
        vlm_fail(&model->ctx->error, VLMOE_E_NOMEM, "no memory for %lld numbers", (long long)n);
        return NULL;
    }
    vlm_free(model->work);
    model->work = work;
    model->work_capacity = n;
    return work;
}

vlmoe_status vlm_codebook_upload(vlm_tokeniser *model)
{
    const vlm_backend *backend = model->ctx->backend;
    int64_t n = model->config.codes * model->config.code_dim;
    if (model->ctx->wide == VLMOE_F32)
        return backend->upload(model->ctx->device, model->d_code, model->code,
                               (size_t)n * sizeof(float));
    double *wide = vlm_alloc_array((size_t)n, sizeof *wide);
    if (!wide)
        return vlm_fail(&model->ctx->error, VLMOE_E_NOMEM,
                        "no memory for a code book of %lld numbers", (long long)n);
    for (int64_t i = 0; i < n; i++) wide[i] = (double)model->code[i];
    vlmoe_status st =
        backend->upload(model->ctx->device, model->d_code, wide, (size_t)n * sizeof *wide);
    if (!st)
        st = backend->sync(model->ctx->device, &model->ctx->error); /* wide is read until then */
    vlm_free(wide);
    return st;
}

/* On a device without data (meta) there is nothing to start. */
vlmoe_status vlm_codebook_check_started(const vlm_tokeniser *model)
{
    if (model->started || !model->ctx->backend->has_data) return VLMOE_OK;
    return vlm_fail(vlm_ctx_error(model->ctx), VLMOE_E_STATE,
                    "the image tokeniser's code book has no values yet: start it or load it first");
}

/* code = v / |v|; a zero vector leaves it as it is. */
static void set_unit(int64_t C, const double *v, float *code)
{
    double square = 0.0;
    for (int64_t c = 0; c < C; c++) square += v[c] * v[c];
    if (square <= 0.0) return;
    double norm = sqrt(square);
    for (int64_t c = 0; c < C; c++) code[c] = (float)(v[c] / norm);
}

static void clear_step(vlm_tokeniser *m)
{
    memset(m->step.count, 0, (size_t)m->config.codes * sizeof *m->step.count);
    memset(m->step.sum, 0, (size_t)(m->config.codes * m->config.code_dim) * sizeof *m->step.sum);
    m->step.n_features = 0;
}

/* Room for n more features of the step. */
static vlmoe_status reserve_features(vlm_tokeniser *m, int64_t n)
{
    vlm_code_sums *step = &m->step;
    if (step->n_features + n <= step->capacity) return VLMOE_OK;
    int64_t capacity = VLM_MAX(2 * step->capacity, step->n_features + n), C = m->config.code_dim;
    float *feature = vlm_alloc_array((size_t)capacity, (size_t)C * sizeof *feature);
    if (!feature)
        return vlm_fail(&m->ctx->error, VLMOE_E_NOMEM, "no memory for %lld features of a step",
                        (long long)capacity);
    if (step->n_features)
        memcpy(feature, step->feature, (size_t)(step->n_features * C) * sizeof *feature);
    vlm_free(step->feature);
    step->feature = feature;
    step->capacity = capacity;
    return VLMOE_OK;
}

/* In row order. */
vlmoe_status vlm_tokeniser_add(vlm_tokeniser *m, const vlm_code_choices *choices)
{
    const int64_t C = m->config.code_dim;
    const double *feature = choices->feature;
    VLM_TRY(reserve_features(m, choices->n));
    float *kept = m->step.feature + m->step.n_features * C;
    for (int64_t i = 0; i < choices->n; i++) {
        const int32_t k = choices->code[i];
        m->step.count[k] += 1.0;
        for (int64_t c = 0; c < C; c++) {
            m->step.sum[k * C + c] += feature[i * C + c];
            kept[i * C + c] = (float)feature[i * C + c];
        }
    }
    m->step.n_features += choices->n;
    return VLMOE_OK;
}

/* The features of a recording and the codes they chose, from the device. */
static vlmoe_status fetch(vlm_tokeniser *m, const vlmoe_tensor *z, const int32_t *d_index,
                          vlm_code_choices *out)
{
    int64_t M = vlm_rows(z), C = m->config.code_dim;
    double *feature = vlm_tokeniser_work(m, M * C + M);
    if (!feature) return VLMOE_E_NOMEM;
    int32_t *code = (int32_t *)(feature + M * C);
    VLM_TRY(vlm_download_wide(m->ctx, z->data, M * C, feature));
    VLM_TRY(m->ctx->backend->download(m->ctx->device, code, d_index, (size_t)M * sizeof *code));
    *out = (vlm_code_choices){M, feature, code};
    return VLMOE_OK;
}

vlmoe_status vlm_tokeniser_fetch(vlmoe_tape *tape, vlm_tokeniser *model, vlm_code_choices *out)
{
    VLM_TRY(vlmoe_tape_status(tape));
    *out = (vlm_code_choices){0, NULL, NULL};
    if (!model->ctx->backend->has_data) return VLMOE_OK;
    if (!model->z)
        return vlm_fail(vlm_ctx_error(model->ctx), VLMOE_E_STATE,
                        "no loss of the image tokeniser was recorded on this tape");
    vlmoe_status st = fetch(model, model->z, model->d_index, out);
    model->z = NULL;
    return st;
}

vlmoe_status vlm_tokeniser_collect(vlmoe_tape *tape, vlm_tokeniser *model)
{
    vlm_code_choices choices;
    VLM_TRY(vlm_tokeniser_fetch(tape, model, &choices));
    return vlm_tokeniser_add(model, &choices);
}

/* Codes that are used too little take a feature of the step and the smallest count that counts
 * as used, so they must earn more at once. */
static void revive(vlm_tokeniser *m, int64_t step)
{
    int64_t n = m->config.codes, C = m->config.code_dim;
    double mean = 0.0;
    for (int64_t k = 0; k < n; k++) mean += (double)m->count[k] / (double)n;
    double least = m->config.revive_below * mean;
    vlm_rng rng = vlm_rng_at(m->ctx->seed, VLM_STREAM_CODEBOOK, (uint64_t)step, 1, 0);
    for (int64_t k = 0; k < n; k++) {
        if ((double)m->count[k] >= least) continue;
        const float *feature =
            m->step.feature + (int64_t)vlm_rng_below(&rng, (uint64_t)m->step.n_features) * C;
        m->count[k] = (float)least;
        for (int64_t c = 0; c < C; c++) {
            m->code[k * C + c] = feature[c];
            m->sum[k * C + c] = (float)(least * (double)feature[c]);
        }
    }
}

vlmoe_status vlm_tokeniser_update(vlm_tokeniser *model, int64_t step)
{
    int64_t n = model->config.codes, C = model->config.code_dim;
    double keep = model->config.ema, add = 1.0 - keep;
    if (!model->ctx->backend->has_data || !model->step.n_features) return VLMOE_OK;
    for (int64_t k = 0; k < n; k++) {
        model->count[k] = (float)(keep * (double)model->count[k] + add * model->step.count[k]);
        double *sum = model->step.sum + k * C;
        for (int64_t c = 0; c < C; c++) {
            sum[c] = keep * (double)model->sum[k * C + c] + add * sum[c];
            model->sum[k * C + c] = (float)sum[c];
        }
        set_unit(C, sum, model->code + k * C);
    }
    revive(model, step);
    clear_step(model);
    return vlm_codebook_upload(model);
}

/* First codes: features at distinct places, chosen by the seed (repeated only where there are
 * fewer features than codes). */
static vlmoe_status pick_codes(vlm_tokeniser *m, const vlmoe_tensor *z)
{
    int64_t M = vlm_rows(z), C = m->config.code_dim;
    uint64_t key = vlm_rng_key(m->ctx->seed, VLM_STREAM_CODEBOOK, 0, 0, 0);
    double *feature = vlm_alloc_array((size_t)(M * C), sizeof *feature);
    if (!feature)
        return vlm_fail(&m->ctx->error, VLMOE_E_NOMEM, "no memory for %lld features", (long long)M);
    vlmoe_status st = vlm_download_wide(m->ctx, z->data, M * C, feature);
    for (int64_t k = 0; k < m->config.codes && !st; k++) {
        int64_t i = (int64_t)vlm_rng_permute(key, (uint64_t)M, (uint64_t)(k % M));
        set_unit(C, feature + i * C, m->code + k * C);
    }
    vlm_free(feature);
    return st ? st : vlm_codebook_upload(m);
}

/* One assignment of the features to the present codes, into the step's sums. */
static vlmoe_status assign(vlm_tokeniser *m, const vlmoe_tensor *z, int32_t *d_index)
{
    vlmk_vq_assign_args args = {.M = vlm_rows(z),
                                .n_codes = m->config.codes,
                                .C = m->config.code_dim,
                                .z = z->data,
                                .code = m->d_code,
                                .index = d_index};
    vlm_code_choices choices;
    clear_step(m);
    VLM_TRY(VLM_KERNEL(m->ctx, vq_assign, &args));
    VLM_TRY(fetch(m, z, d_index, &choices));
    return vlm_tokeniser_add(m, &choices);
}

static vlmoe_status run_kmeans(vlmoe_tape *tape, vlm_tokeniser *m, const vlmoe_tensor *z)
{
    int64_t n = m->config.codes, C = m->config.code_dim;
    int32_t *d_index = vlm_tape_device(tape, (size_t)vlm_rows(z) * sizeof *d_index);
    if (!d_index) return vlmoe_tape_status(tape);
    VLM_TRY(pick_codes(m, z));
    for (int64_t round = 0; round < m->config.kmeans_iterations; round++) {
        VLM_TRY(assign(m, z, d_index));
        for (int64_t k = 0; k < n; k++) set_unit(C, m->step.sum + k * C, m->code + k * C);
        VLM_TRY(vlm_codebook_upload(m));
    }
    VLM_TRY(assign(m, z, d_index));
    for (int64_t k = 0; k < n; k++) {
        m->count[k] = (float)m->step.count[k];
        for (int64_t c = 0; c < C; c++) m->sum[k * C + c] = m->count[k] * m->code[k * C + c];
    }
    return VLMOE_OK;
}

vlmoe_status vlm_tokeniser_start(vlm_tokeniser *model, int64_t n, const uint8_t *pixels)
{
    if (n < 1)
        return vlm_fail(vlm_ctx_error(model->ctx), VLMOE_E_ARG,
                        "a code book starts from at least one picture, got %lld", (long long)n);
    if (!model->ctx->backend->has_data) return VLMOE_OK;
    vlmoe_tape *tape = NULL;
    VLM_TRY(vlmoe_tape_begin(model->ctx, VLMOE_PREDICT, &tape));
    vlmoe_tensor *z = vlm_tokeniser_features(tape, model, n, pixels);
    vlmoe_status st = vlmoe_tape_status(tape);
    if (!st) st = run_kmeans(tape, model, z);
    clear_step(model);
    model->started = st == VLMOE_OK;
    vlmoe_tape_end(tape);
    return st;
}

vlmoe_status vlm_tokeniser_state(vlm_tokeniser *model, vlm_codebook_state *out)
{
    *out = (vlm_codebook_state){.codes = model->config.codes,
                                .code_dim = model->config.code_dim,
                                .code = model->code,
                                .count = model->count,
                                .sum = model->sum,
                                .started = model->started};
    return VLMOE_OK;
}

vlmoe_status vlm_tokeniser_state_set(vlm_tokeniser *model, const vlm_codebook_state *state)
{
    int64_t n = model->config.codes, C = model->config.code_dim;
    if (state->codes != n || state->code_dim != C)
        return vlm_fail(
            vlm_ctx_error(model->ctx), VLMOE_E_SHAPE,
            "a code book of %lld codes of width %lld does not fit one of %lld codes of width %lld",
            (long long)state->codes, (long long)state->code_dim, (long long)n, (long long)C);
    memmove(model->code, state->code, (size_t)(n * C) * sizeof *model->code);
    memmove(model->sum, state->sum, (size_t)(n * C) * sizeof *model->sum);
    memmove(model->count, state->count, (size_t)n * sizeof *model->count);
    model->started = state->started;
    return vlm_codebook_upload(model);
}

double vlm_tokeniser_usage(const vlm_tokeniser *model)
{
    double mean = 0.0;
    int64_t used = 0, n = model->config.codes;
    for (int64_t k = 0; k < n; k++) mean += (double)model->count[k] / (double)n;
    for (int64_t k = 0; k < n; k++)
        used += (double)model->count[k] > model->config.revive_below * mean;
    return (double)used / (double)n;
}
