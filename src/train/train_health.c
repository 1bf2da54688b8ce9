/* Plain-word warnings about routing: dead experts and collapsed layers. */
#include "train_report.h"

enum { WINDOW = 50, MAX_LAYERS = 512 };
#define COLLAPSED_SHARE 0.9

typedef struct watched_layer {
    int64_t E, tokens;
    int64_t *load; /* [E] over the window */
    bool *told;    /* [E] already reported dead */
    bool told_collapse;
} watched_layer;

struct vlm_health {
    watched_layer layer[MAX_LAYERS];
    int64_t steps;
};

vlm_health *vlm_health_create(void)
{
    return vlm_alloc(sizeof(vlm_health));
}

void vlm_health_destroy(vlm_health *health)
{
    if (!health) return;
    for (int i = 0; i < MAX_LAYERS; i++) {
        vlm_free(health->layer[i].load);
        vlm_free(health->layer[i].told);
    }
    vlm_free(health);
}

static bool collect(watched_layer *layer, const vlm_layer_sum *sum)
{
    if (!layer->load) {
        layer->E = sum->E;
        layer->load = vlm_alloc_array((size_t)sum->E, sizeof *layer->load);
        layer->told = vlm_alloc_array((size_t)sum->E, sizeof *layer->told);
    }
    if (!layer->load || !layer->told || layer->E != sum->E) return false;
    for (int64_t e = 0; e < sum->E; e++) layer->load[e] += sum->load[e];
    layer->tokens += sum->tokens;
    return true;
}

static void judge(watched_layer *layer, const vlm_layer_sum *sum, int64_t step, const vlm_log *log)
{
    const char *kind = sum->modality == 'v' ? "vision" : "text";
    int64_t all = 0, most = 0;
    for (int64_t e = 0; e < layer->E; e++) {
        all += layer->load[e];
        most = VLM_MAX(most, layer->load[e]);
    }
    for (int64_t e = 0; e < layer->E && all; e++) {
        if (layer->load[e] || layer->told[e]) continue;
        layer->told[e] = true;
        vlm_logf(
            log, VLMOE_LOG_WARN, "routing",
            "%s expert %lld of block %lld has died: no token chose it in %d steps up to step %lld",
            kind, (long long)e, (long long)sum->block, WINDOW, (long long)step);
    }
    if (all && layer->E > 1 && (double)most > COLLAPSED_SHARE * (double)all &&
        !layer->told_collapse) {
        layer->told_collapse = true;
        vlm_logf(log, VLMOE_LOG_WARN, "routing",
                 "routing of block %lld (%s) has collapsed: one expert takes %.0f %% of the tokens "
                 "at step %lld",
                 (long long)sum->block, kind, 100.0 * (double)most / (double)all, (long long)step);
    }
    for (int64_t e = 0; e < layer->E; e++) layer->load[e] = 0;
    layer->tokens = 0;
}

void vlm_health_look(vlm_health *health, const vlm_tally *tally, int64_t step, const vlm_log *log)
{
    bool is_due = ++health->steps % WINDOW == 0;
    for (int i = 0; i < tally->n_layers && i < MAX_LAYERS; i++)
        if (collect(&health->layer[i], &tally->layers[i]) && is_due)
            judge(&health->layer[i], &tally->layers[i], step, log);
}
