#!/bin/bash
# Makes labelled sets to fine-tune on, in the layouts the field uses, from three Debian packages (185 MB down) and the demo's drawings:
#   wesnoth/    questions about unit pictures (VQAv2)            pictures/  statements about two drawings (NLVR2)
#   wordnet/    premises and hypotheses (MNLI)                   fashion/   Fashion-MNIST (idx-ubyte)
#   emoji.json  drawings and captions (Karpathy's splits; val: drawings of known things that train does not hold)
# With a built vlmoe-data also the shards to train from: SET/shards/{train,val or dev}.
# usage: make_tasks.sh [OUT] [--emoji FOLDER] [--build FOLDER] [--drawings | --blind]
#   defaults: data/tasks, data/emoji (made by make_demo.sh), build
#   --drawings  only the set of drawings and captions, which needs no package
#   --blind     only print what can be guessed of the made sets without looking
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/data/tasks
emoji=$root/data/emoji
build=$root/build
is_blind=no
only_drawings=no
while [ $# -gt 0 ]; do
    case $1 in
    --emoji) emoji=$(realpath "${2:?--emoji needs a folder}"); shift ;;
    --build) build=$(realpath -m "${2:?--build needs a folder}"); shift ;;
    --blind) is_blind=yes ;;
    --drawings) only_drawings=yes ;;
    -*)
        sed -n '2,10s/^# //p' "$0" >&2
        exit 2
        ;;
    *) out=$(realpath -m "$1") ;;
    esac
    shift
done
python=${VLMOE_PYTHON:-/usr/bin/python3}
wesnoth() { echo "$out/wesnoth/v2_OpenEnded_wesnoth_$1_questions.json" "$out/wesnoth/v2_wesnoth_$1_annotations.json"; }
blind() { # what can be guessed without looking: results have to beat it
    "$python" "$here/blind.py" vqa $(wesnoth train) $(wesnoth val)
    "$python" "$here/blind.py" nlvr2 "$out/pictures/train.json" "$out/pictures/dev.json"
    "$python" "$here/blind.py" nli "$out/wordnet/train.jsonl" "$out/wordnet/dev.jsonl"
}
if [ "$is_blind" = yes ]; then
    blind
    exit
fi
if [ ! -e "$emoji/val_pairs.jsonl" ]; then
    echo "make_tasks: $emoji has no drawings: run scripts/data/make_demo.sh first" >&2
    exit 1
fi

tool=$build/vlmoe-data
if [ ! -x "$tool" ]; then tool=$build/src/vlmoe-data; fi
need_tool() {
    [ -x "$tool" ] && return
    echo "make_tasks: no vlmoe-data below $build yet: files only; build, then run this again for shards" >&2
    exit 0
}
pack() { # pack SET/SPLIT FORMAT OPTION...
    local shards=$out/${1%/*}/shards/${1##*/}
    rm -rf "$shards"
    mkdir -p "$(dirname "$shards")"
    "$tool" pack --out "$shards" --format "${@:2}"
}
list_drawings() { "$python" "$here/make_karpathy.py" "$out/emoji.json" emoji "train=$emoji/train_pairs.jsonl" "val=$emoji/val_pairs.jsonl"; }
pack_drawings() {
    local split
    for split in train val; do pack emoji/$split karpathy --in "$out/emoji.json" --split $split --images "$out"; done
}

mkdir -p "$out"
if [ "$only_drawings" = yes ]; then
    list_drawings
    need_tool
    pack_drawings
    exit
fi
packages=$(dirname "$out")/packages
"$here/fetch_debs.sh" "$packages" wesnoth-1.16-data dataset-fashion-mnist wordnet-base
"$python" "$here/make_vqa.py" "$packages" "$out/wesnoth"
"$python" "$here/make_statements.py" "$emoji" "$out/pictures"
"$python" "$here/make_nli.py" "$packages" "$out/wordnet"
list_drawings
mkdir -p "$out/fashion"
cp "$packages"/dataset-fashion-mnist/usr/share/datasets/fashion-mnist/*-ubyte.gz "$out/fashion"
echo "fashion: $(ls "$out/fashion" | tr '\n' ' ')"
blind

need_tool
"$tool" answers --annotations "$out/wesnoth/v2_wesnoth_train_annotations.json" --out "$out/wesnoth/answers.txt"
for split in train val; do
    pack wesnoth/$split vqav2 --in "$out/wesnoth/v2_OpenEnded_wesnoth_${split}_questions.json" --images "$out/wesnoth/images" \
        --annotations "$out/wesnoth/v2_wesnoth_${split}_annotations.json" --labels "$out/wesnoth/answers.txt"
done
pack_drawings
for split in train dev; do
    pack pictures/$split nlvr2 --in "$out/pictures/$split.json" --images "$out/pictures"
    pack wordnet/$split mnli --in "$out/wordnet/$split.jsonl"
done
pack fashion/train idx --in "$out/fashion/train-images-idx3-ubyte.gz" --annotations "$out/fashion/train-labels-idx1-ubyte.gz"
pack fashion/val idx --in "$out/fashion/t10k-images-idx3-ubyte.gz" --annotations "$out/fashion/t10k-labels-idx1-ubyte.gz"
