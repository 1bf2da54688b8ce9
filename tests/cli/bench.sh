#!/bin/bash
# The programs that scripts/bench drives: they obey, answer in JSON, count the work that is there, and route as they are told. No timings.
. "$(dirname "$0")/support.sh"
bench=$BIN/tests/bench
expect 0 python3 "$SOURCE/tests/support/tiny_data.py" tiny --bin "$BIN"

# ---- whole steps: nobody is dropped where routing is balanced, somebody where it is skewed; the numbers of the run are the tool's own
expect 0 "$BIN/vlmoe-train" --config tiny/tiny.json run.out=own run.steps=2
steps() { # ARGUMENT...: the answers to two steps, in the file answers
    expect 0 sh -c 'printf "step\nstep\nquit\n" | "$@"' sh "$bench/bench_step" --config tiny/tiny.json "$@"
    cp .out answers
}
cat >check.py <<'PY'
import json
import sys

ready, *answers = [json.loads(line) for line in open(sys.argv[1])]
assert ready["ready"].startswith("libvlmoe") and len(answers) == 2, answers
for answer in answers:
    assert 0 <= answer["optimiser"] <= answer["seconds"] and answer["gflop"] > 0, answer
what, *more = sys.argv[2:]
if what == "own":
    records = [json.loads(line) for line in open(more[0])]
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    assert [answer["loss"] for answer in answers][0] == round(losses[0], 4), (answers, losses)
elif what == "none dropped":
    assert all(answer["dropped"] == 0 for answer in answers), answers
elif what == "some dropped":
    assert all(answer["dropped"] > 0 for answer in answers), answers
PY
steps
expect 0 python3 check.py answers own own/metrics.jsonl
one=(moe.k=1 moe.capacity_factor=1.05 moe.capacity_min=1 moe.v_experts=4 moe.t_experts=4)
for how in balanced zipf; do
    steps "${one[@]}" --routing $how
    mv answers $how
done
printf '1 1 1 1\n' >same.txt
steps "${one[@]}" --routing same.txt
mv answers same
expect 0 python3 check.py balanced "none dropped"
expect 0 python3 check.py zipf "some dropped"
expect 0 python3 check.py same "some dropped"

# ---- a layer, in both types and all routings
for dtype in f32 bf16; do
    for how in balanced zipf same.txt; do
        expect 0 sh -c 'printf "dense\nmoe\nquit\n" | "$@" >.layer' sh "$bench/bench_layer" --tokens 96 --width 32 --hidden 64 --experts 8 \
            --k 2 --dtype $dtype --routing $how
        expect 0 python3 -c 'import json; a = [json.loads(line) for line in open(".layer")]; assert len(a) == 3 and all(x["seconds"] > 0 for x in a[1:]), a'
    done
done

# ---- what cannot be
expect 1 sh -c 'echo jump | "$1" --config tiny/tiny.json' sh "$bench/bench_step"
complained "unknown command 'jump'"
expect 1 "$bench/bench_step"
complained "--config FILE is missing"
expect 1 sh -c 'echo dense | "$1" --routing no-such-file' sh "$bench/bench_layer"
complained "no-such-file"
expect 1 "$bench/bench_layer" --colour red
complained "'--colour' is no option"
