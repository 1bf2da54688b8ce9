#!/bin/bash
# Runs every check of this folder; all run, and any complaint fails.
# usage: run.sh [BUILD_FOLDER]      with a build also the exported symbols and the generated documents
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
status=0
for check in check_layers.py check_sizes.py check_names.py check_words.py; do
    python3 "$here/$check" || status=1
done
"$here/check_headers.sh" || status=1
if [ $# -gt 0 ]; then
    "$here/check_abi.sh" "$1/src/libvlmoe.so" || status=1
    "$here/../docs.sh" --check "$1" || status=1
fi
exit $status
