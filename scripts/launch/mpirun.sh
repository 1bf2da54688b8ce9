#!/bin/bash
# Runs vlmoe-train as R processes of this machine. Says what each of them gets; SIGUSR1 to it (or Ctrl-C) stops the run after a step,
# saved. Numbers and checkpoints are those of one process.
# usage: scripts/launch/mpirun.sh R --config FILE [section.key=value ...] [vlmoe-train's options]
#   VLMOE_BUILD  build folder, default build
#   VLMOE_TRAIN  the program, default $VLMOE_BUILD/vlmoe-train
# run.threads is what each process gets; without it the cores are divided.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in
'' | -h | --help) sed -n '2,/^set -/{/^set -/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
*[!0-9]* | 0) echo "mpirun.sh: the number of ranks is '$1', not a whole number from 1" >&2; exit 2 ;;
esac
ranks=$1
shift
train=${VLMOE_TRAIN:-${VLMOE_BUILD:-build}/vlmoe-train}
[ -x "$train" ] || { echo "mpirun.sh: there is no $train; set VLMOE_BUILD or VLMOE_TRAIN" >&2; exit 2; }
command -v mpirun >/dev/null || { echo "mpirun.sh: there is no mpirun: apt-get install openmpi-bin" >&2; exit 2; }
. "$here/../mpi_env.sh"

config=$("$train" "$@" --print-config) # also: what is wrong with it is said once
value_of() { sed -n "s/^    \"$1\": \([0-9]*\),\{0,1\}$/\1/p" <<<"$config"; }
deadline=$(value_of deadline)
threads=$(value_of threads)
# The living may wait for the deadline before they know that a rank is lost, and then need a moment to say so.
export OMPI_MCA_odls_base_sigkill_timeout=$((deadline + 5))

cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # hardware threads, as vlmoe-train counts them
[ "$threads" -gt 0 ] || threads=$((cores / ranks > 0 ? cores / ranks : 1))
if [ $((ranks * threads)) -le "$cores" ]; then
    binding=(--use-hwthread-cpus --map-by "slot:PE=$threads" --bind-to hwthread)
    bound="each bound to its cores"
else
    binding=(--bind-to none)
    bound="not bound, as that is more than there are cores"
fi
echo "ranks: $ranks; CPU workers of each: $threads; cores: $cores, $bound; deadline: $deadline s" >&2
exec mpirun -n "$ranks" "${binding[@]}" "$train" "$@" "run.threads=$threads"
