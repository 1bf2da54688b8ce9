#!/bin/bash
# Installs the Debian packages that the build, the tests and the quickstart need. Builds nothing.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# What each package is for stands once, here. cmake/VlmoeDependencies.cmake names the same ones when one is missing.
BUILD_PACKAGES=(
    gcc g++ cmake ninja-build pkg-config # compilers and build
    libdnnl-dev                          # matrix products (oneDNN)
    libcjson-dev libxxhash-dev           # configs and manifests; checksums
    libsentencepiece-dev libutf8proc-dev # text
    libstb-dev libjpeg62-turbo-dev       # pictures
    zlib1g-dev                           # gzip files of sets
    libopenmpi-dev openmpi-bin           # ranks as processes; the build does without
    libcmocka-dev                        # tests
    binutils                             # nm, for the list of exported symbols
)
DEMO_PACKAGES=(python3 python3-pil python3-fonttools) # scripts/data draws and cuts the demo's pictures
DEV_PACKAGES=(clang-tidy clang-format)
BENCH_PACKAGES=(python3-torch python3-numpy python3-pil libopenblas0-openmp) # the peer that scripts/bench compares with, at its best

usage() {
    cat <<'TEXT'
usage: scripts/setup.sh [--dev] [--bench] [--check] [--help]
  Installs what is missing, with apt-get, as root or through sudo. Does nothing when all is there.
  --dev    also clang-tidy and clang-format
  --bench  also PyTorch and NumPy, for comparisons of speed and of numbers
  --check  install nothing; list what is missing and exit 1 if there is anything
TEXT
}

packages=("${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}")
check_only=no
for arg in "$@"; do
    case $arg in
    --dev) packages+=("${DEV_PACKAGES[@]}") ;;
    --bench) packages+=("${BENCH_PACKAGES[@]}") ;;
    --check) check_only=yes ;;
    --help | -h)
        usage
        exit 0
        ;;
    *)
        usage >&2
        echo "setup: unknown argument '$arg'" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: this is no Debian system (no dpkg-query or apt-get)." >&2
    echo "setup: install your system's counterparts of: ${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -eq 0 ]; then
    echo "setup: all ${#packages[@]} packages are installed"
    exit 0
fi

echo "setup: ${#missing[@]} of ${#packages[@]} packages are missing: ${missing[*]}"
install="apt-get install -y --no-install-recommends ${missing[*]}"
refuse() {
    echo "setup: $1. To install them, run as root:" >&2
    echo "    apt-get update && $install" >&2
    exit 1
}

[ "$check_only" = no ] || refuse "not installing (--check)"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        refuse "you are not root and sudo is not installed"
    elif [ -t 0 ]; then
        as_root=(sudo) # may ask for a password
    elif sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        refuse "you are not root, and sudo would ask for a password with no terminal to ask on"
    fi
fi

echo "setup: running: ${as_root[*]:+${as_root[*]} }apt-get update"
"${as_root[@]}" apt-get update -qq || refuse "apt-get update failed"
echo "setup: running: ${as_root[*]:+${as_root[*]} }$install"
# DEBIAN_FRONTEND does not survive sudo's clean environment, hence env.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive $install >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    refuse "apt-get install failed (its last lines are above)"
fi
echo "setup: installed ${#missing[@]} packages"
