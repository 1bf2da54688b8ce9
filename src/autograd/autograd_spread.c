/* Memory of spread parameters, and their cut among ranks: see autograd_spread.h. */
#include "autograd_spread.h"
#include "autograd_internal.h"

const vlm_expert_layout *vlm_param_layout(const vlm_param *param)
{
    const vlm_ranks *ranks = param->tensor.ctx->ranks;
    const vlm_expert_ranks *experts =
        ranks && param->n_experts > 0 ? vlm_ranks_of(ranks, param->n_experts) : NULL;
    return experts ? &experts->layout : NULL;
}

int vlm_spread_of(const vlmoe_context *ctx, const vlm_param *param)
{
    if (!ctx->ranks || !param->trained) return -1;
    if (param->n_experts <= 0) return 0;
    const vlm_expert_ranks *experts = vlm_ranks_of(ctx->ranks, param->n_experts);
    return experts && experts->layout.sets > 1 ? 1 + (int)(experts - ctx->ranks->experts) : -1;
}

/* ---- places ---- */

enum { WIDE_ALONE, WIDE_AND_COPY, COPY_ALONE, N_USES };

static int use_of(const vlmoe_context *ctx, const vlm_param *param)
{
    if (!param->has_copy || ctx->compute == ctx->wide) return WIDE_ALONE;
    return param->role == VLM_ROLE_MATRIX ? COPY_ALONE : WIDE_AND_COPY;
}

static void place(vlmoe_context *ctx, int index, vlm_spread *s)
{
    for (int use = 0; use < N_USES; use++) {
        if (use == WIDE_AND_COPY) s->first_copy = s->n;
        if (use == COPY_ALONE) s->n_wide = s->n;
        for (int64_t i = 0; i < ctx->n_params; i++) {
            vlm_param *param = ctx->params[i];
            if (vlm_spread_of(ctx, param) != index || use_of(ctx, param) != use) continue;
            param->at = s->n;
            s->n += vlm_param_padded(param);
        }
    }
}

/* Where blocks begin, in order of places: [n], and the end. *n = 0 and NULL: no memory. */
static int64_t *block_starts(const vlmoe_context *ctx, int index, const vlm_spread *s, int64_t *n)
{
    int64_t most = s->n / VLMK_NORM_BLOCK + 1;
    for (int64_t i = 0; i < ctx->n_params; i++) most += vlm_param_files(ctx->params[i]);
    int64_t *start = vlm_alloc_array((size_t)most + 1, sizeof *start);
    *n = 0;
    for (int use = 0; use < N_USES && start; use++)
        for (int64_t i = 0; i < ctx->n_params; i++) {
            const vlm_param *param = ctx->params[i];
            if (vlm_spread_of(ctx, param) != index || use_of(ctx, param) != use) continue;
            int64_t file = vlm_param_file_elements(param);
            for (int64_t e = 0; e < VLM_MAX(param->n_local, 1); e++)
                for (int64_t b = 0; b < file; b += VLMK_NORM_BLOCK)
                    start[(*n)++] = param->at + e * file + b;
        }
    if (start) start[*n] = s->n;
    return start;
}

/* The first of start[from ..] that is not below place. */
static int64_t first_from(const int64_t *start, int64_t from, int64_t place)
{
    while (start[from] < place) from++;
    return from;
}

/* Buckets as full as they can be, each in ranges as equal as blocks allow. cut NULL: count them. */
static int64_t cut_buckets(const int64_t *start, int64_t n, int64_t most, int size, int64_t *cut)
{
    int64_t n_buckets = 0;
    for (int64_t i = 0, end; i < n; i = end, n_buckets++) {
        for (end = i + 1; end < n && start[end + 1] - start[i] <= most;) end++;
        for (int64_t r = 0, at = i; r < size && cut; r++) {
            at = first_from(start, at, start[i] + (start[end] - start[i]) * r / size);
            cut[n_buckets * size + r] = start[at];
        }
        if (cut) cut[(n_buckets + 1) * size] = start[end];
    }
    return n_buckets;
}

static vlmoe_status no_memory(vlmoe_context *ctx)
{
    return vlm_fail(&ctx->error, VLMOE_E_NOMEM,
                    "no memory for the list of who owns which parameters");
}

static vlmoe_status cut(vlmoe_context *ctx, int index, vlm_spread *s)
{
    int64_t n, most = (int64_t)(ctx->bucket_bytes / vlm_dtype_bytes(ctx->wide));
    int64_t *start = block_starts(ctx, index, s, &n);
    if (!start) return no_memory(ctx);
    s->n_buckets = cut_buckets(start, n, most, s->size, NULL);
    s->cut = vlm_alloc_array((size_t)(s->n_buckets * s->size) + 1, sizeof *s->cut);
    s->own = vlm_alloc_array((size_t)s->n_buckets + 1, sizeof *s->own);
    bool has_lists = s->cut && s->own;
    if (has_lists) (void)cut_buckets(start, n, most, s->size, s->cut);
    vlm_free(start);
    if (!has_lists) return no_memory(ctx);
    for (int64_t b = 0; b < s->n_buckets; b++) {
        int64_t begin = vlm_spread_begin(s, b, s->rank), end = vlm_spread_end(s, b, s->rank);
        s->own[b + 1] = s->own[b] + end - begin;
        s->n_own_wide += VLM_MAX(VLM_MIN(end, s->n_wide) - begin, 0);
    }
    return VLMOE_OK;
}

/* ---- memory ---- */

static vlmoe_status take(vlmoe_context *ctx, vlm_spread *s)
{
    int64_t n_own = s->own[s->n_buckets];
    VLM_TRY(vlm_slab_take(ctx, s->n_wide, ctx->wide, &s->wide, "values"));
    VLM_TRY(vlm_slab_take(ctx, s->n, ctx->wide, &s->grads, "gradients"));
    VLM_TRY(vlm_slab_take(ctx, n_own, ctx->wide, &s->sums, "sums of gradients"));
    if (s->n_wide < s->n)
        VLM_TRY(vlm_slab_take(ctx, n_own - s->n_own_wide, ctx->wide, &s->masters, "values"));
    if (ctx->compute == ctx->wide) return VLMOE_OK;
    return vlm_slab_take(ctx, s->n - s->first_copy, ctx->compute, &s->copies, "compute copies");
}

static void point(vlmoe_context *ctx, int index, const vlm_spread *s)
{
    for (int64_t i = 0; i < ctx->n_params; i++) {
        vlm_param *param = ctx->params[i];
        if (vlm_spread_of(ctx, param) != index) continue;
        int64_t at = param->at;
        param->tensor.data = at < s->n_wide ? vlm_element(s->wide, ctx->wide, at) : NULL;
        param->grad = vlm_element(s->grads, ctx->wide, at);
        if (!param->has_copy) continue;
        param->copy = ctx->compute == ctx->wide
                          ? param->tensor.data
                          : vlm_element(s->copies, ctx->compute, at - s->first_copy);
    }
}

/* Elements of the largest bucket part that other ranks send here. */
static int64_t most_arriving(const vlm_spread *s)
{
    int64_t most = 0;
    for (int64_t b = 0; b < s->n_buckets; b++) most = VLM_MAX(most, s->own[b + 1] - s->own[b]);
    return most * (s->size - 1);
}

static vlmoe_status open_spread(vlmoe_context *ctx, int index)
{
    const vlm_ranks *ranks = ctx->ranks;
    vlm_spread *s = &ctx->spreads->spread[index];
    *s = (vlm_spread){.comm = ranks->world, .size = ranks->size, .rank = ranks->rank};
    if (index) {
        const vlm_expert_ranks *experts = &ranks->experts[index - 1];
        s->comm = experts->cross;
        s->size = experts->layout.sets;
        s->rank = vlm_expert_set(&experts->layout, ranks->rank);
    }
    place(ctx, index, s);
    VLM_TRY(cut(ctx, index, s));
    VLM_TRY(take(ctx, s));
    point(ctx, index, s);
    s->moment = ctx->n_moments;
    ctx->n_moments += s->own[s->n_buckets];
    return VLMOE_OK;
}

vlmoe_status vlm_spreads_make(vlmoe_context *ctx)
{
    if (!ctx->ranks) return VLMOE_OK;
    vlm_spreads *all = ctx->spreads = vlm_alloc(sizeof *all);
    if (!all) return no_memory(ctx);
    all->n = 1 + ctx->ranks->n_counts;
    int64_t arriving = 0;
    for (int i = 0; i < all->n; i++) {
        VLM_TRY(open_spread(ctx, i));
        arriving = VLM_MAX(arriving, most_arriving(&all->spread[i]));
    }
    all->arriving_bytes = VLM_SPREAD_WINDOW * (size_t)arriving * vlm_dtype_bytes(ctx->wide);
    return vlm_slab_take(ctx, VLM_SPREAD_WINDOW * arriving, ctx->wide, &all->arriving,
                         "gradients of other ranks");
}

static void release(vlmoe_context *ctx, void *memory)
{
    if (memory) ctx->backend->release(ctx->device, memory);
}

void vlm_spreads_destroy(vlmoe_context *ctx)
{
    vlm_spreads *all = ctx->spreads;
    if (!all) return;
    for (int i = 0; i < all->n; i++) {
        vlm_spread *s = &all->spread[i];
        release(ctx, s->wide);
        release(ctx, s->copies);
        release(ctx, s->grads);
        release(ctx, s->sums);
        release(ctx, s->masters);
        vlm_free(s->cut);
        vlm_free(s->own);
    }
    release(ctx, all->arriving);
    vlm_free(all);
    ctx->spreads = NULL;
}

vlmoe_status vlm_spreads_clear(vlmoe_context *ctx)
{
    for (int i = 0; ctx->spreads && i < ctx->spreads->n; i++) {
        const vlm_spread *s = &ctx->spreads->spread[i];
        size_t bytes = (size_t)s->own[s->n_buckets] * vlm_dtype_bytes(ctx->wide);
        vlmoe_status status = ctx->backend->zero(ctx->device, s->sums, bytes);
        if (status)
            return vlm_fail(&ctx->error, status, "clearing sums of gradients failed on device %s",
                            ctx->backend->name);
    }
    return VLMOE_OK;
}

vlmoe_status vlm_spreads_restart(vlmoe_context *ctx)
{
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (vlm_spread_of(ctx, ctx->params[i]) >= 0) VLM_TRY(vlm_grad_restart(ctx, ctx->params[i]));
    return VLMOE_OK;
}

vlmoe_status vlm_spreads_refresh(vlmoe_context *ctx)
{
    for (int64_t i = 0; i < ctx->n_params; i++)
        if (vlm_spread_of(ctx, ctx->params[i]) >= 0) VLM_TRY(vlm_param_refresh(ctx->params[i]));
    return VLMOE_OK;
}

/* ---- pieces ---- */

/* The rank of the run that is rank r of a spread over the sets of experts e's member. */
static int rank_of_run(const vlm_param *param, int64_t e, int r)
{
    const vlm_expert_layout *layout = vlm_param_layout(param);
    return layout ? r * layout->members + (int)(e / layout->per_rank) : r;
}

/* Place `at` of bucket b, which this rank owns: pointers of the piece that begins there. */
static void point_piece(const vlmoe_context *ctx, const vlm_spread *s, int64_t b, int64_t at,
                        vlm_piece *piece)
{
    int64_t own = s->own[b] + at - vlm_spread_begin(s, b, s->rank);
    piece->value = at < s->n_wide ? vlm_element(s->wide, ctx->wide, at)
                                  : vlm_element(s->masters, ctx->wide, own - s->n_own_wide);
    piece->grad = vlm_element(s->sums, ctx->wide, own);
    if (at >= s->first_copy) piece->copy = vlm_element(s->copies, ctx->compute, at - s->first_copy);
    piece->moment = s->moment + own;
}

vlmoe_status vlm_spread_pieces(vlmoe_context *ctx, vlm_param *param, int64_t e)
{
    const vlm_spread *s = &ctx->spreads->spread[vlm_spread_of(ctx, param)];
    int64_t file = vlm_param_file_elements(param);
    /* Members lay out their experts alike: places are those of this rank's expert in the same row. */
    int64_t begin = param->at + (param->n_local > 0 ? e % param->n_local : 0) * file;
    for (int64_t i = 0; i < s->n_buckets * s->size; i++) {
        int64_t from = VLM_MAX(s->cut[i], begin), to = VLM_MIN(s->cut[i + 1], begin + file);
        if (from >= to) continue;
        vlm_piece piece = {.param = param,
                           .expert = param->n_experts > 0 ? e : -1,
                           .first = from - begin,
                           .n = to - from,
                           .owner = rank_of_run(param, e, (int)(i % s->size))};
        if (piece.owner == vlm_ctx_rank(ctx)) point_piece(ctx, s, i / s->size, from, &piece);
        VLM_TRY(vlm_piece_add(ctx, &piece));
    }
    return VLMOE_OK;
}
