/* Insertion into short lists. */
#include "train_ranked.h"
#include <string.h>

void vlm_ranked_free(vlm_ranked *ranked)
{
    vlm_free(ranked->at);
    vlm_free(ranked->order);
    vlm_free(ranked->score);
    vlm_free(ranked->is_relevant);
    *ranked = (vlm_ranked){0};
}

vlmoe_status vlm_ranked_make(int64_t n, int64_t k, vlm_ranked *out, vlmoe_error *error)
{
    const size_t all = (size_t)(n * k);
    vlm_ranked r = {.n = n, .k = k};
    r.at = vlm_alloc_array(all, sizeof *r.at);
    r.order = vlm_alloc_array(all, sizeof *r.order);
    r.score = vlm_alloc_array(all, sizeof *r.score);
    r.is_relevant = vlm_alloc_array(all, sizeof *r.is_relevant);
    if (!r.at || !r.order || !r.score || !r.is_relevant) {
        vlm_ranked_free(&r);
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for the %lld best of %lld queries",
                        (long long)k, (long long)n);
    }
    for (size_t i = 0; i < all; i++) r.at[i] = -1;
    *out = r;
    return VLMOE_OK;
}

/* Whether a candidate stands before the one at this place. */
static bool is_before(const vlm_ranked *r, const vlm_candidate *candidate, int64_t place)
{
    if (r->at[place] < 0 || candidate->order > r->order[place]) return true;
    return candidate->order == r->order[place] && r->is_relevant[place] && !candidate->is_relevant;
}

void vlm_ranked_offer(vlm_ranked *r, int64_t query, const vlm_candidate *candidate)
{
    const int64_t first = query * r->k, end = first + r->k;
    int64_t place = end;
    while (place > first && is_before(r, candidate, place - 1)) place--;
    if (place == end) return;
    const size_t moved = (size_t)(end - 1 - place);
    memmove(r->at + place + 1, r->at + place, moved * sizeof *r->at);
    memmove(r->order + place + 1, r->order + place, moved * sizeof *r->order);
    memmove(r->score + place + 1, r->score + place, moved * sizeof *r->score);
    memmove(r->is_relevant + place + 1, r->is_relevant + place, moved * sizeof *r->is_relevant);
    r->at[place] = candidate->at;
    r->order[place] = candidate->order;
    r->score[place] = candidate->score;
    r->is_relevant[place] = candidate->is_relevant;
}
