/* Plans of exchanges on devices and ref: every matrix of small counts, against their definition and each other. */
#include <string.h>
#include "compare.h"

enum { MOST_RUNS = 9, MOST_ROWS = 64, BOUNDS = 12 };

typedef struct plan {
    int32_t run_offset[MOST_RUNS + 2], expert_offset[MOST_RUNS + 2], arrival[MOST_ROWS],
        place[MOST_ROWS];
} plan;

typedef struct plan_case {
    int64_t R, E, slots, n_arrival, n_expert;
    int32_t count[MOST_RUNS]; /* [R, E] */
    int32_t bound[BOUNDS];
} plan_case;

static void call_plan(const vlmk_table *table, vlmk_env *env, const plan_case *c, plan *out)
{
    memset(out, 0x81, sizeof *out);
    const vlmk_exchange_plan_args a = {.R = c->R,
                                       .E = c->E,
                                       .slots = c->slots,
                                       .n_arrival = c->n_arrival,
                                       .n_expert = c->n_expert,
                                       .bound = c->bound,
                                       .run_offset = out->run_offset,
                                       .expert_offset = out->expert_offset,
                                       .arrival = out->arrival,
                                       .place = out->place};
    CHECK_INT(table->exchange_plan(env, &a), VLMOE_OK);
    device_done(env);
}

/* The definition, row by row: what stands at an arrival place is told by the place alone. */
static void check_plan(const plan_case *c, const plan *p)
{
    int32_t row = 0, guard = (int32_t)0x81818181;
    for (int64_t e = 0; e < c->E; e++) {
        CHECK_INT(p->expert_offset[e], row);
        for (int64_t s = 0; s < c->R; s++) {
            CHECK_INT(p->run_offset[e * c->R + s], row);
            int32_t begin = (int32_t)((s * c->E + e) * c->slots);
            for (int64_t i = 0; !c->slots && i < s * c->E + e; i++) begin += c->count[i];
            for (int32_t j = 0; j < c->count[s * c->E + e]; j++, row++) {
                CHECK_INT(p->arrival[row], begin + j);
                CHECK_INT(p->place[begin + j], row);
            }
        }
    }
    CHECK_INT(p->expert_offset[c->E], row);
    CHECK_INT(p->run_offset[c->E * c->R], row);
    int64_t taken = 0;
    for (int64_t i = 0; i < c->n_arrival; i++) {
        CHECK(p->place[i] >= -1 && p->place[i] < row);
        taken += p->place[i] >= 0;
    }
    CHECK_INT(taken, row);
    for (int64_t i = row; i < c->n_expert; i++) CHECK_INT(p->arrival[i], -1);
    CHECK_INT(p->arrival[c->n_expert], guard);
    CHECK_INT(p->place[c->n_arrival], guard);
    CHECK_INT(p->run_offset[c->E * c->R + 1], guard);
}

static void run_case(plan_case *c)
{
    static plan want, got;
    int32_t rows = 0;
    for (int64_t s = 0; s < c->R; s++) {
        c->bound[s * (c->E + 1)] =
            (int32_t)(7 * s); /* where a source's bounds begin is its own affair */
        for (int64_t e = 0; e < c->E; e++) {
            int64_t i = s * (c->E + 1) + e;
            c->bound[i + 1] = c->bound[i] + c->count[s * c->E + e];
            rows += c->count[s * c->E + e];
        }
    }
    for (int extra = 0; extra < 3; extra += 2) { /* places beyond the rows in both orders */
        c->n_arrival = (c->slots ? c->R * c->E * c->slots : rows) + extra;
        c->n_expert = rows + extra;
        call_plan(&vlmk_ref_table, device_env(0, 1), c, &want);
        check_plan(c, &want);
        for (int device = 0; device < device_count(); device++)
            for (int n_workers = 1; n_workers <= WORKER_COUNTS; n_workers += 2) {
                call_plan(device_table(device), device_env(device, n_workers), c, &got);
                if (memcmp(&got, &want, sizeof got) != 0)
                    test_fail(__FILE__, __LINE__,
                              "%s: a plan of %lld sources, %lld experts differs",
                              device_name(device), (long long)c->R, (long long)c->E);
            }
    }
}

/* All matrices with counts 0 .. 2 (up to 4 runs) or 0 .. 1 (up to 9). */
TEST(compare_exchange_plan_of_every_small_matrix)
{
    for (int64_t R = 1; R <= 4; R++)
        for (int64_t E = 1; E <= 4 && R * E <= MOST_RUNS; E++) {
            int base = R * E <= 4 ? 3 : 2, n_matrices = 1;
            for (int64_t i = 0; i < R * E; i++) n_matrices *= base;
            for (int m = 0; m < n_matrices; m++)
                for (int64_t slots = 0; slots < 4; slots += slots ? 1 : base - 1) {
                    plan_case c = {.R = R, .E = E, .slots = slots};
                    for (int64_t i = 0, left = m; i < R * E; i++, left /= base)
                        c.count[i] = (int32_t)(left % base);
                    run_case(&c);
                }
        }
}

TEST(compare_exchange_plan_of_nothing)
{
    plan_case c = {.R = 3, .E = 0};
    run_case(&c);
    c = (plan_case){.R = 0, .E = 2};
    run_case(&c);
}
