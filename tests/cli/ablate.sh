#!/bin/bash
# An ablation: a tiny table is stopped, killed and taken up again, and ends with the runs of one that nothing disturbed.
. "$(dirname "$0")/support.sh"
ablate=("$SOURCE/scripts/ablate")
python3 "$SOURCE/tests/support/tiny_data.py" world --bin "$BIN" >.out 2>.err || fail "tiny_data.py"
: >.out
export VLMOE_BUILD=$BIN

cat >table.json <<'END'
// two studies that share a cell
{
  "config": "world/tiny.json",
  "set": ["run.steps=6", "run.eval_every=2", "run.save_every=1", "run.report=false"],
  "seeds": [0, 1],
  "axes": {
    "experts": {"4": [], "1": ["moe.v_layers=[]", "moe.t_layers=[]"]},
    "order": {"priority": [], "token": ["moe.order=token"]},
    "capacity": {"1.05": [], "0.5": ["moe.capacity_factor=0.5"]}
  },
  "studies": {"experts": ["experts"], "order": ["order", "capacity"]}
}
END
expect 0 "${ablate[@]}" table.json whole --list
[ "$(grep -c 'to do' .out)" -eq 10 ] || fail "5 cells with 2 seeds are not 10 runs"
expect 0 "${ablate[@]}" table.json whole
said "10 of 10 runs finished"
said "experts 1"
[ "$(wc -l <whole/results.csv)" -eq 11 ] || fail "results.csv has $(wc -l <whole/results.csv) lines"
for column in seed tflop pair_text_loss grad_norm_sd dropped_pairs; do
    head -n 1 whole/results.csv | grep -q "$column" || fail "results.csv has no $column"
done
for figure in experts_loss experts_gradient order_drops; do
    python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' whole/$figure.svg || fail "$figure.svg is no XML"
done
grep -q 'order token, capacity 0.5' whole/order_drops.svg || fail "a cell is missing in a figure"

# ---- what is finished is not run again
before=$(stat -c %Y whole/runs/*/metrics.jsonl)
expect 0 "${ablate[@]}" table.json whole
[ "$before" = "$(stat -c %Y whole/runs/*/metrics.jsonl)" ] || fail "finished runs were run again"

# ---- tasks tuned from runs of several shapes; the task's own config has another
python3 - <<'PYTHON' || fail "then.json"
import json
world = json.load(open("world/tiny.json"))
keys = ("pairs", "val_pairs", "pairs_per_group", "text_model")
sizes = {key: world["model"][key] for key in world["model"] if key not in ("layers", "width", "heads", "vl_from")}
json.dump({"run": {"task": "retrieval", "steps": 2, "threads": 1}, "model": sizes, "data": {key: world["data"][key] for key in keys}}, open("retrieval.json", "w"))
experts = {"4": [], "1": ["moe.v_layers=[]", "moe.t_layers=[]"]}
json.dump({"config": "world/tiny.json", "set": ["run.steps=2", "run.report=false"], "seeds": [0], "axes": {"experts": experts},
           "studies": {"experts": ["experts"]}, "then": {"tuned": {"config": "retrieval.json", "set": ["run.report=false"]}}}, open("then.json", "w"))
PYTHON
expect 0 "${ablate[@]}" then.json then
python3 -c 'import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
assert len(rows) == 2 and all(0 <= float(r["tuned.recall"]) <= 1 for r in rows), rows' then/results.csv || fail "no score of the tuned runs"

# ---- stopped by its time, killed with its training, and taken up: the same models
expect 10 "${ablate[@]}" table.json broken --minutes 0.01
said "the same command goes on"
"${ablate[@]}" table.json broken >.out 2>.err &
pid=$!
for _ in $(seq 200); do
    [ "$(cat broken/runs/*.done 2>/dev/null | wc -c)" -gt 0 ] && break
    sleep 0.05
done
kill -9 $pid
wait $pid 2>/dev/null
expect 0 "${ablate[@]}" table.json broken
for run in whole/runs/*/; do
    model=step-00000006/model.safetensors
    cmp -s "$run$model" "broken/runs/$(basename "$run")/$model" || fail "$(basename "$run") differs after being broken off"
done
columns() { python3 -c 'import csv, sys
for row in csv.DictReader(open(sys.argv[1])): print({k: v for k, v in row.items() if k != "seconds"})' "$1"; }
[ "$(columns whole/results.csv)" = "$(columns broken/results.csv)" ] || fail "the results differ"

# ---- a training does not outlive a script that is killed
"${ablate[@]}" table.json orphan run.steps=1000000 >.out 2>.err &
pid=$!
for _ in $(seq 200); do
    [ "$(cat orphan/runs/*/metrics.jsonl 2>/dev/null | wc -l)" -gt 2 ] && break
    sleep 0.05
done
kill -9 $pid
wait $pid 2>/dev/null
for _ in $(seq 100); do
    pgrep -f "run.out=$work/orphan" >/dev/null || break
    sleep 0.1
done
left=$(pgrep -f "run.out=$work/orphan")
[ -z "$left" ] || { kill -9 $left; fail "a training goes on without its ablation"; }

# ---- what cannot be run is told
expect 2 "${ablate[@]}" missing.json out
complained "missing.json"
sed 's/"order": \["order"/"order": ["odrer"/' table.json >wrong.json
expect 2 "${ablate[@]}" wrong.json out
complained "'odrer', which is no axis"
sed 's/"seeds"/"sedes"/' table.json >wrong.json
expect 2 "${ablate[@]}" wrong.json out
complained "unknown key 'sedes'"
expect 1 "${ablate[@]}" table.json out optim.lr=much
complained "optim.lr"
exit 0
