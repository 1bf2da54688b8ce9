#!/bin/bash
# The symbols libvlmoe.so exports are those listed in tests/packaging/abi.txt.
# usage: check_abi.sh LIBRARY [--update]      --update rewrites the list; say in the commit why it moved
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
library=${1:?usage: check_abi.sh LIBRARY [--update]}
list=$root/tests/packaging/abi.txt
[ -e "$library" ] || { echo "abi: no $library: build first"; exit 1; }

exported() {
    nm -D --defined-only "$library" | awk '{ print $3 }' | sort
}
if [ "${2:-}" = --update ]; then
    exported >"$list"
    echo "abi: wrote $(wc -l <"$list") symbols to tests/packaging/abi.txt"
    exit 0
fi
if ! difference=$(diff --unchanged-line-format= --old-line-format='gone: %L' --new-line-format='new: %L' "$list" <(exported)); then
    echo "$difference"
    echo "abi: exported symbols differ from tests/packaging/abi.txt (scripts/checks/check_abi.sh $library --update)"
    exit 1
fi
echo "abi: $(wc -l <"$list") exported symbols as listed"
