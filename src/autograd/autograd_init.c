/* First values of parameters. They depend on the seed, a parameter's place in the registry and the expert, on nothing else. */
#include <math.h>
#include "autograd_internal.h"
#include "base_rng.h"

/* Drawn and uploaded in pieces of this many elements. */
enum { PIECE = 1 << 14 };

/* Standard normal cut at one deviation (Bao et al. 2022): draws outside are thrown away. */
static double cut_normal(vlm_rng *rng)
{
    double z;
    do z = vlm_rng_normal(rng);
    while (fabs(z) > 1.0);
    return z;
}

static void put_wide(void *data, vlmoe_dtype wide, int64_t i, double value)
{
    if (wide == VLMOE_F64) ((double *)data)[i] = value;
    else ((float *)data)[i] = (float)value;
}

/* Where a rank has no whole tensor: to the copy, and to the master values of what it owns. A step at most, by way of the device. */
static vlmoe_status put_spread(vlm_param *param, int64_t expert, int64_t first, int64_t n,
                               const void *host)
{
    vlmoe_context *ctx = param->tensor.ctx;
    int64_t at =
        (expert < 0 ? 0 : expert - param->first_expert) * vlm_param_file_elements(param) + first;
    size_t wide = vlm_dtype_bytes(ctx->wide);
    char *staged = vlm_heap_take(&ctx->arena, (size_t)n * wide);
    if (!staged)
        return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory to write values of %s", param->name);
    const vlmk_convert_args copy = {.n = n,
                                    .src_dtype = ctx->wide,
                                    .dst_dtype = ctx->compute,
                                    .src = staged,
                                    .dst = vlm_element(param->copy, ctx->compute, at)};
    vlmoe_status status = vlm_ctx_upload(ctx, staged, host, (size_t)n * wide, &ctx->error);
    if (!status) status = VLM_KERNEL(ctx, convert, &copy);
    for (int64_t i = 0; i < param->n_pieces && !status; i++) {
        const vlm_piece *piece = &ctx->pieces[param->first_piece + i];
        int64_t from = VLM_MAX(first, piece->first),
                to = VLM_MIN(first + n, piece->first + piece->n);
        bool is_here = piece->expert == expert && vlm_piece_is_mine(piece, vlm_ctx_rank(ctx));
        if (!is_here || from >= to) continue;
        status = ctx->backend->copy(
            ctx->device, vlm_element(piece->value, ctx->wide, from - piece->first),
            staged + (size_t)(from - first) * wide, (size_t)(to - from) * wide);
    }
    if (!status) status = ctx->backend->sync(ctx->device, &ctx->error);
    vlm_heap_give(&ctx->arena, staged);
    return status;
}

vlmoe_status vlm_param_put(vlm_param *param, int64_t expert, int64_t first, int64_t n,
                           const void *host)
{
    vlmoe_context *ctx = param->tensor.ctx;
    size_t wide = vlm_dtype_bytes(ctx->wide);
    int64_t local = expert < 0 ? 0 : expert - param->first_expert;
    if (local < 0 || local >= VLM_MAX(param->n_local, 1)) return VLMOE_OK;
    if (param->tensor.data) {
        int64_t at = local * vlm_param_file_elements(param) + first;
        return vlm_ctx_upload(ctx, vlm_element(param->tensor.data, ctx->wide, at), host,
                              (size_t)n * wide, &ctx->error);
    }
    for (int64_t done = 0; done < n; done += PIECE)
        VLM_TRY(put_spread(param, expert, first + done, VLM_MIN(PIECE, n - done),
                           (const char *)host + (size_t)done * wide));
    return VLMOE_OK;
}

/* Values of one file tensor; draws are those of the expert `from` (0: of a plain parameter). piece: [PIECE] wide. */
static vlmoe_status fill(vlm_param *param, int64_t expert, int64_t from, void *piece)
{
    vlmoe_context *ctx = param->tensor.ctx;
    int64_t count = vlm_param_file_elements(param);
    vlm_rng rng = vlm_rng_at(ctx->seed, VLM_STREAM_INIT, (uint64_t)param->index, (uint64_t)from, 0);
    for (int64_t done = 0; done < count; done += PIECE) {
        int64_t n = VLM_MIN(count - done, PIECE);
        for (int64_t i = 0; i < n; i++)
            put_wide(piece, ctx->wide, i,
                     param->init_std > 0.0 ? param->init_std * cut_normal(&rng)
                                           : param->init_value);
        VLM_TRY(vlm_param_put(param, expert, done, n, piece));
    }
    return VLMOE_OK;
}

/* This rank's experts, or the parameter. Equal experts are drawn once where this rank has them whole. */
static vlmoe_status fill_all(vlm_param *param, void *piece)
{
    vlmoe_context *ctx = param->tensor.ctx;
    char *data = param->tensor.data;
    size_t bytes = (size_t)vlm_param_file_elements(param) * vlm_dtype_bytes(ctx->wide);
    if (!param->n_experts) return fill(param, -1, 0, piece);
    for (int64_t e = 0; e < param->n_local; e++) {
        int64_t id = param->first_expert + e;
        if (e > 0 && param->init_equal && data)
            VLM_TRY(ctx->backend->copy(ctx->device, data + (size_t)e * bytes, data, bytes));
        else VLM_TRY(fill(param, id, param->init_equal ? 0 : id, piece));
    }
    return VLMOE_OK;
}

vlmoe_status vlm_param_init(vlm_param *param)
{
    vlmoe_context *ctx = param->tensor.ctx;
    VLM_TRY(vlm_ctx_build(ctx));
    if (!ctx->backend->has_data) return VLMOE_OK;
    void *piece = vlm_alloc_array(PIECE, vlm_dtype_bytes(ctx->wide));
    if (!piece)
        return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory to initialise parameter %s",
                        param->name);
    vlmoe_status status = fill_all(param, piece);
    vlm_free(piece);
    return status ? status : vlm_param_refresh(param);
}

vlmoe_status vlm_ctx_init_params(vlmoe_context *ctx)
{
    vlm_ctx_error(ctx);
    for (int64_t i = 0; i < ctx->n_params; i++) VLM_TRY(vlm_param_init(ctx->params[i]));
    return VLMOE_OK;
}

static vlmoe_status init_public(vlmoe_tensor *param, double deviation, double value)
{
    vlmoe_error *error = vlm_ctx_error(param->ctx);
    if (!param->param) return vlm_fail(error, VLMOE_E_ARG, "only parameters have first values");
    if (!isfinite(deviation) || deviation < 0.0 || !isfinite(value))
        return vlm_fail(error, VLMOE_E_ARG,
                        "parameter %s: a first value of deviation %g and mean %g",
                        param->param->name, deviation, value);
    param->param->init_std = deviation;
    param->param->init_value = value;
    return vlm_param_init(param->param);
}

vlmoe_status vlmoe_param_init_normal(vlmoe_tensor *param, double deviation)
{
    return init_public(param, deviation, 0.0);
}

vlmoe_status vlmoe_param_init_constant(vlmoe_tensor *param, double value)
{
    return init_public(param, 0.0, value);
}
