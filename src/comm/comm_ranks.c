/* The communicators of a run beside everybody's: one split each for the sets of experts and across them. */
#include <string.h>
#include "comm_ranks.h"

static vlmoe_status open_experts(vlm_ranks *ranks, int64_t experts, vlmoe_error *error)
{
    vlm_expert_layout layout;
    VLM_TRY(vlm_expert_layout_make(experts, ranks->groups, ranks->size, &layout, error));
    vlm_expert_ranks *entry = &ranks->experts[ranks->n_counts++];
    entry->layout = layout;
    entry->set = ranks->world;
    entry->cross = NULL;
    if (layout.sets == 1) return VLMOE_OK;

    const int set = vlm_expert_set(&layout, ranks->rank);
    const int member = vlm_expert_member(&layout, ranks->rank);
    entry->set = NULL;
    VLM_TRY(
        vlm_comm_split(ranks->world, set, member, "start: sets of experts", &entry->set, error));
    return vlm_comm_split(ranks->world, member, set, "start: ranks of equal experts", &entry->cross,
                          error);
}

vlmoe_status vlm_ranks_open(vlm_comm *world, int64_t groups, int n, const int64_t *counts,
                            vlm_ranks *out, vlmoe_error *error)
{
    memset(out, 0, sizeof *out);
    out->size = vlm_comm_size(world);
    out->rank = vlm_comm_rank(world);
    out->groups = groups;
    out->world = world;
    VLM_TRY(vlm_ranks_check(groups, out->size, error));
    for (int i = 0; i < n; i++) {
        if (vlm_ranks_of(out, counts[i])) continue;
        if (out->n_counts == VLM_MAX_EXPERT_COUNTS)
            return vlm_fail(error, VLMOE_E_ARG, "more than %d different numbers of experts",
                            VLM_MAX_EXPERT_COUNTS);
        VLM_TRY(open_experts(out, counts[i], error));
    }
    return VLMOE_OK;
}

void vlm_ranks_close(vlm_ranks *ranks)
{
    for (int i = 0; i < ranks->n_counts; i++) {
        vlm_expert_ranks *entry = &ranks->experts[i];
        if (entry->set != ranks->world) vlm_comm_destroy(entry->set);
        vlm_comm_destroy(entry->cross);
    }
    memset(ranks, 0, sizeof *ranks);
}

const vlm_expert_ranks *vlm_ranks_of(const vlm_ranks *ranks, int64_t experts)
{
    for (int i = 0; i < ranks->n_counts; i++)
        if (ranks->experts[i].layout.experts == experts) return &ranks->experts[i];
    return NULL;
}

static void add_counts(const vlm_comm *comm, vlm_comm_counts *sum)
{
    const vlm_comm_counts c = vlm_comm_counted(comm);
    sum->calls += c.calls;
    sum->sent_bytes += c.sent_bytes;
    sum->received_bytes += c.received_bytes;
    sum->wait_seconds += c.wait_seconds;
    for (int i = 0; i < VLM_COMM_N_PURPOSES; i++) sum->sent_for[i] += c.sent_for[i];
}

vlm_comm_counts vlm_ranks_counted(const vlm_ranks *ranks)
{
    vlm_comm_counts sum = {.calls = 0};
    add_counts(ranks->world, &sum);
    for (int i = 0; i < ranks->n_counts; i++) {
        const vlm_expert_ranks *e = &ranks->experts[i];
        if (e->set && e->set != ranks->world) add_counts(e->set, &sum);
        if (e->cross) add_counts(e->cross, &sum);
    }
    return sum;
}
