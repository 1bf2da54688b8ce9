/* Groups and experts over ranks: what fits, and what to say when it does not. */
#include <stdio.h>
#include <string.h>
#include "comm_layout.h"

static int64_t chain_of(int64_t experts, int64_t groups)
{
    return VLM_MIN(experts, groups);
}

static bool fits(int64_t experts, int64_t groups, int64_t ranks)
{
    const int64_t chain = chain_of(experts, groups);
    if (groups % ranks) return false;
    if (ranks <= chain) return experts % ranks == 0 && chain % ranks == 0;
    return ranks % chain == 0;
}

/* The fitting numbers of ranks next to this one: "16", "4 or 16". 1 always fits. experts 0: any number of them. */
static void name_nearest(int64_t experts, int64_t groups, int ranks, char *text, size_t bytes)
{
    int64_t below = VLM_MIN((int64_t)ranks - 1, groups), above = (int64_t)ranks + 1;
    if (!experts) experts = groups;
    while (below > 1 && !fits(experts, groups, below)) below--;
    while (above <= groups && !fits(experts, groups, above)) above++;
    if (below < 1) snprintf(text, bytes, "%lld", (long long)above);
    else if (above > groups) snprintf(text, bytes, "%lld", (long long)below);
    else snprintf(text, bytes, "%lld or %lld", (long long)below, (long long)above);
}

static void name_divisors(int64_t groups, char *text, size_t bytes)
{
    size_t at = 0;
    text[0] = '\0';
    for (int64_t d = 1; d <= groups && at + 32 < bytes; d++)
        if (groups % d == 0)
            at +=
                (size_t)snprintf(text + at, bytes - at, "%s%lld", d > 1 ? ", " : "", (long long)d);
}

vlmoe_status vlm_ranks_check(int64_t groups, int ranks, vlmoe_error *error)
{
    if (groups < 1 || ranks < 1)
        return vlm_fail(error, VLMOE_E_ARG,
                        "ranks and groups count from 1: found %d ranks and %lld groups", ranks,
                        (long long)groups);
    if (groups % ranks == 0) return VLMOE_OK;
    char divisors[256];
    name_divisors(groups, divisors, sizeof divisors);
    return vlm_fail(error, VLMOE_E_ARG,
                    "a step has %lld groups, which %d ranks cannot share evenly; numbers of ranks "
                    "that can: %s",
                    (long long)groups, ranks, divisors);
}

static vlmoe_status refuse(int64_t experts, int64_t groups, int ranks, vlmoe_error *error)
{
    const int64_t chain = chain_of(experts, groups);
    char why[160], nearest[64];
    if (groups % ranks)
        snprintf(why, sizeof why, "%d does not divide the %lld groups of a step", ranks,
                 (long long)groups);
    else if (ranks > chain)
        snprintf(why, sizeof why, "%lld, the ranks that hold all experts once, does not divide %d",
                 (long long)chain, ranks);
    else if (experts % ranks)
        snprintf(why, sizeof why, "%d does not divide the %lld experts", ranks, (long long)experts);
    else
        snprintf(why, sizeof why, "%d does not divide the %lld groups of a chain", ranks,
                 (long long)chain);
    name_nearest(experts, groups, ranks, nearest, sizeof nearest);
    return vlm_fail(error, VLMOE_E_ARG,
                    "%lld experts and %lld groups do not fit on %d ranks: %s; the nearest number "
                    "of ranks that fits is %s",
                    (long long)experts, (long long)groups, ranks, why, nearest);
}

vlmoe_status vlm_expert_layout_make(int64_t experts, int64_t groups, int ranks,
                                    vlm_expert_layout *out, vlmoe_error *error)
{
    if (experts < 1 || groups < 1 || ranks < 1)
        return vlm_fail(error, VLMOE_E_ARG,
                        "ranks, groups and experts count from 1: found %d ranks, %lld groups and "
                        "%lld experts",
                        ranks, (long long)groups, (long long)experts);
    if (!fits(experts, groups, ranks)) return refuse(experts, groups, ranks, error);
    vlm_expert_layout layout = {
        .experts = experts, .chain = chain_of(experts, groups), .ranks = ranks};
    layout.members = (int)VLM_MIN(ranks, layout.chain);
    layout.sets = ranks / layout.members;
    layout.per_rank = experts / layout.members;
    *out = layout;
    return VLMOE_OK;
}
