#!/bin/bash
# Records what a trained router chooses: trains the demo's quick recipe with 32 experts a modality for 200 steps, dumps the next one, and writes the
# expert of each token of its sparse vision layers, one a line. About two minutes.
# usage: record_routing.sh [--build FOLDER] [--out FILE] [--steps N]     defaults: build, data/bench/recorded.txt, 200
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
build=build
out=data/bench/recorded.txt
steps=200
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=${2:?--build needs a folder}; shift ;;
    --out) out=${2:?--out needs a file}; shift ;;
    --steps) steps=${2:?--steps needs a number}; shift ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done
folder=$(mktemp -d "${TMPDIR:-/tmp}/vlmoe-routing.XXXXXX")
trap 'rm -rf "$folder"' EXIT
train=("$build/vlmoe-train" --config configs/emoji_quick.json moe.v_experts=32 moe.t_experts=32 run.out="$folder/run" run.eval_every=0
    run.save_every="$steps" run.steps=$((steps + 1)) data.val_images=[] data.val_texts=[] data.val_pairs=[])
"${train[@]}" >/dev/null # the schedule must not end before the step that is dumped, so it is run twice
rm -rf "$folder/run/step-$(printf %08d $((steps + 1)))"
"${train[@]}" --resume --dump-step "$folder/dump.safetensors" >/dev/null
"${VLMOE_PYTHON:-/usr/bin/python3}" - "$folder/dump.safetensors" "$out" scripts/golden <<'PY'
import sys

sys.path.insert(0, sys.argv[3])
import tensor_file

tensors = tensor_file.read(sys.argv[1])[0]
names = sorted(name for name in tensors if name.endswith(".v/expert"))
if not names:
    sys.exit(f"record_routing: no choices in the dump; it has {sorted(tensors)[:40]}")
chosen = [int(e) for name in names for e in tensors[name].reshape(len(tensors[name]), -1)[:, 0]]
with open(sys.argv[2], "w", encoding="ascii") as file:
    file.write("\n".join(map(str, chosen)) + "\n")
counts = sorted((chosen.count(e) for e in set(chosen)), reverse=True)
print(f"{len(chosen)} choices of {len(names)} sets in {sys.argv[2]}: {len(counts)} experts, the busiest {counts[0] / len(chosen):.1%}")
PY
