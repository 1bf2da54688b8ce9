/* Records into curves, one line at a time. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "report_metrics.h"

/* A line longer than this is no record: the longest, of 64 layers with 4,096 experts each, has about 3 MB. */
enum { MAX_LINE = 1 << 23 };

static const struct {
    vlm_metric metric;
    const char *key;
} keys[] = {
    {VLM_METRIC_LOSS, "loss"},
    {VLM_METRIC_PART_LOSS, "text_loss"},
    {VLM_METRIC_PART_LOSS + 1, "image_loss"},
    {VLM_METRIC_PART_LOSS + 2, "pair_text_loss"},
    {VLM_METRIC_PART_LOSS + 3, "pair_image_loss"},
    {VLM_METRIC_PART_RIGHT, "text_right"},
    {VLM_METRIC_PART_RIGHT + 1, "image_right"},
    {VLM_METRIC_PART_RIGHT + 2, "pair_text_right"},
    {VLM_METRIC_PART_RIGHT + 3, "pair_image_right"},
    {VLM_METRIC_RECONSTRUCTION, "reconstruction"},
    {VLM_METRIC_COMMITMENT, "commitment"},
    {VLM_METRIC_CODE_USAGE, "code_usage"},
    {VLM_METRIC_GRAD_NORM, "grad_norm"},
    {VLM_METRIC_LR, "lr"},
    {VLM_METRIC_DROPPED, "dropped"},
    {VLM_METRIC_TASK_LOSS, "task_loss"},
    {VLM_METRIC_TASK_SCORE, "score"},
    {VLM_METRIC_ACCURACY, "accuracy"},
    {VLM_METRIC_CONSISTENCY, "consistency"},
    {VLM_METRIC_TOP1, "top1"},
    {VLM_METRIC_TOP5, "top5"},
    {VLM_METRIC_RECALL, "recall"},
    {VLM_METRIC_TEXT_FIRST, "text R@1"},
    {VLM_METRIC_IMAGE_FIRST, "image R@1"},
    {VLM_METRIC_CONTRASTIVE_LOSS, "contrastive_loss"},
    {VLM_METRIC_MATCHING_LOSS, "matching_loss"},
    {VLM_METRIC_TEXT_IN_GROUP, "image_to_text"},
    {VLM_METRIC_IMAGE_IN_GROUP, "text_to_image"},
    {VLM_METRIC_MATCHING, "matching"},
    {VLM_METRIC_TEMPERATURE, "temperature"},
};

/* ---- scores by name ---- */

void vlm_named_scores_put(vlm_named_scores *s, const char *name, double value)
{
    if (!isfinite(value) || s->n == VLM_REPORT_SCORES) return;
    vlm_named_score *score = &s->at[s->n++];
    snprintf(score->name, sizeof score->name, "%s", name);
    score->value = value;
}

double vlm_named_score_of(const vlm_named_scores *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->at[i].name, name)) return s->at[i].value;
    return NAN;
}

/* The key says how an evaluation went, not what it found. */
static bool is_about_work(const char *key)
{
    static const char *const work[] = {"step",      "seconds", "wait_seconds", "samples",
                                       "cut_texts", "dropped", "grad_norm",    "lr"};
    for (int i = 0; i < VLM_COUNT(work); i++)
        if (!strcmp(key, work[i])) return true;
    return false;
}

static void keep_scores(vlm_metrics *m, const vlm_value *record)
{
    m->scores.n = 0;
    for (const vlm_value *v = vlm_json_first(record); v; v = vlm_json_next(v)) {
        const char *key = vlm_json_key(v);
        if (key && vlm_json_kind_of(v) == VLM_JSON_NUMBER && !is_about_work(key))
            vlm_named_scores_put(&m->scores, key, vlm_json_number(v));
    }
}

/* NaN where the key is missing or no number. */
static double number_of(const vlm_value *record, const char *key)
{
    const vlm_value *value = vlm_json_get(record, key);
    return value && vlm_json_kind_of(value) == VLM_JSON_NUMBER ? vlm_json_number(value) : NAN;
}

/* ---- layers ---- */

static vlm_metrics_layer *layer_of(vlm_metrics *m, const vlm_value *value, int64_t E)
{
    int64_t block = -1;
    const char *modality = vlm_json_text(vlm_json_get(value, "modality"));
    if (!vlm_json_int(vlm_json_get(value, "block"), &block) || !modality || E < 1 ||
        E > VLM_METRICS_EXPERTS)
        return NULL;
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].block == block && m->layers[i].modality == modality[0])
            return m->layers[i].E == E ? &m->layers[i] : NULL;
    if (m->n_layers == VLM_METRICS_LAYERS) {
        m->layers_left_out++;
        return NULL;
    }
    vlm_metrics_layer *layer = &m->layers[m->n_layers];
    layer->heat = vlm_alloc_array((size_t)E, VLM_HEAT_BUCKETS * sizeof *layer->heat);
    if (!layer->heat) return NULL;
    layer->block = block;
    layer->modality = modality[0];
    layer->E = E;
    layer->heat_width = 1;
    m->n_layers++;
    return layer;
}

static void fold_heat(vlm_metrics_layer *layer)
{
    int64_t E = layer->E;
    for (int64_t i = 0; i < VLM_HEAT_BUCKETS; i++)
        for (int64_t e = 0; e < E; e++) {
            double sum = 0.0;
            for (int64_t k = 2 * i; k < 2 * i + 2 && k < VLM_HEAT_BUCKETS; k++)
                sum += layer->heat[k * E + e];
            layer->heat[i * E + e] = sum;
        }
    layer->heat_width *= 2;
}

static bool add_layer(vlm_metrics *m, int64_t step, const vlm_value *value)
{
    const vlm_value *load = vlm_json_get(value, "load");
    vlm_metrics_layer *layer = layer_of(m, value, vlm_json_size(load));
    if (!layer) return true;
    while ((step - 1) / layer->heat_width >= VLM_HEAT_BUCKETS) fold_heat(layer);
    double *column = layer->heat + (step - 1) / layer->heat_width * layer->E;
    int64_t e = 0;
    for (const vlm_value *v = vlm_json_first(load); v; v = vlm_json_next(v), e++)
        column[e] += fmax(vlm_json_number(v), 0.0);
    return vlm_curve_add(&layer->dropped, step, number_of(value, "dropped")) &&
           vlm_curve_add(&layer->entropy, step, number_of(value, "entropy")) &&
           vlm_curve_add(&layer->load_cv, step, number_of(value, "load_cv"));
}

/* ---- records ---- */

static bool add_train(vlm_metrics *m, int64_t step, const vlm_value *record)
{
    double seconds = number_of(record, "seconds"), samples = number_of(record, "samples"),
           wait = number_of(record, "wait_seconds");
    m->steps = VLM_MAX(m->steps, step);
    if (samples > 0 && samples < 0x1p53) m->samples += (int64_t)samples;
    if (seconds > 0) m->seconds += seconds;
    bool has_room = true;
    for (int i = 0; i < VLM_COUNT(keys); i++)
        has_room = has_room &&
                   vlm_curve_add(&m->train[keys[i].metric], step, number_of(record, keys[i].key));
    if (seconds > 0) {
        has_room = has_room && vlm_curve_add(&m->train[VLM_METRIC_SPEED], step, samples / seconds);
        has_room = has_room && vlm_curve_add(&m->train[VLM_METRIC_WAIT], step, wait / seconds);
    }
    const vlm_value *layers = vlm_json_get(record, "routing");
    for (const vlm_value *v = vlm_json_first(layers); v && has_room; v = vlm_json_next(v))
        has_room = add_layer(m, step, v);
    return has_room;
}

static bool add_evaluation(vlm_metrics *m, int64_t step, const vlm_value *record)
{
    double seconds = number_of(record, "seconds");
    bool has_room = true;
    m->evaluations++;
    keep_scores(m, record);
    if (seconds > 0) m->seconds += seconds;
    for (int i = 0; i < VLM_COUNT(keys); i++) {
        double value = number_of(record, keys[i].key);
        m->last[keys[i].metric] = value;
        has_room = has_room && vlm_curve_add(&m->held_out[keys[i].metric], step, value);
    }
    return has_room;
}

/* false = out of memory. */
static bool add_line(vlm_metrics *m, const char *line, size_t bytes)
{
    vlm_json *doc = NULL;
    int64_t step = 0;
    bool has_room = true;
    m->lines++;
    if (bytes > MAX_LINE || vlm_json_parse(line, bytes, "metrics", false, &doc, NULL)) {
        m->odd_lines++;
        return true;
    }
    const vlm_value *record = vlm_json_root(doc);
    const char *kind = vlm_json_text(vlm_json_get(record, "kind"));
    bool has_step = vlm_json_int(vlm_json_get(record, "step"), &step) && step >= 0;
    if (kind && has_step && step >= 1 && !strcmp(kind, "train"))
        has_room = add_train(m, step, record);
    else if (kind && has_step && !strcmp(kind, "eval")) has_room = add_evaluation(m, step, record);
    else m->odd_lines++;
    vlm_json_free(doc);
    return has_room;
}

vlmoe_status vlm_metrics_read(const char *path, vlm_metrics *out, vlmoe_error *error)
{
    vlm_map map = {0};
    bool has_room = true;
    *out = (vlm_metrics){0};
    for (int i = 0; i < VLM_N_METRICS; i++) out->last[i] = NAN;
    VLM_TRY(vlm_map_open(path, &map, error));
    const char *at = (const char *)map.data, *end = at + map.bytes;
    while (at < end && has_room) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t bytes = (size_t)((stop ? stop : end) - at);
        if (bytes) has_room = add_line(out, at, bytes);
        at = stop ? stop + 1 : end;
    }
    vlm_map_close(&map);
    return has_room ? VLMOE_OK
                    : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the records of %s", path);
}

void vlm_metrics_free(vlm_metrics *m)
{
    for (int i = 0; i < VLM_N_METRICS; i++) {
        vlm_curve_free(&m->train[i]);
        vlm_curve_free(&m->held_out[i]);
    }
    for (int i = 0; i < m->n_layers; i++) {
        vlm_curve_free(&m->layers[i].dropped);
        vlm_curve_free(&m->layers[i].entropy);
        vlm_curve_free(&m->layers[i].load_cv);
        vlm_free(m->layers[i].heat);
    }
    *m = (vlm_metrics){0};
}
