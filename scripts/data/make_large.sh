#!/bin/bash
# Makes a larger pretraining set than the demo's: 25,000 pictures with words and 9 million words of prose, from Debian packages
# (about 0.9 GB down, 1.6 GB unpacked, 0.3 GB of shards; ten minutes). Photographs are few: Debian holds no captioned ones in number.
# usage: make_large.sh [OUT] [--emoji FOLDER] [--build FOLDER] [--vocab N]
#   defaults: data/large, data/emoji (made by make_demo.sh), build, 8000
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/data/large
emoji=$root/data/emoji
build=$root/build
vocab=8000
while [ $# -gt 0 ]; do
    case $1 in
    --emoji) emoji=$(realpath "${2:?--emoji needs a folder}"); shift ;;
    --build) build=$(realpath -m "${2:?--build needs a folder}"); shift ;;
    --vocab) vocab=${2:?--vocab needs a number}; shift ;;
    -*)
        sed -n '2,5s/^# //p' "$0" >&2
        exit 2
        ;;
    *) out=$(realpath -m "$1") ;;
    esac
    shift
done
python=${VLMOE_PYTHON:-/usr/bin/python3}

mkdir -p "$out"
packages=$(dirname "$out")/packages
"$here/fetch_debs.sh" "$packages" fonts-noto-color-emoji unicode-cldr-core tuxpaint-stamps-default openclipart-png openclipart-svg \
    wesnoth-1.16-data pysiogame endless-sky-data kgeography-data iso-flags-png-320x240 oxygen-icon-theme stellarium-data gimp-help-en \
    python-skimage-doc python-sklearn-doc opencv-doc debian-handbook qtbase5-doc-html kicad-doc-en dict-gcide dict-foldoc anarchism fortunes
"$python" "$here/make_large.py" "$packages" "$emoji" "$out"

tool=$build/vlmoe-data
if [ ! -x "$tool" ]; then tool=$build/src/vlmoe-data; fi
if [ ! -x "$tool" ]; then
    echo "make_large: no vlmoe-data below $build yet: manifests only; build, then run this again for shards" >&2
    exit 0
fi
for set in train_pairs val_pairs train_text val_text; do
    rm -rf "$out/shards/$set"
    mkdir -p "$out/shards"
    "$tool" pack --in "$out/$set.jsonl" --out "$out/shards/$set" --images "$out"
done
"$tool" vocab --in "$out/shards/train_pairs" "$out/shards/train_text" --size "$vocab" --out "$out/text.model"
"$python" "$here/make_karpathy.py" "$out/large.json" large "train=$out/train_pairs.jsonl" "val=$out/val_pairs.jsonl"
