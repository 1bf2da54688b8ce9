/* One MoME block (VL-MoE, section 3; VLMo, Bao et al. 2022): attention shared by all modalities,
 * then the feed-forward of each. */
#include "model_parts.h"

/* Rows that go through one feed-forward together, with the routing sets a sparse one splits them
 * into. */
typedef struct run {
    int modality;
    int64_t begin, count; /* rows */
    int n_sets;
    int32_t set_offset[3]; /* rows from begin */
    const char *set_name[2];
} run;

static void put_set(run *r, const char *name, int64_t count)
{
    if (!count) return;
    r->set_name[r->n_sets] = name;
    r->count += count;
    r->set_offset[++r->n_sets] = (int32_t)r->count;
}

/* A run without rows is left out, but where its experts are on several ranks: other groups may
 * have rows for them. Then its tokens are one empty set. */
static bool has_part(const vlm_mome_plan *plan, const vlm_mome_block *block, run *r)
{
    if (r->count) return true;
    if (!plan->model->ctx->ranks || r->modality == VLM_MOD_VL || !block->is_sparse[r->modality])
        return false;
    r->n_sets = 1;
    return true;
}

/* The runs of a block, in the order of its feed-forwards; returns their number. */
static int plan_runs(const vlm_mome_plan *plan, const vlm_mome_block *block, run runs[VLM_N_MODS])
{
    const vlm_mome_rows *rows = &plan->rows;
    int64_t pair_pictures = rows->n_vision - rows->pair_begin,
            pair_texts = rows->pair_count - pair_pictures;
    int64_t text_only = rows->pair_begin + rows->pair_count;
    run v = {.modality = VLM_MOD_V, .begin = 0};
    run t = {.modality = VLM_MOD_T, .begin = block->has_vl ? text_only : rows->text_begin};
    run vl = {.modality = VLM_MOD_VL, .begin = rows->pair_begin};
    put_set(&v, "images", rows->pair_begin);
    if (block->has_vl) {
        vl.count = rows->pair_count;
    } else {
        put_set(&v, "pairs", pair_pictures);
        put_set(&t, "pairs", pair_texts);
    }
    put_set(&t, "texts", rows->n_rows - text_only);
    int n = 0;
    if (has_part(plan, block, &v)) runs[n++] = v;
    if (has_part(plan, block, &t)) runs[n++] = t;
    if (has_part(plan, block, &vl)) runs[n++] = vl;
    return n;
}

/* Branch 0 is attention's, 1 the feed-forwards'. NULL: no rows are dropped or scaled. */
static const void *row_scale(vlmoe_tape *tape, const vlm_mome_plan *plan, int64_t block, int branch)
{
    if (!plan->d_drop_path || plan->model->blocks[block].drop_path <= 0.0) return NULL;
    return plan->d_drop_path +
           (size_t)((2 * block + branch) * plan->rows.n_rows) * vlm_dtype_bytes(tape->ctx->wide);
}

/* Numbers of places with dropout: 0 is the embedding's; four a block: attention, then the
 * feed-forwards by modality. */
static uint64_t dropout_site(int64_t block, int place)
{
    return 1 + 4 * (uint64_t)block + (uint64_t)place;
}

static vlmoe_tensor *run_sparse(vlmoe_tape *tape, const vlm_mome_plan *plan,
                                const vlm_moe_layer *moe, const run *r, vlmoe_tensor *h)
{
    vlm_routing *routing = NULL;
    h = vlm_moe_run(tape, moe, h, r->n_sets, r->set_offset, &routing);
    if (!h || tape->replaying || !r->count) return h;
    vlm_mome_output *out = plan->out;
    out->routings[out->n_routings++] =
        (vlm_mome_routing){.layer = moe,
                           .routing = routing,
                           .n_sets = r->n_sets,
                           .set_name = {r->set_name[0], r->set_name[1]}};
    return h;
}

/* Dropout of a branch's result. */
static vlmoe_tensor *drop(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *y, uint64_t site)
{
    vlmoe_tensor *out = vlm_mome_dropout(tape, model, y, site);
    if (out != y) vlm_tape_release(tape, y);
    return out;
}

static vlmoe_tensor *run_ffn(vlmoe_tape *tape, const vlm_mome_call *call, const run *r,
                             vlmoe_tensor *x)
{
    const vlm_mome *model = call->plan->model;
    const vlm_mome_block *block = &model->blocks[call->block];
    const vlm_norm_layer *norm = &block->norm2[r->modality];
    vlm_tape_where(tape, block->where_ffn[r->modality]);
    vlmoe_tensor *h = vlm_rows_view(tape, x, r->begin, r->count);
    h = vlmoe_layer_norm(tape, h, norm->gain, norm->bias, norm->eps, tape->ctx->compute);
    vlmoe_tensor *y;
    if (r->modality != VLM_MOD_VL && block->is_sparse[r->modality])
        y = run_sparse(tape, call->plan, &block->moe[r->modality], r, h);
    else y = vlm_ffn_run(tape, &block->ffn[r->modality], h);
    vlm_tape_release(tape, h);
    return drop(tape, model, y, dropout_site(call->block, 1 + r->modality));
}

vlmoe_tensor *vlm_mome_block_run(vlmoe_tape *tape, const void *arg, vlmoe_tensor *x)
{
    const vlm_mome_call *call = arg;
    const vlm_mome_plan *plan = call->plan;
    const vlm_mome_block *block = &plan->model->blocks[call->block];
    vlm_tape_where(tape, block->where_attention);
    vlmoe_tensor *h = vlmoe_layer_norm(tape, x, block->norm1.gain, block->norm1.bias,
                                       block->norm1.eps, tape->ctx->compute);
    vlmoe_tensor *y = vlm_attention_run(tape, &block->attention, h, &plan->layout);
    vlm_tape_release(tape, h);
    y = drop(tape, plan->model, y, dropout_site(call->block, 0));
    vlm_residual_part whole = {
        .y = y, .begin = 0, .d_row_scale = row_scale(tape, plan, call->block, 0)};
    x = vlm_residual(tape, x, 1, &whole, block->scale1);
    vlm_tape_release(tape, y);
    if (!x) return NULL;

    run runs[VLM_N_MODS];
    vlm_residual_part parts[VLM_N_MODS];
    int n = plan_runs(plan, block, runs);
    for (int i = 0; i < n; i++)
        parts[i] = (vlm_residual_part){.y = run_ffn(tape, call, &runs[i], x),
                                       .begin = runs[i].begin,
                                       .d_row_scale = row_scale(tape, plan, call->block, 1)};
    vlmoe_tensor *out = vlm_residual(tape, x, n, parts, block->scale2);
    for (int i = 0; i < n; i++) vlm_tape_release(tape, parts[i].y);
    vlm_tape_release(tape, x);
    return out;
}
