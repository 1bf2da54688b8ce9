/* What ranks see when one of them fails. Every case needs four ranks, ends their communicators, and knows the deadline. */
#include "cases.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RANKS = 4, LONG = 100000 };
#define PATIENCE 3.0 /* seconds, where ranks must lose it in a certain order */

static void sleep_seconds(double seconds)
{
    usleep((useconds_t)(seconds * 1e6));
}

/* The status and these two words; NULL: any. */
static bool is_error(case_rank *r, const vlmoe_error *error, vlmoe_status status, const char *word,
                     const char *word2)
{
    if (error->status == status && (!word || strstr(error->text, word)) &&
        (!word2 || strstr(error->text, word2)))
        return true;
    case_fail(r, __FILE__, __LINE__, "%s \"%s\", expected %s with \"%s\" and \"%s\"",
              vlmoe_status_name(error->status), error->text, vlmoe_status_name(status),
              word ? word : "", word2 ? word2 : "");
    return false;
}

static vlmoe_error share(case_rank *r, const char *what, size_t bytes)
{
    vlmoe_error error = {0};
    char *mine = vlm_alloc(bytes), *all = vlm_alloc(bytes * RANKS);
    if (mine && all) vlm_comm_share(r->world, what, mine, bytes, all, &error);
    vlm_free(mine); /* at once: nobody reads or writes them any more */
    vlm_free(all);
    return error;
}

/* Rank 2 sleeps; the others name it, and rank 2 learns what happened. */
static void a_rank_that_does_not_come_is_named(case_rank *r)
{
    const double began = vlm_now();
    if (vlm_comm_rank(r->world) == 2) sleep_seconds(CASE_DEADLINE * 2.5);
    const vlmoe_error error = share(r, "case: missing", 8);
    is_error(r, &error, VLMOE_E_TIMEOUT, "case: missing: no data from rank 2 within 1 s", NULL);
    if (vlm_comm_rank(r->world) == 2) return;
    EXPECT(vlm_now() - began >= CASE_DEADLINE * 0.9); /* and before rank 2 came: see the words */
    const vlmoe_error again = share(r, "case: later", 8); /* at once, with the same words */
    EXPECT(strcmp(again.text, error.text) == 0);
}

/* A long block needs its receiver. */
static void a_rank_that_takes_no_data_is_named(case_rank *r)
{
    vlmoe_error error = {0};
    case_blocks b = {.send_bytes = {0}};
    char *block = vlm_alloc(LONG);
    EXPECT(block);
    const vlm_comm_exchange x = case_exchange("case: to rank 2", &b, block, block);
    if (vlm_comm_rank(r->world) == 2) {
        sleep_seconds(CASE_DEADLINE * 2.5);
        b.recv_bytes[0] = LONG;
    } else if (vlm_comm_rank(r->world) == 0) {
        b.send_bytes[2] = LONG;
    } else {
        sleep_seconds(CASE_DEADLINE * 1.5); /* until rank 0 gives word */
    }
    vlm_comm_run(r->world, &x, &error);
    vlm_free(block);
    if (error.status || vlm_comm_rank(r->world) % 2 == 0)
        is_error(r, &error, VLMOE_E_TIMEOUT, "case: to rank 2: data not taken by rank 2 within 1 s",
                 NULL);
}

/* Rank 0 waits for rank 2 in a part, ranks 1 and 3 wait for rank 0 and lose patience first. Nobody blames rank 0. */
static void a_rank_that_waits_itself_is_not_blamed(case_rank *r)
{
    const int mine = 0;
    int all[RANKS];
    vlm_comm *part = NULL;
    EXPECT_OK(vlm_comm_split(r->world, r->rank % 2, 0, "case: parts", &part, error));
    vlmoe_error error = {0};
    if (r->rank == 2) sleep_seconds(PATIENCE * 2.5);
    else if (r->rank == 0) sleep_seconds(PATIENCE * 0.5);
    if (r->rank % 2 == 0)
        vlm_comm_share(part, "case: in the part", &mine, sizeof mine, all, &error);
    if (!error.status)
        vlm_comm_share(r->world, "case: in the world", &mine, sizeof mine, all, &error);
    is_error(r, &error, VLMOE_E_TIMEOUT, "case: in the world: no data from rank 2 within 3 s",
             "; rank 0 is in \"case: in the part\" and waits for rank 2");
    vlm_comm_destroy(part);
}

static void a_rank_gives_up_while_others_wait(case_rank *r)
{
    if (vlm_comm_rank(r->world) == 1) {
        sleep_seconds(0.1);
        vlm_comm_abort(r->world, VLMOE_E_IO, "disk is full");
        vlm_comm_abort(r->world, VLMOE_E_NOMEM, "another reason");
        const vlmoe_error error = share(r, "case: after", 8);
        is_error(r, &error, VLMOE_E_IO, "disk is full", "1");
        return;
    }
    for (int i = 0; i < 2; i++) {
        const vlmoe_error error = share(r, "case: waiting", i ? LONG : 8);
        if (!is_error(r, &error, VLMOE_E_COMM, "rank 1 gave up: disk is full", NULL)) return;
    }
    vlm_comm_abort(r->world, VLMOE_E_IO, "late"); /* changes nothing */
    const vlmoe_error error = share(r, "case: after", 8);
    is_error(r, &error, VLMOE_E_COMM, "rank 1 gave up: disk is full", NULL);
}

/* Others learn of it in a split, and before they wait. */
static void a_rank_gives_up_before_others_begin(case_rank *r)
{
    vlm_comm *part = NULL;
    EXPECT_OK(
        vlm_comm_split(r->world, vlm_comm_rank(r->world) % 2, 0, "case: parts", &part, error));
    if (vlm_comm_rank(r->world) == 1) {
        sleep_seconds(CASE_DEADLINE * 0.5); /* all have their part now */
        vlm_comm_abort(part, VLMOE_E_NUMERIC, "the loss is not finite");
    } else {
        vlmoe_error error = {0};
        sleep_seconds(CASE_DEADLINE);
        const double until = vlm_now() + CASE_DEADLINE;
        while (!error.status && vlm_now() < until) /* ranks 0 and 2 talk until they are told */
            vlm_comm_barrier(vlm_comm_rank(r->world) == 3 ? r->world : part, "case: parts talk",
                             &error);
        is_error(r, &error, VLMOE_E_COMM, "rank 1 gave up: the loss is not finite", NULL);
    }
    vlm_comm_destroy(part);
}

static void a_rank_leaves_while_others_wait(case_rank *r)
{
    if (vlm_comm_rank(r->world) == 3) {
        vlm_comm_destroy(r->world);
        r->world = NULL;
        return;
    }
    const vlmoe_error error = share(r, "case: left alone", 8);
    is_error(r, &error, VLMOE_E_COMM, "case: left alone: rank 3 has left", NULL);
}

/* Its own long block is out, and the others' are on their way to it. */
static void a_rank_leaves_in_the_middle(case_rank *r)
{
    char *mine = vlm_alloc(LONG), *all = vlm_alloc((size_t)LONG * RANKS);
    const case_blocks b = {.send_bytes = {LONG, LONG, LONG, LONG},
                           .recv_bytes = {LONG, LONG, LONG, LONG},
                           .recv_at = {0, LONG, 2 * LONG, 3 * LONG}};
    const vlm_comm_exchange x = case_exchange("case: middle", &b, mine, all);
    vlm_comm_ticket one, two;
    vlmoe_error error = {0};
    EXPECT(mine && all);
    if (vlm_comm_start(r->world, &x, &one, &error) || vlm_comm_start(r->world, &x, &two, &error)) {
        EXPECT(vlm_comm_rank(r->world) != 1);
    } else if (vlm_comm_rank(r->world) == 1) {
        vlm_comm_destroy(r->world);
        r->world = NULL;
    } else if (!vlm_comm_wait(r->world, two,
                              &error)) { /* a long block is often taken before its sender leaves */
        vlm_comm_wait(r->world, one, &error);
        vlm_comm_barrier(r->world, "case: end", &error);
    }
    vlm_free(mine);
    vlm_free(all);
    if (r->world) is_error(r, &error, VLMOE_E_COMM, "rank 1", "left");
}

static void different_calls_are_told_apart(case_rank *r)
{
    const vlmoe_error error =
        share(r, vlm_comm_rank(r->world) == 1 ? "case: blue" : "case: red", 8);
    is_error(r, &error, VLMOE_E_COMM, "\"case: blue\"", "\"case: red\"");
}

static void a_skipped_call_is_seen(case_rank *r)
{
    vlmoe_error error = {0};
    if (vlm_comm_rank(r->world) != 2) error = share(r, "case: first", 8);
    if (!error.status) error = share(r, "case: second", LONG);
    is_error(r, &error, VLMOE_E_COMM, "\"case: first\"", "\"case: second\"");
}

static void different_sizes_are_told_apart(case_rank *r)
{
    const vlmoe_error error = share(r, "case: sizes", vlm_comm_rank(r->world) == 3 ? 24 : 16);
    is_error(r, &error, VLMOE_E_COMM, "\"case: sizes\"", "do not match");
    EXPECT(strstr(error.text, "24") && strstr(error.text, "16"));
}

static void different_long_sizes_are_told_apart(case_rank *r)
{
    const vlmoe_error error =
        share(r, "case: sizes", vlm_comm_rank(r->world) == 0 ? LONG : LONG + 8);
    is_error(r, &error, VLMOE_E_COMM, "100000", "100008");
}

/* Eight bytes go from rank 0 to rank 1, as one of the two says and the other does not; the next calls show it. */
static vlmoe_error one_way(case_rank *r, const case_blocks *b)
{
    vlmoe_error error = {0};
    char place[8] = {0};
    const vlm_comm_exchange x = case_exchange("case: one way", b, place, place);
    vlm_comm_run(r->world, &x, &error);
    for (int i = 0; i < 2 && !error.status; i++) error = share(r, "case: everybody", 8);
    return error;
}

static void data_that_never_comes_is_seen(case_rank *r)
{
    const case_blocks b = {.recv_bytes = {r->rank == 1 ? 8 : 0}};
    const vlmoe_error error = one_way(r, &b);
    is_error(r, &error, VLMOE_E_COMM,
             "rank 0 is in \"case: everybody\" and sent nothing in \"case: one way\"", "8 bytes");
}

static void data_that_nobody_wants_is_seen(case_rank *r)
{
    const case_blocks b = {.send_bytes = {0, r->rank == 0 ? 8 : 0}};
    const vlmoe_error error = one_way(r, &b);
    is_error(r, &error, VLMOE_E_COMM,
             "in \"case: one way\" rank 0 sends 8 bytes where rank 1 expects 0", NULL);
}

const dist_case dist_failures[] = {
    {"a_rank_that_does_not_come_is_named", a_rank_that_does_not_come_is_named, 0},
    {"a_rank_that_takes_no_data_is_named", a_rank_that_takes_no_data_is_named, 0},
    {"a_rank_that_waits_itself_is_not_blamed", a_rank_that_waits_itself_is_not_blamed, PATIENCE},
    {"a_rank_gives_up_while_others_wait", a_rank_gives_up_while_others_wait, 0},
    {"a_rank_gives_up_before_others_begin", a_rank_gives_up_before_others_begin, 0},
    {"a_rank_leaves_while_others_wait", a_rank_leaves_while_others_wait, 0},
    {"a_rank_leaves_in_the_middle", a_rank_leaves_in_the_middle, 0},
    {"different_calls_are_told_apart", different_calls_are_told_apart, 0},
    {"a_skipped_call_is_seen", a_skipped_call_is_seen, 0},
    {"different_sizes_are_told_apart", different_sizes_are_told_apart, 0},
    {"different_long_sizes_are_told_apart", different_long_sizes_are_told_apart, 0},
    {"data_that_never_comes_is_seen", data_that_never_comes_is_seen, 0},
    {"data_that_nobody_wants_is_seen", data_that_nobody_wants_is_seen, 0},
    {0},
};
