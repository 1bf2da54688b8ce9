/* Ranks that agree: results of groups as bytes, what must be equal at the start, failures that all know. Ranks are threads. */
#include <stdio.h>
#include <string.h>
#include "base_threads.h"
#include "harness.h"
#include "train_launch.h"
#include "train_result.h"

enum { R = 4 };

typedef struct rank {
    vlm_seat seat;
    vlmoe_error error;
    void (*body)(struct rank *rank);
    vlm_tally tally;
    int bad, bad_rank;
    bool stops;
} rank;

static void rank_main(void *ranks, int p)
{
    rank *r = (rank *)ranks + p;
    r->body(r);
}

/* body as each of R ranks; the caller looks at what they found. */
static void run_ranks(rank *ranks, void (*body)(rank *rank))
{
    vlm_comm_hub *hub = NULL;
    const vlm_comm_params params = {.deadline_seconds = 60};
    CHECK_STATUS(vlm_comm_hub_create(R, &hub, NULL), VLMOE_OK);
    for (int p = 0; p < R; p++) {
        ranks[p] = (rank){.body = body, .seat = {.rank = p, .size = R, .n_here = R}};
        CHECK_STATUS(vlm_comm_threads(hub, p, &params, &ranks[p].seat.world, NULL), VLMOE_OK);
    }
    CHECK_STATUS(vlm_threads_run(R, rank_main, ranks, NULL), VLMOE_OK);
    for (int p = 0; p < R; p++) vlm_comm_destroy(ranks[p].seat.world);
    vlm_comm_hub_destroy(hub);
}

/* ---- what must be equal ---- */

static void compare_equal(rank *r)
{
    vlm_text facts = {0};
    vlm_facts_put(&facts, "optim.lr", "%g", 0.5);
    vlm_facts_put(&facts, "the device", "cpu");
    r->error.status = vlm_facts_compare(&r->seat, "facts", &facts, &r->error);
    vlm_text_free(&facts);
}

static void compare_different(rank *r)
{
    vlm_text facts = {0};
    vlm_facts_put(&facts, "optim.lr", "%g", r->seat.rank == 1 ? 0.25 : 0.5);
    vlm_facts_put(&facts, "the device", "cpu");
    vlm_facts_put(&facts, "run.seed", "%d", r->seat.rank / 2);
    r->error.status = vlm_facts_compare(&r->seat, "facts", &facts, &r->error);
    vlm_text_free(&facts);
}

TEST(ranks_with_equal_facts_go_on)
{
    rank ranks[R];
    run_ranks(ranks, compare_equal);
    for (int p = 0; p < R; p++) CHECK(!ranks[p].error.status && !ranks[p].seat.fails_alike);
}

TEST(ranks_that_differ_all_say_in_what_and_who)
{
    rank ranks[R];
    run_ranks(ranks, compare_different);
    for (int p = 0; p < R; p++) {
        CHECK_INT(ranks[p].error.status, VLMOE_E_ARG);
        CHECK(ranks[p].seat.fails_alike);
        CHECK_TEXT(ranks[p].error.text,
                   "ranks of one run differ in optim.lr: 0.5 on ranks 0, 2-3, 0.25 on rank 1; "
                   "run.seed: 0 on ranks 0-1, 1 on ranks 2-3");
    }
}

TEST(ranks_compare_every_key_that_is_not_their_own_business)
{
    static const char *const first[] = {"run.threads=3", "data.workers=2", "run.log_every=7"};
    static const char *const other[] = {"run.save_every=3"};
    vlmoe_config *plain = NULL, *free = NULL, *bound = NULL;
    CHECK_STATUS(vlmoe_config_load(NULL, 0, NULL, &plain, NULL), VLMOE_OK);
    CHECK_STATUS(vlmoe_config_load(NULL, 3, first, &free, NULL), VLMOE_OK);
    CHECK_STATUS(vlmoe_config_load(NULL, 1, other, &bound, NULL), VLMOE_OK);
    vlm_text a = {0}, b = {0}, c = {0};
    vlm_facts_put_config(&a, plain);
    vlm_facts_put_config(&b, free);
    vlm_facts_put_config(&c, bound);
    CHECK_TEXT(b.data, a.data);
    CHECK(strcmp(c.data, a.data) != 0);
    CHECK_HAS(a.data, "optim.lr\t0.002\n");
    CHECK_HAS(c.data, "run.save_every\t3\n");
    vlm_text_free(&a);
    vlm_text_free(&b);
    vlm_text_free(&c);
    vlmoe_config_destroy(plain);
    vlmoe_config_destroy(free);
    vlmoe_config_destroy(bound);
}

/* ---- what ranks of one process share ---- */

TEST(ranks_as_threads_divide_the_memory_of_their_process_and_processes_do_not)
{
    static const char *const set[] = {"run.ranks=4", "run.threads=6", "run.memory_mib=1000",
                                      "data.cache_mib=200"};
    vlmoe_config *config = NULL;
    CHECK_STATUS(vlmoe_config_load(NULL, VLM_COUNT(set), set, &config, NULL), VLMOE_OK);
    const vlm_launch threads = {.size = 4}, processes = {.size = 4, .is_mpi = true};
    vlm_seat seat = vlm_launch_seat(&threads, config, 1);
    vlmoe_config share = vlm_seat_config(&seat, config);
    CHECK_INT(share.run.threads, 2); /* 6 of 4 ranks: the first two have one more */
    CHECK_INT(share.run.memory_mib, 250);
    CHECK_INT(share.data.cache_mib, 50);
    seat = vlm_launch_seat(&processes, config, 1);
    share = vlm_seat_config(&seat, config);
    CHECK_INT(share.run.threads, 6);
    CHECK_INT(share.run.memory_mib, 1000);
    CHECK_INT(share.data.cache_mib, 200);
    vlmoe_config_destroy(config);
}

/* ---- failures that all know ---- */

static void fail_on_two(rank *r)
{
    vlmoe_status st = VLMOE_OK;
    if (r->seat.rank == 3) st = vlm_fail(&r->error, VLMOE_E_FORMAT, "a damaged file");
    if (r->seat.rank == 2) st = vlm_fail(&r->error, VLMOE_E_IO, "the disk is full");
    r->error.status = vlm_ranks_agree(&r->seat, "a try", st, &r->error);
}

TEST(ranks_agree_on_the_first_rank_that_failed)
{
    rank ranks[R];
    run_ranks(ranks, fail_on_two);
    for (int p = 0; p < R; p++) {
        CHECK_INT(ranks[p].error.status, VLMOE_E_IO);
        CHECK_TEXT(ranks[p].error.text, "rank 2: the disk is full");
        CHECK(ranks[p].seat.fails_alike);
    }
    vlmoe_error error = {VLMOE_OK, ""};
    CHECK_STATUS(vlm_ranks_agree(NULL, "alone", VLMOE_E_IO, &error), VLMOE_E_IO);
}

/* ---- results of groups ---- */

/* Sums of which depend on their order: one large number among small ones. */
static vlm_group_result result_of(int64_t group, vlm_route_stats *route, int64_t *load)
{
    load[0] = group;
    load[1] = 7;
    *route = (vlm_route_stats){.block = 1,
                               .modality = 'v',
                               .tokens = group + 7,
                               .dropped = 0.1 * (double)group,
                               .entropy = 1.0 / (double)(group + 3),
                               .E = 2,
                               .load = load};
    return (vlm_group_result){.group = group,
                              .bad = VLM_BAD_NOT,
                              .samples = 10 + group,
                              .cut = group % 2,
                              .loss = group == 1 ? 1e16 : 1.1 * (double)(group + 1),
                              .parts = {.n = {3, 0, group, 0}, .loss = {0.1 * (double)group}},
                              .n_routes = group == 2 ? 0 : 1, /* a stream has run out there */
                              .routes = route};
}

static void check_equal(const vlm_tally *a, const vlm_tally *b)
{
    CHECK(a->groups == b->groups && a->samples == b->samples && a->cut == b->cut);
    CHECK_CLOSE(a->loss, b->loss, 0.0);
    for (int i = 0; i < VLM_N_PARTS; i++) {
        CHECK_CLOSE(a->part_loss[i], b->part_loss[i], 0.0);
        CHECK_INT(a->part_positions[i], b->part_positions[i]);
    }
    CHECK(a->n_layers == 1 && b->n_layers == 1);
    const vlm_layer_sum *x = a->layers, *y = b->layers;
    CHECK(x->tokens == y->tokens && x->n == y->n && x->modality == y->modality);
    CHECK(x->load[0] == y->load[0] && x->load[1] == y->load[1]);
    CHECK_CLOSE(x->dropped, y->dropped, 0.0);
    CHECK_CLOSE(x->entropy, y->entropy, 0.0);
}

static void add_turns(rank *r, int turns, int64_t repeat_from, int64_t bad)
{
    vlmoe_trainer t = {.seat = &r->seat};
    size_t at[R + 1];
    t.result_at = at;
    for (int i = 0; i < turns; i++) {
        vlm_route_stats route;
        int64_t load[2];
        int64_t group = i * R + r->seat.rank;
        vlm_group_result mine = result_of(group, &route, load);
        mine.is_repeat = group >= repeat_from;
        mine.asks_stop = group == 6;
        if (group == bad) mine.bad = VLM_PART_PAIR_TEXT;
        r->error.status = vlm_results_add(&t, &mine, true, &r->tally);
        if (r->error.status) break;
    }
    r->bad = t.bad;
    r->bad_rank = t.bad_rank;
    r->stops = t.stops;
    vlm_text_free(&t.result);
}

static void add_seven(rank *r)
{
    add_turns(r, 2, 7, -1);
}

static void add_bad(rank *r)
{
    add_turns(r, 2, 8, 5);
}

TEST(ranks_add_results_in_the_order_of_groups)
{
    rank ranks[R];
    vlmoe_trainer one = {.seat = NULL};
    vlm_tally straight = {0};
    for (int64_t group = 0; group < 7; group++) {
        vlm_route_stats route;
        int64_t load[2];
        const vlm_group_result result = result_of(group, &route, load);
        CHECK_STATUS(vlm_results_add(&one, &result, true, &straight), VLMOE_OK);
    }
    CHECK(straight.groups == 7 && straight.loss != 1e16);
    run_ranks(ranks, add_seven);
    for (int p = 0; p < R; p++) {
        CHECK_STATUS_E(ranks[p].error.status, VLMOE_OK, &ranks[p].error);
        check_equal(&ranks[p].tally, &straight);
        CHECK(ranks[p].stops); /* group 6's rank was asked */
        vlm_tally_free(&ranks[p].tally);
    }
    vlm_tally_free(&straight);
}

TEST(ranks_all_know_whose_loss_is_not_finite)
{
    rank ranks[R];
    run_ranks(ranks, add_bad);
    for (int p = 0; p < R; p++) {
        CHECK_INT(ranks[p].error.status, VLMOE_E_NUMERIC);
        CHECK(ranks[p].bad == VLM_PART_PAIR_TEXT && ranks[p].bad_rank == 1);
        vlm_tally_free(&ranks[p].tally);
    }
}

TEST(result_that_is_torn_is_refused)
{
    vlm_route_stats route;
    int64_t load[2];
    vlm_text bytes = {0};
    vlmoe_error error = {VLMOE_OK, ""};
    vlm_group_result result = result_of(3, &route, load), found;
    CHECK_STATUS(vlm_result_pack(&result, &bytes, NULL), VLMOE_OK);
    for (size_t n = 0; n < bytes.bytes; n += 8)
        CHECK_STATUS(vlm_result_unpack(bytes.data, n, &found, &error), VLMOE_E_INTERNAL);
    CHECK_STATUS(vlm_result_unpack(bytes.data, bytes.bytes, &found, NULL), VLMOE_OK);
    CHECK(found.routes->load[1] == 7 && found.parts.n[2] == 3);
    vlm_text_free(&bytes);
}
