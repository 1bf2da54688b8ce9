#!/bin/bash
# Writes the generated documents: docs/CONFIG.md from the list of keys, docs/OPS.md from the lists of operations and kernels.
# usage: scripts/docs.sh [--check] [BUILD]     --check: writes nothing, fails where a document is not current. BUILD defaults to build
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
check=no
if [ "${1:-}" = --check ]; then check=yes; shift; fi
build=${1:-build}
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

"$build/vlmoe-train" --help-config markdown >"$new/CONFIG.md"
python3 scripts/docs_ops.py >"$new/OPS.md"
for name in CONFIG.md OPS.md; do
    if [ $check = no ]; then
        cp "$new/$name" "docs/$name"
    elif ! cmp -s "$new/$name" "docs/$name"; then
        echo "docs/$name is not current: run scripts/docs.sh" >&2
        exit 1
    fi
done
