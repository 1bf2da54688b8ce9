/* Results of groups: adding them up, and exchanging them between ranks. */
#include "train_result.h"
#include <string.h>
#include "base_json.h"

/* Room grows twofold. */
static vlmoe_status add_predictions(vlm_tally *tally, const vlm_group_result *result,
                                    vlmoe_error *error)
{
    const int64_t n = tally->n_predictions + result->n_predictions;
    if (!result->n_predictions) return VLMOE_OK;
    if (n > tally->predictions_room) {
        const int64_t room = VLM_MAX(n, 2 * tally->predictions_room);
        vlm_prediction *more = vlm_alloc_array((size_t)room, sizeof *more);
        if (!more) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for predictions");
        if (tally->n_predictions)
            memcpy(more, tally->predictions, (size_t)tally->n_predictions * sizeof *more);
        vlm_free(tally->predictions);
        tally->predictions = more;
        tally->predictions_room = room;
    }
    memcpy(tally->predictions + tally->n_predictions, result->predictions,
           (size_t)result->n_predictions * sizeof *result->predictions);
    tally->n_predictions = n;
    return VLMOE_OK;
}

vlmoe_status vlm_tally_add(vlm_tally *tally, const vlm_group_result *result, bool by_position,
                           vlmoe_error *error)
{
    if (result->is_repeat) return VLMOE_OK;
    VLM_TRY(vlm_tally_routes(tally, (int)result->n_routes, result->routes, error));
    vlm_tally_parts(tally, &result->parts, by_position);
    VLM_TRY(add_predictions(tally, result, error));
    for (int i = 0; i < VLM_N_MEASURES; i++) {
        tally->measures.sum[i] += result->measures.sum[i];
        tally->measures.n[i] += result->measures.n[i];
    }
    tally->loss += result->loss;
    tally->reconstruction += result->reconstruction;
    tally->commitment += result->commitment;
    tally->groups++;
    tally->samples += result->samples;
    tally->cut += result->cut;
    return VLMOE_OK;
}

static size_t routes_bytes(const vlm_group_result *result)
{
    return (size_t)result->n_routes * sizeof *result->routes;
}

static size_t predictions_bytes(const vlm_group_result *result)
{
    return (size_t)result->n_predictions * sizeof *result->predictions;
}

/* The struct, its predictions and routes, then the load of each route. */
vlmoe_status vlm_result_pack(const vlm_group_result *result, vlm_text *out, vlmoe_error *error)
{
    vlm_text_clear(out, 0);
    vlm_text_append(out, (const char *)result, sizeof *result);
    if (result->n_predictions)
        vlm_text_append(out, (const char *)result->predictions, predictions_bytes(result));
    if (result->n_routes) vlm_text_append(out, (const char *)result->routes, routes_bytes(result));
    for (int64_t i = 0; i < result->n_routes; i++)
        vlm_text_append(out, (const char *)result->routes[i].load,
                        (size_t)result->routes[i].E * sizeof *result->routes[i].load);
    return out->failed ? vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a group's result")
                       : VLMOE_OK;
}

vlmoe_status vlm_result_unpack(char *bytes, size_t n_bytes, vlm_group_result *out,
                               vlmoe_error *error)
{
    size_t need = sizeof *out;
    vlm_group_result r;
    if (n_bytes < need) goto torn;
    memcpy(&r, bytes, sizeof r);
    need += predictions_bytes(&r) + routes_bytes(&r);
    if (n_bytes < need) goto torn;
    r.predictions = (vlm_prediction *)(void *)(bytes + sizeof r);
    r.routes = (vlm_route_stats *)(void *)(bytes + sizeof r + predictions_bytes(&r));
    for (int64_t i = 0; i < r.n_routes; i++) {
        r.routes[i].load = (int64_t *)(void *)(bytes + need);
        need += (size_t)r.routes[i].E * sizeof *r.routes[i].load;
        if (n_bytes < need) goto torn;
    }
    if (n_bytes != need) goto torn;
    *out = r;
    return VLMOE_OK;
torn:
    return vlm_fail(error, VLMOE_E_INTERNAL, "a group's result of %zu bytes where %zu were due",
                    n_bytes, need);
}

static vlmoe_status add_one(vlmoe_trainer *t, const vlm_group_result *result, bool by_position,
                            vlm_tally *tally)
{
    if (result->asks_stop) t->stops = true;
    if (t->bad != VLM_BAD_NOT) return VLMOE_OK;
    if (result->bad == VLM_BAD_NOT) return vlm_tally_add(tally, result, by_position, &t->error);
    t->bad = (int)result->bad;
    return VLMOE_OK;
}

static vlmoe_status add_all(vlmoe_trainer *t, const vlm_group_result *mine, bool by_position,
                            vlm_tally *tally)
{
    const vlm_seat *seat = t->seat;
    char *blocks = NULL;
    size_t *at = t->result_at;
    VLM_TRY(vlm_result_pack(mine, &t->result, &t->error));
    vlmoe_status st = vlm_comm_share_blocks(seat->world, "results of groups", t->result.data,
                                            t->result.bytes, &blocks, at, &t->error);
    for (int p = 0; p < seat->size && !st; p++) {
        vlm_group_result result;
        st = vlm_result_unpack(blocks + at[p], at[p + 1] - at[p], &result, &t->error);
        bool was_fine = t->bad == VLM_BAD_NOT;
        if (!st) st = add_one(t, &result, by_position, tally);
        if (was_fine && t->bad != VLM_BAD_NOT) t->bad_rank = p;
    }
    vlm_free(blocks);
    return st;
}

vlmoe_status vlm_results_add(vlmoe_trainer *t, const vlm_group_result *mine, bool by_position,
                             vlm_tally *tally)
{
    t->bad = VLM_BAD_NOT;
    t->bad_rank = 0;
    VLM_TRY(t->seat ? add_all(t, mine, by_position, tally) : add_one(t, mine, by_position, tally));
    return t->bad == VLM_BAD_NOT ? VLMOE_OK : VLMOE_E_NUMERIC;
}
