#!/bin/bash
# vlmoe-train --profile: tables that add up, a trace that nests, numbers that stay, and arguments that cannot be.
. "$(dirname "$0")/support.sh"
train=$BIN/vlmoe-train
expect 0 python3 "$SOURCE/tests/support/tiny_data.py" tiny --bin "$BIN"
tiny=(--config tiny/tiny.json run.recompute=true)

# ---- the same run with and without: same bytes
expect 0 "$train" "${tiny[@]}" run.out=plain
expect 0 "$train" "${tiny[@]}" run.out=timed --profile
cp .out tables
said "profile of steps 2 to 4:"
said "between kernels"
said "trace: timed/trace.json"
last=$(cd plain && ls -d step-* | tail -n 1)
diff -r "plain/$last" "timed/$last" >.out || fail "a profile changed the numbers"

# ---- the tables add up, and kernels are inside the steps
cat >sums.py <<'PY'
import sys

table, sums = None, {}
for line in open(sys.argv[1]):
    words = line.split()
    if words and words[0] in ("phase", "operation", "kernel"):
        table = words[0]
        sums[table] = [0.0, None]
    elif table and not words:
        table = None
    elif table:
        ms = float(next(word for word, after in zip(words, words[1:]) if after.endswith("%")))
        if words[0] == "total":
            sums[table][1] = ms
        else:
            sums[table][0] += ms
for table, (rows, total) in sums.items():
    assert abs(rows - total) <= 0.005 * 120 + 1e-9, f"{table}: rows {rows}, total {total}"  # each row is rounded to 0.01
assert sums["kernel"][1] == sums["operation"][1] <= sums["phase"][1], sums
assert len(sums) == 3
PY
expect 0 python3 sums.py tables

# ---- the trace parses; children lie inside parents; steps > phases > operations > kernels are all there
cat >trace.py <<'PY'
import json
import sys

trace = json.load(open(sys.argv[1]))
events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
steps = [event["args"]["number"] for event in events if event["name"] == "step"]
assert steps == [int(number) for number in sys.argv[2].split()], steps
assert {event["cat"] for event in events} == {"phase", "forward", "backward", "kernel"}
open_spans, kernels_in = [], set()
for event in events:
    end = event["ts"] + event["dur"]
    while open_spans and event["ts"] >= open_spans[-1][1] - 0.002:
        open_spans.pop()
    if open_spans:
        assert end <= open_spans[-1][1] + 0.002, f"{event} ends after {open_spans[-1]}"
        assert open_spans[-1][0]["cat"] != "kernel", f"{event} inside a kernel"
    if event["cat"] == "kernel" and event["name"] == "linear_dw":
        kernels_in.add(open_spans[-1][0]["cat"])
    open_spans.append((event, end))
assert kernels_in == {"backward"}, kernels_in
PY
expect 0 python3 trace.py timed/trace.json "2 3 4"

# ---- which steps, and where
expect 0 "$train" "${tiny[@]}" run.out=two --profile=there.json --profile-steps 3-3
said "profile of steps 3 to 3:"
expect 0 python3 trace.py there.json "3"
expect 0 "$train" "${tiny[@]}" run.steps=1 optim.warmup=0 run.out=short --profile
said "profile of steps 1 to 1:"
expect 0 "$train" "${tiny[@]}" run.out=never --profile --profile-steps 900
said "no step was profiled"

# ---- interrupted inside the steps that are profiled: what was seen, whole
"$train" "${tiny[@]}" run.steps=1000000 run.out=stopped --profile --profile-steps 1-999999 >.out 2>.err &
pid=$!
for _ in $(seq 300); do
    [ -s stopped/metrics.jsonl ] && break
    sleep 0.1
done
kill -TERM $pid
wait $pid
[ $? -eq 10 ] || fail "interrupted: exit code"
said "profile of steps 1 to "
expect 0 python3 -c 'import json; json.load(open("stopped/trace.json"))'

# ---- what cannot be
expect 2 "$train" "${tiny[@]}" --profile-steps 2-3
complained "--profile-steps goes with --profile"
expect 2 "$train" "${tiny[@]}" --profile --profile-steps 3-2
expect 2 "$train" "${tiny[@]}" --profile --profile-steps x
expect 2 "$train" "${tiny[@]}" --profile --profile-steps 0
expect 4 "$train" "${tiny[@]}" run.out=nowhere --profile=no/folder/t.json
complained "no/folder/t.json"
[ ! -e nowhere ] || fail "a run began although its trace has no place"
