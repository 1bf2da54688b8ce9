/* Weight gradients of a step, written once and maybe late: see autograd_defer.h. */
#include "autograd_defer.h"
#include <string.h>
#include "autograd_internal.h"

/* What waits for one weight. */
struct vlm_deferred {
    vlm_param *w, *b;
    vlmk_linear_dw_args args; /* type and sizes */
    int n_parts, capacity;
    vlmk_dw_part *part; /* [capacity], device pointers */
    bool is_set;        /* the accumulator holds this step's earlier groups, or zeros */
    vlm_deferred *next;
};

struct vlm_deferral {
    void *memory;
    vlm_arena arena;
    vlm_deferred *first;
};

vlmoe_status vlm_defer_open(vlmoe_context *ctx, size_t bytes)
{
    vlmoe_error *error = vlm_ctx_error(ctx);
    if (vlm_defer_waiting(ctx))
        return vlm_fail(error, VLMOE_E_STATE, "gradients wait in the memory that would be changed");
    vlm_defer_close(ctx);
    vlm_deferral *d = vlm_alloc(sizeof *d);
    if (!d) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for waiting gradients");
    vlmoe_status status = VLMOE_OK;
    if (ctx->backend->has_data && bytes)
        status = ctx->backend->alloc(ctx->device, VLM_MEMORY_DEVICE, bytes, &d->memory, error);
    if (status) {
        vlm_free(d);
        return status;
    }
    vlm_arena_init(&d->arena, d->memory, bytes);
    ctx->deferral = d;
    return VLMOE_OK;
}

void vlm_defer_close(vlmoe_context *ctx)
{
    vlm_deferral *d = ctx->deferral;
    if (!d) return;
    for (vlm_deferred *entry = d->first, *next; entry; entry = next) {
        next = entry->next;
        entry->w->deferred = NULL;
        if (entry->b) entry->b->deferred = NULL;
        vlm_free(entry->part);
        vlm_free(entry);
    }
    vlm_arena_fini(&d->arena);
    if (d->memory) ctx->backend->release(ctx->device, d->memory);
    vlm_free(d);
    ctx->deferral = NULL;
}

size_t vlm_defer_waiting(const vlmoe_context *ctx)
{
    return ctx->deferral ? vlm_arena_mark(&ctx->deferral->arena) : 0;
}

size_t vlm_defer_peak(const vlmoe_context *ctx)
{
    return ctx->deferral ? ctx->deferral->arena.peak : 0;
}

bool vlm_defer_owns(const vlmoe_context *ctx, const vlm_param *param)
{
    return ctx->deferral && param->deferred;
}

static vlmoe_status clear(vlmoe_context *ctx, const vlm_param *param)
{
    vlmoe_status status =
        ctx->backend->zero(ctx->device, param->grad, vlmoe_tensor_bytes(&param->tensor));
    return status ? vlm_fail(&ctx->error, status, "clearing the gradient of %s failed", param->name)
                  : VLMOE_OK;
}

/* Write the parts to the accumulators, or add them to what is there. */
static vlmoe_status add_parts(vlmoe_context *ctx, vlm_deferred *entry, int n_parts,
                              const vlmk_dw_part *part)
{
    vlmk_linear_dw_args args = entry->args;
    args.n_parts = n_parts;
    args.part = part;
    args.dw = entry->w->grad;
    args.db = entry->b ? entry->b->grad : NULL;
    args.accumulate = entry->is_set;
    vlmoe_status status = VLM_KERNEL(ctx, linear_dw, &args);
    if (status) vlm_fail_in(&ctx->error, "the gradient of %s", entry->w->name);
    entry->is_set = true;
    return status;
}

static vlmoe_status flush_one(vlmoe_context *ctx, vlm_deferred *entry)
{
    int n_parts = entry->n_parts;
    entry->n_parts = 0;
    if (n_parts) return add_parts(ctx, entry, n_parts, entry->part);
    if (entry->is_set) return VLMOE_OK;
    entry->is_set = true;
    VLM_TRY(clear(ctx, entry->w));
    return entry->b ? clear(ctx, entry->b) : VLMOE_OK;
}

vlmoe_status vlm_defer_settle(vlmoe_context *ctx, const vlm_param *param)
{
    return vlm_defer_owns(ctx, param) ? flush_one(ctx, param->deferred) : VLMOE_OK;
}

vlmoe_status vlm_defer_flush(vlmoe_context *ctx)
{
    if (!ctx->deferral) return VLMOE_OK;
    for (vlm_deferred *entry = ctx->deferral->first; entry; entry = entry->next)
        VLM_TRY(flush_one(ctx, entry));
    vlm_arena_rewind(&ctx->deferral->arena, 0);
    return VLMOE_OK;
}

void vlm_defer_restart_param(const vlm_param *param)
{
    param->deferred->n_parts = 0;
    param->deferred->is_set = false;
}

void vlm_defer_restart(vlmoe_context *ctx)
{
    if (!ctx->deferral) return;
    for (vlm_deferred *entry = ctx->deferral->first; entry; entry = entry->next)
        vlm_defer_restart_param(entry->w);
    vlm_arena_rewind(&ctx->deferral->arena, 0);
}

/* Bytes of a matrix's blocks, in the order x, dy, offsets of all its parts. */
enum { N_BLOCKS = 3 };
static void block_bytes(const vlmk_linear_dw_args *args, size_t bytes[N_BLOCKS])
{
    size_t element = vlm_dtype_bytes((vlmoe_dtype)args->dtype);
    bytes[0] = (size_t)(args->part->M * args->K) * element;
    bytes[1] = (size_t)(args->part->M * args->N) * element;
    bytes[2] = (size_t)(args->G * args->n_parts + 1) * sizeof(int32_t);
}

/* Waiting costs the rows a way to memory and back; the accumulators', which it spares, must be well above. */
static bool is_worth_it(const vlmk_linear_dw_args *args)
{
    size_t bytes[N_BLOCKS];
    block_bytes(args, bytes);
    return bytes[0] + bytes[1] <= (size_t)(args->G * args->N * args->K) * sizeof(float) / 2;
}

/* The entry of a weight, made at its first part. NULL: no memory. */
static vlm_deferred *entry_of(vlmoe_context *ctx, const vlm_defer_want *want)
{
    if (want->w->deferred) return want->w->deferred;
    vlm_deferred *entry = vlm_alloc(sizeof *entry);
    if (!entry) return NULL;
    *entry = (vlm_deferred){.w = want->w,
                            .b = want->b,
                            .args = *want->args,
                            .is_set = true,
                            .next = ctx->deferral->first};
    ctx->deferral->first = entry;
    want->w->deferred = entry;
    if (want->b) want->b->deferred = entry;
    return entry;
}

static bool grow(vlm_deferred *entry, int n_more)
{
    if (entry->n_parts + n_more <= entry->capacity) return true;
    int capacity = VLM_MAX(2 * entry->capacity, entry->n_parts + VLM_MAX(n_more, 8));
    vlmk_dw_part *part = vlm_alloc_array((size_t)capacity, sizeof *part);
    if (!part) return false;
    if (entry->n_parts) memcpy(part, entry->part, (size_t)entry->n_parts * sizeof *part);
    vlm_free(entry->part);
    entry->part = part;
    entry->capacity = capacity;
    return true;
}

/* Memory for copies of a part's blocks; false when there is no room for all. */
static bool take_blocks(vlmoe_context *ctx, const vlmk_linear_dw_args *args, void *block[N_BLOCKS])
{
    vlm_arena *arena = &ctx->deferral->arena;
    size_t bytes[N_BLOCKS], mark = vlm_arena_mark(arena);
    block_bytes(args, bytes);
    for (int i = 0; i < N_BLOCKS; i++) {
        block[i] = vlm_arena_take(arena, bytes[i]);
        if (block[i]) continue;
        vlm_arena_rewind(arena, mark);
        return false;
    }
    return true;
}

/* Rows by a kernel, since it has all workers. */
static vlmoe_status copy_rows(vlmoe_context *ctx, const vlmk_linear_dw_args *args,
                              void *const block[N_BLOCKS])
{
    const vlmk_dw_part *part = args->part;
    const void *from[2] = {part->x, part->dy};
    int64_t cols[2] = {args->K, args->N};
    for (int i = 0; i < 2; i++) {
        const vlmk_convert_args copy = {.n = part->M * cols[i],
                                        .src_dtype = args->dtype,
                                        .dst_dtype = args->dtype,
                                        .src = from[i],
                                        .dst = block[i]};
        VLM_TRY(VLM_KERNEL(ctx, convert, &copy));
    }
    size_t bytes = (size_t)(args->G * args->n_parts + 1) * sizeof(int32_t);
    vlmoe_status status = ctx->backend->copy(ctx->device, block[2], part->offset, bytes);
    return status ? vlm_fail(&ctx->error, status, "keeping the offsets of rows failed") : VLMOE_OK;
}

/* A parameter of one use: its accumulator is met by this product alone. */
static bool is_own(const vlm_param *param)
{
    return param && param->grad && param->uses <= 1;
}

/* Copy the rows and their parts into the memory of what waits, after a flush if that is what it takes. */
static vlmoe_status wait(vlmoe_context *ctx, const vlmk_linear_dw_args *args, vlm_deferred *entry,
                         bool *waits)
{
    void *block[N_BLOCKS];
    *waits = entry->w->n_experts > 0 && args->part->offset && is_worth_it(args);
    if (!*waits) return VLMOE_OK;
    *waits = take_blocks(ctx, args, block);
    if (!*waits && vlm_defer_waiting(ctx)) {
        VLM_TRY(vlm_defer_flush(ctx));
        *waits = take_blocks(ctx, args, block);
    }
    if (!*waits) return VLMOE_OK;
    if (!grow(entry, (int)args->n_parts))
        return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory for the waiting gradient of %s",
                        entry->w->name);
    VLM_TRY(copy_rows(ctx, args, block));
    for (int64_t i = 0; i < args->n_parts; i++)
        entry->part[entry->n_parts++] = (vlmk_dw_part){.M = args->part->M,
                                                       .stride = args->n_parts,
                                                       .offset = (const int32_t *)block[2] + i,
                                                       .x = block[0],
                                                       .dy = block[1]};
    return VLMOE_OK;
}

vlmoe_status vlm_defer_take(vlmoe_tape *tape, const vlm_defer_want *want, bool *taken)
{
    vlmoe_context *ctx = tape->ctx;
    bool waits;
    *taken = ctx->deferral && is_own(want->w) && (!want->b || is_own(want->b));
    if (!*taken) return VLMOE_OK;
    vlm_deferred *entry = entry_of(ctx, want);
    if (!entry)
        return vlm_fail(&ctx->error, VLMOE_E_NOMEM, "no memory for the waiting gradient of %s",
                        want->w->name);
    VLM_TRY(wait(ctx, want->args, entry, &waits));
    if (waits) return VLMOE_OK;
    if (entry->n_parts) VLM_TRY(flush_one(ctx, entry)); /* earlier groups first */
    return add_parts(ctx, entry, (int)want->args->n_parts, want->args->part);
}
