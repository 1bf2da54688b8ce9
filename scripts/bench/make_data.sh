#!/bin/bash
# Makes the benches' data from the demo's (scripts/data/make_demo.sh): 512 drawings at 224 px, texts that fill 128 tokens exactly, the same
# with their natural lengths, and an image tokeniser of 8,192 codes. About a minute, 60 MB.
# usage: make_data.sh [--demo FOLDER] [--out FOLDER] [--build FOLDER]     defaults: data/emoji, data/bench, build
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
demo=data/emoji
out=data/bench
build=build
while [ $# -gt 0 ]; do
    case $1 in
    --demo) demo=${2:?--demo needs a folder}; shift ;;
    --out) out=${2:?--out needs a folder}; shift ;;
    --build) build=${2:?--build needs a folder}; shift ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done
for file in "$demo/train_pairs.jsonl" "$demo/train_text.jsonl"; do
    [ -f "$file" ] || { echo "make_data: $file is missing: run scripts/data/make_demo.sh" >&2; exit 1; }
done
[ -x "$build/vlmoe-data" ] || { echo "make_data: no vlmoe-data in $build: build first" >&2; exit 1; }

"${VLMOE_PYTHON:-/usr/bin/python3}" "$here/make_data.py" "$demo" "$out"
for set in images full_texts full_pairs natural_texts natural_pairs; do
    rm -rf "${out:?}/sets/$set"
    mkdir -p "$out/sets"
    "$build/vlmoe-data" pack --in "$out/$set.jsonl" --out "$out/sets/$set" --images "$out"
done
rm -rf "$out/tokeniser"
"$build/vlmoe-train" --config configs/bench/tokeniser.json run.out="$out/tokeniser" data.images="[\"$out/sets/images\"]"
