/* Pieces: who owns which elements of the file tensors, and where they lie on the owner. Here as on one rank, where a piece is a file
 * tensor. */
#include <string.h>
#include "autograd_internal.h"
#include "autograd_spread.h"

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

int64_t vlm_piece_blocks(const vlm_piece *piece)
{
    return (piece->n + VLMK_NORM_BLOCK - 1) / VLMK_NORM_BLOCK;
}

void *vlm_element(void *data, vlmoe_dtype dtype, int64_t i)
{
    return data ? (char *)data + (size_t)i * vlm_dtype_bytes(dtype) : NULL;
}

/* Capacities are powers of two. */
vlmoe_status vlm_piece_add(vlmoe_context *ctx, const vlm_piece *piece)
{
    int64_t n = ctx->n_pieces;
    if ((n & (n - 1)) == 0) {
        vlm_piece *more = vlm_alloc_array((size_t)(n ? 2 * n : 1), sizeof *more);
        if (!more)
            return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory for a list of %lld tensors",
                            (long long)n);
        if (n) memcpy(more, ctx->pieces, (size_t)n * sizeof *more);
        vlm_free(ctx->pieces);
        ctx->pieces = more;
    }
    ctx->pieces[ctx->n_pieces++] = *piece;
    return VLMOE_OK;
}

/* A file tensor that lies whole on one rank: one of the first set with the expert, or any rank for what is frozen. e: of the model. */
static vlmoe_status add_whole(vlmoe_context *ctx, vlm_param *param, int64_t e)
{
    const vlm_expert_layout *layout = vlm_param_layout(param);
    int64_t n = vlm_param_file_elements(param), at = (e - param->first_expert) * n;
    vlm_piece piece = {.param = param, .expert = param->n_experts > 0 ? e : -1, .n = n};
    piece.owner = layout ? (int)(e / layout->per_rank) : (int)(param->index % vlm_ctx_size(ctx));
    if (vlm_piece_is_mine(&piece, vlm_ctx_rank(ctx))) {
        bool has_own_copy = param->has_copy && param->copy != param->tensor.data;
        piece.value = vlm_element(param->tensor.data, ctx->wide, at);
        piece.grad = vlm_element(param->total, ctx->wide, at);
        if (has_own_copy) piece.copy = vlm_element(param->copy, ctx->compute, at);
        if (param->trained) piece.moment = param->at + at;
    }
    return vlm_piece_add(ctx, &piece);
}

vlmoe_status vlm_pieces_make(vlmoe_context *ctx)
{
    for (int64_t i = 0; i < ctx->n_params; i++) {
        vlm_param *param = ctx->params[i];
        bool is_spread = vlm_spread_of(ctx, param) >= 0;
        param->first_piece = ctx->n_pieces;
        for (int64_t e = 0; e < vlm_param_files(param); e++)
            VLM_TRY(is_spread ? vlm_spread_pieces(ctx, param, e) : add_whole(ctx, param, e));
        param->n_pieces = ctx->n_pieces - param->first_piece;
    }
    return VLMOE_OK;
}

vlm_state_bytes vlm_ctx_state_bytes(const vlmoe_context *ctx)
{
    size_t wide = vlm_dtype_bytes(ctx->wide), n = (size_t)ctx->n_elements;
    size_t copy = ctx->compute == ctx->wide ? 0 : vlm_dtype_bytes(ctx->compute);
    vlm_state_bytes sum = {.values = n * wide,
                           .copies = n * copy,
                           .gradients = (size_t)(ctx->n_trained + ctx->n_totals) * wide,
                           .moments =
                               2 * (size_t)ctx->n_moments * vlm_dtype_bytes(ctx->moment_dtype),
                           .buckets = ctx->spreads ? ctx->spreads->arriving_bytes : 0};
    for (int i = 0; ctx->spreads && i < ctx->spreads->n; i++) {
        const vlm_spread *s = &ctx->spreads->spread[i];
        int64_t own = s->own[s->n_buckets];
        sum.values += (size_t)(s->n_wide + own - s->n_own_wide) * wide;
        sum.copies += (size_t)(s->n - s->first_copy) * copy;
        sum.gradients += (size_t)(s->n + own) * wide;
    }
    return sum;
}
