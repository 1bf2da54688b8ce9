#include "cases.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void case_fail(case_rank *r, const char *file, int line, const char *format, ...)
{
    if (r->text[0]) return;
    va_list args;
    va_start(args, format);
    const int n = snprintf(r->text, sizeof r->text, "rank %d: %s:%d: ", r->rank, file, line);
    vsnprintf(r->text + n, sizeof r->text - (size_t)n, format, args);
    va_end(args);
}

vlm_comm_exchange case_exchange(const char *what, const case_blocks *blocks, const void *send,
                                void *recv)
{
    return (vlm_comm_exchange){.what = what,
                               .is_host = true,
                               .send = send,
                               .send_bytes = blocks->send_bytes,
                               .send_at = blocks->send_at,
                               .recv = recv,
                               .recv_bytes = blocks->recv_bytes,
                               .recv_at = blocks->recv_at};
}

/* Byte i of the block from one rank to another in an exchange of this number. */
static char byte_of(int from, int to, int number, size_t i)
{
    return (char)(from * 31 + to * 7 + number * 3 + (int)(i % 251));
}

/* Sizes that are zero, odd, small, just above what travels inside a head, and large. */
static size_t size_of(int from, int to, int number)
{
    static const size_t sizes[] = {0, 1, 7, 1920, 1921, 5000, 70001, 0};
    return sizes[(size_t)(from * 5 + to * 3 + number) % (sizeof sizes / sizeof *sizes)];
}

typedef struct plan {
    case_blocks blocks;
    char *send, *recv;
    vlm_comm_exchange x;
    vlm_comm_ticket ticket;
} plan;

static void plan_free(plan *p)
{
    vlm_free(p->send);
    vlm_free(p->recv);
}

static bool plan_make(plan *p, const vlm_comm *comm, int number)
{
    const int rank = vlm_comm_rank(comm), size = vlm_comm_size(comm);
    size_t n_send = 0, n_recv = 3; /* odd places */
    case_blocks *b = &p->blocks;
    memset(p, 0, sizeof *p);
    for (int q = 0; q < size; q++) {
        b->send_bytes[q] = size_of(rank, q, number);
        b->send_at[q] = n_send;
        n_send += b->send_bytes[q];
        b->recv_bytes[q] = size_of(q, rank, number);
        b->recv_at[q] = n_recv;
        n_recv += b->recv_bytes[q] + 1;
    }
    p->send = vlm_alloc(n_send);
    p->recv = vlm_alloc(n_recv);
    if (!p->send || !p->recv) return false;
    for (int q = 0; q < size; q++)
        for (size_t i = 0; i < b->send_bytes[q]; i++)
            p->send[b->send_at[q] + i] = byte_of(rank, q, number, i);
    p->x = case_exchange("case: blocks", b, p->send, p->recv);
    return true;
}

static bool plan_holds(const plan *p, const vlm_comm *comm, int number)
{
    const case_blocks *b = &p->blocks;
    for (int q = 0; q < vlm_comm_size(comm); q++) {
        for (size_t i = 0; i < b->recv_bytes[q]; i++)
            if (p->recv[b->recv_at[q] + i] != byte_of(q, vlm_comm_rank(comm), number, i))
                return false;
        if (p->recv[b->recv_at[q] + b->recv_bytes[q]] != 0)
            return false; /* nothing behind the block */
    }
    return true;
}

static void sizes_of_all_kinds(case_rank *r)
{
    for (int number = 0; number < 10; number++) {
        plan p;
        EXPECT(plan_make(&p, r->world, number));
        EXPECT_OK(vlm_comm_run(r->world, &p.x, error));
        EXPECT(plan_holds(&p, r->world, number));
        plan_free(&p);
    }
}

static void tickets_in_any_order(case_rank *r)
{
    enum { N = 5 };
    plan plans[N];
    for (int i = 0; i < N; i++) {
        EXPECT(plan_make(&plans[i], r->world, i));
        EXPECT_OK(vlm_comm_start(r->world, &plans[i].x, &plans[i].ticket, error));
        vlm_comm_poll(r->world);
    }
    for (int i = 0; i < N; i++) { /* every rank in an order of its own */
        const int at = (i * 2 + vlm_comm_rank(r->world)) % N;
        EXPECT_OK(vlm_comm_wait(r->world, plans[at].ticket, error));
        EXPECT(plan_holds(&plans[at], r->world, at));
    }
    for (int i = 0; i < N; i++) {
        vlmoe_error error = {0};
        EXPECT(vlm_comm_wait(r->world, plans[i].ticket, &error) == VLMOE_E_ARG); /* each once */
        plan_free(&plans[i]);
    }
}

/* Two blocks to each rank, which overlap those to its neighbours. */
static void send_blocks_overlap(case_rank *r)
{
    enum { BLOCK = 3000 };
    const int rank = vlm_comm_rank(r->world), size = vlm_comm_size(r->world);
    case_blocks b;
    char *send = vlm_alloc(BLOCK + (size_t)size), *recv = vlm_alloc(BLOCK * (size_t)size);
    EXPECT(send && recv);
    for (int q = 0; q < size; q++) {
        b.send_bytes[q] = b.recv_bytes[q] = BLOCK;
        b.send_at[q] = (size_t)q;
        b.recv_at[q] = BLOCK * (size_t)(size - 1 - q); /* by rank, backwards */
    }
    for (size_t i = 0; i < BLOCK + (size_t)size; i++) send[i] = byte_of(rank, 0, 0, i);
    const vlm_comm_exchange x = case_exchange("case: overlapping blocks", &b, send, recv);
    EXPECT_OK(vlm_comm_run(r->world, &x, error));
    for (int q = 0; q < size; q++)
        for (size_t i = 0; i < BLOCK; i++)
            EXPECT(recv[b.recv_at[q] + i] == byte_of(q, 0, 0, i + (size_t)rank));
    vlm_free(send);
    vlm_free(recv);
}

static void shares(case_rank *r)
{
    const int rank = vlm_comm_rank(r->world), size = vlm_comm_size(r->world);
    const int64_t mine = 1000 + rank;
    int64_t all[CASE_MOST_RANKS];
    EXPECT_OK(vlm_comm_share(r->world, "case: numbers", &mine, sizeof mine, all, error));
    for (int q = 0; q < size; q++) EXPECT(all[q] == 1000 + q);

    char text[4000], *blocks = NULL; /* rank 0 has nothing, others more and more */
    size_t at[CASE_MOST_RANKS + 1];
    const size_t bytes = (size_t)rank * 997 % sizeof text;
    for (size_t i = 0; i < bytes; i++) text[i] = byte_of(rank, 0, 1, i);
    EXPECT_OK(vlm_comm_share_blocks(r->world, "case: texts", text, bytes, &blocks, at, error));
    EXPECT(at[0] == 0);
    for (int q = 0; q < size; q++) {
        EXPECT(at[q + 1] - at[q] == (size_t)q * 997 % sizeof text);
        for (size_t i = 0; i < at[q + 1] - at[q]; i++)
            EXPECT(blocks[at[q] + i] == byte_of(q, 0, 1, i));
    }
    vlm_free(blocks);
}

static void broadcasts_and_barrier(case_rank *r)
{
    const int rank = vlm_comm_rank(r->world), size = vlm_comm_size(r->world);
    static const size_t sizes[] = {0, 1, 1920, 100003};
    for (int i = 0; i < 4; i++)
        for (int root = 0; root < size; root += 3) {
            char *block = vlm_alloc(sizes[i]);
            EXPECT(block);
            for (size_t j = 0; j < sizes[i] && rank == root; j++) block[j] = byte_of(root, i, 2, j);
            EXPECT_OK(vlm_comm_broadcast(r->world, "case: broadcast", root, true, block, sizes[i],
                                         error));
            for (size_t j = 0; j < sizes[i]; j++) EXPECT(block[j] == byte_of(root, i, 2, j));
            vlm_free(block);
        }
    EXPECT_OK(vlm_comm_barrier(r->world, "case: barrier", error));
}

/* Ranks of comm must have these world numbers, in this order. */
static void expect_members(case_rank *r, vlm_comm *comm, const int *world_ranks, int n)
{
    const int mine = vlm_comm_rank(r->world);
    int all[CASE_MOST_RANKS];
    EXPECT(vlm_comm_size(comm) == n);
    EXPECT_OK(vlm_comm_share(comm, "case: members", &mine, sizeof mine, all, error));
    for (int i = 0; i < n; i++) EXPECT(all[i] == world_ranks[i]);
}

static void splits_of_splits(case_rank *r)
{
    const int rank = vlm_comm_rank(r->world), size = vlm_comm_size(r->world);
    vlm_comm *half = NULL, *part = NULL, *back = NULL;
    int members[CASE_MOST_RANKS], n = 0;
    EXPECT_OK(vlm_comm_split(r->world, rank % 2, -rank, "case: odd and even", &half, error));
    for (int q = size - 1; q >= 0; q--)
        if (q % 2 == rank % 2) members[n++] = q;
    expect_members(r, half, members, n);
    if (r->text[0]) return;

    const int place = vlm_comm_rank(half);
    EXPECT(members[place] == rank);
    EXPECT_OK(vlm_comm_split(half, place / 2, 0, "case: pairs of halves", &part, error));
    expect_members(r, part, members + place / 2 * 2, VLM_MIN(2, n - place / 2 * 2));
    if (r->text[0]) return;

    EXPECT_OK(vlm_comm_split(r->world, 0, size - rank, "case: backwards", &back, error));
    EXPECT(vlm_comm_rank(back) == size - 1 - rank);
    vlm_comm_destroy(half);          /* its part lives on */
    plan in_part, in_back, in_world; /* three communicators at once, waited for in another order */
    EXPECT(plan_make(&in_part, part, 3) && plan_make(&in_back, back, 4) &&
           plan_make(&in_world, r->world, 5));
    EXPECT_OK(vlm_comm_start(part, &in_part.x, &in_part.ticket, error));
    EXPECT_OK(vlm_comm_start(back, &in_back.x, &in_back.ticket, error));
    EXPECT_OK(vlm_comm_start(r->world, &in_world.x, &in_world.ticket, error));
    EXPECT_OK(vlm_comm_wait(r->world, in_world.ticket, error));
    EXPECT_OK(vlm_comm_wait(back, in_back.ticket, error));
    EXPECT_OK(vlm_comm_wait(part, in_part.ticket, error));
    EXPECT(plan_holds(&in_part, part, 3) && plan_holds(&in_back, back, 4) &&
           plan_holds(&in_world, r->world, 5));
    plan_free(&in_part);
    plan_free(&in_back);
    plan_free(&in_world);
    vlm_comm_destroy(part);
    vlm_comm_destroy(back);
}

static void counts(case_rank *r)
{
    const int rank = vlm_comm_rank(r->world), size = vlm_comm_size(r->world);
    const vlm_comm_counts before = vlm_comm_counted(r->world);
    plan p;
    EXPECT(plan_make(&p, r->world, 6));
    EXPECT_OK(vlm_comm_run(r->world, &p.x, error));
    const vlm_comm_counts after = vlm_comm_counted(r->world);
    uint64_t sent = 0, received = 0;
    for (int q = 0; q < size; q++) {
        if (q == rank) continue;
        sent += p.blocks.send_bytes[q];
        received += p.blocks.recv_bytes[q];
    }
    EXPECT(after.calls == before.calls + 1);
    EXPECT(after.sent_bytes - before.sent_bytes == sent);
    EXPECT(after.received_bytes - before.received_bytes == received);
    EXPECT(after.wait_seconds >= before.wait_seconds);
    plan_free(&p);
}

/* Wrong arguments leave the communicator as it was. */
static void arguments_are_checked(case_rank *r)
{
    const int rank = vlm_comm_rank(r->world);
    plan p;
    EXPECT(plan_make(&p, r->world, 1));
    vlm_comm_exchange x = p.x;
    x.what = NULL;
    EXPECT(vlm_comm_run(r->world, &x, NULL) == VLMOE_E_ARG);
    x = p.x;
    x.is_host = false; /* without a device */
    EXPECT(vlm_comm_run(r->world, &x, NULL) == VLMOE_E_ARG);
    p.blocks.recv_bytes[rank]++;
    EXPECT(vlm_comm_run(r->world, &p.x, NULL) == VLMOE_E_ARG);
    p.blocks.recv_bytes[rank]--;
    EXPECT(vlm_comm_broadcast(r->world, "case", vlm_comm_size(r->world), true, NULL, 0, NULL) ==
           VLMOE_E_ARG);
    EXPECT_OK(vlm_comm_run(r->world, &p.x, error));
    EXPECT(plan_holds(&p, r->world, 1));
    plan_free(&p);
}

static void many_small_ones(case_rank *r)
{
    const int size = vlm_comm_size(r->world);
    for (int i = 0; i < 200; i++) {
        const int mine = vlm_comm_rank(r->world) * 1000 + i;
        int all[CASE_MOST_RANKS];
        EXPECT_OK(vlm_comm_share(r->world, "case: again", &mine, sizeof mine, all, error));
        for (int q = 0; q < size; q++) EXPECT(all[q] == q * 1000 + i);
    }
}

double case_deadline(const dist_case *c)
{
    static const double LONG = 60;
    if (!c) return LONG;
    return c->deadline > 0 ? c->deadline : CASE_DEADLINE;
}

const dist_case dist_cases[] = {
    {"sizes_of_all_kinds", sizes_of_all_kinds, 0},
    {"tickets_in_any_order", tickets_in_any_order, 0},
    {"send_blocks_overlap", send_blocks_overlap, 0},
    {"shares", shares, 0},
    {"broadcasts_and_barrier", broadcasts_and_barrier, 0},
    {"splits_of_splits", splits_of_splits, 0},
    {"counts", counts, 0},
    {"arguments_are_checked", arguments_are_checked, 0},
    {"many_small_ones", many_small_ones, 0},
    {0},
};
