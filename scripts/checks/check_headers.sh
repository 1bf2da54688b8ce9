#!/bin/bash
# Each public header compiles alone, as C11 and as C++17, without a warning.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root/include"
status=0
count=0
for header in vlmoe/*.h; do
    count=$((count + 1))
    warnings="-Wall -Wextra -Wpedantic -Wshadow -Werror"
    echo "#include \"$header\"" | ${CC:-gcc} -std=c11 $warnings -Wstrict-prototypes -I. -fsyntax-only -x c - ||
        { echo "include/$header: not valid alone as C11"; status=1; }
    echo "#include \"$header\"" | ${CXX:-g++} -std=c++17 $warnings -I. -fsyntax-only -x c++ - ||
        { echo "include/$header: not valid alone as C++17"; status=1; }
done
echo "headers: $count tried as C11 and C++17"
exit $status
