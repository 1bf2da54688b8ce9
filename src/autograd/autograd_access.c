/* Bytes of tensors between host and device, for callers that wait. */
#include "autograd_defer.h"
#include "autograd_internal.h"
#include "autograd_spread.h"

static const char *name_of(const vlmoe_tensor *t)
{
    return t->param ? t->param->name : "an activation";
}

vlmoe_status vlm_ctx_upload(vlmoe_context *ctx, void *dst, const void *host, size_t bytes,
                            vlmoe_error *error)
{
    vlmoe_status status = ctx->backend->upload(ctx->device, dst, host, bytes);
    if (status)
        return vlm_fail(error, status, "upload of %zu bytes to device %s failed", bytes,
                        ctx->backend->name);
    return ctx->backend->sync(ctx->device, error); /* the host memory is the caller's again */
}

vlmoe_status vlm_ctx_download(vlmoe_context *ctx, void *host, const void *src, size_t bytes,
                              vlmoe_error *error)
{
    if (!ctx->backend->has_data)
        return vlm_fail(error, VLMOE_E_UNSUPPORTED, "device %s has no data to read",
                        ctx->backend->name);
    VLM_TRY(ctx->backend->sync(ctx->device, error));
    vlmoe_status status = ctx->backend->download(ctx->device, host, src, bytes);
    if (status)
        return vlm_fail(error, status, "download of %zu bytes from device %s failed", bytes,
                        ctx->backend->name);
    return VLMOE_OK;
}

static vlmoe_status check_bytes(const vlmoe_tensor *t, size_t bytes, size_t expected,
                                vlmoe_error *error)
{
    char shape[VLM_SHAPE_TEXT];
    if (bytes == expected) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_ARG, "%zu bytes for %s of shape %s, expected %zu", bytes,
                    name_of(t), vlm_shape_text(t, shape), expected);
}

vlmoe_status vlmoe_tensor_read(const vlmoe_tensor *t, void *dst, size_t bytes)
{
    vlmoe_error *error = vlm_ctx_error(t->ctx);
    VLM_TRY(check_bytes(t, bytes, vlmoe_tensor_bytes(t), error));
    if (t->param) VLM_TRY(vlm_ctx_build(t->ctx));
    if (t->param && !t->data)
        return vlm_fail(error, VLMOE_E_STATE,
                        "%s is spread over ranks: no one of them has it whole", t->param->name);
    return vlm_ctx_download(t->ctx, dst, t->data, bytes, error);
}

vlmoe_status vlmoe_tensor_write(vlmoe_tensor *t, const void *src, size_t bytes)
{
    vlmoe_error *error = vlm_ctx_error(t->ctx);
    VLM_TRY(check_bytes(t, bytes, vlmoe_tensor_bytes(t), error));
    if (!t->ctx->backend->has_data)
        return vlm_fail(error, VLMOE_E_UNSUPPORTED, "device %s has no data to write",
                        t->ctx->backend->name);
    if (t->param) VLM_TRY(vlm_ctx_build(t->ctx));
    if (!t->param) return vlm_ctx_upload(t->ctx, t->data, src, bytes, error);
    vlm_param *param = t->param;
    int64_t n = vlm_param_file_elements(param);
    for (int64_t e = 0; e < VLM_MAX(param->n_local, 1); e++)
        VLM_TRY(vlm_param_put(param, param->n_experts > 0 ? param->first_expert + e : -1, 0, n,
                              (const char *)src + (size_t)(e * n) * vlm_dtype_bytes(t->dtype)));
    return vlm_param_refresh(param);
}

vlmoe_status vlmoe_tensor_read_grad(const vlmoe_tensor *t, void *dst, size_t bytes)
{
    vlmoe_error *error = vlm_ctx_error(t->ctx);
    if (!t->param)
        return vlm_fail(error, VLMOE_E_STATE,
                        "gradients of activations are not kept; read those of parameters");
    VLM_TRY(vlm_ctx_build(t->ctx));
    if (!t->param->grad)
        return vlm_fail(error, VLMOE_E_STATE, "parameter %s is frozen and has no gradient",
                        t->param->name);
    VLM_TRY(check_bytes(t, bytes, vlmoe_tensor_bytes(t), error));
    if (!t->param->total)
        return vlm_fail(error, VLMOE_E_STATE,
                        "the gradient of %s is spread over ranks: no one of them has it whole",
                        t->param->name);
    return vlm_ctx_download(t->ctx, dst, t->param->total, bytes, error);
}

vlmoe_status vlm_grad_restart(vlmoe_context *ctx, const vlm_param *param)
{
    if (vlm_defer_owns(ctx, param)) {
        vlm_defer_restart_param(param);
        return VLMOE_OK;
    }
    vlmoe_status status =
        ctx->backend->zero(ctx->device, param->grad, vlmoe_tensor_bytes(&param->tensor));
    return status ? vlm_fail(&ctx->error, status, "clearing the gradient of %s failed on device %s",
                             param->name, ctx->backend->name)
                  : VLMOE_OK;
}

vlmoe_status vlmoe_grad_zero(vlmoe_context *ctx)
{
    vlm_ctx_error(ctx);
    VLM_TRY(vlm_ctx_build(ctx));
    vlm_defer_restart(ctx);
    VLM_TRY(vlm_spreads_clear(ctx));
    ctx->groups_done = 0;
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (ctx->params[i]->grad) VLM_TRY(vlm_grad_restart(ctx, ctx->params[i]));
    return VLMOE_OK;
}
