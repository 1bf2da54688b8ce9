#!/bin/bash
# A template: vlmoe-train on the nodes of a Slurm cluster, one rank a task. Copy it, put in your site's names, then
#     sbatch my_run.sh --config configs/NAME.json run.out=/shared/runs/NAME
# The run's folder and the data must lie where all nodes see them. Before the time is up Slurm sends SIGUSR1; the run saves and ends
# with code 10, and the job puts itself in the queue again.
#SBATCH --job-name=vlmoe
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@900
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -uo pipefail
train=${VLMOE_TRAIN:-vlmoe-train}

# What your site asks for, e.g. module load openmpi. scripts/mpi_env.sh is for one machine: do not source it here.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

# --kill-on-bad-exit=0: when a rank is lost the others end by themselves, at most run.deadline seconds later, and say why.
srun --mpi=pmix --cpu-bind=cores --kill-on-bad-exit=0 "$train" "$@" --resume "run.threads=$SLURM_CPUS_PER_TASK" &
pid=$!
trap 'scancel --signal=USR1 "$SLURM_JOB_ID.0"' USR1 # to the ranks
code=0
wait "$pid" || code=$?
while kill -0 "$pid" 2>/dev/null; do # the signal ended the wait, not the run
    code=0
    wait "$pid" || code=$?
done
if [ "$code" -eq 10 ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
