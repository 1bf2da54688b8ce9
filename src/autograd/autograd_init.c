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

/* Values of elements first .. first+count-1 of the tensor, all of one expert (its id in the model). */
static vlmoe_status fill(vlm_param *param, int64_t expert, int64_t first, int64_t count,
                         void *piece)
{
    vlmoe_context *ctx = param->tensor.ctx;
    size_t wide_bytes = vlm_dtype_bytes(ctx->wide);
    vlm_rng rng =
        vlm_rng_at(ctx->seed, VLM_STREAM_INIT, (uint64_t)param->index, (uint64_t)expert, 0);
    for (int64_t done = 0; done < count; done += PIECE) {
        int64_t n = VLM_MIN(count - done, PIECE);
        for (int64_t i = 0; i < n; i++)
            put_wide(piece, ctx->wide, i,
                     param->init_std > 0.0 ? param->init_std * cut_normal(&rng)
                                           : param->init_value);
        char *dst = (char *)param->tensor.data + (size_t)(first + done) * wide_bytes;
        VLM_TRY(vlm_ctx_upload(ctx, dst, piece, (size_t)n * wide_bytes, &ctx->error));
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
    int64_t n_blocks = param->n_experts > 0 ? param->n_experts : 1;
    int64_t count = vlm_param_elements(param) / n_blocks;
    vlmoe_status status = VLMOE_OK;
    int64_t n_drawn = param->init_equal ? 1 : n_blocks;
    for (int64_t e = 0; e < n_drawn && !status; e++)
        status = fill(param, e, e * count, count, piece);
    size_t bytes = (size_t)count * vlm_dtype_bytes(ctx->wide);
    for (int64_t e = n_drawn; e < n_blocks && !status; e++)
        status = ctx->backend->copy(ctx->device, (char *)param->tensor.data + (size_t)e * bytes,
                                    param->tensor.data, bytes);
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
