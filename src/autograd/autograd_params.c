/* The registry of parameters: names, slabs of values, gradients and compute copies. Their first values stand in autograd_init.c. */
#include <stdio.h>
#include <string.h>
#include "autograd_internal.h"
#include "autograd_spread.h"

/* Every parameter starts at a multiple of this many elements, so that kernels see aligned starts in any type. */
enum { PARAM_ALIGN = 64 };

int64_t vlm_param_elements(const vlm_param *param)
{
    return vlm_count(&param->tensor);
}

char *vlm_param_expert_name(const vlm_param *param, int64_t expert)
{
    const char *mark = strstr(param->name, "{e}");
    if (!mark) return vlm_strdup(param->name);
    return vlm_format("%.*s%lld%s", (int)(mark - param->name), param->name, (long long)expert,
                      mark + 3);
}

int64_t vlm_param_padded(const vlm_param *param)
{
    return (int64_t)vlm_round_up((size_t)vlm_param_elements(param), PARAM_ALIGN);
}

static vlm_param *find(const vlmoe_context *ctx, const char *name)
{
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (strcmp(ctx->params[i]->name, name) == 0) return ctx->params[i];
    return NULL;
}

static vlmoe_status check_spec(const vlmoe_context *ctx, const vlm_param *spec, int rank,
                               const int64_t *dim, vlmoe_error *error)
{
    int64_t count;
    if (!spec->name || !spec->name[0])
        return vlm_fail(error, VLMOE_E_ARG, "a parameter needs a name");
    if (ctx->built)
        return vlm_fail(
            error, VLMOE_E_STATE,
            "parameter %s comes too late: all must be created before the first recording or access",
            spec->name);
    if (find(ctx, spec->name))
        return vlm_fail(error, VLMOE_E_ARG, "parameter %s exists already", spec->name);
    if (rank < 1 || !vlm_shape_count(rank, dim, &count) || count < 1)
        return vlm_fail(error, VLMOE_E_SHAPE,
                        "parameter %s: expected 1 to %d dimensions of at least 1", spec->name,
                        VLMOE_MAX_RANK);
    if (spec->n_experts > 0 && dim[0] != spec->n_experts)
        return vlm_fail(error, VLMOE_E_SHAPE,
                        "parameter %s: the first dimension is %lld, expected one per expert, %lld",
                        spec->name, (long long)dim[0], (long long)spec->n_experts);
    return VLMOE_OK;
}

/* This rank's part of the experts. */
static vlmoe_status take_experts(vlm_param *param, vlmoe_error *error)
{
    const vlm_expert_layout *layout = vlm_param_layout(param);
    param->first_expert = 0;
    param->n_local = param->n_experts;
    if (!param->tensor.ctx->ranks || !param->n_experts) return VLMOE_OK;
    if (!layout)
        return vlm_fail(
            error, VLMOE_E_ARG,
            "parameter %s has %lld experts, a number that the ranks of this run do not know",
            param->name, (long long)param->n_experts);
    param->first_expert = vlm_expert_first(layout, param->tensor.ctx->ranks->rank);
    param->tensor.dim[0] = param->n_local = layout->per_rank;
    return VLMOE_OK;
}

/* Room for one more pointer; capacities are powers of two. */
static vlmoe_status grow(vlmoe_context *ctx, vlmoe_error *error)
{
    int64_t n = ctx->n_params;
    if (n != 0 && (n & (n - 1)) != 0) return VLMOE_OK;
    vlm_param **more = vlm_alloc_array((size_t)(n ? 2 * n : 1), sizeof *more);
    if (!more)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for parameter number %lld", (long long)n);
    if (n) memcpy(more, ctx->params, (size_t)n * sizeof *more);
    vlm_free(ctx->params);
    ctx->params = more;
    return VLMOE_OK;
}

vlmoe_status vlm_param_add(vlmoe_context *ctx, const vlm_param *spec, int rank, const int64_t *dim,
                           vlmoe_tensor **out)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    VLM_TRY(check_spec(ctx, spec, rank, dim, error));
    VLM_TRY(grow(ctx, error));
    vlm_param *param = vlm_alloc(sizeof *param);
    char *name = vlm_strdup(spec->name);
    if (!param || !name) {
        vlm_free(param);
        vlm_free(name);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for parameter %s", spec->name);
    }
    *param = *spec;
    param->name = name;
    param->index = ctx->n_params;
    param->uses = 0;
    param->chain = 0;
    param->copy = param->grad = param->total = param->share = NULL;
    param->share_is_set = false;
    param->deferred = NULL;
    param->tensor = (vlmoe_tensor){
        .ctx = ctx, .dtype = ctx->wide, .rank = rank, .wants_grad = spec->trained, .param = param};
    memcpy(param->tensor.dim, dim, (size_t)rank * sizeof *dim);
    vlmoe_status status = take_experts(param, error);
    if (status) {
        vlm_free(param);
        vlm_free(name);
        return status;
    }
    ctx->params[ctx->n_params++] = param;
    *out = &param->tensor;
    return VLMOE_OK;
}

vlmoe_status vlm_slab_take(vlmoe_context *ctx, int64_t elements, vlmoe_dtype dtype, void **out,
                           const char *what)
{
    size_t bytes;
    if (!elements) return VLMOE_OK;
    if (!vlm_mul_size((size_t)elements, vlm_dtype_bytes(dtype), &bytes)) bytes = SIZE_MAX;
    vlmoe_status status =
        ctx->backend->alloc(ctx->device, VLM_MEMORY_DEVICE, bytes, out, &ctx->error);
    if (status)
        vlm_fail_in(&ctx->error, "%s of %lld parameter elements", what, (long long)elements);
    return status;
}

static void release_slabs(vlmoe_context *ctx)
{
    void **slab[] = {&ctx->master, &ctx->grads, &ctx->totals, &ctx->copies, &ctx->moments};
    for (int i = 0; i < VLM_COUNT(slab); i++) {
        if (*slab[i]) ctx->backend->release(ctx->device, *slab[i]);
        *slab[i] = NULL;
    }
    vlm_spreads_destroy(ctx);
    vlm_free(ctx->pieces);
    ctx->pieces = NULL;
    ctx->n_pieces = 0;
}

/* Groups that the gradients of E experts are summed over before they are added: S of comm_layout.h, where that is not all of them. */
static int64_t chain_of(const vlmoe_context *ctx, const vlm_param *param)
{
    bool has_chains = param->trained && param->n_experts > 0 && param->n_experts < ctx->groups;
    return has_chains ? param->n_experts : 0;
}

static void place_params(vlmoe_context *ctx)
{
    size_t wide_bytes = vlm_dtype_bytes(ctx->wide), copy_bytes = vlm_dtype_bytes(ctx->compute);
    char *total = ctx->totals;
    for (int64_t i = 0; i < ctx->n_params; i++) {
        vlm_param *param = ctx->params[i];
        if (vlm_spread_of(ctx, param) >= 0) continue;
        size_t at = (size_t)param->at;
        param->tensor.data = (char *)ctx->master + at * wide_bytes;
        if (param->trained) param->total = param->grad = (char *)ctx->grads + at * wide_bytes;
        if (param->chain) {
            param->total = total;
            total += (size_t)vlm_param_padded(param) * wide_bytes;
        }
        if (param->has_copy)
            param->copy =
                ctx->copies ? (void *)((char *)ctx->copies + at * copy_bytes) : param->tensor.data;
    }
}

static void place_elements(vlmoe_context *ctx, bool trained)
{
    for (int64_t i = 0; i < ctx->n_params; i++) {
        vlm_param *param = ctx->params[i];
        if (param->trained != trained || vlm_spread_of(ctx, param) >= 0) continue;
        param->at = ctx->n_elements;
        param->chain = chain_of(ctx, param);
        ctx->n_elements += vlm_param_padded(param);
        if (param->chain) ctx->n_totals += vlm_param_padded(param);
    }
}

/* Where parameters begin, and how many elements the totals of those with chains have. Frozen ones come last, where the slabs of
 * gradients and moments have ended. */
static void count_elements(vlmoe_context *ctx)
{
    ctx->n_elements = ctx->n_totals = 0;
    place_elements(ctx, true);
    ctx->n_trained = ctx->n_elements;
    place_elements(ctx, false);
}

vlmoe_status vlm_ctx_build(vlmoe_context *ctx)
{
    if (ctx->built) return VLMOE_OK;
    count_elements(ctx);
    vlmoe_status status = vlm_slab_take(ctx, ctx->n_elements, ctx->wide, &ctx->master, "values");
    if (!status) status = vlm_slab_take(ctx, ctx->n_trained, ctx->wide, &ctx->grads, "gradients");
    if (!status && ctx->n_totals)
        status = vlm_slab_take(ctx, ctx->n_totals, ctx->wide, &ctx->totals, "sums of gradients");
    if (!status && ctx->compute != ctx->wide)
        status = vlm_slab_take(ctx, ctx->n_elements, ctx->compute, &ctx->copies, "compute copies");
    if (!status) {
        place_params(ctx);
        ctx->n_moments = ctx->n_trained;
        status = vlm_spreads_make(ctx);
    }
    if (!status) status = vlm_pieces_make(ctx);
    if (status) release_slabs(ctx);
    else ctx->built = true;
    return status;
}

vlmoe_status vlm_ctx_moments(vlmoe_context *ctx)
{
    VLM_TRY(vlm_ctx_build(ctx));
    if (ctx->moments) return VLMOE_OK;
    return vlm_slab_take(ctx, 2 * ctx->n_moments, ctx->moment_dtype, &ctx->moments, "moments");
}

vlmoe_status vlm_param_refresh(vlm_param *param)
{
    vlmoe_context *ctx = param->tensor.ctx;
    if (!param->has_copy || !param->tensor.data || param->copy == param->tensor.data)
        return VLMOE_OK;
    const vlmk_convert_args args = {.n = vlm_param_elements(param),
                                    .src_dtype = ctx->wide,
                                    .dst_dtype = ctx->compute,
                                    .src = param->tensor.data,
                                    .dst = param->copy};
    return VLM_KERNEL(ctx, convert, &args);
}

vlmoe_status vlm_ctx_refresh_copies(vlmoe_context *ctx)
{
    VLM_TRY(vlm_ctx_build(ctx));
    for (int64_t i = 0; i < ctx->n_params; i++) VLM_TRY(vlm_param_refresh(ctx->params[i]));
    return VLMOE_OK;
}

void vlm_params_destroy(vlmoe_context *ctx)
{
    release_slabs(ctx);
    for (int64_t i = 0; i < ctx->n_params; i++) {
        vlm_free(ctx->params[i]->name);
        vlm_free(ctx->params[i]);
    }
    vlm_free(ctx->params);
}

/* By rank, since a caller of the public API states no role: from two axes on a weight of products, which decays. */
vlmoe_status vlmoe_param_create(vlmoe_context *ctx, const char *name, int rank,
                                const int64_t *shape, vlmoe_tensor **out)
{
    bool is_matrix = rank >= 2;
    const vlm_param spec = {.name = (char *)name,
                            .role = is_matrix ? VLM_ROLE_MATRIX : VLM_ROLE_VECTOR,
                            .trained = true,
                            .decays = is_matrix,
                            .lr_scale = 1.0,
                            .has_copy = is_matrix};
    return vlm_param_add(ctx, &spec, rank, shape, out);
}

vlmoe_tensor *vlmoe_param_find(vlmoe_context *ctx, const char *name)
{
    vlm_param *param = find(ctx, name);
    return param ? &param->tensor : NULL;
}

int64_t vlmoe_param_count(const vlmoe_context *ctx)
{
    return ctx->n_params;
}

vlmoe_tensor *vlmoe_param_at(vlmoe_context *ctx, int64_t index)
{
    return index >= 0 && index < ctx->n_params ? &ctx->params[index]->tensor : NULL;
}

const char *vlmoe_param_name(const vlmoe_tensor *param)
{
    return param->param ? param->param->name : NULL;
}
