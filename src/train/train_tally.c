/* Sums over groups. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "train_report.h"

enum { NUMBER_BYTES = 16 }; /* room behind a long name, with the zero at its end */

static void free_found(vlm_tally *tally)
{
    vlm_free(tally->predictions);
    vlm_free(tally->scores.at);
    for (int way = 0; way < 2; way++) vlm_ranked_free(&tally->ranked[way]);
}

void vlm_tally_free(vlm_tally *tally)
{
    for (int i = 0; i < tally->n_layers; i++) vlm_free(tally->layers[i].load);
    vlm_free(tally->layers);
    free_found(tally);
    *tally = (vlm_tally){0};
}

void vlm_tally_clear(vlm_tally *tally)
{
    vlm_layer_sum *layers = tally->layers;
    int n = tally->n_layers;
    for (int i = 0; i < n; i++) {
        vlm_layer_sum *sum = &layers[i];
        memset(sum->load, 0, (size_t)sum->E * sizeof *sum->load);
        *sum = (vlm_layer_sum){
            .block = sum->block, .modality = sum->modality, .E = sum->E, .load = sum->load};
    }
    free_found(tally);
    *tally = (vlm_tally){.n_layers = n, .layers = layers};
}

/* At most so many bytes of a name, by whole characters; one that was cut already may end within one. */
static void cut_name(char *name, size_t most)
{
    size_t n = 0;
    for (size_t one; (one = vlm_utf8_length(name + n, strlen(name + n))) && n + one <= most;)
        n += one;
    name[n] = '\0';
}

static bool is_taken(const vlm_scores *scores, const char *name)
{
    for (int i = 0; i < scores->n; i++)
        if (!strcmp(scores->at[i].name, name)) return true;
    return false;
}

static vlm_score *add_score(vlm_scores *scores)
{
    if (scores->n == scores->room) {
        const int room = VLM_MAX(16, 2 * scores->room);
        vlm_score *at = vlm_alloc_array((size_t)room, sizeof *at);
        if (!at) scores->failed = true;
        if (!at) return NULL;
        if (scores->n) memcpy(at, scores->at, (size_t)scores->n * sizeof *at);
        vlm_free(scores->at);
        scores->at = at;
        scores->room = room;
    }
    return &scores->at[scores->n++];
}

void vlm_scores_put(vlm_scores *scores, double share, const char *format, ...)
{
    vlm_score score = {.value = share, .is_share = true};
    va_list arguments;
    if (isnan(share)) return;
    va_start(arguments, format);
    const int bytes = vsnprintf(score.name, sizeof score.name, format, arguments);
    va_end(arguments);
    if (bytes > VLM_SCORE_NAME_BYTES - NUMBER_BYTES)
        cut_name(score.name, VLM_SCORE_NAME_BYTES - NUMBER_BYTES);
    const size_t own = strlen(score.name);
    for (int k = 2; is_taken(scores, score.name); k++)
        snprintf(score.name + own, sizeof score.name - own, " (%d)", k);
    vlm_score *place = add_score(scores);
    if (place) *place = score;
}

void vlm_scores_put_number(vlm_scores *scores, double value, const char *name)
{
    const int before = scores->n;
    vlm_scores_put(scores, value, "%s", name);
    if (scores->n > before) scores->at[before].is_share = false;
}

double vlm_measure_mean(const vlm_measures *m, int i)
{
    return m->n[i] > 0.0 ? m->sum[i] / m->n[i] : NAN;
}

void vlm_tally_parts(vlm_tally *tally, const vlm_part_metrics *metrics, bool by_position)
{
    for (int i = 0; i < VLM_N_PARTS; i++) {
        if (!metrics->n[i]) continue;
        double weight = by_position ? (double)metrics->n[i] : 1.0;
        tally->part_loss[i] += weight * metrics->loss[i];
        tally->part_right[i] += weight * metrics->correct[i];
        tally->part_groups[i]++;
        tally->part_positions[i] += metrics->n[i];
    }
}

static vlmoe_status start_layers(vlm_tally *tally, int n, const vlm_route_stats *stats,
                                 vlmoe_error *error)
{
    tally->layers = vlm_alloc_array((size_t)n, sizeof *tally->layers);
    if (!tally->layers)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for routing statistics");
    tally->n_layers = n;
    for (int i = 0; i < n; i++) {
        vlm_layer_sum *sum = &tally->layers[i];
        sum->block = stats[i].block;
        sum->modality = stats[i].modality;
        sum->E = stats[i].E;
        sum->load = vlm_alloc_array((size_t)sum->E, sizeof *sum->load);
        if (!sum->load)
            return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for routing statistics");
    }
    return VLMOE_OK;
}

/* A layer may be missing from a group (a stream ran out), so layers are found by block and modality, never by place. */
static vlm_layer_sum *find_layer(vlm_tally *tally, const vlm_route_stats *stats)
{
    for (int i = 0; i < tally->n_layers; i++)
        if (tally->layers[i].block == stats->block && tally->layers[i].modality == stats->modality)
            return &tally->layers[i];
    return NULL;
}

vlmoe_status vlm_tally_routes(vlm_tally *tally, int n, const vlm_route_stats *stats,
                              vlmoe_error *error)
{
    if (!tally->layers && n) VLM_TRY(start_layers(tally, n, stats, error));
    for (int i = 0; i < n; i++) {
        vlm_layer_sum *sum = find_layer(tally, &stats[i]);
        if (!sum || !stats[i].tokens) continue;
        sum->n++;
        sum->tokens += stats[i].tokens;
        sum->dropped += stats[i].dropped * (double)stats[i].tokens;
        sum->load_cv += stats[i].load_cv;
        sum->entropy += stats[i].entropy;
        for (int64_t e = 0; e < sum->E; e++) sum->load[e] += stats[i].load[e];
        for (int l = 0; l < VLMK_N_LOSSES; l++) sum->losses[l] += stats[i].losses[l];
    }
    return VLMOE_OK;
}

void vlm_tally_report(const vlm_tally *tally, bool by_position, vlmoe_step_report *out)
{
    double groups = tally->groups ? (double)tally->groups : 1.0, dropped = 0.0, tokens = 0.0;
    out->loss = tally->loss / groups;
    out->reconstruction = tally->reconstruction / groups;
    out->commitment = tally->commitment / groups;
    out->samples = tally->samples;
    for (int i = 0; i < VLM_N_PARTS; i++) {
        double n = by_position ? (double)tally->part_positions[i] : (double)tally->part_groups[i];
        out->part_loss[i] = n > 0 ? tally->part_loss[i] / n : NAN;
        out->part_right[i] = n > 0 ? tally->part_right[i] / n : NAN;
    }
    for (int i = 0; i < tally->n_layers; i++) {
        dropped += tally->layers[i].dropped;
        tokens += (double)tally->layers[i].tokens;
    }
    out->dropped = tokens > 0 ? dropped / tokens : 0.0;
    out->metric = tally->scores.n ? tally->scores.at[0].value : NAN;
}

void vlm_report_out(const vlmoe_step_report *from, vlmoe_step_report *to)
{
    if (!to || to->struct_size < sizeof to->struct_size) return;
    size_t bytes = VLM_MIN(to->struct_size, sizeof *from);
    size_t first = sizeof to->struct_size;
    memcpy((char *)to + first, (const char *)from + first, bytes - first);
}
