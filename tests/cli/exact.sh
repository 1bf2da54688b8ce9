#!/bin/bash
# scripts/show/exact on a tiny world: a pretraining run, then an image tokeniser's with its code book.
. "$(dirname "$0")/support.sh"
export VLMOE_BUILD=$BIN
expect 0 python3 "$SOURCE/tests/support/tiny_data.py" tiny --bin "$BIN"
expect 0 "$SOURCE/scripts/show/exact" --config tiny/tiny.json run.steps=24
[ "$(tail -n 1 .out)" = HOLDS ] || fail "the closing line"
expect 0 "$SOURCE/scripts/show/exact" --dtype f32 --config tiny/tokeniser.json run.steps=120 run.groups=2
[ "$(tail -n 1 .out)" = HOLDS ] || fail "the closing line"
