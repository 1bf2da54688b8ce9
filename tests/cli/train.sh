#!/bin/bash
# vlmoe-train: what it says of itself, its exit codes, stopping, resuming and records. Bad input is hostile.sh's business.
. "$(dirname "$0")/support.sh"
train=$BIN/vlmoe-train
expect 0 python3 "$SOURCE/tests/support/tiny_data.py" tiny --bin "$BIN"
tiny=(--config tiny/tiny.json)

records() { # FOLDER: its metrics without times
    sed -E 's/, "(wait_)?seconds": [^,}]*//g' "$1/metrics.jsonl"
}
same_files() { # A B: folders with the same files of the same bytes
    diff -r "$1" "$2" >"$work/.out" || fail "$1 and $2 differ"
}

# ---- the tool itself
expect 0 "$train" --help
for word in --resume --force --dry-run --print-config --dump-step "10 saved and stopped"; do
    said "$word"
done
expect 0 "$train" --version
said "vlmoe-train 0."
expect 0 "$train" --help-config
said "weight_decay           decoupled"
expect 0 "$train" --help-config markdown
said "|"
expect 2 "$train"
complained "--config FILE is missing"
expect 2 "$train" --no-such-option
expect 2 "$train" "${tiny[@]}" --force optim.lr
complained "--force goes with --resume"
expect 4 sh -c "'$train' --help-config >/dev/full"

# ---- the resolved config is a config that resolves to itself
expect 0 "$train" "${tiny[@]}" optim.lr=0.001 'data.images_mix=[1]' --print-config
cp .out printed.json
expect 0 "$train" --config printed.json --print-config
cmp .out printed.json || fail "--print-config is not a fixed point"
said '"lr": 0.001'

# ---- a dry run of every config of the repository reads and writes nothing
mkdir dry
cd dry || exit 1
# Plans on every machine that is described here.
for machine in "$SOURCE"/configs/machines/*.json; do
    expect 0 "$train" --config "$SOURCE/configs/vlmoe/base_32e.json" --plan --ranks 1,32 --machine "$machine"
    said "a step of 32 groups on 8 x"
done
expect 2 "$train" --config "$SOURCE/configs/vlmoe/base_32e.json" --plan --ranks 3 --machine "$machine"
complained "3 ranks cannot share"
expect 2 "$train" --config "$SOURCE/configs/vlmoe/base_32e.json" --plan --ranks 2, --machine "$machine"
complained "--ranks 2,: expected"
expect 3 "$train" --config "$SOURCE/configs/vlmoe/base_32e.json" --plan --machine "$SOURCE/configs/smoke/emoji.json"
complained "unknown key"
expect 2 "$train" --config "$SOURCE/configs/vlmoe/base_32e.json" --skew 2
# The same numbers as JSON: parts add up to the step, and are the screen's.
expect 0 "$train" --config "$SOURCE/configs/vlmoe/small_8e.json" --plan --ranks 1,32 --machine "$machine" --json ../plan.json
cp ../.out ../table
cat >../plan.py <<'PY'
import json
import sys

plan, lines = json.load(open(sys.argv[1])), open(sys.argv[2]).read().splitlines()[2:]
assert [row["ranks"] for row in plan["rows"]] == [1, 32] and plan["groups"] == 32 and plan["skew"] == 1
for row, line in zip(plan["rows"], lines, strict=True):
    assert abs(sum(row["seconds"].values()) / row["step_seconds"] - 1) < 1e-9, row
    ranks, memory, seconds = (float(word) for word in line.split()[:3])
    assert ranks == row["ranks"] and abs(memory - row["memory_bytes"] / 2**20) <= 0.5 and abs(seconds - row["step_seconds"]) <= 0.0005, line
    assert (sum(row["sent_bytes"].values()) > 0) == (row["ranks"] > 1), row
PY
expect 0 python3 ../plan.py ../plan.json ../table
rm ../plan.json ../plan.py ../table
expect 2 "$train" --config "$SOURCE/configs/vlmoe/base_32e.json" --json ../plan.json
complained "--json goes with --plan or --memory"
expect 4 "$train" --config "$SOURCE/configs/vlmoe/small_8e.json" --plan --machine "$machine" --json ../nowhere/plan.json

for config in $(find "$SOURCE/configs" -name '*.json' -not -path '*/machines/*'); do
    expect 0 "$train" --config "$config" model.words=64000 --dry-run
    said "parameters"
    said "TFLOP"
done
[ -z "$(ls)" ] || fail "a dry run wrote $(ls)"
cd "$work" || exit 1
expect 0 "$train" "${tiny[@]}" --dry-run
parameters=$(sed -n 's/^parameters \([0-9]*\),.*/\1/p' .out)

# ---- a straight run: checkpoints, records, the best one
expect 0 "$train" "${tiny[@]}" run.out=straight run.save_every=2 run.eval_every=3 run.keep_last=9
[ "$(ls straight | tr '\n' ' ')" = "best.json config.json metrics.jsonl report.html step-00000002 step-00000003 step-00000004 step-00000006 " ] ||
    fail "files: $(ls straight)"
[ "$(ls straight/step-00000006 | tr '\n' ' ')" = "checksums.json config.json model.safetensors optimiser.safetensors \
state.json state.safetensors text.model " ] || fail "files: $(ls straight/step-00000006)"
[ "$(grep -c '"kind": "train"' straight/metrics.jsonl)" -eq 6 ] || fail "records of steps"
[ "$(grep -c '"kind": "eval"' straight/metrics.jsonl)" -eq 2 ] || fail "records of evaluations"
python3 - "$parameters" <<'PY' || fail "the checkpoint or the records are not as they should be"
import json, math, struct, sys
with open("straight/step-00000006/model.safetensors", "rb") as f:
    head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
tensors = {name: t for name, t in head.items() if name != "__metadata__"}
assert sum(math.prod(t["shape"]) for t in tensors.values()) == int(sys.argv[1])  # what the dry run counted
assert "blocks.1.ffn_v.experts.3.fc1.weight" in tensors
for line in open("straight/metrics.jsonl"):
    record = json.loads(line)
    assert abs(record["pair_text_loss"] - math.log(45)) < 1, record  # near guessing among the words
    if record["kind"] == "train":
        assert record["samples"] == 2 * (3 + 4 + 5) and len(record["routing"]) == 3
        assert sum(record["routing"][0]["load"]) > 0 and "grad_norm" in record
best = json.load(open("straight/best.json"))
evals = {f"step-{r['step']:08}": r["loss"] for r in map(json.loads, open("straight/metrics.jsonl")) if r["kind"] == "eval"}
assert best["checkpoint"] == min(evals, key=evals.get) and best["value"] == min(evals.values())
PY

# ---- what is there already
expect 2 "$train" "${tiny[@]}" run.out=straight
complained "--resume"
expect 0 "$train" "${tiny[@]}" run.out=fresh run.save_every=2 run.eval_every=3 run.keep_last=9 --resume # nothing yet: starts
same_files straight/step-00000006 fresh/step-00000006

# ---- records are cut back to the checkpoint, also a line that was never finished
rm -r fresh/step-00000003 fresh/step-00000004 fresh/step-00000006
printf '{"kind": "train", "step": 7, "lo' >>fresh/metrics.jsonl
expect 0 "$train" "${tiny[@]}" run.out=fresh run.save_every=2 run.eval_every=3 run.keep_last=9 --resume
said "resumed at step 2 of 6"
cmp <(records straight) <(records fresh) || fail "records of a resumed run"
same_files straight/step-00000006 fresh/step-00000006

# ---- number keys hold, others are free
expect 2 "$train" "${tiny[@]}" run.out=fresh --resume optim.lr=0.5 model.drop_path=0
complained "optim.lr: 0.002 and 0.5"
complained "model.drop_path: 0.2 and 0"
expect 2 "$train" "${tiny[@]}" run.out=fresh --resume run.steps=8
complained "run.steps: 6 and 8"
expect 0 "$train" "${tiny[@]}" run.out=fresh --resume run.steps=8 --force run.steps run.threads=2 run.log_every=3
complained "forced: run.steps: 6 and 8"
[ -d fresh/step-00000008 ] || fail "the forced run did not go on"

# ---- stopping: SIGTERM saves and ends with 10, --resume completes
begin() { # ARG...: in the background, until the run has begun to write
    rm -rf slow
    "$train" "${tiny[@]}" run.out=slow run.steps=3 "$@" >.out 2>.err &
    pid=$!
    while [ ! -e slow/config.json ]; do kill -0 "$pid" || fail "the run ended"; sleep 0.02; done
}
ended() { # CODE
    local got=0
    wait "$pid" || got=$?
    [ "$got" -eq "$1" ] || fail "the run ended with $got, expected $1"
}
for signal in TERM USR1 INT; do
    begin run.groups=60
    kill -$signal "$pid"
    ended 10
    said "go on with --resume"
    [ "$(ls -d slow/step-* | wc -l)" -eq 1 ] || fail "checkpoints: $(ls slow)"
done
expect 0 "$train" "${tiny[@]}" run.out=slow run.steps=3 run.groups=60 --resume
said "resumed at step"
[ -d slow/step-00000003 ] || fail "the resumed run is not complete"

# ---- a second SIGINT does not wait for the step, which would take minutes
begin run.groups=60000
kill -INT "$pid"
sleep 0.2
kill -0 "$pid" || fail "one SIGINT ended the run at once"
kill -INT "$pid"
ended 130

# ---- a loss that is not finite ends the run; the last checkpoint stays
expect 6 "$train" "${tiny[@]}" run.out=hot run.save_every=1 run.steps=90 optim.lr=100 optim.warmup=0 optim.weight_decay=100
complained "not finite"
complained "Parameters are unchanged since step"
last=$(ls -d hot/step-* | tail -n 1)
complained "since step $((10#${last##*-}))"
expect 6 "$train" "${tiny[@]}" run.out=hot run.save_every=1 run.steps=90 optim.lr=100 optim.warmup=0 optim.weight_decay=100 --resume
said "resumed at step $((10#${last##*-})) of 90"
expect 6 "$train" "${tiny[@]}" run.out=hotter run.steps=90 optim.lr=100 optim.warmup=0 optim.weight_decay=100 \
    'moe.v_layers=[]' 'moe.t_layers=[]' optim.clip=1e-9
complained "the loss of objective text is not finite; first seen in"

# ---- what no run wrote is not replaced
mkdir own foreign
{ echo "// my notes"; cat "${tiny[1]}"; } >own/config.json
cp own/config.json notes.json
expect 2 "$train" --config own/config.json run.out=own
complained "own/config.json was not written by a run"
cmp -s own/config.json notes.json || fail "a person's config was replaced"
echo "hello" >foreign/metrics.jsonl
expect 2 "$train" "${tiny[@]}" run.out=foreign run.steps=1
complained "foreign/metrics.jsonl was not written by a run"
[ "$(cat foreign/metrics.jsonl)" = hello ] || fail "a person's file was cut"
expect 0 "$train" "${tiny[@]}" run.out=begun run.steps=1
rm -r begun/step-*
expect 0 "$train" --config begun/config.json run.steps=1 # ended before its first checkpoint

# ---- a dumped step
expect 0 "$train" "${tiny[@]}" run.out=dumped run.steps=1 --dump-step step.safetensors
python3 - <<'PY' || fail "the dump"
import json, struct
with open("step.safetensors", "rb") as f:
    head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
assert head["__metadata__"]["format"] == "vlmoe-step-1" and head["__metadata__"]["step"] == "1"
for name in ("param/norm.weight", "grad/norm.weight", "after/norm.weight", "group.1/token", "group.0/block.1.v/expert"):
    assert name in head, name
PY
exit 0
