/* Gradients of a micro-step to the sums over groups. */
#include "optim_reduce.h"
#include "autograd_defer.h"

vlmoe_status vlm_reduce_micro_step(vlmoe_context *ctx)
{
    vlm_ctx_error(ctx);
    return vlm_grad_groups_done(ctx, vlm_ctx_size(ctx));
}

vlmoe_status vlm_reduce_finish(vlmoe_context *ctx)
{
    vlm_ctx_error(ctx);
    if (ctx->groups && ctx->groups_done != ctx->groups)
        return vlm_fail(&ctx->error, VLMOE_E_STATE, "a step has %lld groups, %lld are done",
                        (long long)ctx->groups, (long long)ctx->groups_done);
    return vlm_defer_flush(ctx);
}
