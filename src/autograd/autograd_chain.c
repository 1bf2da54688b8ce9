/* Sums of gradients over the groups of a step: one chain, or for experts chains of S groups whose sums are added in order, so that sets
 * of ranks may each form one (docs/decisions/0007-ranks.md). */
#include "autograd_defer.h"
#include "autograd_internal.h"

int vlm_ctx_rank(const vlmoe_context *ctx)
{
    return ctx->ranks ? ctx->ranks->rank : 0;
}

int vlm_ctx_size(const vlmoe_context *ctx)
{
    return ctx->ranks ? ctx->ranks->size : 1;
}

vlmoe_status vlm_ctx_groups(vlmoe_context *ctx, int64_t groups)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    if (ctx->built)
        return vlm_fail(error, VLMOE_E_STATE,
                        "the groups of a step are said before there are parameters in memory");
    if (groups < 1)
        return vlm_fail(error, VLMOE_E_ARG, "a step has %lld groups, expected at least 1",
                        (long long)groups);
    ctx->groups = groups;
    return VLMOE_OK;
}

static bool ends_now(const vlmoe_context *ctx, const vlm_param *param)
{
    return param->chain && ctx->groups_done % param->chain == 0;
}

/* Add a complete chain to the total. The first is written: it has begun at +0 itself. */
static vlmoe_status add_chain(vlmoe_context *ctx, const vlm_param *param)
{
    const vlmk_axpy_args args = {.n = vlm_param_elements(param),
                                 .factor = 1.0,
                                 .src = param->grad,
                                 .dst = param->total,
                                 .accumulate = ctx->groups_done > param->chain};
    return VLM_KERNEL(ctx, axpy, &args);
}

/* All are added before any begins again: a weight and its bias wait together. */
vlmoe_status vlm_grad_groups_done(vlmoe_context *ctx, int64_t n)
{
    int64_t n_ending = 0;
    ctx->groups_done += n;
    for (int64_t i = 0; i < ctx->n_params; i++) {
        if (!ends_now(ctx, ctx->params[i])) continue;
        if (!n_ending++) VLM_TRY(vlm_defer_flush(ctx)); /* all, to have the memory back */
        VLM_TRY(add_chain(ctx, ctx->params[i]));
    }
    if (!n_ending || ctx->groups_done == ctx->groups) return VLMOE_OK;
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (ends_now(ctx, ctx->params[i])) VLM_TRY(vlm_grad_restart(ctx, ctx->params[i]));
    return VLMOE_OK;
}

int64_t vlm_grad_chain_steps(const vlmoe_context *ctx)
{
    int64_t least = VLM_MAX(ctx->groups, 1);
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (ctx->params[i]->chain) least = VLM_MIN(least, ctx->params[i]->chain);
    return VLM_MAX(least / vlm_ctx_size(ctx), 1);
}
