/* Pieces: who owns which elements of the file tensors, and where they lie on the owner. Here as on one rank, where a piece is a file
 * tensor. */
#include "autograd_internal.h"

int64_t vlm_param_file_elements(const vlm_param *param)
{
    int64_t n = vlm_param_elements(param);
    return param->n_experts > 0 ? n / param->n_local : n;
}

void *vlm_piece_moment(const vlmoe_context *ctx, const vlm_piece *piece, int which)
{
    size_t at = (size_t)(piece->moment + which * ctx->n_moments);
    return (char *)ctx->moments + at * vlm_dtype_bytes(ctx->moment_dtype);
}

static void *element(void *data, vlmoe_dtype dtype, int64_t i)
{
    return data ? (char *)data + (size_t)i * vlm_dtype_bytes(dtype) : NULL;
}

vlm_piece vlm_piece_whole(vlm_param *param, int64_t e)
{
    const vlmoe_context *ctx = param->tensor.ctx;
    int64_t n = vlm_param_file_elements(param), at = e * n;
    bool has_own_copy = param->has_copy && param->copy != param->tensor.data;
    return (vlm_piece){.param = param,
                       .expert = param->n_experts > 0 ? param->first_expert + e : -1,
                       .n = n,
                       .owner = vlm_ctx_rank(ctx),
                       .value = element(param->tensor.data, ctx->wide, at),
                       .grad = element(param->total, ctx->wide, at),
                       .copy = has_own_copy ? element(param->copy, ctx->compute, at) : NULL,
                       .moment = param->at + at};
}

vlmoe_status vlm_pieces_make(vlmoe_context *ctx)
{
    int64_t n = 0;
    for (int64_t i = 0; i < ctx->n_params; i++) n += vlm_param_files(ctx->params[i]);
    ctx->pieces = vlm_alloc_array((size_t)n, sizeof *ctx->pieces);
    if (!ctx->pieces)
        return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory for a list of %lld tensors",
                        (long long)n);
    for (int64_t i = 0; i < ctx->n_params; i++)
        for (int64_t e = 0; e < vlm_param_files(ctx->params[i]); e++)
            ctx->pieces[ctx->n_pieces++] = vlm_piece_whole(ctx->params[i], e);
    return VLMOE_OK;
}

vlm_state_bytes vlm_ctx_state_bytes(const vlmoe_context *ctx)
{
    size_t wide = vlm_dtype_bytes(ctx->wide), n = (size_t)ctx->n_elements;
    return (vlm_state_bytes){
        .values = n * wide,
        .copies = ctx->compute == ctx->wide ? 0 : n * vlm_dtype_bytes(ctx->compute),
        .gradients = (n + (size_t)ctx->n_totals) * wide,
        .moments = 2 * (size_t)ctx->n_moments * vlm_dtype_bytes(ctx->moment_dtype)};
}
