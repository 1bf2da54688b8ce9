/* Was this process started as one of several ranks? Launchers say so in the environment. */
#include <stdlib.h>
#include "comm.h"

static int number_of(const char *name)
{
    const char *text = getenv(name);
    if (!text || !text[0]) return 0;
    char *end;
    const long n = strtol(text, &end, 10);
    return *end || n < 1 || n > 1 << 24 ? 0 : (int)n;
}

bool vlm_comm_mpi_is_launched(int *n_ranks)
{
    int n = number_of("OMPI_COMM_WORLD_SIZE");           /* OpenMPI */
    if (!n) n = number_of("PMI_SIZE");                   /* MPICH, Intel MPI, srun --mpi=pmi2 */
    const int slurm = number_of("SLURM_STEP_NUM_TASKS"); /* srun; a shell of one task is none */
    if (!n && slurm > 1) n = slurm;
    if (n_ranks) *n_ranks = n;
    return n > 0 || getenv("PMIX_RANK"); /* PMIx gives no number */
}
