/* Telemetry of sparse layers: what their routing decided in one recording, as a few numbers. */
#include <math.h>
#include "objective.h"

/* Share of choices not served, balance and use of experts, from counts summed over sets. */
static void read_loads(const int32_t *load, const int32_t *served, vlm_route_stats *s)
{
    int64_t chosen = 0, kept = 0;
    for (int64_t i = 0; i < s->n_sets * s->E; i++) {
        s->load[i % s->E] += load[i];
        chosen += load[i];
        kept += served[i];
    }
    double mean = (double)chosen / (double)s->E, square = 0.0;
    for (int64_t e = 0; e < s->E; e++) {
        square += ((double)s->load[e] - mean) * ((double)s->load[e] - mean);
        s->empty += s->load[e] == 0;
    }
    s->dropped = chosen ? 1.0 - (double)kept / (double)chosen : 0.0;
    s->load_cv = chosen ? sqrt(square / (double)s->E) / mean : 0.0;
}

/* losses [n_sets, VLMK_N_LOSSES]. The local entropy loss of a set is its mean entropy, so tokens
 * weigh it. */
static void read_losses(const double *losses, const int32_t *set_offset, vlm_route_stats *s)
{
    for (int64_t i = 0; i < s->n_sets; i++) {
        for (int j = 0; j < VLMK_N_LOSSES; j++)
            s->losses[j] += losses[i * VLMK_N_LOSSES + j] / (double)s->n_sets;
        double tokens = (double)(set_offset[i + 1] - set_offset[i]);
        if (s->tokens)
            s->entropy += losses[i * VLMK_N_LOSSES + VLMK_LOSS_LOCAL] * tokens / (double)s->tokens;
    }
}

static vlmoe_status read_one(vlmoe_tape *tape, const vlm_mome_routing *from, vlm_route_stats *out)
{
    vlmoe_context *ctx = tape->ctx;
    const vlm_routing *r = from->routing;
    vlm_route_stats s = {.block = from->layer->block,
                         .modality = from->layer->modality,
                         .n_sets = r->n_sets,
                         .tokens = r->T,
                         .E = r->E};
    size_t counts = (size_t)(r->n_sets * r->E) * sizeof(int32_t),
           offsets = (size_t)(r->n_sets + 1) * sizeof(int32_t);
    int32_t *load = vlm_tape_host(tape, counts), *served = vlm_tape_host(tape, counts),
            *set_offset = vlm_tape_host(tape, offsets);
    double *losses = vlm_tape_host(tape, (size_t)(r->n_sets * VLMK_N_LOSSES) * sizeof *losses);
    s.load = vlm_tape_host(tape, (size_t)r->E * sizeof *s.load);
    if (!load || !served || !set_offset || !losses || !s.load) return vlmoe_tape_status(tape);
    for (int64_t e = 0; e < r->E; e++) s.load[e] = 0;
    VLM_TRY(ctx->backend->download(ctx->device, load, r->d_load, counts));
    VLM_TRY(ctx->backend->download(ctx->device, served, r->d_served, counts));
    VLM_TRY(ctx->backend->download(ctx->device, set_offset, r->d_set_offset, offsets));
    VLM_TRY(vlm_download_wide(ctx, r->d_losses, r->n_sets * VLMK_N_LOSSES, losses));
    read_loads(load, served, &s);
    read_losses(losses, set_offset, &s);
    *out = s;
    return VLMOE_OK;
}

vlmoe_status vlm_route_stats_read(vlmoe_tape *tape, const vlm_mome_output *model, int *n,
                                  vlm_route_stats **out)
{
    VLM_TRY(vlmoe_tape_status(tape));
    vlm_route_stats *stats =
        vlm_tape_host(tape, (size_t)VLM_MAX(model->n_routings, 1) * sizeof *stats);
    if (!stats) return vlmoe_tape_status(tape);
    VLM_TRY(tape->ctx->backend->sync(tape->ctx->device, &tape->ctx->error));
    for (int i = 0; i < model->n_routings; i++)
        VLM_TRY(read_one(tape, &model->routings[i], &stats[i]));
    *n = model->n_routings;
    *out = stats;
    return VLMOE_OK;
}
