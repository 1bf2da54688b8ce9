# shellcheck shell=bash
# Settings under which OpenMPI runs quietly on one machine with more ranks than cores, as root in a container too: sourced by the tests
# and by whoever starts ranks on a machine like that. On a cluster the site's own settings belong here instead.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1      # more ranks than cores are meant
export OMPI_MCA_hwloc_base_binding_policy=none  # and share them
export OMPI_MCA_mpi_yield_when_idle=1           # without it 8 ranks on 2 cores are a hundred times slower inside MPI's own waits
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader # shared memory alone
# "none" needs no right to read other processes, which containers may lack; "cma", where it is allowed, moves 16 MB in about two thirds of the time
export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
export OMPI_MCA_plm=isolated OMPI_MCA_oob_tcp_if_include=lo # no remote shell, no network
export OMPI_MCA_orte_allowed_exit_without_sync=1 # after a failure ranks end without MPI_Finalize, each with its own exit code
export OMPI_MCA_odls_base_sigkill_timeout=10    # seconds that the living have, after one rank died, to say why they end
export HWLOC_COMPONENTS=-gl                     # else hwloc looks for X displays at every start
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
