/* A build without MPI. Twin: comm_mpi.c. */
#include "comm.h"

vlmoe_status vlm_comm_mpi(const vlm_comm_params *params, vlm_comm **out, vlmoe_error *error)
{
    (void)params, (void)out;
    return vlm_fail(error, VLMOE_E_UNSUPPORTED,
                    "this libvlmoe was built without MPI: install libopenmpi-dev and openmpi-bin "
                    "(scripts/setup.sh does) and configure again");
}

void vlm_comm_mpi_end(void)
{
}
