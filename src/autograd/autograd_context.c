/* Contexts: opening a device, the memory of a recording, error text. Parameters stand in autograd_params.c. */
#include <unistd.h>
#include "autograd_defer.h"
#include "autograd_internal.h"
#include "backend_profile.h"

/* Large enough for the bandwidth of any link, small beside gradients. */
static const size_t BUCKET_BYTES = (size_t)32 << 20;

/* Half of the machine's memory, as address space; on a device without data as much as an address can count. */
static size_t default_step_bytes(const vlm_backend *backend)
{
    if (!backend->has_data) return (size_t)1 << 50;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages < 1 || page < 1) return (size_t)1 << 30;
    return (size_t)pages * (size_t)page / 2;
}

static vlmoe_status check_params(const vlm_backend *backend, const vlmoe_context_params *params,
                                 vlmoe_error *error)
{
    if (params->struct_size != sizeof *params)
        return vlm_fail(error, VLMOE_E_ARG,
                        "struct_size of vlmoe_context_params is %zu, expected %zu: start from "
                        "VLMOE_CONTEXT_PARAMS",
                        params->struct_size, sizeof *params);
    if (backend->abi != VLM_BACKEND_ABI)
        return vlm_fail(error, VLMOE_E_VERSION, "device %s has interface %u, expected %d",
                        backend->name, backend->abi, VLM_BACKEND_ABI);
    if (params->compute != VLMOE_F32 && params->compute != VLMOE_BF16 &&
        params->compute != backend->wide)
        return vlm_fail(error, VLMOE_E_DTYPE, "compute type is %s, expected f32 or bf16",
                        vlm_dtype_name(params->compute));
    return VLMOE_OK;
}

static vlmoe_status take_memory(vlmoe_context *ctx, vlmoe_error *error)
{
    VLM_TRY(ctx->backend->alloc(ctx->device, VLM_MEMORY_DEVICE, ctx->step_bytes, &ctx->arena_memory,
                                error));
    vlmoe_status status = vlm_heap_init(
        &ctx->arena, ctx->backend->has_data ? ctx->arena_memory : NULL, ctx->step_bytes);
    return status ? vlm_fail(error, VLMOE_E_NOMEM, "no memory for the list of a recording's blocks")
                  : VLMOE_OK;
}

vlmoe_status vlm_ctx_create_on(const vlm_backend *backend, const vlmoe_context_params *params,
                               vlmoe_context **out, vlmoe_error *error)
{
    if (error) *error = (vlmoe_error){0};
    VLM_TRY(check_params(backend, params, error));
    vlmoe_context *ctx = vlm_alloc(sizeof *ctx);
    if (!ctx) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a context");
    ctx->backend = backend;
    ctx->compute = params->compute;
    ctx->wide = backend->wide;
    ctx->moment_dtype = backend->wide;
    ctx->bucket_bytes = BUCKET_BYTES;
    ctx->seed = params->seed;
    ctx->log = (vlm_log){.fn = params->log_fn, .user = params->log_user};
    ctx->step_bytes = params->step_bytes ? params->step_bytes : default_step_bytes(backend);
    const vlm_device_params device = {.n_threads = params->n_threads, .log = &ctx->log};
    vlmoe_status status = backend->open(&device, &ctx->device, error);
    if (!status) status = take_memory(ctx, error);
    if (status) {
        vlmoe_context_destroy(ctx);
        return status;
    }
    ctx->kernels = backend->kernels(ctx->device);
    *out = ctx;
    return VLMOE_OK;
}

vlmoe_status vlmoe_context_create(const vlmoe_context_params *params, vlmoe_context **out,
                                  vlmoe_error *error)
{
    if (error) *error = (vlmoe_error){0};
    if (!params || !out)
        return vlm_fail(error, VLMOE_E_ARG, "vlmoe_context_create needs params and out");
    const vlm_backend *backend = vlm_backend_find(params->device);
    if (!backend)
        return vlm_fail(error, VLMOE_E_UNSUPPORTED,
                        "device \"%s\" is not in this build, expected cpu or meta",
                        params->device ? params->device : "");
    return vlm_ctx_create_on(backend, params, out, error);
}

vlmoe_status vlm_ctx_join(vlmoe_context *ctx, const vlm_ranks *ranks)
{
    if (ctx->built)
        return vlm_fail(vlm_ctx_error(ctx), VLMOE_E_STATE,
                        "ranks join before there are parameters in memory");
    ctx->ranks = ranks && ranks->size > 1 ? ranks : NULL;
    if (ranks) ctx->groups = ranks->groups;
    return VLMOE_OK;
}

vlmoe_status vlm_ctx_watch(vlmoe_context *ctx, vlm_spans *spans)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    if (ctx->spans || ctx->tape)
        return vlm_fail(error, VLMOE_E_STATE, "a profile begins between recordings, and once");
    VLM_TRY(vlm_profile_device_create(ctx->backend, ctx->device, spans, &ctx->backend, &ctx->device,
                                      error));
    ctx->kernels = ctx->backend->kernels(ctx->device);
    ctx->spans = spans;
    return VLMOE_OK;
}

void vlm_ctx_unwatch(vlmoe_context *ctx)
{
    if (!ctx->spans) return;
    vlm_profile_device_unwrap(ctx->device, &ctx->backend, &ctx->device);
    ctx->kernels = ctx->backend->kernels(ctx->device);
    ctx->spans = NULL;
}

void vlmoe_context_destroy(vlmoe_context *ctx)
{
    if (!ctx) return;
    vlm_defer_close(ctx);
    vlm_params_destroy(ctx);
    if (ctx->device) {
        vlm_heap_fini(&ctx->arena);
        ctx->backend->release(ctx->device, ctx->arena_memory);
        ctx->backend->close(ctx->device);
    }
    vlm_stack_free(&ctx->host);
    vlm_free(ctx);
}

const char *vlmoe_context_error(const vlmoe_context *ctx)
{
    return ctx->error.text;
}

vlmoe_error *vlm_ctx_error(vlmoe_context *ctx)
{
    bool must_stay = ctx->tape && ctx->tape->status;
    if (!must_stay) {
        ctx->error.status = VLMOE_OK;
        ctx->error.text[0] = '\0';
    }
    return &ctx->error;
}

vlmoe_status vlm_kernel_done(vlmoe_context *ctx, int code, const char *name)
{
    ctx->backend->call_done(ctx->device);
    if (!code) return VLMOE_OK;
    vlmoe_status status = (vlmoe_status)code;
    return vlm_fail(&ctx->error, status, "kernel %s gave %s on device %s", name,
                    vlmoe_status_name(status), ctx->backend->name);
}
