#include "test_ops.h"
#include <string.h>
#include "harness.h"
#include "test_backend.h"

/* The step arena starts as NaN, so that reading what nobody wrote shows. */
static void spoil_arena(vlmoe_context *ctx)
{
    memset(ctx->arena.base, 0xff, ctx->arena.capacity);
}

vlmoe_context *test_op_context(const char *device, vlmoe_dtype compute, int n_threads)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx = NULL;
    vlmoe_error error = {0};
    bool is_ref = strcmp(device, "ref") == 0;
    params.seed = 11;
    params.compute = is_ref ? VLMOE_F64 : compute;
    params.n_threads = n_threads;
    params.step_bytes = (size_t)1 << 20;
    CHECK_STATUS_E(vlm_ctx_create_on(is_ref ? test_ref_backend() : vlm_backend_find(device),
                                     &params, &ctx, &error),
                   VLMOE_OK, &error);
    if (ctx->backend->has_data) spoil_arena(ctx);
    return ctx;
}
