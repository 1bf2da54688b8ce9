#!/bin/bash
# Writes what the planner says of each config in configs/vlmoe into its head: the comment lines between "// PLAN" and the config itself.
# usage: scripts/plans.sh [--check] [BUILD]     --check: writes nothing, fails where a head is not current. BUILD defaults to build
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
check=no
if [ "${1:-}" = --check ]; then check=yes; shift; fi
train=${1:-build}/vlmoe-train
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

# Scratch of products, a few MiB, depends on the machine that plans, and sanitizer builds have gaps: what is said of memory is not compared.
masked() { sed -E 's/^(\/\/ +[0-9]+ +)[0-9]+( +[0-9.]+ +[0-9.]+ +)[0-9]+%/\1-\2-/' "$1"; }

for config in configs/vlmoe/*.json; do
    {
        sed '/^\/\/ PLAN/,$d' "$config"
        echo "// PLAN, not measured: vlmoe-train --plan --ranks 1,8,32 run.threads=1 --machine, with two files of configs/machines. By scripts/plans.sh."
        for machine in h100_sxm_8 v100_sxm_8; do
            "$train" --config "$config" run.threads=1 --plan --ranks 1,8,32 --machine "configs/machines/$machine.json" >"$new/table"
            sed 's/^/\/\/ /; s/ *$//' "$new/table"
        done
        sed -n '/^{/,$p' "$config"
    } >"$new/config"
    if [ $check = no ]; then
        cmp -s "$new/config" "$config" || cp "$new/config" "$config"
    elif ! cmp -s <(masked "$new/config") <(masked "$config"); then
        echo "the plan in $config is not what vlmoe-train --plan says: run scripts/plans.sh" >&2
        exit 1
    fi
done
