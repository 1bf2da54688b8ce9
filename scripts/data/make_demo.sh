#!/bin/bash
# Makes the demo's data: emoji drawings with names, and WordNet's glosses, from five Debian packages (29 MB down).
# With a built vlmoe-data also the shards to train from and the text tokeniser. About a minute, 150 MB.
# usage: make_demo.sh [--out FOLDER] [--build FOLDER] [--vocab N]     defaults: data/emoji, build, 4000
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/data/emoji
build=$root/build
vocab=4000
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=${2:?--out needs a folder}; shift ;;
    --build) build=${2:?--build needs a folder}; shift ;;
    --vocab) vocab=${2:?--vocab needs a number}; shift ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

# Debian's own interpreter: the pictures need its PIL and fontTools, which another python3 in PATH may lack.
python=${VLMOE_PYTHON:-/usr/bin/python3}
if ! "$python" -c 'import PIL, fontTools' 2>/dev/null; then
    echo "make_demo: $python lacks PIL or fontTools: run scripts/setup.sh (python3-pil, python3-fonttools)" >&2
    exit 1
fi

mkdir -p "$out"
packages=$(dirname "$out")/packages
"$here/fetch_debs.sh" "$packages" ruby-gemojione ruby-tanuki-emoji fonts-noto-color-emoji fonts-symbola wordnet-base
"$python" "$here/make_emoji.py" "$packages" "$out"
"$python" "$here/make_wordnet.py" "$packages" "$out"

tool=$build/vlmoe-data
if [ ! -x "$tool" ]; then tool=$build/src/vlmoe-data; fi
if [ ! -x "$tool" ]; then
    echo "make_demo: no vlmoe-data below $build yet: manifests only; build, then run this again for shards" >&2
    exit 0
fi
for set in train_pairs val_pairs train_images train_text val_text; do
    rm -rf "$out/shards/$set"
    mkdir -p "$out/shards"
    "$tool" pack --in "$out/$set.jsonl" --out "$out/shards/$set" --images "$out"
done
"$tool" vocab --in "$out/shards/train_pairs" "$out/shards/train_text" --size "$vocab" --out "$out/text.model"
