#!/bin/bash
# Makes labelled sets to fine-tune on, in the layouts the field uses, from three Debian packages (185 MB down) and the demo's drawings:
#   wesnoth/    questions about unit pictures (VQAv2)            pictures/  statements about two drawings (NLVR2)
#   wordnet/    premises and hypotheses (MNLI)                   fashion/   Fashion-MNIST (idx-ubyte)
#   emoji.json  drawings and captions (Karpathy's splits; val: drawings of known things that train does not hold)
# usage: make_tasks.sh [OUT] [--emoji FOLDER] [--build FOLDER]      defaults: data/tasks, data/emoji (made by make_demo.sh), build
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/data/tasks
emoji=$root/data/emoji
build=$root/build
while [ $# -gt 0 ]; do
    case $1 in
    --emoji) emoji=$(realpath "${2:?--emoji needs a folder}"); shift ;;
    --build) build=$(realpath -m "${2:?--build needs a folder}"); shift ;;
    -*)
        sed -n '2,6s/^# //p' "$0" >&2
        exit 2
        ;;
    *) out=$(realpath -m "$1") ;;
    esac
    shift
done
python=${VLMOE_PYTHON:-/usr/bin/python3}
if [ ! -e "$emoji/val_pairs.jsonl" ]; then
    echo "make_tasks: $emoji has no drawings: run scripts/data/make_demo.sh first" >&2
    exit 1
fi

mkdir -p "$out"
packages=$(dirname "$out")/packages
"$here/fetch_debs.sh" "$packages" wesnoth-1.16-data dataset-fashion-mnist wordnet-base
"$python" "$here/make_vqa.py" "$packages" "$out/wesnoth"
"$python" "$here/make_statements.py" "$emoji" "$out/pictures"
"$python" "$here/make_nli.py" "$packages" "$out/wordnet"
"$python" "$here/make_karpathy.py" "$out/emoji.json" emoji "train=$emoji/train_pairs.jsonl" "val=$emoji/val_pairs.jsonl"
mkdir -p "$out/fashion"
cp "$packages"/dataset-fashion-mnist/usr/share/datasets/fashion-mnist/*-ubyte.gz "$out/fashion"
echo "fashion: $(ls "$out/fashion" | tr '\n' ' ')"

# What can be guessed without looking: results have to beat it.
wesnoth() { echo "$out/wesnoth/v2_OpenEnded_wesnoth_$1_questions.json" "$out/wesnoth/v2_wesnoth_$1_annotations.json"; }
"$python" "$here/blind.py" vqa $(wesnoth train) $(wesnoth val)
"$python" "$here/blind.py" nlvr2 "$out/pictures/train.json" "$out/pictures/dev.json"
"$python" "$here/blind.py" nli "$out/wordnet/train.jsonl" "$out/wordnet/dev.jsonl"
