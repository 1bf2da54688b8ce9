/* What the benches share: commands from standard input, answers as lines of JSON, and routing that is given instead of decided. */
#ifndef SHARED_BENCH_H
#define SHARED_BENCH_H

#include "context.h"

/* The next command without its line end, "" for an empty line; NULL = no more. Valid until the next call on the same text. */
enum { BENCH_LINE = 256 };
const char *bench_command(char text[BENCH_LINE]);

/* Print "NAME: text" to standard error and end the program with 1. */
void bench_die(const char *name, const vlmoe_error *error) __attribute__((noreturn));

/* From here on every routing of ctx chooses as said, whatever the router says: probabilities and losses stay the router's.
 *   "own"       nothing changes
 *   "balanced"  token t goes to experts t, t + 1, ... modulo E
 *   "zipf"      expert e in proportion to 1 / (e + 1), spread evenly over the tokens
 *   a path      a text of expert numbers, one a token, read again and again; numbers from E on wrap around
 * The k-th choice is the expert after the (k-1)-th.  Errors: IO, FORMAT, NOMEM. */
vlmoe_status bench_force_routing(vlmoe_context *ctx, const char *how, vlmoe_error *error);

#endif
