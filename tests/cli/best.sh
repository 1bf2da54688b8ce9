# The best checkpoint of a run that did not end by itself: best.json is what the run's records say, of checkpoints that are there.
. "$SOURCE/tests/cli/support.sh"
PYTHONPATH="$SOURCE/tests/support"
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1

train() { "$BIN/vlmoe-train" --config "$work/nli.json" run.report=false run.keep_last=9 "$@"; }
best() { # FOLDER STEP
    grep -q "\"step-0000000$2\"" "$1/best.json" || fail "best of $1 is not step $2: $(cat "$1/best.json")"
}

expect 0 python3 "$SOURCE/tests/support/tiny_data.py" "$work" --bin "$BIN"
expect 0 "$BIN/vlmoe-train" --config "$work/tiny.json" run.report=false run.steps=1
expect 0 python3 "$SOURCE/tests/support/tiny_tasks.py" "$work"
expect 0 train
wanted=$(cat nli/best.json)

# a step that was thrown away, better than any that comes: its checkpoint is gone, or was damaged
cp -r nli stale
rm -r stale/step-00000004
echo '{"checkpoint": "step-00000004", "metric": "accuracy", "value": 2.5}' >stale/best.json
expect 0 train run.out="$work/stale" run.steps=4 --resume
[ "$(cat stale/best.json)" = "$wanted" ] || fail "a step that was thrown away is still the best: $(cat stale/best.json)"

# ended between a checkpoint and the note that it is the best
cp -r nli killed
rm -r killed/step-00000004 killed/best.json
expect 0 train run.out="$work/killed" run.steps=4 run.eval_every=9 data.val_texts=[] --resume
best killed 2

# without records: what is said of a checkpoint that is there stays, of another it goes
cp -r nli bare
rm -r bare/step-00000004 bare/metrics.jsonl
echo '{"checkpoint": "step-00000002", "metric": "accuracy", "value": 0.125}' >bare/best.json
cp -r bare gone
expect 0 train run.out="$work/bare" data.val_texts=[] --resume
grep -q "0.125" bare/best.json || fail "best.json was changed without a record"
echo '{"checkpoint": "step-00000003", "metric": "accuracy", "value": 0.125}' >gone/best.json
expect 0 train run.out="$work/gone" data.val_texts=[] --resume
[ ! -e gone/best.json ] || fail "best.json names a checkpoint that is not there"
