/* The time model: work by class over the machine's rates, plus bytes over links. */
#include <math.h>
#include <string.h>
#include "train_planner.h"

const char *const vlm_term_names[VLM_N_TERMS] = {"products", "attention", "memory",    "optimiser",
                                                 "rows",     "gradients", "new values"};

/* Where the ranks lie, and what each of them has. */
typedef struct placing {
    const vlm_machine *machine;
    int ranks, on_node; /* on_node: ranks of a full node */
    double share;       /* of a node's rates, for one rank */
    int type;           /* 0 f32, 1 bf16 */
} placing;

/* Micro-steps of a step. */
static double turns_of(const vlmoe_config *c, const placing *p)
{
    int64_t turns = c->run.groups / p->ranks; /* whole: vlm_ranks_check */
    return (double)turns;
}

static double over(double amount, double giga_rate, double share)
{
    return amount / (giga_rate * 1e9 * share);
}

/* A rank's exchange with the other `members` of its set: parts to peers on its node and to others go at the same time. */
static double exchange_seconds(const placing *p, int members, double bytes_sent)
{
    if (members < 2) return 0.0;
    int near = VLM_MIN(members, p->on_node) - 1, far = members - 1 - near;
    double each = bytes_sent / (members - 1);
    double near_seconds = near * (each / (p->machine->node.gbytes * 1e9) +
                                  p->machine->node.microseconds * 1e-6),
           far_seconds = far * (each / (p->machine->network.gbytes * 1e9) +
                                p->machine->network.microseconds * 1e-6);
    return fmax(near_seconds, far_seconds);
}

static double far_share(const placing *p, int members)
{
    return members < 2 ? 0.0 : (double)(members - VLM_MIN(members, p->on_node)) / (members - 1);
}

double vlm_rows_bytes(const vlmoe_config *c, double rows, bool is_rerun)
{
    double element = strcmp(c->run.dtype, "bf16") ? 4.0 : 2.0, ways = is_rerun ? 6.0 : 4.0;
    return ways * rows * (double)c->model.width * element;
}

/* Layer by layer, as nothing overlaps; the skewed share of the experts' products comes on top of the even one. */
static vlmoe_status add_rows(const vlmoe_config *c, const vlm_group_work *work, const placing *p,
                             double skew, vlm_forecast *f, vlmoe_error *error)
{
    double steps = turns_of(c, p), far = 0.0;
    for (int i = 0; i < work->n_layers; i++) {
        const vlm_sparse_work *layer = &work->layer[i];
        vlm_expert_layout layout;
        VLM_TRY(vlm_expert_layout_make(layer->experts, c->run.groups, p->ranks, &layout, error));
        double leaving = layer->rows * (layout.members - 1) / layout.members,
               bytes = vlm_rows_bytes(c, leaving, layer->is_rerun), ways = layer->is_rerun ? 6 : 4;
        f->bytes[VLM_TERM_ROWS] += steps * bytes;
        far += steps * bytes * far_share(p, layout.members);
        f->seconds[VLM_TERM_ROWS] +=
            steps * ways * exchange_seconds(p, layout.members, skew * bytes / ways);
        double flops = 12.0 * layer->rows * (double)c->model.width * (double)layer->hidden;
        f->seconds[VLM_TERM_PRODUCTS] +=
            steps * (skew - 1.0) * over(flops, p->machine->product_gflops[p->type], p->share);
    }
    f->network_share += far;
    return VLMOE_OK;
}

/* Every rank's part of each gradient to its owner, each micro-step, who reads what came and its sums, and writes them; values back
 * once a step. */
static void add_state(const vlmoe_config *c, const vlm_group_work *work, const vlm_plan *plan,
                      const placing *p, vlm_forecast *f)
{
    double steps = turns_of(c, p), gradients = (double)plan->gradients_sent,
           values = (double)plan->values_sent, state = (double)plan->moment_bytes,
           all = (double)work->trained_moment_bytes;
    f->bytes[VLM_TERM_GRADIENTS] = steps * gradients;
    f->bytes[VLM_TERM_VALUES] = values;
    f->network_share += (steps * gradients + values) * far_share(p, p->ranks);
    f->seconds[VLM_TERM_GRADIENTS] =
        steps * (exchange_seconds(p, p->ranks, gradients) +
                 over(3.0 * gradients, p->machine->memory_gbytes, p->share));
    f->seconds[VLM_TERM_VALUES] = exchange_seconds(p, p->ranks, values);
    /* Norm and update meet what this rank owns: its share of all moments. */
    f->seconds[VLM_TERM_OPTIMISER] =
        over(work->optimiser.amount[VLM_WORK_MEMORY] * state / fmax(all, 1.0),
             p->machine->memory_gbytes, p->share);
}

static void add_compute(const vlmoe_config *c, const vlm_group_work *work, const placing *p,
                        vlm_forecast *f)
{
    const vlm_machine *m = p->machine;
    const double rate[VLM_N_WORK] = {m->product_gflops[p->type], m->attention_gflops[p->type],
                                     m->memory_gbytes};
    const int term[VLM_N_WORK] = {VLM_TERM_PRODUCTS, VLM_TERM_ATTENTION, VLM_TERM_MEMORY};
    double steps = turns_of(c, p);
    for (int k = 0; k < VLM_N_WORK; k++)
        f->seconds[term[k]] += steps * over(work->group.amount[k], rate[k], p->share);
}

vlmoe_status vlm_forecast_make(const vlmoe_config *c, const vlm_group_work *work,
                               const vlm_plan *plan, const vlm_machine *machine, double skew,
                               vlm_forecast *out, vlmoe_error *error)
{
    int ranks = plan->ranks, on_node = (int)VLM_MIN((int64_t)ranks, machine->ranks_per_node);
    VLM_TRY(vlm_ranks_check(c->run.groups, ranks, error));
    const placing p = {.machine = machine,
                       .ranks = ranks,
                       .on_node = on_node,
                       .share = machine->shares_node ? 1.0 / on_node : 1.0,
                       .type = !strcmp(c->run.dtype, "bf16")};
    vlm_forecast f = {.ranks = ranks, .memory_bytes = plan->total_bytes};
    add_compute(c, work, &p, &f);
    VLM_TRY(add_rows(c, work, &p, skew, &f, error));
    add_state(c, work, plan, &p, &f);
    double sent = 0.0;
    for (int i = 0; i < VLM_N_TERMS; i++) {
        f.total_seconds += f.seconds[i];
        sent += f.bytes[i];
        if (f.seconds[i] > f.seconds[f.binds]) f.binds = i;
    }
    f.network_share = sent > 0.0 ? f.network_share / sent : 0.0;
    *out = f;
    return VLMOE_OK;
}
