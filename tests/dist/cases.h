/* What every kind of communicator must do, as functions that each rank runs: on threads by test_comm.c, on processes by mpi_comm.c. */
#ifndef TEST_DIST_CASES_H
#define TEST_DIST_CASES_H

#include "comm.h"

/* One rank's view of a case. text: why it failed, empty while it has not. */
typedef struct case_rank {
    vlm_comm *world; /* a case that ends it leaves NULL */
    int rank;
    char text[1024];
} case_rank;

typedef struct dist_case {
    const char *name;
    void (*run)(case_rank *r);
    double deadline; /* of its communicators, seconds; 0: CASE_DEADLINE */
} dist_case;
extern const dist_case dist_cases[];    /* in turn on one world; both end with a NULL name */
extern const dist_case dist_failures[]; /* each on a world of its own of four ranks, which it ends */
#define CASE_DEADLINE 1.0
double case_deadline(const dist_case *c); /* NULL, all cases in turn: long */

enum { CASE_MOST_RANKS = 64 };
/* Of each rank: how much goes to it and comes from it, and where that lies. */
typedef struct case_blocks {
    size_t send_bytes[CASE_MOST_RANKS], send_at[CASE_MOST_RANKS], recv_bytes[CASE_MOST_RANKS], recv_at[CASE_MOST_RANKS];
} case_blocks;
/* Of host buffers; it points into blocks. */
vlm_comm_exchange case_exchange(const char *what, const case_blocks *blocks, const void *send, void *recv);

void case_fail(case_rank *r, const char *file, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* In cases; a failed one ends the case on this rank. */
#define EXPECT(condition)                                                     \
    do {                                                                      \
        if (!(condition)) {                                                   \
            case_fail(r, __FILE__, __LINE__, "not true: %s", #condition);     \
            return;                                                           \
        }                                                                     \
    } while (0)
#define EXPECT_OK(call)                                                                               \
    do {                                                                                              \
        vlmoe_error expect_error = {0};                                                               \
        vlmoe_error *error = &expect_error;                                                           \
        vlmoe_status expect_status = (call);                                                          \
        if (expect_status) {                                                                          \
            case_fail(r, __FILE__, __LINE__, "%s gave %s: %s", #call, vlmoe_status_name(expect_status), \
                      expect_error.text);                                                             \
            return;                                                                                   \
        }                                                                                             \
    } while (0)

#endif
