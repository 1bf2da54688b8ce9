#!/bin/bash
# vlmoe-train on ranks: the same records and checkpoint folders on 1, 2 and 4 as threads and on 2 processes, runs that move between
# numbers of ranks, and what ranks say that do not fit, differ, or fail. Ranks as processes: where the build has MPI and there is mpirun.
. "$(dirname "$0")/support.sh"
train=$BIN/vlmoe-train
expect 0 python3 "$SOURCE/tests/support/tiny_data.py" tiny --bin "$BIN"
settings=(run.groups=4 run.save_every=2 run.eval_every=3 run.keep_last=9 run.deadline=60 run.threads=1)
tiny=(--config tiny/tiny.json "${settings[@]}")

records() { # FOLDER: its metrics without times
    sed -E 's/, "(wait_)?seconds": [^,}]*//g' "$1/metrics.jsonl"
}
same_runs() { # A B: the same records and checkpoints
    local step
    cmp <(records "$1") <(records "$2") >.out || fail "records of $1 and $2 differ"
    for step in "$1"/step-*; do diff -r "$step" "$2/$(basename "$step")" >.out || fail "$step and that of $2 differ"; done
    cmp "$1/best.json" "$2/best.json" || fail "best.json of $1 and $2"
}
has_mpi() {
    [ -z "${WITHOUT_MPI:-}" ] && command -v mpirun >/dev/null && ! "$train" --config tiny/tiny.json --dry-run 2>&1 >/dev/null |
        grep -q . && grep -q '^VLMOE_WITH_MPI:BOOL=\(ON\|TRUE\|1\)' "$BIN/CMakeCache.txt"
}

# ---- the same numbers, a pretraining run with everything on and an image tokeniser's
expect 0 "$train" "${tiny[@]}" run.out=one
for ranks in 2 4; do
    expect 0 "$train" "${tiny[@]}" run.out=r$ranks run.ranks=$ranks
    said "saved r$ranks/step-00000006"
    [ "$(grep -c '^step 6/6' .out)" -eq 1 ] || fail "one progress line, of rank 0"
    same_runs one r$ranks
done
! ls r4 | grep -q rank- || fail "logs of ranks without a failure"
for ranks in 1 4; do
    expect 0 "$train" --config tiny/tokeniser.json "${settings[@]}" run.steps=4 run.out=codes$ranks run.ranks=$ranks
done
same_runs codes1 codes4

# ---- what was held and sent, as JSON, and where a profile has the sums over ranks
expect 0 "$train" "${tiny[@]}" run.out=held run.ranks=2 --memory --json held.json --profile=trace.json
said "sums over ranks"
cat >held.py <<'PY'
import json
import sys

held, trace = (json.load(open(name)) for name in sys.argv[1:3])
parts = held["held_bytes"]
assert held["steps"] == 6 and sum(parts.values()) == 2 * parts["together"] > 0 and parts["arriving"] > 0, held
assert all(held["traffic"]["sent_bytes"][name] == planned > 0 for name, planned in held["traffic"]["planned_bytes"].items()), held
assert {"sums over ranks", "values to ranks"} <= {event["name"] for event in trace["traceEvents"] if event.get("cat") == "phase"}
PY
expect 0 python3 held.py held.json trace.json

# ---- stopped at 2 ranks, gone on at 4, then at 1
long=("${tiny[@]}" run.steps=40 run.save_every=0 run.eval_every=0)
expect 0 "$train" "${long[@]}" run.out=long
"$train" "${long[@]}" run.out=moved run.ranks=2 >.out 2>.err &
pid=$!
while ! grep -q '"train"' moved/metrics.jsonl 2>/dev/null; do kill -0 "$pid" || fail "the run ended"; sleep 0.01; done
kill -USR1 "$pid"
code=0
wait "$pid" || code=$?
[ "$code" -eq 10 ] || fail "a stopped run ended with $code"
stopped=$(basename "$(ls -d moved/step-*)")
expect 0 "$train" "${long[@]}" run.out=moved run.ranks=4 --resume
same_runs long moved
rm -r moved/step-00000040
[ -d "moved/$stopped" ] || fail "$stopped is gone"
expect 0 "$train" "${long[@]}" run.out=moved --resume
said "resumed at step $((10#${stopped##*-})) of 40"
same_runs long moved

# ---- what does not fit
expect 2 "$train" "${tiny[@]}" run.out=none run.ranks=3
complained "run.ranks and run.groups: a step has 4 groups"
expect 2 "$train" "${tiny[@]}" run.out=none run.groups=6 run.ranks=3
complained "run.ranks, run.groups and moe.v_experts"
expect 2 "$train" "${tiny[@]}" run.out=none run.ranks=2 --dump-step step.safetensors
complained "--dump-step is for one rank"
[ ! -e none ] || fail "a refused run wrote $(ls none)"
expect 0 "$train" "${tiny[@]}" run.ranks=4 --dry-run
said "memory of each of 4 ranks"

# ---- one failure, told once, with a log of each rank
expect 4 "$train" "${tiny[@]}" run.out=lost run.ranks=2 'data.pairs=["nowhere"]'
complained "rank 0: data.pairs"
[ "$(wc -l <.err)" -lt 5 ] || fail "more than one message"
grep -q "nowhere" lost/rank-01.log || fail "the log of rank 1"
expect 6 "$train" "${tiny[@]}" run.out=hot run.ranks=2 run.steps=90 optim.lr=100 optim.warmup=0 optim.weight_decay=100
complained "not finite"
complained "Parameters are unchanged since step"
grep -q "not finite" hot/rank-01.log || fail "rank 1 does not know why"
cp -r one damaged
printf 'x' >>damaged/step-00000006/optimiser.safetensors
expect 0 "$train" "${tiny[@]}" run.out=damaged run.ranks=2 --resume
said "resumed at step 4 of 6"
diff -r one/step-00000006 damaged/step-00000006 >.out || fail "a run resumed before a damaged checkpoint"
ulimit_save() { # a save that the file size limit refuses
    (
        ulimit -f 20
        "$train" "${tiny[@]}" run.out=full run.ranks=4
    )
}
expect 4 ulimit_save
complained "rank "
! ls -A full | grep -q '^step-\|^\.tmp' || fail "a refused save left $(ls -A full)"

# ---- ranks as processes
has_mpi || exit 0
. "$SOURCE/scripts/mpi_env.sh"
cat >one_of <<'SH'
#!/bin/bash
# rank 1 has settings of its own
[ "$OMPI_COMM_WORLD_RANK" = 1 ] && extra=($OWN)
exec "$TRAIN" "$@" "${extra[@]}"
SH
chmod +x one_of
export TRAIN=$train VLMOE_BUILD=$BIN
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # MPI keeps memory until the process ends
expect 0 timeout 120 "$SOURCE/scripts/launch/mpirun.sh" 2 "${tiny[@]}" run.out=p2
complained "ranks: 2; CPU workers of each: 1"
[ "$(grep -c '^step 6/6' .out)" -eq 1 ] || fail "one progress line, of rank 0"
same_runs one p2
expect 2 timeout 120 mpirun -n 2 "$train" "${tiny[@]}" run.out=none run.ranks=4
complained "run.ranks is 4, but mpirun started 2 processes"
expect 2 timeout 120 mpirun -n 3 "$train" "${tiny[@]}" run.out=none
[ "$(grep -c 'a step has 4 groups' .err)" -eq 1 ] || fail "said by one rank"
OWN="optim.lr=0.5 run.threads=2" expect 2 timeout 120 mpirun -n 2 ./one_of "${tiny[@]}" run.out=differ
complained "ranks of one run differ in optim.lr: 0.002 on rank 0, 0.5 on rank 1"
[ "$(grep -c 'differ in' .err)" -eq 1 ] || fail "said by one rank"
grep -q "differ in optim.lr" differ/rank-01.log || fail "the log of rank 1"

# ---- a rank is killed, or stops answering: the other ends in time and says who is missing
lose() { # SIGNAL DEADLINE: to rank 1 of 2 in the midst of a run; rank 0 has the deadline and 5 seconds
    rm -rf gone
    local begin took code=0
    export OMPI_MCA_odls_base_sigkill_timeout=$(($2 + 5)) # as scripts/launch/mpirun.sh
    timeout 120 mpirun -n 2 "$train" "${tiny[@]}" run.out=gone run.steps=100000 run.groups=64 run.deadline="$2" \
        run.save_every=0 run.eval_every=0 >.out 2>.err &
    pid=$!
    while ! grep -q '"train"' gone/metrics.jsonl 2>/dev/null; do kill -0 "$pid" || fail "the run ended"; sleep 0.05; done
    mapfile -t lost < <(pgrep -f "$train .*run.out=gone" | while read -r p; do
        tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -q '^OMPI_COMM_WORLD_RANK=1$' && echo "$p"
    done)
    [ "${#lost[@]}" -eq 1 ] || fail "rank 1 was not found"
    begin=$(date +%s)
    kill "-$1" "${lost[0]}"
    until [ -e gone/rank-00.log ]; do
        took=$(($(date +%s) - begin))
        [ "$took" -le $(($2 + 5)) ] || fail "rank 0 was silent for $took s"
        sleep 0.1
    done
    kill -KILL "${lost[0]}" 2>/dev/null
    wait "$pid" || code=$?
    [ "$code" -ne 0 ] || fail "a run that lost a rank ended with 0"
    grep -q "rank 0 of 2: .*rank 1 within $2 s" gone/rank-00.log || fail "what rank 0 says: $(cat gone/rank-00.log)"
}
lose KILL 3
lose STOP 3
exit 0
