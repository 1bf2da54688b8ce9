/* Starting ranks, and what becomes of a run when one of them fails. */
#include "train_launch.h"
#include <string.h>
#include "base_team.h"
#include "config_task.h"
#include "base_threads.h"

/* ---- what fits ---- */

static vlmoe_status check_experts(const vlmoe_config *c, const char *key, int64_t experts,
                                  int ranks, vlmoe_error *error)
{
    vlm_expert_layout ignored;
    vlmoe_error why = {VLMOE_OK, ""};
    vlmoe_status st = vlm_expert_layout_make(experts, c->run.groups, ranks, &ignored, &why);
    return st ? vlm_fail(error, st, "run.ranks, run.groups and %s: %.400s", key, why.text)
              : VLMOE_OK;
}

vlmoe_status vlm_launch_check(const vlmoe_config *c, int ranks, vlmoe_error *error)
{
    vlmoe_error why = {VLMOE_OK, ""};
    vlmoe_status st = vlm_ranks_check(c->run.groups, ranks, &why);
    if (st) return vlm_fail(error, st, "run.ranks and run.groups: %.400s", why.text);
    if (!vlm_config_has_encoder(c)) return VLMOE_OK;
    if (c->moe.v_layers.n)
        VLM_TRY(check_experts(c, "moe.v_experts", c->moe.v_experts, ranks, error));
    if (c->moe.t_layers.n)
        VLM_TRY(check_experts(c, "moe.t_experts", c->moe.t_experts, ranks, error));
    return VLMOE_OK;
}

vlmoe_status vlm_launch_plan(const vlmoe_config *config, vlm_launch *out, vlmoe_error *error)
{
    int n = 1;
    vlm_launch launch = {.size = (int)config->run.ranks};
    if (vlm_comm_mpi_is_launched(&n)) {
        launch.is_mpi = n != 1;
        if (n && launch.size != 1 && launch.size != n)
            return vlm_fail(error, VLMOE_E_ARG,
                            "run.ranks is %d, but mpirun started %d process%s, and each is one "
                            "rank: leave run.ranks out",
                            launch.size, n, n == 1 ? "" : "es");
        launch.size = n;
    }
    *out = launch;
    return VLMOE_OK;
}

vlm_seat vlm_launch_seat(const vlm_launch *launch, const vlmoe_config *config, int rank)
{
    const int n = launch->is_mpi ? 1 : launch->size;
    const int threads = config->run.threads ? (int)config->run.threads : vlm_cores_allowed();
    return (vlm_seat){.rank = rank,
                      .size = launch->size,
                      .n_threads = VLM_MAX(1, threads / n + (rank % n < threads % n)),
                      .n_here = n};
}

/* ---- running ---- */

typedef struct rank_thread {
    vlm_rank_fn fn;
    void *arg;
    vlm_seat seat;
    vlmoe_error error;
} rank_thread;

static void rank_main(void *ranks, int p)
{
    rank_thread *r = (rank_thread *)ranks + p;
    r->error.status = r->fn(r->arg, &r->seat, &r->error);
    if (r->error.status && !r->seat.fails_alike)
        vlm_comm_abort(r->seat.world, r->error.status, r->error.text);
}

static bool is_hearsay(vlmoe_status status)
{
    return status == VLMOE_E_COMM || status == VLMOE_E_TIMEOUT;
}

/* The first failure that began on its own rank; where there is none, the first. */
static vlmoe_status pick(const rank_thread *ranks, int n, vlmoe_error *error)
{
    const rank_thread *found = NULL;
    for (int p = 0; p < n; p++) {
        const vlmoe_status st = ranks[p].error.status;
        if (st && (!found || (is_hearsay(found->error.status) && !is_hearsay(st))))
            found = &ranks[p];
    }
    if (!found) return VLMOE_OK;
    if (found->seat.fails_alike)
        return vlm_fail(error, found->error.status, "%s", found->error.text);
    return vlm_fail(error, found->error.status, "rank %d: %.480s", found->seat.rank,
                    found->error.text);
}

static vlmoe_status as_threads(const vlm_launch *launch, const vlmoe_config *config, vlm_rank_fn fn,
                               void *arg, vlmoe_error *error)
{
    const int n = launch->size;
    const vlm_comm_params params = {.deadline_seconds = (double)config->run.deadline};
    vlm_comm_hub *hub = NULL;
    rank_thread *ranks = vlm_alloc_array((size_t)n, sizeof *ranks);
    if (!ranks) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %d ranks", n);
    vlmoe_status st = vlm_comm_hub_create(n, &hub, error);
    for (int p = 0; p < n && !st; p++) {
        ranks[p] = (rank_thread){.fn = fn, .arg = arg, .seat = vlm_launch_seat(launch, config, p)};
        st = vlm_comm_threads(hub, p, &params, &ranks[p].seat.world, error);
    }
    if (!st) st = vlm_threads_run(n, rank_main, ranks, error);
    if (!st) st = pick(ranks, n, error);
    for (int p = 0; p < n; p++) vlm_comm_destroy(ranks[p].seat.world);
    vlm_comm_hub_destroy(hub);
    vlm_free(ranks);
    return st;
}

static vlmoe_status as_process(vlm_launch *launch, const vlmoe_config *config, vlm_rank_fn fn,
                               void *arg, vlmoe_error *error)
{
    const vlm_comm_params params = {.deadline_seconds = (double)config->run.deadline};
    vlm_comm *world = NULL;
    VLM_TRY(vlm_comm_mpi(&params, &world, error));
    launch->size = vlm_comm_size(world);
    rank_thread self = {
        .fn = fn, .arg = arg, .seat = vlm_launch_seat(launch, config, vlm_comm_rank(world))};
    self.seat.world = world;
    vlmoe_status st = vlm_launch_check(config, launch->size, error);
    if (st) {
        self.seat.fails_alike = true;
    } else if (launch->size == 1) {
        st = fn(arg, NULL, error);
    } else {
        rank_main(&self, 0);
        st = pick(&self, 1, error);
    }
    launch->speaks = !self.seat.rank || (st && !self.seat.fails_alike);
    vlm_comm_destroy(world);
    vlm_comm_mpi_end();
    return st;
}

vlmoe_status vlm_launch_run(vlm_launch *launch, const vlmoe_config *config, vlm_rank_fn fn,
                            void *arg, vlmoe_error *error)
{
    launch->speaks = true;
    if (launch->is_mpi) return as_process(launch, config, fn, arg, error);
    if (launch->size == 1) return fn(arg, NULL, error);
    VLM_TRY(vlm_launch_check(config, launch->size, error));
    return as_threads(launch, config, fn, arg, error);
}
