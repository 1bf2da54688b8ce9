/* A contrastive loss over the pairs of all groups of a step. */
#include "train_contrast.h"
#include <string.h>
#include "train_group.h"

struct vlm_contrast {
    int64_t groups, n, width; /* n pairs in each group */
    double *feature[2];       /* [groups n, width] by side, as is: */
    vlm_contrastive_solution solution;
    int64_t *concept;          /* [groups n] */
    vlm_contrastive_part part; /* of the group that was asked for last */
};

vlmoe_status vlm_contrast_create(const vlmoe_config *c, vlm_contrast **out, vlmoe_error *error)
{
    *out = NULL;
    const bool spans = vlm_task_of(c)->kind == VLM_TASK_RETRIEVAL &&
                       !strcmp(c->task.negatives, "step") && c->task.contrastive_weight > 0.0;
    if (!spans) return VLMOE_OK;
    vlm_contrast *k = vlm_alloc(sizeof *k);
    if (!k) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the features of a step");
    k->groups = c->run.groups;
    k->n = c->data.pairs_per_group;
    k->width = c->task.embed_width ? c->task.embed_width : c->model.width;
    const size_t all = (size_t)(k->groups * k->n), values = all * (size_t)k->width;
    bool is_whole = true;
    for (int side = 0; side < 2; side++) {
        k->feature[side] = vlm_alloc_array(values, sizeof(double));
        k->solution.slope[side] = vlm_alloc_array(values, sizeof(double));
        k->solution.recall[side] = vlm_alloc_array((size_t)k->groups, sizeof(double));
        is_whole =
            is_whole && k->feature[side] && k->solution.slope[side] && k->solution.recall[side];
    }
    k->solution.loss = vlm_alloc_array((size_t)k->groups, sizeof(double));
    k->solution.contrastive = vlm_alloc_array((size_t)k->groups, sizeof(double));
    k->concept = vlm_alloc_array(all, sizeof *k->concept);
    if (!is_whole || !k->solution.loss || !k->solution.contrastive || !k->concept) {
        vlm_contrast_destroy(k);
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the features of a step");
    }
    *out = k;
    return VLMOE_OK;
}

void vlm_contrast_destroy(vlm_contrast *k)
{
    if (!k) return;
    for (int side = 0; side < 2; side++) {
        vlm_free(k->feature[side]);
        vlm_free(k->solution.slope[side]);
        vlm_free(k->solution.recall[side]);
    }
    vlm_free(k->solution.loss);
    vlm_free(k->solution.contrastive);
    vlm_free(k->concept);
    vlm_free(k);
}

/* ---- pass 1 ---- */

static vlmoe_status features_of(vlmoe_trainer *t, const vlm_group *group)
{
    vlm_contrast *k = t->contrast;
    vlmoe_tape *tape = NULL;
    const int64_t first = group->index * k->n;
    const vlm_task_parts parts = {.model = t->model, .head = t->head, .config = t->config};
    double *const feature[2] = {k->feature[0] + first * k->width, k->feature[1] + first * k->width};
    memcpy(k->concept + first, group->concept, (size_t)k->n * sizeof *k->concept);
    vlmoe_status st = vlmoe_tape_begin(t->ctx, VLMOE_TRAIN, &tape);
    if (!st) {
        vlm_tape_place(tape, t->step, group->index);
        st = vlm_contrastive_features(tape, &parts, group, feature);
        vlmoe_tape_end(tape);
    }
    return st ? vlm_fail(&t->error, st, "step %lld, features: %s", (long long)t->step + 1,
                         vlmoe_context_error(t->ctx))
              : VLMOE_OK;
}

/* Rank p has group turn * ranks + p. */
static vlmoe_status share_turn(vlmoe_trainer *t, int64_t turn)
{
    vlm_contrast *k = t->contrast;
    char *blocks = NULL;
    if (!t->seat) return VLMOE_OK;
    const size_t values = (size_t)(k->n * k->width) * sizeof(double),
                 concepts = (size_t)k->n * sizeof *k->concept;
    const int64_t first = (turn * t->seat->size + t->seat->rank) * k->n;
    vlm_text *out = &t->result;
    vlm_text_clear(out, 0);
    for (int side = 0; side < 2; side++)
        vlm_text_append(out, (const char *)(k->feature[side] + first * k->width), values);
    vlm_text_append(out, (const char *)(k->concept + first), concepts);
    if (out->failed) return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for features");
    VLM_TRY(vlm_comm_share_blocks(t->seat->world, "features of groups", out->data, out->bytes,
                                  &blocks, t->result_at, &t->error));
    for (int p = 0; p < t->seat->size; p++) {
        const char *block = blocks + t->result_at[p];
        const int64_t at = (turn * t->seat->size + p) * k->n;
        for (int side = 0; side < 2; side++)
            memcpy(k->feature[side] + at * k->width, block + (size_t)side * values, values);
        memcpy(k->concept + at, block + 2 * values, concepts);
    }
    vlm_free(blocks);
    return VLMOE_OK;
}

/* ---- pass 2 ---- */

static vlm_contrastive_set set_of(const vlm_contrast *k, const vlmoe_config *config)
{
    return (vlm_contrastive_set){.n_groups = k->groups,
                                 .n = k->n,
                                 .feature = {k->feature[0], k->feature[1]},
                                 .concept = k->concept,
                                 .weight = config->task.contrastive_weight};
}

vlmoe_status vlm_contrast_solve(vlmoe_trainer *t)
{
    vlm_contrast *k = t->contrast;
    const vlm_group *group = NULL;
    const int64_t turns = k->groups / (t->seat ? t->seat->size : 1);
    for (int64_t i = 0; i < turns; i++) {
        VLM_TRY(vlm_source_next(t->train, &group, &t->error));
        VLM_TRY(features_of(t, group));
        VLM_TRY(share_turn(t, i));
    }
    VLM_TRY(vlm_source_seek(t->train, t->step, &t->error));
    const vlm_contrastive_set set = set_of(k, t->config);
    vlmoe_status st = vlm_contrastive_solve(t->ctx, t->head, &set, &k->solution);
    return st ? vlm_fail(&t->error, st, "step %lld, contrastive loss: %s", (long long)t->step + 1,
                         vlmoe_context_error(t->ctx))
              : VLMOE_OK;
}

/* ---- pass 3 ---- */

const vlm_contrastive_part *vlm_contrast_part(vlmoe_trainer *t, vlmoe_mode mode,
                                              const vlm_group *group)
{
    vlm_contrast *k = t->contrast;
    if (!k || mode != VLMOE_TRAIN) return NULL;
    const int64_t at = group->index * k->n * k->width;
    k->part =
        (vlm_contrastive_part){.feature = {k->feature[0] + at, k->feature[1] + at},
                               .slope = {k->solution.slope[0] + at, k->solution.slope[1] + at},
                               .log_scale_slope = group->index ? 0.0 : k->solution.log_scale_slope,
                               .loss = k->solution.loss[group->index]};
    return &k->part;
}

void vlm_contrast_measures(const vlmoe_trainer *t, const vlm_group *group, vlm_measures *m)
{
    const vlm_contrast *k = t->contrast;
    const double mean[3] = {k->solution.contrastive[group->index],
                            k->solution.recall[VLM_SIDE_IMAGE][group->index],
                            k->solution.recall[VLM_SIDE_TEXT][group->index]};
    for (int i = 0; i < VLM_COUNT(mean); i++) {
        m->sum[i] = mean[i] * (double)k->n;
        m->n[i] = (double)k->n;
    }
}

vlmoe_status vlm_contrast_plan(vlmoe_context *ctx, const vlm_models *models,
                               const vlmoe_config *config, const vlm_group *group,
                               vlmoe_error *error)
{
    vlm_contrast *k = NULL;
    vlmoe_tape *tape = NULL;
    const vlm_task_parts parts = {.model = models->model, .head = models->head, .config = config};
    VLM_TRY(vlm_contrast_create(config, &k, error));
    if (!k) return VLMOE_OK;
    for (int64_t i = 0; i < k->groups * k->n; i++) k->concept[i] = i;
    vlmoe_status st = vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape);
    if (!st) {
        st = vlm_contrastive_features(tape, &parts, group, k->feature);
        vlmoe_tape_end(tape);
    }
    const vlm_contrastive_set set = set_of(k, config);
    if (!st) st = vlm_contrastive_solve(ctx, models->head, &set, &k->solution);
    vlm_contrast_destroy(k);
    return st;
}
