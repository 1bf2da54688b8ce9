/* Recording of the MoME encoder: embeddings, blocks, final norm. */
#include <string.h>
#include "model_parts.h"

/* Tables whose rows add up to the first residual stream, in the order of addition. */
enum {
    TABLE_WORD,
    TABLE_TEXT_POSITION,
    TABLE_PATCH,
    TABLE_CLS,
    TABLE_MASK,
    TABLE_IMAGE_POSITION,
    N_TABLES
};

/* index [N_TABLES, n_rows]: the row of each table that a row takes, -1 = none. */
static void index_rows(const vlm_mome_plan *plan, int32_t *index)
{
    const vlm_mome_inputs *in = &plan->in;
    int64_t n = plan->rows.n_rows, P = plan->rows.patches;
    memset(index, 0xff, (size_t)(N_TABLES * n) * sizeof *index);
    for (int64_t i = 0; i < in->n_images + in->n_pairs; i++) {
        int64_t first = i * (1 + P), from = in->picture ? in->picture[i] : i;
        index[TABLE_CLS * n + first] = 0;
        index[TABLE_IMAGE_POSITION * n + first] = 0;
        for (int64_t p = 0; p < P; p++) {
            bool hidden = in->patch_mask && in->patch_mask[i * P + p];
            if (hidden) index[TABLE_MASK * n + first + 1 + p] = 0;
            else index[TABLE_PATCH * n + first + 1 + p] = (int32_t)(from * P + p);
            index[TABLE_IMAGE_POSITION * n + first + 1 + p] = (int32_t)(1 + p);
        }
    }
    for (int64_t j = 0; j < in->n_texts + in->n_pairs; j++) {
        for (int32_t t = in->text_offset[j]; t < in->text_offset[j + 1]; t++) {
            index[TABLE_WORD * n + plan->rows.text_begin + t] = in->token[t];
            index[TABLE_TEXT_POSITION * n + plan->rows.text_begin + t] = t - in->text_offset[j];
        }
    }
}

static vlmoe_tensor *project_patches(vlmoe_tape *tape, const vlm_mome_plan *plan)
{
    const vlm_mome *model = plan->model;
    vlm_linear_opts opts = {.act = VLMOE_ACT_NONE, .out_dtype = tape->ctx->wide};
    const vlm_mome_inputs *in = &plan->in;
    int64_t n = in->picture ? in->n_distinct : in->n_images + in->n_pairs;
    vlmoe_tensor *x = vlm_patch_vectors(tape, tape->ctx->compute, n, in->pixels, &model->picture);
    vlmoe_tensor *out = vlm_linear(tape, x, model->patch.weight, model->patch.bias, &opts);
    vlm_tape_release(tape, x);
    return out;
}

vlmoe_tensor *vlm_mome_embed(vlmoe_tape *tape, const vlm_mome_plan *plan)
{
    const vlm_mome *model = plan->model;
    bool has_pictures = plan->rows.n_vision > 0, has_texts = plan->rows.n_text > 0;
    int64_t n = plan->rows.n_rows;
    vlm_tape_where(tape, "embedding");
    vlmoe_tensor *patches = has_pictures ? project_patches(tape, plan) : NULL;
    int32_t *index = vlm_tape_host(tape, (size_t)(N_TABLES * n) * sizeof *index);
    if ((has_pictures && !patches) || !index) return NULL;
    index_rows(plan, index);

    vlmoe_tensor *all[N_TABLES] = {
        model->word_embedding, model->text_position, patches,
        model->image_cls,      model->image_mask,    model->image_position};
    vlmoe_tensor *table[N_TABLES];
    const int32_t *d_index[N_TABLES];
    int n_tables = 0;
    for (int i = 0; i < N_TABLES; i++) {
        bool is_word = i <= TABLE_TEXT_POSITION;
        bool is_only = i == 0 && !n; /* of no rows at all */
        if ((is_word ? !has_texts : !has_pictures) && !is_only) continue;
        table[n_tables] = all[i];
        d_index[n_tables] = vlm_tape_upload(tape, index + i * n, (size_t)n * sizeof *index);
        if (!d_index[n_tables]) return NULL;
        n_tables++;
    }
    vlmoe_tensor *x = vlm_gather_sum(tape, n_tables, table, d_index, n, tape->ctx->wide);
    vlm_tape_release(tape, patches);
    return x;
}

vlmoe_tensor *vlm_mome_dropout(vlmoe_tape *tape, const vlm_mome *model, vlmoe_tensor *x,
                               uint64_t site)
{
    return model->dropout > 0.0 ? vlmoe_dropout(tape, x, model->dropout, site) : x;
}

static vlmoe_tensor *run_blocks(vlmoe_tape *tape, const vlm_mome_plan *plan, int64_t n_recompute,
                                vlmoe_tensor *x)
{
    int64_t layers = plan->model->layers;
    vlm_mome_call *calls = vlm_tape_host(tape, (size_t)layers * sizeof *calls);
    if (!calls) return NULL;
    for (int64_t l = 0; l < layers; l++) {
        calls[l] = (vlm_mome_call){.plan = plan, .block = l};
        vlmoe_tensor *y = vlm_segment(tape, l < n_recompute, vlm_mome_block_run, &calls[l], x);
        vlm_tape_release(tape, x);
        x = y;
    }
    return x;
}

void vlm_mome_encode(vlmoe_tape *tape, const vlm_mome *model, const vlm_mome_inputs *inputs,
                     int64_t n_recompute, vlm_mome_output *out)
{
    memset(out, 0, sizeof *out);
    vlm_mome_plan *plan = vlm_mome_plan_make(tape, model, inputs);
    if (!plan) return;
    out->rows = plan->rows;
    out->drop_path = plan->drop_path;
    out->routings = vlm_tape_host(tape, (size_t)(2 * model->layers) * sizeof *out->routings);
    if (!out->routings) return;
    plan->out = out;

    vlmoe_tensor *embedded = vlm_mome_embed(tape, plan);
    vlmoe_tensor *x = vlm_mome_dropout(tape, model, embedded, 0);
    if (x != embedded) vlm_tape_release(tape, embedded);
    x = run_blocks(tape, plan, n_recompute, x);
    vlm_tape_where(tape, "norm");
    out->hidden = vlmoe_layer_norm(tape, x, model->norm.gain, model->norm.bias, model->norm.eps,
                                   tape->ctx->wide);
    vlm_tape_release(tape, x);
    plan->out = NULL; /* backward runs segments again when *out may be gone */
}
