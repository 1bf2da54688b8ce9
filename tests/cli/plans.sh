#!/bin/bash
# The plans that stand in the heads of configs/vlmoe are what the planner says of these configs.
. "$(dirname "$0")/support.sh"
expect 0 "$SOURCE/scripts/plans.sh" --check "$BIN"

# ---- another number in a head, and another config under the same head, are found
cp -r "$SOURCE/configs" "$SOURCE/scripts" .
sed -i '/^\/\/ *32 /s/[0-9]*\.[0-9]* /0.001 /' configs/vlmoe/small_8e.json
expect 1 scripts/plans.sh --check "$BIN"
complained "configs/vlmoe/small_8e.json is not what"
cp "$SOURCE/configs/vlmoe/small_8e.json" configs/vlmoe
sed -i 's/"v_experts": 16/"v_experts": 8/' configs/vlmoe/base_16e.json
expect 1 scripts/plans.sh --check "$BIN"
expect 0 scripts/plans.sh "$BIN"
expect 0 scripts/plans.sh --check "$BIN"
