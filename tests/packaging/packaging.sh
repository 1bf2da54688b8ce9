#!/bin/bash
# Installs a build into a scratch prefix, moves the prefix, and builds programs against it in four ways: pkg-config and
# CMake, shared and static. Runs the program that prints the version.
# usage: packaging.sh BUILD SOURCE VERSION
set -euo pipefail
build=$1 source=$2 version=$3
export CC=${CC:-cc}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() {
    echo "packaging: $1" >&2
    exit 1
}

cmake --install "$build" --prefix "$scratch/first" >"$scratch/install.log" || { cat "$scratch/install.log"; exit 1; }
mv "$scratch/first" "$scratch/moved" # an installed tree must not know where it was put
prefix=$scratch/moved
libdir=$(dirname "$(find "$prefix" -name libvlmoe.a)")

# Each public header is there, and nothing else is.
diff <(cd "$source/include/vlmoe" && ls -- *.h) <(ls "$prefix/include/vlmoe") || fail "installed headers differ (above)"
diff <(echo vlmoe) <(ls "$prefix/include") || fail "more than vlmoe/ was installed as headers (above)"
for tool in "$source"/src/cli/main_*.c; do
    [ -e "$tool" ] || continue
    name=vlmoe-$(basename "$tool" .c | sed 's/^main_//')
    [ -x "$prefix/bin/$name" ] || fail "bin/$name was not installed"
done

programs=("$source/tests/packaging/packaging_version.c")
for example in "$source"/examples/*.c; do
    if [ -e "$example" ]; then programs+=("$example"); fi
done

expect_version() {
    local said
    said=$(LD_LIBRARY_PATH=$libdir "$1") || fail "$1 failed"
    [ "$said" = "$version" ] || fail "$1 says version '$said', expected '$version'"
}

# pkg-config. For the static way the shared library is hidden, since a linker prefers it.
export PKG_CONFIG_PATH=$libdir/pkgconfig
[ "$(pkg-config --modversion vlmoe)" = "$version" ] || fail "vlmoe.pc says another version than $version"
static_prefix=$scratch/static
cp -r "$prefix" "$static_prefix"
rm "$static_prefix/${libdir#"$prefix"/}"/libvlmoe.so*
for program in "${programs[@]}"; do
    name=$(basename "$program" .c)
    # shellcheck disable=SC2046 # flags are words
    $CC -std=c11 -Wall -Wextra -Werror "$program" -o "$scratch/pc_$name" $(pkg-config --cflags --libs vlmoe) -lm
    # shellcheck disable=SC2046
    PKG_CONFIG_PATH=$static_prefix/${libdir#"$prefix"/}/pkgconfig bash -c \
        "$CC -std=c11 -Wall -Wextra -Werror -DVLMOE_STATIC '$program' -o '$scratch/pcs_$name' \$(pkg-config --cflags --libs --static vlmoe)"
done
expect_version "$scratch/pc_packaging_version"
expect_version "$scratch/pcs_packaging_version"
if ldd "$scratch/pcs_packaging_version" | grep -q libvlmoe; then fail "the static program needs libvlmoe.so"; fi

# CMake, from a project in C alone.
cmake -G Ninja -S "$source/tests/packaging/consumer" -B "$scratch/consumer" -DCMAKE_PREFIX_PATH="$prefix" \
    -DPROGRAMS="$(IFS=';' && echo "${programs[*]}")" >"$scratch/cmake.log" 2>&1 || { cat "$scratch/cmake.log"; exit 1; }
cmake --build "$scratch/consumer" >"$scratch/cmake.log" 2>&1 || { cat "$scratch/cmake.log"; exit 1; }
expect_version "$scratch/consumer/packaging_version_shared"
expect_version "$scratch/consumer/packaging_version_static"
echo "packaging: ${#programs[@]} programs built by pkg-config and CMake, shared and static"
