#!/bin/bash
# Formats every C file by .clang-format. usage: scripts/format.sh [--check]     --check: changes nothing, names what is not formatted
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
if [ "${1:-}" = --check ]; then mode=(--dry-run -Werror); fi
git ls-files -z 'src/*.c' 'kernels/*.c' 'tests/*.c' 'examples/*.c' | xargs -0 clang-format "${mode[@]}"
