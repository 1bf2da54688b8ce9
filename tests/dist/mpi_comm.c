/* One rank of a test over MPI, started by mpi.sh: runs cases, and leaves what it found in the file rank.N of the present folder ("ok",
 * or why not), since a launcher that ends processes may lose what they print.
 * usage: mpi_comm cases | mpi_comm CASE | mpi_comm kill SECONDS | mpi_comm list (names of failures) */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cases.h"

static int say(int rank, const char *text)
{
    char name[32], partial[32];
    snprintf(name, sizeof name, "rank.%d", rank);
    snprintf(partial, sizeof partial, "partial.%d", rank);
    FILE *file = fopen(partial, "w");
    if (!file || fprintf(file, "%s\n", text) < 0 || fclose(file) || rename(partial, name)) return 1;
    return strcmp(text, "ok") != 0;
}

static void run_all(case_rank *r)
{
    for (const dist_case *c = dist_cases; c->name && !r->text[0]; c++) c->run(r);
}

static const dist_case *find(const char *name)
{
    const dist_case *c = dist_failures;
    while (c->name && strcmp(c->name, name) != 0) c++;
    return c->name ? c : NULL;
}

/* Rank 2 dies between two exchanges of many. */
static void exchange_until_one_dies(case_rank *r, double deadline)
{
    enum { BLOCK = 50000, LAST = 40 };
    vlmoe_error error = {0};
    const int size = vlm_comm_size(r->world);
    char *mine = vlm_alloc(BLOCK), *all = vlm_alloc((size_t)BLOCK * (size_t)size);
    EXPECT(mine && all);
    for (int i = 0; !error.status; i++) {
        if (r->rank == 2 && i == LAST) kill(getpid(), SIGKILL);
        const double began = vlm_now();
        vlm_comm_share(r->world, "step 7: blocks of all ranks", mine, BLOCK, all, &error);
        const double waited = vlm_now() - began;
        if (error.status && waited > deadline + 5)
            case_fail(r, __FILE__, __LINE__, "it took %.1f s, deadline %.1f s", waited, deadline);
    }
    if (error.status != VLMOE_E_TIMEOUT ||
        !strstr(error.text, "step 7: blocks of all ranks: no data from rank 2 within"))
        case_fail(r, __FILE__, __LINE__, "%s: %s", vlmoe_status_name(error.status), error.text);
    vlm_free(mine);
    vlm_free(all);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "list") == 0) {
        for (const dist_case *c = dist_failures; c->name; c++) puts(c->name);
        return 0;
    }
    const dist_case *alone = argc > 1 ? find(argv[1]) : NULL;
    const bool is_kill = argc > 2 && strcmp(argv[1], "kill") == 0;
    const double deadline = is_kill ? atof(argv[2]) : case_deadline(alone);
    if (!alone && !is_kill && (argc < 2 || strcmp(argv[1], "cases") != 0)) return 2;
    signal(SIGTERM, SIG_IGN); /* a launcher sends it to the living when one rank dies */

    const vlm_comm_params params = {.deadline_seconds = deadline};
    vlmoe_error error = {0};
    case_rank r = {0};
    int n_launched = 0;
    if (vlm_comm_mpi(&params, &r.world, &error)) {
        fprintf(stderr, "mpi_comm: %s\n", error.text);
        return 1;
    }
    r.rank = vlm_comm_rank(r.world);
    if (strcmp(vlm_comm_kind(r.world), "mpi") != 0) case_fail(&r, __FILE__, __LINE__, "kind");
    if (vlm_comm_mpi_is_launched(&n_launched) && n_launched != vlm_comm_size(r.world))
        case_fail(&r, __FILE__, __LINE__, "launched as %d ranks", n_launched);
    if (is_kill) exchange_until_one_dies(&r, deadline);
    else if (alone) alone->run(&r);
    else run_all(&r);
    if (r.world && r.text[0]) vlm_comm_abort(r.world, VLMOE_E_INTERNAL, r.text);
    vlm_comm_destroy(r.world);
    const int rc = say(r.rank, r.text[0] ? r.text : "ok");
    vlm_comm_mpi_end();
    return rc;
}
