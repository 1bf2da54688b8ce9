#!/bin/bash
# Runs mpi_comm over MPI and looks at what each rank left. Works in an empty folder of its own.
# usage: PROGRAM=… SOURCE=… mpi.sh cases N | failures | kill
set -uo pipefail
. "$SOURCE/scripts/mpi_env.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # MPI keeps memory until the process ends
broken=0

ranks() { # ranks N ARGUMENTS...: every rank but those in $dead says ok; $must_end: mpirun's own exit code must be 0
    local n=$1 rank rc
    shift
    rm -f rank.* partial.*
    timeout -k 5 100 mpirun -np "$n" "$PROGRAM" "$@" >said 2>&1 </dev/null
    rc=$?
    for ((rank = 0; rank < n; rank++)); do
        case " ${dead:-} " in *" $rank "*) continue ;; esac
        if [ "$(cat "rank.$rank" 2>&1)" != ok ]; then
            echo "$*, $n ranks: rank $rank: $(cat "rank.$rank" 2>&1)"
            broken=1
        fi
    done
    if [ "${must_end:-yes}" = yes ] && [ $rc -ne 0 ]; then
        echo "$*, $n ranks: mpirun ended with $rc"
        broken=1
    fi
    if [ $rc -eq 124 ] || [ $rc -eq 137 ] && [ -z "${dead:-}" ]; then
        echo "$*, $n ranks: did not end (code $rc)"
        broken=1
    fi
    if [ $broken -ne 0 ]; then cat said; fi
}

case ${1:-} in
cases)
    ranks "$2" cases
    if [ -s said ]; then # settings and all calls are right: nobody has anything to say
        cat said
        broken=1
    fi
    ;;
failures)
    mapfile -t names < <("$PROGRAM" list)
    [ ${#names[@]} -gt 0 ] || broken=1
    for name in "${names[@]}"; do ranks 4 "$name"; done
    ;;
kill)
    must_end=no
    dead=2
    export OMPI_MCA_odls_base_sigkill_timeout=6 # the deadline and 5 s; mpirun waits for it though all have ended
    ranks 4 kill 1
    ;;
*)
    sed -n '3s/^# //p' "$0" >&2
    exit 2
    ;;
esac
sleep 0.2
for process in /proc/[0-9]*; do # others may run this test beside us: ours are those in our folder
    if [ "$(readlink "$process/cwd" 2>&1)" = "$scratch" ] && [ "$(readlink "$process/exe" 2>&1)" = "$PROGRAM" ]; then
        echo "process ${process#/proc/} is left"
        broken=1
    fi
done
exit $broken
